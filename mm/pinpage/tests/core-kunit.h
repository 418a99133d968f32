/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit tests of systems and sets.
 */
#ifdef CONFIG_PINPAGE_KUNIT_TEST

#ifndef _MM_PINPAGE_TESTS_CORE_H
#define _MM_PINPAGE_TESTS_CORE_H

#include "helpers-kunit.h"

static void core_expect_no_system(struct kunit *test,
				  struct pinpage_system *system)
{
	struct pinpage_system *other;

	KUNIT_EXPECT_EQ(test, register_pinpage(system), -EINVAL);
	KUNIT_EXPECT_FALSE(test, system->registered);
	list_for_each_entry(other, &pinpage_systems, list)
		KUNIT_EXPECT_PTR_NE(test, other, system);
}

static void core_test_register_bad(struct kunit *test)
{
	static const struct pinpage_ops no_prepare = {
		.complete = test_complete,
	};
	static const struct pinpage_ops no_complete = {
		.prepare = test_prepare,
	};
	struct pinpage_system *system;

	system = kunit_kzalloc(test, sizeof(*system), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, system);
	KUNIT_EXPECT_EQ(test, register_pinpage(NULL), -EINVAL);
	system->ops = &test_ops;
	core_expect_no_system(test, system);
	system->name = "";
	core_expect_no_system(test, system);
	system->name = "kunit-bad";
	system->ops = NULL;
	core_expect_no_system(test, system);
	system->ops = &no_prepare;
	core_expect_no_system(test, system);
	system->ops = &no_complete;
	core_expect_no_system(test, system);
}

static void core_test_register_twice(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct pinpage_system *first = &fixture->systems[0], *other;

	other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_EXPECT_EQ(test, register_pinpage(first), -EEXIST);
	other->name = first->name;
	other->ops = &test_ops;
	KUNIT_EXPECT_EQ(test, register_pinpage(other), -EEXIST);
	KUNIT_EXPECT_FALSE(test, other->registered);
	KUNIT_EXPECT_EQ(test, unregister_pinpage(other), -ENODEV);

	/* Once it is gone, both are welcome. */
	KUNIT_EXPECT_EQ(test, unregister_pinpage(first), 0);
	KUNIT_EXPECT_EQ(test, register_pinpage(other), 0);
	KUNIT_EXPECT_EQ(test, register_pinpage(first), -EEXIST);
	KUNIT_EXPECT_EQ(test, unregister_pinpage(other), 0);
	KUNIT_EXPECT_EQ(test, register_pinpage(first), 0);
}

static void core_test_register_once(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct pinpage_system *first = &fixture->systems[0], *other;

	other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, other);
	other->name = first->name;
	other->ops = &test_ops;
	KUNIT_EXPECT_EQ(test, register_pinpage_once(NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, register_pinpage_once(first), 0);
	KUNIT_EXPECT_EQ(test, register_pinpage_once(other), -EEXIST);
	KUNIT_EXPECT_FALSE(test, other->registered);
	KUNIT_EXPECT_EQ(test, unregister_pinpage(first), 0);
	KUNIT_EXPECT_EQ(test, register_pinpage_once(first), 0);
	KUNIT_EXPECT_EQ(test, register_pinpage_once(first), 0);
	KUNIT_EXPECT_TRUE(test, first->registered);
}

static void core_test_unregister(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct pinpage_system *system = &fixture->systems[0];
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);

	KUNIT_EXPECT_EQ(test, unregister_pinpage(NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, unregister_pinpage(system), -EBUSY);
	KUNIT_EXPECT_TRUE(test, system->registered);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);
	KUNIT_EXPECT_EQ(test, unregister_pinpage(system), 0);
	KUNIT_EXPECT_EQ(test, unregister_pinpage(system), -ENODEV);

	/* The hooks are on until the last system has gone. */
	KUNIT_EXPECT_EQ(test, unregister_pinpage(&fixture->systems[1]), 0);
	KUNIT_EXPECT_TRUE(test, pinpage_active());
	KUNIT_EXPECT_EQ(test, unregister_pinpage(&fixture->systems[2]), 0);
	KUNIT_EXPECT_FALSE(test, pinpage_active());
	KUNIT_EXPECT_EQ(test, register_pinpage(system), 0);
	KUNIT_EXPECT_TRUE(test, pinpage_active());
}

