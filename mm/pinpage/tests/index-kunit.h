/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit tests of the index. The sets here are made by hand, of no system, and
 * are never live: nobody moves their pages.
 */
#ifdef CONFIG_PINPAGE_KUNIT_TEST

#ifndef _MM_PINPAGE_TESTS_INDEX_H
#define _MM_PINPAGE_TESTS_INDEX_H

#include <linux/bitops.h>

#include "helpers-kunit.h"

struct index_set {
	struct pinpage_set set;
	struct list_head list;
	bool inserted;
};

struct index_fixture {
	struct list_head sets;
	struct page **pages;		/* singles */
	unsigned long nr_pages;
	struct page *large;
	unsigned long memory;
};

/* A folio of this order has the runs. */
#define INDEX_ORDER	3

static int index_init(struct kunit *test)
{
	struct index_fixture *fixture;

	test_skip_unless_alone(test);
	fixture = kunit_kzalloc(test, sizeof(*fixture), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fixture);
	INIT_LIST_HEAD(&fixture->sets);
	test->priv = fixture;
	KUNIT_ASSERT_EQ(test, pinpage_index_enable(), 0);
	fixture->large = alloc_pages(GFP_KERNEL | __GFP_COMP, INDEX_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, fixture->large);
	fixture->memory = pinpage_index_memory();
	return 0;
}

static void index_free_set(struct index_set *s)
{
	struct pinpage_chunk *chunk;

	if (s->inserted)
		pinpage_index_remove(&s->set);
	while ((chunk = s->set.chunks)) {
		s->set.chunks = chunk->next;
		kfree(chunk);
	}
	list_del(&s->list);
	kfree(s);
}

static void index_exit(struct kunit *test)
{
	struct index_fixture *fixture = test->priv;
	struct index_set *s, *next;

	if (!fixture)
		return;
	list_for_each_entry_safe(s, next, &fixture->sets, list)
		index_free_set(s);
	while (fixture->nr_pages)
		put_page(fixture->pages[--fixture->nr_pages]);
	kvfree(fixture->pages);
	if (fixture->large)
		put_page(fixture->large);
}

static struct page **index_pages(struct kunit *test, unsigned long nr)
{
	struct index_fixture *fixture = test->priv;
	struct page *page;

	fixture->pages = kvcalloc(nr, sizeof(*fixture->pages), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fixture->pages);
	while (fixture->nr_pages < nr) {
		page = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, page);
		fixture->pages[fixture->nr_pages++] = page;
	}
	return fixture->pages;
}

static struct pinpage_chunk *index_add_chunk(struct pinpage_set *set,
					     struct pinpage_chunk *last)
{
	struct pinpage_chunk *chunk = kzalloc(SZ_4K, GFP_KERNEL);

	if (!chunk)
		return NULL;
	chunk->set = set;
	if (last)
		last->next = chunk;
	else
		set->chunks = chunk;
	return chunk;
}

/* Does @pages[i] belong to the run of the page before it? */
static bool index_continues(struct page **pages, unsigned long i)
{
	return i && PageCompound(pages[i]) &&
	       page_folio(pages[i]) == page_folio(pages[i - 1]) &&
	       pages[i] == nth_page(pages[i - 1], 1);
}

static void index_fill(struct kunit *test, struct pinpage_set *set,
		       struct page **pages, unsigned long nr)
{
	struct pinpage_chunk *chunk = NULL;
	struct pinpage_slot *slot = NULL;
	unsigned long i;

	for (i = 0; i < nr; i++) {
		if (index_continues(pages, i)) {
			slot_init(slot, slot_pfn(slot), slot_nr(slot) + 1,
				  slot_pos(slot));
			continue;
		}
		if (!chunk || chunk->nr == CHUNK_SLOTS)
			chunk = index_add_chunk(set, chunk);
		KUNIT_ASSERT_NOT_NULL(test, chunk);
		slot = &chunk->slots[chunk->nr];
		slot_init(slot, page_to_pfn(pages[i]), 1, chunk->nr++);
	}
}

