// SPDX-License-Identifier: GPL-2.0
/*
 * Moving pinned folios: what migrate_pages() and compaction call.
 *
 * A batch of migrate_pages() goes like this:
 *
 *  1. __pinpage_prepare(), with the folios isolated and nothing locked: the
 *     slots of each flagged folio are claimed, sorted by set, and each set is
 *     asked to make its items quiet. A folio leaves the batch if one of its
 *     owners refuses, or if someone who can't be asked holds a reference.
 *  2. The pins stay. migrate_folio() and its kin count the references of
 *     claimed slots as expected ones (__pinpage_expected_refs()): one more,
 *     from anyone, and the folio does not move. A slot that appears after the
 *     claim is not counted, but its reference is there before it. The batch is
 *     found by current->pinpage_batch, as migrate_folio() can't be told of it.
 *  3. __pinpage_commit(), under both folio locks, after the mapping and before
 *     the page tables lead to dst: references, pin count, flag and slots go to
 *     dst. Nobody can find dst without its pins by a page table, and whoever
 *     finds it in the page cache sees it locked.
 *  4. __pinpage_complete(), with nothing locked: each owner that was paused
 *     learns where its items are, and goes on.
 *
 * The claim goes with the slot, and is given up after complete(): by then dst
 * is on the LRU and may have been isolated by the next mover, who must not ask
 * an owner that still thinks of src.
 */
#include <linux/hash.h>
#include <linux/ktime.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmstat.h>
#include <linux/wait_bit.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/pinpage.h>

#define GROUP_HASH_BITS	7
#define NONE		U32_MAX

/* A claimed slot. Those of a folio follow each other, as they were found. */
struct pinpage_claim {
	struct pinpage_slot *slot;
	struct pinpage_set *set;
	struct folio *folio;
	u32 first;			/* the folio's first claim */
	u32 next;			/* the set's next claim, or NONE */
	/* On the first claim of a folio: */
	int refs;			/* of all its claims */
	int pins;			/* those that are pins */
	bool refused;			/* folio has left */
	/* On each: */
	bool prepared;			/* the owner said 0 */
	bool call;			/* begins a call that the owner said 0 to */
};

/* The claims of one set. */
struct pinpage_group {
	struct pinpage_set *set;
	u32 head, tail;			/* claims */
	u32 start;			/* first item */
	u32 nr;				/* items handed to prepare() */
	u32 hash_next;			/* group, or NONE */
};

struct pinpage_batch {
	struct pinpage_batch *outer;	/* of this task, while this one lasts */
	enum migrate_mode mode;
	u32 nr_claims, nr_groups, max;
	u32 cursor;			/* where find_claim() looks first */
	struct pinpage_claim *claims;
	struct pinpage_group *groups;
	struct pinpage_group *last;	/* that find_group() found */
	struct pinpage_item *items;	/* group by group */
	u32 *item_claim;		/* which claim an item is of */
	u32 group_hash[1 << GROUP_HASH_BITS];
};

/*
 * NUMA balancing and demotion only guess that a page is better elsewhere; that
 * is not worth stopping a device for. A long-term pin has to get the page out
 * of CMA or ZONE_MOVABLE, where it would have been out already if we had not
 * let it stay.
 */
static bool may_ask(int reason)
{
	switch (reason) {
	case MR_COMPACTION:
	case MR_MEMORY_HOTPLUG:
	case MR_SYSCALL:
	case MR_MEMPOLICY_MBIND:
	case MR_CONTIG_RANGE:
	case MR_LONGTERM_PIN:
		return true;
	default:
		return false;
	}
}

static struct pinpage_group *find_group(struct pinpage_batch *batch,
					struct pinpage_set *set)
{
	struct pinpage_group *group = batch->last;
	u32 *bucket, g;

	/* Most folios have one owner, and neighbours have the same. */
	if (group && group->set == set)
		return group;
	bucket = &batch->group_hash[hash_ptr(set, GROUP_HASH_BITS)];
	for (g = *bucket; g != NONE; g = group->hash_next) {
		group = &batch->groups[g];
		if (group->set == set)
			goto found;
	}
	if (!pinpage_set_get(set))
		return NULL;
	group = &batch->groups[batch->nr_groups];
	group->set = set;
	group->head = NONE;
	group->tail = NONE;
	group->start = 0;
	group->nr = 0;
	group->hash_next = *bucket;
	*bucket = batch->nr_groups++;
found:
	batch->last = group;
	return group;
}

