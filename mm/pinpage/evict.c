// SPDX-License-Identifier: GPL-2.0
/*
 * A set that goes on refusing leaves CMA and ZONE_MOVABLE, where pages must be
 * able to go away. FOLL_LONGTERM would have moved them before it pinned them;
 * here a worker does it, as soon as the owner lets it. From then on the set is
 * an ordinary long-term pin: nobody asks it any more.
 *
 * evict_lock protects the list of sets that refuse, and so their life while they
 * are on it: a set leaves the list before it is cleared. The worker keeps a set
 * from leaving for moments only, not while it migrates.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/swap.h>
#include <linux/sysctl.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "../internal.h"
#include "internal.h"

/* Pages that are moved together, and how long until the next attempt. */
#define EVICT_PAGES	512
#define AGAIN_MS	1000

static unsigned int sysctl_evict_ms __read_mostly = 10000;

static LIST_HEAD(evict_list);
static DEFINE_SPINLOCK(evict_lock);

static void evict_sets(struct work_struct *work);
static DECLARE_DELAYED_WORK(evict_work, evict_sets);

static void evict_soon(void)
{
	queue_delayed_work(system_long_wq, &evict_work,
			   msecs_to_jiffies(min(READ_ONCE(sysctl_evict_ms),
						AGAIN_MS)));
}

/* @set has refused: unless it agrees before that, it will have to go. */
void pinpage_evict_later(struct pinpage_set *set)
{
	spin_lock(&evict_lock);
	if (list_empty(&set->evict) && atomic_read(&set->moves) >= 0) {
		set->evict_at = 0;
		list_add_tail(&set->evict, &evict_list);
	}
	spin_unlock(&evict_lock);
	evict_soon();
}

/* @set has agreed, if not too late, or leaves. */
void pinpage_evict_not(struct pinpage_set *set, bool leaves)
{
	spin_lock(&evict_lock);
	if (leaves || !set->evicting)
		list_del_init(&set->evict);
	spin_unlock(&evict_lock);
}

static bool is_due(struct pinpage_set *set)
{
	return time_after_eq(jiffies, READ_ONCE(set->refuses) +
				      msecs_to_jiffies(READ_ONCE(sysctl_evict_ms)));
}

static bool is_evicting(struct pinpage_set *set)
{
	return set->evicting;
}

/* After this attempt comes another one, but not at once. */
static void set_not_due(struct pinpage_set *set)
{
	WRITE_ONCE(set->refuses, jiffies + msecs_to_jiffies(AGAIN_MS) -
				 msecs_to_jiffies(READ_ONCE(sysctl_evict_ms)));
}

/* A set that @wants says is in question, once in each @run; to be put. */
static struct pinpage_set *next_set(unsigned int run,
				    bool (*wants)(struct pinpage_set *set))
{
	struct pinpage_set *set, *found = NULL;

	spin_lock(&evict_lock);
	list_for_each_entry(set, &evict_list, evict) {
		if (set->evict_run == run || !wants(set) ||
		    !pinpage_set_get(set))
			continue;
		found = set;
		break;
	}
	if (found) {
		found->evict_run = run;
		list_move_tail(&found->evict, &evict_list);
	}
	spin_unlock(&evict_lock);
	return found;
}

/* Pages of @set have to go: it will not do for it to agree meanwhile. */
static void set_evicting(struct pinpage_set *set)
{
	spin_lock(&evict_lock);
	set->evicting = true;
	spin_unlock(&evict_lock);
}

/*
 * Isolate the folio of @slot, unless it may stay where it is. One that has been put
 * back may wait in some CPU's batch for the LRU: @drained says whether those have
 * been emptied in this attempt.
 */
static bool isolate_slot(struct pinpage_slot *slot, struct list_head *folios,
			 bool *drained)
{
	struct folio *folio = page_folio(pfn_to_page(slot_pfn(slot)));
	bool isolated;

	if (folio_is_longterm_pinnable(folio) || !folio_try_get(folio))
		return false;
	if (!*drained && !folio_test_lru(folio) &&
	    !folio_test_hugetlb(folio) && !pinpage_folio_kernel(folio)) {
		lru_add_drain_all();
		*drained = true;
	}
	isolated = folio_test_pinpage(folio) &&
		   isolate_folio_to_list(folio, folios);
	folio_put(folio);
	return isolated;
}

/*
 * Isolate up to EVICT_PAGES pages of @set, from where the last call ended:
 * how many. evict_at is 0 where that was the rest of the set.
 */
