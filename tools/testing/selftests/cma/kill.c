// SPDX-License-Identifier: GPL-2.0
/* A fatal signal ends any allocation, wherever it is, and leaves nothing. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

#define EXIT_DONE	42

FIXTURE(kill) {
	struct area area;
	int64_t free, left;
	uint64_t block;
	void *at;
	int64_t steps, ms;
};

FIXTURE_VARIANT(kill) {
	int how;
	int flags;
	int hold;
};

/* The default waits for locks, hard mode for references as well. */
FIXTURE_VARIANT_ADD(kill, one_lock) {
	.how = CMA_TEST_ONE, .hold = CMA_TEST_LOCK };
FIXTURE_VARIANT_ADD(kill, one_hard_lock) {
	.how = CMA_TEST_ONE, .flags = CMA_TEST_RETRY_MAYFAIL, .hold = CMA_TEST_LOCK };
FIXTURE_VARIANT_ADD(kill, one_hard_reference) {
	.how = CMA_TEST_ONE, .flags = CMA_TEST_RETRY_MAYFAIL, .hold = CMA_TEST_REF };
FIXTURE_VARIANT_ADD(kill, bulk_lock) {
	.how = CMA_TEST_BULK, .hold = CMA_TEST_LOCK };
FIXTURE_VARIANT_ADD(kill, bulk_hard_reference) {
	.how = CMA_TEST_BULK, .flags = CMA_TEST_RETRY_MAYFAIL, .hold = CMA_TEST_REF };
FIXTURE_VARIANT_ADD(kill, range_hard_reference) {
	.how = CMA_TEST_RANGE, .flags = CMA_TEST_RETRY_MAYFAIL, .hold = CMA_TEST_REF };

FIXTURE_SETUP(kill)
{
	char why[128];

	if (!area_open(&self->area, why, sizeof(why)))
		SKIP(return, "%s", why);
	self->steps = read_number(WAIT_STEPS);
	self->ms = read_number(WAIT_MS);
	self->free = area_free(&self->area);
	self->block = leave_one(&self->area);
	ASSERT_NE(0, self->block);
	self->left = area_free(&self->area);
	/* What the default waits for is the lock, and not who refers to it. */
	self->at = variant->hold == CMA_TEST_LOCK ?
		   shared_page_at(&self->area, self->block + 5) :
		   page_at(&self->area, self->block + 5);
	ASSERT_NE(NULL, self->at);
	/* Until killed. */
	ASSERT_EQ(0, write_number(WAIT_STEPS, 0x7fffffff));
}

FIXTURE_TEARDOWN(kill)
{
	write_number(WAIT_STEPS, self->steps);
	write_number(WAIT_MS, self->ms);
	letgo(&self->area);
	EXPECT_EQ(0, check(self->at, 1, self->block + 5));
	EXPECT_EQ(0, release(&self->area, 0));
	EXPECT_EQ(self->free, area_free(&self->area));
	area_close(&self->area);
}

static void child(struct area *parent, int how, int flags, uint64_t block)
{
	struct area area;
	char why[128];

	if (!area_open(&area, why, sizeof(why)))
		_exit(1);
	switch (how) {
	case CMA_TEST_ONE:
		alloc_one(&area, area.info.pageblock, pageblock_order(&area), flags, NULL);
		break;
	case CMA_TEST_BULK:
		alloc_bulk(&area, area.info.pageblock / 16, 4, area.info.pageblock / 16,
			   flags, NULL);
		break;
	default:
		alloc_range(&area, block, area.info.pageblock, flags, NULL);
	}
	_exit(EXIT_DONE);
}

TEST_F_TIMEOUT(kill, ends, TEST_SECONDS)
{
	int status;
	pid_t pid;

	ASSERT_EQ(0, keep(&self->area, self->at, variant->hold, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		child(&self->area, variant->how, variant->flags, self->block);
	/* It waits, and would for long. */
	sleep_ms(300);
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(self->left, area_free(&self->area));
	/* And what it wanted can be had. */
	letgo(&self->area);
	EXPECT_EQ(1, alloc_one(&self->area, self->area.info.pageblock,
			       pageblock_order(&self->area), 0, NULL));
}

TEST_HARNESS_MAIN