/* References of an isolated folio, but for those of its pinpage owners. */
static int other_refs(struct folio *folio, bool kernel)
{
	/* mapping and private of a kernel-owned folio are the owner's own */
	return 1 + (kernel ? 0 : folio_expected_ref_count(folio));
}

/* Note @slot as the next claim. False: there is no room, or it has an owner. */
static int note_slot(struct pinpage_batch *batch, struct pinpage_slot *slot,
		     struct folio *folio, u32 first, u32 c)
{
	struct pinpage_set *set = slot_set(slot);
	struct pinpage_claim *claim;
	int holds, refs;

	if (slot_claimed(slot))
		return -EALREADY;
	if (c == batch->max)
		return -ENOSPC;
	claim = &batch->claims[c];
	*claim = (struct pinpage_claim) {
		.slot = slot, .set = set, .folio = folio, .first = first,
		.next = NONE,
	};
	holds = slot_holds(slot, set->flags);
	refs = hold_refs(holds, set->flags, folio);
	claim = &batch->claims[first];
	claim->refs += refs;
	if (!(set->flags & (PINPAGE_KERNEL | PINPAGE_GET)))
		claim->pins += holds;
	return 0;
}

/* The noted claims [@first, @end) become the batch's, unless a set has left. */
static int claim_slots(struct pinpage_batch *batch, u32 first, u32 end)
{
	struct pinpage_group *group;
	struct pinpage_slot *slot;
	u32 c;

	for (c = first; c < end; c++) {
		slot = batch->claims[c].slot;
		group = find_group(batch, batch->claims[c].set);
		if (!group) {
			batch->claims[first].refused = true;
			return -EBUSY;
		}
		if (group->head == NONE)
			group->head = c;
		else
			batch->claims[group->tail].next = c;
		group->tail = c;
		WRITE_ONCE(slot->where, slot->where | SLOT_CLAIMED);
		batch->nr_claims++;
	}
	return 0;
}

/*
 * Claim all slots of @folio. Returns 0; -ENOSPC where the claims don't fit;
 * -EALREADY where another batch has moved it and not told the owners yet;
 * -EAGAIN where a stranger holds a reference; -EBUSY where a set is not live,
 * then the claims made so far stay, refused.
 */
static int claim_folio(struct pinpage_batch *batch, struct folio *folio)
{
	u32 first = batch->nr_claims, end = first;
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	bool kernel;
	int err = 0;

	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket)) {
		err = note_slot(batch, slot, folio, first, end++);
		if (err)
			goto unlock;
	}
	/* Pairs with smp_mb() in __pinpage_complete(): see slot_unclaim(). */
	smp_acquire__after_ctrl_dep();
	if (end == first)
		goto unlock;
	kernel = batch->claims[first].set->flags & PINPAGE_KERNEL;
	if (folio_ref_count(folio) ==
	    batch->claims[first].refs + other_refs(folio, kernel))
		err = claim_slots(batch, first, end);
	else
		err = -EAGAIN;
unlock:
	pinpage_index_unlock(&bucket);
	return err;
}

static int grow_batch(struct pinpage_batch *batch, u32 max)
{
	gfp_t gfp = GFP_NOIO | __GFP_NOWARN;
	void *p;

	p = kvrealloc(batch->claims, array_size(max, sizeof(*batch->claims)),
		      gfp);
	if (!p)
		return -ENOMEM;
	batch->claims = p;
	p = kvrealloc(batch->groups, array_size(max, sizeof(*batch->groups)),
		      gfp);
	if (!p)
		return -ENOMEM;
	batch->groups = p;
	batch->last = NULL;
	batch->max = max;
	return 0;
}

/*
 * A reference that someone takes for a moment (a fault, a pagevec, /proc) is
 * no reason to give up, where we have time.
 */
static int claim_patiently(struct pinpage_batch *batch, struct folio *folio)
{
	int tries = batch->mode == MIGRATE_ASYNC ? 1 : 10;
	int err;

	do {
		err = claim_folio(batch, folio);
		if (err == -ENOSPC && !grow_batch(batch, 2 * batch->max))
			continue;
		if (err != -EAGAIN && err != -EALREADY)
			break;
		cond_resched();
		tries--;
	} while (tries);
	return err;
}

