/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit tests of pauses: one at a time, rest after it, how long nobody waits for
 * a set after waiting in vain, and the gate for those who access the pages.
 */
#ifdef CONFIG_PINPAGE_KUNIT_TEST

#ifndef _MM_PINPAGE_TESTS_PAUSE_H
#define _MM_PINPAGE_TESTS_PAUSE_H

#include "helpers-kunit.h"

static int pause_open_when(struct pinpage_set *set, ktime_t *when)
{
	return pinpage_pause_open(set, pinpage_no_batch(), ktime_get(), when);
}

static int pause_open(struct pinpage_set *set)
{
	ktime_t when = 0;

	return pause_open_when(set, &when);
}

static void pause_test_one(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 1, 0);
	struct pinpage_set *set = &owner->set;
	ktime_t when = 0, far;

	KUNIT_EXPECT_EQ(test, pause_open(set), 0);
	KUNIT_EXPECT_EQ(test, pause_open_when(set, &when), -EALREADY);
	KUNIT_EXPECT_NE(test, when, 0);
	/* The earliest of those who are in the way. */
	far = ktime_add_ms(ktime_get(), 3600 * MSEC_PER_SEC);
	when = far;
	KUNIT_EXPECT_EQ(test, pause_open_when(set, &when), -EALREADY);
	KUNIT_EXPECT_LT(test, when, far);
	/* Nobody was asked, so nobody has to recover. */
	pinpage_pause_close(set);
	KUNIT_EXPECT_EQ(test, pause_open(set), 0);
	pinpage_pause_close(set);
	/* Another set has a pause of its own. */
	KUNIT_EXPECT_EQ(test, pause_open(set), 0);
	KUNIT_EXPECT_EQ(test, pause_open(&test_join(test, 0, owner, 0, 1)->set),
			0);
	list_for_each_entry(owner, &((struct test_fixture *)test->priv)->owners,
			    list)
		pinpage_pause_close(&owner->set);
}

/* As long as it was asked to stop. */
static void pause_test_rest(struct kunit *test)
{
	struct pinpage_set *set = &test_new_owner(test, 0, 1, 0)->set;
	ktime_t when = 0, began, ended;

	KUNIT_ASSERT_EQ(test, pause_open(set), 0);
	pinpage_pause_ask(set);
	began = set->began;
	msleep(20);
	pinpage_pause_close(set);
	ended = ktime_get();
	KUNIT_EXPECT_GE(test, ktime_sub(set->rests, began),
			2 * 20 * NSEC_PER_MSEC);
	KUNIT_EXPECT_LE(test, ktime_sub(set->rests, ended),
			ktime_sub(ended, began));
	if (!pause_open_when(set, &when)) {
		/* This task was late; but not early. */
		KUNIT_EXPECT_GE(test, ktime_get(), set->rests);
		pinpage_pause_close(set);
		return;
	}
	KUNIT_EXPECT_EQ(test, when, set->rests);
	while (ktime_before(ktime_get(), when))
		usleep_range(100, 200);
	/* A round that began before asks about none of its folios. */
	KUNIT_EXPECT_EQ(test, pinpage_pause_open(set, pinpage_no_batch(),
						 set->rests - 1, &when),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, pause_open(set), 0);
	pinpage_pause_close(set);
}

/* pinpage_quiet() counts between the question and the end, and then only. */
static void pause_test_quiet(struct kunit *test)
{
	struct pinpage_set *set = &test_new_owner(test, 0, 1, 0)->set;

	pinpage_quiet(set);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_NONE);
	KUNIT_ASSERT_EQ(test, pause_open(set), 0);
	pinpage_quiet(set);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_NONE);
	pinpage_pause_ask(set);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_ASKED);
	pinpage_quiet(set);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_QUIET);
	pinpage_quiet(set);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_QUIET);
	pinpage_pause_close(set);
	pinpage_quiet(set);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_NONE);
}

/* Somebody who shares no patience with @set's user. */
static void pause_become_other(struct pinpage_set *set, struct pinpage_set *than)
{
	u32 p = patience_of(than);
	uid_t uid;

	for (uid = 1; patience_of(set) == p; uid++)
		set->user = KUIDT_INIT(uid);
}

/* The time for which @set is left alone, once it was waited for in vain. */
static s64 pause_alone_ms(struct pinpage_set *set)
{
	pinpage_note_vain(set, true);
	return ktime_ms_delta(set->retry, ktime_get());
}

