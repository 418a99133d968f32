// SPDX-License-Identifier: GPL-2.0
/*
 * A bad importer: each way of looking at the struct pages of an imported buffer
 * ends in a report that names the importer and the buffer, in the death of who
 * did it and of nothing else.
 *
 * Each way is tried in a process of its own, which the oops ends. This is not
 * among the tests that run by themselves, since the kernel is tainted after it,
 * and lockdep off.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "../kselftest.h"
#include "dmabuf_util.h"

#define SEGMENTS	2
#define SEGMENT_PAGES	4
#define PATIENCE	60	/* seconds */

#define SG_PAGE		"dereferenced sg_page()"
#define ITERATOR	"dereferenced a page of a page iterator"
#define CONTENT		"accessed the content by kmap() or page_address()"
#define PASSED_ON	"passed sg_page() on"

/*
 * With 32 bits there is no vmemmap: the pages are in a hole of the vmalloc area, and
 * their content is nowhere. Where it is looked for, flags are looked at first.
 */
#ifdef __LP64__
#define CONTENT_OR_PAGE	CONTENT
#define NAMED_TABLES	4096
#else
#define CONTENT_OR_PAGE	SG_PAGE
#define NAMED_TABLES	64
#endif

/* What ends a way; 1 for death. */
#define DIES	1
/* Whatever the kernel is built and booted with decides. */
#define EITHER	2

struct way {
	const char *name;
	int way;
	int end;
	const char *what;	/* NULL: no report */
};

static const struct way ways[] = {
	{ "flags", TEST_DMABUF_FLAGS, DIES, SG_PAGE },
	{ "get_page", TEST_DMABUF_GET_PAGE, DIES, SG_PAGE },
	{ "for_each_sgtable_page", TEST_DMABUF_ITERATOR, DIES, ITERATOR },
	{ "memcpy_from_page", TEST_DMABUF_KMAP, DIES, CONTENT_OR_PAGE },
	{ "kmap_local_page", TEST_DMABUF_KMAP_LOCAL, DIES, CONTENT_OR_PAGE },
	{ "sg_virt", TEST_DMABUF_SG_VIRT, DIES, CONTENT_OR_PAGE },
	{ "sg_miter_next", TEST_DMABUF_MITER, DIES, CONTENT_OR_PAGE },
	{ "sg_copy_to_buffer", TEST_DMABUF_COPY_FROM, DIES, CONTENT_OR_PAGE },
	{ "sg_copy_from_buffer", TEST_DMABUF_COPY_TO, DIES, CONTENT_OR_PAGE },
	{ "page_to_pfn", TEST_DMABUF_PFN, DIES, SG_PAGE },
	{ "flags after unmap", TEST_DMABUF_STALE, DIES, SG_PAGE },
	/* Dies under KASAN, which looks at the source first. */
	{ "copy_to_user", TEST_DMABUF_TO_USER, EITHER, CONTENT_OR_PAGE },
	/* Refused, and reported nevertheless. */
	{ "vmap", TEST_DMABUF_VMAP, -ENOMEM, PASSED_ON },
	{ "dma_map_page", TEST_DMABUF_DMA_MAP, -ENOMEM, PASSED_ON },
	{ "dma_map_sgtable", TEST_DMABUF_DMA_SG, -EINVAL, PASSED_ON },
#ifdef __LP64__
	{ "sg_phys", TEST_DMABUF_SG_PHYS, DIES, CONTENT },
	{ "dma_map_resource", TEST_DMABUF_DMA_RESOURCE, -ENOMEM, PASSED_ON },
	/* Not an access of the importer, and so without a report. */
	{ "copy_from_kernel_nofault", TEST_DMABUF_NOFAULT, -EFAULT, NULL },
	{ "memremap", TEST_DMABUF_MEMREMAP, -ENOMEM, PASSED_ON },
#endif
	{ "pfn_valid", TEST_DMABUF_PFN_VALID, -ENOENT, NULL },
};

/* What drivers do that have an IOMMU domain of their own, if there is an IOMMU */
static const struct way iommu_ways[] = {
	{ "iommu_map_sgtable", TEST_DMABUF_IOMMU_SG, -EINVAL, PASSED_ON },
	{ "iommu_map", TEST_DMABUF_IOMMU_PHYS, -EINVAL, PASSED_ON },
};

