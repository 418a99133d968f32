// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping of a heap's buffer counts for the process, and none of its pages can
 * be taken from there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/io_uring.h>
#include <linux/magic.h>

#include <mm/gup_test.h>

#include "../kselftest_harness.h"
#include "heaps_util.h"

#define MIB	1048576UL

FIXTURE(accounting) {
	struct heap heaps[MAX_HEAPS];
	int nr;
	size_t size;
};

FIXTURE_SETUP(accounting) {
	self->nr = find_heaps(self->heaps, false);
	if (!self->nr)
		SKIP(return, "no heaps");
}

FIXTURE_TEARDOWN(accounting)
{
	fail_allocations(0);
}

/* A process that does one thing after the other, when it is told to. */
struct child {
	pid_t pid;
	int to, from;
};

enum { CHILD_MAP, CHILD_UNMAP, CHILD_USAGE, CHILD_NR };

static void child_loop(int fd, char *at, size_t size, int to, int from)
{
	struct usage usage = {};
	char what;

	while (read(from, &what, 1) == 1) {
		switch (what) {
		case CHILD_MAP:
			at = buf_mmap(fd, size);
			break;
		case CHILD_UNMAP:
			munmap(at, size);
			break;
		}
		usage = mapping_usage(at);
		if (write(to, &usage, sizeof(usage)) != sizeof(usage))
			break;
	}
	_exit(0);
}

static struct child child_start(int fd, char *at, size_t size)
{
	struct child child = { .pid = -1 };
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		return child;
	child.pid = fork();
	if (!child.pid) {
		close(to[1]);
		child_loop(fd, at, size, from[1], to[0]);
	}
	close(to[0]);
	close(from[1]);
	child.to = to[1];
	child.from = from[0];
	return child;
}

static struct usage child_do(struct child *child, char what)
{
	struct usage usage = { .rss = -1, .pss = -1 };

	if (write(child->to, &what, 1) != 1 ||
	    read(child->from, &usage, sizeof(usage)) != sizeof(usage))
		usage.rss = -1;
	return usage;
}

static void child_end(struct child *child)
{
	close(child->to);
	close(child->from);
	waitpid(child->pid, NULL, 0);
}

/* Or half of it, if the area is small, or a quarter */
static int alloc_large(const struct heap *heap, size_t *size)
{
	int fd = heap_alloc(heap, *size);

	while (fd == -ENOMEM && *size > 8 * MIB) {
		*size /= 2;
		fd = heap_alloc(heap, *size);
	}
	return fd;
}

/* Two processes that map one buffer have half of it each. */
TEST_F_TIMEOUT(accounting, two_processes, TEST_SECONDS)
{
	struct usage usage;
	struct child child;
	struct heap *heap;
	size_t before;
	int fd, i;
	char *at;

	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		self->size = 64 * MIB;
		fd = alloc_large(heap, &self->size);
		ASSERT_LT(2, fd);
		process_rss();
		before = process_rss();
		at = buf_mmap(fd, self->size);
		ASSERT_NE(MAP_FAILED, at);
		usage = mapping_usage(at);
		EXPECT_EQ(self->size, usage.rss);
		EXPECT_EQ(self->size, usage.pss);
		EXPECT_LE(before + self->size, process_rss());

		/* Another one has it by fork(), */
		child = child_start(fd, at, self->size);
		ASSERT_LT(0, child.pid);
		usage = child_do(&child, CHILD_USAGE);
		EXPECT_EQ(self->size, usage.rss);
		EXPECT_EQ(self->size / 2, usage.pss);
		usage = mapping_usage(at);
		EXPECT_EQ(self->size, usage.rss);
		EXPECT_EQ(self->size / 2, usage.pss);
		/* lets go of it, */
		child_do(&child, CHILD_UNMAP);
		EXPECT_EQ(self->size, mapping_usage(at).pss);
		/* and maps it by itself. */
		usage = child_do(&child, CHILD_MAP);
		EXPECT_EQ(self->size, usage.rss);
		EXPECT_EQ(self->size / 2, usage.pss);
		EXPECT_EQ(self->size / 2, mapping_usage(at).pss);
		/* With the process goes what it has mapped. */
		child_end(&child);
		EXPECT_EQ(self->size, mapping_usage(at).pss);
		munmap(at, self->size);
		EXPECT_GT(before + MIB, process_rss());
		close(fd);
	}
}

