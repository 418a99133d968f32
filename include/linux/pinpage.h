/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pinned pages that move: a subsystem that pins pages for long registers
 * callbacks, and compaction, CMA, memory offline and move_pages() ask it to
 * pause for a moment while its pages move, pins and all.
 */
#ifndef _LINUX_PINPAGE_H
#define _LINUX_PINPAGE_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/migrate_mode.h>
#include <linux/page-flags.h>
#include <linux/types.h>
#if defined(CONFIG_PINPAGE) && !defined(CONFIG_64BIT)
#include <linux/page_ext.h>
#endif

struct file;
struct module;
struct pinpage_chunk;
struct pinpage_set;
struct seq_file;

/**
 * struct pinpage_item - a run of pages that a callback is about
 * @page: the first page of the run, where it was when prepare() was called
 * @new: in complete(), where the first page is now; NULL: it stayed
 * @index: position of @page in the set, in pages
 * @nr: pages in the run; they lie in one folio, before and after the move
 */
struct pinpage_item {
	struct page *page;
	struct page *new;
	unsigned long index;
	unsigned int nr;
};

/**
 * struct pinpage_ops - what the owner of pinned pages does for a move
 * @prepare: Stop all access to the @nr items: fence, drain, unmap from the
 *	IOMMU, drop kernel mappings. Required. One call covers all items of the
 *	set in a migration batch, which ends with the folio that makes it 512
 *	pages or more.
 *
 *	Returns 0: every item is quiet, and stays so until complete().
 *	-EAGAIN: some item is in use now, nothing has changed; the core may ask
 *	again for fewer items at once. -EBUSY: the set can't pause, nothing has
 *	changed; the core does not ask again in this batch. Any other value is
 *	reported once and treated as -EBUSY.
 *
 *	Context: no folio, LRU, zone or page-table lock is held, but the caller
 *	may hold anything that is allowed around a memory allocation, mmap_lock
 *	and the owner's own locks among them: take locks with trylock only, or
 *	locks that are never held across an allocation. Runs in a
 *	memalloc_noio scope and must not need memory at all to succeed. May not
 *	sleep if @mode is MIGRATE_ASYNC; may sleep for up to the set's timeout
 *	otherwise. Must not call into pinpage.
 * @complete: The move is over: repoint, remap, resume. Required; can't fail.
 *	Called exactly once, with the same items, for each prepare() that
 *	returned 0. Same context as @prepare, same task.
 * @migrate: Move the content, and private, mapping, index and flags of the
 *	owner, of a kernel-owned folio from @src to @dst; afterwards @src is as
 *	alloc_pages() gave it, to be freed. Optional; the default copies the
 *	pages and moves the fields. Called between prepare() and complete(), of
 *	the set that holds the folio longest, with both folios locked and the
 *	reference count of @src frozen; otherwise as @prepare.
 *	Returns 0 or -EAGAIN, -EBUSY: nothing has changed, the folio stays.
 * @show: Print one line, without a newline, that tells a person whose set
 *	this is. Optional. May sleep; as for locks, it is a callback like the
 *	others, since clear_pinpage() waits for it.
 */
struct pinpage_ops {
	int (*prepare)(struct pinpage_set *set, struct pinpage_item *items,
		       unsigned int nr, enum migrate_mode mode);
	void (*complete)(struct pinpage_set *set, struct pinpage_item *items,
			 unsigned int nr);
	int (*migrate)(struct pinpage_set *set, struct folio *dst,
		       struct folio *src, enum migrate_mode mode);
	void (*show)(struct seq_file *m, struct pinpage_set *set);
};

/* What happened to the pages of a system, in pages; see pinpage_count(). */
enum pinpage_stat {
	PINPAGE_STAT_ASKED,
	PINPAGE_STAT_MOVED,
	PINPAGE_STAT_REFUSED,
	PINPAGE_STAT_TIMEDOUT,
	PINPAGE_STAT_FOREIGN,
	NR_PINPAGE_STATS,
};

/**
 * struct pinpage_system - a subsystem that pins pages
 * @name: its name in logs, counters and debugfs; unique
 * @owner: the module of the callbacks; it can't unload while a set lives
 * @ops: the callbacks
 */
struct pinpage_system {
	const char *name;
	struct module *owner;
	const struct pinpage_ops *ops;
	/* private: */
	struct list_head list;
	bool registered;
	unsigned long nr_sets;
	atomic_long_t stat[NR_PINPAGE_STATS];
};