/* The folios that no owner can be asked about, or none will be. */
static void count_folio(struct folio *folio, enum pinpage_stat stat)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;

	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket)) {
		trace_pinpage_refuse(slot_set(slot)->system->name,
				     slot_pfn(slot), slot_nr(slot), stat);
		pinpage_count(slot_set(slot), stat, slot_nr(slot));
	}
	pinpage_index_unlock(&bucket);
}

static void free_batch(struct pinpage_batch *batch)
{
	kvfree(batch->item_claim);
	kvfree(batch->items);
	kvfree(batch->groups);
	kvfree(batch->claims);
	kfree(batch);
}

static struct pinpage_batch *alloc_batch(enum migrate_mode mode, u32 max)
{
	struct pinpage_batch *batch;

	batch = kzalloc(sizeof(*batch), GFP_NOIO | __GFP_NOWARN);
	if (!batch)
		return NULL;
	batch->mode = mode;
	batch->outer = current->pinpage_batch;
	memset(batch->group_hash, 0xff, sizeof(batch->group_hash));
	if (!grow_batch(batch, max))
		return batch;
	free_batch(batch);
	return NULL;
}

static int alloc_items(struct pinpage_batch *batch)
{
	gfp_t gfp = GFP_NOIO | __GFP_NOWARN;

	batch->items = kvmalloc_array(batch->nr_claims, sizeof(*batch->items),
				      gfp);
	batch->item_claim = kvmalloc_array(batch->nr_claims,
					   sizeof(*batch->item_claim), gfp);
	return batch->items && batch->item_claim ? 0 : -ENOMEM;
}

static struct pinpage_claim *claim_of(struct pinpage_batch *batch, u32 item)
{
	return &batch->claims[batch->item_claim[item]];
}

static bool claim_refused(struct pinpage_batch *batch,
			  struct pinpage_claim *claim)
{
	return batch->claims[claim->first].refused;
}

/* The folios of these items stay, whatever other owners have said. */
static void refuse_items(struct pinpage_batch *batch,
			 struct pinpage_set *set, u32 item, u32 nr,
			 enum pinpage_stat stat)
{
	unsigned int pages = 0;
	u32 i;

	for (i = item; i < item + nr; i++) {
		batch->claims[claim_of(batch, i)->first].refused = true;
		slot_set_refused(claim_of(batch, i)->slot, true);
		trace_pinpage_refuse(set->system->name,
				     page_to_pfn(batch->items[i].page),
				     batch->items[i].nr, stat);
		pages += batch->items[i].nr;
	}
	pinpage_count(set, stat, pages);
}

static unsigned int set_timeout(struct pinpage_set *set)
{
	return set->timeout_ms ?: PINPAGE_TIMEOUT_MS;
}

/*
 * Ask @set: 0, -EAGAIN, -EBUSY or -ETIMEDOUT. In the last case the items are
 * quiet, but the others in this batch have waited for too long.
 */
static int call_prepare(struct pinpage_batch *batch, struct pinpage_set *set,
			u32 item, u32 nr)
{
	struct pinpage_system *system = set->system;
	ktime_t limit = ktime_add_ms(ktime_get(), set_timeout(set));
	unsigned int noio = memalloc_noio_save();
	int ret;

	pinpage_callback_enter();
	ret = system->ops->prepare(set, batch->items + item, nr, batch->mode);
	pinpage_callback_exit();
	memalloc_noio_restore(noio);
	trace_pinpage_prepare(system->name, nr, batch->mode, ret);

	if (!ret)
		return ktime_after(ktime_get(), limit) ? -ETIMEDOUT : 0;
	if (ret == -EAGAIN || ret == -EBUSY)
		return ret;
	pr_warn_once("pinpage: prepare() of %s returned %d, not 0, -EAGAIN or -EBUSY\n",
		     system->name, ret);
	return -EBUSY;
}

