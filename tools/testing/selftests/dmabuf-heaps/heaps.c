// SPDX-License-Identifier: GPL-2.0
/*
 * What buffers of any heap are like to importers and to processes. Each test
 * runs on all the heaps that there are.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/drm.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#include "../kselftest_harness.h"
#include "heaps_util.h"

#define PAGES		64
#define ROUNDS		10000	/* allocated and freed, of all heaps together */
#define FAIL_ONE_IN	7

FIXTURE(heaps) {
	struct heap heaps[MAX_HEAPS];
	int nr;
	int dev;		/* the test importer; -1 */
	int was_on;		/* whether importers are checked */
	size_t size;
	char *data;
};

/* Bounce buffers are for segments of up to 256 KiB; let them have some room. */
#define BOUNCE_MAX	(128UL << 10)

static int drop_large(struct heap *heaps, int nr)
{
	int i, left = 0;

	for (i = 0; i < nr; i++)
		if (heaps[i].chunk <= BOUNCE_MAX)
			heaps[left++] = heaps[i];
	return left;
}

/*
 * To dma-debug two devices that write the same memory are a mistake; where they share a
 * buffer they are not.
 */
static void report_overlaps(bool on)
{
	write_text("/sys/kernel/debug/dma-api/num_errors", on ? "1" : "0");
}

FIXTURE_SETUP(heaps) {
	char why[128];

	self->nr = find_heaps(self->heaps, false);
	if (dma_bounces())
		self->nr = drop_large(self->heaps, self->nr);
	if (!self->nr)
		SKIP(return, "no heaps");
	self->dev = device_open(why, sizeof(why));
	self->was_on = debug_get();
	self->size = PAGES * page_size();
	if (dma_bounces() && self->size > BOUNCE_MAX)
		self->size = BOUNCE_MAX;
	self->data = malloc(self->size);
	ASSERT_NE(NULL, self->data);
}

FIXTURE_TEARDOWN(heaps)
{
	fail_allocations(0);
	report_overlaps(true);
	free(self->data);
	if (self->was_on >= 0)
		EXPECT_EQ(0, debug_set(self->was_on));
	close(self->dev);
}

/* A buffer of heap @i, and its mapping for the CPU; both are there or it fails. */
static int buffer_of(struct __test_metadata *_metadata, struct _test_data_heaps *self, int i)
{
	int fd;

	TH_LOG("%s", self->heaps[i].name);
	fd = heap_alloc(&self->heaps[i], self->size);
	ASSERT_LT(2, fd);
	return fd;
}

static char *map_buffer(struct __test_metadata *_metadata, struct _test_data_heaps *self,
			int fd)
{
	char *cpu = buf_mmap(fd, self->size);

	ASSERT_NE(MAP_FAILED, cpu);
	return cpu;
}

/* fd, attached to a device, and mapped for it; all three are there or it fails */
struct import {
	int attach;
	int map;
};

static struct import import(struct __test_metadata *_metadata, int dev, int fd, int device,
			    int direction)
{
	struct import in = { .attach = buf_attach(dev, fd, device, 0) };

	ASSERT_LT(0, in.attach);
	in.map = buf_map(dev, in.attach, direction);
	ASSERT_LT(0, in.map);
	return in;
}

static void drop(struct __test_metadata *_metadata, int dev, struct import in)
{
	EXPECT_EQ(0, buf_unmap(dev, in.map));
	EXPECT_EQ(0, buf_detach(dev, in.attach));
}

static int open_drm(const char *driver)
{
	char path[32], name[8] = "";
	drm_version_t version = { .name = name, .name_len = sizeof(name) - 1 };
	int i, fd;

	for (i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		version.name_len = sizeof(name) - 1;
		if (!ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, driver))
			return fd;
		close(fd);
	}
	return -1;
}

