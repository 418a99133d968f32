// SPDX-License-Identifier: GPL-2.0
/*
 * ZONE_MOVABLE, and memory that goes offline: a registered pin stays in the
 * zone, and moves when its block is to go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	256
#define MEMORY	"/sys/devices/system/memory/"

struct block {
	uint64_t nr, pages;
};

FIXTURE(hotplug) {
	int fd;
	struct block block;
	char *at;
	int id;
};

FIXTURE_VARIANT(hotplug) {
	int kind;
	bool shmem;
	int order;
};

FIXTURE_VARIANT_ADD(hotplug, anon) { .kind = TEST_PINPAGE_USER };
FIXTURE_VARIANT_ADD(hotplug, anon_set) { .kind = TEST_PINPAGE_SET };
FIXTURE_VARIANT_ADD(hotplug, shmem) { .kind = TEST_PINPAGE_USER, .shmem = true };
FIXTURE_VARIANT_ADD(hotplug, kernel) { .kind = TEST_PINPAGE_KERNEL };
FIXTURE_VARIANT_ADD(hotplug, kernel_small) { .kind = TEST_PINPAGE_KERNEL, .order = 1 };
FIXTURE_VARIANT_ADD(hotplug, kernel_large) { .kind = TEST_PINPAGE_KERNEL, .order = 8 };

static void ignore(int sig)
{
}

/* Where something won't move there is no end to it: bounded. */
static int set_block(const struct block *block, const char *state, int seconds)
{
	char path[128];
	int ret;

	snprintf(path, sizeof(path), MEMORY "memory%llu/state", (unsigned long long)block->nr);
	alarm(seconds);
	ret = write_text(path, state);
	alarm(0);
	return ret;
}

static int block_node(const struct block *block)
{
	char path[128];

	snprintf(path, sizeof(path), MEMORY "memory%llu/node1", (unsigned long long)block->nr);
	return !access(path, F_OK);
}

/* A block that can go, as ZONE_MOVABLE; from the top, without CMA. Or why not. */
static const char *make_movable(struct block *block)
{
	const struct sigaction action = { .sa_handler = ignore };
	FILE *f = fopen(MEMORY "block_size_bytes", "r");
	unsigned long long bytes = 0;
	struct cma cma = {};
	char path[128];

	if (!f)
		return "no memory hotplug";
	if (fscanf(f, "%llx", &bytes) != 1)
		bytes = 0;
	fclose(f);
	block->pages = bytes / PAGE;
	sigaction(SIGALRM, &action, NULL);
	find_cma(&cma);
	for (block->nr = 64; block->nr--;) {
		snprintf(path, sizeof(path), MEMORY "memory%llu", (unsigned long long)block->nr);
		if (access(path, F_OK))
			continue;
		if (block->nr * block->pages < cma.base + cma.count &&
		    cma.base < (block->nr + 1) * block->pages)
			continue;
		if (set_block(block, "offline", 5))
			continue;
		if (!set_block(block, "online_movable", 30))
			return NULL;
	}
	return "no memory block can go offline";
}

static void make_normal(struct __test_metadata *_metadata, const struct block *block)
{
	int err;

	/* Fails where it is offline already. */
	set_block(block, "offline", 30);
	err = set_block(block, "online_kernel", 30);
	/* The base does not take a block back that has a poisoned page. */
	EXPECT_TRUE(!err || err == -EHWPOISON);
}

static bool map_filled(struct _test_data_hotplug *self, bool shmem)
{
	int backing = shmem ? make_memfd(NR) : -1;

	self->at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE,
			shmem ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, backing, 0);
	if (backing >= 0)
		close(backing);
	if (self->at == MAP_FAILED)
		return false;
	madvise(self->at, NR * PAGE, MADV_NOHUGEPAGE);
	user_fill(self->at, NR, SEED_USER);
	return true;
}

static int pin(struct _test_data_hotplug *self, int kind, int flags)
{
	return dev_pin_range(self->fd, kind, self->at, NR, flags, 0);
}

/* The driver's own pages, with the content that a process's would have. */
static int pin_kernel(int fd, size_t pages, int order)
{
	struct test_pinpage_pin arg = {
		.kind = TEST_PINPAGE_KERNEL, .len = pages * PAGE, .order = order,
	};
	int id = dev_pin(fd, arg);

	return id > 0 && dev_fill(fd, id, pages, SEED_USER) ? -EIO : id;
}

