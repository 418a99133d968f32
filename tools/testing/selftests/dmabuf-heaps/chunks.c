// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps of chunks: what their buffers are made of, what stands in the way, and
 * which heaps there are. Where to look for chunk_heap= on the command line:
 *
 *	chunk_heap=reserved chunk_heap=reserved:1M chunk_heap=reserved:3000
 *	chunk_heap=nosuch
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include <lib/test_pinpage_uapi.h>
#include <mm/cma_test.h>

#include "../kselftest_harness.h"
#include "heaps_util.h"

#define NODES		"/proc/device-tree/reserved-memory"
#define PROPERTY	"linux,heap-chunk-bytes"

FIXTURE(chunks) {
	struct heap heaps[MAX_HEAPS];
	int nr;
	struct heap *heap;	/* that of the smallest chunks */
	int dev;		/* the test importer; -1 */
	int was_on;
	size_t page;

	/* Its area, if there is a test driver; and what is mapped in it */
	int cma;
	struct cma_test_info area;
	char *at;
	size_t pages;
	uint64_t *pfns;
	int pin;
};

static bool open_area(struct _test_data_chunks *self)
{
	char *end;

	self->cma = open("/dev/cma_test", O_RDWR | O_CLOEXEC);
	if (self->cma < 0)
		return false;
	snprintf(self->area.name, sizeof(self->area.name), "%.63s", self->heap->name);
	/* REGION-SIZE-chunks */
	end = strrchr(self->area.name, '-');
	if (end)
		*end = 0;
	end = strrchr(self->area.name, '-');
	if (end)
		*end = 0;
	return !ioctl(self->cma, CMA_TEST_INFO, &self->area);
}

FIXTURE_SETUP(chunks) {
	char why[128];
	int i;

	self->nr = find_heaps(self->heaps, true);
	if (!self->nr)
		SKIP(return, "no heap of chunks");
	self->heap = self->heaps;
	for (i = 1; i < self->nr; i++)
		if (self->heaps[i].chunk < self->heap->chunk)
			self->heap = &self->heaps[i];
	self->page = page_size();
	self->dev = device_open(why, sizeof(why));
	self->was_on = debug_get();
	self->pin = -1;
	if (!open_area(self) && self->cma >= 0) {
		close(self->cma);
		self->cma = -1;
	}
}

FIXTURE_TEARDOWN(chunks)
{
	uint64_t ns;

	if (self->cma >= 0) {
		ioctl(self->cma, CMA_TEST_LETGO, &ns);
		close(self->cma);
	}
	if (self->pin >= 0)
		close(self->pin);
	if (self->at)
		munmap(self->at, self->pages * self->page);
	free(self->pfns);
	if (self->was_on >= 0)
		EXPECT_EQ(0, debug_set(self->was_on));
	close(self->dev);
}

/*
 * The table that an importer gets: each chunk an entry of its own, by address. Behind an
 * IOMMU the addresses are its own.
 */
static void check_table(struct __test_metadata *_metadata, struct _test_data_chunks *self,
			struct heap *heap, int fd, unsigned int step)
{
	unsigned int i, nr = buf_size(fd) / heap->chunk;
	bool translated = behind_iommu(self->dev);
	struct test_dmabuf_entry entry;
	uint64_t behind = 0;
	int attach, map;

	attach = buf_attach(self->dev, fd, 0, 0);
	ASSERT_LT(0, attach);
	map = buf_map(self->dev, attach, DMA_BIDIRECTIONAL);
	ASSERT_LT(0, map);
	for (i = 0; i < nr; i += step) {
		ASSERT_EQ(0, buf_entry(self->dev, map, i, &entry));
		EXPECT_EQ(nr, entry.orig_nents);
		EXPECT_EQ(heap->chunk, entry.length);
		EXPECT_EQ(0, entry.offset);
		if (translated)
			continue;
		EXPECT_EQ(0, entry.dma_address % heap->chunk);
		EXPECT_LE(behind, entry.dma_address);
		behind = entry.dma_address + heap->chunk;
	}
	if (self->cma >= 0 && heap == self->heap && !translated) {
		EXPECT_LE(self->area.base_pfn * self->page, entry.dma_address);
		EXPECT_GE((self->area.base_pfn + self->area.count) * self->page, behind);
	}
	EXPECT_EQ(0, buf_unmap(self->dev, map));
	EXPECT_EQ(0, buf_detach(self->dev, attach));
}

