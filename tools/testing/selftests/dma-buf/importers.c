// SPDX-License-Identifier: GPL-2.0
/*
 * What importers and exporters see while the kernel checks importers
 * (dma_buf.debug): the same as without, but for the struct pages.
 *
 * cache_sync, double_map and shared_table run on kernels whose
 * CONFIG_DMABUF_DEBUG has no switch as well, if test_dmabuf.ko is built for them,
 * and fail on those that alter the table of the exporter.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "../kselftest_harness.h"
#include "dmabuf_util.h"

#define SEGMENTS	4
#define SEGMENT_PAGES	2

FIXTURE(importers) {
	int dev;
	int was_on;
	size_t size;
	char *data;
};

/* Does an importer see pages that are none? */
static bool pages_hidden(int dev)
{
	struct test_dmabuf_entry entry = { .pfn_valid = 1 };
	int fd = buf_export(dev, 1, 1, 0), attach, map;

	attach = buf_attach(dev, fd, 0, 0);
	map = buf_map(dev, attach, DMA_TO_DEVICE);
	buf_entry(dev, map, 0, &entry);
	buf_unmap(dev, map);
	buf_detach(dev, attach);
	close(fd);
	return !entry.pfn_valid;
}

FIXTURE_SETUP(importers) {
	char why[128];

	self->dev = device_open(why, sizeof(why));
	if (self->dev < 0)
		SKIP(return, "%s", why);
	self->was_on = debug_get();
	if (self->was_on >= 0)
		ASSERT_EQ(0, debug_set(true));
	if (!pages_hidden(self->dev))
		SKIP(return, "no CONFIG_DMABUF_DEBUG");
	self->size = SEGMENTS * SEGMENT_PAGES * page_size();
	self->data = malloc(self->size);
	ASSERT_NE(NULL, self->data);
}

FIXTURE_TEARDOWN(importers)
{
	free(self->data);
	if (self->was_on >= 0)
		EXPECT_EQ(0, debug_set(self->was_on));
	close(self->dev);
}

/*
 * The device of this buffer is not coherent: what the CPU wrote gets there, and
 * back, as the exporter synchronizes the pages of the tables that are mapped.
 */
TEST_F_TIMEOUT(importers, cache_sync, TEST_SECONDS)
{
	int fd = buf_export(self->dev, SEGMENTS, SEGMENT_PAGES, TEST_DMABUF_INCOHERENT);
	struct test_dmabuf_state state;
	int attach, map;
	char *cpu;

	ASSERT_LE(0, fd);
	cpu = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, cpu);
	attach = buf_attach(self->dev, fd, 0, 0);
	ASSERT_LT(0, attach);
	map = buf_map(self->dev, attach, DMA_BIDIRECTIONAL);
	ASSERT_LT(0, map);

	EXPECT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	fill(cpu, self->size, 1);
	EXPECT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	EXPECT_EQ(0, buf_read(self->dev, map, self->data, self->size));
	EXPECT_EQ(0, count_wrong(self->data, self->size, 1));

	fill(self->data, self->size, 2);
	EXPECT_EQ(0, buf_write(self->dev, map, self->data, self->size));
	EXPECT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	EXPECT_EQ(0, count_wrong(cpu, self->size, 2));
	EXPECT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));

	EXPECT_EQ(0, buf_unmap(self->dev, map));
	EXPECT_EQ(0, buf_detach(self->dev, attach));
	EXPECT_EQ(0, buf_state(self->dev, fd, &state));
	EXPECT_EQ(0, state.wrong);
	munmap(cpu, self->size);
	close(fd);
}