/* The importer */
static struct test_dmabuf_device importer;

static int dev, kmsg;

static void drain_kmsg(void)
{
	char record[8192];

	while (read(kmsg, record, sizeof(record)) > 0 || errno == EPIPE)
		;
}

/*
 * Wait until the kernel has said that the importer did @what to the buffer @fd,
 * at most @seconds. With @what NULL: has it said anything of importers?
 */
static bool reported(const char *what, int fd, const char *exporter, const char *state,
		     int seconds)
{
	time_t end = time(NULL) + seconds;
	char record[8192], who[192], whose[192];
	bool named = false;
	struct stat st;
	ssize_t len;

	fstat(fd, &st);
	snprintf(who, sizeof(who), "dma-buf: importer %s (driver dmabuf_test) %s, page ",
		 importer.name, what ?: "");
	snprintf(whose, sizeof(whose),
		 "dma-buf: the buffer is of exporter %s, inode %lu, size %lu; it %s", exporter,
		 (unsigned long)st.st_ino, (unsigned long)st.st_size, state);
	do {
		len = read(kmsg, record, sizeof(record) - 1);
		if (len <= 0) {
			if (len < 0 && errno == EAGAIN)
				usleep(20000);
			continue;
		}
		record[len] = 0;
		if (!what && strstr(record, "dma-buf: importer"))
			return true;
		named |= !!strstr(record, who);
		if (what && named && strstr(record, whose))
			return true;
	} while (time(NULL) < end);
	return false;
}

/* In the child: dies, or says how it went. */
static void misbehave(int map, const struct way *way)
{
	struct test_dmabuf_peek arg = { .map = map, .way = way->way };
	char byte = 0;

	arg.data = (uintptr_t)&byte;
	_exit(ioctl(dev, TEST_DMABUF_PEEK, &arg) < 0 ? errno : 0);
}

/* How a child ended: DIES, or a negative errno. */
static int end_of(pid_t pid)
{
	time_t end = time(NULL) + PATIENCE;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (time(NULL) > end)
			return -ETIME;
		usleep(10000);
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : DIES;
}

/* All of this process that must not hang on to what others wait for. */
static pid_t fork_quiet(void)
{
	pid_t pid = fork();

	if (!pid) {
		close(STDIN_FILENO);
		close(STDOUT_FILENO);
		close(STDERR_FILENO);
	}
	return pid;
}

static void try_way(const struct way *way, int fd, const char *exporter)
{
	const char *state = way->way == TEST_DMABUF_STALE ? "has been unmapped" : "is mapped";
	int attach = buf_attach(dev, fd, 0, 0), map, end;
	bool said, good;
	pid_t pid;

	map = buf_map(dev, attach, DMA_BIDIRECTIONAL);
	drain_kmsg();
	pid = fork_quiet();
	if (!pid)
		misbehave(map, way);
	end = end_of(pid);
	said = reported(way->what, fd, exporter, state, way->what ? 5 : 1);
	good = said == !!way->what && (end == way->end || way->end == EITHER);
	if (way->way != TEST_DMABUF_STALE)
		good &= !buf_unmap(dev, map);
	good &= !buf_detach(dev, attach);
	ksft_test_result(good, "%s of a buffer of %s: %s, %s\n", way->name, exporter,
			 said ? "reported" : "no report",
			 end == DIES ? "killed" : strerror(-end));
}

/*
 * A page that is kept for longer than the kernel remembers: its place is somebody
 * else's by now, who is innocent, and the report says that there were others.
 */
