// SPDX-License-Identifier: GPL-2.0
/*
 * Owners who agree, refuse, are late or slow: one page, several sets. A move
 * happens when all of them are quiet; where one refuses, or is waited for in vain,
 * everybody goes on as before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR		32
#define MAX_OWNERS	16

FIXTURE(owners) {
	int fd;
	char *at;
	int nr;
	int id[MAX_OWNERS];
};

FIXTURE_VARIANT(owners) {
	int nr;
	bool same_system;
};

FIXTURE_VARIANT_ADD(owners, one) { .nr = 1 };
FIXTURE_VARIANT_ADD(owners, two) { .nr = 2 };
FIXTURE_VARIANT_ADD(owners, three) { .nr = 3 };
FIXTURE_VARIANT_ADD(owners, four) { .nr = 4 };
FIXTURE_VARIANT_ADD(owners, three_sets_of_one_system) {
	.nr = 3, .same_system = true,
};

FIXTURE_VARIANT_ADD(owners, many_sets_of_one_system) {
	.nr = MAX_OWNERS, .same_system = true,
};

FIXTURE_SETUP(owners)
{
	char why[128];
	int i;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->at = map_anon(NR);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(NR, move_to(0, self->at, NR, 0));
	for (i = 0; i < variant->nr; i++) {
		struct test_pinpage_pin pin = {
			.kind = TEST_PINPAGE_USER,
			.addr = (uintptr_t)self->at,
			.len = NR * PAGE,
			.flags = TEST_PINPAGE_WRITE,
			.system = variant->same_system ? 0 : i,
		};

		self->id[i] = dev_pin(self->fd, pin);
		ASSERT_GT(self->id[i], 0);
	}
}

/* Whatever was done to them: all run, all agree where the pages are. */
FIXTURE_TEARDOWN(owners)
{
	struct test_pinpage_counters count;
	int i, j;

	for (i = 0; i < variant->nr; i++) {
		EXPECT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
					.id = self->id[i] }));
		count = dev_count(self->fd, self->id[i]);
		EXPECT_TRUE(account_balanced(&count));
		EXPECT_EQ(0, dev_order(self->fd, self->id[i]));
		for (j = 0; j < NR; j++)
			EXPECT_EQ(user_pfn(self->at + j * PAGE),
				  dev_pfn(self->fd, self->id[i], j));
		EXPECT_EQ(0, dev_check(self->fd, self->id[i], NR, SEED_USER));
		EXPECT_EQ(0, dev_fill(self->fd, self->id[i], NR, SEED_DEVICE + i));
		EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE + i));
		user_fill(self->at, NR, SEED_USER);
	}
	for (i = 0; i < variant->nr; i++)
		EXPECT_EQ(0, dev_unpin(self->fd, self->id[i]));
	munmap(self->at, NR * PAGE);
	close(self->fd);
}

static void obey(struct __test_metadata *_metadata, struct _test_data_owners *self, int owner,
		 struct test_pinpage_policy policy)
{
	policy.id = self->id[owner];
	ASSERT_EQ(0, dev_policy(self->fd, policy));
}

TEST_F_TIMEOUT(owners, agree, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	int i, round;

	for (round = 1; round <= 3; round++)
		ASSERT_EQ(NR, move_to(0, self->at, NR, round % 2));
	for (i = 0; i < variant->nr; i++) {
		count = dev_count(self->fd, self->id[i]);
		EXPECT_EQ(3 * NR, count.moved);
		EXPECT_EQ(0, count.stayed);
		EXPECT_EQ(0, count.refused);
		/* Once for each move; once more for a page that somebody had in hand. */
		EXPECT_LE(3, count.prepares);
		EXPECT_GE(6, count.prepares);
		EXPECT_GE(NR, count.largest);
	}
}

