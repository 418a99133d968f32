// SPDX-License-Identifier: GPL-2.0
/*
 * Owners who are never quiet: a caller waits for all of them together, once, and
 * not again for a while; others don't notice; and where their pages would keep
 * CMA for good, they are moved out when there is an occasion.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define GOOD	64
#define USER	1000			/* who owns those that are never quiet */
#define EVICT	"/proc/sys/vm/pinpage_evict_ms"
#define MS	1000000ULL

FIXTURE(patience) {
	int fd, contig;
	struct cma cma;
	char *at;			/* the good one's pages are in the middle */
	int nr;				/* others, a set of one page each */
	int good, *ids;
	int64_t evict_ms;
};

FIXTURE_VARIANT(patience) {
	int nr;
	int systems;
};

FIXTURE_VARIANT_ADD(patience, some) { .nr = 257, .systems = 1 };
FIXTURE_VARIANT_ADD(patience, many) { .nr = 2000, .systems = 1 };

static char *page_of(struct _test_data_patience *self, int i)
{
	return self->at + (i < self->nr / 2 ? i : i + GOOD) * PAGE;
}

static int pin_as(int fd, unsigned int user, void *at, size_t pages, int system)
{
	int id;

	dev_user = user;
	id = dev_pin_range(fd, TEST_PINPAGE_USER, at, pages, TEST_PINPAGE_WRITE, system);
	dev_user = 0;
	return id;
}

static void obey(struct __test_metadata *_metadata, struct _test_data_patience *self,
		 struct test_pinpage_policy policy)
{
	int i;

	for (i = 0; i < self->nr; i++) {
		policy.id = self->ids[i];
		ASSERT_EQ(0, dev_policy(self->fd, policy));
	}
}

FIXTURE_SETUP(patience)
{
	char why[128];
	int i;

	self->evict_ms = -1;
	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->contig = -1;
	self->nr = variant->nr;
	self->ids = calloc(self->nr, sizeof(*self->ids));
	ASSERT_NE(NULL, self->ids);
	self->at = map_anon(self->nr + GOOD);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, self->nr + GOOD, SEED_USER);
	ASSERT_EQ(self->nr + GOOD, move_to(0, self->at, self->nr + GOOD, 0));
	self->good = pin_as(self->fd, 0, self->at + self->nr / 2 * PAGE, GOOD, 0);
	ASSERT_GT(self->good, 0);
	for (i = 0; i < self->nr; i++) {
		self->ids[i] = pin_as(self->fd, USER + getpid(), page_of(self, i), 1, 1);
		ASSERT_GT(self->ids[i], 0);
	}
}

FIXTURE_TEARDOWN(patience)
{
	struct test_pinpage_counters count;
	char text[32];
	int i;

	if (self->evict_ms >= 0) {
		snprintf(text, sizeof(text), "%lld", (long long)self->evict_ms);
		write_text(EVICT, text);
	}
	for (i = 0; i < self->nr; i++) {
		count = dev_count(self->fd, self->ids[i]);
		EXPECT_TRUE(account_balanced(&count));
		EXPECT_EQ(0, dev_unpin(self->fd, self->ids[i]));
	}
	count = dev_count(self->fd, self->good);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_unpin(self->fd, self->good));
	EXPECT_EQ(0, user_check(self->at, self->nr + GOOD, SEED_USER));
	munmap(self->at, (self->nr + GOOD) * PAGE);
	if (self->contig >= 0)
		close(self->contig);
	close(self->fd);
}

/* How many of them have ever kept somebody waiting for so long? */
static int waited_for(struct _test_data_patience *self, uint64_t ns)
{
	int i, nr = 0;

	for (i = 0; i < self->nr; i++)
		nr += dev_count(self->fd, self->ids[i]).waited_ns >= ns;
	return nr;
}

/*
 * The first call waits for those of its first batch; the next batch has learnt, and
 * so have the next calls. An owner among them is as quick as ever.
 */