static unsigned long isolate_set(struct pinpage_set *set,
				 struct list_head *folios, bool *drained)
{
	unsigned long nr = 0, index = 0;
	struct pinpage_chunk *chunk;
	unsigned int i;

	/* What movers have not met yet has to go as well. */
	if (pinpage_index_set(set))
		return 0;
	for (chunk = set->chunks; chunk; chunk = chunk->next) {
		if (index + chunk->nr <= set->evict_at) {
			index += chunk->nr;
			continue;
		}
		for (i = 0; i < chunk->nr; i++) {
			if (index++ < set->evict_at)
				continue;
			if (nr >= EVICT_PAGES) {
				set->evict_at = index - 1;
				return nr;
			}
			if (isolate_slot(&chunk->slots[i], folios, drained))
				nr += slot_nr(&chunk->slots[i]);
		}
		cond_resched();
	}
	set->evict_at = 0;
	return nr;
}

/* Is all of @set where a long-term pin may be? */
static bool may_stay(struct pinpage_set *set)
{
	struct pinpage_chunk *chunk;
	struct folio *folio;
	unsigned int i;

	if (READ_ONCE(set->nr_lazy))
		return false;
	for (chunk = set->chunks; chunk; chunk = chunk->next) {
		for (i = 0; i < chunk->nr; i++) {
			folio = page_folio(pfn_to_page(slot_pfn(&chunk->slots[i])));
			if (!folio_is_longterm_pinnable(folio))
				return false;
		}
		cond_resched();
	}
	return true;
}

/* @set is an ordinary pin from now on. Its pause is open, so nobody asks it. */
static void forget_set(struct pinpage_set *set)
{
	pinpage_evict_not(set, true);
	pinpage_index_remove(set);
	set->flags |= PINPAGE_UNINDEXED;
	atomic_long_inc(&set->system->nr_evicted);
}

/* Has all of @set been moved out? */
static void finish_set(struct pinpage_set *set)
{
	struct pinpage_batch *nobody = pinpage_no_batch();
	ktime_t when = 0;

	if (pinpage_pause_open(set, nobody, ktime_get(), &when))
		return;
	if (may_stay(set))
		forget_set(set);
	pinpage_pause_close(set);
}

static void move_out(struct list_head *folios)
{
	struct migration_target_control mtc = {
		.nid = NUMA_NO_NODE,
		.gfp_mask = GFP_USER | __GFP_NOWARN,
		.reason = MR_LONGTERM_PIN,
	};

	if (list_empty(folios))
		return;
	migrate_pages(folios, alloc_migration_target, NULL, (unsigned long)&mtc,
		      MIGRATE_SYNC, MR_LONGTERM_PIN, NULL);
	putback_movable_pages(folios);
}

/* Of all sets whose time has come, together: they are waited for together. */
static void move_sets(unsigned int run)
{
	unsigned long nr = 0, its;
	struct pinpage_set *set;
	bool drained = false;
	LIST_HEAD(folios);

	while ((set = next_set(run, is_due))) {
		its = isolate_set(set, &folios, &drained);
		if (its)
			set_evicting(set);
		else if (!set->evicting && may_stay(set))
			/* It is in nobody's way: it can be asked as ever. */
			pinpage_evict_not(set, true);
		if (set->evict_at)
			set->evict_run--;
		else
			set_not_due(set);
		pinpage_set_put(set);
		nr += its;
		if (nr >= EVICT_PAGES) {
			move_out(&folios);
			nr = 0;
		}
		cond_resched();
	}
	move_out(&folios);
}

static void evict_sets(struct work_struct *work)
{
	static unsigned int run;
	struct pinpage_set *set;
	bool more;

	move_sets(++run);
	run++;
	while ((set = next_set(run, is_evicting))) {
		finish_set(set);
		pinpage_set_put(set);
		cond_resched();
	}
	spin_lock(&evict_lock);
	more = !list_empty(&evict_list);
	spin_unlock(&evict_lock);
	if (more)
		evict_soon();
}

static struct ctl_table evict_sysctls[] = {
	{
		.procname	= "pinpage_evict_ms",
		.data		= &sysctl_evict_ms,
		.maxlen		= sizeof(sysctl_evict_ms),
		.mode		= 0644,
		.proc_handler	= proc_douintvec,
	},
};

static int __init pinpage_evict_init(void)
{
	register_sysctl_init("vm", evict_sysctls);
	return 0;
}
late_initcall(pinpage_evict_init);