/* An importer may map its attachment twice; an exporter may give the same table. */
TEST_F_TIMEOUT(importers, double_map, TEST_SECONDS)
{
	struct test_dmabuf_entry first[SEGMENTS], again;
	int fd, attach, map[2], i;

	fd = buf_export(self->dev, SEGMENTS, SEGMENT_PAGES, 0);
	ASSERT_LE(0, fd);
	attach = buf_attach(self->dev, fd, 0, 0);
	ASSERT_LT(0, attach);
	map[0] = buf_map(self->dev, attach, DMA_TO_DEVICE);
	ASSERT_LT(0, map[0]);
	for (i = 0; i < SEGMENTS; i++)
		ASSERT_EQ(0, buf_entry(self->dev, map[0], i, &first[i]));
	map[1] = buf_map(self->dev, attach, DMA_TO_DEVICE);
	ASSERT_LT(0, map[1]);
	for (i = 0; i < 2 * SEGMENTS; i++) {
		ASSERT_EQ(0, buf_entry(self->dev, map[i / SEGMENTS], i % SEGMENTS, &again));
		EXPECT_EQ(first[i % SEGMENTS].dma_address, again.dma_address);
		EXPECT_EQ(first[i % SEGMENTS].dma_length, again.dma_length);
		EXPECT_EQ(0, again.pfn_valid);
	}
	EXPECT_EQ(0, buf_read(self->dev, map[1], self->data, self->size));
	EXPECT_EQ(0, buf_unmap(self->dev, map[0]));
	EXPECT_EQ(0, buf_read(self->dev, map[1], self->data, self->size));
	EXPECT_EQ(0, buf_unmap(self->dev, map[1]));
	EXPECT_EQ(0, buf_detach(self->dev, attach));
	close(fd);
}

/* Some exporters have one table for all who attach, if one IOMMU domain has them. */
TEST_F_TIMEOUT(importers, shared_table, TEST_SECONDS)
{
	int fd = buf_export(self->dev, SEGMENTS, SEGMENT_PAGES, TEST_DMABUF_SHARED);
	struct test_dmabuf_entry entry;
	struct test_dmabuf_state state;
	bool alone = behind_iommu(self->dev);
	int attach[2], map[2], i;

	ASSERT_LE(0, fd);
	for (i = 0; i < 2; i++) {
		attach[i] = buf_attach(self->dev, fd, alone ? 0 : i, 0);
		ASSERT_LT(0, attach[i]);
		map[i] = buf_map(self->dev, attach[i], DMA_TO_DEVICE);
		ASSERT_LT(0, map[i]);
	}
	for (i = 0; i < 2 * SEGMENTS; i++) {
		ASSERT_EQ(0, buf_entry(self->dev, map[i / SEGMENTS], i % SEGMENTS, &entry));
		EXPECT_EQ(0, entry.pfn_valid)
			TH_LOG("importer %d, segment %d", i / SEGMENTS, i % SEGMENTS);
	}
	EXPECT_EQ(0, buf_same_table(self->dev, map[0], map[1]));
	EXPECT_EQ(0, buf_unmap(self->dev, map[0]));
	EXPECT_EQ(0, buf_entry(self->dev, map[1], 0, &entry));
	EXPECT_EQ(0, entry.pfn_valid);
	EXPECT_EQ(0, buf_read(self->dev, map[1], self->data, self->size));
	EXPECT_EQ(0, buf_unmap(self->dev, map[1]));
	EXPECT_EQ(0, buf_state(self->dev, fd, &state));
	EXPECT_EQ(0, state.wrong);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, buf_detach(self->dev, attach[i]));
	close(fd);
}