/* Into vgem and out of it: it is the same buffer. */
static void through_vgem(struct __test_metadata *_metadata, int vgem, int fd)
{
	struct drm_prime_handle prime = { .fd = fd };
	struct drm_gem_close close_arg = {};
	struct stat before, after;

	ASSERT_EQ(0, ioctl(vgem, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
	prime.fd = -1;
	prime.flags = DRM_CLOEXEC;
	ASSERT_EQ(0, ioctl(vgem, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	EXPECT_EQ(0, fstat(fd, &before));
	EXPECT_EQ(0, fstat(prime.fd, &after));
	EXPECT_EQ(before.st_ino, after.st_ino);
	close(prime.fd);
	close_arg.handle = prime.handle;
	EXPECT_EQ(0, ioctl(vgem, DRM_IOCTL_GEM_CLOSE, &close_arg));
}

TEST_F_TIMEOUT(heaps, vgem, TEST_SECONDS)
{
	int vgem = open_drm("vgem"), fd, i;

	if (vgem < 0)
		SKIP(return, "no vgem");
	for (i = 0; i < self->nr; i++) {
		fd = buffer_of(_metadata, self, i);
		through_vgem(_metadata, vgem, fd);
		close(fd);
	}
	fd = buf_udmabuf(self->size);
	if (fd >= 0)
		through_vgem(_metadata, vgem, fd);
	close(fd);
	close(vgem);
}

/* Where the first object of a device is mapped; of one that is imported nobody is told. */
#define FIRST_OBJECT	(sizeof(long) == 8 ? 1ULL << 32 : 1ULL << 28)

/* Drivers that let userspace map what they import: it goes when nobody has it any more. */
TEST_F_TIMEOUT(heaps, drm_mmap, TEST_SECONDS)
{
	static const char * const drivers[] = { "vgem", "exynos" };
	struct drm_gem_close close_arg = {};
	int64_t used = cma_used();
	struct drm_prime_handle prime;
	int drm, fd, i, mapped = 0;
	size_t d;
	char *at;

	for (d = 0; d < 2; d++) {
		drm = open_drm(drivers[d]);
		for (i = 0; drm >= 0 && i < self->nr; i++) {
			fd = buffer_of(_metadata, self, i);
			prime = (struct drm_prime_handle) { .fd = fd };
			/* One piece is all that some devices take. */
			if (ioctl(drm, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime)) {
				close(fd);
				continue;
			}
			at = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, drm,
				  FIRST_OBJECT);
			ASSERT_NE(MAP_FAILED, at);
			TH_LOG("mapped by %s", drivers[d]);
			mapped++;
			close_arg.handle = prime.handle;
			EXPECT_EQ(0, ioctl(drm, DRM_IOCTL_GEM_CLOSE, &close_arg));
			close(fd);
			fill(at, self->size, i);
			EXPECT_EQ(0, count_wrong(at, self->size, i));
			munmap(at, self->size);
			EXPECT_EQ(used, cma_used());
		}
		close(drm);
	}
	if (!mapped)
		SKIP(return, "no driver that this knows");
}

/* udmabuf makes buffers of memfds, which those of heaps are not. */
TEST_F_TIMEOUT(heaps, udmabuf, TEST_SECONDS)
{
	struct udmabuf_create create = {};
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), i;
	struct heap *heap;

	if (dev < 0)
		SKIP(return, "no udmabuf");
	create.size = self->size;
	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		create.memfd = heap_alloc(heap, self->size);
		ASSERT_LT(2, (int)create.memfd);
		EXPECT_EQ(-1, ioctl(dev, UDMABUF_CREATE, &create));
		EXPECT_EQ(EBADFD, errno);
		close(create.memfd);
	}
	close(dev);
}

/*
 * What the CPU wrote gets to both devices, and what one of them wrote to the CPU
 * and to the other. Through bounce buffers only the former: each of the devices
 * has a copy, and the last one that is synchronized wins.
 */
TEST_F_TIMEOUT(heaps, sync_two, TEST_SECONDS)
{
	struct import in[2];
	int fd, i, j;
	char *cpu;

	if (self->dev < 0)
		SKIP(return, "no test importer");
	report_overlaps(false);
	for (i = 0; i < self->nr; i++) {
		fd = buffer_of(_metadata, self, i);
		cpu = map_buffer(_metadata, self, fd);
		for (j = 0; j < 2; j++)
			in[j] = import(_metadata, self->dev, fd, j, DMA_BIDIRECTIONAL);
		ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE));
		fill(cpu, self->size, i);
		ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE));
		for (j = 0; j < 2; j++) {
			ASSERT_EQ(0, buf_read(self->dev, in[j].map, self->data, self->size));
			EXPECT_EQ(0, count_wrong(self->data, self->size, i));
		}
		if (!dma_bounces()) {
			fill(self->data, self->size, i + 1);
			ASSERT_EQ(0, buf_write(self->dev, in[1].map, self->data, self->size));
			ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
			EXPECT_EQ(0, count_wrong(cpu, self->size, i + 1));
			ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
			memset(self->data, 0, self->size);
			ASSERT_EQ(0, buf_read(self->dev, in[0].map, self->data, self->size));
			EXPECT_EQ(0, count_wrong(self->data, self->size, i + 1));
		}
		for (j = 0; j < 2; j++)
			drop(_metadata, self->dev, in[j]);
		munmap(cpu, self->size);
		close(fd);
	}
}

