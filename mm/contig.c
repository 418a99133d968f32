// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous ranges of pages: how hard to try, what stands in the way, and how
 * long to wait for it. alloc_contig_range() itself is in page_alloc.c.
 */
#include <linux/hrtimer.h>
#include <linux/hugetlb.h>
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/swap.h>
#include <linux/sysctl.h>
#include <linux/wait.h>

#include "internal.h"
#include "contig.h"
#include "pinpage/hooks.h"

#define CREATE_TRACE_POINTS
#include <trace/events/contig.h>

/* The tracepoint names the states by number. */
static_assert(CONTIG_UNMOVABLE == 8);

/*
 * A reference between two steps of fork() or exit() is gone when its holder is
 * scheduled again: a few time slices. Longer steps than 20 ms, two ticks at
 * HZ=100, would be longer than that; fifty of them are a second, after which
 * the reference is not of that kind. The first step is short, since most are.
 */
static unsigned int contig_wait_steps = 50;
static unsigned int contig_wait_ms = 20;
static const unsigned int contig_wait_ms_max = 10 * MSEC_PER_SEC;
#define FIRST_STEP_US	100

/**
 * contig_init() - begin a call
 * @ctl: to be filled in
 * @gfp: the caller's mask, see alloc_contig_range()
 *
 * Return: 0, or -EINVAL where the mask has a flag that means nothing here, or
 * two that contradict each other.
 */
int contig_init(struct contig_ctl *ctl, gfp_t gfp)
{
	const gfp_t reclaim_mask = __GFP_IO | __GFP_FS | __GFP_RECLAIM;
	const gfp_t rung_mask = __GFP_NORETRY | __GFP_RETRY_MAYFAIL;
	const gfp_t action_mask = __GFP_COMP | __GFP_NOWARN | __GFP_ZERO |
				  __GFP_ZEROTAGS | __GFP_SKIP_ZERO |
				  __GFP_SKIP_KASAN | rung_mask;

	/*
	 * We are given the range to allocate; node, mobility and placement
	 * hints are irrelevant at this point. We'll simply ignore them.
	 */
	gfp = current_gfp_context(gfp);
	gfp &= ~(GFP_ZONEMASK | __GFP_RECLAIMABLE | __GFP_WRITE |
		 __GFP_HARDWALL | __GFP_THISNODE | __GFP_MOVABLE);
	/* Not NOFAIL: there may be nothing that could be done. */
	if (gfp & ~(reclaim_mask | action_mask))
		return -EINVAL;
	if ((gfp & rung_mask) == rung_mask)
		return -EINVAL;

	*ctl = (struct contig_ctl) {
		.rung = CONTIG_DEFAULT,
		.gfp = gfp,
		/*
		 * What is in the range is movable. Direct reclaim may throttle
		 * the caller until writeback catches up: not for who can't wait.
		 */
		.cc_gfp = (gfp & (reclaim_mask | __GFP_NOWARN)) |
			  __GFP_HARDWALL | __GFP_MOVABLE,
		.step_us = FIRST_STEP_US,
		.waited_for = ULONG_MAX,
	};
	if (gfp & __GFP_NORETRY) {
		ctl->rung = CONTIG_FAILFAST;
		ctl->cc_gfp &= ~__GFP_DIRECT_RECLAIM;
		ctl->cc_gfp |= __GFP_NORETRY | __GFP_NOWARN;
		return 0;
	}
	ctl->cc_gfp |= __GFP_RETRY_MAYFAIL;
	if (gfp & __GFP_RETRY_MAYFAIL) {
		ctl->rung = CONTIG_HARD;
		ctl->max_us = READ_ONCE(contig_wait_ms) * USEC_PER_MSEC;
		ctl->steps_left = ctl->max_us ? READ_ONCE(contig_wait_steps) : 0;
	}
	return 0;
}

/* Pages from @page to the end of @folio, of which it is one. */
static unsigned long pages_left(struct folio *folio, struct page *page)
{
	return folio_nr_pages(folio) - folio_page_idx(folio, page);
}

/* More pins than those of pinpage owners, who can be asked? */
static bool pinned_by_others(struct folio *folio, int excess, int owner_refs)
{
	if (folio_has_pincount(folio))
		return atomic_read(&folio->_pincount) > owner_refs;
	return excess >= GUP_PIN_COUNTING_BIAS;
}

/* The caller holds one reference, which keeps @folio a folio. */
static enum contig_state folio_state(struct folio *folio)
{
	struct pinpage_refs owners = {};
	int excess;

