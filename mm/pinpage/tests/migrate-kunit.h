/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit tests of the batches: whom they ask, what becomes of those who refuse,
 * and what goes with a folio that moves.
 */
#ifdef CONFIG_PINPAGE_KUNIT_TEST

#ifndef _MM_PINPAGE_TESTS_MIGRATE_H
#define _MM_PINPAGE_TESTS_MIGRATE_H

#include <linux/memblock.h>

#include "helpers-kunit.h"

/* What the system of @owner has counted: asked, moved, refused, ... */
static void migrate_expect_stats(struct kunit *test, int i, long asked,
				 long moved, long refused, long timedout,
				 long foreign)
{
	struct test_fixture *fixture = test->priv;
	struct pinpage_system *system = &fixture->systems[i];

	KUNIT_EXPECT_EQ(test, test_stat(system, PINPAGE_STAT_ASKED), asked);
	KUNIT_EXPECT_EQ(test, test_stat(system, PINPAGE_STAT_MOVED), moved);
	KUNIT_EXPECT_EQ(test, test_stat(system, PINPAGE_STAT_REFUSED), refused);
	KUNIT_EXPECT_EQ(test, test_stat(system, PINPAGE_STAT_TIMEDOUT),
			timedout);
	KUNIT_EXPECT_EQ(test, test_stat(system, PINPAGE_STAT_FOREIGN), foreign);
}

static void migrate_expect_calls(struct kunit *test, struct test_owner *owner,
				 unsigned int prepares, unsigned int completes)
{
	KUNIT_EXPECT_EQ(test, owner->prepares, prepares);
	KUNIT_EXPECT_EQ(test, owner->completes, completes);
	test_expect_sane(test, owner);
}

static bool migrate_claimed(struct page *page)
{
	bool claimed;

	test_count_slots(page_folio(page), &claimed);
	return claimed;
}

/* After a move, nothing is claimed or isolated. */
static void migrate_expect_idle(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner;
	unsigned long i, wrong = 0;

	list_for_each_entry(owner, &fixture->owners, list)
		for (i = 0; i < owner->nr; i++) {
			wrong += migrate_claimed(owner->pages[i]);
			wrong += folio_test_isolated(page_folio(owner->pages[i]));
		}
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

/* Isolate all of @owner's, and move it: how many pages? */
static unsigned int migrate_all(struct kunit *test, struct test_owner *owner,
				enum migrate_mode mode)
{
	unsigned int moved;

	test_isolate(test, owner);
	moved = test_move(test->priv, mode);
	migrate_expect_idle(test);
	return moved;
}

static void migrate_test_agree(struct kunit *test)
{
	struct test_owner *old = test_new_owner(test, 0, 4, 0);
	struct test_owner *new = test_join(test, 1, old, 0, 4);

	KUNIT_EXPECT_EQ(test, migrate_all(test, old, MIGRATE_SYNC), 4);
	migrate_expect_calls(test, old, 1, 1);
	migrate_expect_calls(test, new, 1, 1);
	KUNIT_EXPECT_EQ(test, old->moved, 4);
	KUNIT_EXPECT_EQ(test, new->moved, 4);
	/* The items are in the order of the batch. */
	KUNIT_EXPECT_EQ(test, old->descents, 0);
	KUNIT_EXPECT_EQ(test, new->descents, 0);
	/* Nobody goes on before all have been asked. */
	KUNIT_EXPECT_LT(test, old->asked_at, new->told_at);
	KUNIT_EXPECT_LT(test, new->asked_at, old->told_at);
	migrate_expect_stats(test, 0, 4, 4, 0, 0, 0);
	migrate_expect_stats(test, 1, 4, 4, 0, 0, 0);
}

#define MIGRATE_NESTED	4

/* Of @n owners of three pages, number @k refuses; a neighbour goes on. */
static void migrate_refuse(struct kunit *test, int n, int k)
{
	struct test_owner *owners[MIGRATE_NESTED];
	struct test_owner *other = test_new_owner(test, 0, 2, 0);
	int i;

	owners[0] = test_new_owner(test, 0, 3, 0);
	for (i = 1; i < n; i++)
		owners[i] = test_join(test, i % 2, owners[0], 0, 3);
	owners[k]->answer = -EBUSY;

	test_isolate(test, owners[0]);
	KUNIT_EXPECT_EQ(test, migrate_all(test, other, MIGRATE_SYNC), 2);
	migrate_expect_calls(test, other, 1, 1);
	/* Once in a call, however often others are tried. */
	migrate_expect_calls(test, owners[k], 1, 0);
	for (i = 0; i < n; i++) {
		if (i == k)
			continue;
		KUNIT_EXPECT_GE(test, 1, owners[i]->prepares);
		migrate_expect_calls(test, owners[i], owners[i]->prepares,
				     owners[i]->prepares);
		KUNIT_EXPECT_EQ(test, owners[i]->moved, 0);
	}
	for (i = n; i--;)
		test_free_owner(test, owners[i]);
	test_free_owner(test, other);
}

static void migrate_test_refuse(struct kunit *test)
{
	int n, k;

	for (n = 1; n <= MIGRATE_NESTED; n++)
		for (k = 0; k < n; k++)
			migrate_refuse(test, n, k);
}

/* Who has refused is asked first the next time: nobody stops for his sake. */
static void migrate_test_doubtful(struct kunit *test)
{
	struct test_owner *owners[MIGRATE_NESTED];
	unsigned int asked[MIGRATE_NESTED];
	int i;

	owners[0] = test_new_owner(test, 0, 3, 0);
	for (i = 1; i < MIGRATE_NESTED; i++)
		owners[i] = test_join(test, i % 2, owners[0], 0, 3);
	owners[1]->answer = -EBUSY;
	KUNIT_EXPECT_EQ(test, migrate_all(test, owners[0], MIGRATE_SYNC), 0);
	for (i = 0; i < MIGRATE_NESTED; i++)
		asked[i] = owners[i]->prepares;
	KUNIT_EXPECT_EQ(test, migrate_all(test, owners[0], MIGRATE_SYNC), 0);
	for (i = 0; i < MIGRATE_NESTED; i++)
		KUNIT_EXPECT_EQ(test, owners[i]->prepares, asked[i] + (i == 1));
	owners[1]->answer = 0;
	KUNIT_EXPECT_EQ(test, migrate_all(test, owners[0], MIGRATE_SYNC), 3);
	for (i = 0; i < MIGRATE_NESTED; i++)
		test_expect_sane(test, owners[i]);
}

/* What a prepare() may not return is a refusal: no error, and no success. */
static void migrate_test_nonsense(struct kunit *test)
{
	static const int answers[] = {
		1, -EINVAL, -ENOMEM, -EAGAIN, 4096, INT_MIN,
	};
	struct test_owner *owner = test_new_owner(test, 0, 2, 0);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(answers); i++) {
		owner->answer = answers[i];
		KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 0);
		migrate_expect_calls(test, owner, i + 1, 0);
		migrate_expect_stats(test, 0, 2 * i + 2, 0, 2 * i + 2, 0, 0);
	}
}

