// SPDX-License-Identifier: GPL-2.0
/*
 * Compaction moves pinned pages as it moves others.
 *
 * It decides by itself what it moves, and does not come back to a block of
 * memory for a long time; so this is one test of all kinds of pages at once,
 * which share their blocks with pages that nobody has pinned. Of those, some
 * have to move, or there was nothing to see.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	1024
#define ENOUGH	32

enum memory { ANON, SHMEM, FILE_CACHE };

static const struct {
	const char *name;
	enum memory memory;
	int kind;
	int flags;
} kinds[] = {
	{ "anon", ANON, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE },
	{ "anon, set", ANON, TEST_PINPAGE_SET, TEST_PINPAGE_WRITE },
	{ "shmem", SHMEM, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE },
	{ "memfd", SHMEM, TEST_PINPAGE_MEMFD, TEST_PINPAGE_WRITE },
	{ "file", FILE_CACHE, TEST_PINPAGE_USER, 0 },
	{ "file, set", FILE_CACHE, TEST_PINPAGE_SET, TEST_PINPAGE_WRITE },
	/* The last two are witnesses. */
	{ "plain pin", ANON, TEST_PINPAGE_PLAIN, TEST_PINPAGE_WRITE },
	{ "not pinned", ANON, -1, 0 },
};

#define NR_KINDS	((int)ARRAY_SIZE(kinds))
#define PLAIN		(NR_KINDS - 2)
#define UNPINNED	(NR_KINDS - 1)

FIXTURE(compaction) {
	int fd;
	struct holes holes;
	struct {
		char *at;
		int backing;
		int id;
		uint64_t pfn[NR];
	} of[NR_KINDS];
};

static char *map_kind(enum memory memory, int *backing)
{
	char *at;

	*backing = -1;
	if (memory == ANON)
		return map_anon(NR);
	*backing = memory == SHMEM ? make_memfd(NR) : make_file(NR);
	if (*backing < 0)
		return NULL;
	at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *backing, 0);
	return at == MAP_FAILED ? NULL : at;
}

static int pin(struct _test_data_compaction *self, int k)
{
	bool memfd = kinds[k].kind == TEST_PINPAGE_MEMFD;
	struct test_pinpage_pin arg = {
		.kind = kinds[k].kind,
		.addr = memfd ? 0 : (uintptr_t)self->of[k].at,
		.fd = memfd ? self->of[k].backing : 0,
		.len = NR * PAGE,
		.flags = kinds[k].flags,
	};

	return dev_pin(self->fd, arg);
}

FIXTURE_SETUP(compaction)
{
	char why[128];
	int i, k;

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	for (k = 0; k < NR_KINDS; k++)
		self->of[k].at = map_kind(kinds[k].memory, &self->of[k].backing);
	/* There is more at the bottom of memory that wants to get up. */
	self->holes.pages = 8192;
	/* Page by page, so that they share blocks. */
	for (i = 0; i < NR; i++) {
		if (i % (NR / MAX_FILLER) == NR / MAX_FILLER / 2)
			ASSERT_TRUE(add_filler(&self->holes));
		prefer_node(0);
		for (k = 0; k < NR_KINDS; k++)
			if (self->of[k].at)
				self->of[k].at[i * PAGE] = 1;
	}
	prefer_node(-1);
	for (k = 0; k < NR_KINDS; k++) {
		/* Without a disk file system. */
		if (!self->of[k].at)
			continue;
		user_fill(self->of[k].at, NR, SEED_USER);
		if (kinds[k].memory == FILE_CACHE)
			fsync(self->of[k].backing);
		if (k == UNPINNED)
			continue;
		self->of[k].id = pin(self, k);
		ASSERT_GT(self->of[k].id, 0);
	}
}