/* What a call that fails may not change. */
struct core_snap {
	unsigned long nr_sets, memory;
	int refs;
	bool flagged;
};

static void core_take_snap(struct kunit *test, struct page *page,
			   struct core_snap *state)
{
	struct test_fixture *fixture = test->priv;

	state->nr_sets = fixture->systems[0].nr_sets;
	state->memory = pinpage_index_memory();
	state->refs = page ? page_ref_count(page) : 0;
	state->flagged = page && folio_test_pinpage(page_folio(page));
}

/* set_pinpage() fails with @err, and leaves no trace. */
static void core_expect_refused(struct kunit *test, struct page **pages,
				unsigned long nr, unsigned int flags, int err)
{
	struct test_fixture *fixture = test->priv;
	struct pinpage_set *set;
	struct core_snap before, after;
	struct page *page = pages && nr ? pages[0] : NULL;

	set = kunit_kzalloc(test, sizeof(*set), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, set);
	core_take_snap(test, page, &before);
	KUNIT_EXPECT_EQ(test, set_pinpage(&fixture->systems[0], set, pages, nr,
					  flags), err);
	core_take_snap(test, page, &after);
	KUNIT_EXPECT_EQ(test, before.nr_sets, after.nr_sets);
	KUNIT_EXPECT_EQ(test, before.memory, after.memory);
	KUNIT_EXPECT_EQ(test, before.refs, after.refs);
	KUNIT_EXPECT_EQ(test, before.flagged, after.flagged);
	KUNIT_EXPECT_EQ(test, clear_pinpage(set, NULL), -ENOENT);
}

static void core_test_set_args(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_blank_owner(test, 1, PINPAGE_KERNEL);
	struct pinpage_system *system = &fixture->systems[0];

	test_alloc_pages(test, owner, 1, 0);
	KUNIT_EXPECT_EQ(test, set_pinpage(NULL, &owner->set, owner->pages, 1,
					  PINPAGE_KERNEL), -EINVAL);
	KUNIT_EXPECT_EQ(test, set_pinpage(system, NULL, owner->pages, 1,
					  PINPAGE_KERNEL), -EINVAL);
	core_expect_refused(test, NULL, 1, PINPAGE_KERNEL, -EINVAL);
	core_expect_refused(test, owner->pages, 0, PINPAGE_KERNEL, -EINVAL);
	core_expect_refused(test, owner->pages, 1, PINPAGE_KERNEL | BIT(4),
			    -EINVAL);
	core_expect_refused(test, owner->pages, 1,
			    PINPAGE_KERNEL | PINPAGE_UNINDEXED, -EINVAL);

	KUNIT_ASSERT_EQ(test, unregister_pinpage(system), 0);
	core_expect_refused(test, owner->pages, 1, PINPAGE_KERNEL, -ENODEV);
	KUNIT_ASSERT_EQ(test, register_pinpage(system), 0);

	/* All that said, it works. */
	test_set(test, owner, 0);
	test_expect_sane(test, owner);
}

static void core_test_set_busy(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);

	KUNIT_EXPECT_EQ(test, set_pinpage(&fixture->systems[0], &owner->set,
					  owner->pages, owner->nr,
					  PINPAGE_KERNEL), -EBUSY);
	KUNIT_EXPECT_EQ(test, set_pinpage(&fixture->systems[1], &owner->set,
					  owner->pages, owner->nr,
					  PINPAGE_KERNEL), -EBUSY);
	KUNIT_EXPECT_EQ(test, pinpage_pin_user(&fixture->systems[1],
					       &owner->set, PAGE_SIZE, 1, 0, 0,
					       owner->pages), -EBUSY);
	KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 1);
	KUNIT_EXPECT_EQ(test, fixture->systems[1].nr_sets, 0);
	test_expect_sane(test, owner);
}

/* A bad page is refused alone, and behind good ones in the second chunk. */
static void core_expect_bad_page(struct kunit *test, struct test_owner *good,
				 struct page *page, unsigned int flags, int err)
{
	unsigned long last = good->nr;
	unsigned int i, flagged = 0;

	core_expect_refused(test, &page, 1, flags, err);
	good->pages[last] = page;
	core_expect_refused(test, good->pages, last + 1, flags, err);
	for (i = 0; i < last; i++)
		flagged += folio_test_pinpage(page_folio(good->pages[i]));
	KUNIT_EXPECT_EQ(test, flagged, 0);
}