/* Quiet when it says so, from another task; no matter how many there are. */
static void migrate_test_in_progress(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *slow = test_new_owner(test, 0, 3, 0);
	struct test_owner *nested = test_join(test, 1, slow, 1, 1);
	struct test_owner *other = test_new_owner(test, 1, 4, 0);

	slow->answer = -EINPROGRESS;
	test_isolate(test, slow);
	test_isolate(test, other);
	test_begin_move(test, slow);
	test_quiet(slow);
	/* There may be a second pause, for the page that is nested. */
	while (!completion_done(&fixture->over)) {
		test_quiet(slow);
		usleep_range(100, 200);
	}
	KUNIT_EXPECT_EQ(test, test_end_move(fixture), 7);
	migrate_expect_idle(test);
	test_expect_sane(test, slow);
	KUNIT_EXPECT_EQ(test, slow->moved, 3);
	KUNIT_EXPECT_EQ(test, slow->cancels, 0);
	KUNIT_EXPECT_GE(test, 2, slow->prepares);
	KUNIT_EXPECT_EQ(test, nested->moved, 1);
	migrate_expect_calls(test, other, 1, 1);
}

/* An owner that is quiet does not stop while another one is waited for. */
static void migrate_test_nobody_waits(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *slow = test_new_owner(test, 0, 3, 0);
	struct test_owner *other = test_new_owner(test, 1, 4, 0);
	int tries;

	slow->answer = -EINPROGRESS;
	test_isolate(test, slow);
	test_isolate(test, other);
	test_begin_move(test, slow);
	for (tries = 1000; !READ_ONCE(other->completes) && tries; tries--)
		usleep_range(100, 200);
	/* Unless this task was late: then nobody is waited for. */
	if (READ_ONCE(slow->open)) {
		KUNIT_EXPECT_EQ(test, other->completes, 1);
		KUNIT_EXPECT_EQ(test, other->moved, 4);
	}
	test_quiet(slow);
	KUNIT_EXPECT_LE(test, 4, test_end_move(fixture));
	migrate_expect_calls(test, other, 1, 1);
	test_expect_sane(test, slow);
}

/*
 * The last owner of a page becomes quiet, and another one begins to leave, before
 * the mover looks: the page moves, and both go on.
 */
static void migrate_test_quiet_and_leaving(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *slow = test_new_owner(test, 0, 1, 0);
	struct test_owner *leaves = test_join(test, 1, slow, 0, 1);

	slow->answer = -EINPROGRESS;
	test_isolate(test, slow);
	test_begin_move(test, slow);
	preempt_disable();
	test_quiet(slow);
	/* As set_leave() does, which would wait now. */
	atomic_add(INT_MIN, &leaves->set.moves);
	preempt_enable();
	KUNIT_EXPECT_GE(test, 1, test_end_move(fixture));
	atomic_sub(INT_MIN, &leaves->set.moves);
	migrate_expect_idle(test);
	test_expect_sane(test, slow);
	test_expect_sane(test, leaves);
}

/* Before prepare() has returned: nobody waits. */
static void migrate_test_early(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);

	owner->answer = -EINPROGRESS;
	owner->early = true;
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_ASYNC), 3);
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_EQ(test, owner->cancels, 0);
	migrate_expect_stats(test, 0, 3, 3, 0, 0, 0);
}

/* Who must not wait does not: the owner goes on at once. */
static void migrate_test_async(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);
	struct test_owner *other = test_new_owner(test, 1, 2, 0);
	unsigned int noreclaim;

	owner->answer = -EINPROGRESS;
	test_isolate(test, other);
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_ASYNC), 2);
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_EQ(test, owner->cancels, 1);
	/* Which is not held against it. */
	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(&owner->set));
	noreclaim = memalloc_noreclaim_save();
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 0);
	memalloc_noreclaim_restore(noreclaim);
	KUNIT_EXPECT_EQ(test, owner->cancels, owner->prepares);
	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(&owner->set));
	migrate_expect_calls(test, other, 1, 1);
}