FIXTURE_TEARDOWN(compaction)
{
	struct test_pinpage_counters count;
	int k;

	drop_holes(&self->holes);
	for (k = 0; k < NR_KINDS; k++) {
		if (!self->of[k].at)
			continue;
		EXPECT_EQ(0, user_check(self->of[k].at, NR, SEED_USER));
		if (k == UNPINNED)
			continue;
		EXPECT_EQ(0, dev_check(self->fd, self->of[k].id, NR, SEED_USER));
		count = dev_count(self->fd, self->of[k].id);
		EXPECT_TRUE(account_balanced(&count));
		EXPECT_EQ(0, dev_unpin(self->fd, self->of[k].id));
		munmap(self->of[k].at, NR * PAGE);
	}
	close(self->fd);
}

static uint64_t read_pfns(struct _test_data_compaction *self)
{
	uint64_t lowest = ~0ULL;
	int i, k;

	for (k = 0; k < NR_KINDS; k++) {
		for (i = 0; self->of[k].at && i < NR; i++) {
			self->of[k].pfn[i] = user_pfn(self->of[k].at + i * PAGE);
			if (self->of[k].pfn[i] < lowest)
				lowest = self->of[k].pfn[i];
		}
	}
	return lowest;
}

static int count_moved(struct _test_data_compaction *self, int k)
{
	int i, moved = 0;

	for (i = 0; i < NR; i++)
		moved += self->of[k].pfn[i] != user_pfn(self->of[k].at + i * PAGE);
	return moved;
}

TEST_F_TIMEOUT(compaction, all_kinds, TEST_SECONDS)
{
	int i, k, unpinned;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction");
	punch_holes(&self->holes, read_pfns(self));
	EXPECT_EQ(0, write_text("/proc/sys/vm/compact_memory", "1"));
	unpinned = count_moved(self, UNPINNED);
	if (unpinned < ENOUGH)
		SKIP(return, "compaction has moved %d pages that are not pinned", unpinned);
	EXPECT_EQ(0, count_moved(self, PLAIN));
	for (k = 0; k < PLAIN; k++) {
		if (!self->of[k].at)
			continue;
		EXPECT_LE(unpinned / 4, count_moved(self, k))
			TH_LOG("%s: %d, not pinned: %d", kinds[k].name,
			       count_moved(self, k), unpinned);
		EXPECT_EQ(count_moved(self, k), dev_count(self->fd, self->of[k].id).moved);
		EXPECT_EQ(0, dev_order(self->fd, self->of[k].id));
		for (i = 0; i < NR; i++)
			ASSERT_EQ(user_pfn(self->of[k].at + i * PAGE),
				  dev_pfn(self->fd, self->of[k].id, i));
	}
}

/* Who would rather have his devices run than large folios says so. */
TEST_F_TIMEOUT(compaction, knob, TEST_SECONDS)
{
	static const char knob[] = "/proc/sys/vm/pinpage_compaction";
	int64_t was = read_number(knob);
	int k, unpinned;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction");
	EXPECT_EQ(1, was);
	EXPECT_EQ(-EINVAL, write_text(knob, "2"));
	EXPECT_EQ(-EINVAL, write_text(knob, "-1"));
	ASSERT_EQ(0, write_text(knob, "0"));
	punch_holes(&self->holes, read_pfns(self));
	EXPECT_EQ(0, write_text("/proc/sys/vm/compact_memory", "1"));
	unpinned = count_moved(self, UNPINNED);
	for (k = 0; k < PLAIN; k++) {
		if (!self->of[k].at)
			continue;
		EXPECT_EQ(0, dev_count(self->fd, self->of[k].id).prepares);
		EXPECT_EQ(0, count_moved(self, k));
	}
	/* Others may ask as before. */
	if (have_two_nodes())
		EXPECT_EQ(1, move_away(self->of[0].at, 1));
	ASSERT_EQ(0, write_text(knob, "1"));
	if (unpinned < ENOUGH)
		SKIP(return, "compaction has moved %d pages that are not pinned", unpinned);
}

TEST_HARNESS_MAIN
