// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of where CMA looks for a place, of what it makes of a gfp mask,
 * and of what it refuses. The areas are made up: there are no pages behind them.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/cma.h>
#include <linux/mm.h>
#include <linux/pageblock-flags.h>

#include "cma.h"
#include "cma_search.h"
#include "contig.h"

/* Eight pageblocks, at a pfn that is as aligned as can be. */
#define BLOCKS		8
#define BASE		((unsigned long)MAX_ORDER_NR_PAGES << 8)
#define PB		((unsigned long)pageblock_nr_pages)

static struct cma *made_up(struct kunit *test, unsigned int order_per_bit)
{
	struct cma *cma = kunit_kzalloc(test, sizeof(*cma), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, cma);
	cma->base_pfn = BASE;
	cma->count = BLOCKS * PB;
	cma->order_per_bit = order_per_bit;
	spin_lock_init(&cma->lock);
	cma->bitmap = kunit_kcalloc(test, BITS_TO_LONGS(cma_bitmap_maxno(cma)),
				    sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, cma->bitmap);
	return cma;
}

static unsigned long used(struct cma *cma)
{
	return bitmap_weight(cma->bitmap, cma_bitmap_maxno(cma));
}

static void fail(struct cma_search *search, unsigned long pfn,
		 enum contig_rung rung, bool scanned, unsigned long blocker)
{
	struct contig_ctl ctl = {
		.rung = rung, .scanned = scanned, .blocker = blocker,
	};

	cma_search_busy(search, pfn, &ctl);
}

static void search_finds_all(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	struct cma_search search;
	unsigned long pfn, i;

	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, PB, 0));
	for (i = 0; i < BLOCKS; i++) {
		KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
		KUNIT_EXPECT_EQ(test, BASE + i * PB, pfn);
		KUNIT_EXPECT_EQ(test, (i + 1) * PB, used(cma));
	}
	KUNIT_EXPECT_FALSE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_FALSE(test, search.passed_over);
	cma_search_end(&search);
}

/* A failed attempt: behind the pageblock of the page, and nothing stays set. */
static void search_skips_pageblock(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	struct cma_search search;
	unsigned long pfn;

	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, 16, 4));
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE, pfn);
	fail(&search, pfn, CONTIG_DEFAULT, false, BASE + 3);
	KUNIT_EXPECT_EQ(test, 0, used(cma));
	KUNIT_EXPECT_TRUE(test, search.passed_over);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + PB, pfn);
	cma_search_end(&search);
}

/* A request of many pageblocks: behind that of the page, not of the request. */
static void search_skips_in_large(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	struct cma_search search;
	unsigned long pfn;

	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, 4 * PB, 0));
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	fail(&search, pfn, CONTIG_DEFAULT, false, BASE + 2 * PB + 7);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 3 * PB, pfn);
	/* What is left behind this one is too short. */
	fail(&search, pfn, CONTIG_DEFAULT, false, BASE + 5 * PB);
	KUNIT_EXPECT_FALSE(test, cma_search_next(&search, &pfn));
	cma_search_end(&search);
}

/* A look costs little: go on behind the page. */
static void search_after_scan(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	struct cma_search search;
	unsigned long pfn;

	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, 16, 4));
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	fail(&search, pfn, CONTIG_FAILFAST, true, BASE + 3);
	KUNIT_EXPECT_FALSE(test, search.passed_over);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 16, pfn);
	/* Unaligned, it may begin at the very next page. */
	cma_search_end(&search);
	bitmap_zero(cma->bitmap, cma_bitmap_maxno(cma));
	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, 16, 0));
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	fail(&search, pfn, CONTIG_FAILFAST, true, BASE + 3);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 4, pfn);
	cma_search_end(&search);
}

/* The second pass: the ends of pageblocks, but not where it failed before. */
static void search_again(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	unsigned long pfn, place, first[BLOCKS], i;
	struct cma_search search;

	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, 16, 4));
	for (i = 0; i < BLOCKS; i++) {
		KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
		first[i] = pfn;
		fail(&search, pfn, CONTIG_DEFAULT, false, pfn + i);
	}
	KUNIT_EXPECT_FALSE(test, cma_search_next(&search, &pfn));
	cma_search_again(&search, false);
	for (i = 0; cma_search_next(&search, &pfn); i++) {
		/* Two of PB / 16 in each block: 1 is known to fail. */
		place = i % (PB / 16 - 1) + 1;
		KUNIT_ASSERT_EQ(test, first[i / (PB / 16 - 1)] + place * 16,
				pfn);
	}
	KUNIT_EXPECT_EQ(test, BLOCKS * (PB / 16 - 1), i);
	cma_search_end(&search);
}