TEST_F_TIMEOUT(patience, does_not_add_up, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	int call, waited, i;

	obey(_metadata, self, (struct test_pinpage_policy){ .hold = 1 });
	for (call = 1; call <= 3; call++) {
		EXPECT_EQ(GOOD, move_to(0, self->at, self->nr + GOOD, 1));
		waited = waited_for(self, PATIENT_MS / 2 * MS);
		EXPECT_LT(0, waited);
		/* As many as migrate_pages() takes at a time. */
		EXPECT_GE(512, waited);
		for (i = 0; i < self->nr; i++) {
			count = dev_count(self->fd, self->ids[i]);
			ASSERT_EQ(count.prepares, count.cancelled);
			/* As often as it is called, and not for each of the others. */
			ASSERT_GE(2 * call, count.prepares);
		}
		count = dev_count(self->fd, self->good);
		EXPECT_EQ((2 * call - 1) * GOOD, count.moved);
		/* It has not stood still for as long as the others were waited for. */
		EXPECT_GT(PATIENT_MS * MS, count.waited_ns);
		EXPECT_EQ(GOOD, move_to(0, self->at + self->nr / 2 * PAGE, GOOD, 0));
	}
}

/* Those that need a while are waited for, though those of another user are in vain. */
TEST_F_TIMEOUT(patience, others_are_waited_for, TEST_SECONDS)
{
	char *at = map_anon(8);
	int ids[8], i;

	ASSERT_NE(NULL, at);
	user_fill(at, 8, SEED_USER);
	ASSERT_EQ(8, move_to(0, at, 8, 0));
	obey(_metadata, self, (struct test_pinpage_policy){ .hold = 1 });
	move_to(0, self->at, self->nr + GOOD, 1);
	/* Of another system, or another user; one of them may be confused with ours. */
	for (i = 0; i < 8; i++) {
		ids[i] = pin_as(self->fd, 2 * USER + getpid() + i, at + i * PAGE, 1, i % 4);
		ASSERT_GT(ids[i], 0);
		ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
			.id = ids[i], .quiet_us = 20000 }));
	}
	EXPECT_LE(6, move_to(0, at, 8, 1));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(0, dev_unpin(self->fd, ids[i]));
	munmap(at, 8 * PAGE);
}

/*
 * They refuse for longer than is allowed, but where long-term pins may be: when they
 * agree at last they move, and nobody has made ordinary pins of them.
 */
TEST_F_TIMEOUT(patience, not_evicted, TEST_SECONDS)
{
	int i;

	self->evict_ms = read_number(EVICT);
	ASSERT_LE(0, self->evict_ms);
	/* Out of CMA, and of ZONE_MOVABLE. */
	for (i = 0; i < self->nr; i++) {
		int id = dev_pin_range(self->fd, TEST_PINPAGE_LONGTERM, page_of(self, i), 1, 0, 0);

		ASSERT_GT(id, 0);
		ASSERT_EQ(0, dev_unpin(self->fd, id));
	}
	ASSERT_EQ(0, write_text(EVICT, "100"));
	obey(_metadata, self, (struct test_pinpage_policy){
		.refusals = 1000000, .refusal = -EBUSY });
	for (i = 0; i < self->nr; i++)
		EXPECT_EQ(0, move_away(page_of(self, i), 1));
	sleep_ms(3000);
	obey(_metadata, self, (struct test_pinpage_policy){});
	for (i = 0; i < self->nr; i++)
		EXPECT_EQ(1, move_away(page_of(self, i), 1));
}

/* Into a range of CMA that is as large as them, and a power of two. */
static size_t place_all(struct __test_metadata *_metadata, struct _test_data_patience *self)
{
	size_t range = PAGEBLOCK;
	int i;

	while (range < (size_t)self->nr)
		range *= 2;
	for (i = 0; i < self->nr; i++)
		ASSERT_EQ(0, contig_place(self->contig, page_of(self, i),
					  self->cma.base + range + i));
	return range;
}

