// SPDX-License-Identifier: GPL-2.0
/*
 * Moving folios whose owners stand still. Nothing is waited for here: locks are
 * tried, and a folio that somebody else has is left for another round. What
 * remains are the mmu notifiers of those who map it, and TLB flushes.
 *
 * The rmap lock of a folio (anon_vma or i_mmap) is held from before it is
 * unmapped until it is mapped again, since mapping it again can't fail, and must
 * not wait. Folios of a buffer mostly share that lock: those that do, one after
 * the other, are a run, for which the lock is taken and TLBs are flushed once.
 *
 * __pinpage_commit() hands references, pin count, flag and slots to dst under
 * both folio locks, after the mapping and before the page tables lead to dst.
 * Nobody can find dst without its pins by a page table, and whoever finds it in
 * the page cache sees it locked.
 */
#include <linux/hugetlb.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/page_owner.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "../internal.h"
#include "batch.h"

/* The folios that are unmapped now, and the lock that they share. */
struct move_run {
	struct pinpage_batch *batch;
	struct anon_vma *root;		/* locked for reading, or NULL */
	struct address_space *mapping;	/* likewise */
	u32 start, end;			/* in batch->ready */
};

static struct pinned_folio *run_folio(struct move_run *run, u32 i)
{
	return &run->batch->folios[run->batch->ready[i]];
}

static void unlock_both(struct pinned_folio *f)
{
	folio_unlock(f->dst);
	folio_unlock(f->src);
}

/* Nobody but those who are paused, and page tables and mapping, refers to it. */
static bool refs_are_ours(struct pinned_folio *f)
{
	return folio_ref_count(f->src) ==
	       1 + folio_expected_ref_count(f->src) +
	       __pinpage_expected_refs(f->src);
}

/* Can the locked folio be unmapped at all? */
static int check_locked(struct folio *src)
{
	struct address_space *mapping = folio_mapping(src);

	/* What was truncated is as good as any other, but for its buffers. */
	if (folio_test_writeback(src) ||
	    (!src->mapping && folio_test_private(src)))
		return -EAGAIN;
	if (folio_test_ksm(src))
		return -EBUSY;
	/* Such a filesystem might write or free something: see settle_folio(). */
	if (mapping && !mapping->a_ops->migrate_folio &&
	    (folio_test_dirty(src) || folio_test_private(src)))
		return -EAGAIN;
	return 0;
}

static int lock_both(struct pinned_folio *f)
{
	int err;

	if (!folio_trylock(f->src))
		return -EAGAIN;
	err = f->kernel ? 0 : check_locked(f->src);
	if (!err && !f->kernel && !refs_are_ours(f))
		err = -EAGAIN;
	if (!err && !folio_trylock(f->dst))
		err = -EAGAIN;
	if (err)
		folio_unlock(f->src);
	return err;
}

static void end_run(struct move_run *run);

/* Have the rmap lock of the folio, which is mapped, for this run. */
static int lock_rmap(struct move_run *run, struct pinned_folio *f)
{
	struct address_space *mapping = NULL;
	struct anon_vma *root = NULL;

	if (f->anon_vma)
		root = f->anon_vma->root;
	else if (!folio_test_anon(f->src))
		mapping = folio_mapping(f->src);
	if (!root && !mapping)
		return -EAGAIN;
	if (root == run->root && mapping == run->mapping)
		return 0;
	end_run(run);
	if (root ? !down_read_trylock(&root->rwsem) :
		   !i_mmap_trylock_read(mapping))
		return -EAGAIN;
	run->root = root;
	run->mapping = mapping;
	return 0;
}

/* The locked folio leaves the page tables. */
static int unmap_folio(struct move_run *run, struct pinned_folio *f)
{
	int err;

	f->mapped = folio_mapped(f->src);
	f->mlocked = folio_test_mlocked(f->src);
	if (!f->mapped)
		return 0;
	if (folio_test_anon(f->src))
		f->anon_vma = folio_get_anon_vma(f->src);
	err = lock_rmap(run, f);
	if (!err) {
		try_to_migrate(f->src, TTU_RMAP_LOCKED | TTU_BATCH_FLUSH);
		if (!folio_mapped(f->src))
			return 0;
		remove_migration_ptes(f->src, f->src, RMP_LOCKED);
		err = -EAGAIN;
	}
	return err;
}

/* The folio is where dst is, or the error says why not. Map what is there. */
static int move_unmapped(struct pinned_folio *f, enum migrate_reason reason)
{
	struct folio *src = f->src, *dst = f->dst;
	bool deferred = false, partial = false;
	int err;

	/* As migrate_folio_move(): to be on the queue is not a promise. */
	if (folio_order(src) > 1 && !data_race(list_empty(&src->_deferred_list))) {
		deferred = true;
		partial = folio_test_partially_mapped(src);
	}
	err = move_to_new_folio(dst, src, MIGRATE_ASYNC);
	if (!err) {
		__pinpage_commit(dst, src);
		/* First of all, for mlock_count: see migrate_folio_move(). */
		folio_add_lru(dst);
		if (f->mlocked)
			lru_add_drain();
	}
	if (f->mapped)
		remove_migration_ptes(src, err ? src : dst, RMP_LOCKED);
	if (!err && deferred)
		deferred_split_folio(dst, partial);
	if (!err)
		set_page_owner_migrate_reason(&dst->page, reason);
	return err;
}

