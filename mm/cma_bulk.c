// SPDX-License-Identifier: GPL-2.0
/*
 * Many chunks of one size from a CMA area.
 *
 * For cma_alloc() each chunk is a search of the bitmap, two drains and the
 * isolation of a pageblock, the same one over and over again. Here the area is
 * gone through in spans of whole pageblocks: the free chunks of a span
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
#include "cma_bulk.h"
#include "contig.h"

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

	/* Of the last pages there may be less than a bit. */
	return chunk_pfn(bulk, i) >= cma->base_pfn &&
	       chunk_pfn(bulk, i) + max(bulk->chunk, 1UL << cma->order_per_bit) <=
	       cma->base_pfn + cma->count;
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

/* Was something in the way in this chunk before? Then only a doubt helps. */
static bool chunk_known(struct cma_bulk *bulk, unsigned long i)
{
	unsigned long blocker;

	blocker = cma_blockers_last(&bulk->blockers, chunk_pfn(bulk, i),
				    chunk_end(bulk, i));
	return blocker != ULONG_MAX &&
	       !cma_blockers_doubt(&bulk->blockers, blocker);
}

/*
 * Mark chunks as used that are free in the bitmap, from @next on, up to what is
 * wanted. Returns where to go on.
 */
static unsigned long reserve_chunks(struct cma_bulk *bulk, unsigned long next)
{
	unsigned long want = bulk->nr - bulk->got - bulk->nr_mine, bits, bit;
	struct cma *cma = bulk->cma;

	bits = cma_bitmap_pages_to_bits(cma, bulk->chunk);
	spin_lock_irq(&cma->lock);
	for (; next < bulk->nr_chunks && want; next++) {
		if (!chunk_inside(bulk, next))
			continue;
		bit = (chunk_pfn(bulk, next) - cma->base_pfn) >> cma->order_per_bit;
		if (find_next_bit(cma->bitmap, bit + bits, bit) < bit + bits)
			continue;
		if (bulk->blockers.nr && chunk_known(bulk, next)) {
			bulk->err = -EBUSY;
			continue;
		}
		bitmap_set(cma->bitmap, bit, bits);
		__set_bit(next, bulk->mine);
		bulk->nr_mine++;
		want--;
	}
	spin_unlock_irq(&cma->lock);
	return next;
}

/* The chunk is the caller's. */
void cma_bulk_keep(struct cma_bulk *bulk, unsigned long i)
{
	bulk->pages[bulk->got++] = pfn_to_page(chunk_pfn(bulk, i));
	__clear_bit(i, bulk->mine);
	bulk->nr_mine--;
}

static void drop_chunk(struct cma_bulk *bulk, unsigned long i)
{
	__clear_bit(i, bulk->mine);
	bulk->nr_mine--;
	cma_clear_bitmap(bulk->cma, chunk_pfn(bulk, i), bulk->chunk);
	bulk->err = -EBUSY;
}

/* Give back all that is reserved of this span. */
void cma_bulk_drop_all(struct cma_bulk *bulk)
{
	unsigned long i;

	for_each_set_bit(i, bulk->mine, bulk->nr_chunks)
		drop_chunk(bulk, i);
}

/* Give back chunk @i, which ctl->blocker is in. */
void cma_bulk_drop(struct cma_bulk *bulk, struct contig_ctl *ctl,
		   unsigned long i)
{
	unsigned long pfn = clamp(ctl->blocker, chunk_pfn(bulk, i),
				  chunk_end(bulk, i) - 1);

	drop_chunk(bulk, i);
	cma_blockers_add(&bulk->blockers, ctl, pfn);
}

/* Give back what a look can tell not to move now, from chunk @from on. */
static void look_at_chunks(struct cma_bulk *bulk, struct contig_ctl *ctl,
			   unsigned long from)
{
	unsigned long to, end, i;

	for (; next_run(bulk, &from, &to); from = i) {
		end = chunk_end(bulk, to - 1);
		ctl->blocker = bulk->look(ctl, chunk_pfn(bulk, from), end);
		i = to;
		if (ctl->blocker >= end)
			continue;
		i = (ctl->blocker - bulk->base) / bulk->step;
		cma_bulk_drop(bulk, ctl, i++);
	}
}

/* Reserve chunks of this span that may be had. Returns where to go on. */
static unsigned long choose_chunks(struct cma_bulk *bulk, struct contig_ctl *ctl,
				   unsigned long next)
{
	unsigned long from;

	do {
		from = next;
		next = reserve_chunks(bulk, next);
		look_at_chunks(bulk, ctl, from);
	} while (next < bulk->nr_chunks &&
		 bulk->got + bulk->nr_mine < bulk->nr);
	return next;
}

