// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping of a heap's buffer counts for the process, its memory for the cgroup of
 * the one that allocated it, and none of its pages can be taken from there.
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
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/io_uring.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include <mm/gup_test.h>

#include "../kselftest_harness.h"
#include "heaps_util.h"

#define MIB	1048576UL

#define ROUNDS		10000
#define ACCOUNTS	"/sys/module/dma_heap/parameters/mem_accounting"

FIXTURE(accounting) {
	struct heap heaps[MAX_HEAPS];
	int nr;
	size_t size;
	char accounts[8];	/* the switch, as it was */
	int dev;		/* the test importer; -1 */
	bool counts;		/* what is mapped is seen to be */
};

FIXTURE_SETUP(accounting) {
	struct test_dmabuf_device device = { .special = 1 };
	char why[128];

	self->nr = find_heaps(self->heaps, false);
	if (!self->nr)
		SKIP(return, "no heaps");
	read_text(ACCOUNTS, self->accounts, sizeof(self->accounts));
	self->dev = device_open(why, sizeof(why));
	if (self->dev >= 0)
		ASSERT_EQ(0, ioctl(self->dev, TEST_DMABUF_DEVICE, &device));
	self->counts = device.special;
}

FIXTURE_TEARDOWN(accounting)
{
	fail_allocations(0);
	write_text(ACCOUNTS, self->accounts);
	close(self->dev);
}

/* So much of @size is seen: nothing where page table entries can't be special. */
static size_t seen(struct _test_data_accounting *self, size_t size)
{
	return self->counts ? size : 0;
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

/* Two processes that map one buffer have half of it each; who just has it, nothing. */
TEST_F_TIMEOUT(accounting, two_processes, TEST_SECONDS)
{
	struct usage usage;
	struct child child;
	struct heap *heap;
	size_t before, all;
	int fd, i;
	char *at;

	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		self->size = 64 * MIB;
		process_rss();
		before = process_rss();
		fd = alloc_large(heap, &self->size);
		ASSERT_LT(2, fd);
		EXPECT_GT(before + MIB, process_rss());
		at = buf_mmap(fd, self->size);
		ASSERT_NE(MAP_FAILED, at);
		all = seen(self, self->size);
		usage = mapping_usage(at);
		EXPECT_EQ(all, usage.rss);
		EXPECT_EQ(all, usage.pss);
		EXPECT_LE(before + all, process_rss());

		/* Another one has it by fork(), */
		child = child_start(fd, at, self->size);
		ASSERT_LT(0, child.pid);
		usage = child_do(&child, CHILD_USAGE);
		EXPECT_EQ(all, usage.rss);
		EXPECT_EQ(all / 2, usage.pss);
		usage = mapping_usage(at);
		EXPECT_EQ(all, usage.rss);
		EXPECT_EQ(all / 2, usage.pss);
		/* lets go of it, */
		child_do(&child, CHILD_UNMAP);
		EXPECT_EQ(all, mapping_usage(at).pss);
		/* and maps it by itself. */
		usage = child_do(&child, CHILD_MAP);
		EXPECT_EQ(all, usage.rss);
		EXPECT_EQ(all / 2, usage.pss);
		EXPECT_EQ(all / 2, mapping_usage(at).pss);
		/* With the process goes what it has mapped. */
		child_end(&child);
		EXPECT_EQ(all, mapping_usage(at).pss);
		munmap(at, self->size);
		EXPECT_GT(before + MIB, process_rss());
		close(fd);
	}
}

