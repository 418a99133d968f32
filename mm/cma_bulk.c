// SPDX-License-Identifier: GPL-2.0
/*
 * Many chunks of one size from a CMA area.
 *
 * For cma_alloc() each chunk is a search of the bitmap, two drains and the
 * isolation of a pageblock, the same one over and over again. Here the area is
 * gone through once, in spans of whole pageblocks: the free chunks of a span
 * are reserved, those that a look can tell not to move are given back, and what
 * is left is emptied and taken while the span is isolated. The caches of pages
 * are drained where the first page in use is met, and stay off.
 *
 * A span is not less than the largest block that can be free, for whoever
 * isolates part of such a range goes through the rest of it page by page.
 */
#include <linux/bitmap.h>
#include <linux/cma.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmstat.h>
#include <trace/events/cma.h>

#include "internal.h"
#include "cma.h"
#include "contig.h"

/* A call. */
struct cma_bulk {
	struct cma *cma;
	struct contig_ctl ctl;
	unsigned long chunk;		/* pages in a chunk */
	unsigned long step;		/* from one chunk to the next, in pages */
	unsigned long span;		/* pages */
	unsigned long base;		/* first pfn of this span */
	unsigned long nr_chunks;	/* in a span, at most */
	unsigned long *mine;		/* those of this span that we hold */
	struct page **pages;
	unsigned long nr, got;
	unsigned long busy;		/* a page that may go away by itself */
	int err;			/* why we could not have some chunk */
};

#define NOT_BUSY	ULONG_MAX

static unsigned long chunk_pfn(struct cma_bulk *bulk, unsigned long i)
{
	return bulk->base + i * bulk->step;
}

static unsigned long chunk_end(struct cma_bulk *bulk, unsigned long i)
{
	return chunk_pfn(bulk, i) + bulk->chunk;
}

static bool chunk_inside(struct cma_bulk *bulk, unsigned long i)
{
	struct cma *cma = bulk->cma;

	return chunk_pfn(bulk, i) >= cma->base_pfn &&
	       chunk_end(bulk, i) <= cma->base_pfn + cma->count;
}

/*
 * The next run of chunks that are beside each other, from @from on. Where a bit
 * of the bitmap is more than a chunk, none are.
 */
static bool next_run(struct cma_bulk *bulk, unsigned long *from,
		     unsigned long *to)
{
	*from = find_next_bit(bulk->mine, bulk->nr_chunks, *from);
	if (*from >= bulk->nr_chunks)
		return false;
	*to = *from + 1;
	if (bulk->step == bulk->chunk)
		*to = find_next_zero_bit(bulk->mine, bulk->nr_chunks, *to);
	return true;
}

/* Mark chunks that are free in the bitmap as used, up to what is wanted. */
static bool reserve_chunks(struct cma_bulk *bulk)
{
	unsigned long want = bulk->nr - bulk->got, bits, bit, i;
	struct cma *cma = bulk->cma;

	bits = cma_bitmap_pages_to_bits(cma, bulk->chunk);
	bitmap_zero(bulk->mine, bulk->nr_chunks);
	spin_lock_irq(&cma->lock);
	for (i = 0; i < bulk->nr_chunks && want; i++) {
		if (!chunk_inside(bulk, i))
			continue;
		bit = (chunk_pfn(bulk, i) - cma->base_pfn) >> cma->order_per_bit;
		if (find_next_bit(cma->bitmap, bit + bits, bit) < bit + bits)
			continue;
		bitmap_set(cma->bitmap, bit, bits);
		__set_bit(i, bulk->mine);
		want--;
	}
	spin_unlock_irq(&cma->lock);
	return !bitmap_empty(bulk->mine, bulk->nr_chunks);
}

static void drop_chunk(struct cma_bulk *bulk, unsigned long i, int err)
{
	__clear_bit(i, bulk->mine);
	cma_clear_bitmap(bulk->cma, chunk_pfn(bulk, i), bulk->chunk);
	bulk->err = err;
}

static void drop_chunks(struct cma_bulk *bulk, unsigned long from,
			unsigned long to, int err)
{
	unsigned long i;

	for (i = from; i < to; i++)
		if (test_bit(i, bulk->mine))
			drop_chunk(bulk, i, err);
}