	if (folio_test_hwpoison(folio))
		return CONTIG_UNMOVABLE;
	if (folio_test_hugetlb(folio))
		return folio_maybe_dma_pinned(folio) ? CONTIG_PINNED :
						       CONTIG_HUGETLB;
	if (page_has_type(&folio->page))
		return CONTIG_UNMOVABLE;
	if (__folio_test_movable(folio))
		return CONTIG_MOVABLE;

	pinpage_count_refs(folio, &owners);
	excess = folio_ref_count(folio) - 1 - owners.refs;
	/* mapping and private of a driver's own page are its own affair. */
	if (!owners.kernel)
		excess -= folio_expected_ref_count(folio);
	if (pinned_by_others(folio, excess, owners.refs))
		return CONTIG_PINNED;
	if (folio_test_writeback(folio))
		return CONTIG_WRITEBACK;
	if (folio_test_locked(folio))
		return CONTIG_LOCKED;
	if (excess > 0)
		return CONTIG_REFERENCED;
	return owners.refused ? CONTIG_REFUSED : CONTIG_MOVABLE;
}

/*
 * Pages that migration has nothing to do with may be a driver's, who is told
 * that they are still in use (free_contig_range()) when we refer to them as they
 * are given back. Those that wait for the LRU have a mapping, of some kind.
 */
static bool may_refer(struct page *page, struct folio *folio)
{
	return PageLRU(page) || PageHuge(page) || READ_ONCE(folio->mapping) ||
	       pinpage_folio(folio);
}

/**
 * contig_page_state() - what is this page to somebody who wants its range?
 * @pfn: of the page, in an online section
 * @nr: how many pages from @pfn on share the answer; at least 1
 *
 * The answer can be stale as soon as it is given. Nothing is isolated; a page
 * in use is referenced for a moment, without which it could become the tail of
 * something else under our eyes.
 *
 * Context: Task context; no lock of mm/ is held, and none is waited for.
 */
enum contig_state contig_page_state(unsigned long pfn, unsigned long *nr)
{
	struct page *page = pfn_to_page(pfn);
	enum contig_state state;
	struct folio *folio;
	unsigned int order;

	*nr = 1;
	if (PageBuddy(page)) {
		order = buddy_order_unsafe(page);
		if (order <= MAX_PAGE_ORDER)
			*nr = (1UL << order) - (pfn & ((1UL << order) - 1));
		return CONTIG_FREE;
	}
	if (PageReserved(page))
		return CONTIG_UNMOVABLE;
	folio = page_folio(page);
	if (!may_refer(page, folio))
		return page_ref_count(page) ? CONTIG_REFERENCED : CONTIG_FREE;
	if (!folio_try_get(folio)) {
		/* In a pcp list, frozen by migration, or in a hugetlb pool */
		return PageHuge(page) ? CONTIG_HUGETLB : CONTIG_FREE;
	}
	if (unlikely(page_folio(page) != folio)) {
		folio_put(folio);
		return CONTIG_FREE;
	}
	*nr = pages_left(folio, page);
	state = folio_state(folio);
	folio_put(folio);
	return state;
}

/**
 * contig_state_blocks() - is there no use in trying, on this rung?
 * @rung: how hard the caller tries
 * @state: of the page
 * @drained: the LRU caches are empty and off
 *
 * Until the LRU caches are drained, a reference too many may be theirs.
 */
bool contig_state_blocks(enum contig_rung rung, enum contig_state state,
			 bool drained)
{
	switch (state) {
	case CONTIG_PINNED:
	case CONTIG_UNMOVABLE:
		return true;
	case CONTIG_HUGETLB:
	case CONTIG_LOCKED:
	case CONTIG_WRITEBACK:
		return rung == CONTIG_FAILFAST;
	case CONTIG_REFERENCED:
		return drained && rung != CONTIG_DEFAULT;
	default:
		return false;
	}
}

/* Where the free block begins that @pfn is in the middle of, or @pfn. */
static unsigned long free_block_start(unsigned long pfn)
{
	unsigned int order, free;
	unsigned long head;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		head = pfn & (~0UL << order);
		if (!PageBuddy(pfn_to_page(head)))
			continue;
		free = buddy_order_unsafe(pfn_to_page(head));
		if (free <= MAX_PAGE_ORDER && head + (1UL << free) > pfn)
			return head;
		break;
	}
	return pfn;
}