TEST_F_TIMEOUT(chunks, table, TEST_SECONDS)
{
	struct heap *heap;
	int fd, i;

	if (self->dev < 0 || dma_bounces())
		SKIP(return, "no test importer that sees addresses of memory");
	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		/* The last chunk need not be full. */
		fd = heap_alloc(heap, 8 * heap->chunk + self->page);
		ASSERT_LT(2, fd);
		EXPECT_EQ(9 * heap->chunk, buf_size(fd));
		check_table(_metadata, self, heap, fd, 1);
		close(fd);
	}
}

static size_t count_nonzero(const char *at, size_t size)
{
	size_t i, n = 0;

	for (i = 0; i < size; i++)
		n += !!at[i];
	return n;
}

/* As much as there is, whatever was in it. */
TEST_F_TIMEOUT(chunks, zeroed, TEST_SECONDS)
{
	struct heap *heap;
	size_t size;
	int fd, i, j;
	char *at;

	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		size = 16 * heap->chunk;
		for (j = 0; j < 3; j++) {
			fd = heap_alloc(heap, size);
			ASSERT_LT(2, fd);
			at = buf_mmap(fd, size);
			ASSERT_NE(MAP_FAILED, at);
			EXPECT_EQ(0, count_nonzero(at, size));
			memset(at, 0xff, size);
			munmap(at, size);
			close(fd);
		}
	}
}

/* Some of each page: if it's somebody else's as well, that one will see it. */
static void write_to(struct __test_metadata *_metadata, int fd, size_t size)
{
	size_t page = page_size(), i;
	char *at = buf_mmap(fd, size);

	ASSERT_NE(MAP_FAILED, at);
	for (i = 0; i < size; i += page)
		memset(at + i, 0xff, 64);
	munmap(at, size);
}

static size_t pages_written(const char *at, size_t size)
{
	size_t page = page_size(), i, n = 0;

	for (i = 0; i < size; i += page)
		n += count_nonzero(at + i, 64);
	return n;
}

/* All chunks that there are, twice; then there are none, and that does no harm. */
TEST_F_TIMEOUT(chunks, all_or_nothing, TEST_SECONDS)
{
	int64_t used = cma_used();
	size_t size, part = 4 << 20;
	struct heap *heap = self->heap;
	int fd, fds[1024], nr, round, i;
	char *at;

	size = self->cma >= 0 ? (self->area.count * self->page) : 0;
	if (size)
		EXPECT_EQ(-ENOMEM, heap_alloc(heap, size + heap->chunk));
	EXPECT_EQ(used, cma_used());
	for (round = 0; round < 2; round++) {
		for (nr = 0; nr < 1024; nr++) {
			fds[nr] = heap_alloc(heap, part);
			if (fds[nr] < 0)
				break;
		}
		ASSERT_GT(1024, nr);
		EXPECT_EQ(-ENOMEM, fds[nr]);
		EXPECT_LT(1, nr);
		for (i = 0; i < nr; i++)
			write_to(_metadata, fds[i], part);
		/* Half of it is back; twice that is not to be had. */
		for (i = 0; i < nr / 2; i++)
			close(fds[i]);
		used = cma_used();
		EXPECT_EQ(-ENOMEM, heap_alloc(heap, nr * part));
		EXPECT_EQ(used, cma_used());
		fd = heap_alloc(heap, nr / 4 * part);
		EXPECT_LT(2, fd);
		at = buf_mmap(fd, nr / 4 * part);
		ASSERT_NE(MAP_FAILED, at);
		EXPECT_EQ(0, pages_written(at, nr / 4 * part));
		munmap(at, nr / 4 * part);
		close(fd);
		for (i = nr / 2; i < nr; i++)
			close(fds[i]);
	}
}

