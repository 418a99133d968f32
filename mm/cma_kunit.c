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
#include <linux/prandom.h>

#include "cma.h"
#include "cma_bulk.h"
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

/*
 * The model: an area without pages, what stands in it, and what would come of an
 * attempt. cma_search_run() and cma_bulk_run() against all places there are.
 */
#define MODEL_PAGES	200
#define MODEL_SPAN	32		/* of cma_bulk, and what a claim covers */

/* Emulated machines try a hundredth of it, at each boot. */
#define MODEL_SHARE	(IS_ENABLED(CONFIG_UML) ? 1 : 100)

enum model_kind {
	MODEL_FREE,
	MODEL_USED,		/* in the bitmap */
	MODEL_SEEN,		/* a look tells that it stays */
	MODEL_HIDDEN,		/* stays, and only trying tells */
	MODEL_SOFT,		/* looks like it, but trying moves it */
	MODEL_TAKEN,		/* others work on this span; who queues has it then */
	NR_MODEL_KINDS,
};

static struct model {
	struct cma cma;
	unsigned long bitmap[BITS_TO_LONGS(MODEL_PAGES)];
	u8 kind[MODEL_PAGES];
	unsigned long cases, gettable, tries, max_tries, obstacles;
	struct page *pages[MODEL_PAGES];
} model;

static void model_init(unsigned long count, unsigned int order_per_bit,
		       unsigned long offset)
{
	struct cma *cma = &model.cma;

	cma->base_pfn = BASE + (offset << order_per_bit);
	cma->count = count;
	cma->order_per_bit = order_per_bit;
	cma->bitmap = model.bitmap;
	spin_lock_init(&cma->lock);
	bitmap_zero(model.bitmap, MODEL_PAGES);
	memset(model.kind, MODEL_FREE, sizeof(model.kind));
	model.obstacles = 0;
}

static void model_put(unsigned long page, enum model_kind kind)
{
	model.kind[page] = kind;
	if (kind == MODEL_USED)
		__set_bit(page >> model.cma.order_per_bit, model.bitmap);
	else if (kind != MODEL_FREE)
		model.obstacles++;
}

static unsigned long model_span(unsigned long page)
{
	unsigned long pfn = model.cma.base_pfn + page;

	return ALIGN_DOWN(pfn, MODEL_SPAN);
}

static bool model_taken(unsigned long start, unsigned long end)
{
	unsigned long i;

	for (i = 0; i < model.cma.count; i++)
		if (model.kind[i] == MODEL_TAKEN &&
		    model_span(i) < end && start < model_span(i) + MODEL_SPAN)
			return true;
	return false;
}

static bool model_seen(struct contig_ctl *ctl, enum model_kind kind)
{
	return !ctl->eager && (kind == MODEL_SEEN || kind == MODEL_SOFT);
}

static bool model_stays(enum model_kind kind)
{
	return kind == MODEL_SEEN || kind == MODEL_HIDDEN;
}

/* The first page that a look speaks against, as contig_look() */
static unsigned long model_look(struct contig_ctl *ctl, unsigned long start,
				unsigned long end)
{
	unsigned long pfn;

	for (pfn = start; pfn < end; pfn++) {
		if (!model_seen(ctl, model.kind[pfn - model.cma.base_pfn]))
			continue;
		ctl->why = PAGE_BLAME_PINNED;
		return pfn;
	}
	return end;
}

static unsigned long model_stay(struct contig_ctl *ctl, unsigned long start,
				unsigned long end)
{
	unsigned long pfn;

	for (pfn = start; pfn < end; pfn++) {
		if (!model_stays(model.kind[pfn - model.cma.base_pfn]))
			continue;
		ctl->why = PAGE_BLAME_REFERENCED;
		return pfn;
	}
	return end;
}

static int model_try(struct contig_ctl *ctl, unsigned long pfn,
		     unsigned long count)
{
	model.tries++;
	ctl->taken = !ctl->queue && model_taken(pfn, pfn + count);
	if (ctl->taken) {
		ctl->blocker = ALIGN_DOWN(pfn, MODEL_SPAN);
		while (!model_taken(ctl->blocker, ctl->blocker + 1))
			ctl->blocker += MODEL_SPAN;
		ctl->blocker += MODEL_SPAN - 1;
		return -EBUSY;
	}
	ctl->blocker = model_look(ctl, pfn, pfn + count);
	if (ctl->blocker < pfn + count)
		return -EBUSY;
	ctl->blocker = model_stay(ctl, pfn, pfn + count);
	return ctl->blocker < pfn + count ? -EBUSY : 0;
}

