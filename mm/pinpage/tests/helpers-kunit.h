/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit tests of pinpage share: pages, owners that do as they are
 * told and note what they are asked, and a fixture that cleans up after a case,
 * failed or not.
 *
 * Callbacks run in whatever task moves pages, so they expect and assert
 * nothing: they count what they find wrong in test_owner.breaches, and the case
 * looks at it.
 */
#ifndef _MM_PINPAGE_TESTS_HELPERS_H
#define _MM_PINPAGE_TESTS_HELPERS_H

#include <kunit/test.h>
#include <linux/bitops.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/migrate.h>
#include <linux/mm_inline.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../../internal.h"
#include "../internal.h"

/* Under emulation, on a busy host, nothing much can take longer than usual. */
#define TEST_TIMEOUT_MS		PINPAGE_TIMEOUT_MAX_MS

/* Systems of a fixture; the last one has migrate(). */
#define TEST_SYSTEMS		3
#define TEST_COPYING		(TEST_SYSTEMS - 1)

/* Flags that an owner of kernel pages may use. */
#define TEST_OWNER_FLAGS	(BIT(PG_referenced) | BIT(PG_uptodate) | \
				 BIT(PG_dirty) | BIT(PG_private) | \
				 BIT(PG_private_2) | BIT(PG_owner_priv_1) | \
				 BIT(PG_owner_2))

struct test_fixture {
	struct pinpage_system systems[TEST_SYSTEMS];
	struct list_head owners;
	struct list_head folios;	/* isolated */
	unsigned int sequence;
	unsigned int nr_new;		/* folios to allocate before -ENOMEM */
	/* A move by another task: */
	struct completion over;
	bool moving;
	bool at_once;			/* as it was before */
	enum migrate_mode mode;
	unsigned int moved;
};

/* The pages of a set as its owner sees them, what to answer, what was asked. */
struct test_owner {
	struct pinpage_set set;
	struct list_head list;
	struct test_fixture *fixture;
	struct page **pages;
	struct page **moves;		/* by page: where it is to go, or NULL */
	unsigned long nr;
	unsigned int flags;
	bool stuck;			/* a thread still uses it */
	struct completion cleared;
	int clear_err;

	int answers[4];			/* of the first calls of prepare(), ... */
	unsigned int nr_answers;
	int answer;			/* ... and of the others */
	bool early;			/* -EINPROGRESS, but quiet already */
	struct folio *get;		/* get a reference in prepare() */
	int migrate;

	spinlock_t lock;		/* protects open, quiet */
	bool open, quiet;		/* the pause */
	unsigned int items;
	ktime_t began, rests;

	unsigned int prepares, pauses, completes, cancels, migrates;
	unsigned int asked;		/* pages */
	unsigned int moved, stayed;
	unsigned int asked_at, told_at;
	unsigned int descents;		/* items that come before their index */
	unsigned int breaches;
};

static inline struct test_owner *test_owner(struct pinpage_set *set)
{
	return container_of(set, struct test_owner, set);
}

static inline void test_breach(struct test_owner *owner, bool breach)
{
	if (breach)
		owner->breaches++;
}

static inline void test_check_context(struct test_owner *owner)
{
	test_breach(owner, IS_ENABLED(CONFIG_PREEMPT_COUNT) && !preemptible());
}

/* Is @item what its owner knows, and paused or not? */
static inline bool test_check_item(struct test_owner *owner,
				   const struct pinpage_item *item, bool paused)
{
	unsigned long i;

	if (!item->nr || item->index >= owner->nr ||
	    item->nr > owner->nr - item->index) {
		test_breach(owner, true);
		return false;
	}
	for (i = 0; i < item->nr; i++) {
		test_breach(owner, owner->pages[item->index + i] !=
				   nth_page(item->page, i));
		test_breach(owner, !!owner->moves[item->index + i] != paused);
	}
	return true;
}

/* A destination is allocated, of the same size, and within the limits. */
static inline bool test_check_new(struct test_owner *owner,
				  const struct pinpage_item *item)
{
	phys_addr_t limit = owner->set.limit;
	struct folio *folio;

	test_breach(owner, !item->new || item->new == item->page);
	if (!item->new)
		return false;
	folio = page_folio(item->new);
	test_breach(owner, folio_order(folio) !=
			   folio_order(page_folio(item->page)));
	test_breach(owner, folio_page_idx(folio, item->new) !=
			   folio_page_idx(page_folio(item->page), item->page));
	test_breach(owner, folio_test_pinpage(folio));
	test_breach(owner, limit && PFN_PHYS(page_to_pfn(item->new)) > limit);
	return true;
}