/* Twice as long each time, up to a limit; and all is forgiven when it is quiet. */
static void pause_test_backoff(struct kunit *test)
{
	struct pinpage_set *set = &test_new_owner(test, 0, 1, 0)->set;
	s64 limit = (s64)BACKOFF_MS << BACKOFF_SHIFT, expected = BACKOFF_MS, ms;
	int i;

	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(set));
	for (i = 0; i < BACKOFF_SHIFT + 3; i++) {
		ms = pause_alone_ms(set);
		KUNIT_EXPECT_LE(test, ms, expected);
		KUNIT_EXPECT_GT(test, ms, expected / 2);
		KUNIT_EXPECT_FALSE(test, pinpage_worth_waiting(set));
		expected = min(2 * expected, limit);
	}
	pinpage_note_quiet(set, true);
	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(set));
	KUNIT_EXPECT_LE(test, pause_alone_ms(set), BACKOFF_MS);
	/* When the time is over it is worth another attempt. */
	set->retry = ktime_get();
	patience[patience_of(set)].retry = ktime_get();
	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(set));
	pinpage_note_quiet(set, true);
}

/* It is not the set that counts, but whose it is. */
static void pause_test_user(struct kunit *test)
{
	struct test_owner *first = test_new_owner(test, 0, 1, 0);
	struct pinpage_set *same = &test_join(test, 0, first, 0, 1)->set;
	struct pinpage_set *other = &test_join(test, 0, first, 0, 1)->set;

	pause_become_other(other, same);
	pinpage_note_vain(&first->set, true);
	KUNIT_EXPECT_FALSE(test, pinpage_worth_waiting(&first->set));
	KUNIT_EXPECT_FALSE(test, pinpage_worth_waiting(same));
	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(other));
	KUNIT_EXPECT_EQ(test, patience[patience_of(same)].vain, 1);
	/* Those who were waited for together are one experience. */
	pinpage_note_vain(same, true);
	KUNIT_EXPECT_EQ(test, patience[patience_of(same)].vain, 1);
	/* One that was quiet in time restores the user's credit, not the set's. */
	pinpage_note_quiet(same, true);
	KUNIT_EXPECT_FALSE(test, pinpage_worth_waiting(&first->set));
	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(same));
	pinpage_note_quiet(&first->set, true);
	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(&first->set));
}

/* A refusal costs nobody any time, so it is worth waiting for the next answer. */
static void pause_test_refusal(struct kunit *test)
{
	struct pinpage_set *set = &test_new_owner(test, 0, 1, 0)->set;

	pinpage_note_vain(set, false);
	KUNIT_EXPECT_TRUE(test, pinpage_worth_waiting(set));
	KUNIT_EXPECT_NE(test, set->vain, 0);
	KUNIT_EXPECT_FALSE(test, list_empty(&set->evict));
	pinpage_note_quiet(set, false);
	KUNIT_EXPECT_EQ(test, set->vain, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&set->evict));
}

/* A set that leaves is not to be evicted any more. */
static void pause_test_evict_leaving(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 1, 0);

	pinpage_note_vain(&owner->set, false);
	KUNIT_EXPECT_FALSE(test, list_empty(&owner->set.evict));
	KUNIT_EXPECT_EQ(test, clear_pinpage(&owner->set, NULL), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&owner->set.evict));
}

static void pause_test_gate(struct kunit *test)
{
	struct pinpage_set *set = &test_new_owner(test, 0, 1, 0)->set;
	struct pinpage_gate gate;

	pinpage_gate_init(&gate, set);
	/* Nobody is inside. */
	KUNIT_EXPECT_EQ(test, pinpage_gate_close(&gate), 0);
	KUNIT_EXPECT_FALSE(test, pinpage_gate_enter(&gate));
	pinpage_gate_open(&gate);
	KUNIT_EXPECT_TRUE(test, pinpage_gate_enter(&gate));
	KUNIT_EXPECT_TRUE(test, pinpage_gate_enter(&gate));

	KUNIT_ASSERT_EQ(test, pause_open(set), 0);
	pinpage_pause_ask(set);
	KUNIT_EXPECT_EQ(test, pinpage_gate_close(&gate), -EINPROGRESS);
	KUNIT_EXPECT_FALSE(test, pinpage_gate_enter(&gate));
	pinpage_gate_leave(&gate);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_ASKED);
	/* Who comes too late does not count as inside. */
	KUNIT_EXPECT_FALSE(test, pinpage_gate_enter(&gate));
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_ASKED);
	pinpage_gate_leave(&gate);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_QUIET);
	pinpage_gate_open(&gate);
	pinpage_pause_close(set);
	KUNIT_EXPECT_TRUE(test, pinpage_gate_enter(&gate));
	pinpage_gate_leave(&gate);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_NONE);
}