/* A set that is not in the index yet. */
static struct index_set *index_new(struct kunit *test, struct page **pages,
				   unsigned long nr, unsigned int flags)
{
	struct index_fixture *fixture = test->priv;
	struct index_set *s = kzalloc(sizeof(*s), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, s);
	list_add(&s->list, &fixture->sets);
	s->set.flags = flags;
	s->set.nr_pages = nr;
	atomic_set(&s->set.moves, INT_MIN);
	index_fill(test, &s->set, pages, nr);
	return s;
}

static void index_fit(long change)
{
	if (change >= 0)
		pinpage_index_fit(change, true);
	else
		index_shrink(-change);
}

/* All of @set or nothing. */
static int index_insert(struct pinpage_set *set)
{
	unsigned long nr = count_slots(set);
	struct pinpage_chunk *chunk;
	int err = 0;

	pinpage_index_fit(nr, true);
	for (chunk = set->chunks; chunk; chunk = chunk->next) {
		if (err)
			chunk->nr = 0;
		else
			err = pinpage_index_insert(chunk);
	}
	pinpage_index_unfit(nr - count_slots(set));
	if (err)
		pinpage_index_remove(set);
	return err;
}

static struct index_set *index_add(struct kunit *test, struct page **pages,
				   unsigned long nr)
{
	struct index_set *s = index_new(test, pages, nr, PINPAGE_KERNEL);

	KUNIT_ASSERT_EQ(test, index_insert(&s->set), 0);
	s->inserted = true;
	return s;
}

static void index_del(struct index_set *s)
{
	pinpage_index_remove(&s->set);
	s->inserted = false;
}

/* Slots that are found for the folio of @page, and whose the first ones are. */
static unsigned int index_look(struct page *page, struct pinpage_set **sets,
			       unsigned int max)
{
	struct folio *folio = page_folio(page);
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	unsigned int nr = 0;

	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket)) {
		if (nr < max)
			sets[nr] = slot_set(slot);
		nr++;
	}
	pinpage_index_unlock(&bucket);
	return nr;
}

static bool index_finds(struct pinpage_slot *wanted)
{
	struct folio *folio = slot_folio(wanted);
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	bool found = false;

	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket))
		found |= slot == wanted;
	pinpage_index_unlock(&bucket);
	return found && folio_test_pinpage(folio);
}

/* How many slots of @s can't be found? */
static unsigned long index_lost(struct index_set *s)
{
	struct pinpage_chunk *chunk;
	unsigned long lost = 0;
	unsigned int i;

	for (chunk = s->set.chunks; chunk; chunk = chunk->next)
		for (i = 0; i < chunk->nr; i++)
			lost += !index_finds(&chunk->slots[i]);
	return lost;
}

static unsigned long index_flagged(struct page **pages, unsigned long nr)
{
	unsigned long i, flagged = 0;

	for (i = 0; i < nr; i++)
		flagged += folio_test_pinpage(page_folio(pages[i]));
	return flagged;
}

/* Slots in all buckets, whether look-ups lead there or not. */
static unsigned long index_total(void)
{
	struct pinpage_slot *slot;
	unsigned long b, total = 0;

	mutex_lock(&resize_mutex);
	for (b = 0; b < nr_buckets; b++)
		for (slot = *bucket_at(b); slot; slot = slot->next)
			total++;
	mutex_unlock(&resize_mutex);
	return total;
}

/* As if no set had ever been there. */
static void index_expect_empty(struct kunit *test)
{
	struct index_fixture *fixture = test->priv;

	KUNIT_EXPECT_EQ(test, index_total(), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&nr_slots), 0);
	KUNIT_EXPECT_EQ(test, pinpage_index_memory(), fixture->memory);
	KUNIT_EXPECT_EQ(test, index_flagged(fixture->pages, fixture->nr_pages),
			0);
	KUNIT_EXPECT_FALSE(test, folio_test_pinpage(page_folio(fixture->large)));
}

