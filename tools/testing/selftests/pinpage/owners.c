// SPDX-License-Identifier: GPL-2.0
/*
 * Owners who agree, refuse, are late or slow: one page, several sets. A move
 * happens when all of them agree; where one refuses, everybody goes on as
 * before, and no owner is left waiting.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
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
			.timeout_ms = 2000,
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
		EXPECT_EQ(3, count.prepares);
		EXPECT_EQ(NR, count.largest);
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

/* -EBUSY is final for the batch: one question, no smaller ones. */
TEST_F_TIMEOUT(owners, busy_is_asked_once_a_batch, TEST_SECONDS)
{
	struct test_pinpage_counters count;

	obey(_metadata, self, 0, (struct test_pinpage_policy){
		.refusals = 1000, .refusal = -EBUSY });
	ASSERT_EQ(0, move_to(0, self->at, NR, 1));
	count = dev_count(self->fd, self->id[0]);
	/* All items each time, however often migrate_pages() tries. */
	EXPECT_EQ(count.prepares * NR, count.items);
}

/* The pages that one owner needs right now stay; all others move. */
TEST_F_TIMEOUT(owners, some_items_busy, TEST_SECONDS)
{
	uint64_t before[NR];
	int bad, i, from, to;

	for (bad = 0; bad < variant->nr; bad++) {
		from = bad * 3 % NR;
		to = from + 2;
		ASSERT_EQ(NR, move_to(0, self->at, NR, 0));
		for (i = 0; i < NR; i++)
			before[i] = user_pfn(self->at + i * PAGE);
		obey(_metadata, self, bad, (struct test_pinpage_policy){
			.busy_first = from, .busy_nr = 2 });
		EXPECT_EQ(NR - 2, move_to(0, self->at, NR, 1));
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
	int last = variant->nr - 1;

	obey(_metadata, self, last, (struct test_pinpage_policy){
		.busy_first = NR - 1, .busy_nr = 1 });
	if (last)
		obey(_metadata, self, 0, (struct test_pinpage_policy){
			.busy_first = 0, .busy_nr = 1 });
	EXPECT_EQ(NR - (last ? 2 : 1), move_to(0, self->at, NR, 1));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
}

/* A passing -EAGAIN does not keep the pages. */
TEST_F_TIMEOUT(owners, again, TEST_SECONDS)
{
	int bad;

	for (bad = 0; bad < variant->nr; bad++) {
		obey(_metadata, self, bad, (struct test_pinpage_policy){
			.refusals = 1, .refusal = -EAGAIN });
		EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
		EXPECT_LT(0, dev_count(self->fd, self->id[bad]).refused);
		ASSERT_EQ(NR, move_to(0, self->at, NR, 0));
	}
}

/* What no callback may return means no. */
TEST_F_TIMEOUT(owners, nonsense, TEST_SECONDS)
{
	static const int values[] = { 7, 1, -EIO, -ENOMEM, -EINTR, -5000 };
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

/* Owners that only pause where the caller may wait. */
TEST_F_TIMEOUT(owners, need_sync, TEST_SECONDS)
{
	int mode, bad;

	for (mode = 1; mode <= 2; mode++) {
		for (bad = 0; bad < variant->nr; bad++)
			obey(_metadata, self, bad, (struct test_pinpage_policy){
				.mode = mode });
		EXPECT_EQ(NR, move_to(0, self->at, NR, mode % 2));
	}
}

/* An owner that takes its time, within its limit. */
TEST_F_TIMEOUT(owners, slow, TEST_SECONDS)
{
	uint64_t timedout = read_event("pinpage_timedout");

	obey(_metadata, self, variant->nr - 1, (struct test_pinpage_policy){
		.prepare_ms = 100, .complete_ms = 100 });
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	EXPECT_EQ(timedout, read_event("pinpage_timedout"));
}

/* An owner whose device never drains gives up in time by itself. */
TEST_F_TIMEOUT(owners, stalled, TEST_SECONDS)
{
	int bad = variant->nr / 2;

	obey(_metadata, self, bad, (struct test_pinpage_policy){ .hold = 1 });
	EXPECT_EQ(0, move_to(0, self->at, 1, 1));
	EXPECT_LT(0, dev_count(self->fd, self->id[bad]).refused);
	EXPECT_EQ(0, dev_check(self->fd, self->id[bad], NR, SEED_USER));
	obey(_metadata, self, bad, (struct test_pinpage_policy){});
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
}

struct one_move {
	char *at;
	int node;
	size_t there;
	bool done;
};

static void *move_once(void *arg)
{
	struct one_move *m = arg;

	m->there = move_to(0, m->at, NR, m->node);
	__atomic_store_n(&m->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Wait until @id is in its callback, and its pages are paused; or the end. */
static bool wait_paused(int fd, int id, struct one_move *m, bool complete)
{
	struct test_pinpage_counters count;

	while (!__atomic_load_n(&m->done, __ATOMIC_ACQUIRE)) {
		count = dev_count(fd, id);
		if (complete ? count.in_complete : count.in_prepare)
			return true;
		sleep_ms(1);
	}
	return false;
}

/* While the pages are paused, the device waits; so it never sees half a move. */
TEST_F_TIMEOUT(owners, device_waits, TEST_SECONDS)
{
	struct one_move m = { .at = self->at, .node = 1 };
	int last = variant->nr - 1;
	uint64_t word = 0, mine = 42;
	pthread_t thread;

	obey(_metadata, self, last, (struct test_pinpage_policy){
		.complete_ms = 1000 });
	ASSERT_EQ(0, pthread_create(&thread, NULL, move_once, &m));
	ASSERT_TRUE(wait_paused(self->fd, self->id[last], &m, true));
	EXPECT_EQ(-EBUSY, dev_access(self->fd, self->id[last], &word, 0, sizeof(word),
				     false, TEST_PINPAGE_NONBLOCK));
	EXPECT_TRUE(dev_place(self->fd, self->id[last], 0).flags & TEST_PINPAGE_PAUSED);
	/* This one waits, and finds the page at its new place. */
	EXPECT_EQ(0, dev_access(self->fd, self->id[last], &mine, 8, sizeof(mine), true, 0));
	EXPECT_EQ(42, *(uint64_t *)(self->at + 8));
	pthread_join(thread, NULL);
	EXPECT_EQ(NR, m.there);
	EXPECT_EQ(user_pfn(self->at), dev_pfn(self->fd, self->id[last], 0));
	user_fill(self->at, 1, SEED_USER);
}

/*
 * Letting go while the own callback runs: it waits for the end of the batch,
 * so nobody calls back for a set that is gone (KASAN would tell).
 */
TEST_F_TIMEOUT(owners, unpin_waits, TEST_SECONDS)
{
	struct one_move m = { .at = self->at };
	int id, complete;
	pthread_t thread;
	uint64_t start;

	for (complete = 0; complete <= 1; complete++) {
		struct test_pinpage_pin pin = {
			.kind = complete ? TEST_PINPAGE_SET : TEST_PINPAGE_USER,
			.addr = (uintptr_t)self->at,
			.len = NR * PAGE,
			.timeout_ms = 5000,
		};
		struct test_pinpage_policy policy = {
			.prepare_ms = complete ? 0 : 1000,
			.complete_ms = complete ? 1000 : 0,
		};

		id = dev_pin(self->fd, pin);
		ASSERT_GT(id, 0);
		policy.id = id;
		ASSERT_EQ(0, dev_policy(self->fd, policy));
		m.node = 1 - complete;
		m.done = false;
		ASSERT_EQ(0, pthread_create(&thread, NULL, move_once, &m));
		ASSERT_TRUE(wait_paused(self->fd, id, &m, complete));
		start = now_ms();
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		EXPECT_LE(500, now_ms() - start);
		pthread_join(thread, NULL);
		EXPECT_EQ(NR, m.there);
	}
}

/* A new owner in the middle of a move: its pin came too late, or it stays. */
TEST_F_TIMEOUT(owners, pin_during_move, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	struct one_move m = { .at = self->at, .node = 1 };
	pthread_t thread;
	int id, i;

	obey(_metadata, self, 0, (struct test_pinpage_policy){ .prepare_ms = 500 });
	ASSERT_EQ(0, pthread_create(&thread, NULL, move_once, &m));
	ASSERT_TRUE(wait_paused(self->fd, self->id[0], &m, false));
	id = dev_pin_range(self->fd, TEST_PINPAGE_USER, self->at, NR, 0, 1);
	EXPECT_GT(id, 0);
	pthread_join(thread, NULL);
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

/* A prepare that exceeds its limit: the page stays, and can move later. */
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
		.id = id, .prepare_ms = 400 }));
	EXPECT_EQ(0, move_to(0, self->at, NR, 1));
	EXPECT_LE(NR, read_event("pinpage_timedout") - timedout);
	count = dev_count(self->fd, id);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, count.moved);
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){ .id = id }));
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

TEST_HARNESS_MAIN