static void try_kept(int fd)
{
	struct test_dmabuf_peek keep = { .way = TEST_DMABUF_KEEP };
	static const struct way kept = { "kept", TEST_DMABUF_KEPT };
	struct test_dmabuf_bench bench = {};
	int other = buf_export(dev, 1, 1, 0), attach, map, end;
	time_t patience = time(NULL) + 10;
	bool earlier = false;
	char record[8192], whose[192];
	struct stat st;
	ssize_t len;
	pid_t pid;

	attach = buf_attach(dev, fd, 0, 0);
	map = buf_map(dev, attach, DMA_BIDIRECTIONAL);
	keep.map = map;
	ioctl(dev, TEST_DMABUF_PEEK, &keep);
	buf_unmap(dev, map);
	buf_detach(dev, attach);
	/* All slots have another turn, and not two. */
	attach = buf_attach(dev, other, 1, 0);
	bench.attach = attach;
	bench.rounds = NAMED_TABLES + 8;
	if (ioctl(dev, TEST_DMABUF_BENCH, &bench))
		ksft_print_msg("no rounds: %s\n", strerror(errno));
	buf_detach(dev, attach);
	close(other);
	fstat(fd, &st);
	snprintf(whose, sizeof(whose),
		 "an earlier owner of that place: importer %s (driver dmabuf_test), exporter test_dmabuf, inode %lu,",
		 importer.name, (unsigned long)st.st_ino);
	drain_kmsg();
	pid = fork_quiet();
	if (!pid)
		misbehave(0, &kept);
	end = end_of(pid);
	while (!earlier && time(NULL) < patience) {
		len = read(kmsg, record, sizeof(record) - 1);
		if (len <= 0) {
			usleep(20000);
			continue;
		}
		record[len] = 0;
		earlier = !!strstr(record, whose);
	}
	ksft_test_result(end == DIES && earlier, "a page kept for long: %s\n",
			 earlier ? "earlier owners are named" : "no earlier owner");
}

/* Shares the memory of who forks, and lives on after an oops of the other. */
static pid_t fork_shared(int (*fn)(void *), void *arg)
{
	static alignas(16) char stack[65536];

	return clone(fn, stack + sizeof(stack), CLONE_VM | SIGCHLD, arg);
}

static int touch(void *arg)
{
	__atomic_store_n((char *)arg, 1, __ATOMIC_RELAXED);
	_exit(0);
}

#define CORRUPT_SIZE	(2UL << 30)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

/*
 * A page table that is bad at some level: that is said, in the death of who used it, and
 * of nothing else. Whoever looks for a reason must not fault over it.
 */
static void try_corrupt(int level)
{
	struct test_dmabuf_corrupt arg = { .level = level };
	bool said = false, good;
	time_t patience;
	char record[8192];
	ssize_t len;
	pid_t pid;
	char *at;
	int end;

	/* In a part of the address space where nothing else is */
	at = mmap(NULL, CORRUPT_SIZE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED) {
		ksft_test_result_fail("a page table bad at level %d: %s\n", level,
				      strerror(errno));
		return;
	}
	arg.at = ((uintptr_t)at + (1UL << 30) - 1) & -(1UL << 30);
	/* There, and in no TLB */
	if (madvise((void *)(uintptr_t)arg.at, page_size(), MADV_POPULATE_WRITE) ||
	    ioctl(dev, TEST_DMABUF_CORRUPT, &arg)) {
		ksft_test_result_skip("a page table bad at level %d: %s\n", level,
				      strerror(errno));
		munmap(at, CORRUPT_SIZE);
		return;
	}
	drain_kmsg();
	pid = fork_shared(touch, (void *)(uintptr_t)arg.at);
	end = end_of(pid);
	patience = time(NULL) + 10;
	while (!said && time(NULL) < patience) {
		len = read(kmsg, record, sizeof(record) - 1);
		if (len <= 0) {
			usleep(20000);
			continue;
		}
		record[len] = 0;
		said = !!strstr(record, "Corrupted page table at address");
	}
	arg.restore = 1;
	good = !ioctl(dev, TEST_DMABUF_CORRUPT, &arg) && !*(char *)(uintptr_t)arg.at;
	munmap(at, CORRUPT_SIZE);
	ksft_test_result(good && said && end == DIES, "a page table bad at level %d: %s, %s\n",
			 level, said ? "reported" : "no report",
			 end == DIES ? "killed" : strerror(-end));
}

/* The page mapped to userspace, by its struct page, which is seen at once. */
static void try_vm_insert_page(int fd)
{
	int attach = buf_attach(dev, fd, 0, 0);
	int map = buf_map(dev, attach, DMA_BIDIRECTIONAL);
	pid_t pid;
	bool good;

	drain_kmsg();
	pid = fork_quiet();
	if (!pid) {
		mmap(NULL, page_size(), PROT_READ, MAP_SHARED, dev, 2UL * map * page_size());
		_exit(0);
	}
	/* It died with its own mmap_lock, so it never ends. */
	good = reported(SG_PAGE, fd, "test_dmabuf", "is mapped", PATIENCE);
	ksft_test_result(good, "vm_insert_page: reported\n");
}