static void index_test_lookup(struct kunit *test)
{
	struct page **pages = index_pages(test, 1001);
	struct pinpage_set *found;
	struct index_set *s = index_add(test, pages, 1000);

	KUNIT_EXPECT_EQ(test, index_lost(s), 0);
	KUNIT_EXPECT_EQ(test, index_total(), 1000);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&nr_slots), 1000);
	KUNIT_EXPECT_EQ(test, index_flagged(pages, 1000), 1000);
	KUNIT_EXPECT_EQ(test, index_look(pages[7], &found, 1), 1);
	KUNIT_EXPECT_PTR_EQ(test, found, &s->set);

	/* Of no set, though its neighbours in the bucket are. */
	KUNIT_EXPECT_FALSE(test, folio_test_pinpage(page_folio(pages[1000])));
	KUNIT_EXPECT_EQ(test, index_look(pages[1000], NULL, 0), 0);

	index_del(s);
	index_expect_empty(test);
}

#define INDEX_NESTED	9

/* Are @s[0..nr-1] found for @page, the last of them first? */
static bool index_ordered(struct page *page, struct index_set **s,
			  unsigned int nr)
{
	struct pinpage_set *found[INDEX_NESTED];
	unsigned int i;

	if (index_look(page, found, INDEX_NESTED) != nr)
		return false;
	for (i = 0; i < nr; i++)
		if (found[i] != &s[nr - 1 - i]->set)
			return false;
	return true;
}

static unsigned long index_disordered(struct page **pages, unsigned long nr,
				      struct index_set **s, unsigned int nested)
{
	unsigned long i, wrong = 0;

	for (i = 0; i < nr; i++)
		wrong += !index_ordered(pages[i], s, nested);
	return wrong;
}

static void index_test_nested(struct kunit *test)
{
	struct page **pages = index_pages(test, 300);
	struct index_set *s[INDEX_NESTED];
	unsigned int i;

	for (i = 0; i < INDEX_NESTED; i++) {
		s[i] = index_add(test, pages, 300);
		KUNIT_EXPECT_EQ(test, index_disordered(pages, 300, s, i + 1),
				0);
	}

	/* One in the middle, the newest and the oldest go, the others stay. */
	index_del(s[4]);
	memmove(s + 4, s + 5, (INDEX_NESTED - 5) * sizeof(*s));
	KUNIT_EXPECT_EQ(test, index_disordered(pages, 300, s, INDEX_NESTED - 1),
			0);
	index_del(s[INDEX_NESTED - 2]);
	KUNIT_EXPECT_EQ(test, index_disordered(pages, 300, s, INDEX_NESTED - 2),
			0);
	index_del(s[0]);
	KUNIT_EXPECT_EQ(test, index_disordered(pages, 300, s + 1,
					       INDEX_NESTED - 3), 0);
	for (i = 1; i < INDEX_NESTED - 2; i++) {
		KUNIT_EXPECT_EQ(test, index_flagged(pages, 300), 300);
		index_del(s[i]);
	}
	index_expect_empty(test);
}

/* Sets that share some pages of a folio, and whose runs are apart. */
static void index_test_runs(struct kunit *test)
{
	struct index_fixture *fixture = test->priv;
	struct page *page = fixture->large;
	struct page *pages[] = { page, page + 1, page + 4, page + 5, page + 6 };
	struct index_set *whole, *parts;

	parts = index_add(test, pages, ARRAY_SIZE(pages));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&nr_slots), 2);
	KUNIT_EXPECT_EQ(test, index_look(page, NULL, 0), 2);
	KUNIT_EXPECT_EQ(test, index_lost(parts), 0);
	KUNIT_EXPECT_EQ(test, slot_nr(&parts->set.chunks->slots[0]), 2);
	KUNIT_EXPECT_EQ(test, slot_nr(&parts->set.chunks->slots[1]), 3);

	whole = index_add(test, pages + 2, 1);
	KUNIT_EXPECT_EQ(test, index_look(page + 7, NULL, 0), 3);
	index_del(parts);
	KUNIT_EXPECT_EQ(test, index_look(page, NULL, 0), 1);
	KUNIT_EXPECT_TRUE(test, folio_test_pinpage(page_folio(page)));
	index_del(whole);
	index_expect_empty(test);
}