/* What is mapped in part, moved, or mapped twice. */
TEST_F_TIMEOUT(accounting, parts, TEST_SECONDS)
{
	size_t size = 4 * MIB, half = size / 2;
	struct usage usage;
	struct heap *heap;
	char *at, *to;
	int fd, i;

	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		fd = heap_alloc(heap, size);
		ASSERT_LT(2, fd);
		at = buf_mmap(fd, size);
		ASSERT_NE(MAP_FAILED, at);
		EXPECT_EQ(0, munmap(at + half, half));
		EXPECT_EQ(half, mapping_usage(at).rss);

		to = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		to = mremap(at, half, half, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		ASSERT_NE(MAP_FAILED, to);
		usage = mapping_usage(to);
		EXPECT_EQ(half, usage.rss);
		EXPECT_EQ(half, usage.pss);

		at = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, at);
		usage = mapping_usage(at);
		EXPECT_EQ(size, usage.rss);
		/* The first half is mapped twice. */
		EXPECT_EQ(half / 2 + half, usage.pss);
		EXPECT_EQ(half / 2, mapping_usage(to).pss);
		EXPECT_EQ(0, mprotect(at, size, PROT_NONE));
		EXPECT_EQ(0, mprotect(at, size, PROT_READ));
		EXPECT_EQ(half / 2, mapping_usage(to).pss);
		/* Something else in its place */
		EXPECT_EQ(at, mmap(at, size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		EXPECT_EQ(half, mapping_usage(to).pss);
		munmap(at, size);
		munmap(to, half);
		close(fd);
	}
}

/* Without memory for page tables there is an error, and nothing is mapped. */
TEST_F_TIMEOUT(accounting, no_memory, TEST_SECONDS)
{
	size_t size = 8 * MIB, before;
	int fd, err, i, j, failed = 0;
	struct heap *heap;
	char *at, *fixed;

	if (fail_allocations(0))
		SKIP(return, "no fault injection");
	/* At an address that has no page tables yet. */
	fixed = mmap(NULL, 1UL << 34, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	ASSERT_NE(MAP_FAILED, fixed);
	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		fd = heap_alloc(heap, size);
		ASSERT_LT(2, fd);
		process_rss();
		before = process_rss();
		for (j = 0; j < 100; j++) {
			ASSERT_EQ(0, fail_allocations(1 + j % 12));
			at = mmap(fixed + (j << 26), size, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, 0);
			err = errno;
			ASSERT_EQ(0, fail_allocations(0));
			if (at != MAP_FAILED) {
				EXPECT_EQ(0, at[size - 1]);
				munmap(at, size);
				continue;
			}
			EXPECT_EQ(ENOMEM, err);
			failed++;
		}
		EXPECT_GT(before + MIB, process_rss());
		at = buf_mmap(fd, size);
		ASSERT_NE(MAP_FAILED, at);
		EXPECT_EQ(size, mapping_usage(at).pss);
		munmap(at, size);
		close(fd);
	}
	EXPECT_LT(0, failed);
	munmap(fixed, 1UL << 34);
}

/* Ways to take pages. Each returns what it got, or a negative errno. */
struct way {
	const char *name;
	long (*take)(char *at, size_t size);
	int err;
};

/* Not there on this machine */
#define NOT_HERE	1000000

static long take_by_gup_test(char *at, size_t size, unsigned long cmd)
{
	struct gup_test arg = {
		.addr = (uintptr_t)at, .size = size,
		.nr_pages_per_call = size / page_size(),
	};
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC), ret;

	if (fd < 0)
		return NOT_HERE;
	ret = ioctl(fd, cmd, &arg);
	ret = ret ? -errno : 0;
	close(fd);
	/* The fast ones stop where there is an error, and say how far they came. */
	if (!ret && !arg.size)
		ret = -EFAULT;
	return ret;
}

static long take_gup_fast(char *at, size_t size)
{
	return take_by_gup_test(at, size, GUP_FAST_BENCHMARK);
}

static long take_gup(char *at, size_t size)
{
	return take_by_gup_test(at, size, GUP_BASIC_TEST);
}

static long take_pin_fast(char *at, size_t size)
{
	return take_by_gup_test(at, size, PIN_FAST_BENCHMARK);
}

static long take_pin(char *at, size_t size)
{
	return take_by_gup_test(at, size, PIN_BASIC_TEST);
}

static long take_pin_longterm(char *at, size_t size)
{
	return take_by_gup_test(at, size, PIN_LONGTERM_BENCHMARK);
}

static long take_vmsplice(char *at, size_t size)
{
	struct iovec iov = { .iov_base = at, .iov_len = page_size() };
	int fds[2];
	long ret;

	if (pipe(fds))
		return -errno;
	ret = vmsplice(fds[1], &iov, 1, 0);
	ret = ret < 0 ? -errno : ret;
	close(fds[0]);
	close(fds[1]);
	return ret;
}