static inline int test_answer(struct test_owner *owner)
{
	if (owner->prepares <= owner->nr_answers)
		return owner->answers[owner->prepares - 1];
	return owner->answer;
}

static inline void test_begin_pause(struct test_owner *owner,
				    const struct pinpage_item *items,
				    unsigned int nr, int ret)
{
	unsigned int i, j;

	owner->pauses++;
	owner->items = nr;
	for (i = 0; i < nr; i++)
		for (j = 0; j < items[i].nr; j++)
			owner->moves[items[i].index + j] =
				nth_page(items[i].new, j);
	owner->quiet = !ret || owner->early;
	owner->open = true;
	if (ret && owner->early)
		pinpage_quiet(&owner->set);
}

static inline int test_prepare(struct pinpage_set *set,
			       struct pinpage_item *items, unsigned int nr)
{
	struct test_owner *owner = test_owner(set);
	unsigned long flags;
	bool good = true;
	unsigned int i;
	int ret;

	owner->prepares++;
	owner->asked_at = ++owner->fixture->sequence;
	test_check_context(owner);
	test_breach(owner, !nr || owner->open);
	owner->began = ktime_get();
	test_breach(owner, ktime_before(owner->began, owner->rests));
	for (i = 0; i < nr; i++) {
		good &= test_check_item(owner, &items[i], false);
		good &= test_check_new(owner, &items[i]);
		owner->asked += items[i].nr;
		owner->descents += i && items[i].index < items[i - 1].index;
	}
	if (owner->get)
		folio_get(owner->get);
	ret = test_answer(owner);
	if (!good || (ret && ret != -EINPROGRESS))
		return ret ?: -EBUSY;
	spin_lock_irqsave(&owner->lock, flags);
	test_begin_pause(owner, items, nr, ret);
	spin_unlock_irqrestore(&owner->lock, flags);
	return ret;
}

/* Access has ended, if a pause is open. */
static inline void test_quiet(struct test_owner *owner)
{
	spin_lock_irq(&owner->lock);
	if (owner->open && !owner->quiet) {
		owner->quiet = true;
		pinpage_quiet(&owner->set);
	}
	spin_unlock_irq(&owner->lock);
}

/* The owner goes on with the pages of @item, wherever they are. */
static inline void test_resume(struct test_owner *owner,
			       const struct pinpage_item *item)
{
	unsigned long i, at;

	if (item->new)
		owner->moved += item->nr;
	else
		owner->stayed += item->nr;
	for (i = 0; i < item->nr; i++) {
		at = item->index + i;
		if (item->new) {
			test_breach(owner, !owner->quiet);
			test_breach(owner, owner->moves[at] !=
					   nth_page(item->new, i));
			owner->pages[at] = nth_page(item->new, i);
		}
		owner->moves[at] = NULL;
	}
}

/* Are there pages that complete() was not given? */
static inline bool test_forgotten(struct test_owner *owner)
{
	unsigned long i;

	for (i = 0; i < owner->nr; i++)
		if (owner->moves[i])
			return true;
	return false;
}

/* Slots of @folio in the index, and whether one of them is claimed. */
static inline unsigned int test_count_slots(struct folio *folio, bool *claimed)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;
	unsigned int nr = 0;

	*claimed = false;
	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket)) {
		nr++;
		*claimed |= slot_claimed(slot);
	}
	pinpage_index_unlock(&bucket);
	return nr;
}

/* Until its owner has been told, nobody else may ask about a page. */
static inline bool test_spoken_for(struct pinpage_item *item)
{
	bool claimed;

	test_count_slots(page_folio(item->new ?: item->page), &claimed);
	return claimed;
}

static inline void test_complete(struct pinpage_set *set,
				 struct pinpage_item *items, unsigned int nr)
{
	struct test_owner *owner = test_owner(set);
	unsigned long flags;
	unsigned int i;