/* @s can't be inserted, and leaves nothing behind. */
static void index_expect_refused(struct kunit *test, struct index_set *s,
				 int err)
{
	unsigned long total = index_total(), slots = atomic_long_read(&nr_slots);
	unsigned long memory = pinpage_index_memory();

	KUNIT_EXPECT_EQ(test, index_insert(&s->set), err);
	KUNIT_EXPECT_EQ(test, index_total(), total);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&nr_slots), slots);
	KUNIT_EXPECT_EQ(test, pinpage_index_memory(), memory);
}

static void index_test_twice(struct kunit *test)
{
	static const unsigned int dup[] = { 0, 1, 299, 300, 598 };
	struct page **pages = index_pages(test, 599), **given;
	struct index_set *other = index_add(test, pages, 300);
	unsigned int i;

	given = kunit_kmalloc_array(test, 600, sizeof(*given), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, given);
	memcpy(given, pages, 599 * sizeof(*given));
	for (i = 0; i < ARRAY_SIZE(dup); i++) {
		given[599] = pages[dup[i]];
		index_expect_refused(test, index_new(test, given, 600,
						     PINPAGE_KERNEL), -EEXIST);
		KUNIT_EXPECT_EQ(test, index_flagged(pages, 300), 300);
		KUNIT_EXPECT_EQ(test, index_flagged(pages + 300, 299), 0);
		KUNIT_EXPECT_EQ(test, index_lost(other), 0);
	}
	index_del(other);
	index_expect_empty(test);
}

/* Runs of one set that overlap, at either end, or one inside the other. */
static void index_test_overlap(struct kunit *test)
{
	struct index_fixture *fixture = test->priv;
	struct page *p = fixture->large;
	struct page *head[] = { p + 2, p + 3, p + 4, p + 1, p + 2 };
	struct page *tail[] = { p + 2, p + 3, p + 4, p + 4, p + 5 };
	struct page *inside[] = { p + 2, p + 3, p + 4, p + 3 };
	struct page *apart[] = { p + 2, p + 3, p + 5, p + 1, p + 4 };
	struct index_set *s;

	index_expect_refused(test, index_new(test, head, 5, PINPAGE_FOLIO),
			     -EEXIST);
	index_expect_refused(test, index_new(test, tail, 5, PINPAGE_FOLIO),
			     -EEXIST);
	index_expect_refused(test, index_new(test, inside, 4, PINPAGE_FOLIO),
			     -EEXIST);
	index_expect_empty(test);
	/* A pin for each of them is there as often as that. */
	s = index_new(test, head, 5, 0);
	KUNIT_ASSERT_EQ(test, index_insert(&s->set), 0);
	s->inserted = true;
	KUNIT_EXPECT_EQ(test, index_lost(s), 0);
	index_del(s);
	index_expect_empty(test);
	index_del(index_add(test, apart, 5));
	index_expect_empty(test);
}

/* A page is the kernel's in all sets or in none. */
static void index_test_mixed(struct kunit *test)
{
	struct page **pages = index_pages(test, 300);
	struct index_set *kernel = index_add(test, pages + 250, 10);

	index_expect_refused(test, index_new(test, pages, 300, 0), -EINVAL);
	index_expect_refused(test, index_new(test, pages, 300, PINPAGE_FOLIO),
			     -EINVAL);
	KUNIT_EXPECT_EQ(test, index_flagged(pages, 300), 10);
	KUNIT_EXPECT_EQ(test, index_lost(kernel), 0);
	index_del(kernel);
	index_expect_empty(test);
}

/* That holds for the folio: its pages can't be different. */
static void index_test_mixed_folio(struct kunit *test)
{
	struct index_fixture *fixture = test->priv;
	struct page *page = fixture->large + 3;
	struct index_set *user;

	user = index_new(test, &fixture->large, 1, 0);
	KUNIT_ASSERT_EQ(test, index_insert(&user->set), 0);
	user->inserted = true;
	index_expect_refused(test, index_new(test, &page, 1, PINPAGE_KERNEL),
			     -EINVAL);
	KUNIT_EXPECT_EQ(test, index_lost(user), 0);
	index_del(user);
	index_expect_empty(test);
}

