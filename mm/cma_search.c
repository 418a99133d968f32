// SPDX-License-Identifier: GPL-2.0
#include <linux/bitmap.h>
#include <linux/cma.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pageblock-flags.h>
#include <linux/slab.h>

#include "cma.h"
#include "cma_search.h"
#include "contig.h"

/**
 * cma_search_init() - begin
 * @search: to be filled in
 * @cma: the area
 * @count: pages wanted
 * @align: their alignment, as an order
 *
 * Return: 0, to be followed by cma_search_end(); -EINVAL where there is no such
 * area, or no such request; -ENOMEM where the area is smaller.
 */
int cma_search_init(struct cma_search *search, struct cma *cma,
		    unsigned long count, unsigned int align)
{
	if (!cma || !cma->count || !cma->bitmap)
		return -EINVAL;
	if (!count || align >= BITS_PER_LONG)
		return -EINVAL;
	if (count > cma->count)
		return -ENOMEM;
	*search = (struct cma_search) {
		.cma = cma,
		.count = count,
		.bits = cma_bitmap_pages_to_bits(cma, count),
		.mask = cma_bitmap_aligned_mask(cma, align),
		.offset = cma_bitmap_aligned_offset(cma, align),
	};
	return 0;
}

/* The first page from @pfn on that has failed before, or ULONG_MAX. */
static unsigned long next_blocker(struct cma_search *search, unsigned long pfn)
{
	unsigned int low = 0, high = search->nr_blockers, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (search->blockers[mid] < pfn)
			low = mid + 1;
		else
			high = mid;
	}
	return low < search->nr_blockers ? search->blockers[low] : ULONG_MAX;
}

/* The first bit that has none of the pages below @pfn. */
static unsigned long bit_behind(struct cma *cma, unsigned long pfn)
{
	return DIV_ROUND_UP(pfn - cma->base_pfn, 1UL << cma->order_per_bit);
}

/* Caller holds the lock of the bitmap. */
static unsigned long find_bit_range(struct cma_search *search)
{
	struct cma *cma = search->cma;
	unsigned long maxno = cma_bitmap_maxno(cma);
	unsigned long bit, pfn, blocker;

	for (;;) {
		bit = bitmap_find_next_zero_area_off(cma->bitmap, maxno,
						     search->start, search->bits,
						     search->mask,
						     search->offset);
		if (bit >= maxno || !search->finer)
			return bit;
		pfn = cma->base_pfn + (bit << cma->order_per_bit);
		blocker = next_blocker(search, pfn);
		if (blocker - pfn >= search->count)
			return bit;
		search->start = bit_behind(cma, blocker + 1);
	}
}

/**
 * cma_search_next() - reserve the next place to try
 * @search: where we are
 * @pfn: the first page of the place; to be given back by cma_search_busy(), or
 *	kept
 *
 * Return: false if there is none.
 */
bool cma_search_next(struct cma_search *search, unsigned long *pfn)
{
	struct cma *cma = search->cma;
	unsigned long bit, maxno = cma_bitmap_maxno(cma);

	if (search->bits > maxno)
		return false;
	spin_lock_irq(&cma->lock);
	bit = find_bit_range(search);
	if (bit < maxno)
		bitmap_set(cma->bitmap, bit, search->bits);
	spin_unlock_irq(&cma->lock);

	*pfn = cma->base_pfn + (bit << cma->order_per_bit);
	return bit < maxno;
}

/* Pages fail in ascending order in the first pass. Without memory: forgotten. */
static void remember(struct cma_search *search, unsigned long pfn)
{
	unsigned int max = search->max_blockers ? 2 * search->max_blockers : 16;
	void *p;

	if (search->nr_blockers == search->max_blockers) {
		p = krealloc_array(search->blockers, max, sizeof(pfn),
				   GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
		if (!p)
			return;
		search->blockers = p;
		search->max_blockers = max;
	}
	search->blockers[search->nr_blockers++] = pfn;
}

/**
 * cma_search_busy() - give a place back, and go on behind what was in the way
 * @search: where we are
 * @pfn: from cma_search_next()
 * @ctl: what was in the way
 */
void cma_search_busy(struct cma_search *search, unsigned long pfn,
		     struct contig_ctl *ctl)
{
	unsigned long blocker = clamp(ctl->blocker, pfn,
				      pfn + search->count - 1);
	unsigned long behind = blocker + 1;

	cma_clear_bitmap(search->cma, pfn, search->count);
	if (!ctl->scanned && !search->finer) {
		behind = pageblock_end_pfn(blocker);
		search->passed_over = true;
		if (ctl->rung != CONTIG_FAILFAST)
			remember(search, blocker);
	}
	search->start = bit_behind(search->cma, behind);
}

/**
 * cma_search_again() - begin the second pass
 * @search: where we are
 * @forget: what failed can be tried again
 */
void cma_search_again(struct cma_search *search, bool forget)
{
	search->finer = true;
	search->start = 0;
	if (forget)
		search->nr_blockers = 0;
}

void cma_search_end(struct cma_search *search)
{
	kfree(search->blockers);
}