/* Too late: the owner goes on, and is not waited for again. */
static void migrate_test_timeout(struct kunit *test)
{
	struct test_owner *slow = test_new_owner(test, 0, 3, 0);
	struct test_owner *nested = test_join(test, 1, slow, 0, 3);
	struct test_owner *other = test_new_owner(test, 1, 1, 0);

	slow->set.timeout_ms = 1;
	slow->answer = -EINPROGRESS;
	test_isolate(test, other);
	KUNIT_EXPECT_EQ(test, migrate_all(test, slow, MIGRATE_SYNC), 1);
	migrate_expect_calls(test, slow, 1, 1);
	KUNIT_EXPECT_EQ(test, slow->cancels, 1);
	KUNIT_EXPECT_EQ(test, nested->moved, 0);
	migrate_expect_calls(test, nested, nested->prepares, nested->prepares);
	migrate_expect_calls(test, other, 1, 1);
	migrate_expect_stats(test, 0, 3, 0, 0, 3, 0);
	KUNIT_EXPECT_FALSE(test, pinpage_worth_waiting(&slow->set));

	/* In ten minutes' patience nobody would wait. */
	slow->set.timeout_ms = TEST_TIMEOUT_MS;
	KUNIT_EXPECT_EQ(test, migrate_all(test, slow, MIGRATE_SYNC), 0);
	KUNIT_EXPECT_EQ(test, slow->cancels, slow->prepares);
	/* What is quiet at once moves. */
	slow->answer = 0;
	KUNIT_EXPECT_EQ(test, migrate_all(test, slow, MIGRATE_SYNC), 3);
	KUNIT_EXPECT_EQ(test, nested->moved, 3);
}

/* What comes when nothing is asked is not taken for an answer. */
static void migrate_test_stray_quiet(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);

	owner->set.timeout_ms = 1;
	owner->answer = -EINPROGRESS;
	pinpage_quiet(&owner->set);
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 0);
	pinpage_quiet(&owner->set);
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 0);
	test_expect_sane(test, owner);
	KUNIT_EXPECT_EQ(test, owner->cancels, owner->prepares);
}

/* One reference too many, and nobody is asked about the folio. */
static void migrate_test_foreign(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);
	struct test_owner *nested = test_join(test, 1, owner, 1, 1);
	struct page *page = owner->pages[1];

	get_page(page);
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 2);
	put_page(page);
	KUNIT_EXPECT_PTR_EQ(test, owner->pages[1], page);
	migrate_expect_calls(test, owner, 1, 1);
	migrate_expect_calls(test, nested, 0, 0);
	migrate_expect_stats(test, 0, 2, 2, 0, 0, 1);
	migrate_expect_stats(test, 1, 0, 0, 0, 0, 1);

	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 3);
	migrate_expect_calls(test, nested, 1, 1);
}

/* A reference that comes after the owners were asked keeps the folio, too. */
static void migrate_test_foreign_late(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 2, 0);
	struct page *page = owner->pages[0];

	owner->get = page_folio(page);
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_ASYNC), 1);
	owner->get = NULL;
	KUNIT_EXPECT_PTR_EQ(test, owner->pages[0], page);
	KUNIT_EXPECT_LE(test, 2, page_ref_count(page));
	/* As often as it was asked. */
	while (page_ref_count(page) > 1)
		put_page(page);
	test_expect_sane(test, owner);
	KUNIT_EXPECT_EQ(test, owner->moved, 1);
}

/* A set that comes while another one is asked is not part of it. */
static void migrate_test_late_set(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 2, 0), *late;

	owner->answer = -EINPROGRESS;
	test_isolate(test, owner);
	test_begin_move(test, owner);
	late = test_join(test, 1, owner, 0, 1);
	owner->answer = 0;
	test_quiet(owner);
	test_end_move(fixture);
	migrate_expect_idle(test);
	/* It came too late, or has agreed in the next round. */
	test_expect_sane(test, owner);
	test_expect_sane(test, late);
	KUNIT_EXPECT_PTR_EQ(test, late->pages[0], owner->pages[0]);
}

/* A set that must not move is a foreign reference to the others. */
static void migrate_test_unmovable(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 2, 0);
	struct page *page = owner->pages[0];
	struct test_owner *fixed;

	owner->flags |= PINPAGE_UNMOVABLE;
	fixed = test_join(test, 1, owner, 0, 1);
	owner->flags &= ~PINPAGE_UNMOVABLE;
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 1);
	KUNIT_EXPECT_PTR_EQ(test, owner->pages[0], page);
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_EQ(test, fixed->prepares, 0);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&fixed->set, NULL), 0);
}

static void migrate_test_reasons(struct kunit *test)
{
	static const int may[] = {
		MR_COMPACTION, MR_MEMORY_HOTPLUG, MR_SYSCALL,
		MR_MEMPOLICY_MBIND, MR_CONTIG_RANGE, MR_LONGTERM_PIN,
		MR_MEMORY_FAILURE,
	};
	static const int may_not[] = {
		MR_NUMA_MISPLACED, MR_DEMOTION, MR_DAMON,
	};
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(may); i++) {
		test_isolate(test, owner);
		KUNIT_EXPECT_EQ(test, test_move_for(fixture, MIGRATE_SYNC,
						    may[i]), 3);
		migrate_expect_calls(test, owner, i + 1, i + 1);
	}
	for (i = 0; i < ARRAY_SIZE(may_not); i++) {
		test_isolate(test, owner);
		KUNIT_EXPECT_EQ(test, test_move_for(fixture, MIGRATE_SYNC,
						    may_not[i]), 0);
		migrate_expect_idle(test);
	}
	migrate_expect_calls(test, owner, ARRAY_SIZE(may), ARRAY_SIZE(may));
}

/* Compaction asks unless it is told not to; others ask all the same. */
static void migrate_test_knob(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);
	int was = sysctl_compaction;

	sysctl_compaction = 0;
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 0);
	migrate_expect_calls(test, owner, 0, 0);
	test_isolate(test, owner);
	KUNIT_EXPECT_EQ(test, test_move_for(fixture, MIGRATE_SYNC,
					    MR_CONTIG_RANGE), 3);
	sysctl_compaction = 1;
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 3);
	sysctl_compaction = was;
	migrate_expect_calls(test, owner, 2, 2);
}