/* Failing again, in the second pass, is behind the page only. */
static void search_again_fails(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	struct cma_search search;
	unsigned long pfn;

	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, 16, 4));
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	fail(&search, pfn, CONTIG_DEFAULT, false, pfn);
	cma_search_again(&search, false);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 16, pfn);
	fail(&search, pfn, CONTIG_DEFAULT, false, pfn + 15);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 32, pfn);
	fail(&search, pfn, CONTIG_DEFAULT, false, pfn + 15);
	/* What can be waited for is tried again. */
	cma_search_again(&search, true);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE, pfn);
	cma_search_end(&search);
}

/* A blocker that is not in the range (a folio that begins before) is clamped. */
static void search_makes_progress(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	struct cma_search search;
	unsigned long pfn;

	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, 16, 4));
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	fail(&search, pfn, CONTIG_DEFAULT, true, 0);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 16, pfn);
	fail(&search, pfn, CONTIG_DEFAULT, true, ULONG_MAX);
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 32, pfn);
	cma_search_end(&search);
}

/* Bits that stand for many pages, and pages that others have. */
static void search_coarse_bits(struct kunit *test)
{
	struct cma *cma = made_up(test, 4);
	struct cma_search search;
	unsigned long pfn;

	bitmap_set(cma->bitmap, 1, 1);
	KUNIT_ASSERT_EQ(test, 0, cma_search_init(&search, cma, 17, 0));
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 32, pfn);
	KUNIT_EXPECT_EQ(test, 3, used(cma));
	fail(&search, pfn, CONTIG_FAILFAST, true, pfn + 16);
	KUNIT_EXPECT_EQ(test, 1, used(cma));
	KUNIT_ASSERT_TRUE(test, cma_search_next(&search, &pfn));
	KUNIT_EXPECT_EQ(test, BASE + 64, pfn);
	cma_search_end(&search);
}

static void search_refuses(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	struct cma_search search;

	KUNIT_EXPECT_EQ(test, -EINVAL, cma_search_init(&search, NULL, 1, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, cma_search_init(&search, cma, 0, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			cma_search_init(&search, cma, 1, BITS_PER_LONG));
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			cma_search_init(&search, cma, cma->count + 1, 0));
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			cma_search_init(&search, cma, ULONG_MAX, 0));
	cma->count = 0;
	KUNIT_EXPECT_EQ(test, -EINVAL, cma_search_init(&search, cma, 1, 0));
}