	owner->completes++;
	owner->told_at = ++owner->fixture->sequence;
	test_check_context(owner);
	spin_lock_irqsave(&owner->lock, flags);
	test_breach(owner, !owner->open || nr != owner->items);
	for (i = 0; i < nr; i++) {
		if (!test_check_item(owner, &items[i], true))
			continue;
		test_resume(owner, &items[i]);
	}
	test_breach(owner, test_forgotten(owner));
	owner->cancels += !owner->quiet;
	owner->open = false;
	owner->quiet = false;
	spin_unlock_irqrestore(&owner->lock, flags);
	for (i = 0; i < nr; i++)
		test_breach(owner, !test_spoken_for(&items[i]));
	owner->rests = ktime_add(ktime_get(),
				 ktime_sub(ktime_get(), owner->began));
}

/* The fields that are the owner's. */
static inline void test_move_fields(struct folio *dst, struct folio *src)
{
	dst->mapping = src->mapping;
	dst->index = src->index;
	dst->private = src->private;
	set_mask_bits(&dst->flags, 0, src->flags & TEST_OWNER_FLAGS);
	src->mapping = NULL;
	src->private = NULL;
	set_mask_bits(&src->flags, TEST_OWNER_FLAGS, 0);
}

/* Inverts what it copies, so that one can tell who has copied. */
static inline int test_migrate(struct pinpage_set *set, struct folio *dst,
			       struct folio *src, enum migrate_mode mode)
{
	struct test_owner *owner = test_owner(set);
	unsigned long *from, *to;
	unsigned int i;

	owner->migrates++;
	test_check_context(owner);
	test_breach(owner, !folio_test_locked(dst) || !folio_test_locked(src));
	test_breach(owner, folio_ref_count(src));
	test_breach(owner, mode != MIGRATE_ASYNC || !owner->quiet);
	if (owner->migrate)
		return owner->migrate;
	from = folio_address(src);
	to = folio_address(dst);
	for (i = 0; i < folio_size(src) / sizeof(*from); i++)
		to[i] = ~from[i];
	test_move_fields(dst, src);
	return 0;
}

static const struct pinpage_ops test_ops = {
	.prepare = test_prepare,
	.complete = test_complete,
};

static const struct pinpage_ops test_copying_ops = {
	.prepare = test_prepare,
	.complete = test_complete,
	.migrate = test_migrate,
};

static inline void test_register(struct kunit *test,
				 struct pinpage_system *system, int i)
{
	static const char * const names[TEST_SYSTEMS] = {
		"kunit-0", "kunit-1", "kunit-copying",
	};

	system->name = names[i];
	system->owner = THIS_MODULE;
	system->ops = i == TEST_COPYING ? &test_copying_ops : &test_ops;
	KUNIT_ASSERT_EQ(test, register_pinpage(system), 0);
}

/* Started from debugfs, the tests would meet the pins of real owners. */
static inline void test_skip_unless_alone(struct kunit *test)
{
	bool alone;

	mutex_lock(&pinpage_mutex);
	alone = list_empty(&pinpage_systems);
	mutex_unlock(&pinpage_mutex);
	if (!alone)
		kunit_skip(test, "pinpage is in use");
}

static inline int test_init(struct kunit *test)
{
	struct test_fixture *fixture;
	int i;

	test_skip_unless_alone(test);
	fixture = kzalloc(sizeof(*fixture), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fixture);
	INIT_LIST_HEAD(&fixture->owners);
	INIT_LIST_HEAD(&fixture->folios);
	init_completion(&fixture->over);
	fixture->nr_new = UINT_MAX;
	test->priv = fixture;
	fixture->at_once = pinpage_index_at_once;
	WRITE_ONCE(pinpage_index_at_once, true);
	for (i = 0; i < TEST_SYSTEMS; i++)
		test_register(test, &fixture->systems[i], i);
	if (!pinpage_active())
		kunit_skip(test, "pinpage=off");
	return 0;
}

/* Is @owner->pages[i] the first one of its folio there? */
static inline bool test_first(struct test_owner *owner, unsigned long i)
{
	struct folio *folio = page_folio(owner->pages[i]);

	while (i-- && folio_test_large(folio))
		if (page_folio(owner->pages[i]) == folio)
			return false;
	return true;
}

/* What a case may have stored in the fields that are the owner's. */
static inline void test_wipe(struct folio *folio)
{
	folio->mapping = NULL;
	folio->private = NULL;
	set_mask_bits(&folio->flags, TEST_OWNER_FLAGS, 0);
}

