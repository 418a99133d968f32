// SPDX-License-Identifier: GPL-2.0
/* Many chunks at once: which ones, how many, and what is left where. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

#define BLOCKS	10		/* pageblocks that pages are put into */

FIXTURE(bulk) {
	struct area area;
	int64_t free;
	uint64_t *pfns;
	uint64_t all;		/* chunks of 64 KiB in the area */
};

FIXTURE_SETUP(bulk)
{
	char why[128];

	if (!area_open(&self->area, why, sizeof(why)))
		SKIP(return, "%s", why);
	self->free = area_free(&self->area);
	self->all = self->area.info.count / 16;
	self->pfns = calloc(self->area.info.count, sizeof(*self->pfns));
	ASSERT_NE(NULL, self->pfns);
}

FIXTURE_TEARDOWN(bulk)
{
	letgo(&self->area);
	EXPECT_EQ(0, release(&self->area, 0));
	EXPECT_EQ(self->free, area_free(&self->area));
	free(self->pfns);
	area_close(&self->area);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Chunks are in the area, aligned, and nobody else's. */
static void expect_chunks(struct __test_metadata *_metadata, struct _test_data_bulk *self,
			  uint32_t id, uint64_t nr, int order)
{
	uint64_t size = 1ULL << order, i;

	ASSERT_EQ(0, chunk_pfns(&self->area, id, nr, self->pfns));
	qsort(self->pfns, nr, sizeof(*self->pfns), compare);
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, self->pfns[i] % size);
		ASSERT_LE(self->area.info.base_pfn, self->pfns[i]);
		ASSERT_GE(area_end(&self->area), self->pfns[i] + size);
		if (i)
			ASSERT_LE(self->pfns[i - 1] + size, self->pfns[i]);
	}
}

TEST_F_TIMEOUT(bulk, orders, TEST_SECONDS)
{
	static const int orders[] = { 0, 1, 4, 9, 10, 11 };
	struct cma_test_alloc got;
	uint64_t nr;
	size_t i;
	int rung;

	for (i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		for (rung = 0; rung < ALL_RUNGS; rung++) {
			nr = orders[i] < 4 ? 999 : 7;
			ASSERT_EQ(nr, alloc_bulk(&self->area, nr, orders[i], nr,
						 rung_flags[rung] | CMA_TEST_ZERO, &got))
				TH_LOG("order %d %s", orders[i], rung_names[rung]);
			EXPECT_EQ(self->free - (nr << orders[i]), area_free(&self->area));
			expect_chunks(_metadata, self, got.id, nr, orders[i]);
			EXPECT_EQ(0, release(&self->area, got.id));
			EXPECT_EQ(self->free, area_free(&self->area));
		}
	}
}

/* As many as there are; then there is nothing more, for anyone. */
TEST_F_TIMEOUT(bulk, whole_area, TEST_SECONDS)
{
	struct cma_test_alloc got;

	ASSERT_EQ(self->all, alloc_bulk(&self->area, self->all, 4, self->all,
					CMA_TEST_RETRY_MAYFAIL, &got));
	expect_chunks(_metadata, self, got.id, self->all, 4);
	EXPECT_EQ(self->free - self->area.info.count, area_free(&self->area));
	EXPECT_EQ(-ENOMEM, alloc_bulk(&self->area, 1, 4, 1, 0, NULL));
	EXPECT_EQ(0, alloc_bulk(&self->area, 1, 4, 0, 0, NULL));
	EXPECT_EQ(-ENOMEM, alloc_one(&self->area, 1, 0, 0, NULL));
}

TEST_F_TIMEOUT(bulk, all_or_nothing, TEST_SECONDS)
{
	struct cma_test_alloc half, got;

	ASSERT_EQ(self->all / 2, alloc_bulk(&self->area, self->all / 2, 4, self->all / 2,
					    CMA_TEST_RETRY_MAYFAIL, &half));
	EXPECT_EQ(-ENOMEM, alloc_bulk(&self->area, self->all, 4, self->all, 0, NULL));
	EXPECT_EQ(self->free - self->area.info.count / 2, area_free(&self->area));
	EXPECT_EQ(self->all - self->all / 2,
		  alloc_bulk(&self->area, self->all, 4, 1, CMA_TEST_RETRY_MAYFAIL, &got));
	expect_chunks(_metadata, self, got.id, self->all - self->all / 2, 4);
	/* The first ones are still what they were. */
	EXPECT_EQ(0, release(&self->area, half.id));
}

/* A page in each of some pageblocks. */
static bool put_pages(struct area *area, void **at, bool hold)
{
	uint64_t pfn;
	int i;

	for (i = 0; i < BLOCKS; i++) {
		pfn = area->info.base_pfn + i * area->info.pageblock + 37 * i;
		at[i] = page_at(area, pfn);
		if (!at[i] || (hold && keep(area, at[i], CMA_TEST_PIN, 0)))
			return false;
	}
	return true;
}

static void expect_pages(struct __test_metadata *_metadata, struct area *area,
			 void **at, bool stayed)
{
	uint64_t pfn;
	int i;

	for (i = 0; i < BLOCKS; i++) {
		pfn = area->info.base_pfn + i * area->info.pageblock + 37 * i;
		EXPECT_EQ(stayed, user_pfn(at[i]) == pfn);
		EXPECT_EQ(0, check(at[i], 1, pfn));
		munmap(at[i], PAGE);
	}
}

