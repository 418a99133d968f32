/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pinned pages that move: a subsystem that pins pages for long registers
 * callbacks, and compaction, CMA, memory offline and move_pages() ask it to
 * pause for a moment while its pages move, pins and all.
 */
#ifndef _LINUX_PINPAGE_H
#define _LINUX_PINPAGE_H

#include <linux/atomic.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/migrate_mode.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/nodemask_types.h>
#include <linux/page-flags.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#if defined(CONFIG_PINPAGE) && !defined(CONFIG_64BIT)
#include <linux/page_ext.h>
#endif

struct file;
struct mem_cgroup;
struct module;
struct pinpage_batch;
struct pinpage_chunk;
struct pinpage_set;
struct pinpage_slice;
struct seq_file;

/**
 * struct pinpage_item - a run of pages that a callback is about
 * @page: the first page of the run, where it was when prepare() was called
 * @new: in prepare(), where the first page will be if it moves; in complete(),
 *	where it is now, or NULL where it stayed
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
 *	IOMMU, drop kernel mappings. A driver that has to map the pages for its
 *	device maps @items->new here, since complete() can't fail. Required.
 *	One call covers all items of the set in a batch, 512 pages or the folio
 *	that exceeds them.
 *
 *	Returns 0: every item is quiet, and stays so until complete().
 *	-EINPROGRESS: access is ending; pinpage_quiet() follows when it has
 *	ended. It may come before prepare() has returned. -EBUSY: the set can't
 *	pause, and nothing has changed. Any other value is reported once and
 *	treated as -EBUSY.
 * @complete: Go on: repoint, remap, resume. Required; can't fail. Called
 *	exactly once, with the same items, for each prepare() that did not
 *	return -EBUSY: when the pages have moved or stay, or when the core does
 *	not wait for pinpage_quiet() any longer. Then all @items->new are NULL,
 *	and access that has not ended may go on.
 * @migrate: Move the content, and private, mapping, index and flags of the
 *	owner, of a kernel-owned folio from @src to @dst; afterwards @src is as
 *	alloc_pages() gave it, to be freed. Optional; the default copies the
 *	pages and moves the fields. Called between prepare() and complete(), of
 *	the set that holds the folio longest, with both folios locked and the
 *	reference count of @src frozen. @mode is %MIGRATE_ASYNC.
 *	Returns 0 or -EAGAIN, -EBUSY: nothing has changed, the folio stays.
 * @show: Print one line, without a newline, that tells a person whose set
 *	this is. Optional.
 *
 * Context, of all of them: Task context. Callbacks do not sleep, do not need
 * memory, and take no lock that is held anywhere while memory is allocated,
 * for the caller may be such an allocation. They do not call into pinpage, but
 * for pinpage_quiet() and pinpage_gate_close(), pinpage_gate_open(). Lockdep and
 * DEBUG_ATOMIC_SLEEP check this. A set has one pause open at a time, and after
 * it runs for at least as long as the pause took.
 */
struct pinpage_ops {
	int (*prepare)(struct pinpage_set *set, struct pinpage_item *items,
		       unsigned int nr);
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

/* Pauses are counted by their length: from 2^(n / 4) ns on, for the bucket n. */
#define PINPAGE_PAUSE_BUCKETS	128

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
	atomic_long_t nr_evicted;
	atomic_long_t nr_lazy, nr_stuck;
	atomic_long_t stat[NR_PINPAGE_STATS];
	atomic_long_t pauses[PINPAGE_PAUSE_BUCKETS];
	atomic64_t longest;
};

/*
 * Flags of a set, for set_pinpage() and pinpage_pin_user().
 *
 * PINPAGE_KERNEL: the pages are the owner's own, from alloc_pages(): not on
 *	the LRU and not in a page cache. The owner holds one reference per
 *	folio and lends folio->lru and the folio lock to the core.
 * PINPAGE_FOLIO: the owner holds one pin per folio, as memfd_pin_folios()
 *	gives, not one per page, as pin_user_pages() does.
 * PINPAGE_UNMOVABLE: this set must not move after all. Nobody is ever asked;
 *	pinpage_pin_user() then pins like FOLL_LONGTERM, moving the pages out
 *	of CMA and ZONE_MOVABLE first.
 */
#define PINPAGE_KERNEL		BIT(0)
#define PINPAGE_UNMOVABLE	BIT(1)
#define PINPAGE_FOLIO		BIT(2)

/*
 * How long the core waits for a set to become quiet, in milliseconds, where the
 * set does not say, and at most. The default is a few frames of video, or some
 * seeks of a disk.
 */
