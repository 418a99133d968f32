// SPDX-License-Identifier: GPL-2.0
/*
 * Page cache that is dirty, or being written back to a disk that takes its
 * time: waited for by those who wait, and what reaches the disk is right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

/* A request takes half a second: more than all that does not wait for it. */
#define DISK	"null_blk nr_devices=1 gb=1 bs=4096 memory_backed=1 irqmode=2 " \
		"completion_nsec=500000000"
#define MOUNT	"/tmp/cma-dirty"
#define NR	64

FIXTURE(dirty) {
	struct area area;
	int64_t free;
	uint64_t block;
	int file;
	char *at;
	bool mounted;
};

static bool make_disk(void)
{
	/* One that a test has left which was ended by an assertion. */
	umount(MOUNT);
	system("rmmod null_blk 2>/dev/null");
	mkdir(MOUNT, 0700);
	return !system("modprobe " DISK " 2>/dev/null") &&
	       (!system("mkfs.ext2 -q -b 4096 /dev/nullb0 5000 >/dev/null 2>&1") ||
		!system("mke2fs -b 4096 /dev/nullb0 5000 >/dev/null 2>&1")) &&
	       !mount("/dev/nullb0", MOUNT, "ext4", 0, NULL);
}

FIXTURE_SETUP(dirty)
{
	char why[128];

	if (!area_open(&self->area, why, sizeof(why)))
		SKIP(return, "%s", why);
	self->file = -1;
	self->mounted = make_disk();
	if (!self->mounted)
		SKIP(return, "null_blk with ext4 can't be had");
	self->free = area_free(&self->area);
	self->block = leave_one(&self->area);
	ASSERT_NE(0, self->block);
	self->file = open(MOUNT "/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, ftruncate(self->file, NR * PAGE));
	self->at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->at);
}

FIXTURE_TEARDOWN(dirty)
{
	EXPECT_EQ(0, release(&self->area, 0));
	if (self->at)
		munmap(self->at, NR * PAGE);
	if (self->file >= 0)
		close(self->file);
	if (self->mounted)
		umount(MOUNT);
	/* The disk and what is on it go as well. */
	if (system("rmmod null_blk 2>/dev/null"))
		TH_LOG("null_blk stays");
	if (self->mounted)
		EXPECT_EQ(self->free, area_free(&self->area));
	area_close(&self->area);
}

/* New content, in pages that stand in the pageblock. */
static void dirty(struct __test_metadata *_metadata, struct _test_data_dirty *self,
		  uint64_t seed)
{
	int i;

	fill(self->at, NR, seed);
	for (i = 0; i < NR; i++)
		ASSERT_EQ(0, place(&self->area, self->at + i * PAGE,
				   self->block + 3 * i));
	fill(self->at, NR, seed);
}

static void expect_on_disk(struct __test_metadata *_metadata, struct _test_data_dirty *self,
			   uint64_t seed)
{
	EXPECT_EQ(0, check(self->at, NR, seed));
	ASSERT_EQ(0, fsync(self->file));
	ASSERT_EQ(0, madvise(self->at, NR * PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, posix_fadvise(self->file, 0, 0, POSIX_FADV_DONTNEED));
	EXPECT_EQ(0, check(self->at, NR, seed));
}

static int64_t take(struct area *area, int flags, struct cma_test_alloc *got)
{
	return alloc_one(area, area->info.pageblock, pageblock_order(area), flags, got);
}

/*
 * Others may write the file back just now, or have one of its pages off the LRU;
 * the next time they don't.
 */
static int64_t take_dirty(struct __test_metadata *_metadata, struct _test_data_dirty *self,
			  int rung, struct cma_test_alloc *got)
{
	int64_t ret = 0;
	int i;

	for (i = 0; i < 5 && ret != 1; i++) {
		dirty(_metadata, self, rung + 1);
		ret = take(&self->area, rung_flags[rung], got);
	}
	return ret;
}

TEST_F_TIMEOUT(dirty, only, TEST_SECONDS)
{
	struct cma_test_alloc got;
	int rung;

	for (rung = 0; rung < ALL_RUNGS; rung++) {
		ASSERT_EQ(1, take_dirty(_metadata, self, rung, &got))
			TH_LOG("%s", rung_names[rung]);
		expect_on_disk(_metadata, self, rung + 1);
		EXPECT_EQ(0, release(&self->area, got.id));
	}
}

TEST_F_TIMEOUT(dirty, writeback, TEST_SECONDS)
{
	struct cma_test_alloc got;

	dirty(_metadata, self, 4);
	ASSERT_EQ(0, sync_file_range(self->file, 0, NR * PAGE, SYNC_FILE_RANGE_WRITE));
	EXPECT_EQ(-ENOMEM, take(&self->area, CMA_TEST_NORETRY, &got));
	EXPECT_EQ(1, take(&self->area, 0, &got));
	expect_on_disk(_metadata, self, 4);
}

TEST_HARNESS_MAIN
