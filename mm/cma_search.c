// SPDX-License-Identifier: GPL-2.0
/*
 * Which places of a CMA area one call tries, in which order.
 *
 * The first pass takes what can be had at once, and looks before it tries: to
 * isolate and empty a range is dear, and most pages that can't move now can be
 * seen. After a page that was in the way, the search goes on behind it: each
 * place before that has this page in it as well. So a pass finds a place if there
 * is one, and no page is in the way twice.
 *
 * If nothing was found, more passes try what may move although it does not look
 * like it: not where a page has been in the way before, unless that page looks
 * different now, but for a few doubts. A pin that stays costs one attempt like
 * that; pins that come and go are caught. In between, the pages that are known are
 * looked at again, for a while. What others work on is waited for in the end.
 */
#include <linux/bitmap.h>
#include <linux/cma.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <trace/events/cma.h>

#include "cma.h"
#include "cma_search.h"
#include "contig.h"

/* The default waits for pages in the way 20 ms, and looks every half of one. */
#define PATIENCE_STEPS	40
#define PATIENCE_US	500
#define PATIENCE_NS	(20 * NSEC_PER_MSEC)

static enum page_blame look_at_page(unsigned long pfn)
{
	unsigned long nr;

	return page_blame(pfn_to_page(pfn), &nr);
}

/* Won't go away because time passes */
static bool is_hard(enum page_blame why)
{
	return why == PAGE_BLAME_REFUSED || why == PAGE_BLAME_UNMOVABLE;
}

void cma_blockers_init(struct cma_blockers *blockers)
{
	*blockers = (struct cma_blockers) {
		.patience = PATIENCE_STEPS,
		.look = look_at_page,
	};
}

/* How many of them are below @pfn. */
static unsigned int count_below(struct cma_blockers *blockers, unsigned long pfn)
{
	unsigned int low = 0, high = blockers->nr, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (blockers->pages[mid].pfn < pfn)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

unsigned long cma_blockers_last(struct cma_blockers *blockers,
				unsigned long start, unsigned long end)
{
	unsigned int below = count_below(blockers, end);

	if (!below || blockers->pages[below - 1].pfn < start)
		return ULONG_MAX;
	return blockers->pages[below - 1].pfn;
}

/* May a place be tried in which the page that is @blocker is known? */
bool cma_blockers_doubt(struct cma_blockers *blockers, unsigned long blocker)
{
	unsigned int at = count_below(blockers, blocker);

	if (!blockers->doubts || is_hard(blockers->pages[at].why))
		return false;
	blockers->doubts--;
	return true;
}

static bool grow(struct cma_blockers *blockers)
{
	unsigned int max = blockers->max ? 2 * blockers->max : 16;
	void *p;

	if (blockers->nr < blockers->max)
		return true;
	p = krealloc_array(blockers->pages, max, sizeof(*blockers->pages),
			   GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (!p)
		return false;
	blockers->pages = p;
	blockers->max = max;
	return true;
}

/*
 * Without memory it is forgotten, and will be tried again. So is what was not
 * tried for good, and that trying waits for.
 */
void cma_blockers_add(struct cma_blockers *blockers, struct contig_ctl *ctl,
		      unsigned long pfn)
{
	enum page_blame why = ctl->why;
	unsigned int at = count_below(blockers, pfn);
	struct cma_blocker *page = blockers->pages + at;

	if (!ctl->eager && why < PAGE_BLAME_REFUSED)
		return;
	if (at < blockers->nr && page->pfn == pfn) {
		blockers->nr_soft -= !is_hard(page->why);
	} else {
		if (!grow(blockers))
			return;
		page = blockers->pages + at;
		memmove(page + 1, page, (blockers->nr - at) * sizeof(*page));
		blockers->nr++;
	}
	*page = (struct cma_blocker) { .pfn = pfn, .why = why };
	blockers->nr_soft += !is_hard(why);
}

/* Forget those with nothing in the way any more. Returns how many that were. */
static unsigned int forget_gone(struct cma_blockers *blockers)
{
	struct cma_blocker *page = blockers->pages, *end = page + blockers->nr;
	struct cma_blocker *to = page;
	enum page_blame now;

	for (; page < end; page++) {
		now = is_hard(page->why) ? page->why : blockers->look(page->pfn);
		/* Locks and writeback that have come since are waited for. */
		if (now >= PAGE_BLAME_REFUSED || (now && now == page->why))
			*to++ = *page;
		if (need_resched())
			cond_resched();
	}
	blockers->nr = to - blockers->pages;
	blockers->nr_soft -= end - to;
	return end - to;
}

/* May what is in the way be waited for a little more? */
static bool wait_a_little(struct cma_blockers *blockers, struct contig_ctl *ctl,
			  struct contig_wait *patience, u64 begin)
{
	if (ctl->wait.steps)
		return contig_sleep(&ctl->wait);
	if (blockers->content || ktime_get_ns() - begin > PATIENCE_NS)
		return false;
	return contig_sleep(patience);
}

/* Look at what is in the way, and try again when some of it is gone. */
static int wait_and_pass(struct cma_blockers *blockers, struct contig_ctl *ctl,
			 cma_pass_t pass, void *data)
{
	struct contig_wait patience = {
		.steps = blockers->patience, .us = PATIENCE_US, .max_us = PATIENCE_US,
	};
	u64 begin = ktime_get_ns();
	int ret = -EBUSY;

	do {
		blockers->doubts = min(forget_gone(blockers), CMA_DOUBTS);
		if (blockers->doubts)
			ret = pass(data, ctl);
		contig_caches_on(ctl);
	} while (ret == -EBUSY && blockers->nr_soft &&
		 wait_a_little(blockers, ctl, &patience, begin));
	return ret;
}

/**
 * cma_passes() - as many passes over an area as the rung says
 * @blockers: what was in the way, empty at first
 * @ctl: how hard to try
 * @pass: makes a pass, for which ctl->eager and ctl->queue say what to try
 * @data: its own
 *
 * Return: as the last pass
 */
int cma_passes(struct cma_blockers *blockers, struct contig_ctl *ctl,
	       cma_pass_t pass, void *data)
{
	int ret;

	ret = pass(data, ctl);
	if (ret != -EBUSY || ctl->rung == CONTIG_FAILFAST)
		return ret;
	ctl->eager = true;
	blockers->doubts = CMA_DOUBTS;
	ret = pass(data, ctl);
	if (ret == -EBUSY)
		ret = wait_and_pass(blockers, ctl, pass, data);
	if (ret == -EBUSY && blockers->taken && !fatal_signal_pending(current)) {
		ctl->queue = true;
		blockers->doubts = 0;
		ret = pass(data, ctl);
		/* What was in the way there has not been waited for yet. */
		if (ret == -EBUSY)
			ret = wait_and_pass(blockers, ctl, pass, data);
	}
	return ret;
}

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
		.align = align,
		.bits = cma_bitmap_pages_to_bits(cma, count),
		.mask = cma_bitmap_aligned_mask(cma, align),
		.offset = cma_bitmap_aligned_offset(cma, align),
	};
	cma_blockers_init(&search->blockers);
	return 0;
}