#ifdef __LP64__
/*
 * And by its page frame number, which nobody looks at. A processor that knows of no
 * such memory finds the page table bad, and x86 says whose page it is. Others read
 * what a bus gives where nothing is; it is not the buffer.
 */
static void try_remap_pfn_range(int fd, const char *cpu)
{
	int attach = buf_attach(dev, fd, 0, 0);
	int map = buf_map(dev, attach, DMA_BIDIRECTIONAL), end;
	bool said;
	pid_t pid;

	drain_kmsg();
	pid = fork_quiet();
	if (!pid) {
		char *at = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, dev,
				(2UL * map + TEST_DMABUF_MMAP_PFN) * page_size());

		if (at == MAP_FAILED)
			_exit(errno);
		memset(at, 0xba, 64);
		_exit(!memcmp(at, cpu, 64) ? EEXIST : 0);
	}
	end = end_of(pid);
	said = reported(PASSED_ON, fd, "test_dmabuf", "is mapped", 1);
	buf_unmap(dev, map);
	buf_detach(dev, attach);
#ifdef __x86_64__
	ksft_test_result(said == (end == DIES) && end != -EEXIST && end != -ETIME,
			 "remap_pfn_range: %s\n", said ? "reported" : "unseen, as documented");
#else
	ksft_test_result(!said && end != -EEXIST && end != -ETIME,
			 "remap_pfn_range: unseen, as documented\n");
#endif
}
#endif

static void try_exporters(void)
{
	int fd;

	fd = buf_heap("system", SEGMENT_PAGES * page_size());
	if (fd >= 0)
		try_way(&ways[0], fd, "system");
	else
		ksft_test_result_skip("no system heap\n");
	close(fd);
	fd = buf_udmabuf(SEGMENT_PAGES * page_size());
	if (fd >= 0)
		try_way(&ways[0], fd, "udmabuf");
	else
		ksft_test_result_skip("no udmabuf\n");
	close(fd);
}

int main(void)
{
	size_t size = SEGMENTS * SEGMENT_PAGES * page_size(), i;
	struct test_dmabuf_state state;
	char why[128], buf[16], *cpu;
	int fd;

	ksft_print_header();
	if (atoi(read_text("/proc/sys/kernel/panic_on_oops", buf, sizeof(buf))) ||
	    atoi(read_text("/proc/sys/kernel/panic_on_warn", buf, sizeof(buf))))
		ksft_exit_skip("an oops panics\n");
	dev = device_open(why, sizeof(why));
	if (dev < 0)
		ksft_exit_skip("%s\n", why);
	if (debug_set(true))
		ksft_exit_skip("no CONFIG_DMABUF_DEBUG\n");
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	fd = buf_export(dev, SEGMENTS, SEGMENT_PAGES, 0);
	if (kmsg < 0 || fd < 0 || ioctl(dev, TEST_DMABUF_DEVICE, &importer))
		ksft_exit_fail_msg("/dev/kmsg %d, buffer %d\n", kmsg, fd);
	cpu = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fill(cpu, size, 3);
	ksft_print_msg("importer %s, %s\n", importer.name,
		       importer.iommu ? "behind an IOMMU" : "without an IOMMU");
	ksft_set_plan(ARRAY_SIZE(ways) + ARRAY_SIZE(iommu_ways) + 9);

	for (i = 0; i < ARRAY_SIZE(ways); i++)
		try_way(&ways[i], fd, "test_dmabuf");
	for (i = 0; i < ARRAY_SIZE(iommu_ways); i++) {
		if (importer.iommu)
			try_way(&iommu_ways[i], fd, "test_dmabuf");
		else
			ksft_test_result_skip("%s: no IOMMU\n", iommu_ways[i].name);
	}
	try_exporters();
	try_kept(fd);
	for (i = 1; i <= 3; i++)
		try_corrupt(i);
#ifdef __LP64__
	try_remap_pfn_range(fd, cpu);
#else
	ksft_test_result_skip("remap_pfn_range: the number may be real memory\n");
#endif
	ksft_test_result(!count_wrong(cpu, size, 3) && !buf_state(dev, fd, &state) &&
			 !state.wrong && !state.mapped, "buffer and tables are as they were\n");
	/* Last, as this one keeps its mapping. */
	try_vm_insert_page(fd);
	ksft_finished();
}
