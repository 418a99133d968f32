// SPDX-License-Identifier: GPL-2.0
/*
 * The index of pinned pages: from a folio to the slots of all sets in it.
 *
 * A page that is pinned, scattered and small costs its slot (16 bytes) and half
 * a bucket (4 to 8 bytes). An xarray would cost a node of 576 bytes per
 * scattered page, and rhashtable 35 to 45 bytes a page; both were considered.
 *
 * The 64 pages of a block, an aligned one, stand in the 64 buckets of a block:
 * for pages side by side, hash and lock are found once for all of them.
 *
 * The table grows and shrinks by one block at a time (linear hashing): with n
 * buckets, 2^L <= n < 2^(L+1), the bucket of a hash is its low L+1 bits or,
 * where that bucket does not exist yet, its low L bits. Adding the block at
 * bucket n splits the one at n - 2^L, and nothing else.
 *
 * A stripe lock protects all blocks with the same value in the STRIPE_BITS
 * above LOW_BITS of the hash. There are at least MIN_BUCKETS, so a block and
 * the one that it is split into belong to the same stripe: a resize takes one
 * stripe lock at a time. That is also why nr_buckets can be read under any
 * stripe lock, though a resize holding another one may change it: the value
 * before and after lead to the same bucket, except for the hashes of the block
 * that is being split, whose stripe the resize holds.
 */
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "internal.h"

#define LOW_BITS	6
#define BLOCK		BIT(LOW_BITS)
#define STRIPE_BITS	6
#define NR_STRIPES	BIT(STRIPE_BITS)
#define MIN_BITS	(LOW_BITS + STRIPE_BITS)
#define MIN_BUCKETS	BIT(MIN_BITS)
#define MAX_BUCKETS	BIT(31)
#define NR_SEGMENTS	(31 - MIN_BITS + 1)

/* Slots per bucket at which the table grows. */
#define LOAD		2

static struct {
	spinlock_t lock;	/* see above */
} ____cacheline_aligned_in_smp stripes[NR_STRIPES] = {
	[0 ... NR_STRIPES - 1] = {
		.lock = __SPIN_LOCK_UNLOCKED(stripes.lock),
	},
};

/*
 * Segment 0 has the first MIN_BUCKETS; each segment after it has as many as all
 * before it together. Changed under resize_mutex.
 */
static struct pinpage_slot **segments[NR_SEGMENTS];
static unsigned long nr_buckets;
static atomic_long_t nr_slots;
static DEFINE_MUTEX(resize_mutex);

static u32 hash_block(unsigned long block)
{
	/* The upper half: hash_64() on 32-bit leaves low bits unmixed. */
	return (block * GOLDEN_RATIO_64) >> 32;
}

/* Rotated by block, or huge pages would all share one place. */
static unsigned int place_in_block(unsigned long pfn, u32 hash)
{
	return (pfn + (hash >> (32 - LOW_BITS))) & (BLOCK - 1);
}

static u32 index_hash(unsigned long pfn)
{
	u32 hash = hash_block(pfn >> LOW_BITS);

	return hash << LOW_BITS | place_in_block(pfn, hash);
}

static spinlock_t *hash_stripe(u32 hash)
{
	return &stripes[(hash >> LOW_BITS) & (NR_STRIPES - 1)].lock;
}

static __always_inline struct pinpage_slot **bucket_at(unsigned long b)
{
	unsigned int bit;

	if (b < MIN_BUCKETS)
		return &segments[0][b];
	bit = __fls(b);
	return &segments[bit - MIN_BITS + 1][b - BIT(bit)];
}

/* Caller holds the stripe lock of @hash. */
static __always_inline struct pinpage_slot **hash_bucket(u32 hash)
{
	unsigned long n = READ_ONCE(nr_buckets);
	unsigned long high = 1UL << __fls(n - 1);
	unsigned long b = hash & (high | (high - 1));

	if (b >= n)
		b ^= high;
	return bucket_at(b);
}

static __always_inline struct folio *slot_folio(const struct pinpage_slot *slot)
{
	/* A word that lru has, too, while the bit that is read stays. */
	return data_race(page_folio(pfn_to_page(slot_pfn(slot))));
}

