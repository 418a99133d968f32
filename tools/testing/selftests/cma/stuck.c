// SPDX-License-Identifier: GPL-2.0
/*
 * One that is stuck, on a page that is locked, is in the way of nobody who finds
 * room elsewhere.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

#define OTHERS	7

FIXTURE(stuck) {
	struct area area;
	int64_t free;
	void *at;
	pthread_t first;
};

struct call {
	pthread_t thread;
	int rung;
	uint64_t pages;
	int64_t got;
	bool done;
};

static struct area *the_area;

static void *allocate(void *arg)
{
	struct call *call = arg;
	struct cma_test_alloc got;
	struct area area;
	char why[128];

	if (!area_open(&area, why, sizeof(why)))
		return NULL;
	call->got = alloc_one(&area, call->pages, 4, rung_flags[call->rung], &got);
	__atomic_store_n(&call->done, true, __ATOMIC_RELEASE);
	area_close(&area);
	return NULL;
}

static bool is_done(struct call *call)
{
	return __atomic_load_n(&call->done, __ATOMIC_ACQUIRE);
}

FIXTURE_SETUP(stuck)
{
	char why[128];

	if (!area_open(&self->area, why, sizeof(why)))
		SKIP(return, "%s", why);
	the_area = &self->area;
	self->free = area_free(&self->area);
	/* Of a file: nobody looks at its references before. */
	self->at = shared_page_at(&self->area, self->area.info.base_pfn +
				   self->area.info.count / 2);
	ASSERT_NE(NULL, self->at);
}

FIXTURE_TEARDOWN(stuck)
{
	letgo(&self->area);
	munmap(self->at, PAGE);
	EXPECT_EQ(0, release(&self->area, 0));
	EXPECT_EQ(self->free, area_free(&self->area));
	area_close(&self->area);
}

/*
 * The first one wants all of the area, and has to wait for the page lock until
 * it is let go of. The others want 64 KiB: not from the range of the first one,
 * but that is all.
 */
TEST_F_TIMEOUT(stuck, others_go_on, TEST_SECONDS)
{
	struct call first = { .rung = 1, .pages = 1024 };
	struct call others[OTHERS] = {};
	int i, round;

	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_LOCK, 0));
	/* Leave nothing but where it is stuck, and some pageblocks. */
	first.pages = self->area.info.count - 16 * self->area.info.pageblock;
	ASSERT_EQ(0, pthread_create(&first.thread, NULL, allocate, &first));
	sleep_ms(500);
	EXPECT_FALSE(is_done(&first));
	for (round = 0; round < 3; round++) {
		for (i = 0; i < OTHERS; i++) {
			others[i] = (struct call) { .rung = i % ALL_RUNGS, .pages = 16 };
			ASSERT_EQ(0, pthread_create(&others[i].thread, NULL, allocate,
						    &others[i]));
		}
		for (i = 0; i < OTHERS; i++) {
			pthread_join(others[i].thread, NULL);
			EXPECT_EQ(1, others[i].got) TH_LOG("%s", rung_names[i % ALL_RUNGS]);
		}
	}
	/* Who was waited for would have been let go of first. */
	EXPECT_FALSE(is_done(&first));
	letgo(&self->area);
	pthread_join(first.thread, NULL);
	EXPECT_EQ(1, first.got);
}

/* If there is no room elsewhere, a range that others work on is waited for. */
TEST_F_TIMEOUT(stuck, or_wait, TEST_SECONDS)
{
	struct call first = { .rung = 1 }, second = { .rung = 1 };

	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_LOCK, 0));
	first.pages = self->area.info.count - 16;
	second.pages = 16;
	ASSERT_EQ(0, pthread_create(&first.thread, NULL, allocate, &first));
	sleep_ms(500);
	EXPECT_FALSE(is_done(&first));
	ASSERT_EQ(0, pthread_create(&second.thread, NULL, allocate, &second));
	sleep_ms(500);
	EXPECT_FALSE(is_done(&second));
	letgo(&self->area);
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	EXPECT_EQ(1, first.got);
	EXPECT_EQ(1, second.got);
}

TEST_HARNESS_MAIN