static int model_get(struct cma_bulk *bulk, struct contig_ctl *ctl)
{
	unsigned long i, start, end;

	model.tries++;
	ctl->taken = !ctl->queue && model_taken(bulk->base,
						bulk->base + bulk->span);
	if (ctl->taken) {
		cma_bulk_drop_all(bulk);
		return 0;
	}
	for_each_set_bit(i, bulk->mine, bulk->nr_chunks) {
		start = bulk->base + i * bulk->step;
		end = start + bulk->chunk;
		ctl->blocker = model_stay(ctl, start, end);
		if (ctl->blocker < end)
			cma_bulk_drop(bulk, ctl, i);
		else
			cma_bulk_keep(bulk, i);
	}
	return 0;
}

/* A second look: what would have moved does not look as if it stayed. */
static enum page_blame model_again(unsigned long pfn)
{
	return model_stays(model.kind[pfn - model.cma.base_pfn]) ?
	       PAGE_BLAME_PINNED : PAGE_BLAME_NONE;
}

/* Would this place be had by who tries them all? */
static bool model_gettable(enum contig_rung rung, unsigned long page,
			   unsigned long count)
{
	unsigned long pfn = model.cma.base_pfn + page, i, bit;

	for (i = page; i < page + count; i++) {
		bit = i >> model.cma.order_per_bit;
		if (test_bit(bit, model.bitmap) || model_stays(model.kind[i]))
			return false;
		if (rung == CONTIG_FAILFAST && model.kind[i] == MODEL_SOFT)
			return false;
	}
	return rung != CONTIG_FAILFAST || !model_taken(pfn, pfn + count);
}

/* In bits that are not used otherwise, from the first to the last one */
static bool model_fits(enum contig_rung rung, unsigned long page,
		       unsigned long count)
{
	unsigned long bit = 1UL << model.cma.order_per_bit;
	unsigned long whole = ALIGN(page + count, bit);

	if (whole > ALIGN_DOWN(model.cma.count, bit) ||
	    !model_gettable(rung, page, count))
		return false;
	return !test_bit((whole - 1) >> model.cma.order_per_bit, model.bitmap);
}

static bool model_any(enum contig_rung rung, unsigned long count,
		      unsigned int align)
{
	unsigned long bit = 1UL << model.cma.order_per_bit, page;

	for (page = 0; page + count <= model.cma.count; page += bit)
		if (IS_ALIGNED(model.cma.base_pfn + page,
			       1UL << max(align, model.cma.order_per_bit)) &&
		    model_fits(rung, page, count))
			return true;
	return false;
}

static unsigned long model_chunks(enum contig_rung rung, unsigned int order)
{
	unsigned long bit = 1UL << model.cma.order_per_bit, page, nr = 0;
	unsigned long count = 1UL << order;

	for (page = 0; page + count <= model.cma.count; page += bit)
		nr += IS_ALIGNED(model.cma.base_pfn + page, max(bit, count)) &&
		      model_fits(rung, page, count);
	return nr;
}

static struct contig_ctl model_ctl(enum contig_rung rung)
{
	return (struct contig_ctl) { .rung = rung };
}

static void model_describe(struct kunit *test)
{
	unsigned long i;

	kunit_err(test, "%lu pages at %#lx, order_per_bit %u:", model.cma.count,
		  model.cma.base_pfn, model.cma.order_per_bit);
	for (i = 0; i < model.cma.count; i++)
		if (model.kind[i])
			kunit_err(test, " page %lu is %u", i, model.kind[i]);
}

static void model_account(unsigned long before, bool gettable)
{
	model.cases++;
	model.gettable += gettable;
	model.max_tries = max(model.max_tries, model.tries - before);
}

/* One search; false, and it has failed. */
static bool model_search(struct kunit *test, enum contig_rung rung,
			 unsigned long count, unsigned int align)
{
	bool expected = model_any(rung, count, align), good;
	unsigned long before = model.tries, pfn = 0, was;
	struct contig_ctl ctl = model_ctl(rung);
	struct cma_search search;
	int ret;

	if (cma_search_init(&search, &model.cma, count, align))
		return true;
	search.try = model_try;
	search.blockers.look = model_again;
	search.blockers.patience = 0;
	was = used(&model.cma);
	ret = cma_search_run(&search, &ctl, &pfn);
	cma_search_end(&search);
	good = !ret == expected;
	if (!ret) {
		cma_clear_bitmap(&model.cma, pfn, count);
		good &= IS_ALIGNED(pfn, 1UL << align) &&
			model_gettable(rung, pfn - model.cma.base_pfn, count);
	}
	good &= used(&model.cma) == was;
	/* Each obstacle fails a place once in a pass, and there are three. */
	good &= model.tries - before <= 3 * model.obstacles + 3;
	model_account(before, expected);
	if (!good) {
		KUNIT_FAIL(test, "rung %d, %lu pages of order %u: returned %d, %lx, %lu tries",
			   rung, count, align, ret, pfn, model.tries - before);
		model_describe(test);
	}
	return good;
}

