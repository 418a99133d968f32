// SPDX-License-Identifier: GPL-2.0
/*
 * Long-term pins and CMA: a registered pin stays in the area and moves when the
 * area is wanted; all others are moved out before they are pinned.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	64
#define TAKE	2048
#define AT	(TAKE / 2)		/* in the area: the first allocation meets it */

FIXTURE(cma) {
	int fd, contig;
	struct cma cma;
	size_t taken;
	char *at;
	size_t first, nr;		/* pages that are in CMA */
};

FIXTURE_VARIANT(cma) {
	bool anon;
};

FIXTURE_VARIANT_ADD(cma, anon) { .anon = true };
FIXTURE_VARIANT_ADD(cma, shmem) { .anon = false };

static bool map_filled(struct _test_data_cma *self, bool anon)
{
	int backing = anon ? -1 : make_memfd(NR);
	void *at;

	at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE,
		  anon ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, backing, 0);
	if (backing >= 0)
		close(backing);
	if (at == MAP_FAILED)
		return false;
	self->at = at;
	madvise(at, NR * PAGE, MADV_NOHUGEPAGE);
	user_fill(at, NR, SEED_USER);
	return true;
}

FIXTURE_SETUP(cma)
{
	char why[128];
	size_t i;

	self->contig = contig_open();
	if (self->contig < 0)
		SKIP(return, "needs CONFIG_CMA_TEST");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	if (!find_cma(&self->cma))
		SKIP(return, "no CMA area in debugfs");
	ASSERT_TRUE(map_filled(self, variant->anon));
	/* The first ones and the last ones are elsewhere. */
	self->first = 16;
	self->nr = NR - 32;
	for (i = 0; i < self->nr; i++)
		ASSERT_EQ(0, contig_place(self->contig, self->at + (self->first + i) * PAGE,
					  self->cma.base + AT + i));
}

FIXTURE_TEARDOWN(cma)
{
	cma_give(&self->cma, self->taken);
	if (self->at) {
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
		munmap(self->at, NR * PAGE);
	}
	close(self->fd);
	close(self->contig);
}

static int pin_run(struct _test_data_cma *self, int kind, int flags)
{
	return dev_pin_range(self->fd, kind, self->at + self->first * PAGE, self->nr,
			     flags, 0);
}

static int64_t check_run(struct _test_data_cma *self, int id)
{
	int64_t bad = 0;
	size_t i;

	/* The buffer begins in the middle of the pattern. */
	for (i = 0; i < self->nr; i++) {
		__u64 page[PAGE / 8];

		if (dev_access(self->fd, id, page, i * PAGE, PAGE, false, 0))
			return -1;
		bad += test_pinpage_compare(page, 0, PAGE / 8, SEED_USER, self->first + i);
	}
	return bad;
}

static size_t count_inside(struct _test_data_cma *self, int id)
{
	size_t i, inside = 0;

	for (i = 0; i < self->nr; i++)
		inside += in_cma(&self->cma, dev_pfn(self->fd, id, i));
	return inside;
}

TEST_F_TIMEOUT(cma, registered_stays, TEST_SECONDS)
{
	uint64_t *pfns = calloc(self->nr, sizeof(*pfns));
	size_t i;
	int id;

	ASSERT_NE(NULL, pfns);
	for (i = 0; i < self->nr; i++)
		pfns[i] = user_pfn(self->at + (self->first + i) * PAGE);
	id = pin_run(self, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE);
	ASSERT_GT(id, 0);
	for (i = 0; i < self->nr; i++)
		EXPECT_EQ(pfns[i], dev_pfn(self->fd, id, i));
	EXPECT_EQ(self->nr, count_inside(self, id));
	EXPECT_EQ(0, dev_count(self->fd, id).prepares);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	free(pfns);
}