/* Make items quiet, or those of them that can be. False: don't ask again. */
static bool prepare_items(struct pinpage_batch *batch, struct pinpage_set *set,
			  u32 item, u32 nr)
{
	int ret = call_prepare(batch, set, item, nr);
	u32 i;

	if (ret == -EAGAIN && nr > 1) {
		if (prepare_items(batch, set, item, nr / 2))
			return prepare_items(batch, set, item + nr / 2,
					     nr - nr / 2);
		item += nr / 2;
		nr -= nr / 2;
		ret = -EBUSY;
	}
	if (!ret || ret == -ETIMEDOUT) {
		claim_of(batch, item)->call = true;
		for (i = item; i < item + nr; i++) {
			claim_of(batch, i)->prepared = true;
			slot_set_refused(claim_of(batch, i)->slot, false);
		}
	}
	if (ret)
		refuse_items(batch, set, item, nr, ret == -ETIMEDOUT ?
			     PINPAGE_STAT_TIMEDOUT : PINPAGE_STAT_REFUSED);
	return !ret || ret == -EAGAIN;
}

/* Ask the owner of @group about the folios that nobody has refused so far. */
static u32 prepare_group(struct pinpage_batch *batch,
			 struct pinpage_group *group, u32 start)
{
	struct pinpage_claim *claim;
	struct pinpage_item *item;
	unsigned int pages = 0;
	u32 c;

	group->start = start;
	for (c = group->head; c != NONE; c = claim->next) {
		claim = &batch->claims[c];
		if (claim_refused(batch, claim))
			continue;
		item = &batch->items[start + group->nr];
		item->page = pfn_to_page(slot_pfn(claim->slot));
		item->new = NULL;
		item->index = slot_index(claim->slot);
		item->nr = slot_nr(claim->slot);
		batch->item_claim[start + group->nr++] = c;
		pages += item->nr;
	}
	if (group->nr) {
		pinpage_count(group->set, PINPAGE_STAT_ASKED, pages);
		prepare_items(batch, group->set, start, group->nr);
	}
	return start + group->nr;
}

static void refuse_folio(struct folio *folio, struct list_head *refused,
			 int *nr_failed_pages)
{
	list_move_tail(&folio->lru, refused);
	*nr_failed_pages += folio_nr_pages(folio);
}

/* Claim what is flagged in @folios; what can't be leaves. Returns how many. */
static unsigned int claim_folios(struct pinpage_batch *batch,
				 struct list_head *folios,
				 struct list_head *refused,
				 int *nr_failed_pages)
{
	struct folio *folio, *next;
	unsigned int nr = 0;
	u32 first;
	int err;

	list_for_each_entry_safe(folio, next, folios, lru) {
		if (!folio_test_pinpage(folio))
			continue;
		first = batch->nr_claims;
		err = claim_patiently(batch, folio);
		/* Claimed in part? Then drop_refused() will see to it. */
		if (!err || batch->nr_claims > first)
			continue;
		count_folio(folio, err == -EAGAIN ? PINPAGE_STAT_FOREIGN :
						    PINPAGE_STAT_REFUSED);
		refuse_folio(folio, refused, nr_failed_pages);
		nr++;
	}
	return nr;
}

/* Folios that an owner has refused leave. Returns how many. */
static unsigned int drop_refused(struct pinpage_batch *batch,
				 struct list_head *refused,
				 int *nr_failed_pages)
{
	struct pinpage_claim *claim;
	unsigned int nr = 0;
	u32 c;

	for (c = 0; c < batch->nr_claims; c++) {
		claim = &batch->claims[c];
		if (claim->first != c || !claim->refused)
			continue;
		refuse_folio(claim->folio, refused, nr_failed_pages);
		nr++;
	}
	return nr;
}

/* None of the flagged folios can move this time. */
static unsigned int refuse_all(struct list_head *folios,
			       struct list_head *refused, int *nr_failed_pages)
{
	struct folio *folio, *next;
	unsigned int nr = 0;

	list_for_each_entry_safe(folio, next, folios, lru) {
		if (!folio_test_pinpage(folio))
			continue;
		refuse_folio(folio, refused, nr_failed_pages);
		nr++;
	}
	return nr;
}

static unsigned int count_flagged(struct list_head *folios)
{
	struct folio *folio;
	unsigned int nr = 0;

	list_for_each_entry(folio, folios, lru)
		nr += folio_test_pinpage(folio);
	return nr;
}

