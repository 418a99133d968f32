// SPDX-License-Identifier: GPL-2.0
/*
 * Moving pinned folios: what migrate_pages() calls for those that are flagged.
 *
 * They are moved in batches, and a batch in rounds:
 *
 *  1. What may have to be waited for, while everybody runs: locks, writeback,
 *     memory for the destination, another mover's pause.
 *  2. The slots of each folio are claimed, and the pauses of their sets opened,
 *     unless somebody who can't be asked holds a reference. Folios with several
 *     owners come after those with one, so that nobody pauses for the sake of
 *     somebody else longer than he must.
 *  3. The sets are asked. A folio is ready when all its owners are quiet, and
 *     moves at once (move.c); a set goes on as soon as none of its folios has
 *     anything to expect. All sets that need time are waited for together. A
 *     folio that an owner refuses stays, and its other owners go on.
 *  4. What was in somebody's hands after all is tried again in the next round.
 *
 * The pins stay. migrate_folio() and its kin count the references of claimed
 * slots as expected ones (__pinpage_expected_refs()): one more, from anyone, and
 * the folio does not move. A slot that appears after the claim is not claimed,
 * but its reference is there before it. Only the mover who has isolated a folio
 * claims its slots, so whoever migrates the folio is the one who has.
 *
 * The claim goes with the slot, and is given up after complete(): by then dst
 * is on the LRU and may have been isolated by the next mover, who must not ask
 * an owner that still thinks of src.
 */
#include <linux/buffer_head.h>
#include <linux/hash.h>
#include <linux/hugetlb.h>
#include <linux/ktime.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/vmstat.h>

#include "../internal.h"
#include "batch.h"

#define CREATE_TRACE_POINTS
#include <trace/events/pinpage.h>

/* A folio is tried so often; its owners are asked so often at most. */
#define ROUNDS		10
#define ASKS		3

static int sysctl_compaction __read_mostly = 1;

bool pinpage_compaction(void)
{
	return READ_ONCE(sysctl_compaction);
}

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
		return pinpage_compaction();
	case MR_MEMORY_FAILURE:
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

/* Allocations that an owner makes must not wait for that owner. */
static bool may_wait(struct pinpage_batch *batch)
{
	return batch->mode != MIGRATE_ASYNC && !(current->flags & PF_MEMALLOC);
}

void pinpage_batch_wake(struct pinpage_batch *batch)
{
	WRITE_ONCE(batch->news, true);
	wake_up(&batch->wait);
}

/* Who opens the pause of a set, and asks nobody, does it for this batch. */
struct pinpage_batch *pinpage_no_batch(void)
{
	static struct pinpage_batch nobody = {
		.wait = __WAIT_QUEUE_HEAD_INITIALIZER(nobody.wait),
	};

	return &nobody;
}

static gfp_t batch_gfp(void)
{
	return GFP_NOIO | __GFP_NOWARN | __GFP_NOMEMALLOC;
}

static int grow_array(void **array, size_t nr, size_t size, gfp_t gfp)
{
	void *p = kvrealloc(*array, array_size(nr, size), gfp);

	if (!p)
		return -ENOMEM;
	*array = p;
	return 0;
}

/*
 * Room for so many claims; what is there moves. With pauses open, whose owners
 * may want to leave, there is no time for reclaim.
 */
static int grow_batch(struct pinpage_batch *batch, u32 max)
{
	gfp_t gfp = batch->nr_owners ? GFP_NOWAIT | __GFP_NOWARN : batch_gfp();

	if (grow_array((void **)&batch->claims, max, sizeof(*batch->claims), gfp) ||
	    grow_array((void **)&batch->owners, max, sizeof(*batch->owners), gfp) ||
	    grow_array((void **)&batch->items, max, sizeof(*batch->items), gfp))
		return -ENOMEM;
	batch->max_claims = max;
	batch->last = NULL;
	return 0;
}

static void free_batch(struct pinpage_batch *batch)
{
	kvfree(batch->items);
	kvfree(batch->owners);
	kvfree(batch->claims);
	kvfree(batch->folios);
	kfree(batch);
}

static struct pinpage_batch *alloc_batch(const struct pinpage_migration *mig,
					 u32 nr)
{
	struct pinpage_batch *batch;

	batch = kzalloc(sizeof(*batch), batch_gfp());
	if (!batch)
		return NULL;
	batch->mig = mig;
	batch->mode = mig->mode;
	init_waitqueue_head(&batch->wait);
	nr = min(nr, BATCH_PAGES);
	batch->folios = kvmalloc_array(nr, sizeof(*batch->folios), batch_gfp());
	if (batch->folios && !grow_batch(batch, 2 * nr))
		return batch;
	free_batch(batch);
	return NULL;
}

/* 1. Before anybody is asked. */

/* As migrate_folio_unmap() waits for a lock, for the same reasons. */
static int lock_patiently(struct folio *folio, enum migrate_mode mode)
{
	if (folio_trylock(folio))
		return 0;
	if (mode == MIGRATE_SYNC_LIGHT && !folio_test_uptodate(folio))
		return -EAGAIN;
	return folio_lock_killable(folio);
}

#ifdef CONFIG_BUFFER_HEAD
static int wait_for_buffers(struct address_space *mapping, struct folio *folio)
{
	struct buffer_head *bh, *head = folio_buffers(folio);
	int err = 0;

	/* Of other filesystems, private is something else. */
	if (mapping->a_ops->migrate_folio != buffer_migrate_folio &&
	    mapping->a_ops->migrate_folio != buffer_migrate_folio_norefs)
		return 0;
	for (bh = head; bh && !err; bh = bh->b_this_page == head ? NULL :
						  bh->b_this_page)
		err = wait_on_bit_io(&bh->b_state, BH_Lock, TASK_KILLABLE);
	return err;
}
#else
static int wait_for_buffers(struct address_space *mapping, struct folio *folio)
{
	return 0;
}
#endif