/* The pause is over before the last one has left: he says nothing. */
static void pause_test_gate_late(struct kunit *test)
{
	struct pinpage_set *set = &test_new_owner(test, 0, 1, 0)->set;
	struct pinpage_gate gate;

	pinpage_gate_init(&gate, set);
	KUNIT_ASSERT_TRUE(test, pinpage_gate_enter(&gate));
	KUNIT_EXPECT_EQ(test, pinpage_gate_close(&gate), -EINPROGRESS);
	pinpage_gate_open(&gate);
	KUNIT_ASSERT_EQ(test, pause_open(set), 0);
	pinpage_pause_ask(set);
	/* Asked about something else: the gate is not closed. */
	pinpage_gate_leave(&gate);
	KUNIT_EXPECT_EQ(test, set->state, PAUSE_ASKED);
	pinpage_pause_close(set);
}

struct pause_waiter {
	struct pinpage_gate gate;
	struct completion done;
	bool entered;
	int err;
};

static int pause_enter_thread(void *data)
{
	struct pause_waiter *waiter = data;

	waiter->err = pinpage_gate_enter_wait(&waiter->gate,
					      TASK_UNINTERRUPTIBLE);
	WRITE_ONCE(waiter->entered, true);
	complete(&waiter->done);
	return 0;
}

static void pause_test_gate_wait(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 1, 0);
	struct pause_waiter waiter = {};
	struct task_struct *task;

	pinpage_gate_init(&waiter.gate, &owner->set);
	init_completion(&waiter.done);
	KUNIT_EXPECT_EQ(test, pinpage_gate_close(&waiter.gate), 0);
	task = kthread_run(pause_enter_thread, &waiter, "pinpage-enter");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	msleep(20);
	KUNIT_EXPECT_FALSE(test, READ_ONCE(waiter.entered));
	pinpage_gate_open(&waiter.gate);
	/* It uses our stack until then. */
	wait_for_completion(&waiter.done);
	KUNIT_EXPECT_EQ(test, waiter.err, 0);
	KUNIT_EXPECT_EQ(test, pinpage_gate_close(&waiter.gate), -EINPROGRESS);
	pinpage_gate_leave(&waiter.gate);
	pinpage_gate_open(&waiter.gate);
	KUNIT_EXPECT_EQ(test, pinpage_gate_enter_wait(&waiter.gate,
						      TASK_KILLABLE), 0);
	pinpage_gate_leave(&waiter.gate);
}

static void pause_test_repoint(struct kunit *test)
{
	struct test_owner *owner = test_new_owner(test, 0, 16, 2);
	struct page *pages[16], **p = owner->pages;
	struct pinpage_item items[] = {
		{ .page = p[4], .new = p[8], .index = 4, .nr = 3 },
		{ .page = p[0], .new = NULL, .index = 0, .nr = 2 },
		{ .page = p[15], .new = p[2], .index = 15, .nr = 1 },
	};
	int i;

	memcpy(pages, p, sizeof(pages));
	pinpage_repoint(pages, items, ARRAY_SIZE(items));
	for (i = 0; i < 16; i++)
		KUNIT_EXPECT_PTR_EQ(test, pages[i], i == 15 ? p[2] :
				    i >= 4 && i < 7 ? p[i + 4] : p[i]);
}

static struct kunit_case pause_test_cases[] = {
	KUNIT_CASE(pause_test_one),
	KUNIT_CASE(pause_test_rest),
	KUNIT_CASE(pause_test_quiet),
	KUNIT_CASE(pause_test_backoff),
	KUNIT_CASE(pause_test_user),
	KUNIT_CASE(pause_test_refusal),
	KUNIT_CASE(pause_test_evict_leaving),
	KUNIT_CASE(pause_test_gate),
	KUNIT_CASE(pause_test_gate_late),
	KUNIT_CASE(pause_test_gate_wait),
	KUNIT_CASE(pause_test_repoint),
	{}
};

static struct kunit_suite pause_test_suite = {
	.name = "pinpage-pause",
	.init = test_init,
	.exit = test_exit,
	.test_cases = pause_test_cases,
};

kunit_test_suite(pause_test_suite);

#endif /* _MM_PINPAGE_TESTS_PAUSE_H */
#endif /* CONFIG_PINPAGE_KUNIT_TEST */
