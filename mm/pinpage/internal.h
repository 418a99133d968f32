/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mm/pinpage share. The rest of mm/ needs hooks.h only.
 *
 * Lock order: folio lock -> page-table lock -> stripe lock of the index ->
 * set->lock. Stripe locks are never taken in interrupt context; set->lock is.
 * pinpage_mutex (systems) and resize_mutex (index) are outermost and never held
 * around a callback. set->index_lock is taken outside of stripe locks.
 */
#ifndef _MM_PINPAGE_INTERNAL_H
#define _MM_PINPAGE_INTERNAL_H

#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pinpage.h>

#include "hooks.h"

/*
 * A slot stands for a run of pages of a set, within one folio: one pfn, and the
 * link that makes it findable by its folio. A million scattered pages are a
 * million slots, so the rest is packed beside the pfn:
 *
 *   nr       pages in the run; longer runs take several slots
 *   pos      position in the chunk, which leads to the set
 *   again    an earlier slot of the set is in this folio as well, and has the
 *            one reference, where the owner holds one per folio
 *   claimed  a mover counts the references of this slot as expected ones
 *
 * All of it changes under the stripe lock of the folio that the slot is in. A
 * slot that moves leaves one stripe before it enters the other; in between, and
 * while it is claimed, its mover is the only one to change it, and
 * clear_pinpage() waits for that mover.
 */
struct pinpage_slot {
	struct pinpage_slot *next;
	unsigned long pfn;
#ifndef CONFIG_64BIT
	unsigned long rest;
#endif
};

#define SLOT_NR_BITS	10
#define SLOT_POS_BITS	8
#ifdef CONFIG_64BIT
/* riscv64 has 56 bits of physical addresses, the most of all. */
#define SLOT_PFN_BITS	44
#else
#define SLOT_PFN_BITS	0
#endif
#define SLOT_NR_SHIFT	SLOT_PFN_BITS
#define SLOT_POS_SHIFT	(SLOT_NR_SHIFT + SLOT_NR_BITS)
#define SLOT_AGAIN	BIT(SLOT_POS_SHIFT + SLOT_POS_BITS)
#define SLOT_CLAIMED	BIT(SLOT_POS_SHIFT + SLOT_POS_BITS + 1)
#define SLOT_NR_MAX	((1U << SLOT_NR_BITS) - 1)

/* Slots are allocated in chunks of at most a 4 KiB page. */
struct pinpage_chunk {
	struct pinpage_chunk *next;
	struct pinpage_set *set;
	unsigned long index;		/* of the first page, in the set */
	unsigned int nr;		/* slots in use */
	bool singles;			/* every run is one page */
	struct pinpage_slot slots[];
};

/* What fits on 64-bit; on 32-bit, where slots are smaller, pos is the limit. */
#define CHUNK_SLOTS	254
static_assert(BIT(SLOT_POS_BITS) >= CHUNK_SLOTS);
static_assert(SLOT_POS_SHIFT + SLOT_POS_BITS + 2 <= BITS_PER_LONG);
static_assert(sizeof(struct pinpage_chunk) +
	      CHUNK_SLOTS * sizeof(struct pinpage_slot) <= SZ_4K);

/* A set that is never in the index: unmovable, evicted, or pinpage=off. */
#define PINPAGE_UNINDEXED	BIT(31)

#ifdef CONFIG_64BIT
#define SLOT_PFN_MASK	(BIT(SLOT_PFN_BITS) - 1)
#define slot_rest	pfn
#else
#define SLOT_PFN_MASK	ULONG_MAX
#define slot_rest	rest
#endif

static inline void slot_init(struct pinpage_slot *slot, unsigned long pfn,
			     unsigned int nr, unsigned int pos)
{
	slot->slot_rest = (unsigned long)nr << SLOT_NR_SHIFT |
			  (unsigned long)pos << SLOT_POS_SHIFT;
#ifdef CONFIG_64BIT
	slot->pfn |= pfn;
#else
	slot->pfn = pfn;
#endif
}