/* The first bit that has none of the pages below @pfn. */
static unsigned long bit_behind(struct cma *cma, unsigned long pfn)
{
	return DIV_ROUND_UP(pfn - cma->base_pfn, 1UL << cma->order_per_bit);
}

/* Caller holds the lock of the bitmap. */
static unsigned long find_bit_range(struct cma_search *search)
{
	struct cma_blockers *blockers = &search->blockers;
	struct cma *cma = search->cma;
	unsigned long maxno = cma_bitmap_maxno(cma);
	unsigned long bit, pfn, blocker;

	for (;;) {
		bit = bitmap_find_next_zero_area_off(cma->bitmap, maxno,
						     search->start, search->bits,
						     search->mask,
						     search->offset);
		if (bit >= maxno)
			return bit;
		pfn = cma->base_pfn + (bit << cma->order_per_bit);
		blocker = cma_blockers_last(blockers, pfn, pfn + search->count);
		if (blocker == ULONG_MAX)
			return bit;
		if (cma_blockers_doubt(blockers, blocker))
			return bit;
		search->start = bit_behind(cma, blocker + 1);
	}
}

/* Reserve the next place to try. */
static bool search_next(struct cma_search *search)
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

	search->pfn = cma->base_pfn + (bit << cma->order_per_bit);
	return bit < maxno;
}

/* Give the place back, and go on behind what was in the way. */
static void search_busy(struct cma_search *search, struct contig_ctl *ctl)
{
	unsigned long pfn = search->pfn, blocker = max(ctl->blocker, pfn);

	cma_clear_bitmap(search->cma, pfn, search->count);
	if (ctl->taken) {
		search->blockers.taken = true;
	} else {
		blocker = min(blocker, pfn + search->count - 1);
		cma_blockers_add(&search->blockers, ctl, blocker);
	}
	search->start = bit_behind(search->cma, blocker + 1);
}

/* Returns 0, or why the last place could not be had. */
static int search_pass(void *data, struct contig_ctl *ctl)
{
	struct cma_search *search = data;
	bool again = ctl->eager;
	int ret = -ENOMEM;

	search->start = 0;
	search->blockers.taken = false;
	while (search_next(search)) {
		ret = search->try(ctl, search->pfn, search->count);
		if (!ret)
			return 0;
		search_busy(search, ctl);
		if (ret != -EBUSY)
			return ret;
		trace_cma_alloc_busy_retry(search->cma->name, search->pfn,
					   pfn_to_page(search->pfn),
					   search->count, search->align);
	}
	/* Nothing left to try does not mean that nothing was in the way. */
	return again ? -EBUSY : ret;
}

/**
 * cma_search_run() - find a place and get it
 * @search: from cma_search_init(), with try
 * @ctl: how hard to try
 * @pfn: where to store the first page of the place
 *
 * Context: may sleep.
 * Return: 0, and the place stays reserved; -ENOMEM where there is none in the
 * bitmap, and otherwise why the last one could not be had.
 */
int cma_search_run(struct cma_search *search, struct contig_ctl *ctl,
		   unsigned long *pfn)
{
	int ret = cma_passes(&search->blockers, ctl, search_pass, search);

	*pfn = search->pfn;
	return ret == -EBUSY && fatal_signal_pending(current) ? -EINTR : ret;
}

void cma_search_end(struct cma_search *search)
{
	kfree(search->blockers.pages);
}