/*
 * A device that only reads and one that only writes, and a CPU that does both:
 * DMA-API debugging tells if one is synchronized for what it does not do.
 */
TEST_F_TIMEOUT(heaps, sync_directions, TEST_SECONDS)
{
	struct import reads, writes;
	char *cpu;
	int fd, i;

	if (self->dev < 0)
		SKIP(return, "no test importer");
	for (i = 0; i < self->nr; i++) {
		fd = buffer_of(_metadata, self, i);
		cpu = map_buffer(_metadata, self, fd);
		reads = import(_metadata, self->dev, fd, 0, DMA_TO_DEVICE);
		ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
		fill(cpu, self->size, i);
		ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
		ASSERT_EQ(0, buf_read(self->dev, reads.map, self->data, self->size));
		EXPECT_EQ(0, count_wrong(self->data, self->size, i));
		drop(_metadata, self->dev, reads);
		writes = import(_metadata, self->dev, fd, 1, DMA_FROM_DEVICE);
		fill(self->data, self->size, i + 1);
		ASSERT_EQ(0, buf_write(self->dev, writes.map, self->data, self->size));
		ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
		EXPECT_EQ(0, count_wrong(cpu, self->size, i + 1));
		fill(cpu, self->size, i + 2);
		ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
		/* The next frame has not come yet. */
		ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
		EXPECT_EQ(0, count_wrong(cpu, self->size, i + 2));
		ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
		drop(_metadata, self->dev, writes);
		EXPECT_EQ(0, count_wrong(cpu, self->size, i + 2));
		munmap(cpu, self->size);
		close(fd);
	}
}

/* Each mapping of an attachment is one of its own. */
TEST_F_TIMEOUT(heaps, double_map, TEST_SECONDS)
{
	struct import in;
	int fd, i, second;

	if (self->dev < 0)
		SKIP(return, "no test importer");
	/* A checked importer has tables of its own anyway. */
	if (self->was_on >= 0)
		ASSERT_EQ(0, debug_set(false));
	for (i = 0; i < self->nr; i++) {
		fd = buffer_of(_metadata, self, i);
		in = import(_metadata, self->dev, fd, 0, DMA_BIDIRECTIONAL);
		second = buf_map(self->dev, in.attach, DMA_TO_DEVICE);
		ASSERT_LT(0, second);
		EXPECT_EQ(0, buf_same_table(self->dev, second, in.map));
		EXPECT_EQ(0, buf_unmap(self->dev, in.map));
		memset(self->data, 1, self->size);
		ASSERT_EQ(0, buf_read(self->dev, second, self->data, self->size));
		in.map = buf_map(self->dev, in.attach, DMA_BIDIRECTIONAL);
		ASSERT_LT(0, in.map);
		fill(self->data, self->size, i);
		ASSERT_EQ(0, buf_write(self->dev, in.map, self->data, self->size));
		EXPECT_EQ(0, buf_unmap(self->dev, second));
		memset(self->data, 0, self->size);
		ASSERT_EQ(0, buf_read(self->dev, in.map, self->data, self->size));
		EXPECT_EQ(0, count_wrong(self->data, self->size, i));
		drop(_metadata, self->dev, in);
		close(fd);
	}
}

struct worker {
	pthread_t thread;
	int fd;
	int id;
	size_t size;
	atomic_bool *stop;
	int rounds;
	int failed;
};

/* An importer, with a file of its own */
static void *import_and_drop(void *arg)
{
	struct worker *w = arg;
	int dev = open("/dev/dmabuf_test", O_RDWR | O_CLOEXEC), attach, map[2];
	char byte;

	for (; !*w->stop; w->rounds++) {
		attach = buf_attach(dev, w->fd, w->id % TEST_DMABUF_DEVICES, 0);
		map[0] = buf_map(dev, attach, DMA_BIDIRECTIONAL);
		map[1] = buf_map(dev, attach, DMA_TO_DEVICE);
		w->failed += attach < 0 || map[0] < 0 || map[1] < 0;
		w->failed += !!buf_read(dev, map[1], &byte, 1);
		w->failed += !!buf_unmap(dev, map[w->rounds % 2]);
		w->failed += !!buf_unmap(dev, map[1 - w->rounds % 2]);
		w->failed += !!buf_detach(dev, attach);
	}
	close(dev);
	return NULL;
}