static __always_inline struct pinpage_bucket
folio_bucket(struct pinpage_slot **head, struct folio *folio)
{
	return (struct pinpage_bucket) {
		.head = head,
		.pfn = folio_pfn(folio),
		.nr = folio_nr_pages(folio),
	};
}

/**
 * pinpage_index_lock - find the slots of a folio
 * @bucket: where to store what first_slot() and next_slot() want
 * @folio: the folio
 *
 * Context: Any but interrupt; takes a spinlock, until pinpage_index_unlock().
 * Something must be registered, or the index does not exist.
 */
void pinpage_index_lock(struct pinpage_bucket *bucket, struct folio *folio)
	__acquires(bucket->stripe)
{
	u32 hash = index_hash(folio_pfn(folio));
	spinlock_t *stripe = hash_stripe(hash);

	spin_lock(stripe);
	*bucket = folio_bucket(hash_bucket(hash), folio);
	bucket->stripe = stripe;
}

void pinpage_index_unlock(struct pinpage_bucket *bucket)
	__releases(bucket->stripe)
{
	spin_unlock(bucket->stripe);
}

/* Take @stripe in place of @held. */
static noinline spinlock_t *change_stripe(spinlock_t *held, spinlock_t *stripe)
{
	/* Sparse can't know which of the two is held: balance it here. */
	if (held) {
		spin_unlock(held);
		__acquire(held);
		cond_resched();
	}
	if (stripe) {
		spin_lock(stripe);
		__release(stripe);
	}
	return stripe;
}

/* The block that was used last, whose stripe is locked; none to begin with. */
struct index_block {
	unsigned long nr;
	u32 hash;
	struct pinpage_slot **buckets;
	spinlock_t *stripe;	/* of this block; locked, or NULL */
};

#define NO_BLOCK ((struct index_block) { .nr = ULONG_MAX })

static noinline void change_block(struct index_block *block, unsigned long nr)
{
	u32 hash = hash_block(nr);
	spinlock_t *stripe = hash_stripe(hash << LOW_BITS);

	if (block->stripe != stripe)
		block->stripe = change_stripe(block->stripe, stripe);
	block->nr = nr;
	block->hash = hash;
	block->buckets = hash_bucket(hash << LOW_BITS);
}

static void leave_block(struct index_block *block)
{
	change_stripe(block->stripe, NULL);
	*block = NO_BLOCK;
}

/* The bucket of @pfn; its stripe is locked until another one is. */
static __always_inline struct pinpage_slot **
block_bucket(struct index_block *block, unsigned long pfn)
{
	if (unlikely(pfn >> LOW_BITS != block->nr))
		change_block(block, pfn >> LOW_BITS);
	return &block->buckets[place_in_block(pfn, block->hash)];
}

/* Does @slot clash with others in its folio? Is it the set's first one there? */
static noinline int check_slot(struct pinpage_slot **head, spinlock_t *stripe,
			       struct folio *folio, struct pinpage_slot *slot)
{
	struct pinpage_bucket bucket = folio_bucket(head, folio);
	struct pinpage_set *set = slot_set(slot);
	unsigned long pfn = slot_pfn(slot);
	struct pinpage_slot *other;

	bucket.stripe = stripe;
	for (other = first_slot(&bucket); other;
	     other = next_slot(other, &bucket)) {
		if ((slot_set(other)->flags ^ set->flags) & PINPAGE_KERNEL)
			return -EINVAL;
		if (slot_set(other) != set)
			continue;
		/* A pin for each page may well be several for one page. */
		if ((set->flags & (PINPAGE_KERNEL | PINPAGE_FOLIO)) &&
		    slot_pfn(other) < pfn + slot_nr(slot) &&
		    pfn < slot_pfn(other) + slot_nr(other))
			return -EEXIST;
		slot->slot_rest |= SLOT_AGAIN;
	}
	return 0;
}

static __always_inline int insert_slot(struct pinpage_slot *slot,
				       struct index_block *block)
{
	struct folio *folio = slot_folio(slot);
	struct pinpage_slot **head = block_bucket(block, folio_pfn(folio));
	int err;