static int take_range(struct _test_data_patience *self, size_t range)
{
	return contig_take(self->contig, self->cma.base + range, range, true);
}

static int take_range_patiently(struct _test_data_patience *self, size_t range)
{
	int tries = 500, ret;

	do {
		ret = take_range(self, range);
		if (ret < 0)
			sleep_ms(20);
	} while (ret < 0 && --tries);
	return ret;
}

static size_t inside(struct _test_data_patience *self)
{
	size_t i, nr = 0;

	for (i = 0; i < (size_t)self->nr; i++)
		nr += in_cma(&self->cma, dev_pfn(self->fd, self->ids[i], 0));
	return nr;
}

/* Once they are quiet, be it for a moment each, the range is to be had. */
TEST_F_TIMEOUT(patience, cma, TEST_SECONDS)
{
	size_t range;

	self->contig = contig_open();
	if (self->contig < 0 || !find_cma(&self->cma))
		SKIP(return, "needs CONFIG_CMA_TEST, and an area in debugfs");
	range = place_all(_metadata, self);
	obey(_metadata, self, (struct test_pinpage_policy){ .hold = 1 });
	EXPECT_GT(0, take_range(self, range));
	EXPECT_EQ(self->nr, inside(self));
	obey(_metadata, self, (struct test_pinpage_policy){ .quiet_us = 1000 });
	EXPECT_LT(0, take_range_patiently(self, range));
}

/*
 * Nobody asks for the range when they stop refusing; and yet they go, to be what
 * FOLL_LONGTERM would have made of them.
 */
TEST_F_TIMEOUT(patience, evicted, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	int64_t evicted;
	size_t range;
	int tries, i;

	self->contig = contig_open();
	if (self->contig < 0 || !find_cma(&self->cma))
		SKIP(return, "needs CONFIG_CMA_TEST, and an area in debugfs");
	self->evict_ms = read_number(EVICT);
	ASSERT_LE(0, self->evict_ms);
	range = place_all(_metadata, self);
	obey(_metadata, self, (struct test_pinpage_policy){
		.refusals = 1000000, .refusal = -EBUSY });
	EXPECT_GT(0, take_range(self, range));
	/* That has asked some of them; now all of them: move_pages() ends at a refusal. */
	for (i = 0; i < self->nr; i++) {
		for (tries = 1000; !dev_count(self->fd, self->ids[i]).refused && tries; tries--)
			move_to(0, page_of(self, i), 1, !node_of(page_of(self, i)));
		ASSERT_LT(0, dev_count(self->fd, self->ids[i]).refused);
	}
	ASSERT_EQ(0, write_text(EVICT, "100"));
	sleep_ms(3000);
	/* As long as they refuse, nothing helps. */
	EXPECT_EQ(self->nr, inside(self));
	evicted = system_number("test1", "evicted");
	ASSERT_LE(0, evicted);
	count = dev_count(self->fd, self->ids[0]);
	obey(_metadata, self, (struct test_pinpage_policy){});
	for (tries = 600; system_number("test1", "evicted") < evicted + self->nr && tries; tries--)
		sleep_ms(100);
	EXPECT_EQ(evicted + self->nr, system_number("test1", "evicted"));
	EXPECT_EQ(0, inside(self));
	EXPECT_LT(count.moved, dev_count(self->fd, self->ids[0]).moved);
	/* From then on nobody asks, and nobody moves them. */
	count = dev_count(self->fd, self->ids[0]);
	EXPECT_EQ(0, move_away(page_of(self, 0), 1));
	EXPECT_EQ(count.prepares, dev_count(self->fd, self->ids[0]).prepares);
	for (i = 0; i < self->nr; i++)
		EXPECT_EQ(user_pfn(page_of(self, i)), dev_pfn(self->fd, self->ids[i], 0));
	EXPECT_LT(0, take_range_patiently(self, range));
}

TEST_HARNESS_MAIN
