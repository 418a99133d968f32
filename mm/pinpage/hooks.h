/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where compaction, migration, rmap, fork and gup meet pinpage. With nothing
 * registered, each hook is a static branch not taken.
 */
#ifndef _MM_PINPAGE_HOOKS_H
#define _MM_PINPAGE_HOOKS_H

#include <linux/jump_label.h>
#include <linux/list.h>
#include <linux/migrate.h>
#include <linux/mm_types.h>
#include <linux/pinpage.h>
#include <linux/swap.h>
#include <linux/swapops.h>

/* From migrate.c, for pinned folios. */
int move_to_new_folio(struct folio *dst, struct folio *src,
		      enum migrate_mode mode);
void migrate_folio_done(struct folio *src, enum migrate_reason reason);

/**
 * struct pinpage_migration - what migrate_pages() was asked for
 * @from: isolated folios; those that pinpage deals with leave the list
 * @ret: where folios go that stay
 * @get_new_folio: as given to migrate_pages(), like the next four
 * @put_new_folio: likewise
 * @private: likewise
 * @mode: likewise
 * @reason: likewise
 * @nr_succeeded: to be incremented by the pages that have moved
 * @nr_failed: likewise, by those that stay
 */
struct pinpage_migration {
	struct list_head *from, *ret;
	new_folio_t *get_new_folio;
	free_folio_t *put_new_folio;
	unsigned long private;
	enum migrate_mode mode;
	int reason;
	int *nr_succeeded, *nr_failed;
};

/**
 * struct pinpage_refs - what the owners of a folio hold
 * @refs: references on the folio
 * @slots: 0 where it has no owners
 * @kernel: it is kernel-owned
 * @refused: an owner would not let it move when last asked
 */
struct pinpage_refs {
	int refs;
	unsigned int slots;
	bool kernel;
	bool refused;
};

#ifdef CONFIG_PINPAGE

DECLARE_STATIC_KEY_FALSE(pinpage_active_key);

static inline bool pinpage_active(void)
{
	return static_branch_unlikely(&pinpage_active_key);
}

/*
 * Is @folio in some set, so that its owners can be asked to let it move? Who has
 * no reference may see it become something else, even a tail page.
 */
static inline bool pinpage_folio(const struct folio *folio)
{
	if (!pinpage_active())
		return false;
#ifdef CONFIG_64BIT
	/* Other flags change, and are of no interest. */
	return data_race(test_bit(PG_pinpage, &folio->flags));
#else
	return folio_test_pinpage(folio);
#endif
}

static inline bool pinpage_page(const struct page *page)
{
	return pinpage_active() && pinpage_folio(page_folio(page));
}

extern struct list_head pinpage_lazy_sets;

/* Is there a set that movers do not know yet? */
static inline bool pinpage_lazy(void)
{
	return pinpage_active() && !list_empty(&pinpage_lazy_sets);
}

void __pinpage_index_range(unsigned long start, unsigned long end, gfp_t gfp);
void pinpage_index_later(void);
int __pinpage_migrate(const struct pinpage_migration *mig);
int __pinpage_expected_refs(struct folio *folio);
bool pinpage_compaction(void);
bool __pinpage_has_kernel_slots(struct folio *folio);
bool __pinpage_isolate(struct page *page);
void pinpage_putback(struct folio *folio);
void __pinpage_count_refs(struct folio *folio, struct pinpage_refs *pins);
bool __pinpage_owner_name(struct folio *folio, unsigned int n, char *name,
			  size_t size);
int pin_user_pages_fast_pinpage(unsigned long start, int nr_pages,
				unsigned int gup_flags, struct page **pages);
long memfd_pin_folios_pinpage(struct file *memfd, loff_t start, loff_t end,
			      struct folio **folios, unsigned int max_folios,
			      pgoff_t *offset);

/*
 * migrate_pages() begins: flagged folios are migrated, and leave the list.
 * Returns how many stay.
 */
static inline int
pinpage_migrate(struct list_head *from, struct list_head *ret,
		new_folio_t get_new_folio, free_folio_t put_new_folio,
		unsigned long private, enum migrate_mode mode, int reason,
		int *nr_succeeded, int *nr_failed)
{
	struct pinpage_migration mig = {
		.from = from, .ret = ret, .get_new_folio = get_new_folio,
		.put_new_folio = put_new_folio, .private = private,
		.mode = mode, .reason = reason, .nr_succeeded = nr_succeeded,
		.nr_failed = nr_failed,
	};

	return pinpage_active() ? __pinpage_migrate(&mig) : 0;
}

/* Somebody is going to look at pages from @start to @end, to see which can move. */
static inline void pinpage_index_range(unsigned long start, unsigned long end,
				       gfp_t gfp)
{
	if (pinpage_lazy())
		__pinpage_index_range(start, end, gfp);
}

/* Compaction begins, of the pages from @start to @end. */
static inline void pinpage_index_zone(unsigned long start, unsigned long end,
				      enum migrate_mode mode, gfp_t gfp)
{
	if (!pinpage_lazy() || !pinpage_compaction())
		return;
	if (mode == MIGRATE_ASYNC)
		pinpage_index_later();
	else
		__pinpage_index_range(start, end, gfp);
}