	if (folio_test_pinpage(folio)) {
		err = check_slot(head, block->stripe, folio, slot);
		if (err)
			return err;
	} else {
		folio_set_pinpage(folio);
	}
	slot->next = *head;
	*head = slot;
	return 0;
}

/* Unlink @slot, which is behind *@link; the last one in a folio takes the flag. */
static __always_inline void unlink_slot(struct pinpage_slot **link,
					struct pinpage_slot *slot,
					struct folio *folio)
{
	struct pinpage_bucket bucket = folio_bucket(link, folio);
	struct pinpage_slot *other;
	bool last = true;

	for (; (other = *link) != slot; link = &other->next)
		last = last && !slot_is_in(other, &bucket);
	*link = slot->next;
	if (last && !skip_others(slot->next, &bucket))
		folio_clear_pinpage(folio);
}

/*
 * Isolated, its lru field is in use by a mover that has not asked us yet. It
 * will learn that the set is leaving, and put the folio back.
 */
static void wait_isolated(struct index_block *block, struct folio *folio)
{
	leave_block(block);
	wait_var_event(folio, !folio_test_isolated(folio));
}

static __always_inline void remove_slot(struct pinpage_slot *slot, bool kernel,
					struct index_block *block)
{
	struct folio *folio = slot_folio(slot);
	unsigned long pfn = folio_pfn(folio);
	struct pinpage_slot **head;

	head = block_bucket(block, pfn);
	while (kernel && folio_test_isolated(folio)) {
		wait_isolated(block, folio);
		head = block_bucket(block, pfn);
	}
	unlink_slot(head, slot, folio);
}

/**
 * pinpage_index_take - take the slots of a folio out of the index
 * @folio: the folio, whose slots are all claimed
 *
 * Context: Any but interrupt.
 * Return: The slots, linked in order.
 */
struct pinpage_slot *pinpage_index_take(struct folio *folio)
{
	struct pinpage_slot *slots = NULL, **tail = &slots, **link, *slot;
	struct pinpage_bucket bucket;

	pinpage_index_lock(&bucket, folio);
	link = bucket.head;
	while ((slot = *link)) {
		if (!slot_is_in(slot, &bucket)) {
			link = &slot->next;
			continue;
		}
		/* Its reference would have kept the folio where it was. */
		if (WARN_ON_ONCE(!slot_claimed(slot))) {
			link = &slot->next;
			continue;
		}
		*link = slot->next;
		*tail = slot;
		tail = &slot->next;
	}
	*tail = NULL;
	folio_clear_pinpage(folio);
	pinpage_index_unlock(&bucket);
	return slots;
}

/**
 * pinpage_index_give - put slots into the index under another folio
 * @dst: the folio that they are in now
 * @src: the folio that they were in
 * @slots: from pinpage_index_take(@src)
 *
 * Context: Any but interrupt.
 */
void pinpage_index_give(struct folio *dst, struct folio *src,
			struct pinpage_slot *slots)
{
	struct pinpage_slot **tail = &slots, *slot;
	struct pinpage_bucket bucket;

	if (!slots)
		return;
	for (slot = slots; slot; slot = slot->next) {
		slot_move(slot, folio_pfn(dst) - folio_pfn(src));
		tail = &slot->next;
	}
	pinpage_index_lock(&bucket, dst);
	*tail = *bucket.head;
	*bucket.head = slots;
	folio_set_pinpage(dst);
	pinpage_index_unlock(&bucket);
}

/**
 * pinpage_index_unclaim - a mover is done with a slot
 * @slot: the slot, which that mover has claimed
 *
 * Who claims it next sees, by the stripe lock, what complete() has done.
 *
 * Context: Any but interrupt.
 */
void pinpage_index_unclaim(struct pinpage_slot *slot)
{
	struct pinpage_bucket bucket;

	pinpage_index_lock(&bucket, slot_folio(slot));
	slot_unclaim(slot);
	pinpage_index_unlock(&bucket);
}