/* What is in no set is none of our business. */
static void migrate_test_unflagged(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *file = test_file_owner(test, 0, 3, 0);
	struct test_owner *busy = test_new_owner(test, 0, 2, 0);
	unsigned long i;

	KUNIT_ASSERT_EQ(test, clear_pinpage(&file->set, NULL), 0);
	for (i = 0; i < 3; i++) {
		get_page(file->pages[i]);
		unpin_user_page(file->pages[i]);
	}
	test_isolate_lru(test, file);
	for (i = 0; i < 3; i++)
		put_page(file->pages[i]);
	file->nr = 0;
	busy->answer = -EBUSY;
	test_isolate(test, busy);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 3);
	migrate_expect_calls(test, busy, 1, 0);
}

/* A set that leaves is not asked; isolated pages have it wait. */
static void migrate_test_leaving(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 3, 0);
	struct test_owner *stays = test_join(test, 1, owner, 0, 3);
	struct test_owner *other = test_new_owner(test, 1, 1, 0);

	test_isolate(test, owner);
	test_isolate(test, other);
	test_begin_clear(test, owner);
	KUNIT_EXPECT_FALSE(test, completion_done(&owner->cleared));
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 1);
	test_end_clear(test, owner);
	KUNIT_EXPECT_EQ(test, owner->prepares, 0);
	migrate_expect_calls(test, stays, 0, 0);
	migrate_expect_calls(test, other, 1, 1);

	test_isolate(test, stays);
	test_putback(fixture);
}

/* Not even isolated, once a set is about to leave. */
static void migrate_test_leaving_isolate(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 1, 0);

	KUNIT_ASSERT_TRUE(test, pinpage_set_get(&owner->set));
	test_begin_clear(test, owner);
	test_expect_unisolable(test, owner->pages[0]);
	pinpage_set_put(&owner->set);
	test_end_clear(test, owner);
}

/* An owner that leaves before it is quiet need not wait to be given up. */
static void migrate_test_leaving_cancels(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 300, 0);
	struct test_owner *nested = test_join(test, 1, owner, 0, 300);

	owner->answer = -EINPROGRESS;
	test_isolate(test, owner);
	test_begin_move(test, owner);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, owner->pages), 0);
	KUNIT_EXPECT_EQ(test, test_end_move(fixture), 0);
	KUNIT_EXPECT_FALSE(test, owner->open);
	KUNIT_EXPECT_EQ(test, owner->cancels, owner->prepares);
	KUNIT_EXPECT_EQ(test, owner->completes, owner->prepares);
	KUNIT_EXPECT_EQ(test, owner->breaches, 0);
	test_expect_sane(test, nested);
	KUNIT_EXPECT_EQ(test, page_ref_count(owner->pages[299]), 2);
}

/* Isolated by somebody who does not move it yet: it has to come back first. */
static void migrate_test_putback_wakes(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 300, 0);

	test_isolate(test, owner);
	test_begin_clear(test, owner);
	KUNIT_EXPECT_FALSE(test, completion_done(&owner->cleared));
	test_putback(fixture);
	test_end_clear(test, owner);
	KUNIT_EXPECT_EQ(test, page_ref_count(owner->pages[299]), 1);
}

static void migrate_test_isolate(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 4, 2);
	struct test_owner *file = test_file_owner(test, 1, 1, 0);
	struct folio *folio = page_folio(owner->pages[0]);

	/* A page of the LRU is not ours; of a folio any page will do. */
	test_expect_unisolable(test, file->pages[0]);
	KUNIT_EXPECT_FALSE(test, pinpage_folio_kernel(folio));
	KUNIT_EXPECT_TRUE(test, __pinpage_isolate(owner->pages[1]));
	list_add(&folio->lru, &fixture->folios);
	KUNIT_EXPECT_TRUE(test, pinpage_folio_kernel(folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	KUNIT_EXPECT_FALSE(test, __pinpage_isolate(owner->pages[0]));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	test_putback(fixture);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_FALSE(test, pinpage_folio_kernel(folio));
}

/* Where a set lets its pages go: what is elsewhere, it is not even asked. */
static void migrate_test_limits(struct kunit *test)
{
	struct test_owner *owner = test_blank_owner(test, 2, PINPAGE_KERNEL);
	static const nodemask_t nowhere = NODE_MASK_NONE;

	test_alloc_pages(test, owner, 2, 0);
	owner->set.limit = PAGE_SIZE;
	test_set(test, owner, 0);
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 0);
	migrate_expect_calls(test, owner, 0, 0);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);

	owner->set.limit = 0;
	owner->set.nodes = &nowhere;
	test_set(test, owner, 0);
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 0);
	migrate_expect_calls(test, owner, 0, 0);
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);

	owner->set.limit = PFN_PHYS(max_pfn) - 1;
	owner->set.nodes = &node_states[N_MEMORY];
	test_set(test, owner, 0);
	KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC), 2);
	migrate_expect_calls(test, owner, 1, 1);
}

/* A set that never stops is asked again after its rest, not before. */
static void migrate_test_rest(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 100, 0);
	int round;

	/* prepare() itself finds out whether it comes too early. */
	for (round = 1; round <= 20; round++) {
		KUNIT_EXPECT_EQ(test, migrate_all(test, owner, MIGRATE_SYNC),
				100);
		migrate_expect_calls(test, owner, round, round);
	}
}

/* Content that tells a page from all others. */
static u32 migrate_word(unsigned long seed, unsigned int i)
{
	return (u32)seed * 2654435761u + i;
}