/* References of paused owners, which go with the folio when it moves. */
static inline int pinpage_expected_refs(struct folio *folio)
{
	return pinpage_folio(folio) ? __pinpage_expected_refs(folio) : 0;
}

/*
 * May a page be unmapped that is exclusive, and not to be shared since it is
 * pinned? Yes, where its owners stand still: whether it moves is for the
 * reference count to say, later. The mark of being exclusive stays on the page,
 * for those who unpin it meanwhile, and for fork(): see pinpage_fork_waits().
 * GUP-fast takes its reference before it looks at the page table again, and we
 * look at the references after the barrier in folio_try_share_anon_rmap_pte()
 * that follows the change of the page table: one of the two sees the other.
 */
static inline bool pinpage_unmap_exclusive(struct folio *folio)
{
	return pinpage_expected_refs(folio);
}

/* Is @folio an isolated page of a driver? It is not on the LRU, has no rmap. */
static inline bool pinpage_folio_kernel(struct folio *folio)
{
	/* Those that migration sees are isolated: spare the others the look-up. */
	return pinpage_folio(folio) && folio_test_isolated(folio) &&
	       __pinpage_has_kernel_slots(folio);
}

static inline bool pinpage_isolate(struct page *page)
{
	return pinpage_active() && __pinpage_isolate(page);
}

/* Can compaction isolate the page of @folio's owners, or alloc_contig_range()? */
static inline bool pinpage_can_ask(struct folio *folio, bool alloc_contig)
{
	return pinpage_folio(folio) && (alloc_contig || pinpage_compaction());
}

/*
 * Is @page, which is on no LRU, a kernel-owned one that can be isolated? Not if
 * it is poisoned.
 */
static inline bool pinpage_kernel_page(struct page *page)
{
	return pinpage_page(page) && !PageHWPoison(page) &&
	       __pinpage_has_kernel_slots(page_folio(page));
}

/* For those who want to know, not to move: what do the owners hold? */
static inline void pinpage_count_refs(struct folio *folio,
				      struct pinpage_refs *pins)
{
	if (pinpage_folio(folio))
		__pinpage_count_refs(folio, pins);
}

/* The name of the @n-th owner's system; false: there are not so many. */
static inline bool pinpage_owner_name(struct folio *folio, unsigned int n,
				      char *name, size_t size)
{
	return pinpage_folio(folio) &&
	       __pinpage_owner_name(folio, n, name, size);
}

#else /* !CONFIG_PINPAGE */

static inline bool pinpage_folio(const struct folio *folio)
{
	return false;
}

static inline bool pinpage_page(const struct page *page)
{
	return false;
}

static inline int
pinpage_migrate(struct list_head *from, struct list_head *ret,
		new_folio_t get_new_folio, free_folio_t put_new_folio,
		unsigned long private, enum migrate_mode mode, int reason,
		int *nr_succeeded, int *nr_failed)
{
	return 0;
}

static inline void pinpage_index_range(unsigned long start, unsigned long end,
				       gfp_t gfp)
{
}

static inline void pinpage_index_zone(unsigned long start, unsigned long end,
				      enum migrate_mode mode, gfp_t gfp)
{
}

static inline int pinpage_expected_refs(struct folio *folio)
{
	return 0;
}

static inline bool pinpage_unmap_exclusive(struct folio *folio)
{
	return false;
}

static inline bool pinpage_folio_kernel(struct folio *folio)
{
	return false;
}

static inline bool pinpage_isolate(struct page *page)
{
	return false;
}

static inline bool pinpage_can_ask(struct folio *folio, bool alloc_contig)
{
	return false;
}

static inline bool pinpage_kernel_page(struct page *page)
{
	return false;
}

static inline void pinpage_putback(struct folio *folio)
{
}

static inline void pinpage_count_refs(struct folio *folio,
				      struct pinpage_refs *pins)
{
}

static inline bool pinpage_owner_name(struct folio *folio, unsigned int n,
				      char *name, size_t size)
{
	return false;
}

#endif /* CONFIG_PINPAGE */

/*
 * Must fork() wait for the end of a migration, rather than share what @entry
 * hides? The parent would then write to a copy, and the device to what the child
 * sees. Whoever unmaps an exclusive page clears its mark of being exclusive,
 * unless it is pinned and has to keep it. Caller holds the page-table lock, so
 * that the entry, and with it the page, stays.
 */
static inline bool pinpage_fork_waits(swp_entry_t entry)
{
	struct page *page;

	if (!IS_ENABLED(CONFIG_PINPAGE) || is_readable_migration_entry(entry))
		return false;
	page = pfn_swap_entry_to_page(entry);
	return PageAnon(page) && PageAnonExclusive(page);
}

/*
 * A PMD entry for migration becomes entries of single pages: each page has to
 * tell what the first one has told for all.
 */
static inline void pinpage_split_entry(struct page *page, unsigned int nr)
{
	if (!IS_ENABLED(CONFIG_PINPAGE) || !PageAnonExclusive(page))
		return;
	while (--nr)
		SetPageAnonExclusive(page + nr);
}

#endif /* _MM_PINPAGE_HOOKS_H */