static int open_direct(void)
{
	/* Where the disk is mounted, if there is one. */
	const char *path = "/mnt/direct";
	int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	static char *block;
	struct statfs fs;

	if (fd < 0)
		return -1;
	unlink(path);
	/* These copy, and take no pages. */
	if (fstatfs(fd, &fs) || fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
		goto out;
	if (!block && posix_memalign((void **)&block, page_size(), page_size()))
		goto out;
	if (pwrite(fd, block, page_size(), 0) == (ssize_t)page_size())
		return fd;
out:
	close(fd);
	return -1;
}

static long take_direct(char *at, bool write)
{
	int fd = open_direct();
	long ret;

	if (fd < 0)
		return NOT_HERE;
	ret = write ? pwrite(fd, at, page_size(), 0) : pread(fd, at, page_size(), 0);
	ret = ret < 0 ? -errno : ret;
	close(fd);
	return ret;
}

static long take_direct_write(char *at, size_t size)
{
	return take_direct(at, true);
}

static long take_direct_read(char *at, size_t size)
{
	return take_direct(at, false);
}

static long take_vm(char *at, long call)
{
	char byte = 1;
	struct iovec here = { &byte, 1 }, there = { at, 1 };
	long ret = syscall(call, getpid(), &here, 1, &there, 1, 0);

	return ret < 0 ? -errno : ret;
}

static long take_vm_writev(char *at, size_t size)
{
	return take_vm(at, SYS_process_vm_writev);
}

static long take_vm_readv(char *at, size_t size)
{
	return take_vm(at, SYS_process_vm_readv);
}

static long take_mem(char *at, bool write)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	char byte = 1;
	long ret;

	if (fd < 0)
		return -errno;
	if (write)
		ret = pwrite(fd, &byte, 1, (uintptr_t)at);
	else
		ret = pread(fd, &byte, 1, (uintptr_t)at);
	ret = ret < 0 ? -errno : ret;
	close(fd);
	return ret;
}

static long take_mem_write(char *at, size_t size)
{
	return take_mem(at, true);
}

static long take_mem_read(char *at, size_t size)
{
	return take_mem(at, false);
}

static long take_ptrace(char *at, size_t size)
{
	long ret = 0;
	int status;
	pid_t pid = fork();

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	errno = 0;
	ptrace(PTRACE_PEEKDATA, pid, at, NULL);
	ret = -errno;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return ret;
}

static long take_io_uring(char *at, size_t size)
{
	struct io_uring_params params = {};
	struct iovec iov = { .iov_base = at, .iov_len = page_size() };
	int ring = syscall(__NR_io_uring_setup, 4, &params);
	long ret;

	if (ring < 0)
		return NOT_HERE;
	ret = syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1);
	ret = ret < 0 ? -errno : ret;
	close(ring);
	return ret;
}

static long take_populate(char *at, size_t size)
{
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
	return madvise(at, page_size(), MADV_POPULATE_WRITE) ? -errno : 0;
}

static const struct way ways[] = {
	{ "gup fast", take_gup_fast, EFAULT },
	{ "gup", take_gup, EFAULT },
	{ "pin fast", take_pin_fast, EFAULT },
	{ "pin", take_pin, EFAULT },
	{ "pin longterm", take_pin_longterm, EFAULT },
	{ "vmsplice", take_vmsplice, EFAULT },
	{ "O_DIRECT write", take_direct_write, EFAULT },
	{ "O_DIRECT read", take_direct_read, EFAULT },
	{ "process_vm_writev", take_vm_writev, EFAULT },
	{ "process_vm_readv", take_vm_readv, EFAULT },
	{ "/proc/self/mem write", take_mem_write, EIO },
	{ "/proc/self/mem read", take_mem_read, EIO },
	{ "ptrace", take_ptrace, EIO },
	{ "io_uring register", take_io_uring, EFAULT },
	{ "MADV_POPULATE_WRITE", take_populate, EINVAL },
};

/* That a way works at all is seen on ordinary memory. */
TEST_F_TIMEOUT(accounting, refused, TEST_SECONDS)
{
	size_t size = 16 * page_size(), w;
	char *at, *ordinary;
	struct heap *heap;
	long ret;
	int fd, i;

	ordinary = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, ordinary);
	memset(ordinary, 1, size);
	for (w = 0; w < ARRAY_SIZE(ways); w++) {
		ret = ways[w].take(ordinary, size);
		if (ret == NOT_HERE) {
			TH_LOG("%s: not here", ways[w].name);
			continue;
		}
		EXPECT_LE(0, ret)
			TH_LOG("%s: %ld", ways[w].name, ret);
	}
	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		fd = heap_alloc(heap, size);
		ASSERT_LT(2, fd);
		at = buf_mmap(fd, size);
		ASSERT_NE(MAP_FAILED, at);
		memset(at, 1, size);
		for (w = 0; w < ARRAY_SIZE(ways); w++) {
			ret = ways[w].take(at, size);
			if (ret != NOT_HERE)
				EXPECT_EQ(-ways[w].err, ret)
					TH_LOG("%s: %ld", ways[w].name, ret);
		}
		munmap(at, size);
		close(fd);
	}
	munmap(ordinary, size);
}

TEST_HARNESS_MAIN