/* A process that looks at it */
static void *sync_and_mmap(void *arg)
{
	struct worker *w = arg;
	char *at;

	for (; !*w->stop; w->rounds++) {
		w->failed += !!buf_sync(w->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		at = buf_mmap(w->fd, w->size);
		if (at == MAP_FAILED) {
			w->failed++;
			continue;
		}
		at[w->size - 1 - w->id]++;
		munmap(at, w->size);
		w->failed += !!buf_sync(w->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	}
	return NULL;
}

TEST_F_TIMEOUT(heaps, concurrent_map, TEST_SECONDS)
{
	struct worker worker[4];
	atomic_bool stop;
	int fd, i, j;

	if (self->dev < 0)
		SKIP(return, "no test importer");
	report_overlaps(false);
	for (i = 0; i < self->nr; i++) {
		fd = buffer_of(_metadata, self, i);
		stop = false;
		for (j = 0; j < 4; j++) {
			worker[j] = (struct worker) {
				.fd = fd, .id = j, .size = self->size, .stop = &stop,
			};
			ASSERT_EQ(0, pthread_create(&worker[j].thread, NULL,
						    j < 2 ? import_and_drop : sync_and_mmap,
						    &worker[j]));
		}
		usleep(300000);
		stop = true;
		for (j = 0; j < 4; j++) {
			pthread_join(worker[j].thread, NULL);
			EXPECT_EQ(0, worker[j].failed);
			EXPECT_LT(0, worker[j].rounds);
		}
		close(fd);
	}
}

static bool touch_dies(char *at)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		__atomic_store_n(at, 1, __ATOMIC_RELAXED);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status);
}

/* Which mappings there can be, and what can be done with them. */
TEST_F_TIMEOUT(heaps, mmap_rules, TEST_SECONDS)
{
	size_t page = page_size(), half = self->size / 2;
	char *at, *part;
	int fd, i;

	for (i = 0; i < self->nr; i++) {
		fd = buffer_of(_metadata, self, i);
		EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 0));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(MAP_FAILED, mmap(NULL, self->size, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE, fd, 0));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED, fd, buf_size(fd)));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(MAP_FAILED, mmap(NULL, buf_size(fd), PROT_READ, MAP_SHARED, fd, page));
		EXPECT_EQ(EINVAL, errno);

		at = buf_mmap(fd, self->size);
		ASSERT_NE(MAP_FAILED, at);
		fill(at, self->size, i);
		part = mmap(NULL, half, PROT_READ, MAP_SHARED, fd, half);
		ASSERT_NE(MAP_FAILED, part);
		EXPECT_EQ(0, memcmp(part, at + half, half));
		EXPECT_TRUE(touch_dies(part));
		munmap(part, half);

		/* It does not grow; it moves, and what is behind it is gone. */
		EXPECT_EQ(MAP_FAILED, mremap(at, self->size, 2 * self->size, MREMAP_MAYMOVE));
		EXPECT_EQ(EFAULT, errno);
		part = mmap(NULL, self->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		part = mremap(at, self->size, self->size, MREMAP_MAYMOVE | MREMAP_FIXED, part);
		ASSERT_NE(MAP_FAILED, part);
		EXPECT_EQ(0, count_wrong(part, self->size, i));
		at = part;
		EXPECT_EQ(0, munmap(at + half, page));
		EXPECT_TRUE(touch_dies(at + half));
		EXPECT_EQ(0, mprotect(at, page, PROT_READ));
		EXPECT_TRUE(touch_dies(at));
		EXPECT_EQ(0, mprotect(at, page, PROT_READ | PROT_WRITE));
		EXPECT_FALSE(touch_dies(at));
		EXPECT_EQ(1, *at);
		EXPECT_EQ(-1, madvise(at, page, MADV_DONTNEED));
		EXPECT_EQ(EINVAL, errno);
		munmap(at, self->size);

		/* A mapping outlives the file descriptor. */
		at = buf_mmap(fd, self->size);
		ASSERT_NE(MAP_FAILED, at);
		close(fd);
		EXPECT_EQ(1, *at);
		munmap(at, self->size);
	}
}