/* One call for @nr chunks; false, and it has failed. */
static bool model_bulk(struct kunit *test, enum contig_rung rung,
		       unsigned int order, unsigned long nr, unsigned long min)
{
	unsigned long expected = min(nr, model_chunks(rung, order));
	unsigned long before = model.tries, was = used(&model.cma), bits;
	struct contig_ctl ctl = model_ctl(rung);
	struct cma_bulk bulk;
	bool good;
	int ret;

	if (cma_bulk_init(&bulk, &model.cma, order))
		return true;
	bulk.span = max(bulk.step, MODEL_SPAN);
	bulk.nr_chunks = bulk.span / bulk.step;
	bulk.look = model_look;
	bulk.get = model_get;
	bulk.blockers.look = model_again;
	bulk.blockers.patience = 0;
	bulk.pages = model.pages;
	bulk.nr = nr;
	bulk.min = min;
	ret = cma_bulk_run(&bulk, &ctl);
	cma_bulk_end(&bulk);
	bits = cma_bitmap_pages_to_bits(&model.cma, bulk.chunk);
	good = bulk.got == expected && used(&model.cma) == was + bulk.got * bits;
	while (bulk.got)
		cma_clear_bitmap(&model.cma, page_to_pfn(bulk.pages[--bulk.got]),
				 bulk.chunk);
	model_account(before, expected);
	if (!good) {
		KUNIT_FAIL(test, "rung %d, %lu of %lu chunks of order %u, min %lu: returned %d",
			   rung, expected, nr, order, min, ret);
		model_describe(test);
	}
	return good;
}

static bool model_searches(struct kunit *test, enum contig_rung rung)
{
	unsigned int align, order = model.cma.order_per_bit;
	unsigned long count;

	for (count = 1; count <= model.cma.count; count++)
		for (align = 0; align <= 3; align++)
			if (!model_search(test, rung, count, align + (align ? order : 0)))
				return false;
	return true;
}

static bool model_bulks(struct kunit *test, enum contig_rung rung)
{
	unsigned long nr, most;
	unsigned int order;

	for (order = 0; order <= 3; order++) {
		most = (model.cma.count >> order) + 1;
		for (nr = 1; nr <= most; nr++)
			if (!model_bulk(test, rung, order, nr, nr) ||
			    !model_bulk(test, rung, order, nr, 0))
				return false;
	}
	return true;
}

static void model_report(struct kunit *test)
{
	kunit_info(test, "%lu cases, %lu of them gettable; at most %lu attempts in one",
		   model.cases, model.gettable, model.max_tries);
	model.cases = 0;
	model.gettable = 0;
	model.max_tries = 0;
}

/* Up to three obstacles of each kind at each place: @code says which. */
static bool model_obstacles(unsigned long code, unsigned long size)
{
	unsigned long at, last = size, i;
	enum model_kind kind;

	for (i = 0; i < 3; i++) {
		at = code % (size + 1);
		code /= size + 1;
		kind = code % 3 + MODEL_USED;
		code /= 3;
		/* In descending order, so that each pattern comes once */
		if (at == size) {
			if (kind != MODEL_USED)
				return false;
			last = 0;
			continue;
		}
		if (at >= last)
			return false;
		model_put(at, kind);
		last = at;
	}
	return true;
}

static unsigned long nr_codes(unsigned long size)
{
	unsigned long one = 3 * (size + 1);

	return one * one * one;
}

/* Every request, in every area of up to 8 pages, with up to three obstacles */
static void model_small(struct kunit *test)
{
	unsigned long size, offset, code;
	unsigned int order;

	for (size = 1; size <= (MODEL_SHARE == 1 ? 8 : 4); size++) {
		for (code = 0; code < nr_codes(size); code++) {
			for (order = 0; order <= 2; order++) {
				for (offset = 0; offset <= 1; offset++) {
					model_init(size, order, offset);
					if (!model_obstacles(code, size))
						break;
					if (!model_searches(test, CONTIG_DEFAULT) ||
					    !model_bulks(test, CONTIG_DEFAULT))
						return;
				}
			}
			cond_resched();
		}
	}
	model_report(test);
}

