/* SPDX-License-Identifier: GPL-2.0 */
/* KUnit tests of sets that movers have not met. */
#ifdef CONFIG_PINPAGE_KUNIT_TEST

#ifndef _MM_PINPAGE_TESTS_LAZY_H
#define _MM_PINPAGE_TESTS_LAZY_H

#include "helpers-kunit.h"

static int lazy_test_init(struct kunit *test)
{
	int err = test_init(test);

	WRITE_ONCE(pinpage_index_at_once, false);
	return err;
}

static unsigned long lazy_flagged(struct test_owner *owner)
{
	unsigned long i, nr = 0;

	for (i = 0; i < owner->nr; i++)
		nr += folio_test_pinpage(page_folio(owner->pages[i]));
	return nr;
}

/* Each page has one slot, or none and its place in the array; never both. */
static void lazy_expect_sound(struct kunit *test, struct test_owner *owner)
{
	unsigned long slots = 0, waiting = 0, wrong = 0, last = 0, i;
	struct pinpage_set *set = &owner->set;
	struct pinpage_chunk *chunk;

	for (chunk = set->chunks; chunk; chunk = chunk->next) {
		wrong += last > chunk->index;
		last = chunk->index + pages_in(chunk, chunk->nr);
		for (i = chunk->index; i < last; i++)
			wrong += set->pages && !holds_folios(set) &&
				 set->pages[i];
		slots += pages_in(chunk, chunk->nr);
	}
	for (i = 0; set->pages && i < set->nr_pages; i++)
		waiting += is_lazy(set->pages[i]);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	if (!holds_folios(set)) {
		KUNIT_EXPECT_EQ(test, waiting, set->nr_lazy);
		KUNIT_EXPECT_EQ(test, slots + waiting + set->nr_stuck, owner->nr);
		KUNIT_EXPECT_EQ(test, lazy_flagged(owner), slots);
	}
}

static void lazy_expect_reads(struct kunit *test, struct test_owner *owner)
{
	struct page **pages = kunit_kcalloc(test, owner->nr, sizeof(*pages),
					    GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pages);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(&owner->set, 0, pages,
						owner->nr), 0);
	KUNIT_EXPECT_MEMEQ(test, pages, owner->pages,
			   owner->nr * sizeof(*pages));
	kunit_kfree(test, pages);
}

/* 8 bytes for each page, and nothing on the page, until somebody comes. */
static void lazy_test_cost(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 2048, 0);
	struct pinpage_set *set = &owner->set;

	KUNIT_EXPECT_NULL(test, set->chunks);
	KUNIT_EXPECT_NULL(test, set->slices);
	KUNIT_ASSERT_NOT_NULL(test, set->pages);
	if (!is_vmalloc_addr(set->pages))
		KUNIT_EXPECT_LE(test, ksize(set->pages),
				2048 * sizeof(*set->pages));
	KUNIT_EXPECT_EQ(test, lazy_flagged(owner), 0);
	KUNIT_EXPECT_EQ(test, set->nr_lazy, 2048);
	lazy_expect_reads(test, owner);

	__pinpage_index_range(0, ULONG_MAX, GFP_KERNEL);
	KUNIT_EXPECT_NULL(test, set->pages);
	KUNIT_EXPECT_EQ(test, set->nr_lazy, 0);
	KUNIT_EXPECT_EQ(test, lazy_flagged(owner), 2048);
	KUNIT_EXPECT_FALSE(test, pinpage_lazy());
	lazy_expect_reads(test, owner);
	test_expect_sane(test, owner);
}

/* Ranges at random: what is in one of them has slots after it, all of a folio. */
static void lazy_test_ranges(struct kunit *test)
{
	struct test_owner *owner = test_file_owner(test, 0, 10 * SLICE + 3, 0);
	struct pinpage_set *set = &owner->set;
	unsigned long i, pfn, missed = 0, before;
	unsigned int n;

	for (n = 0; n < 40 && set->nr_lazy; n++) {
		i = (n * 2654435761UL >> 3) % owner->nr;
		pfn = page_to_pfn(owner->pages[i]);
		before = set->nr_lazy;
		__pinpage_index_range(pfn, pfn + 1 + n % 3, n % 2 ? GFP_KERNEL : GFP_NOWAIT);
		missed += !folio_test_pinpage(page_folio(owner->pages[i]));
		KUNIT_EXPECT_LE(test, before - set->nr_lazy, 6 * SLICE);
		lazy_expect_sound(test, owner);
		lazy_expect_reads(test, owner);
	}
	KUNIT_EXPECT_GT(test, n, 3);
	KUNIT_EXPECT_EQ(test, missed, 0);
	__pinpage_index_range(0, ULONG_MAX, GFP_KERNEL);
	lazy_expect_sound(test, owner);
	KUNIT_EXPECT_EQ(test, lazy_flagged(owner), owner->nr);
}