/* What a filesystem without migrate_folio() would do in the middle of a move. */
static int release_folio(struct address_space *mapping, struct folio *folio)
{
	if (mapping->a_ops->migrate_folio)
		return 0;
	if (folio_test_dirty(folio))
		return -EAGAIN;
	return filemap_release_folio(folio, GFP_KERNEL) ? 0 : -EAGAIN;
}

/*
 * Wait for whoever has the locks by which page tables are found. Not for that of a
 * hugetlb file, which is taken before the lock of a folio.
 */
static void wait_for_rmap(struct folio *folio)
{
	struct address_space *mapping = folio_mapping(folio);
	struct anon_vma *anon_vma;

	if (folio_test_ksm(folio) || !folio_mapped(folio))
		return;
	if (folio_test_anon(folio)) {
		anon_vma = folio_lock_anon_vma_read(folio, NULL);
		if (anon_vma)
			anon_vma_unlock_read(anon_vma);
	} else if (mapping && !folio_test_hugetlb(folio)) {
		i_mmap_lock_read(mapping);
		i_mmap_unlock_read(mapping);
	}
}

/*
 * Wait, as the mode of the migration allows, until nobody is at @folio who will
 * go away by himself: 0, -EAGAIN, or -EINTR after a fatal signal.
 */
static int settle_folio(struct folio *folio, enum migrate_mode mode)
{
	struct address_space *mapping;
	int err = lock_patiently(folio, mode);

	if (err)
		return err;
	if (folio_test_writeback(folio)) {
		err = mode == MIGRATE_SYNC ?
		      folio_wait_writeback_killable(folio) : -EAGAIN;
		if (err)
			goto unlock;
	}
	mapping = folio_mapping(folio);
	/* Truncated; see migrate_folio_unmap(). */
	if (!folio->mapping && folio_test_private(folio))
		try_to_free_buffers(folio);
	if (mapping && !folio_test_hugetlb(folio)) {
		err = release_folio(mapping, folio);
		if (!err && mode == MIGRATE_SYNC && !folio_test_anon(folio))
			err = wait_for_buffers(mapping, folio);
	}
	if (!err)
		wait_for_rmap(folio);
unlock:
	folio_unlock(folio);
	return err;
}

/*
 * The inode of a dirty folio whose filesystem can't move it so, or NULL. The lock
 * keeps the mapping from being freed after a truncation.
 */
static struct inode *inode_to_write(struct folio *folio, loff_t *pos)
{
	struct address_space *mapping = folio_mapping(folio);

	if (!mapping || mapping->a_ops->migrate_folio || !folio_test_dirty(folio))
		return NULL;
	*pos = folio_pos(folio);
	return igrab(mapping->host);
}

/* What is dirty and has to be clean to move: not locked meanwhile. */
static int write_folio(struct folio *folio, enum migrate_mode mode)
{
	struct inode *inode;
	loff_t pos = 0;
	int err;

	if (mode != MIGRATE_SYNC || folio_test_anon(folio) ||
	    folio_test_hugetlb(folio) || !folio_test_dirty(folio))
		return 0;
	if (folio_lock_killable(folio))
		return -EINTR;
	inode = inode_to_write(folio, &pos);
	folio_unlock(folio);
	if (!inode)
		return 0;
	err = filemap_write_and_wait_range(inode->i_mapping, pos,
					   pos + folio_size(folio) - 1);
	iput(inode);
	return err;
}

static void put_dst(struct folio *dst)
{
	if (folio_test_hugetlb(dst))
		folio_putback_active_hugetlb(dst);
	else
		folio_put(dst);
}

static void free_dst(struct pinpage_batch *batch, struct pinned_folio *f)
{
	const struct pinpage_migration *mig = batch->mig;

	if (!f->dst)
		return;
	if (mig->put_new_folio && !f->own_dst)
		mig->put_new_folio(f->dst, mig->private);
	else
		put_dst(f->dst);
	f->dst = NULL;
}

/* Where the owners of a folio let it go. */
struct folio_limits {
	phys_addr_t last;
	nodemask_t nodes;
};

static bool get_limits(struct folio *folio, struct folio_limits *limits)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	struct pinpage_set *set;

	limits->last = PHYS_ADDR_MAX;
	limits->nodes = node_states[N_MEMORY];
	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket)) {
		set = slot_set(slot);
		if (set->limit)
			limits->last = min(limits->last, set->limit);
		if (set->nodes)
			nodes_and(limits->nodes, limits->nodes, *set->nodes);
	}
	pinpage_index_unlock(&bucket);
	return limits->last != PHYS_ADDR_MAX ||
	       !nodes_equal(limits->nodes, node_states[N_MEMORY]);
}

static bool within_limits(struct folio *folio, const struct folio_limits *limits)
{
	return PFN_PHYS(folio_pfn(folio)) + (folio_size(folio) - 1) <=
	       limits->last && node_isset(folio_nid(folio), limits->nodes);
}

/* May pages of @set go to @dst? */
static bool set_allows(const struct pinpage_set *set, struct folio *dst)
{
	return (!set->limit || PFN_PHYS(folio_pfn(dst)) +
			       (folio_size(dst) - 1) <= set->limit) &&
	       (!set->nodes || node_isset(folio_nid(dst), *set->nodes));
}