/* What is mapped in part, moved, or mapped twice. */
TEST_F_TIMEOUT(accounting, parts, TEST_SECONDS)
{
	size_t size = 4 * MIB, half = size / 2, part = seen(self, half);
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
		EXPECT_EQ(part, mapping_usage(at).rss);

		to = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		to = mremap(at, half, half, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		ASSERT_NE(MAP_FAILED, to);
		usage = mapping_usage(to);
		EXPECT_EQ(part, usage.rss);
		EXPECT_EQ(part, usage.pss);

		at = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, at);
		usage = mapping_usage(at);
		EXPECT_EQ(2 * part, usage.rss);
		/* The first half is mapped twice. */
		EXPECT_EQ(part / 2 + part, usage.pss);
		EXPECT_EQ(part / 2, mapping_usage(to).pss);
		EXPECT_EQ(0, mprotect(at, size, PROT_NONE));
		EXPECT_EQ(0, mprotect(at, size, PROT_READ));
		EXPECT_EQ(part / 2, mapping_usage(to).pss);
		/* Something else in its place */
		EXPECT_EQ(at, mmap(at, size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		EXPECT_EQ(part, mapping_usage(to).pss);
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
		EXPECT_EQ(seen(self, size), mapping_usage(at).pss);
		munmap(at, size);
		close(fd);
	}
	EXPECT_LT(0, failed);
	munmap(fixed, 1UL << 34);
}

static long status_kib(const char *field)
{
	return proc_kib("/proc/self/status", field);
}

static long statm_resident(void)
{
	char text[128];
	long pages;

	if (sscanf(read_text("/proc/self/statm", text, sizeof(text)), "%*d %ld", &pages) != 1)
		return -1;
	return pages;
}

static long own_oom_score(void)
{
	char text[32];

	return atol(read_text("/proc/self/oom_score", text, sizeof(text)));
}

/* A process is not killed for a buffer that it maps: that frees nothing. */
TEST_F_TIMEOUT(accounting, oom_score, TEST_SECONDS)
{
	struct child child;
	long score, rss, statm;
	struct heap *heap;
	char *at;
	int fd, i;

	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		self->size = 64 * MIB;
		fd = alloc_large(heap, &self->size);
		ASSERT_LT(2, fd);
		score = own_oom_score();
		rss = status_kib("VmRSS");
		statm = statm_resident();
		at = buf_mmap(fd, self->size);
		ASSERT_NE(MAP_FAILED, at);
		EXPECT_GE(rss + 1024, status_kib("VmRSS"));
		EXPECT_GE(statm + 256, statm_resident());
		/* Its page tables may count. */
		EXPECT_GE(score + 1, own_oom_score());
		child = child_start(fd, at, self->size);
		EXPECT_EQ(seen(self, self->size / 2), child_do(&child, CHILD_USAGE).pss);
		child_end(&child);
		EXPECT_GE(rss + 1024, status_kib("VmRSS"));
		munmap(at, self->size);
		EXPECT_GE(rss + 1024, status_kib("VmRSS"));
		EXPECT_LE(rss - 1024, status_kib("VmRSS"));
		close(fd);
		/* As much of its own does. */
		at = mmap(NULL, self->size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, at);
		memset(at, 1, self->size);
		EXPECT_LT(score + 1, own_oom_score());
		munmap(at, self->size);
	}
}

/* What the counter of all processors is off by, at most */
#define MAPPED_SLACK	1024

/* How far it is off, if it stays there. */
static long mapped_off(long kib)
{
	long off = 0;
	int i;

	for (i = 0; i < 100; i++) {
		off = labs(proc_kib("/proc/meminfo", "Mapped") - kib);
		if (off <= MAPPED_SLACK)
			break;
		usleep(100000);
	}
	return off;
}

/* In /proc/meminfo a page is mapped, or it is not, by however many. */
TEST_F_TIMEOUT(accounting, mapped, TEST_SECONDS)
{
	struct child child;
	long before, kib;
	struct heap *heap;
	int fd, i;
	char *at;

	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		self->size = 64 * MIB;
		fd = alloc_large(heap, &self->size);
		ASSERT_LT(2, fd);
		before = proc_kib("/proc/meminfo", "Mapped");
		kib = seen(self, self->size) >> 10;
		at = buf_mmap(fd, self->size);
		ASSERT_NE(MAP_FAILED, at);
		EXPECT_GE(MAPPED_SLACK, mapped_off(before + kib));
		child = child_start(fd, at, self->size);
		child_do(&child, CHILD_USAGE);
		EXPECT_GE(MAPPED_SLACK, mapped_off(before + kib));
		munmap(at, self->size);
		EXPECT_GE(MAPPED_SLACK, mapped_off(before + kib));
		child_end(&child);
		EXPECT_GE(MAPPED_SLACK, mapped_off(before));
		close(fd);
	}
}