/**
 * contig_scan() - look before anything is done
 * @ctl: how hard to try
 * @start: the first pfn
 * @end: the pfn behind the last one
 * @drained: the LRU caches are empty and off
 *
 * Pages with owners that can be asked will be asked about, and counted then;
 * that is dear enough to be done once.
 *
 * Context: may sleep.
 * Return: the pfn of the first page that need not be tried; @end without one.
 */
unsigned long contig_scan(struct contig_ctl *ctl, unsigned long start,
			  unsigned long end, bool drained)
{
	unsigned long pfn, nr;

	for (pfn = free_block_start(start); pfn < end; pfn += nr) {
		nr = 1;
		if (!pinpage_page(pfn_to_page(pfn)) &&
		    contig_state_blocks(ctl->rung, contig_page_state(pfn, &nr),
					drained))
			return max(pfn, start);
		cond_resched();
	}
	return end;
}

/**
 * contig_first_used() - find what is not in the page allocator
 * @start: the first pfn
 * @end: the pfn behind the last one
 *
 * Without a lock: in isolated pageblocks free pages stay free, but a block that
 * merges with its neighbour can be taken for used. Never the other way round.
 *
 * Return: the first pfn that is not free; @end where all are.
 */
unsigned long contig_first_used(unsigned long start, unsigned long end)
{
	unsigned long pfn = free_block_start(start);
	struct page *page;
	unsigned int order;

	while (pfn < end) {
		page = pfn_to_page(pfn);
		if (!PageBuddy(page))
			return max(pfn, start);
		order = buddy_order_unsafe(page);
		if (order > MAX_PAGE_ORDER)
			return max(pfn, start);
		pfn += 1UL << order;
	}
	return end;
}

/* Is there nothing to empty? */
bool contig_range_free(unsigned long start, unsigned long end)
{
	return contig_first_used(start, end) >= end;
}

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
 * alloc_migration_target(), but for large folios as modest as for others: who
 * fails fast does not wait for compaction, it splits them.
 */
struct folio *contig_target(struct folio *src, unsigned long private)
{
	struct migration_target_control *mtc = (void *)private;
	gfp_t gfp = mtc->gfp_mask;

	if ((gfp & __GFP_DIRECT_RECLAIM) || folio_test_hugetlb(src) ||
	    !folio_test_large(src))
		return alloc_migration_target(src, private);
	gfp &= ~__GFP_RECLAIM;
	gfp |= GFP_TRANSHUGE_LIGHT | __GFP_NORETRY;
	return __folio_alloc(gfp, folio_order(src), mtc->nid, mtc->nmask);
}

/*
 * Sleep for a step, or a quarter less where a timer can be shared. The next one
 * is twice as long. False: killed.
 */
static bool sleep_step(struct contig_ctl *ctl)
{
	unsigned int us = min(ctl->step_us, ctl->max_us), slack = us / 4;
	ktime_t timeout = ns_to_ktime((us - slack) * NSEC_PER_USEC);

	ctl->steps_left--;
	ctl->step_us = min(2 * us, ctl->max_us);
	/* Not usleep_range_state(), which spins when a signal is pending */
	set_current_state(TASK_KILLABLE);
	schedule_hrtimeout_range(&timeout, slack * NSEC_PER_USEC,
				 HRTIMER_MODE_REL);
	__set_current_state(TASK_RUNNING);
	return !fatal_signal_pending(current);
}

/* For how long it will last, nobody knows: not worth to begin waiting. */
static bool is_lasting(enum contig_state state)
{
	return state == CONTIG_PINNED || state == CONTIG_UNMOVABLE;
}

/* Likely to go away by itself */
static bool is_transient(enum contig_state state)
{
	return state == CONTIG_LOCKED || state == CONTIG_WRITEBACK ||
	       state == CONTIG_REFERENCED;
}

/**
 * contig_wait() - wait for what has just made an attempt fail
 * @ctl: of the call; what it may wait in all is counted there
 *
 * fork() takes its reference before it maps a page for the child, exit() and
 * munmap() unmap a page before they drop theirs; isolation by others, I/O and
 * page locks come and go as well. There is no event to wait for, so look again
 * after each of ever longer steps. A page with a FOLL_PIN of somebody who can't
 * be asked, or one whose owners refuse, is not waited for at all.
 *
 * A page with nothing in its way any more is worth an attempt at once, but if
 * the very same one fails again, only after a step.
 *
 * Context: may sleep. No pageblock is isolated, no claim is held: the pages
 * around are free to be used meanwhile.
 * Return: true if it is worth to try again.
 */