/* Each of them in turn says no; then nobody does. */
TEST_F_TIMEOUT(owners, refuse, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	uint64_t refused;
	int i, bad;

	for (bad = 0; bad < variant->nr; bad++) {
		refused = read_event("pinpage_refused");
		obey(_metadata, self, bad, (struct test_pinpage_policy){
			.refusals = 1000, .refusal = -EBUSY });
		ASSERT_EQ(0, move_to(0, self->at, NR, 1));
		EXPECT_LE(NR, read_event("pinpage_refused") - refused);
		EXPECT_LT(0, dev_count(self->fd, self->id[bad]).refused);
		for (i = 0; i < variant->nr; i++) {
			count = dev_count(self->fd, self->id[i]);
			EXPECT_TRUE(account_balanced(&count));
			EXPECT_EQ(0, count.moved);
			EXPECT_EQ(0, dev_check(self->fd, self->id[i], NR, SEED_USER));
		}
		obey(_metadata, self, bad, (struct test_pinpage_policy){});
	}
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
}

/* -EBUSY is final for the call, for all items: one question, no smaller ones. */
TEST_F_TIMEOUT(owners, refusal_is_asked_once, TEST_SECONDS)
{
	struct test_pinpage_counters count;

	obey(_metadata, self, 0, (struct test_pinpage_policy){
		.refusals = 1000, .refusal = -EBUSY });
	ASSERT_EQ(0, move_to(0, self->at, NR, 1));
	count = dev_count(self->fd, self->id[0]);
	EXPECT_EQ(1, count.prepares);
	EXPECT_EQ(NR, count.items);
	EXPECT_EQ(1, count.refused);
}

/* What one owner needs right now stays, and what it is asked about with it. */
TEST_F_TIMEOUT(owners, some_items_busy, TEST_SECONDS)
{
	uint64_t before[NR];
	int bad, i, from, to;

	for (bad = 0; bad < variant->nr; bad++) {
		from = bad * 3 % (NR - 2);
		to = from + 2;
		ASSERT_EQ(NR, move_to(0, self->at, NR, 0));
		for (i = 0; i < NR; i++)
			before[i] = user_pfn(self->at + i * PAGE);
		obey(_metadata, self, bad, (struct test_pinpage_policy){
			.busy_first = from, .busy_nr = 2 });
		EXPECT_EQ(0, move_to(0, self->at, NR, 1));
		for (i = 0; i < NR; i++)
			EXPECT_EQ(i < from || i >= to,
				  move_to(0, self->at + i * PAGE, 1, 1));
		for (i = 0; i < NR; i++)
			EXPECT_EQ(i >= from && i < to,
				  before[i] == user_pfn(self->at + i * PAGE));
		obey(_metadata, self, bad, (struct test_pinpage_policy){});
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	}
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
}

/* Two owners need different pages. */
TEST_F_TIMEOUT(owners, different_items_busy, TEST_SECONDS)
{
	int last = variant->nr - 1, i, there = 0;

	obey(_metadata, self, last, (struct test_pinpage_policy){
		.busy_first = NR - 1, .busy_nr = 1 });
	if (last)
		obey(_metadata, self, 0, (struct test_pinpage_policy){
			.busy_first = 0, .busy_nr = 1 });
	for (i = 0; i < NR; i++)
		there += move_to(0, self->at + i * PAGE, 1, 1);
	EXPECT_EQ(NR - (last ? 2 : 1), there);
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
}

/* Quiet before prepare() has returned, which nobody has to wait for. */
TEST_F_TIMEOUT(owners, early, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	int i;

	for (i = 0; i < variant->nr; i += 2)
		obey(_metadata, self, i, (struct test_pinpage_policy){ .early = 1 });
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	count = dev_count(self->fd, self->id[0]);
	EXPECT_EQ(1, count.inprogress);
	EXPECT_EQ(NR, count.moved);
	EXPECT_EQ(0, count.cancelled);
}

/* What no callback may return means no. */
TEST_F_TIMEOUT(owners, nonsense, TEST_SECONDS)
{
	static const int values[] = { 7, 1, -EIO, -ENOMEM, -EAGAIN, -5000 };
	unsigned int v;
	int bad;

	for (v = 0; v < ARRAY_SIZE(values); v++) {
		bad = v % variant->nr;
		obey(_metadata, self, bad, (struct test_pinpage_policy){
			.refusals = 1000, .refusal = values[v] });
		EXPECT_EQ(0, move_to(0, self->at, NR, 1));
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
		obey(_metadata, self, bad, (struct test_pinpage_policy){});
	}
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
}

