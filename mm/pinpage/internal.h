/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mm/pinpage share. The rest of mm/ needs hooks.h only.
 *
 * Lock order: folio lock -> page-table lock -> stripe lock of the index.
 * Nothing is taken inside a stripe lock, which is never taken in interrupt
 * context. pinpage_mutex (systems) and resize_mutex (index) are outermost and
 * never held around a callback.
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
 * million slots, so the rest is packed into the word beside the pfn:
 *
 *   pfn      where the run begins; 40 bits are the physical address space of
 *            every 64-bit architecture with 4 KiB pages
 *   nr       pages in the run; longer runs take several slots
 *   pos      position in the chunk, which leads to the set
 *   again    an earlier slot of the set is in this folio as well, and has the
 *            one reference, where the owner holds one per folio
 *   refused  its owner would not let it move when last asked
 *   claimed  a migration batch counts the references of this slot as its own
 *
 * @next changes under the stripe lock of the folio that the slot is in. So does
 * @where until it is claimed; then it is the batch's, which clear_pinpage()
 * waits for. A slot that moves leaves one stripe before it enters the other.
 */
struct pinpage_slot {
	struct pinpage_slot *next;
	u64 where;
};

#define SLOT_PFN_BITS	40
#define SLOT_NR_BITS	13
#define SLOT_POS_BITS	8
#define SLOT_NR_SHIFT	SLOT_PFN_BITS
#define SLOT_POS_SHIFT	(SLOT_NR_SHIFT + SLOT_NR_BITS)
#define SLOT_AGAIN	BIT_ULL(SLOT_POS_SHIFT + SLOT_POS_BITS)
#define SLOT_REFUSED	BIT_ULL(SLOT_POS_SHIFT + SLOT_POS_BITS + 1)
#define SLOT_CLAIMED	BIT_ULL(SLOT_POS_SHIFT + SLOT_POS_BITS + 2)
#define SLOT_PFN_MASK	(BIT_ULL(SLOT_PFN_BITS) - 1)
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
static_assert(sizeof(struct pinpage_chunk) +
	      CHUNK_SLOTS * sizeof(struct pinpage_slot) <= SZ_4K);

/* A set that is not in the index: unmovable, or pinpage=off. */
#define PINPAGE_UNINDEXED	BIT(31)

static inline u64 slot_where(unsigned long pfn, unsigned int nr,
			     unsigned int pos)
{
	return pfn | (u64)nr << SLOT_NR_SHIFT | (u64)pos << SLOT_POS_SHIFT;
}

static inline unsigned long slot_pfn(const struct pinpage_slot *slot)
{
	return READ_ONCE(slot->where) & SLOT_PFN_MASK;
}

static inline unsigned int slot_nr(const struct pinpage_slot *slot)
{
	return (READ_ONCE(slot->where) >> SLOT_NR_SHIFT) & SLOT_NR_MAX;
}

static inline unsigned int slot_pos(const struct pinpage_slot *slot)
{
	return (READ_ONCE(slot->where) >> SLOT_POS_SHIFT) &
	       ((1U << SLOT_POS_BITS) - 1);
}

static inline bool slot_claimed(const struct pinpage_slot *slot)
{
	return READ_ONCE(slot->where) & SLOT_CLAIMED;
}

static inline bool slot_refused(const struct pinpage_slot *slot)
{
	return READ_ONCE(slot->where) & SLOT_REFUSED;
}

/* What the owner of a claimed slot has said. */
static inline void slot_set_refused(struct pinpage_slot *slot, bool refused)
{
	if (slot_refused(slot) != refused)
		WRITE_ONCE(slot->where, slot->where ^ SLOT_REFUSED);
}

/*
 * The batch is done with @slot. The next one to claim it, which finds it under
 * the stripe lock, must see what complete() has done: after smp_mb().
 */
static inline void slot_unclaim(struct pinpage_slot *slot)
{
	WRITE_ONCE(slot->where, slot->where & ~SLOT_CLAIMED);
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
		return !(READ_ONCE(slot->where) & SLOT_AGAIN);
	return slot_nr(slot);
}

/* The references that so many holds are. */
static inline int hold_refs(int holds, unsigned int flags, struct folio *folio)
{
	if ((flags & (PINPAGE_KERNEL | PINPAGE_GET)) || folio_test_large(folio))
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
int pinpage_index_insert(struct pinpage_set *set);
void pinpage_index_remove(struct pinpage_set *set);
struct pinpage_slot *pinpage_index_take(struct folio *folio);
void pinpage_index_give(struct folio *dst, struct folio *src,
			struct pinpage_slot *slots);
int pinpage_index_enable(void);
unsigned long pinpage_index_memory(void);

/* core.c */
extern struct list_head pinpage_systems;
extern struct mutex pinpage_mutex;
unsigned long run_index(struct pinpage_slot *slot);
bool pinpage_set_get(struct pinpage_set *set);
void pinpage_set_put(struct pinpage_set *set);

/* Position of the first page of @slot in its set, in pages. */
static inline unsigned long slot_index(struct pinpage_slot *slot)
{
	struct pinpage_chunk *chunk = slot_chunk(slot);

	return chunk->singles ? chunk->index + slot_pos(slot) : run_index(slot);
}

/* stat.c */
void pinpage_count(struct pinpage_set *set, enum pinpage_stat stat,
		   unsigned int nr);

/* lockdep.c */
#ifdef CONFIG_LOCKDEP
void pinpage_callback_enter(void);
void pinpage_callback_exit(void);
#else
static inline void pinpage_callback_enter(void)
{
}

static inline void pinpage_callback_exit(void)
{
}
#endif

#endif /* _MM_PINPAGE_INTERNAL_H */