static inline void test_put_page(struct test_owner *owner, unsigned long i)
{
	struct page *page = owner->pages[i];

	if (owner->flags & PINPAGE_KERNEL) {
		if (!test_first(owner, i))
			return;
		test_wipe(page_folio(page));
		put_page(page);
	} else {
		unpin_user_page(page);
	}
}

/* Take back a set at a time when no batch is in flight. */
static inline void test_clear(struct kunit *test, struct test_owner *owner)
{
	int moves = atomic_read(&owner->set.moves);

	/* One that has not given it back would have us wait for ever. */
	if (!owner->set.starting)
		KUNIT_EXPECT_EQ(test, moves, 0);
	if (moves > 0)
		atomic_set(&owner->set.moves, 0);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, owner->pages), 0);
}

static inline void test_free_owner(struct kunit *test, struct test_owner *owner)
{
	unsigned long i;

	if (owner->stuck)
		return;
	if (owner->set.system) {
		/* The next case has the same user, and is not to pay for it. */
		pinpage_note_quiet(&owner->set, true);
		test_clear(test, owner);
	}
	/* From the end, or pages of a folio would outlive it. */
	for (i = owner->nr; i--;)
		test_put_page(owner, i);
	list_del(&owner->list);
	kvfree(owner->moves);
	kvfree(owner->pages);
	kfree(owner);
}

static inline void test_putback(struct test_fixture *fixture)
{
	putback_movable_pages(&fixture->folios);
}

/* Wait for the move that test_begin_move() has begun: how many have moved? */
static inline unsigned int test_end_move(struct test_fixture *fixture)
{
	wait_for_completion(&fixture->over);
	fixture->moving = false;
	return fixture->moved;
}

static inline void test_exit(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner, *next;
	int i, err = 0;

	if (!fixture)
		return;
	if (fixture->moving) {
		list_for_each_entry(owner, &fixture->owners, list)
			test_quiet(owner);
		test_end_move(fixture);
	}
	test_putback(fixture);
	list_for_each_entry_safe_reverse(owner, next, &fixture->owners, list)
		test_free_owner(test, owner);
	for (i = 0; i < TEST_SYSTEMS; i++)
		if (fixture->systems[i].registered)
			err |= unregister_pinpage(&fixture->systems[i]);
	WRITE_ONCE(pinpage_index_at_once, fixture->at_once);
	/* What can't be unregistered has to stay; the next case will skip. */
	if (!err)
		kfree(fixture);
}

/* An owner of @nr pages that it does not know yet, and that is not set yet. */
static inline struct test_owner *test_blank_owner(struct kunit *test,
						  unsigned long nr,
						  unsigned int flags)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = kzalloc(sizeof(*owner), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, owner);
	owner->fixture = fixture;
	owner->flags = flags;
	spin_lock_init(&owner->lock);
	owner->set.timeout_ms = TEST_TIMEOUT_MS;
	list_add_tail(&owner->list, &fixture->owners);
	owner->pages = kvcalloc(nr, sizeof(*owner->pages), GFP_KERNEL);
	owner->moves = kvcalloc(nr, sizeof(*owner->moves), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, owner->pages);
	KUNIT_ASSERT_NOT_NULL(test, owner->moves);
	return owner;
}

/* Give @owner @nr pages of its own, in folios of @order. */
static inline void test_alloc_pages(struct kunit *test,
				    struct test_owner *owner, unsigned long nr,
				    unsigned int order)
{
	struct page *page;
	unsigned long i;

	while (owner->nr < nr) {
		page = alloc_pages(GFP_KERNEL | __GFP_COMP | __GFP_ZERO, order);
		KUNIT_ASSERT_NOT_NULL(test, page);
		for (i = 0; i < 1UL << order; i++)
			owner->pages[owner->nr++] = nth_page(page, i);
	}
}

static inline void test_set(struct kunit *test, struct test_owner *owner, int i)
{
	struct test_fixture *fixture = test->priv;

	KUNIT_ASSERT_EQ(test, set_pinpage(&fixture->systems[i], &owner->set,
					  owner->pages, owner->nr,
					  owner->flags), 0);
}

/* An owner, of system @i, of @nr kernel-owned pages in folios of @order. */
static inline struct test_owner *test_new_owner(struct kunit *test, int i,
						unsigned long nr,
						unsigned int order)
{
	struct test_owner *owner = test_blank_owner(test, nr, PINPAGE_KERNEL);

	test_alloc_pages(test, owner, nr, order);
	test_set(test, owner, i);
	return owner;
}