bool contig_wait(struct contig_ctl *ctl)
{
	bool again = ctl->waited_for == ctl->blocker;
	unsigned int before = ctl->steps_left;
	ktime_t begin = ktime_get();
	enum contig_state state;
	unsigned long nr;
	bool retry = false;

	if (ctl->rung != CONTIG_HARD || !ctl->steps_left ||
	    fatal_signal_pending(current))
		return false;
	contig_caches_on(ctl);
	if (!again)
		ctl->step_us = FIRST_STEP_US;
	ctl->waited_for = ctl->blocker;
	for (;;) {
		state = contig_page_state(ctl->blocker, &nr);
		if (is_lasting(state))
			break;
		/*
		 * Nothing in the way but owners, who have been asked and did
		 * not agree: they won't because time passes.
		 */
		if (state == CONTIG_REFUSED && ctl->steps_left == before)
			break;
		retry = !is_transient(state) &&
			(!again || ctl->steps_left < before);
		if (retry || !ctl->steps_left || !sleep_step(ctl))
			break;
	}
	/* An attempt costs more than a step, so it counts as one. */
	if (retry && before == ctl->steps_left)
		ctl->steps_left--;
	trace_contig_wait(ctl->blocker, state, before - ctl->steps_left,
			  ktime_us_delta(ktime_get(), begin), retry);
	return retry;
}

static LIST_HEAD(claims);
static DEFINE_SPINLOCK(claims_lock);
static DECLARE_WAIT_QUEUE_HEAD(claims_wait);

/* Who isolates a pageblock in [start, end) already? Caller holds the lock. */
static struct contig_claim *find_claim(unsigned long start, unsigned long end)
{
	struct contig_claim *claim;

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
 * @end: the pfn behind the last one
 *
 * Whoever finds a pageblock isolated already fails with -EBUSY. Free pages of
 * neighbours merge up to MAX_PAGE_ORDER when both are isolated, and whoever is
 * first takes what is merged: so ranges are as coarse as that.
 *
 * Context: may sleep, killable, unless @ctl is to fail fast.
 * Return: true if the range is ours, until contig_unclaim(). Otherwise a fatal
 * signal is pending, or ctl->blocker is the last pfn of who is in the way.
 */
bool contig_claim(struct contig_claim *claim, struct contig_ctl *ctl,
		  unsigned long start, unsigned long end)
{
	unsigned long grain = max(pageblock_nr_pages, MAX_ORDER_NR_PAGES);
	unsigned long behind = end;

	claim->start = ALIGN_DOWN(start, grain);
	claim->end = ALIGN(end, grain);
	if (ctl->rung != CONTIG_FAILFAST)
		return !wait_event_killable(claims_wait,
					    try_claim(claim, &behind));
	if (try_claim(claim, &behind))
		return true;
	ctl->blocker = clamp(behind, start + 1, end) - 1;
	ctl->scanned = true;
	return false;
}

void contig_unclaim(struct contig_claim *claim)
{
	spin_lock(&claims_lock);
	list_del(&claim->node);
	spin_unlock(&claims_lock);
	wake_up_all(&claims_wait);
}

/* contig_wait=steps[,ms] */
static int __init contig_wait_setup(char *arg)
{
	char *ms = strchr(arg, ',');
	unsigned int steps, len = contig_wait_ms;

	if (ms)
		*ms++ = '\0';
	if (kstrtouint(arg, 0, &steps) || steps > INT_MAX ||
	    (ms && kstrtouint(ms, 0, &len)) || len > contig_wait_ms_max) {
		pr_warn("contig_wait: not a number of steps, and of milliseconds up to %u\n",
			contig_wait_ms_max);
		return 1;
	}
	contig_wait_steps = steps;
	contig_wait_ms = len;
	return 1;
}
__setup("contig_wait=", contig_wait_setup);

static struct ctl_table contig_sysctls[] = {
	{
		.procname	= "contig_wait_steps",
		.data		= &contig_wait_steps,
		.maxlen		= sizeof(contig_wait_steps),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_INT_MAX,
	},
	{
		.procname	= "contig_wait_ms",
		.data		= &contig_wait_ms,
		.maxlen		= sizeof(contig_wait_ms),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= (void *)&contig_wait_ms_max,
	},
};

static int __init contig_sysctl_init(void)
{
	register_sysctl_init("vm", contig_sysctls);
	return 0;
}
late_initcall(contig_sysctl_init);