/* The zone for addresses up to @last. */
static gfp_t limit_gfp(phys_addr_t last)
{
#ifdef CONFIG_ZONE_DMA
	if (last < DMA_BIT_MASK(32))
		return GFP_DMA;
#endif
#ifdef CONFIG_ZONE_DMA32
	if (last < PHYS_ADDR_MAX)
		return GFP_DMA32;
#endif
	return 0;
}

/* What the caller of migrate_pages() gives is out of reach. */
static struct folio *alloc_within(struct pinpage_batch *batch,
				  struct folio *src,
				  struct folio_limits *limits)
{
	gfp_t gfp = may_wait(batch) ? GFP_USER | __GFP_NORETRY : GFP_NOWAIT;
	int nid = folio_nid(src);
	struct folio *dst;

	if (folio_test_hugetlb(src) || nodes_empty(limits->nodes))
		return NULL;
	if (!node_isset(nid, limits->nodes))
		nid = first_node(limits->nodes);
	gfp |= __GFP_NOWARN | __GFP_NOMEMALLOC | limit_gfp(limits->last);
	dst = __folio_alloc(gfp, folio_order(src), nid, &limits->nodes);
	if (!dst || within_limits(dst, limits))
		return dst;
	folio_put(dst);
	return NULL;
}

static bool alloc_dst(struct pinpage_batch *batch, struct pinned_folio *f)
{
	const struct pinpage_migration *mig = batch->mig;
	struct folio_limits limits;
	bool limited = get_limits(f->src, &limits);

	if (f->dst && (!limited || within_limits(f->dst, &limits)))
		return true;
	free_dst(batch, f);
	f->own_dst = false;
	f->dst = mig->get_new_folio(f->src, mig->private);
	if (f->dst && limited && !within_limits(f->dst, &limits))
		free_dst(batch, f);
	if (!f->dst && limited) {
		f->dst = alloc_within(batch, f->src, &limits);
		f->own_dst = true;
	}
	return f->dst;
}

/* A folio that its owners need not be asked about now, or ever. */
static int check_folio(struct pinned_folio *f, bool wait, enum migrate_mode mode)
{
	struct folio *src = f->src;

	if (folio_contain_hwpoisoned_page(src))
		return -EHWPOISON;
	if (folio_test_hugetlb(src) &&
	    !hugepage_migration_supported(folio_hstate(src)))
		return -EOPNOTSUPP;
	if (f->kernel)
		return 0;
	if (!thp_migration_supported() && !folio_test_hugetlb(src) &&
	    folio_test_large(src) && folio_test_pmd_mappable(src))
		return -EOPNOTSUPP;
	if (wait)
		return write_folio(src, mode) ?: settle_folio(src, mode);
	return folio_test_locked(src) || folio_test_writeback(src) ? -EAGAIN : 0;
}

/* Everything that takes time, for all folios of the batch. */
static void prepare_folios(struct pinpage_batch *batch, bool wait)
{
	struct pinned_folio *f;
	int err;

	for (f = batch->folios; f < folios_end(batch); f++) {
		/* What was only kept by another mover need not be looked at again. */
		if (f->state != FOLIO_TRY || f->ready)
			continue;
		cond_resched();
		err = check_folio(f, wait, batch->mode);
		if (err == -EAGAIN)
			continue;
		if (err || !alloc_dst(batch, f))
			f->state = FOLIO_STAYS;
		else
			f->ready = true;
	}
}

/* 2. Claims. */

/* The owner record of @set, or NULL: its pause is not this batch's. */
static struct pinned_owner *find_owner(struct pinpage_batch *batch,
				       struct pinpage_set *set)
{
	u32 o;

	/* Most folios have one owner, and neighbours have the same. */
	if (batch->last && batch->last->set == set)
		return batch->last;
	o = batch->hash[hash_ptr(set, OWNER_HASH_BITS)];
	for (; o; o = batch->owners[o - 1].hash_next)
		if (batch->owners[o - 1].set == set)
			return batch->last = &batch->owners[o - 1];
	return NULL;
}

/* Would @set be waited for, if it took its time? */
static bool is_patient(struct pinpage_batch *batch, struct pinpage_set *set)
{
	return batch->mig->reason == MR_LONGTERM_PIN || pinpage_worth_waiting(set);
}

/* Open the pause of @set for this batch: 0, -EBUSY or -EALREADY. */
static int open_owner(struct pinpage_batch *batch, struct pinpage_set *set)
{
	struct pinned_owner *owner;
	u32 *hash;
	int err;

	if (find_owner(batch, set))
		return 0;
	/* Being set, or leaving: a moment later the page is as any other. */
	if (!pinpage_set_get(set))
		return set->flags & PINPAGE_KERNEL ? -EBUSY : -EAGAIN;
	err = pinpage_pause_open(set, batch, batch->now, &batch->when);
	if (err) {
		/* Its rest after a pause in vain is waiting for it as well. */
		if (READ_ONCE(set->vain) && !is_patient(batch, set))
			err = -EBUSY;
		else
			batch->not_now = set;
		pinpage_set_put(set);
		return err;
	}
	owner = &batch->owners[batch->nr_owners];
	hash = &batch->hash[hash_ptr(set, OWNER_HASH_BITS)];
	*owner = (struct pinned_owner) {
		.set = set, .head = NONE, .tail = NONE, .hash_next = *hash,
		.leader = batch->nr_owners, .sibling = NONE,
	};
	*hash = ++batch->nr_owners;
	batch->last = owner;
	return 0;
}

