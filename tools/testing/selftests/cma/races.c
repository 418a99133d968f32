// SPDX-License-Identifier: GPL-2.0
/*
 * References that are gone in a moment, each of them forced:
 *
 * fork: it takes a reference before it maps the page for the child, and was
 * scheduled away in between: one reference more than there are mappings.
 *
 * exit: munmap() unmaps all pages before it drops the references of the first.
 * Here it comes to a hugetlb mapping next, of a file whose i_mmap_rwsem somebody
 * has, and waits: a page in use, and mapped nowhere.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB	(21U << 26)
#endif

#define HUGE		(2UL << 20)
#define TIMES		20
#define FORK_US		20000
/* The default has to fail within it, on a slow machine as well. */
#define EXIT_US		400000
#define EXIT_TIMES	5

FIXTURE(races) {
	struct area area;
	int64_t free;
	uint64_t block;
};

FIXTURE_SETUP(races)
{
	char why[128];

	if (!area_open(&self->area, why, sizeof(why)))
		SKIP(return, "%s", why);
	self->free = area_free(&self->area);
	self->block = leave_one(&self->area);
	ASSERT_NE(0, self->block);
}

FIXTURE_TEARDOWN(races)
{
	letgo(&self->area);
	EXPECT_EQ(0, release(&self->area, 0));
	EXPECT_EQ(self->free, area_free(&self->area));
	area_close(&self->area);
}

static int64_t take(struct area *area, int flags, struct cma_test_alloc *got)
{
	return alloc_one(area, area->info.pageblock, pageblock_order(area), flags, got);
}

static void expect_wait(struct __test_metadata *_metadata, struct area *area)
{
	struct cma_test_alloc got;

	ASSERT_EQ(1, take(area, CMA_TEST_RETRY_MAYFAIL, &got));
	EXPECT_LE(letgo(area), got.end_ns);
	EXPECT_EQ(0, release(area, got.id));
}

TEST_F_TIMEOUT(races, fork, TEST_SECONDS)
{
	uint64_t pfn = self->block + 3;
	void *at = page_at(&self->area, pfn);
	int i;

	ASSERT_NE(NULL, at);
	for (i = 0; i < TIMES; i++) {
		ASSERT_EQ(0, place(&self->area, at, pfn));
		/* Without waiting, to see that the race is there */
		ASSERT_EQ(0, keep(&self->area, at, CMA_TEST_REF, 0));
		EXPECT_EQ(-ENOMEM, take(&self->area, 0, NULL));
		letgo(&self->area);
		ASSERT_EQ(0, keep(&self->area, at, CMA_TEST_REF, FORK_US));
		expect_wait(_metadata, &self->area);
		EXPECT_EQ(0, check(at, 1, pfn));
	}
	munmap(at, PAGE);
}

static void *unmap(void *at)
{
	munmap(at, 2 * HUGE);
	return NULL;
}

/* A page of ours, and behind it a hugetlb mapping of @file, without pages. */
static char *map_both(int file)
{
	char *at = mmap(NULL, 3 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	at = (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
	if (mmap(at, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return NULL;
	if (mmap(at + HUGE, HUGE, PROT_READ, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
		 file, 0) == MAP_FAILED)
		return NULL;
	memset(at, 1, PAGE);
	return at;
}

TEST_F_TIMEOUT(races, exit, TEST_SECONDS)
{
	int file = memfd_create("cma", MFD_HUGETLB | MFD_HUGE_2MB), untimely = 0, i;
	struct cma_test_alloc got;
	pthread_t thread;
	int64_t taken;
	char *at;

	if (file < 0 || ftruncate(file, HUGE))
		SKIP(return, "no hugetlb pages of 2 MiB");
	for (i = 0; i < EXIT_TIMES; i++) {
		at = map_both(file);
		if (!at)
			SKIP(return, "no hugetlb mapping: %s", strerror(errno));
		ASSERT_EQ(0, place(&self->area, at, self->block + 3));
		ASSERT_EQ(0, keep_immap(&self->area, file, EXIT_US));
		ASSERT_EQ(0, pthread_create(&thread, NULL, unmap, at));
		while (user_pfn(at))
			sleep_ms(1);
		/*
		 * Too early, and the page has no mapping that can be seen but is
		 * not unmapped yet, so it moves; or too late, and all is over.
		 */
		taken = take(&self->area, 0, &got);
		if (taken == 1) {
			EXPECT_EQ(0, release(&self->area, got.id));
			letgo(&self->area);
			untimely++;
		} else {
			EXPECT_EQ(-ENOMEM, taken);
			expect_wait(_metadata, &self->area);
		}
		pthread_join(thread, NULL);
	}
	EXPECT_GT(EXIT_TIMES, untimely);
	close(file);
}

TEST_HARNESS_MAIN
