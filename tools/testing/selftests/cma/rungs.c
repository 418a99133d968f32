// SPDX-License-Identifier: GPL-2.0
/*
 * The three rungs: a pageblock with a page in it, and what holds that page. Of
 * the area nothing else is left, so cma_alloc() gets it or fails.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lib/test_pinpage_uapi.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

/* For what is to be waited for; and longer than all that does not wait takes. */
#define SHORT_US	100000
#define LONG_US		3000000

FIXTURE(rungs) {
	struct area area;
	int64_t free;		/* before */
	uint64_t block;
	void *at;
	int64_t steps, ms;
};

FIXTURE_SETUP(rungs)
{
	char why[128];

	if (!area_open(&self->area, why, sizeof(why)))
		SKIP(return, "%s", why);
	self->steps = read_number(WAIT_STEPS);
	self->ms = read_number(WAIT_MS);
	self->free = area_free(&self->area);
	self->block = leave_one(&self->area);
	ASSERT_NE(0, self->block);
	self->at = page_at(&self->area, self->block + 5);
	ASSERT_NE(NULL, self->at);
}

FIXTURE_TEARDOWN(rungs)
{
	write_number(WAIT_STEPS, self->steps);
	write_number(WAIT_MS, self->ms);
	letgo(&self->area);
	EXPECT_EQ(0, check(self->at, 1, self->block + 5));
	munmap(self->at, PAGE);
	EXPECT_EQ(0, release(&self->area, 0));
	EXPECT_EQ(self->free, area_free(&self->area));
	area_close(&self->area);
}

static int64_t take(struct area *area, int rung)
{
	return alloc_one(area, area->info.pageblock, pageblock_order(area),
			 rung_flags[rung], NULL);
}

static int64_t take_range(struct area *area, uint64_t pfn, int rung)
{
	return alloc_range(area, pfn, area->info.pageblock, rung_flags[rung], NULL);
}

#define NORETRY	0
#define DEFAULT	1
#define HARD	2

/* An ordinary page goes away on each of them. */
TEST_F_TIMEOUT(rungs, movable, TEST_SECONDS)
{
	struct cma_test_alloc got;
	int rung;

	for (rung = 0; rung < ALL_RUNGS; rung++) {
		ASSERT_EQ(0, place(&self->area, self->at, self->block + 5));
		ASSERT_EQ(1, alloc_one(&self->area, self->area.info.pageblock,
				       pageblock_order(&self->area),
				       rung_flags[rung] | CMA_TEST_ZERO, &got));
		EXPECT_EQ(self->block, got.pfn);
		EXPECT_NE(self->block + 5, user_pfn(self->at));
		EXPECT_EQ(0, check(self->at, 1, self->block + 5));
		EXPECT_EQ(0, release(&self->area, got.id));
	}
}

/*
 * The default waits for whoever has the page locked. A page of a file, for whose
 * references nobody looks before.
 */
TEST_F_TIMEOUT(rungs, lock, TEST_SECONDS)
{
	munmap(self->at, PAGE);
	self->at = shared_page_at(&self->area, self->block + 5);
	ASSERT_NE(NULL, self->at);
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_LOCK, LONG_US));
	EXPECT_EQ(-ENOMEM, take(&self->area, NORETRY));
	EXPECT_EQ(-EBUSY, take_range(&self->area, self->block, NORETRY));
	EXPECT_EQ(self->block + 5, user_pfn(self->at));
	letgo(&self->area);
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_LOCK, SHORT_US));
	EXPECT_EQ(1, take(&self->area, DEFAULT));
}

TEST_F_TIMEOUT(rungs, reference, TEST_SECONDS)
{
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_REF, LONG_US));
	EXPECT_EQ(-ENOMEM, take(&self->area, NORETRY));
	EXPECT_EQ(-ENOMEM, take(&self->area, DEFAULT));
	EXPECT_EQ(-EBUSY, take_range(&self->area, self->block, DEFAULT));
	letgo(&self->area);
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_REF, SHORT_US));
	EXPECT_EQ(1, take(&self->area, HARD));
}