/* Move all that is unmapped, and give back the lock that they share. */
static void end_run(struct move_run *run)
{
	struct pinned_folio *f;
	u32 i;

	if (run->start < run->end)
		try_to_unmap_flush();
	for (i = run->start; i < run->end; i++) {
		f = run_folio(run, i);
		if (f->err)
			continue;
		f->err = move_unmapped(f, run->batch->mig->reason);
		unlock_both(f);
	}
	if (run->root)
		anon_vma_unlock_read(run->root);
	if (run->mapping)
		i_mmap_unlock_read(run->mapping);
	run->root = NULL;
	run->mapping = NULL;
	/* May take the lock for writing. */
	for (; run->start < run->end; run->start++) {
		f = run_folio(run, run->start);
		if (f->anon_vma)
			put_anon_vma(f->anon_vma);
		f->anon_vma = NULL;
	}
}

/* One folio more is unmapped, or is not to be moved now. */
static void add_to_run(struct move_run *run, struct pinned_folio *f)
{
	f->err = lock_both(f);
	if (!f->err) {
		f->err = unmap_folio(run, f);
		if (f->err)
			unlock_both(f);
	}
	run->end++;
}

static int move_kernel(struct pinned_folio *f)
{
	int err = lock_both(f);

	if (err)
		return err;
	err = pinpage_migrate_kernel(f->dst, f->src, MIGRATE_ASYNC);
	unlock_both(f);
	return err;
}

/* The lock of the page tables that map a folio of hugetlb: NULL for none. */
static int lock_hugetlb_rmap(struct pinned_folio *f,
			     struct address_space **mapping)
{
	*mapping = NULL;
	if (folio_test_anon(f->src)) {
		f->anon_vma = folio_get_anon_vma(f->src);
		return f->anon_vma &&
		       down_read_trylock(&f->anon_vma->root->rwsem) ?
		       0 : -EAGAIN;
	}
	/* For writing, as try_to_migrate() may unshare page tables. */
	*mapping = hugetlb_folio_mapping_lock_write(f->src);
	return *mapping ? 0 : -EAGAIN;
}

static int move_mapped_hugetlb(struct pinned_folio *f)
{
	struct address_space *mapping;
	int err = lock_hugetlb_rmap(f, &mapping);

	if (!err) {
		try_to_migrate(f->src, TTU_RMAP_LOCKED);
		if (!folio_mapped(f->src))
			err = move_to_new_folio(f->dst, f->src, MIGRATE_ASYNC);
		else
			err = -EAGAIN;
		if (!err)
			__pinpage_commit(f->dst, f->src);
		remove_migration_ptes(f->src, err ? f->src : f->dst, RMP_LOCKED);
		if (mapping)
			i_mmap_unlock_write(mapping);
		else
			anon_vma_unlock_read(f->anon_vma);
	}
	if (f->anon_vma)
		put_anon_vma(f->anon_vma);
	f->anon_vma = NULL;
	return err;
}

static int move_hugetlb(struct pinned_folio *f, enum migrate_reason reason)
{
	int err = lock_both(f);

	if (err)
		return err;
	/* It is on its way out: see unmap_and_move_huge_page(). */
	if (hugetlb_folio_subpool(f->src) && !folio_mapping(f->src)) {
		err = -EBUSY;
	} else if (folio_mapped(f->src)) {
		err = move_mapped_hugetlb(f);
	} else {
		err = move_to_new_folio(f->dst, f->src, MIGRATE_ASYNC);
		if (!err)
			__pinpage_commit(f->dst, f->src);
	}
	if (!err)
		move_hugetlb_state(f->src, f->dst, reason);
	unlock_both(f);
	return err;
}

/**
 * pinpage_move_folios - move the ready folios of a batch
 * @batch: the batch; the owners of its ready folios are quiet
 *
 * Context: Task context. Nothing is waited for, see above. Sets err of each
 * folio: 0; -EAGAIN where somebody else has it at the moment; another error
 * where it can't move.
 */
void pinpage_move_folios(struct pinpage_batch *batch)
{
	struct move_run run = { .batch = batch };
	struct pinned_folio *f;
	u32 i;

	for (i = 0; i < batch->nr_ready; i++) {
		f = &batch->folios[batch->ready[i]];
		cond_resched();
		if (!f->kernel && !folio_test_hugetlb(f->src)) {
			add_to_run(&run, f);
			continue;
		}
		end_run(&run);
		f->err = f->kernel ? move_kernel(f) :
				     move_hugetlb(f, batch->mig->reason);
		run.start = i + 1;
		run.end = i + 1;
	}
	end_run(&run);
}

/**
 * pinpage_moved_away - free what a folio has left behind
 * @mig: the migration
 * @f: the folio, which has moved
 *
 * After its owners have gone on: it does not matter to them.
 */
void pinpage_moved_away(const struct pinpage_migration *mig,
			struct pinned_folio *f)
{
	if (folio_test_hugetlb(f->src)) {
		folio_putback_active_hugetlb(f->src);
		return;
	}
	list_del(&f->src->lru);
	migrate_folio_done(f->src, mig->reason);
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
	struct pinpage_slot *slots = pinpage_index_take(src), *slot;
	int refs = 0, pins = 0;
	unsigned int flags;

	for (slot = slots; slot; slot = slot->next) {
		flags = slot_set(slot)->flags;
		refs += slot_refs(slot, src);
		if (!(flags & PINPAGE_KERNEL))
			pins += slot_holds(slot, flags);
	}
	move_exclusive(dst, src);
	move_refs(dst, src, refs, pins);
	pinpage_index_give(dst, src, slots);
}