/* The chunk, of those from @from to @to, that @pfn is in. */
static unsigned long chunk_of(struct cma_bulk *bulk, unsigned long pfn,
			      unsigned long from, unsigned long to)
{
	if (pfn < chunk_pfn(bulk, from))
		return from;
	return min((pfn - bulk->base) / bulk->step, to - 1);
}

/* Give back the chunk that ctl->blocker is in; it may be worth to wait for. */
static void drop_busy(struct cma_bulk *bulk, unsigned long from,
		      unsigned long to)
{
	drop_chunk(bulk, chunk_of(bulk, bulk->ctl.blocker, from, to), -EBUSY);
	bulk->busy = bulk->ctl.blocker;
}

/* Give back what a look can tell not to move now. */
static void scan_run(struct cma_bulk *bulk, unsigned long from,
		     unsigned long to)
{
	unsigned long end = chunk_end(bulk, to - 1), pfn, i;

	while (from < to) {
		pfn = contig_scan(&bulk->ctl, chunk_pfn(bulk, from), end, false);
		if (pfn >= end)
			break;
		i = chunk_of(bulk, pfn, from, to);
		drop_chunk(bulk, i, -EBUSY);
		from = i + 1;
	}
}

/*
 * Move out what is in a run of chunks: at one go, and if something is in the
 * way, chunk by chunk without the one that it is in.
 */
static int empty_run(struct cma_bulk *bulk, unsigned long from,
		     unsigned long to)
{
	unsigned long i;
	int ret;

	ret = contig_empty(&bulk->ctl, chunk_pfn(bulk, from),
			   chunk_end(bulk, to - 1), MIGRATE_CMA);
	if (ret != -EBUSY)
		return ret;
	drop_busy(bulk, from, to);
	for (i = from; i < to; i++) {
		if (!test_bit(i, bulk->mine))
			continue;
		ret = contig_empty(&bulk->ctl, chunk_pfn(bulk, i),
				   chunk_end(bulk, i), MIGRATE_CMA);
		if (ret == -EBUSY)
			drop_busy(bulk, i, i + 1);
		else if (ret)
			return ret;
	}
	return 0;
}

/* Pages of a run that is free become ours. */
static void take_run(struct cma_bulk *bulk, unsigned long from,
		     unsigned long to)
{
	unsigned long start = chunk_pfn(bulk, from), i, j;
	struct page *page;
	int ret;

	ret = contig_take(&bulk->ctl, start, chunk_end(bulk, to - 1));
	if (ret) {
		drop_chunks(bulk, from, to, ret);
		return;
	}
	for (i = from; i < to; i++) {
		page = pfn_to_page(chunk_pfn(bulk, i));
		/* Blocks of a span can have been tagged differently. */
		for (j = 0; j < bulk->chunk; j++)
			page_kasan_tag_reset(nth_page(page, j));
		bulk->pages[bulk->got++] = page;
	}
}

static void take_chunks(struct cma_bulk *bulk)
{
	unsigned long from, to, i;

	for_each_set_bit(i, bulk->mine, bulk->nr_chunks) {
		bulk->ctl.blocker = contig_first_used(chunk_pfn(bulk, i),
						      chunk_end(bulk, i));
		if (bulk->ctl.blocker < chunk_end(bulk, i))
			drop_busy(bulk, i, i + 1);
	}
	for (from = 0; next_run(bulk, &from, &to); from = to)
		take_run(bulk, from, to);
}

/* What is reserved of this span, while its pageblocks are isolated. */
static int empty_and_take(struct cma_bulk *bulk)
{
	unsigned long from, to;
	int ret = 0;

	for (from = 0; next_run(bulk, &from, &to); from = to) {
		ret = empty_run(bulk, from, to);
		if (ret)
			break;
	}
	take_chunks(bulk);
	return ret;
}