/* How many of the first @nr pages of @id are in the block? */
static int inside(int fd, const struct block *block, int id, int nr)
{
	int i, sum = 0;

	for (i = 0; i < nr; i++)
		sum += dev_pfn(fd, id, i) / block->pages == block->nr;
	return sum;
}

FIXTURE_SETUP(hotplug)
{
	const char *reason;
	char why[128];

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	reason = make_movable(&self->block);
	if (reason)
		SKIP(return, "%s", reason);
	prefer_node(block_node(&self->block));
	ASSERT_TRUE(map_filled(self, variant->shmem));
	if (variant->kind == TEST_PINPAGE_KERNEL)
		self->id = pin_kernel(self->fd, NR, variant->order);
	else
		self->id = pin(self, variant->kind, variant->kind == TEST_PINPAGE_USER ?
			       TEST_PINPAGE_WRITE : 0);
	prefer_node(-1);
	ASSERT_GT(self->id, 0);
}

FIXTURE_TEARDOWN(hotplug)
{
	struct test_pinpage_counters count = dev_count(self->fd, self->id);

	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_check(self->fd, self->id, NR, SEED_USER));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	EXPECT_EQ(0, dev_unpin(self->fd, self->id));
	munmap(self->at, NR * PAGE);
	make_normal(_metadata, &self->block);
	close(self->fd);
}

TEST_F_TIMEOUT(hotplug, stays, TEST_SECONDS)
{
	EXPECT_EQ(NR, inside(self->fd, &self->block, self->id, NR));
	EXPECT_EQ(0, dev_count(self->fd, self->id).prepares);
}