static void migrate_fill(struct page *page, unsigned long seed)
{
	u32 *words = kmap_local_page(page);
	unsigned int i;

	for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		words[i] = migrate_word(seed, i);
	kunmap_local(words);
}

static unsigned int migrate_wrong_words(struct page *page, unsigned long seed,
					u32 flip)
{
	u32 *words = kmap_local_page(page);
	unsigned int i, wrong = 0;

	for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		wrong += words[i] != (migrate_word(seed, i) ^ flip);
	kunmap_local(words);
	return wrong;
}

static void migrate_fill_all(struct test_owner *owner)
{
	unsigned long i;

	for (i = 0; i < owner->nr; i++)
		migrate_fill(owner->pages[i], i);
}

static void migrate_expect_content(struct kunit *test,
				   struct test_owner *owner, u32 flip)
{
	unsigned long i, wrong = 0;

	for (i = 0; i < owner->nr; i++)
		wrong += migrate_wrong_words(owner->pages[i], i, flip);
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

/* Fields of kernel-owned folio that are the owner's, and flags. */
static void migrate_set_fields(struct test_owner *owner)
{
	struct folio *folio;
	unsigned long i;

	for (i = 0; i < owner->nr; i++) {
		if (!test_first(owner, i))
			continue;
		folio = page_folio(owner->pages[i]);
		folio->mapping = (void *)owner + 64 * i;
		folio->index = i + 1;
		folio->private = owner;
		set_mask_bits(&folio->flags, 0, TEST_OWNER_FLAGS);
	}
}

static void migrate_expect_fields(struct kunit *test, struct test_owner *owner)
{
	unsigned long i, wrong = 0;
	struct folio *folio;

	for (i = 0; i < owner->nr; i++) {
		if (!test_first(owner, i))
			continue;
		folio = page_folio(owner->pages[i]);
		wrong += (void *)folio->mapping != (void *)owner + 64 * i;
		wrong += folio->index != i + 1;
		wrong += folio->private != owner;
		wrong += (folio->flags & TEST_OWNER_FLAGS) != TEST_OWNER_FLAGS;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

/* Slots and references of the folio of @page, which @nr owners hold. */
static void migrate_expect_held(struct kunit *test, struct page *page,
				unsigned int nr)
{
	struct folio *folio = page_folio(page);
	bool claimed;

	KUNIT_EXPECT_EQ(test, test_count_slots(folio, &claimed), nr);
	KUNIT_EXPECT_FALSE(test, claimed);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), nr);
	KUNIT_EXPECT_TRUE(test, folio_test_pinpage(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_isolated(folio));
}

#define MIGRATE_FOLIOS	5

/* Move folios of @order, which are some sets' in all and some sets' in part. */
static void migrate_move(struct kunit *test, unsigned int order,
			 enum migrate_mode mode)
{
	struct test_fixture *fixture = test->priv;
	unsigned long nr = MIGRATE_FOLIOS << order;
	struct test_owner *owner = test_new_owner(test, 0, nr, order);
	struct test_owner *same = test_join(test, 1, owner, 0, nr);
	struct test_owner *part = test_join(test, 1, owner, nr - 1, 1);
	struct page **from;

	from = kunit_kmalloc_array(test, nr, sizeof(*from), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, from);
	memcpy(from, owner->pages, nr * sizeof(*from));
	migrate_fill_all(owner);
	migrate_set_fields(owner);
	test_isolate(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, mode), nr);

	KUNIT_EXPECT_EQ(test, owner->moved, nr);
	KUNIT_EXPECT_EQ(test, part->moved, 1);
	migrate_expect_calls(test, owner, 1, 1);
	migrate_expect_calls(test, same, 1, 1);
	migrate_expect_calls(test, part, 1, 1);
	KUNIT_EXPECT_NE(test, memcmp(from, owner->pages, nr * sizeof(*from)),
			0);
	KUNIT_EXPECT_MEMEQ(test, owner->pages, same->pages,
			   nr * sizeof(*from));
	KUNIT_EXPECT_PTR_EQ(test, part->pages[0], owner->pages[nr - 1]);
	migrate_expect_content(test, owner, 0);
	migrate_expect_fields(test, owner);
	migrate_expect_held(test, owner->pages[0], 2);
	migrate_expect_held(test, owner->pages[nr - 1], 3);
	test_free_owner(test, part);
	test_free_owner(test, same);
	test_free_owner(test, owner);
}

static void migrate_test_move(struct kunit *test)
{
	migrate_move(test, 0, MIGRATE_ASYNC);
	migrate_move(test, 0, MIGRATE_SYNC_LIGHT);
	migrate_move(test, 0, MIGRATE_SYNC);
}

static void migrate_test_move_large(struct kunit *test)
{
	migrate_move(test, 1, MIGRATE_ASYNC);
	migrate_move(test, 3, MIGRATE_ASYNC);
	migrate_move(test, 3, MIGRATE_SYNC);
}

/* Runs of a set that do not touch, in one folio. */
static void migrate_test_move_parts(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_blank_owner(test, 8, PINPAGE_KERNEL);

	test_alloc_pages(test, owner, 8, 3);
	swap(owner->pages[1], owner->pages[6]);
	test_set(test, owner, 0);
	migrate_fill_all(owner);
	test_isolate(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 8);
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_EQ(test, owner->moved, 8);
	migrate_expect_content(test, owner, 0);
	KUNIT_EXPECT_EQ(test, page_ref_count(owner->pages[0]), 1);
}

/* Some stay, some move, in one call. */
static void migrate_test_move_some(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 10, 0);
	struct test_owner *busy = test_join(test, 1, owner, 2, 3);
	struct page *stays = owner->pages[3];