/* What is reserved of this span, and is nobody else's to isolate. */
static int alloc_claimed(struct cma_bulk *bulk)
{
	unsigned long from, to, start, end;
	int ret;

	for (from = 0; next_run(bulk, &from, &to); from = to)
		scan_run(bulk, from, to);
	from = find_first_bit(bulk->mine, bulk->nr_chunks);
	if (from >= bulk->nr_chunks)
		return 0;
	to = find_last_bit(bulk->mine, bulk->nr_chunks) + 1;
	start = chunk_pfn(bulk, from);
	end = chunk_end(bulk, to - 1);
	if (contig_isolate(&bulk->ctl, start, end, MIGRATE_CMA)) {
		drop_chunks(bulk, from, to, -EBUSY);
		bulk->busy = start;
		return 0;
	}
	ret = empty_and_take(bulk);
	undo_isolate_page_range(start, end, MIGRATE_CMA);
	return ret;
}

/*
 * One attempt at a span. Returns 0, or what ends the call: -EINTR, -ENOMEM, or
 * -EAGAIN. What could not be had is in bulk->err.
 */
static int alloc_span(struct cma_bulk *bulk)
{
	struct contig_claim claim;
	int ret = 0;

	bulk->err = 0;
	bulk->busy = NOT_BUSY;
	if (!reserve_chunks(bulk))
		return 0;
	if (contig_claim(&claim, &bulk->ctl, bulk->base,
			 bulk->base + bulk->span)) {
		ret = alloc_claimed(bulk);
		contig_unclaim(&claim);
	} else {
		drop_chunks(bulk, 0, bulk->nr_chunks, -EBUSY);
	}
	return fatal_signal_pending(current) ? -EINTR : ret;
}

static bool wait_for_busy(struct cma_bulk *bulk)
{
	if (bulk->busy == NOT_BUSY || bulk->got == bulk->nr)
		return false;
	bulk->ctl.blocker = bulk->busy;
	return contig_wait(&bulk->ctl);
}

/* All spans, from the start of the area, until enough is ours. */
static int alloc_spans(struct cma_bulk *bulk)
{
	struct cma *cma = bulk->cma;
	unsigned long end = cma->base_pfn + cma->count;
	int ret = 0, err = 0;

	for (bulk->base = ALIGN_DOWN(cma->base_pfn, bulk->span);
	     bulk->base < end && bulk->got < bulk->nr;
	     bulk->base += bulk->span) {
		do {
			if (fatal_signal_pending(current))
				return -EINTR;
			ret = alloc_span(bulk);
			if (ret)
				return ret;
		} while (wait_for_busy(bulk));
		err = bulk->err ?: err;
		cond_resched();
	}
	return err;
}

/* As hard as it may be, but what can be had without waiting comes first. */
static int alloc_chunks(struct cma_bulk *bulk)
{
	bool hard = bulk->ctl.rung == CONTIG_HARD;
	int ret;

	if (hard)
		bulk->ctl.rung = CONTIG_DEFAULT;
	ret = alloc_spans(bulk);
	if (hard && ret == -EBUSY && bulk->got < bulk->nr) {
		contig_caches_on(&bulk->ctl);
		bulk->ctl.rung = CONTIG_HARD;
		ret = alloc_spans(bulk);
	}
	contig_caches_on(&bulk->ctl);
	if (fatal_signal_pending(current))
		return -EINTR;
	return ret == -EAGAIN ? -EBUSY : ret;
}

static int init_bulk(struct cma_bulk *bulk, struct cma *cma,
		     unsigned int order, gfp_t gfp)
{
	if (!cma || !cma->count || !cma->bitmap)
		return -EINVAL;
	/* An area whose bits are no chunks: nobody has one, but it can be made */
	if (!IS_ALIGNED(cma->base_pfn, 1UL << cma->order_per_bit))
		return -EINVAL;
	if (order >= BITS_PER_LONG || !gfpflags_allow_blocking(gfp) ||
	    (gfp & __GFP_COMP) || contig_init(&bulk->ctl, gfp))
		return -EINVAL;
	bulk->ctl.batch = true;
	bulk->cma = cma;
	bulk->chunk = 1UL << order;
	bulk->step = max(bulk->chunk, 1UL << cma->order_per_bit);
	bulk->span = max3(bulk->step, pageblock_nr_pages, MAX_ORDER_NR_PAGES);
	bulk->nr_chunks = bulk->span / bulk->step;
	return 0;
}