/* CPU to device and back, with the CPU access that the uAPI asks for. */
static void exchange(struct __test_metadata *_metadata, struct _test_data_importers *self,
		     int fd, int map, unsigned int seed)
{
	char *cpu = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ASSERT_NE(MAP_FAILED, cpu);
	ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	fill(cpu, self->size, seed);
	ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	memset(self->data, 0, self->size);
	ASSERT_EQ(0, buf_read(self->dev, map, self->data, self->size));
	EXPECT_EQ(0, count_wrong(self->data, self->size, seed));
	fill(self->data, self->size, seed + 1);
	ASSERT_EQ(0, buf_write(self->dev, map, self->data, self->size));
	ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	EXPECT_EQ(0, count_wrong(cpu, self->size, seed + 1));
	ASSERT_EQ(0, buf_sync(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	munmap(cpu, self->size);
}

/* Two rounds, as the second may be of a cached table. */
static void import(struct __test_metadata *_metadata, struct _test_data_importers *self,
		   int fd, unsigned int flags)
{
	struct test_dmabuf_entry entry;
	int attach, map, round;

	attach = buf_attach(self->dev, fd, 1, flags);
	ASSERT_LT(0, attach);
	for (round = 0; round < 2; round++) {
		map = buf_map(self->dev, attach, DMA_BIDIRECTIONAL);
		ASSERT_LT(0, map);
		ASSERT_EQ(0, buf_entry(self->dev, map, 0, &entry));
		if (self->was_on >= 0)
			EXPECT_EQ(!debug_get(), entry.pfn_valid);
		exchange(_metadata, self, fd, map, 2 * round + 1);
		EXPECT_EQ(0, buf_unmap(self->dev, map));
	}
	EXPECT_EQ(0, buf_detach(self->dev, attach));
}

TEST_F_TIMEOUT(importers, of_test_driver, TEST_SECONDS)
{
	static const unsigned int flags[] = {
		0, TEST_DMABUF_SHARED, TEST_DMABUF_CACHED, TEST_DMABUF_DYNAMIC,
		TEST_DMABUF_INCOHERENT, TEST_DMABUF_INCOHERENT | TEST_DMABUF_SHARED,
		TEST_DMABUF_INCOHERENT | TEST_DMABUF_CACHED,
		TEST_DMABUF_INCOHERENT | TEST_DMABUF_DYNAMIC,
	};
	struct test_dmabuf_state state;
	size_t i;
	int fd;

	for (i = 0; i < 2 * ARRAY_SIZE(flags); i++) {
		fd = buf_export(self->dev, SEGMENTS, SEGMENT_PAGES, flags[i / 2]);
		ASSERT_LE(0, fd);
		import(_metadata, self, fd, i & 1 ? TEST_DMABUF_ATTACH_DYNAMIC : 0);
		EXPECT_EQ(0, buf_state(self->dev, fd, &state));
		EXPECT_EQ(0, state.wrong)
			TH_LOG("flags 0x%x, dynamic importer %zu", flags[i / 2], i & 1);
		EXPECT_EQ(0, state.mapped);
		close(fd);
	}
}

TEST_F_TIMEOUT(importers, of_heaps, TEST_SECONDS)
{
	DIR *heaps = opendir("/dev/dma_heap");
	struct dirent *entry;
	int fd, seen = 0;

	if (!heaps)
		SKIP(return, "no dma-buf heap");
	while ((entry = readdir(heaps))) {
		if (entry->d_name[0] == '.')
			continue;
		fd = buf_heap(entry->d_name, self->size);
		ASSERT_LE(0, fd)
			TH_LOG("%s", entry->d_name);
		import(_metadata, self, fd, 0);
		close(fd);
		seen++;
	}
	closedir(heaps);
	EXPECT_LT(0, seen);
}

TEST_F_TIMEOUT(importers, of_udmabuf, TEST_SECONDS)
{
	int fd = buf_udmabuf(self->size);

	if (fd == -ENOENT)
		SKIP(return, "no udmabuf");
	if (dma_bounces())
		SKIP(return, "udmabuf does not synchronize the tables of importers");
	ASSERT_LE(0, fd);
	import(_metadata, self, fd, 0);
	close(fd);
}

/* The switch */

TEST_F_TIMEOUT(importers, switch_words, TEST_SECONDS)
{
	static const char * const good[] = { "on", "off", "1", "0", "y", "n", "on\n", "off\n" };
	static const char * const bad[] = { "maybe", "2", "-1", "o", "\n" };
	size_t i;

	if (self->was_on < 0)
		SKIP(return, "no switch");
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, write_text("/sys/module/dma_buf/parameters/debug", good[i]));
		EXPECT_EQ(!(i & 1), debug_get());
		EXPECT_EQ(!(i & 1), pages_hidden(self->dev));
	}
	for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		ASSERT_EQ(0, debug_set(i & 1));
		EXPECT_EQ(-EINVAL, write_text("/sys/module/dma_buf/parameters/debug", bad[i / 2]));
		EXPECT_EQ(i & 1, debug_get());
		EXPECT_EQ(i & 1, pages_hidden(self->dev));
	}
}

/* A mapping stays what it was, whatever it has been switched to. */
TEST_F_TIMEOUT(importers, switch_between, TEST_SECONDS)
{
	struct test_dmabuf_entry entry;
	struct test_dmabuf_state state;
	int fd, attach, map[4], i;

	if (self->was_on < 0)
		SKIP(return, "no switch");
	fd = buf_export(self->dev, SEGMENTS, SEGMENT_PAGES,
			TEST_DMABUF_INCOHERENT | TEST_DMABUF_SHARED);
	ASSERT_LE(0, fd);
	attach = buf_attach(self->dev, fd, 0, 0);
	ASSERT_LT(0, attach);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, debug_set(i & 1));
		map[i] = buf_map(self->dev, attach, DMA_BIDIRECTIONAL);
		ASSERT_LT(0, map[i]);
	}
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(0, debug_set(i & 2));
		ASSERT_EQ(0, buf_entry(self->dev, map[i], 0, &entry));
		EXPECT_EQ(!(i & 1), entry.pfn_valid);
		exchange(_metadata, self, fd, map[i], i);
		EXPECT_EQ(0, buf_unmap(self->dev, map[i]));
	}
	EXPECT_EQ(0, buf_detach(self->dev, attach));
	EXPECT_EQ(0, buf_state(self->dev, fd, &state));
	EXPECT_EQ(0, state.wrong);
	EXPECT_EQ(0, state.mapped);
	close(fd);
}

