/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where compaction, migration, rmap, fork and gup meet pinpage. With nothing
 * registered, each hook is a static branch not taken.
 */
#ifndef _MM_PINPAGE_HOOKS_H
#define _MM_PINPAGE_HOOKS_H

#include <linux/jump_label.h>
#include <linux/list.h>
#include <linux/migrate_mode.h>
#include <linux/mm_types.h>
#include <linux/pinpage.h>

struct pinpage_batch;

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

/* Is @folio in some set, so that its owners can be asked to let it move? */
static inline bool pinpage_folio(const struct folio *folio)
{
	return pinpage_active() && folio_test_pinpage(folio);
}

static inline bool pinpage_page(const struct page *page)
{
	return pinpage_active() && folio_test_pinpage(page_folio(page));
}

unsigned int __pinpage_prepare(struct pinpage_batch **batchp,
			       struct list_head *folios,
			       struct list_head *refused,
			       enum migrate_mode mode, int reason,
			       int *nr_failed_pages);
int __pinpage_prepare_folio(struct pinpage_batch **batchp, struct folio *folio,
			    struct list_head *refused, enum migrate_mode mode,
			    int reason);
void __pinpage_complete(struct pinpage_batch *batch);
int __pinpage_expected_refs(struct folio *folio);
void __pinpage_commit(struct folio *dst, struct folio *src);
bool __pinpage_folio_kernel(struct folio *folio);
bool __pinpage_isolate(struct page *page);
int pinpage_migrate_kernel(struct folio *dst, struct folio *src,
			   enum migrate_mode mode);
void pinpage_putback(struct folio *folio);
bool __pinpage_fork_waits(struct mm_struct *mm);
void __pinpage_count_refs(struct folio *folio, struct pinpage_refs *pins);
bool __pinpage_owner_name(struct folio *folio, unsigned int n, char *name,
			  size_t size);
int pin_user_pages_fast_pinpage(unsigned long start, int nr_pages,
				unsigned int gup_flags, struct page **pages);
long memfd_pin_folios_pinpage(struct file *memfd, loff_t start, loff_t end,
			      struct folio **folios, unsigned int max_folios,
			      pgoff_t *offset);

/*
 * A migration batch begins: owners of flagged @folios are asked to pause; the
 * folios whose owners refuse go to @refused. Returns how many that were.
 */
static inline unsigned int
pinpage_prepare(struct pinpage_batch **batchp, struct list_head *folios,
		struct list_head *refused, enum migrate_mode mode, int reason,
		int *nr_failed_pages)
{
	*batchp = NULL;
	if (!pinpage_active())
		return 0;
	return __pinpage_prepare(batchp, folios, refused, mode, reason,
				 nr_failed_pages);
}

/* A batch of one @folio: 0, or -EBUSY, and it is in @refused. */
static inline int
pinpage_prepare_folio(struct pinpage_batch **batchp, struct folio *folio,
		      struct list_head *refused, enum migrate_mode mode,
		      int reason)
{
	*batchp = NULL;
	if (!pinpage_folio(folio))
		return 0;
	return __pinpage_prepare_folio(batchp, folio, refused, mode, reason);
}

/* The batch is over, for better or worse: the owners go on. */
static inline void pinpage_complete(struct pinpage_batch *batch)
{
	if (unlikely(batch))
		__pinpage_complete(batch);
}

/* References of paused owners, which go with the folio when it moves. */
static inline int pinpage_expected_refs(struct folio *folio)
{
	return pinpage_folio(folio) ? __pinpage_expected_refs(folio) : 0;
}

/* @src has become @dst: hand over pins and slots, under both folio locks. */
static inline void pinpage_commit(struct folio *dst, struct folio *src)
{
	if (pinpage_folio(src))
		__pinpage_commit(dst, src);
}

/*
 * May a page be unmapped that is exclusive, and not to be shared since it is
 * pinned? Yes, where its owners can be asked: whether it moves is for the
 * reference count to say, later. The mark of being exclusive stays on the page,
 * for those who unpin it meanwhile, and in the entry, which fork() leaves alone.
 * GUP-fast takes its reference before it looks at the page table again, and we
 * look at the references after the barrier in folio_try_share_anon_rmap_pte()
 * that follows the change of the page table: one of the two sees the other.
 */
static inline bool pinpage_unmap_exclusive(struct folio *folio)
{
	return pinpage_folio(folio);
}

/* Is @folio an isolated page of a driver? It is not on the LRU, has no rmap. */
static inline bool pinpage_folio_kernel(struct folio *folio)
{
	/* Those that migration sees are isolated: spare the others the look-up. */
	return pinpage_folio(folio) && folio_test_isolated(folio) &&
	       __pinpage_folio_kernel(folio);
}

static inline bool pinpage_isolate(struct page *page)
{
	return pinpage_active() && __pinpage_isolate(page);
}

/* Must fork() wait for migration entries, rather than share what they hide? */
static inline bool pinpage_fork_waits(struct mm_struct *mm)
{
	return pinpage_active() && __pinpage_fork_waits(mm);
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

static inline unsigned int
pinpage_prepare(struct pinpage_batch **batchp, struct list_head *folios,
		struct list_head *refused, enum migrate_mode mode, int reason,
		int *nr_failed_pages)
{
	*batchp = NULL;
	return 0;
}

static inline int
pinpage_prepare_folio(struct pinpage_batch **batchp, struct folio *folio,
		      struct list_head *refused, enum migrate_mode mode,
		      int reason)
{
	*batchp = NULL;
	return 0;
}

static inline void pinpage_complete(struct pinpage_batch *batch)
{
}

static inline int pinpage_expected_refs(struct folio *folio)
{
	return 0;
}

static inline void pinpage_commit(struct folio *dst, struct folio *src)
{
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

static inline int pinpage_migrate_kernel(struct folio *dst, struct folio *src,
					 enum migrate_mode mode)
{
	return -EAGAIN;
}

static inline void pinpage_putback(struct folio *folio)
{
}

static inline bool pinpage_fork_waits(struct mm_struct *mm)
{
	return false;
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
#endif /* _MM_PINPAGE_HOOKS_H */