/*
 * Flags of a set, for set_pinpage() and pinpage_pin_user().
 *
 * PINPAGE_KERNEL: the pages are the owner's own, from alloc_pages(): not on
 *	the LRU and not in a page cache. The owner holds one reference per
 *	folio and lends folio->lru and the folio lock to the core.
 * PINPAGE_GET: the owner holds plain references (get_page()) instead of pins.
 * PINPAGE_FOLIO: the owner holds one pin or reference per folio, as
 *	memfd_pin_folios() gives, not one per page, as pin_user_pages() does.
 * PINPAGE_UNMOVABLE: this set must not move after all. Nobody is ever asked;
 *	pinpage_pin_user() then pins like FOLL_LONGTERM, moving the pages out
 *	of CMA and ZONE_MOVABLE first.
 */
#define PINPAGE_KERNEL		BIT(0)
#define PINPAGE_GET		BIT(1)
#define PINPAGE_UNMOVABLE	BIT(2)
#define PINPAGE_FOLIO		BIT(3)

/*
 * How long a prepare() may take, in milliseconds, where a set does not say. A
 * few frames of video, or some seeks of a disk; a cma_alloc() asks five times.
 */
#define PINPAGE_TIMEOUT_MS	100

/**
 * struct pinpage_set - pages that one owner pins together
 * @timeout_ms: longest time that a prepare() may take, in milliseconds;
 *	0 means %PINPAGE_TIMEOUT_MS. To be set before the set is.
 *
 * Embed it, zeroed, in the structure that stands for the buffer. It is in use
 * from a successful set_pinpage() or pinpage_pin_user() until clear_pinpage()
 * or pinpage_unpin_user() returns.
 */
struct pinpage_set {
	unsigned int timeout_ms;
	/* private: */
	unsigned int flags;
	struct pinpage_system *system;
	struct pinpage_chunk *chunks;
	unsigned long nr_pages;
	atomic_t moves;
};

#ifdef CONFIG_PINPAGE

bool pinpage_enabled(void);
int register_pinpage(struct pinpage_system *system);
int register_pinpage_once(struct pinpage_system *system);
int unregister_pinpage(struct pinpage_system *system);
int set_pinpage(struct pinpage_system *system, struct pinpage_set *set,
		struct page **pages, unsigned long nr, unsigned int flags);
int clear_pinpage(struct pinpage_set *set, struct page **pages);
int pinpage_pin_user(struct pinpage_system *system, struct pinpage_set *set,
		     unsigned long start, unsigned long nr,
		     unsigned int gup_flags, unsigned int flags,
		     struct page **pages);
int pinpage_unpin_user(struct pinpage_set *set, bool make_dirty);
int pinpage_get_pages(struct pinpage_set *set, unsigned long index,
		      struct page **pages, unsigned long nr);
long pinpage_pin_memfd(struct file *memfd, loff_t start, loff_t end,
		       struct folio **folios, unsigned int max_folios,
		       pgoff_t *offset);

#ifndef CONFIG_64BIT
/* No page flag to spare: the bit stands in page_ext, as in page_idle.h. */
static inline bool folio_test_pinpage(const struct folio *folio)
{
	struct page_ext *page_ext = page_ext_get(&folio->page);
	bool set = false;

	if (likely(page_ext)) {
		set = test_bit(PAGE_EXT_PINPAGE, &page_ext->flags);
		page_ext_put(page_ext);
	}
	return set;
}

static inline void folio_set_pinpage(struct folio *folio)
{
	struct page_ext *page_ext = page_ext_get(&folio->page);

	if (likely(page_ext)) {
		set_bit(PAGE_EXT_PINPAGE, &page_ext->flags);
		page_ext_put(page_ext);
	}
}

static inline void folio_clear_pinpage(struct folio *folio)
{
	struct page_ext *page_ext = page_ext_get(&folio->page);

	if (likely(page_ext)) {
		clear_bit(PAGE_EXT_PINPAGE, &page_ext->flags);
		page_ext_put(page_ext);
	}
}
#endif /* !CONFIG_64BIT */
#else /* CONFIG_PINPAGE */
static inline bool pinpage_enabled(void)
{
	return false;
}
#endif /* CONFIG_PINPAGE */
#endif /* _LINUX_PINPAGE_H */