struct mapper {
	pthread_t thread;
	int dev;
	int fd;
	int id;
	atomic_bool *stop;
	int mapped;
	int failed;
};

static void *map_and_unmap(void *arg)
{
	struct mapper *m = arg;
	int attach = buf_attach(m->dev, m->fd, m->id % TEST_DMABUF_DEVICES, 0), map;

	while (!*m->stop) {
		map = buf_map(m->dev, attach, DMA_TO_DEVICE);
		if (map < 0 || buf_unmap(m->dev, map))
			m->failed++;
		m->mapped++;
	}
	m->failed += !!buf_detach(m->dev, attach);
	return NULL;
}

/* Somebody switches while others map and unmap, each with a file of their own. */
TEST_F_TIMEOUT(importers, switch_race, TEST_SECONDS)
{
	struct mapper mapper[3] = {};
	struct test_dmabuf_state state;
	atomic_bool stop = false;
	int fd, i;

	if (self->was_on < 0)
		SKIP(return, "no switch");
	fd = buf_export(self->dev, SEGMENTS, SEGMENT_PAGES, TEST_DMABUF_SHARED);
	ASSERT_LE(0, fd);
	for (i = 0; i < 3; i++) {
		mapper[i].dev = open("/dev/dmabuf_test", O_RDWR | O_CLOEXEC);
		mapper[i].fd = fd;
		mapper[i].id = i;
		mapper[i].stop = &stop;
		ASSERT_EQ(0, pthread_create(&mapper[i].thread, NULL, map_and_unmap, &mapper[i]));
	}
	for (i = 0; i < 200; i++) {
		EXPECT_EQ(0, debug_set(i & 1));
		usleep(5000);
	}
	stop = true;
	for (i = 0; i < 3; i++) {
		pthread_join(mapper[i].thread, NULL);
		EXPECT_EQ(0, mapper[i].failed);
		EXPECT_LT(10, mapper[i].mapped);
		close(mapper[i].dev);
	}
	EXPECT_EQ(0, buf_state(self->dev, fd, &state));
	EXPECT_EQ(0, state.wrong);
	EXPECT_EQ(0, state.mapped);
	close(fd);
}

/* More tables than there are slots: unnamed, but none the worse. */
TEST_F_TIMEOUT(importers, exhaustion, TEST_SECONDS)
{
	int fd = buf_export(self->dev, 1, 1, TEST_DMABUF_SHARED);
	int attach, i, map[4200];
	struct test_dmabuf_entry entry;
	struct test_dmabuf_state state;
	char page[16];

	ASSERT_LE(0, fd);
	attach = buf_attach(self->dev, fd, 0, 0);
	ASSERT_LT(0, attach);
	for (i = 0; i < (int)ARRAY_SIZE(map); i++) {
		map[i] = buf_map(self->dev, attach, DMA_TO_DEVICE);
		ASSERT_LT(0, map[i]);
	}
	for (i = 0; i < (int)ARRAY_SIZE(map); i++) {
		ASSERT_EQ(0, buf_entry(self->dev, map[i], 0, &entry));
		EXPECT_EQ(0, entry.pfn_valid);
		ASSERT_EQ(0, buf_read(self->dev, map[i], page, sizeof(page)));
		ASSERT_EQ(0, buf_unmap(self->dev, map[i]));
	}
	EXPECT_EQ(0, buf_detach(self->dev, attach));
	EXPECT_EQ(0, buf_state(self->dev, fd, &state));
	EXPECT_EQ(0, state.wrong);
	close(fd);
}