static void core_test_bad_pages(struct kunit *test)
{
	struct test_owner *good = test_blank_owner(test, CHUNK_SLOTS + 10,
						   PINPAGE_KERNEL);
	void *object = kunit_kmalloc(test, 64, GFP_KERNEL);
	struct page *pair = alloc_pages(GFP_KERNEL, 1);

	KUNIT_ASSERT_NOT_NULL(test, object);
	test_alloc_pages(test, good, CHUNK_SLOTS + 9, 0);
	core_expect_bad_page(test, good, NULL, PINPAGE_KERNEL, -EINVAL);
	core_expect_bad_page(test, good, virt_to_page(object), PINPAGE_KERNEL,
			     -EINVAL);
	core_expect_bad_page(test, good, ZERO_PAGE(0), PINPAGE_KERNEL, -EINVAL);

	/* The second page has no reference, and nobody can take it meanwhile */
	KUNIT_ASSERT_NOT_NULL(test, pair);
	KUNIT_EXPECT_EQ(test, page_ref_count(pair + 1), 0);
	core_expect_bad_page(test, good, pair + 1, PINPAGE_KERNEL, -EINVAL);

	SetPageReserved(pair);
	core_expect_bad_page(test, good, pair, PINPAGE_KERNEL, -EINVAL);
	ClearPageReserved(pair);
#ifdef CONFIG_MEMORY_FAILURE
	SetPageHWPoison(pair);
	core_expect_bad_page(test, good, pair, PINPAGE_KERNEL, -EHWPOISON);
	ClearPageHWPoison(pair);
#endif
	__free_pages(pair, 1);
}

/* Pages are the owner's own if and only if it says so. */
static void core_test_wrong_kind(struct kunit *test)
{
	struct test_owner *kernel = test_blank_owner(test, 2, PINPAGE_KERNEL);
	struct page *page;

	test_alloc_pages(test, kernel, 1, 0);
	core_expect_refused(test, kernel->pages, 1, 0, -EINVAL);

	test_new_file(test, 1, &page);
	core_expect_bad_page(test, kernel, page, PINPAGE_KERNEL, -EINVAL);
	/* A page that is not pinned can't be in a set that has pinned it. */
	core_expect_refused(test, &page, 1, 0, -EINVAL);
	get_page(page);
	core_expect_refused(test, &page, 1, 0, -EINVAL);
	core_expect_refused(test, &page, 1, PINPAGE_FOLIO, -EINVAL);
	put_page(page);
}

/* Pages of a file, pinned one by one, or folio by folio. */
static void core_test_user(struct kunit *test)
{
	struct test_owner *pinned = test_file_owner(test, 0, 5, 0);
	struct test_owner *folios = test_file_owner(test, 1, 5, PINPAGE_FOLIO);

	test_expect_sane(test, pinned);
	test_expect_sane(test, folios);
	test_expect_sane(test, test_join(test, 1, pinned, 1, 3));
	/* And one who thinks that they are the kernel's. */
	core_expect_refused(test, pinned->pages, 5, PINPAGE_KERNEL, -EINVAL);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&pinned->set, NULL), 0);
	KUNIT_EXPECT_FALSE(test,
			   folio_test_pinpage(page_folio(pinned->pages[0])));
	KUNIT_EXPECT_TRUE(test,
			  folio_test_pinpage(page_folio(pinned->pages[1])));
}

static void core_test_twice(struct kunit *test)
{
	struct test_owner *owner = test_blank_owner(test, 400, PINPAGE_KERNEL);
	unsigned int i, flagged = 0;

	test_alloc_pages(test, owner, 399, 0);
	for (i = 0; i < 399; i += 133) {
		owner->pages[399] = owner->pages[i];
		core_expect_refused(test, owner->pages, 400, PINPAGE_KERNEL,
				    -EEXIST);
	}
	for (i = 0; i < 399; i++)
		flagged += folio_test_pinpage(page_folio(owner->pages[i]));
	KUNIT_EXPECT_EQ(test, flagged, 0);
	test_set(test, owner, 0);
	core_expect_refused(test, owner->pages, 400, PINPAGE_KERNEL, -EEXIST);
	test_expect_sane(test, owner);
}