/* References of an isolated folio, but for those of its pinpage owners. */
static int other_refs(struct pinned_folio *f)
{
	/* mapping and private of a kernel-owned folio are the owner's own */
	return 1 + (f->kernel ? 0 : folio_expected_ref_count(f->src));
}

/*
 * Can all slots of the folio be claimed, and the pauses of all their sets be
 * opened? 0; -ENODATA: not in this pass; -ENOSPC: there is no room; -EALREADY:
 * another mover is at it, or was; -EAGAIN: a stranger holds a reference; -EBUSY:
 * a set is leaving.
 */
static int can_claim(struct pinpage_batch *batch, struct pinned_folio *f,
		     struct pinpage_bucket *bucket, bool nested)
{
	struct pinpage_set *first = NULL;
	struct pinpage_slot *slot;
	bool several = false;
	u32 nr = 0;
	int refs = 0, err;

	for (slot = first_slot(bucket); slot; slot = next_slot(slot, bucket)) {
		if (slot_claimed(slot) || slot_set(slot) == batch->not_now)
			return -EALREADY;
		/* Registered after the destination was allocated */
		if (!set_allows(slot_set(slot), f->dst))
			return -EAGAIN;
		first = first ?: slot_set(slot);
		several |= slot_set(slot) != first;
		refs += slot_refs(slot, f->src);
		nr++;
	}
	if (several != nested)
		return -ENODATA;
	/* Pauses may have been opened for a folio that was not claimed after all. */
	if (max(batch->nr_claims, batch->nr_owners) + nr > batch->max_claims)
		return -ENOSPC;
	if (folio_ref_count(f->src) != refs + other_refs(f))
		return -EAGAIN;
	for (slot = first_slot(bucket); slot; slot = next_slot(slot, bucket)) {
		err = open_owner(batch, slot_set(slot));
		if (err)
			return err;
	}
	return nr ? 0 : -EAGAIN;
}

static u32 leader_of(struct pinpage_batch *batch, u32 o)
{
	while (batch->owners[o].leader != o)
		o = batch->owners[o].leader;
	return o;
}

/* Owners of one folio are asked together, and so are those of all of these. */
static void join_owners(struct pinpage_batch *batch, u32 a, u32 b)
{
	a = leader_of(batch, a);
	b = leader_of(batch, b);
	batch->owners[max(a, b)].leader = min(a, b);
}

static void claim_slot(struct pinpage_batch *batch, struct pinned_folio *f,
		       struct pinpage_slot *slot)
{
	struct pinned_owner *owner = find_owner(batch, slot_set(slot));
	u32 c = batch->nr_claims++;

	batch->claims[c] = (struct pinned_claim) {
		.slot = slot, .folio = f - batch->folios,
		.owner = owner - batch->owners, .next = NONE, .item = NONE,
	};
	if (owner->head == NONE)
		owner->head = c;
	else
		batch->claims[owner->tail].next = c;
	owner->tail = c;
	if (f->nr_claims++)
		join_owners(batch, batch->claims[f->claim].owner,
			    owner - batch->owners);
	else
		f->claim = c;
	slot_claim(slot);
}

static int claim_folio(struct pinpage_batch *batch, struct pinned_folio *f,
		       bool nested)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	int err;

	pinpage_index_lock(&bucket, f->src);
	err = can_claim(batch, f, &bucket, nested);
	if (!err) {
		f->nr_claims = 0;
		for (slot = first_slot(&bucket); slot;
		     slot = next_slot(slot, &bucket))
			claim_slot(batch, f, slot);
		f->unquiet = f->nr_claims;
		f->asks++;
		f->state = FOLIO_CLAIMED;
	}
	pinpage_index_unlock(&bucket);
	return err;
}

/* Count and trace why the pages of @folio's owners stay. */
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

/* Claim what can be; what may be later is left for another round. */
static void claim_folios(struct pinpage_batch *batch, bool nested)
{
	struct pinned_folio *f;
	int err;

	batch->nr_claims = 0;
	batch->nr_owners = 0;
	batch->last = NULL;
	batch->not_now = NULL;
	batch->now = ktime_get();
	memset(batch->hash, 0, sizeof(batch->hash));
	for (f = batch->folios; f < folios_end(batch); f++) {
		f->nr_claims = 0;
		if (f->state != FOLIO_TRY || !f->ready)
			continue;
		err = f->asks < ASKS ? claim_folio(batch, f, nested) : -EBUSY;
		while (err == -ENOSPC)
			err = grow_batch(batch, 2 * batch->max_claims) ?:
			      claim_folio(batch, f, nested);
		if (err == -ENODATA)
			continue;
		f->err = err;
		f->ready = !err || err == -EALREADY;
		batch->busy |= err == -EALREADY;
		if (err == -EBUSY || err == -ENOMEM)
			f->state = FOLIO_STAYS;
		else if (err == -EAGAIN && !folio_test_pinpage(f->src))
			f->state = FOLIO_ORDINARY;
	}
}

/* 3. Questions and answers. */

/* What has become of @f is known: its owners need not stand still for it. */
static void finish_folio(struct pinpage_batch *batch, struct pinned_folio *f,
			 enum folio_state state)
{
	u32 c;

	f->state = state;
	for (c = f->claim; c < f->claim + f->nr_claims; c++)
		if (batch->claims[c].item != NONE)
			batch->owners[batch->claims[c].owner].pending--;
}