static void index_claim(struct index_set *s, bool claim)
{
	struct pinpage_chunk *chunk;
	unsigned int i;

	for (chunk = s->set.chunks; chunk; chunk = chunk->next)
		for (i = 0; i < chunk->nr; i++)
			if (claim)
				slot_claim(&chunk->slots[i]);
			else
				slot_unclaim(&chunk->slots[i]);
}

static void index_move(struct page *to, struct page *from)
{
	struct pinpage_slot *slots = pinpage_index_take(page_folio(from));

	pinpage_index_give(page_folio(to), page_folio(from), slots);
}

/* @nr pages have moved from @from to @to, and the @nested sets with them. */
static void index_expect_moved(struct kunit *test, struct page **to,
			       struct page **from, unsigned long nr,
			       struct index_set **s, unsigned int nested)
{
	unsigned long i, left = 0;

	KUNIT_EXPECT_EQ(test, index_disordered(to, nr, s, nested), 0);
	KUNIT_EXPECT_EQ(test, index_flagged(to, nr), nr);
	KUNIT_EXPECT_EQ(test, index_flagged(from, nr), 0);
	for (i = 0; i < nr; i++)
		left += index_look(from[i], NULL, 0);
	KUNIT_EXPECT_EQ(test, left, 0);
}

/* There and back, so that some go up and some go down. */
static void index_test_move(struct kunit *test)
{
	struct page **pages = index_pages(test, 1100);
	struct page **spare = pages + 1000;
	struct index_set *s[3];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		s[i] = index_add(test, pages, 1000);
		index_claim(s[i], true);
	}
	for (i = 0; i < 100; i++)
		index_move(spare[i], pages[i]);
	index_expect_moved(test, spare, pages, 100, s, 3);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, index_lost(s[i]), 0);
	KUNIT_EXPECT_EQ(test, index_disordered(pages + 100, 900, s, 3), 0);

	for (i = 0; i < 100; i++)
		index_move(pages[i], spare[i]);
	index_expect_moved(test, pages, spare, 100, s, 3);
	KUNIT_EXPECT_EQ(test, slot_pfn(&s[1]->set.chunks->slots[5]),
			page_to_pfn(pages[5]));
	for (i = 0; i < 3; i++) {
		index_claim(s[i], false);
		KUNIT_EXPECT_FALSE(test,
				   slot_claimed(&s[i]->set.chunks->slots[9]));
		index_del(s[i]);
	}
	index_expect_empty(test);
}

/* A run keeps its place in the folio, and its length. */
static void index_test_move_run(struct kunit *test)
{
	struct index_fixture *fixture = test->priv;
	struct page *p = fixture->large, *to;
	struct page *pages[] = { p + 1, p + 2, p + 6 };
	struct index_set *s = index_add(test, pages, ARRAY_SIZE(pages));
	struct pinpage_slot *slots = s->set.chunks->slots;

	to = alloc_pages(GFP_KERNEL | __GFP_COMP, INDEX_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, to);
	index_claim(s, true);
	index_move(to, p);
	KUNIT_EXPECT_EQ(test, index_look(p, NULL, 0), 0);
	KUNIT_EXPECT_EQ(test, index_look(to, NULL, 0), 2);
	KUNIT_EXPECT_FALSE(test, folio_test_pinpage(page_folio(p)));
	KUNIT_EXPECT_EQ(test, slot_pfn(&slots[0]), page_to_pfn(to + 1));
	KUNIT_EXPECT_EQ(test, slot_pfn(&slots[1]), page_to_pfn(to + 6));
	KUNIT_EXPECT_EQ(test, slot_nr(&slots[0]), 2);
	KUNIT_EXPECT_PTR_EQ(test, slot_set(&slots[1]), &s->set);
	index_claim(s, false);
	index_del(s);
	KUNIT_EXPECT_FALSE(test, folio_test_pinpage(page_folio(to)));
	put_page(to);
	index_expect_empty(test);
}

