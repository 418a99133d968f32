// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel-owned pages: not on the LRU, without a mapping that mm/ knows. The
 * owner lends folio->lru and the folio lock; PG_isolated says that the lru
 * field is in use, so that one mover at a time takes the folio, and that
 * clear_pinpage() has to wait. All else in the folio is the owner's, and goes
 * with the content.
 */
#include <linux/bitops.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/page_owner.h>
#include <linux/pgalloc_tag.h>
#include <linux/vmstat.h>
#include <linux/wait_bit.h>

#include "internal.h"

/* Flags that mean something to an owner; the others are mm's. */
#define OWNER_FLAGS	(BIT(PG_referenced) | BIT(PG_uptodate) | BIT(PG_dirty) | \
			 BIT(PG_owner_priv_1) | BIT(PG_owner_2) |		 \
			 BIT(PG_private) | BIT(PG_private_2))

/* Is it kernel-owned? Without a reference, the answer may be out of date. */
bool __pinpage_has_kernel_slots(struct folio *folio)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	bool kernel = false;

	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket)) {
		kernel = slot_set(slot)->flags & PINPAGE_KERNEL;
		break;
	}
	pinpage_index_unlock(&bucket);
	return kernel;
}

/* Are all slots of @folio those of a kernel-owned page, and of live sets? */
static bool can_isolate(struct pinpage_bucket *bucket, struct folio *folio)
{
	struct pinpage_slot *slot;
	bool can = false;

	/* Mapped to userspace, it could not move, and callers take it for theirs. */
	if (folio_mapped(folio))
		return false;
	for (slot = first_slot(bucket); slot; slot = next_slot(slot, bucket)) {
		if (!(slot_set(slot)->flags & PINPAGE_KERNEL) ||
		    atomic_read(&slot_set(slot)->moves) < 0)
			return false;
		can = true;
	}
	return can && !folio_test_isolated(folio);
}

/**
 * __pinpage_isolate - isolate a kernel-owned page for migration
 * @page: a page that is not on the LRU, any one of the folio
 *
 * Pairs with remove_slot(): under the stripe lock, either the set has begun to
 * leave and the page is not isolated, or it is and the set waits.
 *
 * Context: Any but interrupt.
 * Return: true where the page was isolated, with a reference taken.
 */
bool __pinpage_isolate(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct pinpage_bucket bucket;
	bool isolated = false;

	if (!folio_try_get(folio))
		return false;
	/* Without the reference it may have become another folio's page. */
	if (page_folio(page) == folio && folio_test_pinpage(folio)) {
		pinpage_index_lock(&bucket, folio);
		isolated = can_isolate(&bucket, folio);
		if (isolated)
			folio_set_isolated(folio);
		pinpage_index_unlock(&bucket);
	}
	if (!isolated) {
		folio_put(folio);
		return false;
	}
	node_stat_add_folio(folio, NR_ISOLATED_FILE);
	return true;
}

static void end_isolation(struct folio *folio)
{
	struct pinpage_bucket bucket;

	pinpage_index_lock(&bucket, folio);
	folio_clear_isolated(folio);
	pinpage_index_unlock(&bucket);
	/*
	 * Pairs with set_current_state() in wait_isolated(), who looks at the
	 * flag without the lock: one of the two sees the other.
	 */
	smp_mb();
	wake_up_var(folio);
}

/* @folio has not moved: back to its owner. It is off the list already. */
void pinpage_putback(struct folio *folio)
{
	node_stat_sub_folio(folio, NR_ISOLATED_FILE);
	end_isolation(folio);
	folio_put(folio);
}

/* Who copies? The set that holds the folio longest, if it knows how to. */
static struct pinpage_set *find_migrate(struct folio *folio)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	struct pinpage_set *set = NULL;

	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket))
		if (slot_set(slot)->system->ops->migrate &&
		    (!set || slot_set(slot)->born < set->born))
			set = slot_set(slot);
	pinpage_index_unlock(&bucket);
	return set;
}

static void move_owner_fields(struct folio *dst, struct folio *src)
{
	dst->mapping = src->mapping;
	dst->index = src->index;
	dst->private = src->private;
	set_mask_bits(&dst->flags, 0, src->flags & OWNER_FLAGS);
	src->mapping = NULL;
	src->private = NULL;
	set_mask_bits(&src->flags, OWNER_FLAGS, 0);
}

/* The fields of a kernel-owned folio that are mm's. */
static void move_core_fields(struct folio *dst, struct folio *src)
{
#ifdef CONFIG_MEMCG
	dst->memcg_data = src->memcg_data;
	src->memcg_data = 0;
#endif
	folio_copy_owner(dst, src);
	pgalloc_tag_copy(dst, src);
}

static int call_migrate(struct pinpage_set *set, struct folio *dst,
			struct folio *src, enum migrate_mode mode)
{
	struct pinpage_system *system = set->system;
	int ret;

	pinpage_callback_enter();
	ret = system->ops->migrate(set, dst, src, mode);
	pinpage_callback_exit();
	if (!ret || ret == -EAGAIN || ret == -EBUSY)
		return ret;
	pr_warn_once("pinpage: migrate() of %s returned %d, not 0, -EAGAIN or -EBUSY\n",
		     system->name, ret);
	return -EBUSY;
}

static int move_content(struct folio *dst, struct folio *src,
			enum migrate_mode mode)
{
	struct pinpage_set *set = find_migrate(src);
	int err;

	if (set)
		return call_migrate(set, dst, src, mode);
	err = folio_mc_copy(dst, src);
	if (!err)
		move_owner_fields(dst, src);
	return err;
}

/**
 * pinpage_migrate_kernel - move a kernel-owned folio
 * @dst: to here; freshly allocated
 * @src: from here; isolated, its owners prepared
 * @mode: of the migration
 *
 * Context: Both folios are locked. Does not sleep.
 * Return: 0; -EAGAIN where someone holds a reference to @src, or migrate() of
 * the owner says so; -EBUSY, -EHWPOISON where it won't move.
 */
int pinpage_migrate_kernel(struct folio *dst, struct folio *src,
			   enum migrate_mode mode)
{
	int expected = 1 + __pinpage_expected_refs(src);
	int err;

	/* From here on nobody can come by the page. */
	if (!folio_ref_freeze(src, expected))
		return -EAGAIN;
	err = move_content(dst, src, mode);
	if (!err)
		move_core_fields(dst, src);
	folio_ref_unfreeze(src, expected);
	if (err)
		return err;

	__pinpage_commit(dst, src);
	end_isolation(src);
	return 0;
}