static void prepare_batch(struct pinpage_batch *batch)
{
	u32 start = 0, g, c;

	if (!batch->nr_claims)
		return;
	if (alloc_items(batch)) {
		for (c = 0; c < batch->nr_claims; c++)
			batch->claims[c].refused = true;
		return;
	}
	for (g = 0; g < batch->nr_groups; g++)
		start = prepare_group(batch, &batch->groups[g], start);
}

/**
 * __pinpage_prepare - a migration batch begins
 * @batchp: where to store what __pinpage_complete() wants, or NULL
 * @folios: the folios of the batch, isolated
 * @refused: where to put folios that don't move now
 * @mode: of the migration
 * @reason: of the migration, enum migrate_reason
 * @nr_failed_pages: to be incremented by the pages refused
 *
 * Context: Task context, no locks of mm/ but mmap_lock. May sleep if @mode is
 * not %MIGRATE_ASYNC. Without memory, flagged folios are refused.
 * Return: How many folios went to @refused.
 */
unsigned int __pinpage_prepare(struct pinpage_batch **batchp,
			       struct list_head *folios,
			       struct list_head *refused,
			       enum migrate_mode mode, int reason,
			       int *nr_failed_pages)
{
	unsigned int flagged = count_flagged(folios), nr;
	struct pinpage_batch *batch;

	if (!flagged)
		return 0;
	batch = may_ask(reason) ? alloc_batch(mode, flagged) : NULL;
	if (!batch)
		return refuse_all(folios, refused, nr_failed_pages);

	current->pinpage_batch = batch;
	nr = claim_folios(batch, folios, refused, nr_failed_pages);
	prepare_batch(batch);
	nr += drop_refused(batch, refused, nr_failed_pages);
	if (nr < flagged) {
		*batchp = batch;
		return nr;
	}
	__pinpage_complete(batch);
	return nr;
}

/* Of one folio, which is not cut into batches: 0, or -EBUSY and in @refused. */
int __pinpage_prepare_folio(struct pinpage_batch **batchp, struct folio *folio,
			    struct list_head *refused, enum migrate_mode mode,
			    int reason)
{
	struct list_head *prev = folio->lru.prev;
	LIST_HEAD(one);
	int failed = 0;

	list_move(&folio->lru, &one);
	if (__pinpage_prepare(batchp, &one, refused, mode, reason, &failed))
		return -EBUSY;
	list_move(&folio->lru, prev);
	return 0;
}

/* Tell the owner about the items of one call; they end where @end says. */
static void call_complete(struct pinpage_batch *batch,
			  struct pinpage_set *set, u32 item, u32 end)
{
	unsigned int noio = memalloc_noio_save();

	pinpage_callback_enter();
	set->system->ops->complete(set, batch->items + item, end - item);
	pinpage_callback_exit();
	memalloc_noio_restore(noio);
}

/* Where is the claimed slot now? Nobody but this task moves it. */
static unsigned int find_new(struct pinpage_item *item,
			     const struct pinpage_slot *slot)
{
	unsigned long pfn = slot_pfn(slot);

	if (pfn == page_to_pfn(item->page))
		return 0;
	item->new = pfn_to_page(pfn);
	return item->nr;
}

static void complete_group(struct pinpage_batch *batch,
			   struct pinpage_group *group)
{
	u32 end = group->start + group->nr;
	unsigned int moved = 0, pages;
	u32 from, to, i;

	for (from = group->start; from < end; from = to) {
		to = from + 1;
		if (!claim_of(batch, from)->call)
			continue;
		while (to < end && claim_of(batch, to)->prepared &&
		       !claim_of(batch, to)->call)
			to++;
		for (i = from, pages = 0; i < to; i++)
			pages += find_new(&batch->items[i],
					  claim_of(batch, i)->slot);
		trace_pinpage_complete(group->set->system->name, to - from,
				       pages);
		call_complete(batch, group->set, from, to);
		moved += pages;
	}
	if (moved)
		pinpage_count(group->set, PINPAGE_STAT_MOVED, moved);
}

/**
 * __pinpage_complete - a migration batch is over
 * @batch: from __pinpage_prepare()
 *
 * Context: as __pinpage_prepare(). The folios that have moved are on the LRU.
 */