/* The folios of @owner that have not moved yet stay, whatever others say. */
static void refuse_folios(struct pinpage_batch *batch,
			  struct pinned_owner *owner, enum pinpage_stat stat)
{
	struct pinned_claim *claim;
	unsigned int pages = 0;
	u32 c;

	for (c = owner->head; c != NONE; c = claim->next) {
		claim = &batch->claims[c];
		if (claim->item == NONE)
			continue;
		pages += slot_nr(claim->slot);
		trace_pinpage_refuse(owner->set->system->name,
				     slot_pfn(claim->slot),
				     slot_nr(claim->slot), stat);
		if (batch->folios[claim->folio].state == FOLIO_CLAIMED)
			finish_folio(batch, &batch->folios[claim->folio],
				     FOLIO_STAYS);
	}
	pinpage_count(owner->set, stat, pages);
}

/* The items of @owner are quiet; some of their folios may be ready now. */
static void owner_is_quiet(struct pinpage_batch *batch,
			   struct pinned_owner *owner)
{
	struct pinned_claim *claim;
	struct pinned_folio *f;
	u32 c;

	batch->nr_waiting -= owner->state == OWNER_WAITING;
	pinpage_note_quiet(owner->set, owner->state == OWNER_WAITING);
	owner->quiet = owner->state == OWNER_WAITING ? owner->set->quieted :
						       ktime_get();
	owner->state = OWNER_QUIET;
	for (c = owner->head; c != NONE; c = claim->next) {
		claim = &batch->claims[c];
		f = &batch->folios[claim->folio];
		if (claim->item != NONE && !--f->unquiet &&
		    f->state == FOLIO_CLAIMED)
			batch->ready[batch->nr_ready++] = claim->folio;
	}
}

/* Nobody waits for @owner any longer; -EBUSY: it has refused. */
static void give_up(struct pinpage_batch *batch, struct pinned_owner *owner,
		    bool waited)
{
	bool asked = owner->state == OWNER_WAITING;

	batch->nr_waiting -= asked;
	owner->state = asked ? OWNER_GIVEN_UP : OWNER_REFUSED;
	if (waited || !asked)
		pinpage_note_vain(owner->set, waited);
	refuse_folios(batch, owner, asked ? PINPAGE_STAT_TIMEDOUT :
					    PINPAGE_STAT_REFUSED);
}

static unsigned int set_timeout(struct pinpage_set *set)
{
	return min(set->timeout_ms ?: PINPAGE_TIMEOUT_MS,
		   PINPAGE_TIMEOUT_MAX_MS);
}

static int call_prepare(struct pinpage_batch *batch, struct pinned_owner *owner)
{
	struct pinpage_system *system = owner->set->system;
	int ret;

	pinpage_pause_ask(owner->set);
	pinpage_callback_enter();
	ret = system->ops->prepare(owner->set, batch->items + owner->start,
				   owner->nr);
	pinpage_callback_exit();
	trace_pinpage_prepare(system->name, owner->nr, batch->mode, ret);
	if (!ret || ret == -EINPROGRESS || ret == -EBUSY)
		return ret;
	pr_warn_once("pinpage: prepare() of %s returned %d, not 0, -EINPROGRESS or -EBUSY\n",
		     system->name, ret);
	return -EBUSY;
}

/* The items of @owner: the folios that nobody has refused so far. */
static unsigned int fill_items(struct pinpage_batch *batch,
			       struct pinned_owner *owner)
{
	struct pinned_claim *claim;
	struct pinpage_item *item;
	struct pinned_folio *f;
	unsigned int pages = 0;
	u32 c;

	owner->start = batch->nr_items;
	for (c = owner->head; c != NONE; c = claim->next) {
		claim = &batch->claims[c];
		claim->item = NONE;
		f = &batch->folios[claim->folio];
		if (f->state != FOLIO_CLAIMED)
			continue;
		claim->item = batch->nr_items++;
		item = &batch->items[claim->item];
		item->page = pfn_to_page(slot_pfn(claim->slot));
		item->new = nth_page(&f->dst->page,
				     slot_pfn(claim->slot) - folio_pfn(f->src));
		item->index = slot_index(claim->slot);
		item->nr = slot_nr(claim->slot);
		pages += item->nr;
	}
	owner->nr = batch->nr_items - owner->start;
	owner->pending = owner->nr;
	return pages;
}

static void ask_owner(struct pinpage_batch *batch, struct pinned_owner *owner)
{
	unsigned int pages = fill_items(batch, owner);
	struct pinpage_set *set = owner->set;

	if (!owner->nr) {
		owner->state = OWNER_REFUSED;
		return;
	}
	pinpage_count(set, PINPAGE_STAT_ASKED, pages);
	switch (call_prepare(batch, owner)) {
	case 0:
		owner_is_quiet(batch, owner);
		break;
	case -EBUSY:
		give_up(batch, owner, false);
		break;
	default:
		owner->state = OWNER_WAITING;
		owner->limit = ktime_add_ms(ktime_get(), set_timeout(set));
		owner->patient = is_patient(batch, set);
		batch->nr_waiting++;
	}
}

/* Where is the claimed slot now? Nobody but this task moves it. */
static unsigned int find_new(struct pinpage_item *item,
			     const struct pinpage_slot *slot)
{
	unsigned long pfn = slot_pfn(slot);

	item->new = NULL;
	if (pfn == page_to_pfn(item->page))
		return 0;
	item->new = pfn_to_page(pfn);
	return item->nr;
}

static void call_complete(struct pinpage_batch *batch,
			  struct pinned_owner *owner, unsigned int moved)
{
	struct pinpage_set *set = owner->set;
	ktime_t end;
	u64 pause;