static void remove_slots(struct pinpage_set *set)
{
	bool kernel = set->flags & PINPAGE_KERNEL;
	struct pinpage_chunk *chunk;
	struct index_block block = NO_BLOCK;
	unsigned int i;

	for (chunk = set->chunks; chunk; chunk = chunk->next)
		for (i = 0; i < chunk->nr; i++)
			remove_slot(&chunk->slots[i], kernel, &block);
	leave_block(&block);
}

/* Append to @to the slots of @from whose hash has the bit @high, in order. */
static void split_bucket(struct pinpage_slot **from, struct pinpage_slot **to,
			 unsigned long high)
{
	struct pinpage_slot *slot;

	while ((slot = *from)) {
		if (index_hash(folio_pfn(slot_folio(slot))) & high) {
			*from = slot->next;
			*to = slot;
			to = &slot->next;
		} else {
			from = &slot->next;
		}
	}
	*to = NULL;
}

/* Make the block at bucket n exist, out of a lower one that has its slots. */
static void add_block(unsigned long n)
{
	unsigned long high = 1UL << (fls_long(n) - 1), i;
	spinlock_t *stripe = hash_stripe(n);

	spin_lock(stripe);
	for (i = n; i < n + BLOCK; i++)
		split_bucket(bucket_at(i - high), bucket_at(i), high);
	WRITE_ONCE(nr_buckets, n + BLOCK);
	spin_unlock(stripe);
}

static void join_buckets(struct pinpage_slot **to, struct pinpage_slot **from)
{
	while (*to)
		to = &(*to)->next;
	*to = *from;
	*from = NULL;
}

/* The reverse. */
static void drop_block(unsigned long n)
{
	unsigned long high = 1UL << (fls_long(n) - 1), i;
	spinlock_t *stripe = hash_stripe(n);

	spin_lock(stripe);
	for (i = n; i < n + BLOCK; i++)
		join_buckets(bucket_at(i - high), bucket_at(i));
	WRITE_ONCE(nr_buckets, n);
	spin_unlock(stripe);
}

static unsigned long segment_size(unsigned int segment)
{
	return MIN_BUCKETS << (segment ? segment - 1 : 0);
}

static int add_segment(unsigned int segment, gfp_t gfp)
{
	if (segments[segment])
		return 0;
	segments[segment] = kvcalloc(segment_size(segment),
				     sizeof(segments[0][0]),
				     gfp | __GFP_NOWARN);
	return segments[segment] ? 0 : -ENOMEM;
}

static void grow(unsigned long want, gfp_t gfp)
{
	unsigned long n;

	for (n = nr_buckets; n < want; n += BLOCK) {
		if (add_segment(fls_long(n >> MIN_BITS), gfp))
			return;
		add_block(n);
		cond_resched();
	}
}

/* Without a slot in the table there is nothing to split. */
static void grow_empty(unsigned long want, gfp_t gfp)
{
	unsigned int segment = fls_long(nr_buckets >> MIN_BITS);

	while (nr_buckets < want && !add_segment(segment, gfp)) {
		/*
		 * Pairs with the address dependency in hash_bucket(), of
		 * somebody who looks for what was there a moment ago.
		 */
		smp_store_release(&nr_buckets,
				  min(want, MIN_BUCKETS << segment));
		segment++;
	}
}

/* Look-ups that began with the size of before are over. */
static void wait_for_lookups(void)
{
	unsigned int i;

	for (i = 0; i < NR_STRIPES; i++) {
		spin_lock(&stripes[i].lock);
		spin_unlock(&stripes[i].lock);
	}
}

static void shrink(unsigned long want, bool empty)
{
	unsigned int segment;
	unsigned long n;

	if (empty) {
		WRITE_ONCE(nr_buckets, want);
		wait_for_lookups();
	}
	for (n = nr_buckets; n > want; cond_resched())
		drop_block(n -= BLOCK);
	for (segment = fls_long((want - 1) >> MIN_BITS) + 1;
	     segment < NR_SEGMENTS; segment++) {
		kvfree(segments[segment]);
		segments[segment] = NULL;
	}
}