/* Only where memory may be that large does anybody have to look. */
static inline bool slot_can_hold(unsigned long pfn)
{
#ifdef MAX_PHYSMEM_BITS
	if (MAX_PHYSMEM_BITS - PAGE_SHIFT <= SLOT_PFN_BITS)
		return true;
#endif
	return !(pfn & ~SLOT_PFN_MASK);
}

static inline unsigned long slot_pfn(const struct pinpage_slot *slot)
{
	return READ_ONCE(slot->pfn) & SLOT_PFN_MASK;
}

/* The folio has moved by @distance pfns. */
static inline void slot_move(struct pinpage_slot *slot, long distance)
{
	WRITE_ONCE(slot->pfn, slot->pfn + distance);
}

static inline unsigned int slot_nr(const struct pinpage_slot *slot)
{
	return (READ_ONCE(slot->slot_rest) >> SLOT_NR_SHIFT) & SLOT_NR_MAX;
}

static inline unsigned int slot_pos(const struct pinpage_slot *slot)
{
	return (READ_ONCE(slot->slot_rest) >> SLOT_POS_SHIFT) &
	       ((1U << SLOT_POS_BITS) - 1);
}

static inline bool slot_claimed(const struct pinpage_slot *slot)
{
	return READ_ONCE(slot->slot_rest) & SLOT_CLAIMED;
}

static inline bool slot_again(const struct pinpage_slot *slot)
{
	return READ_ONCE(slot->slot_rest) & SLOT_AGAIN;
}

static inline void slot_claim(struct pinpage_slot *slot)
{
	WRITE_ONCE(slot->slot_rest, slot->slot_rest | SLOT_CLAIMED);
}

static inline void slot_unclaim(struct pinpage_slot *slot)
{
	WRITE_ONCE(slot->slot_rest, slot->slot_rest & ~SLOT_CLAIMED);
}

static inline struct pinpage_chunk *slot_chunk(struct pinpage_slot *slot)
{
	return container_of(slot - slot_pos(slot), struct pinpage_chunk,
			    slots[0]);
}

static inline struct pinpage_set *slot_set(struct pinpage_slot *slot)
{
	return slot_chunk(slot)->set;
}

/* How often @slot's owner holds its folio. */
static inline int slot_holds(const struct pinpage_slot *slot,
			     unsigned int flags)
{
	if (flags & (PINPAGE_KERNEL | PINPAGE_FOLIO))
		return !slot_again(slot);
	return slot_nr(slot);
}

/* The references that so many holds are. */
static inline int hold_refs(int holds, unsigned int flags, struct folio *folio)
{
	if ((flags & PINPAGE_KERNEL) || folio_test_large(folio))
		return holds;
	return holds * GUP_PIN_COUNTING_BIAS;
}

/* The references that @slot's owner holds on @folio. */
static inline int slot_refs(struct pinpage_slot *slot, struct folio *folio)
{
	unsigned int flags = slot_set(slot)->flags;

	return hold_refs(slot_holds(slot, flags), flags, folio);
}

/* Where the slots of a folio are found, while the stripe is locked. */
struct pinpage_bucket {
	struct pinpage_slot **head;
	unsigned long pfn, nr;		/* of the folio */
	spinlock_t *stripe;
};

static inline bool slot_is_in(const struct pinpage_slot *slot,
			      const struct pinpage_bucket *bucket)
{
	return slot_pfn(slot) - bucket->pfn < bucket->nr;
}

/* Walk the slots in a folio, newest first. */
static inline struct pinpage_slot *skip_others(struct pinpage_slot *slot,
					       const struct pinpage_bucket *bucket)
{
	while (slot && !slot_is_in(slot, bucket))
		slot = slot->next;
	return slot;
}

static inline struct pinpage_slot *
first_slot(const struct pinpage_bucket *bucket)
{
	lockdep_assert_held(bucket->stripe);
	return skip_others(*bucket->head, bucket);
}

static inline struct pinpage_slot *
next_slot(const struct pinpage_slot *slot, const struct pinpage_bucket *bucket)
{
	return skip_others(slot->next, bucket);
}