/* Nobody could ask these to leave. */
TEST_F_TIMEOUT(cma, others_are_moved_out, TEST_SECONDS)
{
	int id = pin_run(self, TEST_PINPAGE_LONGTERM, TEST_PINPAGE_WRITE);

	ASSERT_GT(id, 0);
	EXPECT_EQ(0, count_inside(self, id));
	EXPECT_EQ(0, check_run(self, id));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

TEST_F_TIMEOUT(cma, unmovable_is_moved_out, TEST_SECONDS)
{
	int id = pin_run(self, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE | TEST_PINPAGE_UNMOVABLE);

	ASSERT_GT(id, 0);
	EXPECT_EQ(0, count_inside(self, id));
	EXPECT_EQ(0, check_run(self, id));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* A second, ordinary long-term pin takes pages of a registered set out. */
TEST_F_TIMEOUT(cma, longterm_on_registered, TEST_SECONDS)
{
	int id, other;
	size_t i;

	id = pin_run(self, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE);
	ASSERT_GT(id, 0);
	other = pin_run(self, TEST_PINPAGE_LONGTERM, TEST_PINPAGE_WRITE);
	ASSERT_GT(other, 0);
	EXPECT_EQ(0, count_inside(self, other));
	for (i = 0; i < self->nr; i++)
		EXPECT_EQ(dev_pfn(self->fd, other, i), dev_pfn(self->fd, id, i));
	EXPECT_EQ(0, check_run(self, id));
	EXPECT_EQ(0, dev_unpin(self->fd, other));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* It can't stay where it is, and the owner has only to be waited for. */
TEST_F_TIMEOUT(cma, longterm_waits_for_owner, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	int id, other;

	id = pin_run(self, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE);
	ASSERT_GT(id, 0);
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
		.id = id, .quiet_us = 50000 }));
	other = pin_run(self, TEST_PINPAGE_LONGTERM, TEST_PINPAGE_WRITE);
	ASSERT_GT(other, 0);
	EXPECT_EQ(0, count_inside(self, other));
	EXPECT_EQ(0, check_run(self, id));
	count = dev_count(self->fd, id);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_LE(self->nr, count.moved);
	EXPECT_EQ(0, dev_unpin(self->fd, other));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* Take from the area until the first page of the run has had to move. */
static void take_until_moved(struct _test_data_cma *self, int id, uint64_t pfn)
{
	while (dev_pfn(self->fd, id, 0) == pfn && !cma_take_patiently(&self->cma, TAKE))
		self->taken += TAKE;
}

static void expect_leaves(struct __test_metadata *_metadata, struct _test_data_cma *self,
			  int kind, int owners)
{
	struct test_pinpage_counters count;
	int id[4], i;
	uint64_t pfn;
	size_t j;

	for (i = 0; i < owners; i++) {
		struct test_pinpage_pin pin = {
			.kind = kind,
			.addr = (uintptr_t)self->at + self->first * PAGE,
			.len = self->nr * PAGE,
			.flags = TEST_PINPAGE_WRITE,
			.system = i,
		};

		id[i] = dev_pin(self->fd, pin);
		ASSERT_GT(id[i], 0);
	}
	pfn = dev_pfn(self->fd, id[0], 0);
	take_until_moved(self, id[0], pfn);
	EXPECT_LT(0, self->taken);
	EXPECT_NE(pfn, dev_pfn(self->fd, id[0], 0));
	for (i = 0; i < owners; i++) {
		for (j = 0; j < self->nr; j++)
			EXPECT_EQ(user_pfn(self->at + (self->first + j) * PAGE),
				  dev_pfn(self->fd, id[i], j));
		EXPECT_EQ(0, check_run(self, id[i]));
		count = dev_count(self->fd, id[i]);
		EXPECT_TRUE(account_balanced(&count));
		EXPECT_LT(0, count.moved);
	}
	for (i = 0; i < owners; i++)
		EXPECT_EQ(0, dev_unpin(self->fd, id[i]));
}

TEST_F_TIMEOUT(cma, allocation_moves_it, TEST_SECONDS)
{
	expect_leaves(_metadata, self, TEST_PINPAGE_USER, 1);
}

TEST_F_TIMEOUT(cma, allocation_moves_nested, TEST_SECONDS)
{
	expect_leaves(_metadata, self, TEST_PINPAGE_USER, 3);
}

TEST_F_TIMEOUT(cma, allocation_moves_set, TEST_SECONDS)
{
	expect_leaves(_metadata, self, TEST_PINPAGE_SET, 2);
}

/* What is not registered is in the way, as ever. */
TEST_F_TIMEOUT(cma, plain_pin_stays, TEST_SECONDS)
{
	uint64_t pfn;
	int id;

	id = pin_run(self, TEST_PINPAGE_PLAIN, TEST_PINPAGE_WRITE);
	ASSERT_GT(id, 0);
	pfn = dev_pfn(self->fd, id, 0);
	/* Up to the page, and one step behind it. */
	while (self->taken < pfn - self->cma.base + TAKE && !cma_take(&self->cma, TAKE))
		self->taken += TAKE;
	EXPECT_EQ(pfn, dev_pfn(self->fd, id, 0));
	EXPECT_EQ(pfn, user_pfn(self->at + self->first * PAGE));
	EXPECT_EQ(0, check_run(self, id));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* An owner that refuses keeps its page; the allocation goes on elsewhere. */
TEST_F_TIMEOUT(cma, refusal_stays, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	uint64_t pfn;
	int id, tries;

	self->nr = 1;
	id = pin_run(self, TEST_PINPAGE_USER, TEST_PINPAGE_WRITE);
	ASSERT_GT(id, 0);
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
		.id = id, .refusals = 1000000, .refusal = -EBUSY }));
	pfn = dev_pfn(self->fd, id, 0);
	for (tries = 50; !dev_count(self->fd, id).refused && tries;) {
		if (!cma_take(&self->cma, TAKE))
			self->taken += TAKE;
		else
			tries--;
	}
	EXPECT_LT(0, dev_count(self->fd, id).refused);
	EXPECT_EQ(pfn, dev_pfn(self->fd, id, 0));
	EXPECT_EQ(0, check_run(self, id));
	count = dev_count(self->fd, id);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

TEST_HARNESS_MAIN