/* Owners that take their time, all at once. */
TEST_F_TIMEOUT(owners, slow, TEST_SECONDS)
{
	uint64_t timedout = read_event("pinpage_timedout");
	struct test_pinpage_counters count;
	int i;

	for (i = 0; i < variant->nr; i++)
		obey(_metadata, self, i, (struct test_pinpage_policy){
			.quiet_us = 20000 * (i % 4 + 1), .complete_ms = 10 });
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	EXPECT_EQ(timedout, read_event("pinpage_timedout"));
	for (i = 0; i < variant->nr; i++) {
		count = dev_count(self->fd, self->id[i]);
		EXPECT_EQ(1, count.prepares);
		EXPECT_EQ(0, count.cancelled);
	}
}

/* One whose device never drains: everybody is told that it's no use. */
TEST_F_TIMEOUT(owners, stalled, TEST_SECONDS)
{
	uint64_t timedout = read_event("pinpage_timedout");
	struct test_pinpage_counters count;
	int bad = variant->nr / 2, i;

	obey(_metadata, self, bad, (struct test_pinpage_policy){ .hold = 1 });
	EXPECT_EQ(0, move_to(0, self->at, NR, 1));
	EXPECT_LE(NR, read_event("pinpage_timedout") - timedout);
	for (i = 0; i < variant->nr; i++) {
		count = dev_count(self->fd, self->id[i]);
		EXPECT_TRUE(account_balanced(&count));
		EXPECT_EQ(i == bad, count.cancelled);
		EXPECT_EQ(0, count.moved);
		EXPECT_EQ(0, dev_check(self->fd, self->id[i], NR, SEED_USER));
	}
	obey(_metadata, self, bad, (struct test_pinpage_policy){});
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/*
 * Who was waited for in vain is not waited for by the next caller, unless that comes
 * later than a second: then it tells nothing. All users are different ones.
 */
TEST_F_TIMEOUT(owners, in_vain, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	uint64_t first, start, took = 1000;
	int id, tries;

	for (tries = 0; took >= 900 && tries < 10; tries++) {
		dev_user = 2 * FIRST_USER + getpid() + tries;
		id = dev_pin_range(self->fd, TEST_PINPAGE_USER, self->at, NR, 0, tries % 4);
		dev_user = 0;
		ASSERT_GT(id, 0);
		ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
			.id = id, .hold = 1 }));
		EXPECT_EQ(0, move_to(0, self->at, NR, 1));
		first = dev_count(self->fd, id).waited_ns;
		EXPECT_LE(PATIENT_MS * 1000000ULL, first);
		start = now_ms();
		EXPECT_EQ(0, move_to(0, self->at, NR, 1));
		took = now_ms() - start;
		count = dev_count(self->fd, id);
		EXPECT_TRUE(account_balanced(&count));
		/* It would have been at least as long again. */
		if (took < 900)
			EXPECT_EQ(first, count.waited_ns);
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
	EXPECT_GT(900, took);
}

/* Until it is quiet the device works, and nothing of that is lost; then it waits. */
TEST_F_TIMEOUT(owners, works_until_quiet, TEST_SECONDS)
{
	int last = variant->nr - 1;
	struct one_move m;
	uint64_t word = 0;

	obey(_metadata, self, last, (struct test_pinpage_policy){ .hold = 1 });
	ASSERT_EQ(0, start_move(&m, self->at, NR, 1));
	ASSERT_TRUE(wait_open(self->fd, self->id[last], &m));
	EXPECT_EQ(0, dev_fill(self->fd, self->id[last], NR, SEED_DEVICE));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
	user_fill(self->at, NR, SEED_USER);
	EXPECT_EQ(0, dev_check(self->fd, self->id[last], NR, SEED_USER));
	/* The first one is quiet, and waits for the last one. */
	if (last && dev_count(self->fd, self->id[0]).quiet) {
		EXPECT_TRUE(dev_place(self->fd, self->id[0], 0).flags & TEST_PINPAGE_PAUSED ||
			    move_is_over(&m));
		EXPECT_TRUE(dev_access(self->fd, self->id[0], &word, 0, sizeof(word), false,
				       TEST_PINPAGE_NONBLOCK) == -EBUSY || move_is_over(&m));
	}
	EXPECT_EQ(0, dev_fill(self->fd, self->id[last], NR, SEED_DEVICE));
	obey(_metadata, self, last, (struct test_pinpage_policy){});
	/* A machine that stands still for a second makes it late. */
	if (end_move(&m) < NR)
		EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
	user_fill(self->at, NR, SEED_USER);
}