	busy->answer = -EBUSY;
	migrate_fill_all(owner);
	test_isolate(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 7);
	KUNIT_EXPECT_PTR_EQ(test, owner->pages[3], stays);
	KUNIT_EXPECT_EQ(test, owner->moved, 7);
	test_expect_sane(test, owner);
	test_expect_sane(test, busy);
	migrate_expect_content(test, owner, 0);
	migrate_expect_held(test, stays, 2);
	migrate_expect_held(test, owner->pages[9], 1);
	/* About what is nobody else's, it is asked first, and by itself. */
	KUNIT_EXPECT_EQ(test, owner->asked, 7 + owner->stayed);
	migrate_expect_stats(test, 1, 3, 0, 3, 0, 0);
}

/* No memory for some of the new folios: nobody is asked about those. */
static void migrate_test_move_enomem(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 6, 0);

	migrate_fill_all(owner);
	test_isolate(test, owner);
	fixture->nr_new = 4;
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_ASYNC), 4);
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_EQ(test, owner->moved, 4);
	KUNIT_EXPECT_EQ(test, owner->stayed, 0);
	migrate_expect_content(test, owner, 0);
	migrate_expect_held(test, owner->pages[0], 1);
	migrate_expect_held(test, owner->pages[5], 1);
	migrate_expect_stats(test, 0, 4, 4, 0, 0, 0);
}

/* Nobody may think of splitting a folio that is the kernel's. */
static void migrate_test_move_enomem_large(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 8, 2);

	migrate_fill_all(owner);
	test_isolate(test, owner);
	fixture->nr_new = 0;
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 0);
	migrate_expect_calls(test, owner, 0, 0);
	KUNIT_EXPECT_EQ(test, folio_order(page_folio(owner->pages[0])), 2);
	KUNIT_EXPECT_EQ(test, folio_order(page_folio(owner->pages[4])), 2);
	migrate_expect_held(test, owner->pages[0], 1);
	migrate_expect_held(test, owner->pages[4], 1);
	migrate_expect_content(test, owner, 0);
}

/* migrate() of the set that came first is called, and of no other. */
static void migrate_test_custom(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *first = test_new_owner(test, TEST_COPYING, 6, 1);
	struct test_owner *second = test_join(test, TEST_COPYING, first, 0, 6);
	struct test_owner *plain = test_join(test, 0, first, 0, 6);

	migrate_fill_all(first);
	migrate_set_fields(first);
	test_isolate(test, first);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 6);
	KUNIT_EXPECT_EQ(test, first->migrates, 3);
	KUNIT_EXPECT_EQ(test, second->migrates, 0);
	migrate_expect_calls(test, first, 1, 1);
	migrate_expect_calls(test, second, 1, 1);
	migrate_expect_calls(test, plain, 1, 1);
	migrate_expect_content(test, first, ~0);
	migrate_expect_fields(test, first);
	migrate_expect_held(test, first->pages[0], 3);
}

static void migrate_custom_refuses(struct kunit *test, int err)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *first = test_new_owner(test, TEST_COPYING, 3, 0);
	struct test_owner *second = test_join(test, 0, first, 0, 3);
	struct page *page = first->pages[1];

	first->migrate = err;
	migrate_fill_all(first);
	migrate_set_fields(first);
	test_isolate(test, first);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 0);
	KUNIT_EXPECT_GE(test, first->migrates, 3);
	/* Some rounds, where it may be different the next time. */
	KUNIT_EXPECT_EQ(test, first->prepares > 1, err == -EAGAIN);
	KUNIT_EXPECT_GE(test, 3, first->prepares);
	migrate_expect_calls(test, first, first->prepares, first->prepares);
	migrate_expect_calls(test, second, first->prepares, first->prepares);
	KUNIT_EXPECT_EQ(test, first->stayed, 3 * first->prepares);
	KUNIT_EXPECT_EQ(test, second->stayed, 3 * first->prepares);
	KUNIT_EXPECT_PTR_EQ(test, first->pages[1], page);
	migrate_expect_content(test, first, 0);
	migrate_expect_fields(test, first);
	migrate_expect_held(test, page, 2);
	test_free_owner(test, second);
	test_free_owner(test, first);
}

static void migrate_test_custom_refuses(struct kunit *test)
{
	migrate_custom_refuses(test, -EAGAIN);
	migrate_custom_refuses(test, -EBUSY);
	migrate_custom_refuses(test, -EINVAL);
	migrate_custom_refuses(test, 1);
}

#define MIGRATE_BATCH	512

/* However many pages of a set are in a batch, it is asked once. */
static void migrate_test_batch(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, MIGRATE_BATCH, 0);
	struct test_owner *same = test_join(test, 1, owner, 0, MIGRATE_BATCH);

	migrate_fill_all(owner);
	test_isolate(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_ASYNC), MIGRATE_BATCH);
	migrate_expect_calls(test, owner, 1, 1);
	migrate_expect_calls(test, same, 1, 1);
	KUNIT_EXPECT_EQ(test, owner->descents, 0);
	migrate_expect_content(test, owner, 0);
	migrate_expect_stats(test, 0, MIGRATE_BATCH, MIGRATE_BATCH, 0, 0, 0);
	migrate_expect_stats(test, 1, MIGRATE_BATCH, MIGRATE_BATCH, 0, 0, 0);
}

#define MIGRATE_OWNERS	600