static void gfp_rungs(struct kunit *test)
{
	struct contig_ctl ctl;

	KUNIT_ASSERT_EQ(test, 0, contig_init(&ctl, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, CONTIG_DEFAULT, ctl.rung);
	KUNIT_EXPECT_TRUE(test, ctl.cc_gfp & __GFP_DIRECT_RECLAIM);
	KUNIT_EXPECT_TRUE(test, ctl.cc_gfp & __GFP_RETRY_MAYFAIL);
	KUNIT_EXPECT_TRUE(test, ctl.cc_gfp & __GFP_MOVABLE);
	KUNIT_EXPECT_EQ(test, 0, ctl.steps_left);

	KUNIT_ASSERT_EQ(test, 0, contig_init(&ctl, GFP_KERNEL | __GFP_NORETRY));
	KUNIT_EXPECT_EQ(test, CONTIG_FAILFAST, ctl.rung);
	KUNIT_EXPECT_FALSE(test, ctl.cc_gfp & __GFP_DIRECT_RECLAIM);
	KUNIT_EXPECT_FALSE(test, ctl.cc_gfp & __GFP_RETRY_MAYFAIL);
	KUNIT_EXPECT_TRUE(test, ctl.cc_gfp & __GFP_NOWARN);
	KUNIT_EXPECT_EQ(test, 0, ctl.steps_left);

	KUNIT_ASSERT_EQ(test, 0,
			contig_init(&ctl, GFP_KERNEL | __GFP_RETRY_MAYFAIL));
	KUNIT_EXPECT_EQ(test, CONTIG_HARD, ctl.rung);
	KUNIT_EXPECT_TRUE(test, ctl.cc_gfp & __GFP_DIRECT_RECLAIM);
}

/* What is irrelevant is ignored, what would be wrong is not. */
static void gfp_refused(struct kunit *test)
{
	const gfp_t ignored[] = {
		__GFP_DMA, __GFP_HIGHMEM, __GFP_DMA32, __GFP_MOVABLE,
		__GFP_RECLAIMABLE, __GFP_WRITE, __GFP_HARDWALL, __GFP_THISNODE,
	};
	const gfp_t kept[] = {
		__GFP_COMP, __GFP_NOWARN, __GFP_ZERO,
	};
	const gfp_t refused[] = {
		__GFP_NOFAIL, __GFP_ACCOUNT, __GFP_HIGH, __GFP_MEMALLOC,
		__GFP_NOMEMALLOC, __GFP_NORETRY | __GFP_RETRY_MAYFAIL,
	};
	struct contig_ctl ctl;
	int i;

	for (i = 0; i < ARRAY_SIZE(ignored); i++) {
		KUNIT_EXPECT_EQ(test, 0,
				contig_init(&ctl, GFP_KERNEL | ignored[i]));
		KUNIT_EXPECT_FALSE(test, ctl.gfp & ignored[i]);
	}
	for (i = 0; i < ARRAY_SIZE(kept); i++) {
		KUNIT_EXPECT_EQ(test, 0, contig_init(&ctl, GFP_KERNEL | kept[i]));
		KUNIT_EXPECT_TRUE(test, ctl.gfp & kept[i]);
	}
	for (i = 0; i < ARRAY_SIZE(refused); i++)
		KUNIT_EXPECT_EQ(test, -EINVAL,
				contig_init(&ctl, GFP_KERNEL | refused[i]));
}

/* Whose pages are hopeless for whom. */
static void state_blocks(struct kunit *test)
{
	static const struct {
		enum contig_state state;
		bool failfast, other, drained_default, drained_hard;
	} table[] = {
		{ CONTIG_FREE, false, false, false, false },
		{ CONTIG_MOVABLE, false, false, false, false },
		{ CONTIG_REFUSED, false, false, false, false },
		{ CONTIG_HUGETLB, true, false, false, false },
		{ CONTIG_LOCKED, true, false, false, false },
		{ CONTIG_WRITEBACK, true, false, false, false },
		{ CONTIG_REFERENCED, false, false, false, true },
		{ CONTIG_PINNED, true, true, true, true },
		{ CONTIG_UNMOVABLE, true, true, true, true },
	};
	enum contig_state state;
	int i;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		state = table[i].state;
		KUNIT_EXPECT_EQ(test, table[i].failfast,
				contig_state_blocks(CONTIG_FAILFAST, state, false));
		KUNIT_EXPECT_EQ(test, table[i].other,
				contig_state_blocks(CONTIG_DEFAULT, state, false));
		KUNIT_EXPECT_EQ(test, table[i].other,
				contig_state_blocks(CONTIG_HARD, state, false));
		KUNIT_EXPECT_EQ(test, table[i].drained_default,
				contig_state_blocks(CONTIG_DEFAULT, state, true));
		KUNIT_EXPECT_EQ(test, table[i].drained_hard,
				contig_state_blocks(CONTIG_HARD, state, true));
	}
}

/* Neighbours don't disturb each other; those who overlap fail fast. */
static void claims_exclude(struct kunit *test)
{
	unsigned long grain = max(PB, MAX_ORDER_NR_PAGES);
	struct contig_claim first, second, third;
	struct contig_ctl ctl = { .rung = CONTIG_FAILFAST };

	KUNIT_ASSERT_TRUE(test, contig_claim(&first, &ctl, BASE + 1, BASE + 2));
	KUNIT_EXPECT_EQ(test, BASE, first.start);
	KUNIT_EXPECT_EQ(test, BASE + grain, first.end);
	KUNIT_EXPECT_FALSE(test, contig_claim(&second, &ctl, BASE + 5,
					      BASE + 2 * grain));
	KUNIT_EXPECT_EQ(test, BASE + grain - 1, ctl.blocker);
	KUNIT_EXPECT_TRUE(test, ctl.scanned);
	KUNIT_ASSERT_TRUE(test, contig_claim(&third, &ctl, BASE + grain,
					     BASE + grain + 1));
	contig_unclaim(&first);
	KUNIT_EXPECT_FALSE(test, contig_claim(&second, &ctl, BASE + 5,
					      BASE + 2 * grain));
	contig_unclaim(&third);
	KUNIT_ASSERT_TRUE(test, contig_claim(&second, &ctl, BASE + 5,
					     BASE + 2 * grain));
	contig_unclaim(&second);
}