static void account(struct cma_bulk *bulk)
{
	unsigned long failed = bulk->nr - bulk->got;

	count_vm_events(CMA_ALLOC_SUCCESS, bulk->got);
	count_vm_events(CMA_ALLOC_FAIL, failed);
	cma_sysfs_account_success_pages(bulk->cma, bulk->got * bulk->chunk);
	cma_sysfs_account_fail_pages(bulk->cma, failed * bulk->chunk);
}

/**
 * cma_alloc_bulk() - allocate many chunks of one size
 * @cma: the area
 * @order: size of a chunk, which is its alignment as well: 2^@order pages
 * @nr: how many chunks are wanted
 * @min: with fewer than this, there shall be none
 * @pages: where to store the first page of each; room for @nr
 * @gfp: how to go about it, see cma_alloc(); not %__GFP_COMP
 *
 * The chunks need not be beside each other. @min is @nr for all or nothing, and
 * 0 for what can be had. On each rung the whole area is gone through, so what
 * is missing can be asked for again on the next one. With
 * %__GFP_RETRY_MAYFAIL the area is gone through once without waiting, and what
 * is missing then is waited for.
 *
 * Context: Process context; may sleep. A fatal signal is noticed between
 * pageblocks and in all waits.
 * Return: How many chunks there are in @pages, at least @min, to be given back
 * by cma_release_bulk(). Otherwise nothing is held, @pages is undefined, and
 *
 * -EINVAL	@cma is no area, @order no order, @nr 0 or less than @min, or
 *		@gfp a mask that is not supported or does not allow to sleep
 * -ENOMEM	there is less free than @min in the area, or no memory to move
 *		pages to
 * -EBUSY	pages that can't be moved stand in too many of the chunks
 * -EINTR	a fatal signal is pending, however many there were
 */
long cma_alloc_bulk(struct cma *cma, unsigned int order, unsigned long nr,
		    unsigned long min, struct page **pages, gfp_t gfp)
{
	struct cma_bulk bulk = { .pages = pages, .nr = nr };
	int ret;

	if (!nr || nr > LONG_MAX || min > nr || !pages)
		return -EINVAL;
	ret = init_bulk(&bulk, cma, order, gfp);
	if (ret)
		return ret;
	bulk.mine = bitmap_zalloc(bulk.nr_chunks, GFP_KERNEL);
	if (!bulk.mine)
		return -ENOMEM;
	ret = alloc_chunks(&bulk);
	bitmap_free(bulk.mine);

	account(&bulk);
	trace_cma_alloc_bulk(cma->name, order, nr, bulk.got, ret);
	if (ret != -EINTR && bulk.got >= min)
		return bulk.got;
	if (bulk.got)
		cma_release_bulk(cma, order, bulk.got, pages);
	ret = ret ?: -ENOMEM;
	cma_blame_failure(cma, nr << order, ret, gfp);
	return ret;
}

/* Is it a chunk that could be of this area? */
static bool chunk_valid(struct cma *cma, unsigned int order,
			const struct page *page)
{
	unsigned long pfn;

	if (!page)
		return false;
	pfn = page_to_pfn(page);
	return pfn >= cma->base_pfn && IS_ALIGNED(pfn, 1UL << order) &&
	       pfn - cma->base_pfn + (1UL << order) <= cma->count;
}

/**
 * cma_release_bulk() - give chunks back
 * @cma: the area that they are of
 * @order: size of a chunk
 * @nr: how many chunks
 * @pages: the first page of each, in any order
 *
 * Chunks of one cma_alloc_bulk() can be given back in parts, or one by one with
 * cma_release().
 *
 * Context: as cma_release().
 * Return: false where one of @pages is no chunk of the area; then none has been
 * given back.
 */
bool cma_release_bulk(struct cma *cma, unsigned int order, unsigned long nr,
		      struct page **pages)
{
	unsigned long i;

	if (!cma || order >= BITS_PER_LONG)
		return false;
	for (i = 0; i < nr; i++)
		if (!chunk_valid(cma, order, pages[i]))
			return false;
	for (i = 0; i < nr; i++)
		cma_release(cma, pages[i], 1UL << order);
	return true;
}