static void core_test_clear(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 600, 0);
	struct page **pages;
	unsigned int i;

	pages = kunit_kcalloc(test, 600, sizeof(*pages), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pages);
	KUNIT_EXPECT_EQ(test, clear_pinpage(NULL, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, pinpage_unpin_user(NULL, false), -EINVAL);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 1);
		KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, pages), 0);
		KUNIT_EXPECT_MEMEQ(test, pages, owner->pages,
				   600 * sizeof(*pages));
		KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 0);
		KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, pages),
				-ENOENT);
		KUNIT_EXPECT_EQ(test, pinpage_unpin_user(&owner->set, false),
				-ENOENT);
		KUNIT_EXPECT_FALSE(test, pinpage_set_get(&owner->set));
		/* The set can be used again. */
		test_set(test, owner, 0);
	}
	test_expect_sane(test, owner);
}

/* The references are the owner's, whatever it does with its sets. */
static void core_test_refs(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 1, 0);
	struct page *page = owner->pages[0];

	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	test_join(test, 1, owner, 0, 1);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 2);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 2);
	KUNIT_EXPECT_TRUE(test, folio_test_pinpage(page_folio(page)));
}

/* Nobody is asked about these pages, and nobody finds them. */
static void core_test_unmovable(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_blank_owner(test, 300, PINPAGE_KERNEL |
						    PINPAGE_UNMOVABLE);
	struct page *pages[3];
	bool claimed;

	test_alloc_pages(test, owner, 300, 0);
	test_set(test, owner, 0);
	KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 1);
	KUNIT_EXPECT_FALSE(test,
			   folio_test_pinpage(page_folio(owner->pages[0])));
	KUNIT_EXPECT_EQ(test, test_count_slots(page_folio(owner->pages[0]),
					       &claimed), 0);
	test_expect_unisolable(test, owner->pages[0]);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(&owner->set, 297, pages, 3), 0);
	KUNIT_EXPECT_MEMEQ(test, pages, owner->pages + 297, sizeof(pages));
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, owner->pages), 0);
	KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 0);
}

/* Read @nr pages from @index: are they what the owner has given? */
static bool core_reads(struct test_owner *owner, unsigned long index,
		       unsigned long nr)
{
	struct page *pages[16];

	memset(pages, 0xff, sizeof(pages));
	if (pinpage_get_pages(&owner->set, index, pages, nr))
		return false;
	/* Nothing is written behind them, either. */
	if (nr < ARRAY_SIZE(pages) && (unsigned long)pages[nr] != ~0UL)
		return false;
	return !memcmp(pages, owner->pages + index, nr * sizeof(*pages));
}