/* index.c */
void pinpage_index_lock(struct pinpage_bucket *bucket, struct folio *folio);
void pinpage_index_unlock(struct pinpage_bucket *bucket);
bool pinpage_index_fit(unsigned long nr, bool may_wait);
void pinpage_index_unfit(unsigned long nr);
int pinpage_index_insert(struct pinpage_chunk *chunk);
void pinpage_index_remove(struct pinpage_set *set);
struct pinpage_slot *pinpage_index_take(struct folio *folio);
void pinpage_index_give(struct folio *dst, struct folio *src,
			struct pinpage_slot *slots);
void pinpage_index_unclaim(struct pinpage_slot *slot);
int pinpage_index_enable(void);
unsigned long pinpage_index_memory(void);

/* core.c */
extern struct list_head pinpage_systems;
extern struct mutex pinpage_mutex;
unsigned long pinpage_run_index(struct pinpage_slot *slot);
void pinpage_set_live(struct pinpage_set *set, bool starting);
void pinpage_set_started(struct pinpage_set *set);
bool pinpage_set_get(struct pinpage_set *set);
bool pinpage_set_hold(struct pinpage_set *set);
bool pinpage_set_leaves(struct pinpage_set *set);
void pinpage_set_put(struct pinpage_set *set);

/* lazy.c */
extern bool pinpage_index_at_once;
int pinpage_lazy_start(struct pinpage_set *set, struct page **pages);
void pinpage_lazy_stop(struct pinpage_set *set);
void pinpage_lazy_free(struct pinpage_set *set);
struct page *pinpage_lazy_page(struct pinpage_set *set, unsigned long index);
void pinpage_lazy_unpin(struct pinpage_set *set, bool make_dirty);
int pinpage_index_set(struct pinpage_set *set);

/* pause.c */
enum pinpage_pause {
	PAUSE_NONE,		/* or a batch is going to ask */
	PAUSE_ASKED,		/* prepare() was called */
	PAUSE_QUIET,		/* and pinpage_quiet() after it */
};

void pinpage_pause_init(struct pinpage_set *set);
int pinpage_pause_open(struct pinpage_set *set, struct pinpage_batch *batch,
		       ktime_t now, ktime_t *when);
void pinpage_pause_ask(struct pinpage_set *set);
void pinpage_pause_close(struct pinpage_set *set);
bool pinpage_worth_waiting(struct pinpage_set *set);
void pinpage_note_quiet(struct pinpage_set *set, bool waited);
void pinpage_note_vain(struct pinpage_set *set, bool waited);

/* migrate.c */
bool pinpage_compaction(void);
void pinpage_batch_wake(struct pinpage_batch *batch);
struct pinpage_batch *pinpage_no_batch(void);

/* move.c */
void __pinpage_commit(struct folio *dst, struct folio *src);

/* kernel.c */
int pinpage_migrate_kernel(struct folio *dst, struct folio *src,
			   enum migrate_mode mode);

/* evict.c */
void pinpage_evict_later(struct pinpage_set *set);
void pinpage_evict_not(struct pinpage_set *set, bool leaves);

/* Position of the first page of @slot in its set, in pages. */
static inline unsigned long slot_index(struct pinpage_slot *slot)
{
	struct pinpage_chunk *chunk = slot_chunk(slot);

	return chunk->singles ? chunk->index + slot_pos(slot) :
				pinpage_run_index(slot);
}

/* stat.c */
void pinpage_count(struct pinpage_set *set, enum pinpage_stat stat,
		   unsigned int nr);

void pinpage_count_pause(struct pinpage_system *system, u64 ns);

/* lockdep.c: what is done in a pause, and in a callback. */
#ifdef CONFIG_LOCKDEP
void pinpage_move_enter(void);
void pinpage_move_exit(void);
void __pinpage_callback_enter(void);
void __pinpage_callback_exit(void);
#else
static inline void pinpage_move_enter(void) { }
static inline void pinpage_move_exit(void) { }
static inline void __pinpage_callback_enter(void) { }
static inline void __pinpage_callback_exit(void) { }
#endif

/* A callback must not sleep. */
static inline void pinpage_callback_enter(void)
{
	non_block_start();
	__pinpage_callback_enter();
}

static inline void pinpage_callback_exit(void)
{
	__pinpage_callback_exit();
	non_block_end();
}

#endif /* _MM_PINPAGE_INTERNAL_H */