/* There is nothing to lock; and nobody is refused for it. */
TEST_F_TIMEOUT(accounting, mlock, TEST_SECONDS)
{
	size_t size = 64 * page_size();
	long locked;
	char *at;
	int fd, i;

	for (i = 0; i < self->nr; i++) {
		TH_LOG("%s", self->heaps[i].name);
		fd = heap_alloc(&self->heaps[i], size);
		ASSERT_LT(2, fd);
		at = buf_mmap(fd, size);
		ASSERT_NE(MAP_FAILED, at);
		locked = status_kib("VmLck");
		EXPECT_EQ(0, mlock(at, size));
		EXPECT_EQ(locked, status_kib("VmLck"));
		EXPECT_EQ(0, munlock(at, size));
		EXPECT_EQ(seen(self, size), mapping_usage(at).rss);
		munmap(at, size);
		ASSERT_EQ(0, mlockall(MCL_FUTURE));
		locked = status_kib("VmLck");
		at = buf_mmap(fd, size);
		EXPECT_NE(MAP_FAILED, at);
		EXPECT_EQ(locked, status_kib("VmLck"));
		EXPECT_EQ(0, munlockall());
		at[size - 1] = 1;
		EXPECT_EQ(seen(self, size), mapping_usage(at).rss);
		munmap(at, size);
		close(fd);
	}
}

/* In numa_maps: how many pages of this mapping are on @node? */
static long pages_on_node(const void *at, int node)
{
	unsigned long start;
	char line[4096], field[16], *found;
	FILE *f = fopen("/proc/self/numa_maps", "r");
	long pages = -1;

	snprintf(field, sizeof(field), " N%d=", node);
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx ", &start) != 1 || start != (uintptr_t)at)
			continue;
		found = strstr(line, field);
		pages = found ? atol(found + strlen(field)) : 0;
	}
	if (f)
		fclose(f);
	return pages;
}

/* Where the pages are can be seen, and they stay there. */
TEST_F_TIMEOUT(accounting, nodes, TEST_SECONDS)
{
	/* A chunk is on one node. */
	size_t size = 4 * page_size(), page = page_size();
	void *pages[4];
	unsigned long mask;
	int status[4], other[4], fd, i, j, nr;
	char *at;

	if (access("/proc/self/numa_maps", F_OK))
		SKIP(return, "no NUMA");
	for (i = 0; i < self->nr; i++) {
		TH_LOG("%s", self->heaps[i].name);
		fd = heap_alloc(&self->heaps[i], size);
		ASSERT_LT(2, fd);
		at = buf_mmap(fd, size);
		ASSERT_NE(MAP_FAILED, at);
		for (j = 0; j < 4; j++)
			pages[j] = at + j * page;
		ASSERT_EQ(0, syscall(SYS_move_pages, 0, 4, pages, NULL, status, 0));
		for (j = nr = 0; j < 4; j++) {
			EXPECT_LE(0, status[j]);
			nr += status[j] == status[0];
		}
		EXPECT_EQ(nr, pages_on_node(at, status[0]));
		if (!access("/sys/devices/system/node/node1", F_OK) && nr == 4) {
			for (j = 0; j < 4; j++)
				other[j] = !status[0];
			syscall(SYS_move_pages, 0, 4, pages, other, status, MPOL_MF_MOVE);
			for (j = 0; j < 4; j++)
				EXPECT_GT(0, status[j]);
			mask = 1UL << other[0];
			EXPECT_EQ(-1, syscall(SYS_mbind, at, size, MPOL_BIND, &mask, 64,
					      MPOL_MF_STRICT));
			EXPECT_EQ(EIO, errno);
			mask = 1UL << !other[0];
			EXPECT_EQ(0, syscall(SYS_mbind, at, size, MPOL_BIND, &mask, 64,
					     MPOL_MF_STRICT));
		}
		munmap(at, size);
		close(fd);
	}
}

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	0x8000
#endif

static int open_uffd(unsigned long features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (uffd >= 0 && ioctl(uffd, UFFDIO_API, &api)) {
		close(uffd);
		uffd = -1;
	}
	return uffd;
}