/* Add the next block, or drop the last. False without memory. */
static bool index_step(bool up)
{
	bool done = true;

	mutex_lock(&resize_mutex);
	if (!up)
		drop_block(nr_buckets - BLOCK);
	else if (add_segment(fls_long(nr_buckets >> MIN_BITS), GFP_KERNEL))
		done = false;
	else
		add_block(nr_buckets);
	mutex_unlock(&resize_mutex);
	return done;
}

/* Slots that stand in bucket @b, which look-ups do not find. */
static unsigned long index_misplaced(unsigned long b)
{
	struct pinpage_slot *slot;
	unsigned long wrong = 0;

	for (slot = *bucket_at(b); slot; slot = slot->next)
		wrong += !index_finds(slot);
	return wrong;
}

/* After a step to or from the block at @n, look at the two that it concerns. */
static unsigned long index_misplaced_by(unsigned long n)
{
	unsigned long high = 1UL << (fls_long(n) - 1), b, wrong = 0;

	for (b = n; b < n + BLOCK; b++) {
		wrong += index_misplaced(b - high);
		if (b < nr_buckets)
			wrong += index_misplaced(b);
	}
	return wrong;
}

/* At sizes around powers of two, and some others, look at all. */
static bool index_look_closer(unsigned long n)
{
	return !(n / BLOCK % 9) || is_power_of_2(n) ||
	       is_power_of_2(n - BLOCK) || is_power_of_2(n + BLOCK);
}

static void index_resize_to(struct kunit *test, unsigned long size,
			    struct index_set **s, unsigned int nested)
{
	struct index_fixture *fixture = test->priv;
	bool up = size > nr_buckets;
	unsigned long wrong = 0;

	while (nr_buckets != size) {
		KUNIT_ASSERT_TRUE(test, index_step(up));
		wrong += index_misplaced_by(up ? nr_buckets - BLOCK : nr_buckets);
		if (index_look_closer(nr_buckets))
			wrong += index_disordered(fixture->pages,
						  fixture->nr_pages, s, nested);
		cond_resched();
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ(test, index_total(), nested * fixture->nr_pages);
}

static void index_test_resize(struct kunit *test)
{
	struct page **pages = index_pages(test, 600);
	struct index_set *s[INDEX_NESTED];
	unsigned long size = nr_buckets;
	unsigned int i;

	for (i = 0; i < 3; i++)
		s[i] = index_add(test, pages, 600);
	index_resize_to(test, 4 * MIN_BUCKETS + 3 * BLOCK, s, 3);
	s[3] = index_add(test, pages, 600);
	index_resize_to(test, 2 * MIN_BUCKETS - 2 * BLOCK, s, 4);
	index_resize_to(test, 2 * MIN_BUCKETS + 2 * BLOCK, s, 4);
	index_resize_to(test, size, s, 4);
	for (i = 0; i < 4; i++)
		index_del(s[i]);
	KUNIT_EXPECT_EQ(test, index_total(), 0);
	index_fit(0);
}

/* When the table grows and shrinks, without slots for it. */
static void index_test_fit(struct kunit *test)
{
	const unsigned long unit = LOAD * MIN_BUCKETS;
	const unsigned long bytes = MIN_BUCKETS * sizeof(segments[0][0]);
	struct index_set *s = index_add(test, index_pages(test, 100), 100);
	unsigned long size = nr_buckets;

	index_fit(LOAD * (size + BLOCK) - 1 - atomic_long_read(&nr_slots));
	KUNIT_EXPECT_EQ(test, nr_buckets, size);
	index_fit(1);
	KUNIT_EXPECT_EQ(test, nr_buckets, size + BLOCK);
	index_fit(16 * unit - atomic_long_read(&nr_slots));
	KUNIT_EXPECT_EQ(test, nr_buckets, 16 * MIN_BUCKETS);
	KUNIT_EXPECT_EQ(test, pinpage_index_memory(), 16 * bytes);
	KUNIT_EXPECT_EQ(test, index_lost(s), 0);

	/* A buffer that comes and goes does not cost a resize. */
	index_fit(-11 * (long)unit);
	KUNIT_EXPECT_EQ(test, nr_buckets, 16 * MIN_BUCKETS);
	index_fit(11 * unit);
	KUNIT_EXPECT_EQ(test, nr_buckets, 16 * MIN_BUCKETS);

	index_fit(-13 * (long)unit);
	KUNIT_EXPECT_EQ(test, nr_buckets, 6 * MIN_BUCKETS);
	KUNIT_EXPECT_EQ(test, pinpage_index_memory(), 8 * bytes);
	KUNIT_EXPECT_EQ(test, index_lost(s), 0);
	index_fit(100 - atomic_long_read(&nr_slots));
	KUNIT_EXPECT_EQ(test, nr_buckets, 2 * MIN_BUCKETS);
	KUNIT_EXPECT_EQ(test, pinpage_index_memory(), 2 * bytes);
	KUNIT_EXPECT_EQ(test, index_lost(s), 0);
}

/* Where 4096 folios of @size pages, side by side, go in as many buckets. */
static void index_spread(struct kunit *test, u8 *length, unsigned long size)
{
	unsigned long i, used = 0, longest = 0;
	u64 stripes = 0;

	memset(length, 0, MIN_BUCKETS);
	for (i = 0; i < MIN_BUCKETS; i++)
		length[index_hash(0x12345000 + i * size) % MIN_BUCKETS]++;
	for (i = 0; i < MIN_BUCKETS; i++) {
		used += !!length[i];
		longest = max_t(unsigned long, longest, length[i]);
		if (length[i])
			stripes |= BIT_ULL((i >> LOW_BITS) % NR_STRIPES);
	}
	kunit_info(test, "folios of %lu: %lu of %lu buckets, at most %lu in one",
		   size, used, MIN_BUCKETS, longest);
	KUNIT_EXPECT_GT(test, used, MIN_BUCKETS * 2 / 5);
	KUNIT_EXPECT_LE(test, longest, 8);
	used = hweight64(stripes);
	KUNIT_EXPECT_GT(test, used, NR_STRIPES * 3 / 4);
}

static void index_test_spread(struct kunit *test)
{
	u8 *length = kunit_kmalloc(test, MIN_BUCKETS, GFP_KERNEL);
	unsigned long size;

	KUNIT_ASSERT_NOT_NULL(test, length);
	for (size = 1; size <= 2048; size *= 2)
		index_spread(test, length, size);
}

/* The slots that are walked in all look-ups of all slots of @s. */
static unsigned long index_walked(struct index_set *s)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	struct pinpage_chunk *chunk;
	unsigned long walked = 0;
	struct folio *folio;
	unsigned int i;