TEST_F_TIMEOUT(rungs, reference_range, TEST_SECONDS)
{
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_REF, SHORT_US));
	EXPECT_EQ(1, take_range(&self->area, self->block, HARD));
}

TEST_F_TIMEOUT(rungs, reference_bulk, TEST_SECONDS)
{
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_REF, LONG_US));
	EXPECT_EQ(-EBUSY, alloc_bulk(&self->area, self->area.info.pageblock / 16, 4,
				     self->area.info.pageblock / 16, 0, NULL));
	letgo(&self->area);
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_REF, SHORT_US));
	EXPECT_EQ(self->area.info.pageblock / 16,
		  alloc_bulk(&self->area, self->area.info.pageblock / 16, 4,
			     self->area.info.pageblock / 16,
			     CMA_TEST_RETRY_MAYFAIL, NULL));
}

/* Direct I/O has pinned it, and is done soon; or somebody else has, for hours. */
TEST_F_TIMEOUT(rungs, pin, TEST_SECONDS)
{
	struct cma_test_alloc got;

	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_PIN, 0));
	EXPECT_EQ(-ENOMEM, take(&self->area, NORETRY));
	EXPECT_EQ(-ENOMEM, take(&self->area, DEFAULT));
	EXPECT_EQ(-ENOMEM, take(&self->area, HARD));
	EXPECT_EQ(-EBUSY, take_range(&self->area, self->block, HARD));
	letgo(&self->area);
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_PIN, SHORT_US));
	ASSERT_EQ(1, alloc_one(&self->area, self->area.info.pageblock,
			       pageblock_order(&self->area), CMA_TEST_RETRY_MAYFAIL,
			       &got));
	EXPECT_EQ(0, release(&self->area, got.id));
	letgo(&self->area);
	ASSERT_EQ(0, place(&self->area, self->at, self->block + 5));
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_PIN, SHORT_US));
	EXPECT_EQ(1, take_range(&self->area, self->block, HARD));
}

/* A reference that stays is waited for, but not for ever. */
TEST_F_TIMEOUT(rungs, wait_is_bounded, TEST_SECONDS)
{
	ASSERT_EQ(0, write_number(WAIT_STEPS, 5));
	ASSERT_EQ(0, write_number(WAIT_MS, 1));
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_REF, 0));
	EXPECT_EQ(-ENOMEM, take(&self->area, HARD));
	letgo(&self->area);
	EXPECT_EQ(1, take(&self->area, HARD));
}

static void expect_off(struct __test_metadata *_metadata, struct _test_data_rungs *self)
{
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_REF, LONG_US));
	EXPECT_EQ(-ENOMEM, take(&self->area, HARD));
	EXPECT_EQ(-EBUSY, take_range(&self->area, self->block, HARD));
}

TEST_F_TIMEOUT(rungs, no_steps, TEST_SECONDS)
{
	ASSERT_EQ(0, write_number(WAIT_STEPS, 0));
	expect_off(_metadata, self);
}

TEST_F_TIMEOUT(rungs, no_length, TEST_SECONDS)
{
	ASSERT_EQ(0, write_number(WAIT_MS, 0));
	expect_off(_metadata, self);
}

/* The ends of the pageblock can still be had, around what stands in it. */
TEST_F_TIMEOUT(rungs, around_a_pin, TEST_SECONDS)
{
	uint64_t half = self->area.info.pageblock / 2;
	struct cma_test_alloc got;
	int rung;

	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_PIN, 0));
	for (rung = 0; rung < ALL_RUNGS; rung++) {
		ASSERT_EQ(1, alloc_one(&self->area, half, 0, rung_flags[rung], &got))
			TH_LOG("%s", rung_names[rung]);
		EXPECT_LT(self->block + 5, got.pfn);
		EXPECT_EQ(0, release(&self->area, got.id));
	}
}