/* More owners than pages: there is no limit to them. */
static void migrate_test_many(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_new_owner(test, 0, 2, 0);
	unsigned int i, wrong = 0;

	for (i = 1; i < MIGRATE_OWNERS; i++)
		test_join(test, i % 2, owner, 0, 1);
	test_isolate(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 2);
	list_for_each_entry(owner, &fixture->owners, list) {
		/* The first one has a page of its own, which comes first. */
		wrong += owner->prepares != owner->nr;
		wrong += owner->completes != owner->nr;
		wrong += owner->breaches;
		wrong += owner->moved != owner->nr;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	owner = list_first_entry(&fixture->owners, struct test_owner, list);
	migrate_expect_held(test, owner->pages[0], MIGRATE_OWNERS);
	migrate_expect_held(test, owner->pages[1], 1);
}

/* The references of a page of a file: its mapping's, and @refs of owners. */
static void migrate_expect_file(struct kunit *test, struct page *page,
				struct address_space *mapping, pgoff_t index,
				int refs)
{
	struct folio *folio = page_folio(page);

	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), refs + 1);
	KUNIT_EXPECT_PTR_EQ(test, folio->mapping, mapping);
	KUNIT_EXPECT_EQ(test, folio->index, index);
	KUNIT_EXPECT_TRUE(test, folio_test_pinpage(folio));
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&mapping->i_pages, index),
			    (void *)folio);
}

/* Pages of a file, with pins of two owners. */
static void migrate_test_file(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_file_owner(test, 0, 5, 0);
	struct test_owner *held = test_join(test, 1, owner, 2, 2);
	struct address_space *mapping = owner->pages[0]->mapping;
	struct page *from = owner->pages[2];

	migrate_fill_all(owner);
	test_isolate_lru(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 5);
	lru_add_drain_all();

	/* About three pages first, and then about those of both. */
	migrate_expect_calls(test, owner, 2, 2);
	migrate_expect_calls(test, held, 1, 1);
	KUNIT_EXPECT_PTR_NE(test, from, owner->pages[2]);
	migrate_expect_content(test, owner, 0);
	migrate_expect_file(test, owner->pages[1], mapping, 1,
			    GUP_PIN_COUNTING_BIAS);
	migrate_expect_file(test, owner->pages[2], mapping, 2,
			    2 * GUP_PIN_COUNTING_BIAS);
	from = owner->pages[2];
	KUNIT_EXPECT_TRUE(test, folio_maybe_dma_pinned(page_folio(from)));
	migrate_expect_stats(test, 0, 5, 5, 0, 0, 0);
	migrate_expect_stats(test, 1, 2, 2, 0, 0, 0);
}

/* Truncated, a page has no file any more, but pins that go with it. */
static void migrate_test_truncated(struct kunit *test)
{
	struct test_owner *owner = test_file_owner(test, 0, 3, 0);
	struct inode *inode = owner->pages[0]->mapping->host;
	struct page *from = owner->pages[1];

	migrate_fill_all(owner);
	shmem_truncate_range(inode, 0, -1);
	KUNIT_EXPECT_PTR_EQ(test, page_folio(from)->mapping, NULL);
	test_isolate_lru(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(test->priv, MIGRATE_SYNC), 3);
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_PTR_NE(test, from, owner->pages[1]);
	migrate_expect_content(test, owner, 0);
}

static void migrate_test_file_foreign(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_file_owner(test, 0, 3, 0);
	struct address_space *mapping = owner->pages[0]->mapping;
	struct page *page = owner->pages[1];

	get_page(page);
	migrate_fill_all(owner);
	test_isolate_lru(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 2);
	lru_add_drain_all();
	put_page(page);
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, owner->pages[1], page);
	migrate_expect_content(test, owner, 0);
	migrate_expect_file(test, page, mapping, 1, GUP_PIN_COUNTING_BIAS);
	migrate_expect_stats(test, 0, 2, 2, 0, 0, 1);
}

/* A pin that comes while the owner is asked: the folio stays. */
static void migrate_test_file_late(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	struct test_owner *owner = test_file_owner(test, 0, 1, 0);
	struct folio *folio = page_folio(owner->pages[0]);

	owner->answer = -EINPROGRESS;
	test_isolate_lru(test, owner);
	test_begin_move(test, owner);
	if (READ_ONCE(owner->open)) {
		KUNIT_EXPECT_EQ(test, __pinpage_expected_refs(folio),
				GUP_PIN_COUNTING_BIAS);
		folio_add_pin(folio);
		KUNIT_EXPECT_EQ(test, __pinpage_expected_refs(folio),
				GUP_PIN_COUNTING_BIAS);
	} else {
		folio_add_pin(folio);
	}
	owner->answer = 0;
	test_quiet(owner);
	KUNIT_EXPECT_EQ(test, test_end_move(fixture), 0);
	KUNIT_EXPECT_PTR_EQ(test, page_folio(owner->pages[0]), folio);
	KUNIT_EXPECT_EQ(test, __pinpage_expected_refs(folio), 0);
	unpin_folio(folio);
	test_expect_sane(test, owner);
}

/* What the process reads at @at, by its page table. */
static unsigned long migrate_wrong_user(unsigned long at, unsigned long nr)
{
	unsigned long i, wrong = 0;
	u32 word;

	for (i = 0; i < nr; i++, at += PAGE_SIZE)
		if (get_user(word, (u32 __user *)at) ||
		    word != migrate_word(i, 0))
			wrong++;
	return wrong;
}