/* No memory for a table is an error of the map, and of nothing else. */
TEST_F_TIMEOUT(importers, no_memory, TEST_SECONDS)
{
	static const char * const settings[][2] = {
		{ "task-filter", "Y" }, { "times", "-1" }, { "interval", "1" },
		{ "verbose", "0" }, { "ignore-gfp-wait", "N" }, { "probability", "30" },
	};
	struct test_dmabuf_state state;
	int fd, attach, map, i, failed = 0;
	/* Opened before, since an open would fail as well. */
	int switch_fd = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	char path[64];

	if (switch_fd < 0)
		SKIP(return, "no fault injection");
	fd = buf_export(self->dev, SEGMENTS, SEGMENT_PAGES, TEST_DMABUF_SHARED);
	ASSERT_LE(0, fd);
	attach = buf_attach(self->dev, fd, 0, 0);
	ASSERT_LT(0, attach);
	for (i = 0; i < (int)ARRAY_SIZE(settings); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/failslab/%s", settings[i][0]);
		ASSERT_EQ(0, write_text(path, settings[i][1]));
	}
	for (i = 0; i < 300; i++) {
		ASSERT_EQ(1, pwrite(switch_fd, "1", 1, 0));
		map = buf_map(self->dev, attach, DMA_BIDIRECTIONAL);
		ASSERT_EQ(1, pwrite(switch_fd, "0", 1, 0));
		if (map > 0) {
			EXPECT_EQ(0, buf_unmap(self->dev, map));
			continue;
		}
		EXPECT_EQ(-ENOMEM, map);
		failed++;
	}
	close(switch_fd);
	write_text("/sys/kernel/debug/failslab/probability", "0");
	write_text("/sys/kernel/debug/failslab/task-filter", "N");
	write_text("/sys/kernel/debug/failslab/ignore-gfp-wait", "Y");
	EXPECT_LT(0, failed);
	EXPECT_GT(300, failed);
	EXPECT_EQ(0, buf_state(self->dev, fd, &state));
	EXPECT_EQ(0, state.wrong);
	EXPECT_EQ(0, state.mapped);
	import(_metadata, self, fd, 0);
	EXPECT_EQ(0, buf_detach(self->dev, attach));
	close(fd);
}

/* What the test driver itself refuses. */
TEST_F_TIMEOUT(importers, bad_input, TEST_SECONDS)
{
	struct test_dmabuf_entry entry;
	struct test_dmabuf_state state;
	int fd = buf_export(self->dev, 1, 1, 0), attach, map;
	char byte = 0;

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, buf_export(self->dev, 0, 1, 0));
	EXPECT_EQ(-EINVAL, buf_export(self->dev, 1, 0, 0));
	EXPECT_EQ(-EINVAL, buf_export(self->dev, TEST_DMABUF_MAX_PAGES, 2, 0));
	EXPECT_EQ(-EINVAL, buf_export(self->dev, 1, 1, TEST_DMABUF_EXPORT_FLAGS + 1));
	EXPECT_EQ(-EINVAL, buf_export(self->dev, 1, 1, TEST_DMABUF_CACHED | TEST_DMABUF_DYNAMIC));
	EXPECT_EQ(-EBADF, buf_attach(self->dev, -1, 0, 0));
	EXPECT_EQ(-EINVAL, buf_attach(self->dev, self->dev, 0, 0));
	EXPECT_EQ(-EINVAL, buf_attach(self->dev, fd, TEST_DMABUF_DEVICES, 0));
	EXPECT_EQ(-EINVAL, buf_attach(self->dev, fd, 0, 2));
	EXPECT_EQ(-EINVAL, buf_state(self->dev, self->dev, &state));
	EXPECT_EQ(-ENOENT, buf_map(self->dev, 1234, DMA_TO_DEVICE));
	EXPECT_EQ(-ENOENT, buf_unmap(self->dev, 1234));
	EXPECT_EQ(-ENOENT, buf_detach(self->dev, 1234));
	EXPECT_EQ(-ENOENT, buf_entry(self->dev, 1234, 0, &entry));
	attach = buf_attach(self->dev, fd, 0, 0);
	ASSERT_LT(0, attach);
	EXPECT_EQ(-EINVAL, buf_map(self->dev, attach, 3));
	map = buf_map(self->dev, attach, DMA_BIDIRECTIONAL);
	ASSERT_LT(0, map);
	EXPECT_EQ(-EINVAL, buf_entry(self->dev, map, 1, &entry));
	EXPECT_EQ(1, buf_same_table(self->dev, map, map));
	EXPECT_EQ(-ENOENT, buf_same_table(self->dev, map, 1234));
	EXPECT_EQ(-EINVAL, buf_read(self->dev, map, &byte, page_size() + 1));
	EXPECT_EQ(0, buf_unmap(self->dev, map));
	EXPECT_EQ(0, buf_detach(self->dev, attach));
	close(fd);
}

TEST_HARNESS_MAIN
