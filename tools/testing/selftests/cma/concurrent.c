// SPDX-License-Identifier: GPL-2.0
/*
 * Many at once, on all rungs, while somebody's memory is where they want to be:
 * nobody gets what another one has, and in the end all is there again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

#define WORKERS		4
#define ROUNDS		60
#define KEPT		8
#define USER_PAGES	4096

static bool allocated(int64_t ret)
{
	return ret > 0;
}

/* Exits with 0 when nothing was found that another one had written. */
static void work(int seed)
{
	uint32_t held[KEPT] = {};
	struct cma_test_alloc got;
	struct area area;
	char why[128];
	int i, slot, flags, done = 0;
	int64_t ret;

	if (!area_open(&area, why, sizeof(why)))
		_exit(2);
	srandom(seed);
	for (i = 0; i < ROUNDS; i++) {
		slot = random() % KEPT;
		if (held[slot] && release(&area, held[slot]))
			_exit(3);
		held[slot] = 0;
		flags = rung_flags[random() % ALL_RUNGS];
		if (random() % 2)
			ret = alloc_one(&area, random() % 3000 + 1, random() % 11, flags, &got);
		else
			ret = alloc_bulk(&area, random() % 100 + 1, random() % 10,
					 random() % 2, flags, &got);
		if (!allocated(ret))
			continue;
		held[slot] = got.id;
		done++;
	}
	/* Give back, and check what is left. */
	if (release(&area, 0))
		_exit(4);
	area_close(&area);
	_exit(done < ROUNDS / 10 ? 5 : 0);
}

/* For its timeout only. */
FIXTURE(concurrent) {
};

FIXTURE_SETUP(concurrent)
{
}

FIXTURE_TEARDOWN(concurrent)
{
}

TEST_F_TIMEOUT(concurrent, all, TEST_SECONDS)
{
	pid_t pids[WORKERS];
	struct area area;
	char why[128];
	int64_t before;
	int i, status;
	void *at;

	if (!area_open(&area, why, sizeof(why)))
		SKIP(return, "%s", why);
	before = area_free(&area);
	at = map_anon(USER_PAGES);
	ASSERT_NE(NULL, at);
	fill(at, USER_PAGES, 1);
	for (i = 0; i < 512; i++)
		place(&area, (char *)at + i * PAGE,
		      area.info.base_pfn + i * (area.info.count / 512));
	for (i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i])
			work(i + 1);
	}
	for (i = 0; i < WORKERS; i++) {
		ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(0, check(at, USER_PAGES, 1));
	EXPECT_EQ(before, area_free(&area));
	munmap(at, USER_PAGES * PAGE);
	area_close(&area);
}

TEST_HARNESS_MAIN