static void alloc_refuses(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;

	KUNIT_EXPECT_NULL(test, cma_alloc(NULL, 1, 0, gfp));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, 0, 0, gfp));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, 1, BITS_PER_LONG, gfp));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, cma->count + 1, 0, gfp));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, 1, 0, GFP_NOWAIT));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, 1, 0, gfp | __GFP_NOFAIL));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, 1, 0, gfp | __GFP_NORETRY |
					  __GFP_RETRY_MAYFAIL));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, 3, 2, gfp | __GFP_COMP));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, 8, 2, gfp | __GFP_COMP));
	KUNIT_EXPECT_EQ(test, 0, used(cma));
}

static void bulk_refuses(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	struct page *pages[2];

	KUNIT_EXPECT_EQ(test, -EINVAL, cma_alloc_bulk(NULL, 4, 2, 2, pages, gfp));
	KUNIT_EXPECT_EQ(test, -EINVAL, cma_alloc_bulk(cma, 4, 0, 0, pages, gfp));
	KUNIT_EXPECT_EQ(test, -EINVAL, cma_alloc_bulk(cma, 4, 2, 3, pages, gfp));
	KUNIT_EXPECT_EQ(test, -EINVAL, cma_alloc_bulk(cma, 4, 2, 2, NULL, gfp));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			cma_alloc_bulk(cma, BITS_PER_LONG, 2, 2, pages, gfp));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			cma_alloc_bulk(cma, 4, 2, 2, pages, GFP_NOWAIT));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			cma_alloc_bulk(cma, 4, 2, 2, pages, gfp | __GFP_COMP));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			cma_alloc_bulk(cma, 4, 2, 2, pages, gfp | __GFP_NOFAIL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			cma_alloc_bulk(cma, 4, 2, 2, pages, gfp |
				       __GFP_NORETRY | __GFP_RETRY_MAYFAIL));
	KUNIT_EXPECT_EQ(test, 0, used(cma));

	/* Nothing is free: no page is looked at, and there are none here. */
	bitmap_fill(cma->bitmap, cma_bitmap_maxno(cma));
	KUNIT_EXPECT_EQ(test, -ENOMEM, cma_alloc_bulk(cma, 4, 2, 1, pages, gfp));
	KUNIT_EXPECT_EQ(test, 0, cma_alloc_bulk(cma, 4, 2, 0, pages, gfp));
	KUNIT_EXPECT_NULL(test, cma_alloc(cma, 1, 0, gfp));
	KUNIT_EXPECT_EQ(test, cma->count, used(cma));
}

/* All or nothing: one that is not of the area, and none is given back. */
static void bulk_release_refuses(struct kunit *test)
{
	struct cma *cma = made_up(test, 0);
	struct page *pages[2] = { pfn_to_page(BASE), NULL };

	bitmap_fill(cma->bitmap, cma_bitmap_maxno(cma));
	KUNIT_EXPECT_FALSE(test, cma_release_bulk(NULL, 4, 1, pages));
	KUNIT_EXPECT_FALSE(test, cma_release_bulk(cma, BITS_PER_LONG, 1, pages));
	KUNIT_EXPECT_FALSE(test, cma_release_bulk(cma, 4, 2, pages));
	pages[1] = pfn_to_page(BASE - 16);
	KUNIT_EXPECT_FALSE(test, cma_release_bulk(cma, 4, 2, pages));
	pages[1] = pfn_to_page(BASE + 8);
	KUNIT_EXPECT_FALSE(test, cma_release_bulk(cma, 4, 2, pages));
	pages[1] = pfn_to_page(BASE + cma->count);
	KUNIT_EXPECT_FALSE(test, cma_release_bulk(cma, 4, 2, pages));
	KUNIT_EXPECT_TRUE(test, cma_release_bulk(cma, 4, 0, pages));
	KUNIT_EXPECT_EQ(test, cma->count, used(cma));
}

static struct kunit_case cma_cases[] = {
	KUNIT_CASE(search_finds_all),
	KUNIT_CASE(search_skips_pageblock),
	KUNIT_CASE(search_skips_in_large),
	KUNIT_CASE(search_after_scan),
	KUNIT_CASE(search_again),
	KUNIT_CASE(search_again_fails),
	KUNIT_CASE(search_makes_progress),
	KUNIT_CASE(search_coarse_bits),
	KUNIT_CASE(search_refuses),
	KUNIT_CASE(gfp_rungs),
	KUNIT_CASE(gfp_refused),
	KUNIT_CASE(state_blocks),
	KUNIT_CASE(claims_exclude),
	KUNIT_CASE(alloc_refuses),
	KUNIT_CASE(bulk_refuses),
	KUNIT_CASE(bulk_release_refuses),
	{}
};

static struct kunit_suite cma_suite = {
	.name = "cma",
	.test_cases = cma_cases,
};

kunit_test_suite(cma_suite);