static void core_expect_reads(struct kunit *test, struct test_owner *owner)
{
	unsigned long index, nr, wrong = 0;

	for (index = 0; index < owner->nr; index++)
		for (nr = 1; nr <= 16 && nr <= owner->nr - index; nr += 3)
			wrong += !core_reads(owner, index, nr);
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

static void core_test_get_pages(struct kunit *test)
{
	unsigned long nr = 2 * CHUNK_SLOTS + 5;
	struct test_owner *owner = test_new_owner(test, 0, nr, 0);
	struct page *page;

	core_expect_reads(test, owner);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(NULL, 0, &page, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(&owner->set, 0, NULL, 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(&owner->set, 0, &page, 0),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(&owner->set, nr, &page, 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(&owner->set, nr - 1, &page, 2),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(&owner->set, 1, &page,
						ULONG_MAX), -EINVAL);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);
	KUNIT_EXPECT_EQ(test, pinpage_get_pages(&owner->set, 0, &page, 1),
			-ENOENT);
}

/*
 * Make of the pages of @owner, in folios of eight: every other folio as it is,
 * those between backwards, and singles of three folios at a time by turns.
 */
static void core_mix(struct test_owner *owner)
{
	struct page **pages = owner->pages;
	unsigned long i, n;

	for (i = 8; i + 8 <= owner->nr; i += 16)
		for (n = 0; n < 4; n++)
			swap(pages[i + n], pages[i + 7 - n]);
	for (i = 0; i + 40 <= owner->nr; i += 40)
		for (n = 0; n < 3; n++)
			swap(pages[i + n], pages[i + 16 + n]);
}

/* Slots lie one after the other, and know where in the set that is. */
static void core_expect_indices(struct kunit *test, struct test_owner *owner)
{
	unsigned long index = 0, wrong = 0;
	struct pinpage_chunk *chunk;
	unsigned int i;

	for (chunk = owner->set.chunks; chunk; chunk = chunk->next) {
		KUNIT_EXPECT_EQ(test, chunk->index, index);
		for (i = 0; i < chunk->nr; i++) {
			wrong += slot_index(&chunk->slots[i]) != index;
			wrong += slot_pfn(&chunk->slots[i]) !=
				 page_to_pfn(owner->pages[index]);
			wrong += slot_set(&chunk->slots[i]) != &owner->set;
			index += slot_nr(&chunk->slots[i]);
		}
	}
	KUNIT_EXPECT_EQ(test, index, owner->nr);
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

static unsigned long core_nr_slots(struct test_owner *owner)
{
	struct pinpage_chunk *chunk;
	unsigned long nr = 0;

	for (chunk = owner->set.chunks; chunk; chunk = chunk->next)
		nr += chunk->nr;
	return nr;
}

/* More slots than fit one chunk, single pages and runs of one to eight. */
static void core_test_runs(struct kunit *test)
{
	struct test_owner *owner = test_blank_owner(test, 1600, PINPAGE_KERNEL);

	test_alloc_pages(test, owner, 1600, 3);
	core_mix(owner);
	test_set(test, owner, 0);
	KUNIT_EXPECT_GT(test, core_nr_slots(owner), CHUNK_SLOTS);
	core_expect_indices(test, owner);
	core_expect_reads(test, owner);
}

static void core_test_whole_folios(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 1600, 3);

	KUNIT_EXPECT_EQ(test, core_nr_slots(owner), 200);
	core_expect_indices(test, owner);
	core_expect_reads(test, owner);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);

	/* The same from the middle of a folio to the middle of another. */
	KUNIT_EXPECT_EQ(test, set_pinpage(owner->fixture->systems, &owner->set,
					  owner->pages + 3, 1590,
					  PINPAGE_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, core_nr_slots(owner), 200);
	KUNIT_EXPECT_EQ(test, slot_nr(&owner->set.chunks->slots[0]), 5);
	KUNIT_EXPECT_EQ(test, slot_nr(&owner->set.chunks->slots[199]), 1);
}

/* Single pages know their index without a walk. */
static void core_test_indices(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 3 * CHUNK_SLOTS, 0);

	KUNIT_EXPECT_TRUE(test, owner->set.chunks->singles);
	core_expect_indices(test, owner);
}

static unsigned long core_chunk_bytes(struct test_owner *owner)
{
	struct pinpage_chunk *chunk;
	unsigned long bytes = 0;

	for (chunk = owner->set.chunks; chunk; chunk = chunk->next)
		bytes += ksize(chunk);
	return bytes;
}

/* Just when the index has grown by a segment that is empty yet. */
#define CORE_WORST	16400

static void core_test_memory(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, CORE_WORST / 4, 0);
	unsigned long bytes = core_chunk_bytes(owner), nr = owner->nr;
	int i;

	for (i = 0; i < 3; i++)
		bytes += core_chunk_bytes(test_join(test, 0, owner, 0, nr));
	bytes += pinpage_index_memory();
	bytes = bytes * 100 / (4 * nr);
	kunit_info(test, "%lu.%02lu bytes per single page", bytes / 100,
		   bytes % 100);
	KUNIT_EXPECT_LE(test, bytes, 3200);
}

/* Failures count no set, and sets are counted for their own system. */
static void core_test_nr_sets(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 1, 0);
	struct test_owner *other = test_join(test, 1, owner, 0, 1);

	test_join(test, 1, owner, 0, 1);
	KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 1);
	KUNIT_EXPECT_EQ(test, fixture->systems[1].nr_sets, 2);
	core_expect_refused(test, owner->pages, 0, PINPAGE_KERNEL, -EINVAL);
	core_expect_refused(test, owner->pages, 1, 0, -EINVAL);
	KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 1);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&other->set, NULL), 0);
	KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 1);
	KUNIT_EXPECT_EQ(test, fixture->systems[1].nr_sets, 1);
}