#define PINPAGE_TIMEOUT_MS	100
#define PINPAGE_TIMEOUT_MAX_MS	1000

/**
 * struct pinpage_set - pages that one owner pins together
 * @timeout_ms: longest time from -EINPROGRESS to pinpage_quiet(), in
 *	milliseconds; 0 means %PINPAGE_TIMEOUT_MS, and more than
 *	%PINPAGE_TIMEOUT_MAX_MS is that
 * @limit: highest physical address that a page may move to, such as the mask
 *	of a DMA device without an IOMMU; 0: none
 * @nodes: nodes that a page may move to; NULL: any
 *
 * Embed it, zeroed, in the structure that stands for the buffer; the fields
 * above are to be set before the set is. It is in use from a successful
 * set_pinpage() or pinpage_pin_user() until clear_pinpage() or
 * pinpage_unpin_user() returns.
 */
struct pinpage_set {
	unsigned int timeout_ms;
	phys_addr_t limit;
	const nodemask_t *nodes;
	/* private: */
	unsigned int flags;
	struct pinpage_system *system;
	struct pinpage_chunk *chunks, *last_chunk;
	struct page **pages;		/* without slots; NULL where there is one */
	struct pinpage_slice *slices;
	struct mem_cgroup *memcg;
	struct mutex index_lock;	/* protects pages, slices, and the growing list of chunks */
	struct list_head lazy;
	u64 born;
	unsigned int walkers;
	bool starting;
	unsigned long nr_pages, nr_lazy, nr_stuck, nr_indexed;
	atomic_t moves;
	unsigned int vain;
	unsigned long evict_at;
	struct list_head evict;
	kuid_t user;
	spinlock_t lock;		/* protects state and batch */
	unsigned int state;
	struct pinpage_batch *batch;
	unsigned long refuses;
	unsigned int evict_run;
	bool evicting;
	ktime_t began, quieted, rests, retry;
};

/**
 * struct pinpage_gate - counts those who access the pages of a set
 * @users: tasks, requests or devices that access the pages now, plus
 *	%PINPAGE_GATE_OPEN unless a pause is open
 * @set: the set
 *
 * For a driver whose pages are quiet when nobody uses them: prepare() returns
 * pinpage_gate_close(), complete() calls pinpage_gate_open().
 */
struct pinpage_gate {
	atomic_t users;
	struct pinpage_set *set;
};

#define PINPAGE_GATE_OPEN	0x40000000

static inline void pinpage_gate_init(struct pinpage_gate *gate,
				     struct pinpage_set *set)
{
	atomic_set(&gate->users, PINPAGE_GATE_OPEN);
	gate->set = set;
}

/**
 * pinpage_repoint - bring an owner's array of pages up to date, in complete()
 * @pages: the array, by position in the set
 * @items: as given to complete()
 * @nr: likewise
 */
static inline void pinpage_repoint(struct page **pages,
				   const struct pinpage_item *items,
				   unsigned int nr)
{
	unsigned int i, j;

	for (i = 0; i < nr; i++)
		for (j = 0; items[i].new && j < items[i].nr; j++)
			pages[items[i].index + j] = nth_page(items[i].new, j);
}

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
void pinpage_quiet(struct pinpage_set *set);
void __pinpage_gate_quiet(struct pinpage_gate *gate);
int pinpage_gate_close(struct pinpage_gate *gate);
void pinpage_gate_open(struct pinpage_gate *gate);
int pinpage_gate_enter_wait(struct pinpage_gate *gate, unsigned int state);
long pinpage_pin_memfd(struct file *memfd, loff_t start, loff_t end,
		       struct folio **folios, unsigned int max_folios,
		       pgoff_t *offset);

/**
 * pinpage_gate_leave - take back pinpage_gate_enter()
 * @gate: the gate; its set stays in use until this has returned
 *
 * Context: Any.
 */
static inline void pinpage_gate_leave(struct pinpage_gate *gate)
{
	if (unlikely(atomic_dec_and_test(&gate->users)))
		__pinpage_gate_quiet(gate);
}

/**
 * pinpage_gate_enter - the pages are accessed, until pinpage_gate_leave()
 * @gate: the gate
 *
 * Context: Any.
 * Return: true; false where a pause is open, and the pages must not be accessed.
 */
static inline bool pinpage_gate_enter(struct pinpage_gate *gate)
{
	if (likely(atomic_fetch_inc(&gate->users) >= PINPAGE_GATE_OPEN))
		return true;
	pinpage_gate_leave(gate);
	return false;
}

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
