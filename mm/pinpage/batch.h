/* SPDX-License-Identifier: GPL-2.0 */
/* A batch of pinned folios that move: migrate.c asks, move.c moves. */
#ifndef _MM_PINPAGE_BATCH_H
#define _MM_PINPAGE_BATCH_H

#include <linux/ktime.h>
#include <linux/migrate_mode.h>
#include <linux/wait.h>

#include "internal.h"

#define NONE		U32_MAX
#define OWNER_HASH_BITS	7
#define BATCH_PAGES	512

enum folio_state {
	FOLIO_TRY,		/* in this round, or the next one */
	FOLIO_CLAIMED,		/* its owners are asked */
	FOLIO_MOVED,
	FOLIO_STAYS,
	FOLIO_ORDINARY,		/* has no owners any more */
	FOLIO_GONE,		/* left the batch before the others */
};

/**
 * struct pinned_folio - a folio of a batch
 * @src: the folio, isolated
 * @dst: where it will go
 * @anon_vma: held while it moves
 * @claim: the first of its claims, which follow each other
 * @nr_claims: how many
 * @unquiet: of them, those whose owners are not quiet yet
 * @err: why it did not move when last tried
 * @state: what will become of it
 * @asks: how often its owners were asked
 * @kernel: it is kernel-owned
 * @own_dst: @dst is not from the caller of migrate_pages()
 * @ready: nothing has to be waited for, and it has a destination
 * @mapped: it was mapped before it moved
 * @mlocked: and locked in memory
 */
struct pinned_folio {
	struct folio *src, *dst;
	struct anon_vma *anon_vma;
	u32 claim, nr_claims, unquiet;
	int err;
	enum folio_state state;
	u8 asks;
	bool kernel, own_dst, ready, mapped, mlocked;
};

/* A claimed slot. */
struct pinned_claim {
	struct pinpage_slot *slot;
	u32 folio, owner;		/* of the batch */
	u32 next;			/* the owner's next claim, or NONE */
	u32 item;			/* of the owner, or NONE */
};

enum owner_state {
	OWNER_NEW,		/* not asked */
	OWNER_WAITING,		/* said -EINPROGRESS */
	OWNER_QUIET,
	OWNER_GIVEN_UP,		/* was not quiet in time */
	OWNER_REFUSED,		/* said -EBUSY, or was not asked after all */
	OWNER_DONE,		/* runs */
};

/* A set whose pause this batch has opened. */
struct pinned_owner {
	struct pinpage_set *set;
	u32 head, tail;			/* claims */
	u32 start, nr;			/* items */
	u32 pending;			/* of them, those not known to move or stay */
	u32 hash_next;			/* owner + 1, or 0 */
	u32 leader;			/* of its component */
	u32 sibling;			/* next in the component, or NONE */
	enum owner_state state;
	bool patient;			/* worth waiting for */
	ktime_t limit;			/* so long */
	ktime_t quiet;			/* since then; 0: not yet */
};

struct pinpage_batch {
	const struct pinpage_migration *mig;
	enum migrate_mode mode;
	wait_queue_head_t wait;
	bool news;			/* for @wait: look at the owners */
	ktime_t now;			/* when this round began to claim */
	bool busy;			/* another mover is in the way, ... */
	ktime_t when;			/* ... until then */
	ktime_t busy_until;		/* and is waited for until then */
	u32 nr_folios, nr_claims, nr_owners, nr_items, nr_waiting, nr_ready;
	u32 max_claims;
	int nr_failed;
	struct pinned_folio *folios;
	struct pinned_claim *claims;
	struct pinned_owner *owners;
	struct pinned_owner *last;	/* that find_owner() found */
	struct pinpage_set *not_now;	/* whose pause could not be opened in this pass */
	struct pinpage_item *items;	/* owner by owner */
	u16 ready[BATCH_PAGES];		/* folios whose owners are all quiet */
	u32 hash[1 << OWNER_HASH_BITS];
};

static inline struct pinned_folio *folios_end(struct pinpage_batch *batch)
{
	return batch->folios + batch->nr_folios;
}

static inline struct pinned_owner *owners_end(struct pinpage_batch *batch)
{
	return batch->owners + batch->nr_owners;
}

/* The owner that is asked together with @owner, after it. */
static inline struct pinned_owner *next_sibling(struct pinpage_batch *batch,
						struct pinned_owner *owner)
{
	return owner->sibling == NONE ? NULL : &batch->owners[owner->sibling];
}

/* move.c */
void pinpage_move_folios(struct pinpage_batch *batch);
void pinpage_moved_away(const struct pinpage_migration *mig,
			struct pinned_folio *f);

#endif /* _MM_PINPAGE_BATCH_H */