/* A chunk that is in the page allocator becomes ours. */
static void take_run(struct cma_bulk *bulk, struct contig_ctl *ctl,
		     unsigned long from, unsigned long to)
{
	unsigned long i, j;
	struct page *page;

	if (contig_take(ctl, chunk_pfn(bulk, from), chunk_end(bulk, to - 1))) {
		/* Without the one that it has failed for */
		if (to - from == 1)
			cma_bulk_drop(bulk, ctl, from);
		else
			for (i = from; i < to; i++)
				take_run(bulk, ctl, i, i + 1);
		return;
	}
	for (i = from; i < to; i++) {
		page = pfn_to_page(chunk_pfn(bulk, i));
		/* Blocks of a span can have been tagged differently. */
		for (j = 0; j < bulk->chunk; j++)
			page_kasan_tag_reset(nth_page(page, j));
		cma_bulk_keep(bulk, i);
	}
}

static void take_chunks(struct cma_bulk *bulk, struct contig_ctl *ctl)
{
	unsigned long from, to, i, nr;

	for_each_set_bit(i, bulk->mine, bulk->nr_chunks) {
		ctl->blocker = contig_first_used(chunk_pfn(bulk, i),
						 chunk_end(bulk, i));
		if (ctl->blocker >= chunk_end(bulk, i))
			continue;
		ctl->why = page_blame(pfn_to_page(ctl->blocker), &nr);
		cma_bulk_drop(bulk, ctl, i);
	}
	for (from = 0; next_run(bulk, &from, &to); from = to)
		take_run(bulk, ctl, from, to);
}

/* What is reserved of this span, while its pageblocks are isolated. */
static int empty_and_take(struct cma_bulk *bulk, struct contig_ctl *ctl)
{
	unsigned long from, to;
	int ret = 0;

	for (from = 0; next_run(bulk, &from, &to); from = to) {
		ret = contig_empty(ctl, chunk_pfn(bulk, from),
				   chunk_end(bulk, to - 1), MIGRATE_CMA);
		if (ret && ret != -EBUSY)
			break;
		ret = 0;
	}
	take_chunks(bulk, ctl);
	return ret;
}

/*
 * Get what is reserved of this span, and drop what can't be had. Returns 0, or
 * what ends the call: -EINTR, -ENOMEM, or -EAGAIN.
 */
static int get_chunks(struct cma_bulk *bulk, struct contig_ctl *ctl)
{
	unsigned long first = find_first_bit(bulk->mine, bulk->nr_chunks);
	unsigned long last = find_last_bit(bulk->mine, bulk->nr_chunks);
	unsigned long start = chunk_pfn(bulk, first), end = chunk_end(bulk, last);
	struct contig_claim claim;
	int ret = 0;

	if (!contig_claim(&claim, ctl, bulk->base, bulk->base + bulk->span)) {
		cma_bulk_drop_all(bulk);
		return ctl->taken ? 0 : -EINTR;
	}
	if (contig_isolate(ctl, start, end, MIGRATE_CMA)) {
		/* A pageblock of CMA can always be isolated, but for others at it. */
		cma_bulk_drop_all(bulk);
		ctl->taken = true;
	} else {
		ret = empty_and_take(bulk, ctl);
		undo_isolate_page_range(start, end, MIGRATE_CMA);
	}
	contig_unclaim(&claim);
	return ret;
}

static int pass_span(struct cma_bulk *bulk, struct contig_ctl *ctl)
{
	unsigned long next = 0;
	int ret;

	while (next < bulk->nr_chunks && bulk->got < bulk->nr) {
		if (fatal_signal_pending(current))
			return -EINTR;
		next = choose_chunks(bulk, ctl, next);
		if (!bulk->nr_mine)
			break;
		ret = bulk->get(bulk, ctl);
		if (ret)
			return ret;
		if (ctl->taken) {
			bulk->blockers.taken = true;
			break;
		}
	}
	return 0;
}

/* All spans, from the start of the area, until enough is ours. */
static int pass_area(void *data, struct contig_ctl *ctl)
{
	struct cma_bulk *bulk = data;
	struct cma *cma = bulk->cma;
	unsigned long end = cma->base_pfn + cma->count;
	int ret;

	bulk->err = 0;
	bulk->blockers.taken = false;
	for (bulk->base = ALIGN_DOWN(cma->base_pfn, bulk->span);
	     bulk->base < end && bulk->got < bulk->nr;
	     bulk->base += bulk->span) {
		ctl->taken = false;
		ret = pass_span(bulk, ctl);
		if (ret)
			return ret;
		cond_resched();
	}
	bulk->blockers.content = bulk->got >= bulk->min;
	return bulk->got < bulk->nr ? bulk->err : 0;
}