static bool wait_complete(int fd, int id, struct one_move *m)
{
	while (!move_is_over(m)) {
		if (dev_count(fd, id).in_complete)
			return true;
		sched_yield();
	}
	return false;
}

/* While the pages are quiet, the device waits; so it never sees half a move. */
TEST_F_TIMEOUT(owners, device_waits, TEST_SECONDS)
{
	int last = variant->nr - 1;
	uint64_t word = 0, mine = 42;
	struct one_move m;

	obey(_metadata, self, last, (struct test_pinpage_policy){
		.complete_ms = 300 });
	ASSERT_EQ(0, start_move(&m, self->at, NR, 1));
	ASSERT_TRUE(wait_complete(self->fd, self->id[last], &m));
	EXPECT_EQ(-EBUSY, dev_access(self->fd, self->id[last], &word, 0, sizeof(word),
				     false, TEST_PINPAGE_NONBLOCK));
	EXPECT_TRUE(dev_place(self->fd, self->id[last], 0).flags & TEST_PINPAGE_PAUSED);
	/* This one waits, and finds the page at its new place. */
	EXPECT_EQ(0, dev_access(self->fd, self->id[last], &mine, 8, sizeof(mine), true, 0));
	EXPECT_EQ(42, *(uint64_t *)(self->at + 8));
	EXPECT_EQ(NR, end_move(&m));
	EXPECT_EQ(user_pfn(self->at), dev_pfn(self->fd, self->id[last], 0));
	user_fill(self->at, 1, SEED_USER);
}

/*
 * Letting go while the own callback runs: it waits for the end of the batch,
 * so nobody calls back for a set that is gone (KASAN would tell).
 */
TEST_F_TIMEOUT(owners, unpin_waits, TEST_SECONDS)
{
	static const int kinds[] = { TEST_PINPAGE_USER, TEST_PINPAGE_SET };
	struct one_move m;
	int id, i;

	for (i = 0; i < 2; i++) {
		id = dev_pin_range(self->fd, kinds[i], self->at, NR, 0, 0);
		ASSERT_GT(id, 0);
		ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
			.id = id, .complete_ms = 300 }));
		ASSERT_EQ(0, start_move(&m, self->at, NR, 1 - i));
		ASSERT_TRUE(wait_complete(self->fd, id, &m));
		/* The driver sees to it that no pause is open afterwards. */
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		EXPECT_EQ(NR, end_move(&m));
	}
}

/*
 * Letting go before it is quiet: the pause is over at once, for the other owners as
 * well. A machine that stands still for a second may be too late, but not each time.
 */
TEST_F_TIMEOUT(owners, unpin_cancels, TEST_SECONDS)
{
	uint64_t waited = UINT64_MAX;
	struct one_move m;
	int id, other, tries;

	for (tries = 10; waited >= PATIENT_MS * 1000000ULL && tries; tries--) {
		other = dev_pin_range(self->fd, TEST_PINPAGE_SET, self->at, NR, 0, 1);
		ASSERT_GT(other, 0);
		id = dev_pin_range(self->fd, tries % 2 ? TEST_PINPAGE_USER : TEST_PINPAGE_SET,
				   self->at, NR, 0, 0);
		ASSERT_GT(id, 0);
		ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
			.id = id, .hold = 1 }));
		ASSERT_EQ(0, start_move(&m, self->at, NR, !node_of(self->at)));
		if (!wait_open(self->fd, id, &m))
			sleep_ms(2000);
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		end_move(&m);
		if (dev_count(self->fd, other).prepares)
			waited = dev_count(self->fd, other).waited_ns;
		EXPECT_EQ(0, dev_unpin(self->fd, other));
	}
	EXPECT_GT(PATIENT_MS * 1000000ULL, waited);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/* A new owner in the middle of a move: its pin came too late, or it stays. */