/* What stands in the way moves, and keeps its content. */
TEST_F_TIMEOUT(bulk, movable, TEST_SECONDS)
{
	uint64_t nr = BLOCKS * self->area.info.pageblock / 16;
	void *at[BLOCKS];
	int rung;

	for (rung = 0; rung < ALL_RUNGS; rung++) {
		struct cma_test_alloc got;

		ASSERT_TRUE(put_pages(&self->area, at, false));
		ASSERT_EQ(nr, alloc_bulk(&self->area, nr, 4, nr, rung_flags[rung], &got))
			TH_LOG("%s", rung_names[rung]);
		expect_pages(_metadata, &self->area, at, false);
		ASSERT_EQ(0, release(&self->area, got.id));
	}
}

/* A pin costs the chunk that it is in, and no other. */
TEST_F_TIMEOUT(bulk, foreign_pins, TEST_SECONDS)
{
	struct cma_test_alloc got;
	void *at[BLOCKS];
	int rung;

	ASSERT_TRUE(put_pages(&self->area, at, true));
	for (rung = 0; rung < ALL_RUNGS; rung++) {
		int64_t most = self->all - BLOCKS;
		int64_t ret = alloc_bulk(&self->area, self->all, 4, 0, rung_flags[rung], &got);

		/* Whatever else runs here may have something locked. */
		EXPECT_LE(rung ? most : most * 95 / 100, ret);
		EXPECT_GE(most, ret);
		expect_chunks(_metadata, self, got.id, ret, 4);
		EXPECT_EQ(0, release(&self->area, got.id));
	}
	EXPECT_EQ(-EBUSY, alloc_bulk(&self->area, self->all, 4, self->all,
				     CMA_TEST_RETRY_MAYFAIL, NULL));
	expect_pages(_metadata, &self->area, at, true);
}

/*
 * One pinned page at the head of each range of MAX_ORDER pages: what is free
 * behind it is found, however few chunks are wanted.
 */
#define SPAN		1024

TEST_F_TIMEOUT(bulk, a_pin_in_each_span, TEST_SECONDS)
{
	static const int wanted[] = { 1, 2, 8, 16, 17, 32, 63, 64, 100 };
	uint64_t base = (self->area.info.base_pfn + SPAN - 1) & ~(SPAN - 1ULL), i;
	uint64_t spans = (area_end(&self->area) - base) / SPAN;
	void **at = calloc(spans, sizeof(*at));
	int rung, order;
	size_t w;

	for (i = 0; i < spans; i++) {
		at[i] = page_at(&self->area, base + i * SPAN);
		ASSERT_NE(NULL, at[i]);
		ASSERT_EQ(0, keep(&self->area, at[i], CMA_TEST_PIN, 0));
	}
	for (rung = 0; rung < ALL_RUNGS; rung++) {
		for (w = 0; w < sizeof(wanted) / sizeof(*wanted); w++) {
			for (order = 4; order < 10; order += 5) {
				struct cma_test_alloc got;

				/* With one of two pageblocks pinned */
				if (order == 9 && wanted[w] > (int)spans)
					continue;
				ASSERT_EQ(wanted[w], alloc_bulk(&self->area, wanted[w], order,
								wanted[w], rung_flags[rung], &got))
					TH_LOG("%d of order %d, %s", wanted[w], order,
					       rung_names[rung]);
				EXPECT_EQ(0, release(&self->area, got.id));
			}
		}
	}
	letgo(&self->area);
	for (i = 0; i < spans; i++)
		munmap(at[i], PAGE);
	free(at);
}

static int64_t events(const char *name)
{
	char line[128], word[64];
	long long value;
	FILE *f = fopen("/proc/vmstat", "r");
	int64_t found = -ENOENT;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lld", word, &value) == 2 && !strcmp(word, name))
			found = value;
	if (f)
		fclose(f);
	return found;
}

/* A chunk is a success when somebody has it, and a call is one failure or none. */
TEST_F_TIMEOUT(bulk, is_counted_like_one_by_one, TEST_SECONDS)
{
	int64_t success = events("cma_alloc_success"), fail = events("cma_alloc_fail");
	struct cma_test_alloc got;
	void *at[BLOCKS];

	ASSERT_LE(0, success);
	ASSERT_TRUE(put_pages(&self->area, at, true));
	/* Placing them is allocating from ranges, which is not counted. */
	ASSERT_EQ(10, alloc_bulk(&self->area, 10, 4, 10, CMA_TEST_NORETRY, &got));
	EXPECT_EQ(success + 10, events("cma_alloc_success"));
	EXPECT_EQ(fail, events("cma_alloc_fail"));
	ASSERT_EQ(0, release(&self->area, got.id));
	/* As many as there are: that is none that has failed. */
	ASSERT_LT(0, alloc_bulk(&self->area, self->all, 4, 0, CMA_TEST_NORETRY, &got));
	EXPECT_EQ(success + 10 + got.got, events("cma_alloc_success"));
	EXPECT_EQ(fail, events("cma_alloc_fail"));
	success += 10 + got.got;
	ASSERT_EQ(0, release(&self->area, got.id));
	/* What nobody gets to see is no success. */
	EXPECT_EQ(-EBUSY, alloc_bulk(&self->area, self->all, 4, self->all, 0, NULL));
	EXPECT_EQ(success, events("cma_alloc_success"));
	EXPECT_EQ(fail + 1, events("cma_alloc_fail"));
	expect_pages(_metadata, &self->area, at, true);
}

TEST_HARNESS_MAIN