/* A driver's mapping is not for userfaultfd, in any mode, as on the base. */
TEST_F(accounting, userfaultfd)
{
	int uffd = open_uffd(UFFD_FEATURE_WP_ASYNC), plain = open_uffd(0), fd, i;
	size_t size = 16 * page_size();
	struct uffdio_register reg;
	char *at;

	if (plain < 0)
		SKIP(return, "no userfaultfd");
	if (uffd < 0)
		TH_LOG("no asynchronous write protection");
	for (i = 0; i < self->nr; i++) {
		TH_LOG("%s", self->heaps[i].name);
		fd = heap_alloc(&self->heaps[i], size);
		ASSERT_LT(2, fd);
		at = buf_mmap(fd, size);
		ASSERT_NE(MAP_FAILED, at);
		memset(at, 1, size);
		reg = (struct uffdio_register) {
			.range = { (uintptr_t)at, size }, .mode = UFFDIO_REGISTER_MODE_MISSING,
		};
		EXPECT_EQ(-1, ioctl(plain, UFFDIO_REGISTER, &reg));
		EXPECT_EQ(EINVAL, errno);
		reg.mode = UFFDIO_REGISTER_MODE_WP;
		EXPECT_EQ(-1, ioctl(plain, UFFDIO_REGISTER, &reg));
		EXPECT_EQ(EINVAL, errno);
		if (uffd >= 0) {
			EXPECT_EQ(-1, ioctl(uffd, UFFDIO_REGISTER, &reg));
			EXPECT_EQ(EINVAL, errno);
		}
		munmap(at, size);
		close(fd);
	}
	close(uffd);
	close(plain);
}

/* A memory cgroup of our own, in a place of our own */
#define CGROUP_ROOT	"/tmp/heaps-cgroup"
#define CGROUP		CGROUP_ROOT "/heaps"

static void cgroup_end(void)
{
	write_text(CGROUP_ROOT "/cgroup.procs", "0");
	rmdir(CGROUP);
	umount(CGROUP_ROOT);
	rmdir(CGROUP_ROOT);
}

static int cgroup_begin(void)
{
	mkdir("/tmp", 0777);
	mkdir(CGROUP_ROOT, 0700);
	if (mount("heaps", CGROUP_ROOT, "cgroup2", 0, NULL) ||
	    write_text(CGROUP_ROOT "/cgroup.subtree_control", "+memory") ||
	    (mkdir(CGROUP, 0700) && errno != EEXIST) ||
	    access(CGROUP "/memory.max", W_OK)) {
		cgroup_end();
		return -1;
	}
	return 0;
}

static int cgroup_enter(bool in)
{
	return write_text(in ? CGROUP "/cgroup.procs" : CGROUP_ROOT "/cgroup.procs", "0");
}

/* A line of memory.stat or memory.events */
static long cgroup_value(const char *file, const char *name)
{
	char path[128], line[128], word[64];
	long value = -1, number;
	FILE *f;

	snprintf(path, sizeof(path), CGROUP "/%s", file);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld", word, &number) == 2 && !strcmp(word, name))
			value = number;
	if (f)
		fclose(f);
	return value;
}

static long cgroup_kernel(void)
{
	return cgroup_value("memory.stat", "kernel");
}

/* Not more than so many pages of each CPU are missing there, and not for long. */
static bool cgroup_reaches(long bytes)
{
	int i;

	for (i = 0; i < 300 && cgroup_kernel() < bytes; i++)
		usleep(100000);
	return cgroup_kernel() >= bytes;
}

static bool cgroup_falls_to(long bytes)
{
	int i;

	for (i = 0; i < 300 && cgroup_kernel() > bytes; i++)
		usleep(100000);
	return cgroup_kernel() <= bytes;
}

/* What counts by itself: stacks, slab of this and that */
#define CGROUP_SLACK	(128L << 10)

/*
 * Who allocates a buffer pays for it, and for what describes it, even if it is somebody
 * else who maps it; until it is freed, by whomever.
 */
TEST_F_TIMEOUT(accounting, cgroup_pays, TEST_SECONDS)
{
	long before, array, size = 32 * MIB;
	struct heap *heap;
	size_t got;
	char *at;
	int fd, i, on;

	if (!*self->accounts)
		SKIP(return, "no dma_heap.mem_accounting");
	if (cgroup_begin())
		SKIP(return, "no memory cgroups");
	for (i = 0; i < 2 * self->nr; i++) {
		heap = &self->heaps[i / 2];
		on = i % 2;
		TH_LOG("%s, %s", heap->name, on ? "accounted" : "not accounted");
		EXPECT_EQ(0, write_text(ACCOUNTS, on ? "Y" : "N"));
		EXPECT_TRUE(cgroup_falls_to(CGROUP_SLACK));
		before = cgroup_kernel();
		EXPECT_EQ(0, cgroup_enter(true));
		got = size;
		fd = alloc_large(heap, &got);
		EXPECT_EQ(0, cgroup_enter(false));
		ASSERT_LT(2, fd);
		array = got / page_size() * sizeof(void *);
		if (on)
			EXPECT_TRUE(cgroup_reaches(before + got));
		/* As it was allocated, so it stays. */
		EXPECT_EQ(0, write_text(ACCOUNTS, on ? "N" : "Y"));
		at = buf_mmap(fd, got);
		EXPECT_NE(MAP_FAILED, at);
		if (on) {
			/* A pointer for each page as well, and little more */
			EXPECT_TRUE(cgroup_reaches(before + got + array));
			EXPECT_TRUE(cgroup_falls_to(before + got + 6 * array + CGROUP_SLACK));
		} else {
			EXPECT_TRUE(cgroup_falls_to(before + CGROUP_SLACK));
		}
		munmap(at, got);
		close(fd);
		EXPECT_TRUE(cgroup_falls_to(before + CGROUP_SLACK));
	}
	cgroup_end();
}