TEST_F_TIMEOUT(owners, pin_during_move, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	struct one_move m;
	int id, i;

	obey(_metadata, self, 0, (struct test_pinpage_policy){ .hold = 1 });
	ASSERT_EQ(0, start_move(&m, self->at, NR, 1));
	ASSERT_TRUE(wait_open(self->fd, self->id[0], &m));
	id = dev_pin_range(self->fd, TEST_PINPAGE_USER, self->at, NR, 0, 1);
	EXPECT_GT(id, 0);
	obey(_metadata, self, 0, (struct test_pinpage_policy){});
	end_move(&m);
	for (i = 0; i < NR; i++)
		EXPECT_EQ(user_pfn(self->at + i * PAGE), dev_pfn(self->fd, id, i));
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	count = dev_count(self->fd, id);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* Overlapping sets of one owner or several, each at its own offset. */
TEST_F_TIMEOUT(owners, overlap, TEST_SECONDS)
{
	int id[NR], i, j;

	for (i = 0; i < NR; i++) {
		id[i] = dev_pin_range(self->fd, TEST_PINPAGE_SET, self->at + i * PAGE,
				      NR - i, 0, i % 4);
		ASSERT_GT(id[i], 0);
	}
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	for (i = 0; i < NR; i++) {
		for (j = 0; j < NR - i; j++)
			ASSERT_EQ(user_pfn(self->at + (i + j) * PAGE),
				  dev_pfn(self->fd, id[i], j));
		EXPECT_EQ(0, dev_order(self->fd, id[i]));
		EXPECT_EQ(0, dev_unpin(self->fd, id[i]));
	}
}

/* Quiet when its time is up: the page stays, and can move later. */
TEST_F_TIMEOUT(owners, late, TEST_SECONDS)
{
	struct test_pinpage_pin pin = {
		.kind = TEST_PINPAGE_USER,
		.addr = (uintptr_t)self->at,
		.len = NR * PAGE,
		.timeout_ms = 20,
	};
	uint64_t timedout = read_event("pinpage_timedout");
	struct test_pinpage_counters count;
	int id;

	id = dev_pin(self->fd, pin);
	ASSERT_GT(id, 0);
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
		.id = id, .quiet_us = 3000000 }));
	EXPECT_EQ(0, move_to(0, self->at, NR, 1));
	EXPECT_LE(NR, read_event("pinpage_timedout") - timedout);
	count = dev_count(self->fd, id);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(1, count.cancelled);
	EXPECT_EQ(0, count.moved);
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){ .id = id }));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* What comes when no pause is open is not taken for the next one. */
TEST_F_TIMEOUT(owners, stray_quiet, TEST_SECONDS)
{
	int last = variant->nr - 1;
	struct one_move m;

	EXPECT_EQ(0, dev_quiet(self->fd, self->id[last]));
	obey(_metadata, self, last, (struct test_pinpage_policy){ .hold = 1 });
	EXPECT_EQ(0, dev_quiet(self->fd, self->id[last]));
	EXPECT_EQ(0, move_to(0, self->at, NR, 1));
	EXPECT_EQ(1, dev_count(self->fd, self->id[last]).cancelled);
	EXPECT_EQ(0, dev_quiet(self->fd, self->id[last]));
	ASSERT_EQ(0, start_move(&m, self->at, NR, 1));
	EXPECT_EQ(0, end_move(&m));
	obey(_metadata, self, last, (struct test_pinpage_policy){});
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

TEST_HARNESS_MAIN