	pinpage_callback_enter();
	set->system->ops->complete(set, batch->items + owner->start, owner->nr);
	pinpage_callback_exit();
	end = ktime_get();
	pause = owner->quiet ? ktime_to_ns(ktime_sub(end, owner->quiet)) : 0;
	trace_pinpage_complete(set->system->name, owner->nr, moved,
			       ktime_to_ns(ktime_sub(end, set->began)), pause);
	if (owner->quiet)
		pinpage_count_pause(set->system, pause);
	if (moved)
		pinpage_count(set, PINPAGE_STAT_MOVED, moved);
}

/* All is done about the folios of @owner: it goes on. */
static void complete_owner(struct pinpage_batch *batch,
			   struct pinned_owner *owner)
{
	struct pinned_claim *claim;
	unsigned int moved = 0;
	u32 c;

	for (c = owner->head; c != NONE; c = claim->next) {
		claim = &batch->claims[c];
		if (owner->nr && claim->item != NONE)
			moved += find_new(&batch->items[claim->item],
					  claim->slot);
	}
	if (owner->nr && owner->state != OWNER_REFUSED)
		call_complete(batch, owner, moved);
	for (c = owner->head; c != NONE; c = batch->claims[c].next)
		pinpage_index_unclaim(batch->claims[c].slot);
	owner->state = OWNER_DONE;
	pinpage_pause_close(owner->set);
	pinpage_set_put(owner->set);
}

/* What @owner was asked about is known, or it need not be asked. */
static void complete_if_done(struct pinpage_batch *batch,
			     struct pinned_owner *owner)
{
	if (owner->state == OWNER_DONE || owner->state == OWNER_NEW ||
	    owner->pending)
		return;
	batch->nr_waiting -= owner->state == OWNER_WAITING;
	complete_owner(batch, owner);
}

/* Move the folios whose owners are all quiet. */
static void move_ready(struct pinpage_batch *batch)
{
	struct pinned_folio *f;
	u32 i;

	pinpage_move_folios(batch);
	for (i = 0; i < batch->nr_ready; i++) {
		f = &batch->folios[batch->ready[i]];
		finish_folio(batch, f, !f->err ? FOLIO_MOVED :
				       f->err == -EAGAIN ? FOLIO_TRY :
							   FOLIO_STAYS);
		f->ready = false;
		/* The next mover may want it before this one has ended. */
		if (!f->err) {
			put_dst(f->dst);
			f->dst = NULL;
		}
	}
	batch->nr_ready = 0;
}

/* Move what can be, and have those of a component go on who need not wait. */
static void settle_component(struct pinpage_batch *batch,
			     struct pinned_owner *first)
{
	struct pinned_owner *owner;

	move_ready(batch);
	for (owner = first; owner; owner = next_sibling(batch, owner))
		complete_if_done(batch, owner);
}

/* Those who have become quiet don't stand still for the sake of others. */
static void look_for_quiet(struct pinpage_batch *batch)
{
	struct pinned_owner *owner;

	/* Pairs with pinpage_batch_wake(): news first, then the look. */
	smp_store_mb(batch->news, false);
	for (owner = batch->owners; owner < owners_end(batch); owner++) {
		if (owner->state != OWNER_WAITING)
			continue;
		/* Pairs with set_quiet(): what the last user has done. */
		if (smp_load_acquire(&owner->set->state) != PAUSE_QUIET)
			continue;
		owner_is_quiet(batch, owner);
		settle_component(batch, &batch->owners[owner->leader]);
	}
}

/* Ask a component, those who refused lately first. */
static void ask_component(struct pinpage_batch *batch,
			  struct pinned_owner *first)
{
	struct pinned_owner *owner;
	int doubtful;

	for (doubtful = 1; doubtful >= 0; doubtful--)
		for (owner = first; owner; owner = next_sibling(batch, owner))
			if (owner->state == OWNER_NEW &&
			    doubtful == !!READ_ONCE(owner->set->vain))
				ask_owner(batch, owner);
	settle_component(batch, first);
	if (READ_ONCE(batch->news))
		look_for_quiet(batch);
}

static bool set_is_leaving(struct pinpage_set *set)
{
	return atomic_read(&set->moves) < 0;
}

/* @owner is quiet and wants to leave: its folios don't wait for others. */
static void let_leave(struct pinpage_batch *batch, struct pinned_owner *owner)
{
	struct pinned_claim *claim;
	struct pinned_folio *f;
	u32 c;

	for (c = owner->head; c != NONE; c = claim->next) {
		claim = &batch->claims[c];
		f = &batch->folios[claim->folio];
		/* One that is ready moves at once. */
		if (claim->item != NONE && f->state == FOLIO_CLAIMED && f->unquiet)
			finish_folio(batch, f, FOLIO_STAYS);
	}
}

/* Whose time has come, one way or the other? Returns when to look again. */
static ktime_t look_at_waiting(struct pinpage_batch *batch)
{
	bool wait = may_wait(batch) && !fatal_signal_pending(current);
	ktime_t now = ktime_get(), next = KTIME_MAX;
	struct pinned_owner *owner;

	look_for_quiet(batch);
	for (owner = batch->owners; owner < owners_end(batch); owner++) {
		if (owner->state == OWNER_QUIET && set_is_leaving(owner->set)) {
			let_leave(batch, owner);
		} else if (owner->state != OWNER_WAITING) {
			continue;
		} else if (!wait || !owner->patient ||
			   set_is_leaving(owner->set)) {
			give_up(batch, owner, false);
		} else if (!ktime_before(now, owner->limit)) {
			give_up(batch, owner, true);
		} else {
			next = min(next, owner->limit);
			continue;
		}
		settle_component(batch, &batch->owners[owner->leader]);
	}
	return next;
}