/* Pages come back, whatever failed on the way. */
TEST_F_TIMEOUT(heaps, leaks, TEST_SECONDS)
{
	int64_t used = cma_used();
	/* All of it is tracked and poisoned on a debug kernel: fewer there. */
	int rounds = access("/sys/kernel/debug/kmemleak", F_OK) ? ROUNDS : ROUNDS / 20;
	int i, fd, map, attach, failed = 0, mapped = 0, injected, nr = 0;
	struct heap *heap, small[MAX_HEAPS];
	size_t rss, size;
	char *at;

	/* Large chunks take their time to clear. */
	for (i = 0; i < self->nr; i++)
		if (self->heaps[i].chunk <= 64 << 10)
			small[nr++] = self->heaps[i];
	injected = fail_allocations(FAIL_ONE_IN);
	fail_allocations(0);
	/* What stdio and the like need is there afterwards. */
	process_rss();
	rss = process_rss();
	for (i = 0; i < rounds; i++) {
		heap = &small[i % nr];
		size = (1 + i % 7) * page_size();
		/* Some without, so that all of it is done as well. */
		if (!injected && i % 16 >= 8 && i % 8 == 0)
			ASSERT_EQ(0, fail_allocations(FAIL_ONE_IN + i / 16 % 16));
		if (!injected && i % 16 == 0)
			ASSERT_EQ(0, fail_allocations(0));
		fd = heap_alloc(heap, size);
		if (fd < 0) {
			if (fd != -ENOMEM && fd != -ENFILE)
				fail_allocations(0);
			EXPECT_TRUE(fd == -ENOMEM || fd == -ENFILE)
				TH_LOG("%s: %d", heap->name, fd);
			failed++;
			continue;
		}
		at = buf_mmap(fd, size);
		if (at != MAP_FAILED) {
			mapped++;
			at[size - 1] = 1;
			munmap(at, size);
		}
		if (self->dev >= 0 && i % 8 == 1) {
			attach = buf_attach(self->dev, fd, 0, 0);
			map = attach > 0 ? buf_map(self->dev, attach, DMA_BIDIRECTIONAL) : 0;
			if (map > 0)
				buf_unmap(self->dev, map);
			if (attach > 0)
				buf_detach(self->dev, attach);
		}
		close(fd);
	}
	if (!injected)
		ASSERT_EQ(0, fail_allocations(0));
	EXPECT_EQ(!injected, !!failed);
	EXPECT_LT(rounds / 4, mapped);
	TH_LOG("%d allocations, %d failed, %d mapped", rounds, failed, mapped);
	EXPECT_EQ(used, cma_used());
	EXPECT_GE(rss + (1 << 20), process_rss());
}

/* Entries that DMA-API debugging has free; -1 without it */
static long free_dma_entries(void)
{
	char text[32];

	read_text("/sys/kernel/debug/dma-api/num_free_entries", text, sizeof(text));
	return *text ? atol(text) : -1;
}

/* What an importer never unmaps goes with its attachment, and it is named. */
TEST_F_TIMEOUT(heaps, detach_mapped, TEST_SECONDS)
{
	struct test_dmabuf_device device = {};
	char warning[128];
	long entries;
	int fd, i, said;
	struct import in;

	if (self->dev < 0)
		SKIP(return, "no test importer");
	ASSERT_EQ(0, ioctl(self->dev, TEST_DMABUF_DEVICE, &device));
	snprintf(warning, sizeof(warning),
		 "importer %s (driver dmabuf_test) detached with 2 mappings", device.name);
	for (i = 0; i < self->nr; i++) {
		fd = buffer_of(_metadata, self, i);
		entries = free_dma_entries();
		said = count_log(warning);
		in = import(_metadata, self->dev, fd, 0, DMA_BIDIRECTIONAL);
		ASSERT_LT(0, buf_map(self->dev, in.attach, DMA_TO_DEVICE));
		EXPECT_EQ(0, buf_detach(self->dev, in.attach));
		EXPECT_EQ(entries, free_dma_entries());
		if (said >= 0)
			EXPECT_EQ(said + 1, count_log(warning));
		/* It is not synchronized for anybody. */
		EXPECT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
		EXPECT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
		close(fd);
	}
}