#ifdef CONFIG_MODULE_UNLOAD
/* As many references as sets; and no set once the module is unloading. */
static void core_test_module(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct pinpage_system *system = &fixture->systems[0];
	struct test_owner *owner;
	struct module *module;

	module = kunit_kzalloc(test, sizeof(*module), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, module);
	module->state = MODULE_STATE_LIVE;
	atomic_set(&module->refcnt, 1);
	system->owner = module;

	owner = test_new_owner(test, 0, 2, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&module->refcnt), 2);
	KUNIT_EXPECT_EQ(test, unregister_pinpage(system), -EBUSY);
	core_expect_refused(test, owner->pages, 1, 0, -EINVAL);
	KUNIT_EXPECT_EQ(test, atomic_read(&module->refcnt), 2);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&module->refcnt), 1);

	module->state = MODULE_STATE_GOING;
	core_expect_refused(test, owner->pages, 2, PINPAGE_KERNEL, -ENODEV);
	KUNIT_EXPECT_EQ(test, atomic_read(&module->refcnt), 1);
	system->owner = NULL;
}
#else
static void core_test_module(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MODULE_UNLOAD");
}
#endif

/* clear_pinpage() waits for each batch that has the set, and lets none in. */
static void core_test_leave(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);

	KUNIT_ASSERT_TRUE(test, pinpage_set_get(&owner->set));
	KUNIT_ASSERT_TRUE(test, pinpage_set_get(&owner->set));
	test_begin_clear(test, owner);
	KUNIT_EXPECT_FALSE(test, completion_done(&owner->cleared));
	KUNIT_EXPECT_FALSE(test, pinpage_set_get(&owner->set));
	pinpage_set_put(&owner->set);
	msleep(20);
	KUNIT_EXPECT_FALSE(test, completion_done(&owner->cleared));
	pinpage_set_put(&owner->set);
	test_end_clear(test, owner);
	KUNIT_EXPECT_PTR_EQ(test, owner->set.system, NULL);
	KUNIT_EXPECT_FALSE(test,
			   folio_test_pinpage(page_folio(owner->pages[0])));
}

/* pinpage_pin_user() fails with @err; no page of @at is pinned. */
static void core_expect_unpinned(struct kunit *test, unsigned long at,
				 unsigned long nr, unsigned int gup_flags,
				 unsigned int flags, int err)
{
	struct test_fixture *fixture = test->priv;
	struct pinpage_set *set;
	struct page *pages[8];

	set = kunit_kzalloc(test, sizeof(*set), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, set);
	KUNIT_EXPECT_EQ(test, pinpage_pin_user(&fixture->systems[0], set, at,
					       nr, gup_flags, flags, pages),
			err);
	KUNIT_EXPECT_EQ(test, fixture->systems[0].nr_sets, 0);
	KUNIT_EXPECT_EQ(test, clear_pinpage(set, NULL), -ENOENT);
}

static void core_test_pin_user_bad(struct kunit *test)
{
	unsigned long at = test_mmap(test, 8, PROT_READ | PROT_WRITE);
	unsigned long ro = test_mmap(test, 8, PROT_READ);
	struct test_owner *owner;

	KUNIT_ASSERT_EQ(test, vm_munmap(at + 4 * PAGE_SIZE, PAGE_SIZE), 0);
	core_expect_unpinned(test, at, 0, 0, 0, -EINVAL);
	core_expect_unpinned(test, at, 4, 0, PINPAGE_KERNEL, -EINVAL);
	core_expect_unpinned(test, at, 4, 0, PINPAGE_FOLIO, -EINVAL);
	core_expect_unpinned(test, at, 8, FOLL_WRITE, 0, -EFAULT);
	core_expect_unpinned(test, at, 8, FOLL_WRITE, PINPAGE_UNMOVABLE,
			     -EFAULT);
	core_expect_unpinned(test, ro, 8, FOLL_WRITE, 0, -EFAULT);
	core_expect_unpinned(test, at, ULONG_MAX, 0, 0, -EOVERFLOW);

	/* What is left of all this is nothing. */
	owner = test_user_owner(test, 0, at, 4);
	KUNIT_EXPECT_EQ(test, page_ref_count(owner->pages[3]),
			1 + GUP_PIN_COUNTING_BIAS);
	test_expect_sane(test, owner);
}