/* One more owner, of system @i, of pages of @other. */
static inline struct test_owner *test_join(struct kunit *test, int i,
					   struct test_owner *other,
					   unsigned long first,
					   unsigned long nr)
{
	struct test_owner *owner = test_blank_owner(test, nr, other->flags);
	unsigned long n;

	for (n = 0; n < nr; n++) {
		owner->pages[n] = other->pages[first + n];
		if (!(owner->flags & PINPAGE_KERNEL))
			folio_add_pin(page_folio(owner->pages[n]));
		else if (test_first(owner, n))
			get_page(owner->pages[n]);
		owner->nr++;
	}
	test_set(test, owner, i);
	return owner;
}

/* Isolate the folios of a kernel-owned set, as compaction does. */
static inline void test_isolate(struct kunit *test, struct test_owner *owner)
{
	struct test_fixture *fixture = test->priv;
	struct folio *folio;
	unsigned long i;

	for (i = 0; i < owner->nr; i++) {
		if (!test_first(owner, i))
			continue;
		folio = page_folio(owner->pages[i]);
		KUNIT_ASSERT_TRUE(test, __pinpage_isolate(&folio->page));
		list_add_tail(&folio->lru, &fixture->folios);
	}
}

/* @page can't be isolated. If it is, end that, or its set would wait. */
static inline void test_expect_unisolable(struct kunit *test, struct page *page)
{
	int refs = page_ref_count(page);
	bool isolated = __pinpage_isolate(page);

	KUNIT_EXPECT_FALSE(test, isolated);
	if (isolated)
		pinpage_putback(page_folio(page));
	KUNIT_EXPECT_EQ(test, page_ref_count(page), refs);
}

static inline void test_fput(void *file)
{
	fput(file);
}

/* A file of @nr pages, which are in its page cache and on the LRU. */
static inline struct file *test_new_file(struct kunit *test, unsigned long nr,
					 struct page **pages)
{
	struct file *file = shmem_file_setup("pinpage-kunit", nr << PAGE_SHIFT,
					     VM_NORESERVE);
	unsigned long i;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, test_fput, file),
			0);
	for (i = 0; i < nr; i++) {
		pages[i] = shmem_read_mapping_page(file->f_mapping, i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(pages[i]));
		put_page(pages[i]);
	}
	lru_add_drain_all();
	return file;
}

/* An owner of system @i of the pages of a file. */
static inline struct test_owner *test_file_owner(struct kunit *test, int i,
						 unsigned long nr,
						 unsigned int flags)
{
	struct test_owner *owner = test_blank_owner(test, nr, flags);
	struct file *file = test_new_file(test, nr, owner->pages);
	pgoff_t offset;
	struct folio *folio;

	while (owner->nr < nr) {
		loff_t at = owner->nr << PAGE_SHIFT;

		KUNIT_ASSERT_EQ(test, memfd_pin_folios(file, at, at, &folio, 1,
						       &offset), 1);
		/* It may have been moved out of CMA for this. */
		owner->pages[owner->nr++] = folio_page(folio, 0);
	}
	lru_add_drain_all();
	test_set(test, owner, i);
	return owner;
}

/* Anonymous memory of a process that consists of this case. */
static inline unsigned long test_mmap(struct kunit *test, unsigned long nr,
				      unsigned long prot)
{
	unsigned long at = kunit_vm_mmap(test, NULL, 0, nr << PAGE_SHIFT, prot,
					 MAP_PRIVATE | MAP_ANONYMOUS, 0);

	if (!at || IS_ERR_VALUE(at))
		kunit_skip(test, "no process on this architecture");
	return at;
}

/* An owner of system @i that pins @nr pages from @at. */
static inline struct test_owner *test_user_owner(struct kunit *test, int i,
						 unsigned long at,
						 unsigned long nr)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_blank_owner(test, nr, 0);

	KUNIT_ASSERT_EQ(test, pinpage_pin_user(&fixture->systems[i],
					       &owner->set, at, nr, FOLL_WRITE,
					       0, owner->pages), 0);
	owner->nr = nr;
	lru_add_drain_all();
	return owner;
}

/* Isolate the folios of a set of pages on the LRU. */
static inline void test_isolate_lru(struct kunit *test,
				    struct test_owner *owner)
{
	struct test_fixture *fixture = test->priv;
	struct folio *folio;
	unsigned long i;

