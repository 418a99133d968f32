// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cma_util.h"

const int rung_flags[ALL_RUNGS] = { CMA_TEST_NORETRY, 0, CMA_TEST_RETRY_MAYFAIL };
const char *const rung_names[ALL_RUNGS] = { "noretry", "default", "retry_mayfail" };

static int call(struct area *area, unsigned long cmd, void *arg)
{
	return ioctl(area->fd, cmd, arg) ? -errno : 0;
}

bool area_open(struct area *area, char *why, size_t len)
{
	int ret;

	memset(area, 0, sizeof(*area));
	area->fd = open("/dev/cma_test", O_RDWR | O_CLOEXEC);
	if (area->fd < 0) {
		snprintf(why, len, "/dev/cma_test: %s", strerror(errno));
		return false;
	}
	ret = call(area, CMA_TEST_INFO, &area->info);
	if (!ret)
		return true;
	snprintf(why, len, "no CMA area: %s", strerror(-ret));
	close(area->fd);
	return false;
}

void area_close(struct area *area)
{
	close(area->fd);
}

int64_t area_free(struct area *area)
{
	struct cma_test_info info = {};
	int ret;

	memcpy(info.name, area->info.name, sizeof(info.name));
	ret = call(area, CMA_TEST_INFO, &info);
	return ret ?: (int64_t)info.free;
}

uint64_t area_end(struct area *area)
{
	return area->info.base_pfn + area->info.count;
}

int pageblock_order(struct area *area)
{
	return __builtin_ctzll(area->info.pageblock);
}

static int64_t alloc(struct area *area, struct cma_test_alloc *in,
		     struct cma_test_alloc *out)
{
	int ret = call(area, CMA_TEST_ALLOC, in);

	if (out)
		*out = *in;
	return ret ?: in->got;
}

int64_t alloc_one(struct area *area, uint64_t pages, int order, int flags,
		  struct cma_test_alloc *out)
{
	struct cma_test_alloc in = {
		.how = CMA_TEST_ONE, .nr = pages, .order = order, .flags = flags,
	};

	return alloc(area, &in, out);
}

int64_t alloc_bulk(struct area *area, uint64_t nr, int order, uint64_t min, int flags,
		   struct cma_test_alloc *out)
{
	struct cma_test_alloc in = {
		.how = CMA_TEST_BULK, .nr = nr, .order = order, .min = min,
		.flags = flags,
	};

	return alloc(area, &in, out);
}

int64_t alloc_range(struct area *area, uint64_t pfn, uint64_t pages, int flags,
		    struct cma_test_alloc *out)
{
	struct cma_test_alloc in = {
		.how = CMA_TEST_RANGE, .nr = pages, .pfn = pfn, .flags = flags,
	};

	return alloc(area, &in, out);
}

int release(struct area *area, uint32_t id)
{
	return ioctl(area->fd, CMA_TEST_RELEASE, (unsigned long)id) ? -errno : 0;
}

int chunk_pfns(struct area *area, uint32_t id, uint64_t nr, uint64_t *pfns)
{
	struct cma_test_pfns arg = {
		.id = id, .nr = nr, .pfns = (uintptr_t)pfns,
	};

	return call(area, CMA_TEST_PFNS, &arg);
}

uint64_t leave_one(struct area *area)
{
	uint64_t blocks = area->info.count / area->info.pageblock;
	int order = pageblock_order(area);
	struct cma_test_alloc one;

	if (alloc_bulk(area, blocks / 2, order, 0, CMA_TEST_RETRY_MAYFAIL, NULL) < 0)
		return 0;
	if (alloc_bulk(area, 1, order, 1, CMA_TEST_RETRY_MAYFAIL, &one) != 1)
		return 0;
	if (alloc_bulk(area, blocks, order, 0, CMA_TEST_RETRY_MAYFAIL, NULL) < 0)
		return 0;
	return release(area, one.id) ? 0 : one.pfn;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x7fb5d329728ea185ULL;
	x ^= x >> 27;
	return x * 0x81dadef4bc2dd44dULL;
}

void fill(void *at, size_t pages, uint64_t seed)
{
	uint64_t *word = at;
	size_t i;

	for (i = 0; i < pages * PAGE / 8; i++)
		word[i] = mix(seed + i);
}

/* How many words are wrong. */
uint64_t check(const void *at, size_t pages, uint64_t seed)
{
	const uint64_t *word = at;
	uint64_t bad = 0;
	size_t i;

	for (i = 0; i < pages * PAGE / 8; i++)
		bad += word[i] != mix(seed + i);
	return bad;
}

void *map_anon(size_t pages)
{
	void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
	return at;
}

uint64_t user_pfn(const void *at)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	if (pread(fd, &entry, 8, (uintptr_t)at / PAGE * 8) != 8)
		entry = 0;
	close(fd);
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

int place(struct area *area, void *at, uint64_t pfn)
{
	struct cma_test_place arg = { .addr = (uintptr_t)at, .pfn = pfn };
	int ret = call(area, CMA_TEST_PLACE, &arg);

	if (ret)
		return ret;
	return user_pfn(at) == pfn ? 0 : -EAGAIN;
}

static void *fill_at(struct area *area, void *at, uint64_t pfn)
{
	if (!at)
		return NULL;
	fill(at, 1, pfn);
	if (!place(area, at, pfn))
		return at;
	munmap(at, PAGE);
	return NULL;
}

void *page_at(struct area *area, uint64_t pfn)
{
	return fill_at(area, map_anon(1), pfn);
}

void *shared_page_at(struct area *area, uint64_t pfn)
{
	void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return fill_at(area, at == MAP_FAILED ? NULL : at, pfn);
}

int keep(struct area *area, void *at, int hold, unsigned int us)
{
	struct cma_test_keep arg = {
		.addr = (uintptr_t)at, .hold = hold, .us = us,
	};

	return call(area, CMA_TEST_KEEP, &arg);
}

int keep_immap(struct area *area, int file, unsigned int us)
{
	struct cma_test_keep arg = {
		.addr = file, .hold = CMA_TEST_IMMAP, .us = us,
	};

	return call(area, CMA_TEST_KEEP, &arg);
}

uint64_t letgo(struct area *area)
{
	uint64_t ns = 0;

	return call(area, CMA_TEST_LETGO, &ns) ? 0 : ns;
}

int64_t read_number(const char *path)
{
	long long value = -ENOENT;
	FILE *f = fopen(path, "r");

	if (!f)
		return -errno;
	if (fscanf(f, "%lld", &value) != 1)
		value = -EIO;
	fclose(f);
	return value;
}

int write_number(const char *path, int64_t value)
{
	int fd = open(path, O_WRONLY), len, ret = 0;
	char text[32];

	if (fd < 0)
		return -errno;
	len = snprintf(text, sizeof(text), "%lld", (long long)value);
	if (write(fd, text, len) != len)
		ret = -errno;
	close(fd);
	return ret;
}

void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}
