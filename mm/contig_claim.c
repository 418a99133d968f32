// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous ranges of pages: who works on which one.
 */
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/pageblock-flags.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "internal.h"
#include "contig.h"

static LIST_HEAD(claims);
static DEFINE_SPINLOCK(claims_lock);
static DECLARE_WAIT_QUEUE_HEAD(claims_wait);

/* Claims are waited for as locks are. */
#ifdef CONFIG_LOCKDEP
static struct lockdep_map contig_claim_map =
	STATIC_LOCKDEP_MAP_INIT("contig_claim", &contig_claim_map);
#endif

/* Who isolates a pageblock in [start, end) already? Caller holds the lock. */
static struct contig_claim *find_claim(unsigned long start, unsigned long end)
{
	struct contig_claim *claim;

	lockdep_assert_held(&claims_lock);
	list_for_each_entry(claim, &claims, node)
		if (start < claim->end && claim->start < end)
			return claim;
	return NULL;
}

static bool try_claim(struct contig_claim *claim, unsigned long *behind)
{
	struct contig_claim *other;

	spin_lock(&claims_lock);
	other = find_claim(claim->start, claim->end);
	if (other)
		*behind = other->end;
	else
		list_add(&claim->node, &claims);
	spin_unlock(&claims_lock);
	return !other;
}

/**
 * contig_claim() - be the only one of CMA to isolate the pageblocks of a range
 * @claim: to be filled in
 * @ctl: how hard to try
 * @start: the first pfn
 * @end: the pfn after the last one
 *
 * Whoever finds a pageblock isolated already fails with -EBUSY. Free pages of
 * neighbours merge up to MAX_PAGE_ORDER when both are isolated, and whoever is
 * first takes what is merged: so ranges are as coarse as that.
 *
 * Context: if ctl->queue, sleeps until the range can be had, killable; does not
 * sleep otherwise. A task has one claim at a time.
 * Return: true if the range is ours, until contig_unclaim(). Otherwise a fatal
 * signal is pending, or ctl->taken is set, and ctl->blocker is the last pfn of
 * who works on it.
 */
bool contig_claim(struct contig_claim *claim, struct contig_ctl *ctl,
		  unsigned long start, unsigned long end)
{
	unsigned long grain = max(pageblock_nr_pages, MAX_ORDER_NR_PAGES);
	unsigned long behind = end;

	claim->start = ALIGN_DOWN(start, grain);
	claim->end = ALIGN(end, grain);
	ctl->taken = false;
	if (ctl->queue) {
		lock_map_acquire(&contig_claim_map);
		if (try_claim(claim, &behind))
			return true;
		contig_caches_on(ctl);
		if (!wait_event_killable(claims_wait, try_claim(claim, &behind)))
			return true;
		lock_map_release(&contig_claim_map);
		ctl->blocker = start;
		return false;
	}
	if (try_claim(claim, &behind)) {
		lock_map_acquire_try(&contig_claim_map);
		return true;
	}
	ctl->blocker = behind - 1;
	ctl->why = PAGE_BLAME_NONE;
	ctl->scanned = true;
	ctl->taken = true;
	return false;
}

void contig_unclaim(struct contig_claim *claim)
{
	lock_map_release(&contig_claim_map);
	spin_lock(&claims_lock);
	list_del(&claim->node);
	spin_unlock(&claims_lock);
	wake_up_all(&claims_wait);
}