/**
 * cma_bulk_run() - get as many chunks as the rung gives
 * @bulk: from cma_bulk_init(), with pages, nr and min
 * @ctl: how hard to try
 *
 * Return: 0 if all is there that was free in the bitmap; or why not.
 */
int cma_bulk_run(struct cma_bulk *bulk, struct contig_ctl *ctl)
{
	int ret = cma_passes(&bulk->blockers, ctl, pass_area, bulk);

	contig_caches_on(ctl);
	if (fatal_signal_pending(current))
		return -EINTR;
	return ret == -EAGAIN ? -EBUSY : ret;
}

static unsigned long look_undrained(struct contig_ctl *ctl, unsigned long start,
				    unsigned long end)
{
	return contig_look(ctl, start, end, false);
}

/**
 * cma_bulk_init() - begin
 * @bulk: to be filled in
 * @cma: the area
 * @order: size of a chunk
 *
 * Return: 0, to be followed by cma_bulk_end(); -EINVAL where there is no such
 * area, or no such size; -ENOMEM without memory.
 */
int cma_bulk_init(struct cma_bulk *bulk, struct cma *cma, unsigned int order)
{
	if (!cma || !cma->count || !cma->bitmap || order >= BITS_PER_LONG)
		return -EINVAL;
	/* An area whose bits are no chunks: nobody has one, but it can be made */
	if (!IS_ALIGNED(cma->base_pfn, 1UL << cma->order_per_bit))
		return -EINVAL;
	*bulk = (struct cma_bulk) {
		.cma = cma,
		.chunk = 1UL << order,
		.step = 1UL << max(order, cma->order_per_bit),
		.look = look_undrained,
		.get = get_chunks,
	};
	cma_blockers_init(&bulk->blockers);
	bulk->span = max3(bulk->step, pageblock_nr_pages, MAX_ORDER_NR_PAGES);
	bulk->nr_chunks = bulk->span / bulk->step;
	bulk->mine = bitmap_zalloc(bulk->nr_chunks, GFP_KERNEL);
	return bulk->mine ? 0 : -ENOMEM;
}

void cma_bulk_end(struct cma_bulk *bulk)
{
	bitmap_free(bulk->mine);
	kfree(bulk->blockers.pages);
}

/*
 * As a loop of cma_alloc() would be counted: each chunk that the caller has got,
 * and a call that has failed.
 */
static void account(struct cma_bulk *bulk, bool failed)
{
	if (failed) {
		count_vm_event(CMA_ALLOC_FAIL);
		cma_sysfs_account_fail_pages(bulk->cma, bulk->nr * bulk->chunk);
		return;
	}
	count_vm_events(CMA_ALLOC_SUCCESS, bulk->got);
	cma_sysfs_account_success_pages(bulk->cma, bulk->got * bulk->chunk);
}

/* Nobody has seen them: that is no release. */
static void give_back(struct cma_bulk *bulk)
{
	unsigned long pfn;

	while (bulk->got) {
		pfn = page_to_pfn(bulk->pages[--bulk->got]);
		free_contig_range(pfn, bulk->chunk);
		cma_clear_bitmap(bulk->cma, pfn, bulk->chunk);
	}
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
 * 0 for what can be had. The call finds every chunk that as many calls of
 * cma_alloc() would on that rung, and what can be had without waiting comes first.
 * If there are @min of them then, the default does not wait for references and
 * pins to go away.
 *
 * In statistics each chunk that the caller gets is a success; a call that returns
 * an error is one failure, and its chunks are no successes.
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
	struct contig_ctl ctl;
	struct cma_bulk bulk;
	bool failed;
	int ret;

	if (!nr || nr > LONG_MAX || min > nr || !pages)
		return -EINVAL;
	if (!gfpflags_allow_blocking(gfp) || (gfp & __GFP_COMP) ||
	    contig_init(&ctl, gfp))
		return -EINVAL;
	ret = cma_bulk_init(&bulk, cma, order);
	if (ret)
		return ret;
	bulk.pages = pages;
	bulk.nr = nr;
	bulk.min = min;
	ctl.batch = true;
	ret = cma_bulk_run(&bulk, &ctl);
	cma_bulk_end(&bulk);

	failed = ret == -EINTR || bulk.got < min;
	account(&bulk, failed);
	trace_cma_alloc_bulk(cma->name, order, nr, bulk.got, ret);
	if (!failed)
		return bulk.got;
	give_back(&bulk);
	ret = ret ?: -ENOMEM;
	cma_blame_failure(cma, nr << order, ret, &ctl);
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
