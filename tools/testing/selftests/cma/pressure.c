// SPDX-License-Identifier: GPL-2.0
/*
 * Most of memory is in use, the area with it: hard mode makes room, failing
 * fast does not harm, and nobody's memory changes.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

static int64_t mem_available(void)
{
	long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lld", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024 / PAGE;
}

/* For its timeout only. */
FIXTURE(pressure) {
};

FIXTURE_SETUP(pressure)
{
}

FIXTURE_TEARDOWN(pressure)
{
}

TEST_F_TIMEOUT(pressure, all, TEST_SECONDS)
{
	const uint64_t chunk = 256, spare = 8 * chunk * 16;
	int64_t pages = mem_available(), before;
	struct cma_test_alloc got;
	struct area area;
	char why[128];
	int rung;
	void *at;

	if (!area_open(&area, why, sizeof(why)))
		SKIP(return, "%s", why);
	before = area_free(&area);
	/* All but what the allocations want, and something to live on. */
	pages -= 8 * (chunk * 16) + 40000;
	ASSERT_LT((int64_t)spare, pages);
	at = map_anon(pages);
	ASSERT_NE(NULL, at);
	fill(at, pages, 7);

	for (rung = 0; rung < ALL_RUNGS; rung++) {
		int64_t ret = alloc_bulk(&area, chunk, 4, 0, rung_flags[rung], &got);

		EXPECT_LE(0, ret);
		if (rung)
			EXPECT_EQ(chunk, ret) TH_LOG("%s", rung_names[rung]);
		if (ret > 0)
			EXPECT_EQ(0, release(&area, got.id));
		ret = alloc_one(&area, chunk * 16, 0, rung_flags[rung], &got);
		if (rung)
			EXPECT_EQ(1, ret) TH_LOG("%s", rung_names[rung]);
		if (ret > 0)
			EXPECT_EQ(0, release(&area, got.id));
	}
	EXPECT_EQ(0, check(at, pages, 7));
	munmap(at, pages * PAGE);
	EXPECT_EQ(before, area_free(&area));
	area_close(&area);
}

TEST_HARNESS_MAIN