static void wait_for_news(struct pinpage_batch *batch, ktime_t until)
{
	ktime_t left = ktime_sub(until, ktime_get());

	if (left <= 0 || until == KTIME_MAX)
		return;
	/* Patience is counted in ms, and a jiffy may be ten of them. */
	__wait_event_hrtimeout(batch->wait, READ_ONCE(batch->news), left,
			       TASK_KILLABLE);
}

/* @folio has not moved: back to its owner, or to the caller of migrate_pages(). */
static void give_back(const struct pinpage_migration *mig, struct folio *folio,
		      bool kernel)
{
	*mig->nr_failed += folio_nr_pages(folio);
	/* A driver that wants its page back must not wait for other pages. */
	if (kernel) {
		list_del(&folio->lru);
		pinpage_putback(folio);
	} else {
		list_move_tail(&folio->lru, mig->ret);
	}
}

/* A folio is not on the list of isolated ones any more. */
static void leave_batch(struct pinpage_batch *batch, struct pinned_folio *f)
{
	const struct pinpage_migration *mig = batch->mig;
	unsigned long nr = folio_nr_pages(f->src);
	bool thp = f->state != FOLIO_ORDINARY && !f->kernel && !folio_test_hugetlb(f->src) &&
		   folio_test_large(f->src) && folio_test_pmd_mappable(f->src);

	if (f->state == FOLIO_MOVED) {
		*mig->nr_succeeded += nr;
		count_vm_events(THP_MIGRATION_SUCCESS, thp);
		pinpage_moved_away(mig, f);
		return;
	}
	if (f->err == -EAGAIN && !f->asks)
		count_folio(f->src, PINPAGE_STAT_FOREIGN);
	free_dst(batch, f);
	if (f->state == FOLIO_ORDINARY && !f->kernel) {
		list_move_tail(&f->src->lru, mig->from);
		return;
	}
	count_vm_events(THP_MIGRATION_FAIL, thp);
	batch->nr_failed++;
	give_back(mig, f->src, f->kernel);
}

static bool owners_are_done(struct pinpage_batch *batch, struct pinned_folio *f)
{
	u32 c;

	for (c = f->claim; c < f->claim + f->nr_claims; c++)
		if (batch->owners[batch->claims[c].owner].state != OWNER_DONE)
			return false;
	return true;
}

/* Kernel-owned folios that stay don't wait for the owners of others. */
static void put_back_kernel(struct pinpage_batch *batch)
{
	struct pinned_folio *f;

	/* A batch has folios of one kind: see cut_batch(). */
	if (!batch->folios[0].kernel)
		return;
	for (f = batch->folios; f < folios_end(batch); f++) {
		if (f->state != FOLIO_STAYS || !owners_are_done(batch, f))
			continue;
		leave_batch(batch, f);
		f->state = FOLIO_GONE;
	}
}

/* All owners that need time, at the same time. */
static void wait_for_owners(struct pinpage_batch *batch)
{
	ktime_t until;

	while (batch->nr_waiting) {
		until = look_at_waiting(batch);
		put_back_kernel(batch);
		if (batch->nr_waiting)
			wait_for_news(batch, until);
	}
}

/* Link the owners of each component: leaders come first. */
static void link_siblings(struct pinpage_batch *batch)
{
	struct pinned_owner *owner, *leader;
	u32 o;

	for (o = 0; o < batch->nr_owners; o++) {
		owner = &batch->owners[o];
		owner->leader = leader_of(batch, o);
		if (owner->leader == o)
			continue;
		leader = &batch->owners[owner->leader];
		owner->sibling = leader->sibling;
		leader->sibling = o;
	}
}

/* Ask all whose slots are claimed, move what they let go, have them go on. */
static void ask_owners(struct pinpage_batch *batch)
{
	u32 o;

	batch->nr_items = 0;
	batch->nr_waiting = 0;
	link_siblings(batch);
	pinpage_move_enter();
	for (o = 0; o < batch->nr_owners; o++)
		if (batch->owners[o].leader == o)
			ask_component(batch, &batch->owners[o]);
	wait_for_owners(batch);
	pinpage_move_exit();
}

/* 4. Rounds. */

/* Those that are done leave. Returns whether there are others. */
static bool drop_folios(struct pinpage_batch *batch, bool all)
{
	u32 i, nr = 0;

	for (i = 0; i < batch->nr_folios; i++) {
		if (batch->folios[i].state == FOLIO_TRY && !all)
			batch->folios[nr++] = batch->folios[i];
		else if (batch->folios[i].state != FOLIO_GONE)
			leave_batch(batch, &batch->folios[i]);
	}
	batch->nr_folios = nr;
	return nr;
}

/* Until another mover's pause is over, or the time to run after it. */
static bool wait_for_pauses(struct pinpage_batch *batch)
{
	ktime_t now = ktime_get(), when = batch->when;

	if (!may_wait(batch) || fatal_signal_pending(current))
		return false;
	if (!batch->busy_until)
		batch->busy_until = ktime_add_ms(now, PINPAGE_TIMEOUT_MAX_MS);
	if (ktime_after(now, batch->busy_until))
		return false;
	when = min(when ?: ktime_add_ns(now, NSEC_PER_MSEC), batch->busy_until);
	if (ktime_before(now, when)) {
		set_current_state(TASK_KILLABLE);
		schedule_hrtimeout(&when, HRTIMER_MODE_ABS);
	}
	return true;
}