/* Every size of area and request, and one obstacle anywhere */
static void model_one_obstacle(struct kunit *test)
{
	unsigned long size, count, at, n = 0;

	for (size = 1; size <= MODEL_PAGES; size += MODEL_SHARE) {
		for (at = 0; at < size; at++) {
			for (count = 1; count <= size; count++, n++) {
				model_init(size, n % 4, n % 3);
				model_put(at, MODEL_USED + n % 3);
				if (!model_search(test, CONTIG_DEFAULT, count,
						  n % 8))
					return;
			}
			cond_resched();
		}
	}
	model_report(test);
}

static struct rnd_state model_rnd;

static unsigned long below(unsigned long ceiling)
{
	return prandom_u32_state(&model_rnd) % ceiling;
}

/* A million of all that there is, with any number of obstacles on each rung */
static void model_random(struct kunit *test)
{
	unsigned long size, i, n, nr;
	enum contig_rung rung;
	bool good = true;

	prandom_seed_state(&model_rnd, 1);
	for (n = 0; n < 1000000 / MODEL_SHARE && good; n++) {
		size = 1 + below(MODEL_PAGES);
		model_init(size, below(5), below(40));
		nr = below(2) ? below(4) : below(30);
		for (i = 0; i < nr; i++)
			model_put(below(size), 1 + below(NR_MODEL_KINDS - 1));
		rung = below(2);
		if (below(2))
			good = model_search(test, rung, 1 + below(size), below(8));
		else
			good = model_bulk(test, rung, below(6), 1 + below(size),
					  0);
		if (!(n % 1024))
			cond_resched();
	}
	model_report(test);
}

/* What only looks as if it stayed is for all but the first rung. */
static void model_rungs(struct kunit *test)
{
	enum model_kind kind;

	for (kind = MODEL_SOFT; kind <= MODEL_TAKEN; kind++) {
		model_init(64, 0, 0);
		model_put(20, kind);
		model_put(50, kind);
		model.cma.count = 64;
		KUNIT_EXPECT_FALSE(test, model_any(CONTIG_FAILFAST, 64, 0));
		KUNIT_EXPECT_TRUE(test, model_any(CONTIG_DEFAULT, 64, 0));
		model_search(test, CONTIG_FAILFAST, 64, 0);
		model_search(test, CONTIG_DEFAULT, 64, 0);
		model_bulk(test, CONTIG_FAILFAST, 2, 16, 16);
		model_bulk(test, CONTIG_DEFAULT, 2, 16, 16);
	}
	model_report(test);
}

/* Pages that stay at the head of each span cost a look each, and a few doubts. */
static void model_costs(struct kunit *test)
{
	unsigned long before, i;

	model_init(192, 0, 0);
	for (i = 0; i < 192; i += MODEL_SPAN)
		model_put(i, MODEL_SEEN);
	before = model.tries;
	model_bulk(test, CONTIG_DEFAULT, 2, 6 * 7, 6 * 7);
	KUNIT_EXPECT_EQ(test, 6, model.tries - before);
	before = model.tries;
	model_search(test, CONTIG_DEFAULT, MODEL_SPAN, 0);
	/* Five places before the last pinned page, none after it */
	KUNIT_EXPECT_GE(test, 6 + CMA_DOUBTS, model.tries - before);
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
	KUNIT_EXPECT_EQ(test, 0, ctl.wait.steps);

	KUNIT_ASSERT_EQ(test, 0, contig_init(&ctl, GFP_KERNEL | __GFP_NORETRY));
	KUNIT_EXPECT_EQ(test, CONTIG_FAILFAST, ctl.rung);
	KUNIT_EXPECT_FALSE(test, ctl.cc_gfp & __GFP_DIRECT_RECLAIM);
	KUNIT_EXPECT_FALSE(test, ctl.cc_gfp & __GFP_RETRY_MAYFAIL);
	KUNIT_EXPECT_TRUE(test, ctl.cc_gfp & __GFP_NOWARN);
	KUNIT_EXPECT_EQ(test, 0, ctl.wait.steps);

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

/* What a claim is, and that who queues is not refused where there is no other. */
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
	KUNIT_EXPECT_TRUE(test, ctl.taken);
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
	KUNIT_CASE_SLOW(model_small),
	KUNIT_CASE_SLOW(model_one_obstacle),
	KUNIT_CASE_SLOW(model_random),
	KUNIT_CASE(model_rungs),
	KUNIT_CASE(model_costs),
	KUNIT_CASE(search_refuses),
	KUNIT_CASE(gfp_rungs),
	KUNIT_CASE(gfp_refused),
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