/* So can they where only trying tells that the page stays. */
TEST_F_TIMEOUT(rungs, around_a_reference, TEST_SECONDS)
{
	uint64_t half = self->area.info.pageblock / 2;
	struct cma_test_alloc got;

	ASSERT_EQ(0, write_number(WAIT_STEPS, 0));
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_REF, 0));
	ASSERT_EQ(1, alloc_one(&self->area, half, 0, 0, &got));
	EXPECT_LT(self->block + 5, got.pfn);
	EXPECT_EQ(0, release(&self->area, got.id));
	EXPECT_EQ(1, alloc_one(&self->area, half, 0, CMA_TEST_RETRY_MAYFAIL, &got));
}

struct owner {
	int fd, id;
};

/* Register our page with pinpage; -1 without its test driver. */
static struct owner own(void *at)
{
	struct test_pinpage_pin pin = {
		.kind = TEST_PINPAGE_USER,
		.addr = (uintptr_t)at,
		.len = PAGE,
		.flags = TEST_PINPAGE_WRITE,
		.stride = 1,
		/* The machine may stop for longer than a device may. */
		.timeout_ms = 60000,
	};
	struct owner owner = { .fd = open("/dev/pinpage_test", O_RDWR), .id = -1 };

	if (owner.fd < 0 && !system("modprobe test_pinpage"))
		owner.fd = open("/dev/pinpage_test", O_RDWR);
	if (owner.fd >= 0 && !ioctl(owner.fd, TEST_PINPAGE_PIN, &pin))
		owner.id = pin.id;
	return owner;
}

/* An owner that is quick is not in the way, not even of who fails fast. */
TEST_F_TIMEOUT(rungs, owner, TEST_SECONDS)
{
	struct owner owner = own(self->at);
	int rung;

	if (owner.fd < 0)
		SKIP(return, "no /dev/pinpage_test");
	ASSERT_LT(0, owner.id);
	for (rung = 0; rung < ALL_RUNGS; rung++) {
		struct cma_test_alloc got;

		ASSERT_EQ(0, place(&self->area, self->at, self->block + 5));
		ASSERT_EQ(1, alloc_one(&self->area, self->area.info.pageblock,
				       pageblock_order(&self->area),
				       rung_flags[rung], &got));
		EXPECT_EQ(0, release(&self->area, got.id));
	}
	close(owner.fd);
}

/* One that has to sleep is not asked to by who fails fast. */
TEST_F_TIMEOUT(rungs, owner_needs_time, TEST_SECONDS)
{
	struct owner owner = own(self->at);
	struct test_pinpage_policy policy = {
		.id = owner.id, .quiet_us = 20000,
	};

	if (owner.fd < 0)
		SKIP(return, "no /dev/pinpage_test");
	ASSERT_EQ(0, ioctl(owner.fd, TEST_PINPAGE_POLICY, &policy));
	EXPECT_EQ(-ENOMEM, take(&self->area, NORETRY));
	EXPECT_EQ(self->block + 5, user_pfn(self->at));
	EXPECT_EQ(1, take(&self->area, DEFAULT));
	close(owner.fd);
}

/* One that refuses is not waited for. */
TEST_F_TIMEOUT(rungs, owner_refuses, TEST_SECONDS)
{
	struct owner owner = own(self->at);
	struct test_pinpage_policy policy = {
		.id = owner.id, .refusals = 1000000, .refusal = -EBUSY,
	};

	if (owner.fd < 0)
		SKIP(return, "no /dev/pinpage_test");
	/* If it were, this would never end. */
	ASSERT_EQ(0, write_number(WAIT_STEPS, 0x7fffffff));
	ASSERT_EQ(0, write_number(WAIT_MS, 10000));
	ASSERT_EQ(0, ioctl(owner.fd, TEST_PINPAGE_POLICY, &policy));
	EXPECT_EQ(-ENOMEM, take(&self->area, HARD));
	EXPECT_EQ(self->block + 5, user_pfn(self->at));
	close(owner.fd);
}

TEST_HARNESS_MAIN