/* A range without any of the pages leaves a large set alone. */
static void lazy_test_elsewhere(struct kunit *test)
{
	struct test_owner *owner = test_file_owner(test, 0, 3 * SLICE, 0);
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	__pinpage_index_range(page_to_pfn(page), page_to_pfn(page) + 1,
			      GFP_KERNEL);
	__free_page(page);
	KUNIT_EXPECT_EQ(test, owner->set.nr_lazy, owner->nr);
	KUNIT_EXPECT_EQ(test, lazy_flagged(owner), 0);
	/* Once looked at, its slices are known. */
	KUNIT_EXPECT_NOT_NULL(test, owner->set.slices);
}

/* One slot would speak for a folio: all of the set, or nothing that movers ask. */
static void lazy_test_folios(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 4 * SLICE, 2);
	struct folio *folio = page_folio(owner->pages[0]);

	KUNIT_EXPECT_FALSE(test, pinpage_set_get(&owner->set));
	KUNIT_ASSERT_EQ(test, index_part(&owner->set, 0, SLICE, true), 0);
	KUNIT_EXPECT_TRUE(test, folio_test_pinpage(folio));
	KUNIT_EXPECT_FALSE(test, pinpage_set_get(&owner->set));
	test_expect_unisolable(test, &folio->page);
	lazy_expect_reads(test, owner);
	/* From where that ended. */
	KUNIT_EXPECT_EQ(test, index_whole(&owner->set, true), 0);
	KUNIT_ASSERT_TRUE(test, pinpage_set_get(&owner->set));
	pinpage_set_put(&owner->set);
	lazy_expect_reads(test, owner);
	test_expect_sane(test, owner);
}

/* It leaves while a part of it is in the index. */
static void lazy_test_leave(struct kunit *test)
{
	struct test_owner *owner = test_file_owner(test, 0, 4 * SLICE, 0);
	struct test_owner *kernel = test_new_owner(test, 1, 4 * SLICE, 1);
	struct page **pages;

	pages = kunit_kcalloc(test, 4 * SLICE, sizeof(*pages), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pages);
	KUNIT_ASSERT_EQ(test, index_part(&owner->set, SLICE, 2 * SLICE, true), 0);
	KUNIT_ASSERT_EQ(test, index_part(&kernel->set, 0, 2 * SLICE, true), 0);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, pages), 0);
	KUNIT_EXPECT_MEMEQ(test, pages, owner->pages, owner->nr * sizeof(*pages));
	KUNIT_EXPECT_EQ(test, clear_pinpage(&kernel->set, pages), 0);
	KUNIT_EXPECT_MEMEQ(test, pages, kernel->pages, kernel->nr * sizeof(*pages));
	KUNIT_EXPECT_EQ(test, lazy_flagged(owner) + lazy_flagged(kernel), 0);
	KUNIT_EXPECT_FALSE(test, pinpage_lazy());
}

/* A page twice: with a pin for each it does not matter, else the set stays. */
static void lazy_test_twice(struct kunit *test)
{
	struct test_owner *owner = test_blank_owner(test, 400, PINPAGE_KERNEL);
	struct pinpage_system *system = &owner->fixture->systems[0];
	struct page *last;

	test_alloc_pages(test, owner, 400, 0);
	last = owner->pages[399];
	owner->pages[399] = owner->pages[0];
	test_set(test, owner, 0);
	__pinpage_index_range(0, ULONG_MAX, GFP_NOWAIT);
	flush_work(&lazy_work);
	KUNIT_EXPECT_EQ(test, lazy_flagged(owner), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&system->nr_stuck), 400);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&system->nr_lazy), 0);
	KUNIT_EXPECT_FALSE(test, pinpage_set_get(&owner->set));
	lazy_expect_reads(test, owner);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);
	owner->pages[399] = last;
	KUNIT_EXPECT_EQ(test, atomic_long_read(&system->nr_stuck), 0);
}

/* Sets that come while a mover walks do not keep it. */
static void lazy_test_bounded(struct kunit *test)
{
	struct lazy_range range = { .end = ULONG_MAX, .may_wait = true };
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);
	struct pinpage_set *set;
	unsigned int met = 0;

	range.last = lazy_born;
	for (set = next_set(NULL, &range); set; set = next_set(set, &range)) {
		KUNIT_EXPECT_PTR_EQ(test, set, &owner->set);
		KUNIT_EXPECT_EQ(test, index_set(set, &range), 0);
		test_new_owner(test, 0, 3, 0);
		met++;
	}
	KUNIT_EXPECT_EQ(test, met, 1);
	KUNIT_EXPECT_TRUE(test, pinpage_lazy());
}

static struct kunit_case lazy_test_cases[] = {
	KUNIT_CASE(lazy_test_cost),
	KUNIT_CASE(lazy_test_ranges),
	KUNIT_CASE(lazy_test_elsewhere),
	KUNIT_CASE(lazy_test_folios),
	KUNIT_CASE(lazy_test_leave),
	KUNIT_CASE(lazy_test_twice),
	KUNIT_CASE(lazy_test_bounded),
	{}
};

static struct kunit_suite lazy_test_suite = {
	.name = "pinpage-lazy",
	.init = lazy_test_init,
	.exit = test_exit,
	.test_cases = lazy_test_cases,
};

kunit_test_suite(lazy_test_suite);

#endif /* _MM_PINPAGE_TESTS_LAZY_H */

#endif /* CONFIG_PINPAGE_KUNIT_TEST */