/* Anonymous pages, mapped, pinned and exclusive, and so they remain. */
static void migrate_test_user(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	unsigned long at = test_mmap(test, 6, PROT_READ | PROT_WRITE);
	struct test_owner *owner = test_user_owner(test, 0, at, 6), *again;
	struct page *from = owner->pages[5];

	migrate_fill_all(owner);
	test_isolate_lru(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 6);
	lru_add_drain_all();
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_EQ(test, owner->moved, 6);
	KUNIT_EXPECT_PTR_NE(test, owner->pages[5], from);
	KUNIT_EXPECT_EQ(test, page_ref_count(owner->pages[5]),
			1 + GUP_PIN_COUNTING_BIAS);
	KUNIT_EXPECT_TRUE(test, PageAnonExclusive(owner->pages[5]));
	migrate_expect_content(test, owner, 0);
	KUNIT_EXPECT_EQ(test, migrate_wrong_user(at, 6), 0);

	/* The page table leads to the same pages. */
	again = test_user_owner(test, 1, at, 6);
	KUNIT_EXPECT_MEMEQ(test, again->pages, owner->pages,
			   6 * sizeof(*again->pages));
	test_isolate_lru(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 6);
	migrate_expect_calls(test, owner, 2, 2);
	migrate_expect_calls(test, again, 1, 1);
	KUNIT_EXPECT_EQ(test, migrate_wrong_user(at, 6), 0);
	migrate_expect_stats(test, 0, 12, 12, 0, 0, 0);
}

/* A pin that nobody knows of: the page stays, mapped and exclusive. */
static void migrate_test_user_foreign(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	unsigned long at = test_mmap(test, 3, PROT_READ | PROT_WRITE);
	struct test_owner *owner = test_user_owner(test, 0, at, 3);
	struct page *page = owner->pages[1];

	folio_add_pin(page_folio(page));
	migrate_fill_all(owner);
	test_isolate_lru(test, owner);
	KUNIT_EXPECT_EQ(test, test_move(fixture, MIGRATE_SYNC), 2);
	lru_add_drain_all();
	migrate_expect_calls(test, owner, 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, owner->pages[1], page);
	KUNIT_EXPECT_TRUE(test, PageAnonExclusive(page));
	KUNIT_EXPECT_EQ(test, page_ref_count(page),
			1 + 2 * GUP_PIN_COUNTING_BIAS);
	KUNIT_EXPECT_EQ(test, migrate_wrong_user(at, 3), 0);
	unpin_folio(page_folio(page));
	migrate_expect_stats(test, 0, 2, 2, 0, 0, 1);
}

/* Nobody maps it any more when it moves, but the pin is still there. */
static void migrate_test_user_gone(struct kunit *test)
{
	struct test_fixture *fixture = test->priv;
	unsigned long at = test_mmap(test, 3, PROT_READ | PROT_WRITE);
	struct test_owner *owner = test_user_owner(test, 0, at, 3);

	migrate_fill_all(owner);
	KUNIT_ASSERT_EQ(test, vm_munmap(at, 3 * PAGE_SIZE), 0);
	lru_add_drain_all();
	test_isolate_lru(test, owner);
	test_move(fixture, MIGRATE_SYNC);
	lru_add_drain_all();
	migrate_expect_calls(test, owner, 1, 1);
	migrate_expect_content(test, owner, 0);
	KUNIT_EXPECT_EQ(test, page_ref_count(owner->pages[0]),
			GUP_PIN_COUNTING_BIAS);
}

static struct kunit_case migrate_test_cases[] = {
	KUNIT_CASE(migrate_test_agree),
	KUNIT_CASE(migrate_test_refuse),
	KUNIT_CASE(migrate_test_doubtful),
	KUNIT_CASE(migrate_test_nonsense),
	KUNIT_CASE(migrate_test_in_progress),
	KUNIT_CASE(migrate_test_nobody_waits),
	KUNIT_CASE(migrate_test_quiet_and_leaving),
	KUNIT_CASE(migrate_test_early),
	KUNIT_CASE(migrate_test_async),
	KUNIT_CASE(migrate_test_timeout),
	KUNIT_CASE(migrate_test_stray_quiet),
	KUNIT_CASE(migrate_test_foreign),
	KUNIT_CASE(migrate_test_foreign_late),
	KUNIT_CASE(migrate_test_late_set),
	KUNIT_CASE(migrate_test_unmovable),
	KUNIT_CASE(migrate_test_reasons),
	KUNIT_CASE(migrate_test_knob),
	KUNIT_CASE(migrate_test_unflagged),
	KUNIT_CASE(migrate_test_leaving),
	KUNIT_CASE(migrate_test_leaving_isolate),
	KUNIT_CASE(migrate_test_leaving_cancels),
	KUNIT_CASE(migrate_test_putback_wakes),
	KUNIT_CASE(migrate_test_isolate),
	KUNIT_CASE(migrate_test_limits),
	KUNIT_CASE(migrate_test_rest),
	KUNIT_CASE(migrate_test_move),
	KUNIT_CASE(migrate_test_move_large),
	KUNIT_CASE(migrate_test_move_parts),
	KUNIT_CASE(migrate_test_move_some),
	KUNIT_CASE(migrate_test_move_enomem),
	KUNIT_CASE(migrate_test_move_enomem_large),
	KUNIT_CASE(migrate_test_custom),
	KUNIT_CASE(migrate_test_custom_refuses),
	KUNIT_CASE(migrate_test_batch),
	KUNIT_CASE(migrate_test_many),
	KUNIT_CASE(migrate_test_file),
	KUNIT_CASE(migrate_test_file_foreign),
	KUNIT_CASE(migrate_test_file_late),
	KUNIT_CASE(migrate_test_truncated),
	KUNIT_CASE(migrate_test_user),
	KUNIT_CASE(migrate_test_user_foreign),
	KUNIT_CASE(migrate_test_user_gone),
	{}
};

static struct kunit_suite migrate_test_suite = {
	.name = "pinpage-migrate",
	.init = test_init,
	.exit = test_exit,
	.test_cases = migrate_test_cases,
};

kunit_test_suite(migrate_test_suite);

#endif /* _MM_PINPAGE_TESTS_MIGRATE_H */
#endif /* CONFIG_PINPAGE_KUNIT_TEST */
