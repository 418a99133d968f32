// SPDX-License-Identifier: GPL-2.0
/* What is refused changes nothing. */
#include <errno.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

FIXTURE(badinput) {
	struct area area;
	int64_t free;
};

FIXTURE_SETUP(badinput)
{
	char why[128];

	if (!area_open(&self->area, why, sizeof(why)))
		SKIP(return, "%s", why);
	self->free = area_free(&self->area);
}

FIXTURE_TEARDOWN(badinput)
{
	EXPECT_EQ(self->free, area_free(&self->area));
	area_close(&self->area);
}

static const int bad_flags[] = {
	CMA_TEST_NOFAIL,
	CMA_TEST_ACCOUNT,
	CMA_TEST_NORETRY | CMA_TEST_RETRY_MAYFAIL,
};

TEST_F(badinput, range)
{
	uint64_t pfn = self->area.info.base_pfn;
	size_t i;

	for (i = 0; i < sizeof(bad_flags) / sizeof(*bad_flags); i++)
		EXPECT_EQ(-EINVAL, alloc_range(&self->area, pfn, 16, bad_flags[i], NULL));
}

TEST_F(badinput, one)
{
	struct area *area = &self->area;
	size_t i;

	for (i = 0; i < sizeof(bad_flags) / sizeof(*bad_flags); i++)
		EXPECT_EQ(-ENOMEM, alloc_one(area, 16, 4, bad_flags[i], NULL));
	EXPECT_EQ(-ENOMEM, alloc_one(area, 0, 0, 0, NULL));
	EXPECT_EQ(-ENOMEM, alloc_one(area, 16, 64, 0, NULL));
	EXPECT_EQ(-ENOMEM, alloc_one(area, 16, 4096, 0, NULL));
	EXPECT_EQ(-ENOMEM, alloc_one(area, 16, 4, CMA_TEST_NOWAIT, NULL));
	EXPECT_EQ(-ENOMEM, alloc_one(area, 17, 5, CMA_TEST_COMP, NULL));
	EXPECT_EQ(-ENOMEM, alloc_one(area, 16, 3, CMA_TEST_COMP, NULL));
	EXPECT_EQ(-ENOMEM, alloc_one(area, area->info.count + 1, 0, 0, NULL));
}

TEST_F(badinput, bulk)
{
	struct area *area = &self->area;
	size_t i;

	for (i = 0; i < sizeof(bad_flags) / sizeof(*bad_flags); i++)
		EXPECT_EQ(-EINVAL, alloc_bulk(area, 2, 4, 0, bad_flags[i], NULL));
	EXPECT_EQ(-EINVAL, alloc_bulk(area, 0, 4, 0, 0, NULL));
	EXPECT_EQ(-EINVAL, alloc_bulk(area, 2, 4, 3, 0, NULL));
	EXPECT_EQ(-EINVAL, alloc_bulk(area, 2, 64, 0, 0, NULL));
	EXPECT_EQ(-EINVAL, alloc_bulk(area, 2, 4, 0, CMA_TEST_NOWAIT, NULL));
	EXPECT_EQ(-EINVAL, alloc_bulk(area, 2, 4, 0, CMA_TEST_COMP, NULL));
	/* More than there is: nothing, or what there is. */
	EXPECT_EQ(-ENOMEM, alloc_bulk(area, 2, 40, 1, 0, NULL));
	EXPECT_EQ(0, alloc_bulk(area, 2, 40, 0, 0, NULL));
}

/* The tunables take what makes sense, and keep what they had otherwise. */
TEST(tunables)
{
	int64_t steps = read_number(WAIT_STEPS), ms = read_number(WAIT_MS);

	ASSERT_LE(0, steps);
	ASSERT_LE(0, ms);
	EXPECT_EQ(-EINVAL, write_number(WAIT_STEPS, -1));
	EXPECT_EQ(-EINVAL, write_number(WAIT_MS, -1));
	EXPECT_EQ(-EINVAL, write_number(WAIT_MS, 10001));
	EXPECT_EQ(steps, read_number(WAIT_STEPS));
	EXPECT_EQ(ms, read_number(WAIT_MS));
	EXPECT_EQ(0, write_number(WAIT_STEPS, 0));
	EXPECT_EQ(0, read_number(WAIT_STEPS));
	EXPECT_EQ(0, write_number(WAIT_STEPS, steps));
}

TEST_HARNESS_MAIN