/* An ordinary long-term pin does not, and takes the registered one along. */
static void expect_leaves(struct __test_metadata *_metadata, struct _test_data_hotplug *self,
			  int kind, int flags)
{
	int id = pin(self, kind, flags);

	ASSERT_GT(id, 0);
	EXPECT_EQ(0, inside(self->fd, &self->block, id, NR));
	EXPECT_EQ(0, inside(self->fd, &self->block, self->id, NR));
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* Nobody can pin a kernel-owned page; but a reference keeps it, and its block. */
static void expect_kept(struct __test_metadata *_metadata, struct _test_data_hotplug *self)
{
	struct test_pinpage_pin ref = {
		.kind = TEST_PINPAGE_REF,
		.flags = TEST_PINPAGE_FROM,
		.from = self->id,
		.len = PAGE,
	};
	int id = dev_pin(self->fd, ref);

	ASSERT_GT(id, 0);
	EXPECT_NE(0, set_block(&self->block, "offline", 3));
	EXPECT_EQ(dev_pfn(self->fd, id, 0), dev_pfn(self->fd, self->id, 0));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	EXPECT_EQ(0, set_block(&self->block, "offline", 60));
}

TEST_F_TIMEOUT(hotplug, others, TEST_SECONDS)
{
	if (variant->kind == TEST_PINPAGE_KERNEL) {
		expect_kept(_metadata, self);
		return;
	}
	expect_leaves(_metadata, self, TEST_PINPAGE_LONGTERM, 0);
	expect_leaves(_metadata, self, TEST_PINPAGE_USER, TEST_PINPAGE_UNMOVABLE);
}

TEST_F_TIMEOUT(hotplug, offline, TEST_SECONDS)
{
	ASSERT_EQ(NR, inside(self->fd, &self->block, self->id, NR));
	EXPECT_EQ(0, set_block(&self->block, "offline", 60));
	EXPECT_EQ(0, inside(self->fd, &self->block, self->id, NR));
	EXPECT_EQ(0, dev_order(self->fd, self->id));
	EXPECT_EQ(NR, dev_count(self->fd, self->id).moved);
}

/* An owner that refuses, for as long as it does. */
TEST_F_TIMEOUT(hotplug, refused, TEST_SECONDS)
{
	struct test_pinpage_policy no = {
		.id = self->id, .busy_first = 7, .busy_nr = 1,
	};
	struct test_pinpage_policy yes = { .id = self->id };
	uint64_t pfn = dev_pfn(self->fd, self->id, 7);

	ASSERT_EQ(0, dev_policy(self->fd, no));
	EXPECT_NE(0, set_block(&self->block, "offline", 3));
	EXPECT_EQ(pfn, dev_pfn(self->fd, self->id, 7));
	/* In what it is asked about together, one page keeps them all. */
	EXPECT_LT(0, dev_count(self->fd, self->id).refused);
	EXPECT_EQ(0, dev_check(self->fd, self->id, NR, SEED_USER));
	ASSERT_EQ(0, dev_policy(self->fd, yes));
	EXPECT_EQ(0, set_block(&self->block, "offline", 60));
	EXPECT_EQ(0, inside(self->fd, &self->block, self->id, NR));
}

/* Poisoning a page sends a signal that can not be ignored. */
static void note_poison(int sig)
{
}

#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif

/* What is broken stays, is not copied, and keeps nobody. */
TEST_F_TIMEOUT(hotplug, poisoned, TEST_SECONDS)
{
	int id, param = open("/sys/module/test_pinpage/parameters/debug_vm", O_RDONLY);
	char *broken = map_anon(1), debug[4] = "";
	uint64_t pfn;

	if (variant->kind != TEST_PINPAGE_USER)
		SKIP(return, "one kind will do");
	/* On the base as well: whoever has pinned the page can't unpin it afterwards. */
	if (param >= 0 && read(param, debug, sizeof(debug)) > 0 && debug[0] == 'Y')
		SKIP(return, "CONFIG_DEBUG_VM overwrites the struct page of the pin");
	close(param);
	signal(SIGBUS, note_poison);
	ASSERT_NE(NULL, broken);
	prefer_node(block_node(&self->block));
	broken[0] = 1;
	prefer_node(-1);
	id = dev_pin_range(self->fd, TEST_PINPAGE_USER, broken, 1, TEST_PINPAGE_WRITE, 1);
	ASSERT_GT(id, 0);
	if (!inside(self->fd, &self->block, id, 1)) {
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		SKIP(return, "the page is not in the block");
	}
	pfn = dev_pfn(self->fd, id, 0);
	if (madvise(broken, PAGE, MADV_HWPOISON) && errno == EINVAL) {
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		SKIP(return, "needs CONFIG_MEMORY_FAILURE");
	}
	EXPECT_TRUE(page_flag(pfn, KPF_HWPOISON));
	EXPECT_EQ(0, set_block(&self->block, "offline", 60));
	EXPECT_EQ(pfn, dev_pfn(self->fd, id, 0));
	EXPECT_EQ(0, inside(self->fd, &self->block, self->id, NR));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	munmap(broken, PAGE);
}

/* What virtio-mem, and hugetlb for gigantic pages, do: take what is no CMA. */
TEST_F_TIMEOUT(hotplug, taken, TEST_SECONDS)
{
	const uint64_t start = self->block.nr * self->block.pages;
	uint64_t low = UINT64_MAX, high = 0, pfn;
	int contig = contig_open(), i;

	if (contig < 0)
		SKIP(return, "needs CONFIG_CMA_TEST");
	for (i = 0; i < NR; i++) {
		pfn = dev_pfn(self->fd, self->id, i) - start;
		low = pfn < low ? pfn : low;
		high = pfn > high ? pfn : high;
	}
	low &= ~(uint64_t)(PAGEBLOCK - 1);
	high = (high | (PAGEBLOCK - 1)) + 1;
	ASSERT_LE(high, self->block.pages);
	ASSERT_LT(0, contig_take(contig, start + low, high - low, false));
	for (i = 0; i < NR; i++) {
		pfn = dev_pfn(self->fd, self->id, i) - start;
		EXPECT_TRUE(pfn < low || pfn >= high);
	}
	EXPECT_EQ(0, dev_order(self->fd, self->id));
	EXPECT_EQ(NR, dev_count(self->fd, self->id).moved);
	close(contig);
}

/* A block that has pins of all kinds goes, and comes back, over and over. */
#define PINS	2048			/* of each kind */

enum pinned { ANON, THP, SHMEM, KERNEL, NR_PINNED };

FIXTURE(block) {
	int fd;
	struct block block;
	char *at[NR_PINNED];
	int id[NR_PINNED + 2];		/* ANON has three owners */
	int64_t balance;
};

static char *map_kind(enum pinned kind)
{
	int memfd = kind == SHMEM ? make_memfd(PINS) : -1;
	char *at = mmap(NULL, 2 * PINS * PAGE, PROT_READ | PROT_WRITE,
			kind == SHMEM ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, memfd, 0);

	if (memfd >= 0)
		close(memfd);
	if (at == MAP_FAILED)
		return NULL;
	at = (char *)(((uintptr_t)at + PAGEBLOCK * PAGE - 1) & ~(PAGEBLOCK * PAGE - 1));
	if (kind != SHMEM)
		madvise(at, PINS * PAGE, kind == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return at;
}

FIXTURE_SETUP(block)
{
	const char *reason;
	char why[128];
	int i;

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	reason = make_movable(&self->block);
	if (reason)
		SKIP(return, "%s", reason);
	self->balance = pin_balance();
	prefer_node(block_node(&self->block));
	for (i = 0; i < NR_PINNED + 2; i++) {
		if (i == KERNEL)
			continue;
		if (i < KERNEL) {
			self->at[i] = map_kind(i);
			ASSERT_NE(NULL, self->at[i]);
			user_fill(self->at[i], PINS, SEED_USER);
		}
		self->id[i] = dev_pin_range(self->fd, TEST_PINPAGE_USER,
					    self->at[i < KERNEL ? i : ANON], PINS,
					    TEST_PINPAGE_WRITE, i % 4);
		ASSERT_GT(self->id[i], 0);
	}
}

FIXTURE_TEARDOWN(block)
{
	struct test_pinpage_counters count;
	int i;

	for (i = 0; i < NR_PINNED + 2; i++) {
		count = dev_count(self->fd, self->id[i]);
		EXPECT_TRUE(account_balanced(&count));
		EXPECT_EQ(0, dev_order(self->fd, self->id[i]));
		EXPECT_EQ(0, dev_unpin(self->fd, self->id[i]));
	}
	for (i = 0; i < KERNEL; i++)
		munmap(self->at[i], PINS * PAGE);
	EXPECT_EQ(self->balance, pin_balance());
	prefer_node(-1);
	make_normal(_metadata, &self->block);
	close(self->fd);
}

static void check_all(struct __test_metadata *_metadata, struct _test_data_block *self)
{
	int i;

	for (i = 0; i < NR_PINNED + 2; i++)
		EXPECT_EQ(0, dev_check(self->fd, self->id[i], PINS, SEED_USER));
	for (i = 0; i < KERNEL; i++)
		EXPECT_EQ(0, user_check(self->at[i], PINS, SEED_USER));
}

TEST_F_TIMEOUT(block, comes_and_goes, 4 * TEST_SECONDS)
{
	int node = block_node(&self->block), nr = debug_kernel() ? 4 : 100, round, i;

	for (round = 0; round < nr; round++) {
		/* What the kernel owns comes anew; the others are moved in. */
		self->id[KERNEL] = pin_kernel(self->fd, PINS, round % 2 ? 9 : 0);
		ASSERT_GT(self->id[KERNEL], 0);
		for (i = 0; round && i < KERNEL; i++) {
			move_to(0, self->at[i], PINS, !node);
			EXPECT_EQ(PINS, move_to(0, self->at[i], PINS, node));
		}
		if (!(round % 10))
			for (i = 0; i < NR_PINNED; i++)
				EXPECT_EQ(PINS, inside(self->fd, &self->block, self->id[i], PINS));
		ASSERT_EQ(0, set_block(&self->block, "offline", 60));
		if (!(round % 10))
			check_all(_metadata, self);
		for (i = 0; i < NR_PINNED; i++)
			EXPECT_EQ(0, inside(self->fd, &self->block, self->id[i], 64));
		ASSERT_EQ(0, set_block(&self->block, "online_movable", 30));
		if (round < nr - 1)
			EXPECT_EQ(0, dev_unpin(self->fd, self->id[KERNEL]));
	}
	check_all(_metadata, self);
}

TEST_HARNESS_MAIN