	for (chunk = s->set.chunks; chunk; chunk = chunk->next) {
		for (i = 0; i < chunk->nr; i++) {
			folio = slot_folio(&chunk->slots[i]);
			pinpage_index_lock(&bucket, folio);
			for (slot = *bucket.head; slot; slot = slot->next)
				walked++;
			pinpage_index_unlock(&bucket);
		}
		cond_resched();
	}
	return walked;
}

/*
 * The slots walked in a thousand look-ups, in an index of @nested sets of @nr
 * pages.
 */
static unsigned long index_measure(struct kunit *test, unsigned long nr,
				   unsigned long nested)
{
	struct index_fixture *fixture = test->priv;
	struct index_set *s, *next;
	unsigned long i, walked;

	for (i = 0; i < nested; i++)
		s = index_add(test, fixture->pages, nr);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&nr_slots), nr * nested);
	KUNIT_EXPECT_EQ(test, index_lost(s), 0);
	walked = index_walked(s) * 1000 / nr;
	kunit_info(test, "%lu x %lu slots, %lu buckets: %lu.%03lu per look-up",
		   nested, nr, nr_buckets, walked / 1000, walked % 1000);
	list_for_each_entry_safe(s, next, &fixture->sets, list)
		index_free_set(s);
	return walked;
}

/* How many slots is this machine good for? */
static unsigned long index_million(struct kunit *test)
{
	unsigned long free = global_zone_page_state(NR_FREE_PAGES), max;

	if (IS_ENABLED(CONFIG_KASAN))
		return 100000;
	/* 24 bytes each, and as much again for what they are measured with. */
	max = free / 8 * (PAGE_SIZE / 32);
	if (max >= 1000000)
		return 1000000;
	kunit_info(test, "%lu pages free: %lu slots only", free, max);
	return max;
}