void __pinpage_complete(struct pinpage_batch *batch)
{
	u32 i;

	current->pinpage_batch = batch->outer;
	/* Last asked, first told: like locks. */
	for (i = batch->nr_groups; i--;)
		complete_group(batch, &batch->groups[i]);
	/* Pairs with the barrier in claim_folio(). */
	smp_mb();
	for (i = 0; i < batch->nr_claims; i++)
		slot_unclaim(batch->claims[i].slot);
	for (i = 0; i < batch->nr_groups; i++)
		pinpage_set_put(batch->groups[i].set);
	free_batch(batch);
}

/*
 * The first claim on @folio of the batch that this task is in, or NULL. Folios
 * move in the order in which they were claimed, over and over, so that the
 * search ends where it begins.
 */
static struct pinpage_claim *find_claim(struct folio *folio)
{
	struct pinpage_batch *batch = current->pinpage_batch;
	u32 i, c;

	if (!batch)
		return NULL;
	c = batch->cursor;
	for (i = 0; i < batch->nr_claims; i++, c++) {
		if (c >= batch->nr_claims)
			c = 0;
		if (batch->claims[c].folio != folio)
			continue;
		c = batch->claims[c].first;
		batch->cursor = c;
		return &batch->claims[c];
	}
	return NULL;
}

/* References on @folio that are sure to go with it. */
int __pinpage_expected_refs(struct folio *folio)
{
	struct pinpage_claim *claim = find_claim(folio);

	return claim && !claim->refused ? claim->refs : 0;
}

/* Hand @refs references and pins over. dst first: there is no moment without */
static void move_refs(struct folio *dst, struct folio *src, int refs, int pins)
{
	/* Flags change that share a word with the number of the node. */
	struct pglist_data *from = data_race(folio_pgdat(src));
	/* As above. */
	struct pglist_data *to = data_race(folio_pgdat(dst));

	folio_ref_add(dst, refs);
	if (folio_has_pincount(dst))
		atomic_add(pins, &dst->_pincount);
	if (to != from) {
		mod_node_page_state(to, NR_FOLL_PIN_ACQUIRED, pins);
		mod_node_page_state(from, NR_FOLL_PIN_RELEASED, pins);
	}
	if (folio_has_pincount(src))
		atomic_sub(pins, &src->_pincount);
	folio_ref_sub(src, refs);
}

/*
 * A pinned anonymous page is exclusive for as long as it is pinned. Unmapping
 * has left the mark on @src: its entry may be zapped before it is restored. The
 * first page's stands for all of a folio that is mapped as a whole, and is as
 * good as its own for any other page that GUP has pinned.
 */
static void move_exclusive(struct folio *dst, struct folio *src)
{
	long i, nr = folio_nr_pages(src);

	/* folio_migrate_flags() has brought that of the first page. */
	if (nr == 1 || !folio_test_anon(dst) || folio_test_hugetlb(src) ||
	    PageAnonExclusive(&dst->page))
		return;
	for (i = 1; i < nr; i++)
		if (PageAnonExclusive(folio_page(src, i)))
			SetPageAnonExclusive(folio_page(dst, i));
}

/**
 * __pinpage_commit - pins and slots follow a folio that has moved
 * @dst: where it is
 * @src: where it was
 *
 * Called after move_to_new_folio(), which has found no reference on @src but
 * the isolating one and those of claimed slots, and before page tables lead to
 * @dst. What can fail has failed.
 *
 * Context: Both folios are locked, @dst is not on the LRU. May not sleep.
 */
void __pinpage_commit(struct folio *dst, struct folio *src)
{
	struct pinpage_claim *claim = find_claim(src);

	/* Its references would have kept the folio where it was. */
	if (WARN_ON_ONCE(!claim))
		return;
	move_exclusive(dst, src);
	move_refs(dst, src, claim->refs, claim->pins);
	pinpage_index_give(dst, src, pinpage_index_take(src));
	/* It is done: nobody else who gets the page frame is meant. */
	claim->folio = NULL;
}

/*
 * A migration entry can hide a page that is pinned, which must not become
 * shared: the parent would then write to a copy, and the device to what the
 * child sees. The flag of the folio is no help, since it follows the slots
 * before the page tables do.
 */
bool __pinpage_fork_waits(struct mm_struct *mm)
{
	return test_bit(MMF_HAS_PINNED, &mm->flags);
}

#include "tests/migrate-kunit.h"