static void run_batch(struct pinpage_batch *batch)
{
	bool first = true;
	int round = 0, nested;

	do {
		batch->busy = false;
		batch->when = 0;
		prepare_folios(batch, round && may_wait(batch));
		for (nested = 0; nested <= 1; nested++) {
			claim_folios(batch, nested);
			if (batch->nr_owners)
				ask_owners(batch);
			else if (batch->busy && first)
				/* Mostly one set that rests, as it will in the other pass. */
				break;
		}
		first = false;
		if (!drop_folios(batch, false))
			return;
		cond_resched();
		/* Waiting for another mover is no attempt. */
		if (!batch->busy || !wait_for_pauses(batch))
			round++;
	} while (round < ROUNDS && !fatal_signal_pending(current));
	drop_folios(batch, true);
}

/* As many of @pinned as make a batch. */
static void cut_batch(struct pinpage_batch *batch, struct list_head *pinned)
{
	unsigned long nr = 0;
	struct folio *folio;

	batch->nr_folios = 0;
	batch->busy_until = 0;
	list_for_each_entry(folio, pinned, lru) {
		/* Drivers don't wait for what user pages have to wait for. */
		if (batch->nr_folios &&
		    pinpage_folio_kernel(folio) != batch->folios[0].kernel)
			break;
		batch->folios[batch->nr_folios++] = (struct pinned_folio) {
			.src = folio, .state = FOLIO_TRY,
			.kernel = pinpage_folio_kernel(folio),
		};
		nr += folio_nr_pages(folio);
		if (nr >= BATCH_PAGES)
			break;
	}
}

/* Owners of @pinned are not asked, for want of a reason or of memory. */
static int refuse_all(const struct pinpage_migration *mig,
		      struct list_head *pinned)
{
	struct folio *folio, *next;
	int nr = 0;

	list_for_each_entry_safe(folio, next, pinned, lru) {
		give_back(mig, folio, pinpage_folio_kernel(folio));
		nr++;
	}
	return nr;
}

/* Who empties a range has indexed it, before isolating what is there. */
static bool has_range(int reason)
{
	return reason == MR_COMPACTION || reason == MR_CONTIG_RANGE ||
	       reason == MR_MEMORY_HOTPLUG;
}

/* Pins of sets that movers have not met yet: a folio may have others as well. */
static void index_folios(const struct pinpage_migration *mig)
{
	gfp_t gfp = mig->mode == MIGRATE_SYNC ? GFP_KERNEL : GFP_NOWAIT;
	unsigned long start = ULONG_MAX, end = 0;
	struct folio *folio;

	if (!pinpage_lazy() || mig->mode == MIGRATE_ASYNC ||
	    has_range(mig->reason))
		return;
	list_for_each_entry(folio, mig->from, lru) {
		if (!folio_maybe_dma_pinned(folio))
			continue;
		start = min(start, folio_pfn(folio));
		end = max(end, folio_pfn(folio) + folio_nr_pages(folio));
	}
	if (start < end)
		pinpage_index_range(start, end, gfp);
}

/**
 * __pinpage_migrate - migrate the flagged folios of a list
 * @mig: what migrate_pages() was asked for
 *
 * Those that can't move go to @mig->ret; kernel-owned ones are put back at once.
 * A folio that can't have a destination stays alone: what else is on the list is
 * no business of its.
 *
 * Context: Task context, no locks of mm/ but mmap_lock. Sleeps only as
 * @mig->mode allows.
 * Return: How many folios stay.
 */
int __pinpage_migrate(const struct pinpage_migration *mig)
{
	struct pinpage_batch *batch = NULL;
	struct folio *folio, *next;
	LIST_HEAD(kernel);
	LIST_HEAD(pinned);
	int nr_failed;
	u32 nr = 0;

	index_folios(mig);
	list_for_each_entry_safe(folio, next, mig->from, lru) {
		if (!folio_test_pinpage(folio))
			continue;
		nr++;
		list_move_tail(&folio->lru, pinpage_folio_kernel(folio) ?
					    &kernel : &pinned);
	}
	/* A driver that wants its page back waits for them. */
	list_splice(&kernel, &pinned);
	if (list_empty(&pinned))
		return 0;
	if (may_ask(mig->reason))
		batch = alloc_batch(mig, nr);
	if (!batch)
		return refuse_all(mig, &pinned);
	while (!list_empty(&pinned)) {
		cut_batch(batch, &pinned);
		run_batch(batch);
	}
	nr_failed = batch->nr_failed;
	free_batch(batch);
	return nr_failed;
}

/*
 * References on @folio that are sure to go with it: those of claimed slots. The
 * caller holds the folio lock, or has isolated the folio.
 */
int __pinpage_expected_refs(struct folio *folio)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	int refs = 0;

	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket))
		if (slot_claimed(slot))
			refs += slot_refs(slot, folio);
	pinpage_index_unlock(&bucket);
	return refs;
}

static struct ctl_table pinpage_sysctls[] = {
	{
		.procname	= "pinpage_compaction",
		.data		= &sysctl_compaction,
		.maxlen		= sizeof(int),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_ONE,
	},
};

static int __init pinpage_sysctl_init(void)
{
	register_sysctl_init("vm", pinpage_sysctls);
	return 0;
}
late_initcall(pinpage_sysctl_init);

#include "tests/migrate-kunit.h"