static unsigned long buckets_for(unsigned long slots)
{
	return clamp(round_down(slots / LOAD, BLOCK), MIN_BUCKETS, MAX_BUCKETS);
}

/*
 * Make room in the table. Best effort: without memory for more buckets the chains
 * grow longer. Slots are counted before they are inserted and after they were
 * removed: counting none means that there is none.
 *
 * Return: false where that would take waiting, and nothing has changed.
 */
bool pinpage_index_fit(unsigned long nr, bool may_wait)
{
	gfp_t gfp = may_wait ? GFP_KERNEL : GFP_NOWAIT | __GFP_NOMEMALLOC;
	unsigned long slots, want;

	/* Whoever holds it may be waiting for a reclaim that waits for us. */
	if (may_wait)
		mutex_lock(&resize_mutex);
	else if (!mutex_trylock(&resize_mutex))
		return false;
	slots = atomic_long_add_return(nr, &nr_slots);
	want = buckets_for(slots);
	if (want > nr_buckets && slots == nr)
		grow_empty(want, gfp);
	else if (want > nr_buckets)
		grow(want, gfp);
	mutex_unlock(&resize_mutex);
	return true;
}

/* Room that was made for slots which were not inserted then. */
void pinpage_index_unfit(unsigned long nr)
{
	atomic_long_sub(nr, &nr_slots);
}

/* Shrink late and to half, so that a buffer that comes and goes is cheap. */
static void index_shrink(unsigned long nr)
{
	unsigned long slots, want;

	mutex_lock(&resize_mutex);
	slots = atomic_long_sub_return(nr, &nr_slots);
	want = buckets_for(slots);
	if (nr_buckets / 4 > want)
		shrink(2 * want, !slots);
	mutex_unlock(&resize_mutex);
}

static unsigned long count_slots(struct pinpage_set *set)
{
	struct pinpage_chunk *chunk;
	unsigned long nr = 0;

	for (chunk = set->chunks; chunk; chunk = chunk->next)
		nr += chunk->nr;
	return nr;
}

/**
 * pinpage_index_insert - make pages of a set known to those who move pages
 * @chunk: slots of the set, filled in, for which pinpage_index_fit() has made room;
 *	on error, its nr becomes the number of those that have been inserted
 *
 * Pages move as soon as they are known, unless the set is starting.
 *
 * Context: May sleep.
 * Return: 0; for the first slot that was not inserted, -EEXIST where a page of it is
 * twice in a set whose slots speak for folios, -EINVAL where it is kernel-owned in
 * one set and not in the other.
 */
int pinpage_index_insert(struct pinpage_chunk *chunk)
{
	struct index_block block = NO_BLOCK;
	unsigned int i;
	int err = 0;

	for (i = 0; i < chunk->nr && !err; i++)
		err = insert_slot(&chunk->slots[i], &block);
	leave_block(&block);
	if (err)
		chunk->nr = i - 1;
	return err;
}

/**
 * pinpage_index_remove - forget the pages of a set
 * @set: the set, which has left: no batch is in flight, and none will begin
 *
 * Context: May sleep, until isolated kernel-owned pages have been put back.
 */
void pinpage_index_remove(struct pinpage_set *set)
{
	remove_slots(set);
	index_shrink(count_slots(set));
}

/*
 * The first system comes: called before anyone can look for a folio. The first
 * segment stays for good, since a look-up may be late.
 */
int pinpage_index_enable(void)
{
	int err;

	mutex_lock(&resize_mutex);
	err = add_segment(0, GFP_KERNEL);
	if (!err)
		nr_buckets = MIN_BUCKETS;
	mutex_unlock(&resize_mutex);
	return err;
}

/* Bytes in buckets, for tests and debugfs. */
unsigned long pinpage_index_memory(void)
{
	unsigned long bytes = 0;
	unsigned int segment;

	mutex_lock(&resize_mutex);
	for (segment = 0; segment < NR_SEGMENTS; segment++)
		if (segments[segment])
			bytes += segment_size(segment) *
				 sizeof(segments[0][0]);
	mutex_unlock(&resize_mutex);
	return bytes;
}

#include "tests/index-kunit.h"