/* Nobody pays for a buffer unless somebody has said so. */
TEST_F(accounting, not_by_default)
{
	char value[16];

	if (!*self->accounts)
		SKIP(return, "no dma_heap.mem_accounting");
	if (!cmdline_next("dma_heap.mem_accounting", NULL, value, sizeof(value)))
		*value = 'N';
	EXPECT_STREQ(strchr("1yY", *value) ? "Y" : "N", self->accounts);
}

/* More than the limit is ENOMEM, and nobody is killed for it. */
TEST_F_TIMEOUT(accounting, cgroup_limit, TEST_SECONDS)
{
	struct heap *heap;
	long before;
	int fd, i;

	if (!*self->accounts)
		SKIP(return, "no dma_heap.mem_accounting");
	if (cgroup_begin())
		SKIP(return, "no memory cgroups");
	EXPECT_EQ(0, write_text(ACCOUNTS, "Y"));
	EXPECT_EQ(0, write_text(CGROUP "/memory.max", "16M"));
	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		if (heap->chunk > 8 * MIB)
			continue;
		TH_LOG("%s", heap->name);
		before = cgroup_kernel();
		EXPECT_EQ(0, cgroup_enter(true));
		EXPECT_EQ(-ENOMEM, heap_alloc(heap, 24 * MIB));
		fd = heap_alloc(heap, 8 * MIB);
		EXPECT_LT(2, fd);
		EXPECT_EQ(-ENOMEM, heap_alloc(heap, 8 * MIB + page_size()));
		close(fd);
		fd = heap_alloc(heap, 8 * MIB);
		EXPECT_LT(2, fd);
		close(fd);
		EXPECT_EQ(0, cgroup_enter(false));
		EXPECT_TRUE(cgroup_falls_to(before + CGROUP_SLACK));
	}
	EXPECT_EQ(0, cgroup_value("memory.events", "oom_kill"));
	EXPECT_EQ(0, write_text(CGROUP "/memory.max", "max"));
	cgroup_end();
}

/* What the cgroup can do without goes, rather than that the allocation fails. */
TEST_F_TIMEOUT(accounting, cgroup_reclaim, TEST_SECONDS)
{
	size_t spare = 12 * MIB;
	char *at;
	int fd, i;

	if (!*self->accounts)
		SKIP(return, "no dma_heap.mem_accounting");
	if (cgroup_begin())
		SKIP(return, "no memory cgroups");
	EXPECT_EQ(0, write_text(ACCOUNTS, "Y"));
	EXPECT_EQ(0, write_text(CGROUP "/memory.max", "16M"));
	for (i = 0; i < self->nr; i++) {
		if (self->heaps[i].chunk > 8 * MIB)
			continue;
		TH_LOG("%s", self->heaps[i].name);
		EXPECT_EQ(0, cgroup_enter(true));
		at = mmap(NULL, spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, at);
		memset(at, 1, spare);
		EXPECT_EQ(0, madvise(at, spare, MADV_FREE));
		fd = heap_alloc(&self->heaps[i], 8 * MIB);
		EXPECT_LT(2, fd);
		close(fd);
		munmap(at, spare);
		EXPECT_EQ(0, cgroup_enter(false));
	}
	EXPECT_EQ(0, cgroup_value("memory.events", "oom_kill"));
	EXPECT_EQ(0, write_text(CGROUP "/memory.max", "max"));
	cgroup_end();
}

#define ATTACHMENTS	128
/* What an entry of a table has at least, whatever the architecture */
#define SG_ENTRY	16

/*
 * The tables of importers are paid for by who attaches, even if the buffer is of somebody
 * in the root cgroup, who pays for nothing.
 */
