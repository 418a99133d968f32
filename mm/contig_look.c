// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous ranges of pages: what a look can tell, before anything is isolated.
 */
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/pageblock-flags.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "internal.h"
#include "contig.h"
#include "pinpage/hooks.h"

/*
 * Pages in per-cpu lists and LRU caches are neither free nor on the LRU. One
 * lru_cache_disable() costs an expedited grace period and work on each CPU,
 * nested or not, and so does a drain: a call for many ranges does it once.
 * Pages freed after that, in pageblocks that are isolated, bypass the lists.
 */
void contig_caches_off(struct contig_ctl *ctl, struct zone *zone)
{
	if (ctl->caches_off)
		return;
	drain_all_pages(zone);
	lru_cache_disable();
	ctl->caches_off = true;
}

void contig_caches_on(struct contig_ctl *ctl)
{
	if (ctl->caches_off)
		lru_cache_enable();
	ctl->caches_off = false;
}

/*
 * Is this a reason to go elsewhere? Until the LRU caches are drained, a reference
 * too many may be theirs.
 */
static bool speaks_against(struct contig_ctl *ctl, enum page_blame what,
			   bool drained)
{
	switch (what) {
	case PAGE_BLAME_UNMOVABLE:
		return true;
	case PAGE_BLAME_PINNED:
	case PAGE_BLAME_LOCKED:
	case PAGE_BLAME_WRITEBACK:
		return !ctl->eager;
	case PAGE_BLAME_REFERENCED:
		return !ctl->eager && drained;
	default:
		return false;
	}
}

/**
 * contig_look() - find what speaks against trying to empty a range
 * @ctl: how hard to try
 * @start: the first pfn
 * @end: the pfn after the last one
 * @drained: the LRU caches are empty and off
 *
 * If @ctl is eager, only what never moves does. Pages with owners that can be
 * asked are not looked at: they will be asked, and that is dear enough to be done
 * once. To replace a hugetlb folio takes too long for who is to fail fast.
 *
 * Context: may sleep.
 * Return: the pfn of the first such page, with ctl->why; @end without one.
 */
unsigned long contig_look(struct contig_ctl *ctl, unsigned long start,
			  unsigned long end, bool drained)
{
	unsigned long pfn, nr;
	enum page_blame what;
	struct page *page;

	pinpage_index_range(contig_block_start(start), end, ctl->cc_gfp);
	for (pfn = contig_block_start(start); pfn < end; pfn += nr) {
		page = pfn_to_page(pfn);
		nr = 1;
		if (pinpage_page(page))
			continue;
		what = page_blame(page, &nr);
		if (speaks_against(ctl, what, drained) ||
		    (ctl->rung == CONTIG_FAILFAST && PageHuge(page))) {
			ctl->why = what;
			return max(pfn, start);
		}
		cond_resched();
	}
	return end;
}

/**
 * contig_blame_isolation() - which page kept a range from being isolated?
 * @ctl: where to store it
 * @start: the first pfn
 * @end: the pfn after the last one
 *
 * Others who isolate one of the pageblocks, or a page that never moves. Where
 * there is neither any more, others have just ended.
 */
void contig_blame_isolation(struct contig_ctl *ctl, unsigned long start,
			    unsigned long end)
{
	struct contig_ctl eager = { .rung = CONTIG_DEFAULT, .eager = true };
	unsigned long pfn;

	for (pfn = start; pfn < end; pfn = pageblock_end_pfn(pfn)) {
		if (!is_migrate_isolate_page(pfn_to_page(pfn)))
			continue;
		ctl->blocker = min(pageblock_end_pfn(pfn), end) - 1;
		ctl->why = PAGE_BLAME_NONE;
		ctl->taken = true;
		return;
	}
	ctl->blocker = contig_look(&eager, start, end, false);
	ctl->why = eager.why;
	if (ctl->blocker < end)
		return;
	ctl->blocker = start;
	ctl->taken = true;
}