static void core_test_pin_user(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	unsigned long at = test_mmap(test, 4, PROT_READ | PROT_WRITE);
	struct test_owner *owner = test_user_owner(test, 0, at, 4);
	struct page *page = owner->pages[1];
	struct pinpage_set *fixed;
	struct page *pages[2];

	test_expect_sane(test, owner);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1 + GUP_PIN_COUNTING_BIAS);

	fixed = kunit_kzalloc(test, sizeof(*fixed), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fixed);
	KUNIT_ASSERT_EQ(test, pinpage_pin_user(&fixture->systems[1], fixed,
					       at + PAGE_SIZE + 17, 2, 0,
					       PINPAGE_UNMOVABLE, pages), 0);
	/* Out of CMA first, where it was there; the first owner knows. */
	page = owner->pages[1];
	lru_add_drain_all();
	KUNIT_EXPECT_PTR_EQ(test, pages[0], page);
	KUNIT_EXPECT_EQ(test, page_ref_count(page),
			1 + 2 * GUP_PIN_COUNTING_BIAS);
	KUNIT_EXPECT_EQ(test, pinpage_unpin_user(fixed, true), 0);
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(page_folio(page)));
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1 + GUP_PIN_COUNTING_BIAS);

	/* Unpinned along with the set: nothing is left to be put. */
	owner->nr = 0;
	KUNIT_EXPECT_EQ(test, pinpage_unpin_user(&owner->set, false), 0);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_FALSE(test, folio_test_pinpage(page_folio(page)));
}

/*
 * A set of one huge page costs at most 64 bytes; one reference per folio, of a
 * kernel-owned or another one, is counted once, in whatever parts it is set.
 */
static void core_test_huge(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 512, 9), *parts;
	struct page *scattered[] = {
		owner->pages[7], owner->pages[8], owner->pages[100],
		owner->pages[511],
	};
	struct folio *folio = page_folio(owner->pages[0]);
	struct pinpage_refs refs = {};

	KUNIT_EXPECT_EQ(test, owner->set.chunks->nr, 1);
	KUNIT_EXPECT_LE(test, ksize(owner->set.chunks), 64);

	parts = test_blank_owner(test, ARRAY_SIZE(scattered), PINPAGE_KERNEL);
	memcpy(parts->pages, scattered, sizeof(scattered));
	parts->nr = ARRAY_SIZE(scattered);
	folio_get(folio);
	test_set(test, parts, 1);
	KUNIT_EXPECT_EQ(test, parts->set.chunks->nr, 3);
	pinpage_count_refs(folio, &refs);
	KUNIT_EXPECT_EQ(test, refs.refs, 2);
	KUNIT_EXPECT_EQ(test, refs.slots, 4);
	KUNIT_EXPECT_TRUE(test, refs.kernel);
	KUNIT_EXPECT_FALSE(test, refs.refused);
}

static struct kunit_case core_test_cases[] = {
	KUNIT_CASE(core_test_register_bad),
	KUNIT_CASE(core_test_register_twice),
	KUNIT_CASE(core_test_register_once),
	KUNIT_CASE(core_test_unregister),
	KUNIT_CASE(core_test_set_args),
	KUNIT_CASE(core_test_set_busy),
	KUNIT_CASE(core_test_bad_pages),
	KUNIT_CASE(core_test_wrong_kind),
	KUNIT_CASE(core_test_user),
	KUNIT_CASE(core_test_twice),
	KUNIT_CASE(core_test_clear),
	KUNIT_CASE(core_test_refs),
	KUNIT_CASE(core_test_unmovable),
	KUNIT_CASE(core_test_get_pages),
	KUNIT_CASE(core_test_runs),
	KUNIT_CASE(core_test_whole_folios),
	KUNIT_CASE(core_test_indices),
	KUNIT_CASE(core_test_memory),
	KUNIT_CASE(core_test_huge),
	KUNIT_CASE(core_test_nr_sets),
	KUNIT_CASE(core_test_module),
	KUNIT_CASE(core_test_leave),
	KUNIT_CASE(core_test_pin_user_bad),
	KUNIT_CASE(core_test_pin_user),
	{}
};

static struct kunit_suite core_test_suite = {
	.name = "pinpage-core",
	.init = test_init,
	.exit = test_exit,
	.test_cases = core_test_cases,
};

kunit_test_suite(core_test_suite);

#endif /* _MM_PINPAGE_TESTS_CORE_H */
#endif /* CONFIG_PINPAGE_KUNIT_TEST */