static uint64_t pfn_of(const void *at, size_t page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (pread(fd, &entry, 8, (uintptr_t)at / page * 8) != 8)
		entry = 0;
	close(fd);
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

static bool in_area(struct _test_data_chunks *self, uint64_t pfn)
{
	return pfn >= self->area.base_pfn && pfn < self->area.base_pfn + self->area.count;
}

/* A page of ours in each of so many pageblocks, as far apart as can be. */
static void put_pages(struct __test_metadata *_metadata, struct _test_data_chunks *self,
		      size_t pages)
{
	uint64_t blocks = self->area.count / self->area.pageblock;
	struct cma_test_place place;
	size_t i, put = 0;

	self->pages = pages;
	self->at = mmap(NULL, pages * self->page, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->at);
	madvise(self->at, pages * self->page, MADV_NOHUGEPAGE);
	for (i = 0; i < pages; i++)
		fill(self->at + i * self->page, self->page, i);
	for (i = 0; i < pages; i++) {
		place.addr = (uintptr_t)self->at + i * self->page;
		place.pfn = self->area.base_pfn + i * blocks / pages * self->area.pageblock +
			    i * 41 % self->area.pageblock;
		put += !ioctl(self->cma, CMA_TEST_PLACE, &place);
	}
	/* Somebody else may have been at one of these places. */
	EXPECT_LE(pages * 9 / 10, put);
}

static void keep_pages(struct __test_metadata *_metadata, struct _test_data_chunks *self,
		       int hold)
{
	struct cma_test_keep keep = { .hold = hold };
	size_t i;

	for (i = 0; i < self->pages; i++) {
		keep.addr = (uintptr_t)self->at + i * self->page;
		ASSERT_EQ(0, ioctl(self->cma, CMA_TEST_KEEP, &keep));
	}
}

static size_t pages_wrong(struct _test_data_chunks *self)
{
	size_t i, wrong = 0;

	for (i = 0; i < self->pages; i++)
		wrong += count_wrong(self->at + i * self->page, self->page, i);
	return wrong;
}

/* With a pin in each pageblock there is no larger piece than half of one. */
TEST_F_TIMEOUT(chunks, smaller_pieces, TEST_SECONDS)
{
	size_t size, blocks;
	int64_t used;
	int fd;

	if (self->cma < 0)
		SKIP(return, "no test driver for CMA");
	blocks = self->area.count / self->area.pageblock;
	put_pages(_metadata, self, blocks);
	keep_pages(_metadata, self, CMA_TEST_PIN);
	used = cma_used();
	size = self->area.count / 2 * self->page;
	fd = heap_alloc(self->heap, size);
	EXPECT_LT(2, fd);
	if (fd > 0) {
		/* They come from more than one attempt, and are sorted. */
		if (self->dev >= 0 && !dma_bounces())
			check_table(_metadata, self, self->heap, fd, 7);
		write_to(_metadata, fd, size);
		close(fd);
	}
	EXPECT_EQ(0, pages_wrong(self));
	EXPECT_EQ(used, cma_used());
	/* All of it is not to be had, and says whose fault it is. */
	EXPECT_EQ(-ENOMEM, heap_alloc(self->heap, self->area.count * self->page));
	EXPECT_EQ(used, cma_used());
	EXPECT_NE(0, count_log("pinned"));
}

/* Registered pins give way to a buffer, and keep what is in their pages. */
TEST_F_TIMEOUT(chunks, pinpage_gives_way, TEST_SECONDS)
{
	struct test_pinpage_pin pin = { .kind = TEST_PINPAGE_USER, .stride = 1,
					.flags = TEST_PINPAGE_WRITE };
	struct test_pinpage_counters counters = {};
	struct test_pinpage_access access = {};
	size_t i, inside = 0, left = 0, missing, size;
	char *copy;
	int fd;

	if (self->cma < 0)
		SKIP(return, "no test driver for CMA");
	self->pin = open("/dev/pinpage_test", O_RDWR | O_CLOEXEC);
	if (self->pin < 0 && !system("modprobe -q test_pinpage >/dev/null 2>&1"))
		self->pin = open("/dev/pinpage_test", O_RDWR | O_CLOEXEC);
	if (self->pin < 0)
		SKIP(return, "no /dev/pinpage_test");
	put_pages(_metadata, self, 64);
	pin.addr = (uintptr_t)self->at;
	pin.len = self->pages * self->page;
	ASSERT_EQ(0, ioctl(self->pin, TEST_PINPAGE_PIN, &pin));
	for (i = 0; i < self->pages; i++)
		inside += in_area(self, pfn_of(self->at + i * self->page, self->page));
	ASSERT_LT(self->pages / 2, inside);

	/*
	 * All of the area that has not been given out, but for a few chunks: a disk
	 * may have buffers there that its journal does not let go.
	 */
	ASSERT_EQ(0, ioctl(self->cma, CMA_TEST_INFO, &self->area));
	size = self->area.free * self->page / self->heap->chunk;
	for (missing = 0; missing < 8; missing++) {
		fd = heap_alloc(self->heap, (size - missing) * self->heap->chunk);
		if (fd != -ENOMEM)
			break;
	}
	ASSERT_LT(2, fd);
	write_to(_metadata, fd, (size - missing) * self->heap->chunk);
	for (i = 0; i < self->pages; i++)
		left += in_area(self, pfn_of(self->at + i * self->page, self->page));
	EXPECT_GE(missing, left);

	/* The device and the process see what they had. */
	counters.id = pin.id;
	ASSERT_EQ(0, ioctl(self->pin, TEST_PINPAGE_COUNTERS, &counters));
	EXPECT_LE(inside - left, counters.moved);
	EXPECT_EQ(0, counters.violations);
	EXPECT_EQ(0, pages_wrong(self));
	copy = malloc(pin.len);
	ASSERT_NE(NULL, copy);
	access.id = pin.id;
	access.len = pin.len;
	access.ptr = (uintptr_t)copy;
	ASSERT_EQ(0, ioctl(self->pin, TEST_PINPAGE_READ, &access));
	EXPECT_EQ(0, memcmp(copy, self->at, pin.len));
	free(copy);
	close(fd);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

/* Whoever waits for a page that stays locked can be killed, and leaves nothing. */
TEST_F_TIMEOUT(chunks, killed_waiting, TEST_SECONDS)
{
	int64_t used = cma_used();
	int status, i;
	size_t size;
	pid_t pid;

	if (self->cma < 0 || used < 0)
		SKIP(return, "no test driver for CMA");
	/* Shared, so that nothing but the lock is in the way of who locks it. */
	self->pages = 1;
	self->at = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	ASSERT_NE(MAP_FAILED, self->at);
	fill(self->at, self->page, 0);
	ASSERT_EQ(0, ioctl(self->cma, CMA_TEST_PLACE, &(struct cma_test_place) {
		.addr = (uintptr_t)self->at,
		.pfn = self->area.base_pfn + self->area.count / 2 }));
	keep_pages(_metadata, self, CMA_TEST_LOCK);
	ASSERT_EQ(0, ioctl(self->cma, CMA_TEST_INFO, &self->area));
	size = self->area.free * self->page / self->heap->chunk * self->heap->chunk;
	used = cma_used();
	pid = fork();
	if (!pid)
		_exit(heap_alloc(self->heap, size) < 0);
	/* It has all but what is locked soon, and waits. */
	usleep(1500000);
	for (i = 0; i < 300 && cma_used() <= used; i++)
		usleep(100000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_LT(used, cma_used());
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(used, cma_used());
}

/* Half of @size, or a quarter and so on, if there is no more. */
static size_t fitting_size(const struct heap *heap, size_t size)
{
	int fd;

	while (fd = heap_alloc(heap, size), fd == -ENOMEM)
		size /= 2;
	close(fd);
	return size;
}

struct sharer {
	int heap;
	struct dma_heap_allocation_data arg;
};

static int allocate_shared(void *arg)
{
	struct sharer *sharer = arg;

	return ioctl(sharer->heap, DMA_HEAP_IOCTL_ALLOC, &sharer->arg);
}

/*
 * Once a process has all chunks it clears them, and stops when it is killed. With
 * files and memory in common we see whether the kernel gave it a buffer, which is
 * the last thing it does.
 */
TEST_F_TIMEOUT(chunks, killed_clearing, TEST_SECONDS)
{
	int64_t used = cma_used(), wanted;
	int tries = 8, status, interrupted = 0;
	char *stack = malloc(65536);
	struct sharer sharer;
	size_t size = 128 << 20;
	pid_t pid;

	if (used < 0)
		SKIP(return, "no CMA in debugfs");
	ASSERT_NE(NULL, stack);
	size = fitting_size(self->heap, size);
	wanted = used + size / self->page;
	sharer.heap = heap_open(self->heap);
	ASSERT_LT(2, sharer.heap);
	while (interrupted < 2 && tries--) {
		memset(&sharer.arg, 0, sizeof(sharer.arg));
		sharer.arg.len = size;
		sharer.arg.fd_flags = O_RDWR | O_CLOEXEC;
		pid = clone(allocate_shared, stack + 65536, CLONE_VM | CLONE_FILES | SIGCHLD,
			    &sharer);
		ASSERT_LT(0, pid);
		while (cma_used() < wanted && !waitpid(pid, &status, WNOHANG))
			;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		interrupted += !sharer.arg.fd;
		if (sharer.arg.fd)
			close(sharer.arg.fd);
	}
	TH_LOG("%d interrupted", interrupted);
	EXPECT_LT(0, interrupted);
	EXPECT_EQ(used, cma_used());
	close(sharer.heap);
	free(stack);
}

/* At whatever moment the signal comes. */
TEST_F_TIMEOUT(chunks, killed, TEST_SECONDS)
{
	int64_t used = cma_used();
	uint64_t begin, latest = 0;
	int i, status, fd;
	size_t size;
	pid_t pid;

	if (used < 0)
		SKIP(return, "no CMA in debugfs");
	size = fitting_size(self->heap, 64 << 20);
	for (i = 0; i < 40; i++) {
		pid = fork();
		if (!pid) {
			for (;;) {
				fd = heap_alloc(self->heap, size);
				if (fd < 0)
					_exit(1);
				close(fd);
			}
		}
		usleep(1000 + i * 1700);
		begin = now_ms();
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		if (now_ms() - begin > latest)
			latest = now_ms() - begin;
		EXPECT_EQ(used, cma_used());
	}
	TH_LOG("at most %lu ms", (unsigned long)latest);
}

/* Or the log does not go back as far as that. */
static bool said_once(const char *text)
{
	int count = count_log(text);

	return count == 1 || count == -ENODATA;
}

static bool has_heap(struct _test_data_chunks *self, const char *name)
{
	int i;

	for (i = 0; i < self->nr; i++)
		if (!strcmp(self->heaps[i].name, name))
			return true;
	return false;
}

/* A heap of that name, or a line that says why there is none. */
static bool came_of_it(struct _test_data_chunks *self, const char *name, const char *said)
{
	return said ? said_once(said) : has_heap(self, name);
}

/* What the command line said, and what came of it. */
TEST_F_TIMEOUT(chunks, parameter, TEST_SECONDS)
{
	static const struct {
		const char *value;
		const char *name;	/* of the heap, or */
		const char *said;	/* why there is none */
	} cases[] = {
		{ "reserved", "reserved-64K-chunks", NULL },
		{ "reserved:64K", "reserved-64K-chunks", NULL },
		{ "reserved:1M", "reserved-1M-chunks", NULL },
		{ "reserved:3000", NULL, "reserved with chunks of 3000 bytes: no power of two" },
		{ "reserved:0", NULL, "reserved with chunks of 0 bytes: no power of two" },
		{ "reserved:1G", NULL, "1073741824 bytes: more than the area has" },
		{ "reserved:1T", NULL, "1099511627776 bytes: more than 2 GiB" },
		{ "reserved:64X", NULL, "chunk_heap=reserved:64X: not the name" },
		{ "reserved:", NULL, "chunk_heap=reserved:: not the name" },
		/* Of hugetlb_cma=: what is given at a time is a huge page. */
		{ "hugetlb0:64K", NULL, "65536 bytes: less than the area gives at a time" },
		{ "hugetlb0:2M", "hugetlb0-2M-chunks", NULL },
		{ "nosuch", NULL, "no heap in nosuch with chunks of 65536 bytes: there is no" },
	};
	const char *at = NULL;
	int seen = 0;
	char value[128];
	size_t i;

	while ((at = cmdline_next("chunk_heap", at, value, sizeof(value)))) {
		for (i = 0; i < ARRAY_SIZE(cases); i++) {
			if (strcmp(value, cases[i].value))
				continue;
			TH_LOG("chunk_heap=%s", value);
			seen++;
			EXPECT_TRUE(came_of_it(self, cases[i].name, cases[i].said));
		}
	}
	if (!seen)
		SKIP(return, "no chunk_heap= that this knows");
}

/* What the device tree said: a heap for each node that has the property. */
TEST_F_TIMEOUT(chunks, device_tree, TEST_SECONDS)
{
	static const struct {
		const char *node;
		const char *name;
		const char *said;
	} cases[] = {
		{ "video@60000000", "video-64K-chunks", NULL },
		{ "pool@68000000", "pool@68000000-1M-chunks", NULL },
		{ "pool@6c000000", "pool@6c000000-1M-chunks", NULL },
		{ "a-region-whose-name-is-longer",
		  "a-region-whose-name-is-longer-16K-chunks", NULL },
		{ "odd@70000000", NULL, "odd@70000000 with chunks of 3000 bytes: no power of" },
		{ "wide@71000000", NULL, "wide@71000000: linux,heap-chunk-bytes is not one cell" },
		{ "fixed@72000000", NULL,
		  "fixed@72000000: linux,heap-chunk-bytes is for a reusable" },
	};
	char path[256];
	int seen = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(path, sizeof(path), NODES "/%s/" PROPERTY, cases[i].node);
		if (access(path, F_OK))
			continue;
		TH_LOG("%s", cases[i].node);
		seen++;
		EXPECT_TRUE(came_of_it(self, cases[i].name, cases[i].said));
	}
	if (!seen)
		SKIP(return, "no device tree that this knows");
}

TEST_HARNESS_MAIN