TEST_F_TIMEOUT(accounting, cgroup_attach, TEST_SECONDS)
{
	int attach[ATTACHMENTS], fd, i, on;
	long before, tables, size = 16 * MIB;
	struct heap *heap = NULL;

	for (i = 0; i < self->nr; i++)
		if (self->heaps[i].chunk && (!heap || self->heaps[i].chunk < heap->chunk))
			heap = &self->heaps[i];
	if (!heap || heap->chunk > 64 << 10 || self->dev < 0)
		SKIP(return, "no test importer, or no heap of many chunks");
	if (!*self->accounts || cgroup_begin())
		SKIP(return, "no accounting, or no memory cgroups");
	tables = ATTACHMENTS * (size / heap->chunk) * SG_ENTRY;
	for (on = 0; on < 2; on++) {
		TH_LOG("%s, %s", heap->name, on ? "accounted" : "not accounted");
		EXPECT_EQ(0, write_text(ACCOUNTS, on ? "Y" : "N"));
		fd = heap_alloc(heap, size);
		EXPECT_TRUE(cgroup_falls_to(CGROUP_SLACK));
		before = cgroup_kernel();
		EXPECT_EQ(0, cgroup_enter(true));
		for (i = 0; i < ATTACHMENTS; i++)
			attach[i] = buf_attach(self->dev, fd, 0, 0);
		EXPECT_EQ(0, cgroup_enter(false));
		EXPECT_LT(0, attach[ATTACHMENTS - 1]);
		EXPECT_TRUE(on ? cgroup_reaches(before + tables) :
				 cgroup_falls_to(before + CGROUP_SLACK));
		for (i = 0; i < ATTACHMENTS; i++)
			buf_detach(self->dev, attach[i]);
		EXPECT_TRUE(cgroup_falls_to(before + CGROUP_SLACK));
		close(fd);
	}
	cgroup_end();
}

static long slab_kib(void)
{
	return proc_kib("/proc/meminfo", "SUnreclaim");
}

/*
 * Allocates, maps, and lets go of it; some of it fails, more where the kernel can be told
 * to let allocations fail.
 */
static int some_rounds(struct heap *heaps, int nr, int rounds)
{
	int i, fd, failed = 0;
	size_t size;
	char *at;

	for (i = 0; i < rounds; i++) {
		fail_allocations(i % 4 ? 3 + i % 17 : 0);
		/* Now and then more than the limit */
		size = i % 50 == 49 ? 24 * MIB : (1 + i % 7) * page_size();
		fd = heap_alloc(&heaps[i % nr], size);
		if (fd < 0) {
			failed++;
			continue;
		}
		at = buf_mmap(fd, size);
		if (at != MAP_FAILED)
			munmap(at, size);
		close(fd);
	}
	fail_allocations(0);
	return failed;
}

/* Whatever fails on the way: charge, area and slab are what they were. */
TEST_F_TIMEOUT(accounting, cgroup_leaks, 4 * TEST_SECONDS)
{
	int i, nr = 0;
	struct heap small[MAX_HEAPS];
	long charge, slab;
	int64_t used;

	if (!*self->accounts)
		SKIP(return, "no dma_heap.mem_accounting");
	if (cgroup_begin())
		SKIP(return, "no memory cgroups");
	for (i = 0; i < self->nr; i++)
		if (self->heaps[i].chunk <= 64 << 10)
			small[nr++] = self->heaps[i];
	EXPECT_EQ(0, write_text(ACCOUNTS, "Y"));
	EXPECT_EQ(0, write_text(CGROUP "/memory.max", "16M"));
	EXPECT_EQ(0, cgroup_enter(true));
	some_rounds(small, nr, 200);
	used = cma_used();
	charge = cgroup_kernel();
	slab = slab_kib();
	EXPECT_LT(ROUNDS / 50 - 1, some_rounds(small, nr, ROUNDS));
	EXPECT_EQ(used, cma_used());
	EXPECT_TRUE(cgroup_falls_to(charge + CGROUP_SLACK));
	EXPECT_GE(slab + 1024, slab_kib());
	EXPECT_EQ(0, cgroup_enter(false));
	EXPECT_EQ(0, write_text(CGROUP "/memory.max", "max"));
	cgroup_end();
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
		ret = pwrite64(fd, &byte, 1, (uintptr_t)at);
	else
		ret = pread64(fd, &byte, 1, (uintptr_t)at);
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