static void index_test_million(struct kunit *test)
{
	unsigned long nr = index_million(test), pages, nested;
	unsigned long few, many;

	pages = min3(global_zone_page_state(NR_FREE_PAGES) / 4, 131072UL,
		     nr / 8);
	nested = DIV_ROUND_UP(nr, pages);
	index_pages(test, pages);
	/* With one owner each, a page finds as many others as are meant to. */
	KUNIT_EXPECT_LE(test, index_measure(test, pages, 1), 1000 * (1 + LOAD));
	few = index_measure(test, DIV_ROUND_UP(1000, nested), nested);
	many = index_measure(test, pages, nested);
	KUNIT_EXPECT_LE(test, many, few * 3 / 2);
	KUNIT_EXPECT_EQ(test, index_total(), 0);
}

struct index_worker {
	struct page **pages;
	struct index_set *s;
	unsigned long lost;
	struct completion done;
};

/* Sets of the same pages, and an index that grows and shrinks. */
static int index_work(void *data)
{
	struct index_worker *worker = data;
	int i;

	for (i = 0; i < 20; i++) {
		if (index_insert(&worker->s->set))
			worker->lost++;
		index_fit(4 * LOAD * MIN_BUCKETS);
		worker->lost += index_lost(worker->s);
		index_fit(-4 * (long)(LOAD * MIN_BUCKETS));
		pinpage_index_remove(&worker->s->set);
		cond_resched();
	}
	complete(&worker->done);
	return 0;
}

#define INDEX_WORKERS	4

static void index_test_threads(struct kunit *test)
{
	struct page **pages = index_pages(test, 200);
	struct index_set *rest = index_add(test, pages, 200);
	struct index_worker *workers;
	int i;

	workers = kunit_kcalloc(test, INDEX_WORKERS, sizeof(*workers),
				GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, workers);
	for (i = 0; i < INDEX_WORKERS; i++) {
		workers[i].s = index_new(test, pages, 200, PINPAGE_KERNEL);
		init_completion(&workers[i].done);
	}
	for (i = 0; i < INDEX_WORKERS; i++)
		if (IS_ERR(kthread_run(index_work, &workers[i], "pinpage-%d", i)))
			complete(&workers[i].done);
	for (i = 0; i < INDEX_WORKERS; i++) {
		wait_for_completion(&workers[i].done);
		KUNIT_EXPECT_EQ(test, workers[i].lost, 0);
	}
	KUNIT_EXPECT_EQ(test, index_total(), 200);
	KUNIT_EXPECT_EQ(test, index_lost(rest), 0);
	KUNIT_EXPECT_EQ(test, index_flagged(pages, 200), 200);
	index_del(rest);
	KUNIT_EXPECT_EQ(test, index_flagged(pages, 200), 0);
}

static struct kunit_case index_test_cases[] = {
	KUNIT_CASE(index_test_lookup),
	KUNIT_CASE(index_test_nested),
	KUNIT_CASE(index_test_runs),
	KUNIT_CASE(index_test_twice),
	KUNIT_CASE(index_test_overlap),
	KUNIT_CASE(index_test_mixed),
	KUNIT_CASE(index_test_mixed_folio),
	KUNIT_CASE(index_test_move),
	KUNIT_CASE(index_test_move_run),
	KUNIT_CASE(index_test_resize),
	KUNIT_CASE(index_test_fit),
	KUNIT_CASE(index_test_spread),
	KUNIT_CASE_SLOW(index_test_million),
	KUNIT_CASE(index_test_threads),
	{}
};

static struct kunit_suite index_test_suite = {
	.name = "pinpage-index",
	.init = index_init,
	.exit = index_exit,
	.test_cases = index_test_cases,
};

kunit_test_suite(index_test_suite);

#endif /* _MM_PINPAGE_TESTS_INDEX_H */
#endif /* CONFIG_PINPAGE_KUNIT_TEST */