	for (i = 0; i < owner->nr; i++) {
		folio = page_folio(owner->pages[i]);
		KUNIT_ASSERT_TRUE(test, folio_isolate_lru(folio));
		node_stat_add_folio(folio, NR_ISOLATED_ANON +
				    folio_is_file_lru(folio));
		list_add_tail(&folio->lru, &fixture->folios);
	}
}

static inline struct folio *test_new_folio(struct folio *src,
					   unsigned long private)
{
	struct test_fixture *fixture = (struct test_fixture *)private;

	if (!fixture->nr_new)
		return NULL;
	fixture->nr_new--;
	return folio_alloc(GFP_KERNEL, folio_order(src));
}

/* Move what is isolated, and put back what stays. Returns the pages moved. */
static inline unsigned int test_move_for(struct test_fixture *fixture,
					 enum migrate_mode mode, int reason)
{
	unsigned int moved = 0;

	migrate_pages(&fixture->folios, test_new_folio, NULL,
		      (unsigned long)fixture, mode, reason, &moved);
	test_putback(fixture);
	return moved;
}

static inline unsigned int test_move(struct test_fixture *fixture,
				     enum migrate_mode mode)
{
	return test_move_for(fixture, mode, MR_COMPACTION);
}

static inline int test_move_thread(void *data)
{
	struct test_fixture *fixture = data;

	fixture->moved = test_move(fixture, fixture->mode);
	complete(&fixture->over);
	return 0;
}

/* Have a thread move what is isolated; returns once a pause of @owner is open. */
static inline void test_begin_move(struct kunit *test, struct test_owner *owner)
{
	struct test_fixture *fixture = test->priv;
	struct task_struct *task;

	reinit_completion(&fixture->over);
	fixture->mode = MIGRATE_SYNC;
	task = kthread_run(test_move_thread, fixture, "pinpage-move");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	fixture->moving = true;
	while (!READ_ONCE(owner->open) && !completion_done(&fixture->over))
		usleep_range(100, 200);
}

/* Does @owner know where its pages are, has it been treated as it should? */
static inline void test_expect_sane(struct kunit *test,
				    struct test_owner *owner)
{
	unsigned long i, wrong = 0;
	struct page *page;

	KUNIT_EXPECT_EQ(test, owner->breaches, 0);
	KUNIT_EXPECT_EQ(test, owner->pauses, owner->completes);
	KUNIT_EXPECT_FALSE(test, owner->open);
	KUNIT_EXPECT_EQ(test, atomic_read(&owner->set.moves), 0);
	for (i = 0; i < owner->nr; i++) {
		KUNIT_ASSERT_EQ(test, pinpage_get_pages(&owner->set, i, &page,
							1), 0);
		wrong += page != owner->pages[i];
		wrong += !!owner->moves[i];
		wrong += !folio_test_pinpage(page_folio(page));
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

static inline long test_stat(struct pinpage_system *system,
			     enum pinpage_stat stat)
{
	return atomic_long_read(&system->stat[stat]);
}

static inline int test_clear_thread(void *data)
{
	struct test_owner *owner = data;

	owner->clear_err = clear_pinpage(&owner->set, owner->pages);
	complete(&owner->cleared);
	return 0;
}

/* Have a thread clear @owner's set. Returns once the set is leaving. */
static inline void test_begin_clear(struct kunit *test,
				    struct test_owner *owner)
{
	struct task_struct *task;

	init_completion(&owner->cleared);
	owner->stuck = true;
	task = kthread_run(test_clear_thread, owner, "pinpage-clear");
	owner->stuck = !IS_ERR(task);
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	while (atomic_read(&owner->set.moves) >= 0)
		msleep(20);
	/* If nothing stops it, let it get on. */
	msleep(20);
}

/* Now it has to end. What is stuck is left as it is, since it is in use. */
static inline void test_end_clear(struct kunit *test, struct test_owner *owner)
{
	if (!wait_for_completion_timeout(&owner->cleared, 60 * HZ))
		KUNIT_FAIL_AND_ABORT(test, "clear_pinpage() waits for ever");
	owner->stuck = false;
	KUNIT_EXPECT_EQ(test, owner->clear_err, 0);
}

#endif /* _MM_PINPAGE_TESTS_HELPERS_H */