/* Memory in all, in bytes */
static uint64_t total_memory(void)
{
	return (uint64_t)proc_kib("/proc/meminfo", "MemTotal") << 10;
}

static int alloc_len(const struct heap *heap, uint64_t len)
{
	struct dma_heap_allocation_data arg = { .len = len, .fd_flags = O_RDWR | O_CLOEXEC };
	int fd = heap_open(heap), ret;

	ret = ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &arg) ? -errno : (int)arg.fd;
	close(fd);
	return ret;
}

/*
 * Any length: it is there, or it is ENOMEM. Nobody is killed for it, and a length
 * beyond all memory is refused before any is taken.
 */
TEST_F_TIMEOUT(heaps, lengths, TEST_SECONDS)
{
	int killed = count_log("Killed process"), i, j, k, fd;
	uint64_t len, unit, total = total_memory();
	struct heap *heap;

	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		unit = heap->chunk ?: page_size();
		TH_LOG("%s", heap->name);
		EXPECT_EQ(-EINVAL, alloc_len(heap, 0));
		EXPECT_EQ(-EINVAL, alloc_len(heap, UINT64_MAX));
		for (j = 0; j < 64; j++) {
			for (k = -1; k <= 1; k++) {
				len = (1ULL << j) + k;
				if (!len)
					continue;
				fd = alloc_len(heap, len);
				if (fd < 0) {
					EXPECT_EQ(-ENOMEM, fd)
						TH_LOG("2^%d%+d", j, k);
					/* The smallest ones are always there. */
					EXPECT_LT(4096, len);
					continue;
				}
				EXPECT_GE(total, len);
				EXPECT_EQ((len + unit - 1) / unit * unit, buf_size(fd));
				close(fd);
			}
		}
	}
	if (killed >= 0)
		EXPECT_EQ(killed, count_log("Killed process"));
}

/* Without a file descriptor there is an error, and no buffer. */
TEST_F_TIMEOUT(heaps, no_fd, TEST_SECONDS)
{
	int64_t used = cma_used();
	struct rlimit limit, few;
	struct dma_heap_allocation_data arg;
	int heap, i;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	few = limit;
	for (i = 0; i < self->nr; i++) {
		TH_LOG("%s", self->heaps[i].name);
		heap = heap_open(&self->heaps[i]);
		ASSERT_LE(0, heap);
		few.rlim_cur = heap + 1;
		arg = (struct dma_heap_allocation_data) { .len = self->size, .fd_flags = O_RDWR };
		ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &few));
		EXPECT_EQ(-1, ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &arg));
		EXPECT_EQ(EMFILE, errno);
		ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
		close(heap);
	}
	EXPECT_EQ(used, cma_used());
}

static size_t free_memory(void)
{
	return (size_t)proc_kib("/proc/meminfo", "MemFree") << 10;
}

/* Pages that some processor keeps for itself come back in a while. */
static size_t free_again(size_t bytes)
{
	int i;

	for (i = 0; i < 100 && free_memory() < bytes; i++)
		usleep(100000);
	return free_memory();
}

static void allocate_and_map(const struct heap *heap, size_t size)
{
	int fd;

	for (;;) {
		fd = heap_alloc(heap, size);
		if (fd < 0)
			_exit(1);
		munmap(buf_mmap(fd, size), size);
		close(fd);
	}
}

#define KILLS		24
#define KILLED_SIZE	(32UL << 20)

/* Killed at whatever moment, while it allocates, maps and lets go: nothing is left. */
TEST_F_TIMEOUT(heaps, killed, TEST_SECONDS)
{
	int64_t used = cma_used();
	struct heap *heap;
	int i, j, status;
	size_t before;
	pid_t pid;

	for (i = 0; i < self->nr; i++) {
		heap = &self->heaps[i];
		TH_LOG("%s", heap->name);
		before = free_memory();
		for (j = 0; j < KILLS; j++) {
			pid = fork();
			if (!pid)
				allocate_and_map(heap, KILLED_SIZE);
			usleep(1000 + j * 2300);
			kill(pid, SIGKILL);
			EXPECT_EQ(pid, waitpid(pid, &status, 0));
			EXPECT_TRUE(WIFSIGNALED(status));
			EXPECT_EQ(used, cma_used());
		}
		/* Processors keep some free pages for long; what is lost adds up. */
		before -= KILLS / 6 * KILLED_SIZE;
		EXPECT_LE(before, free_again(before));
	}
}

/* A buffer is there as long as it is mapped or imported, without a file descriptor. */
TEST_F_TIMEOUT(heaps, lifetime, TEST_SECONDS)
{
	int64_t used = cma_used();
	struct import in;
	int fd, i, mine;
	char *cpu;

	if (self->dev < 0)
		SKIP(return, "no test importer");
	for (i = 0; i < self->nr; i++) {
		mine = strcmp(self->heaps[i].name, "system") && used >= 0;
		fd = buffer_of(_metadata, self, i);
		cpu = map_buffer(_metadata, self, fd);
		fill(cpu, self->size, i);
		in = import(_metadata, self->dev, fd, 0, DMA_BIDIRECTIONAL);
		close(fd);
		EXPECT_EQ(0, count_wrong(cpu, self->size, i));
		munmap(cpu, self->size);
		EXPECT_EQ(mine, used < cma_used());
		ASSERT_EQ(0, buf_read(self->dev, in.map, self->data, self->size));
		EXPECT_EQ(0, count_wrong(self->data, self->size, i));
		drop(_metadata, self->dev, in);
		EXPECT_EQ(used, cma_used());
	}
}

static bool has_heap(struct _test_data_heaps *self, const char *name)
{
	int i;

	for (i = 0; i < self->nr; i++)
		if (!strcmp(self->heaps[i].name, name))
			return true;
	return false;
}

/* Those that nobody has to ask for */
TEST_F(heaps, always_there)
{
	char value[64];

	EXPECT_TRUE(has_heap(self, "system"));
	if (cmdline_next("cma", NULL, value, sizeof(value)))
		EXPECT_TRUE(has_heap(self, "reserved"));
}

/* Which CMA areas have a heap of one piece: those that ask for it, and no others. */
TEST_F_TIMEOUT(heaps, areas, TEST_SECONDS)
{
	static const struct {
		const char *node;
		const char *name;
		bool there;
	} cases[] = {
		{ "display@80000000", "display", true },
		{ "twin@84000000", "twin@84000000", true },
		{ "twin@88000000", "twin@88000000", true },
		{ "twin@84000000", "twin", false },
		/* Of chunks, and without a parameter that asks for more */
		{ "pool@68000000", "pool@68000000", false },
		{ "pool@68000000", "pool", false },
		{ "fixed@72000000", "fixed", false },
	};
	char path[256], value[128];
	const char *at = NULL;
	int seen = 0;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(path, sizeof(path), "/proc/device-tree/reserved-memory/%s",
			 cases[i].node);
		if (access(path, F_OK))
			continue;
		TH_LOG("%s", cases[i].node);
		seen++;
		EXPECT_EQ(cases[i].there, has_heap(self, cases[i].name));
	}
	while ((at = cmdline_next("cma_heap", at, value, sizeof(value)))) {
		TH_LOG("cma_heap=%s", value);
		seen++;
		if (!strcmp(value, "nosuch")) {
			EXPECT_NE(0, count_log("cma_heap=nosuch: there is no such CMA area"));
			EXPECT_FALSE(has_heap(self, value));
		} else {
			/* Without its unit address */
			value[strcspn(value, "@")] = 0;
			EXPECT_TRUE(has_heap(self, value));
		}
	}
	if (!seen)
		SKIP(return, "neither a device tree nor parameters that this knows");
}

/* What else the ioctl refuses. */
TEST_F_TIMEOUT(heaps, bad_input, TEST_SECONDS)
{
	struct dma_heap_allocation_data arg;
	int i, heap;

	for (i = 0; i < self->nr; i++) {
		TH_LOG("%s", self->heaps[i].name);
		heap = heap_open(&self->heaps[i]);
		ASSERT_LE(0, heap);
		arg = (struct dma_heap_allocation_data) { .len = 4096, .fd = 1 };
		EXPECT_EQ(-1, ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &arg));
		EXPECT_EQ(EINVAL, errno);
		arg = (struct dma_heap_allocation_data) { .len = 4096, .heap_flags = 1 };
		EXPECT_EQ(-1, ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &arg));
		EXPECT_EQ(EINVAL, errno);
		arg = (struct dma_heap_allocation_data) { .len = 4096, .fd_flags = O_APPEND };
		EXPECT_EQ(-1, ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &arg));
		EXPECT_EQ(EINVAL, errno);
		close(heap);
	}
}

TEST_HARNESS_MAIN
