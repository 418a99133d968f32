// SPDX-License-Identifier: GPL-2.0
/*
 * ZONE_MOVABLE, and memory that goes offline: a registered pin stays in the
 * zone, and moves when its block is to go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	256
#define MEMORY	"/sys/devices/system/memory/"

FIXTURE(hotplug) {
	int fd;
	uint64_t block, pages;		/* pages in a block */
	char *at;
	int id;
};

FIXTURE_VARIANT(hotplug) {
	int kind;
	bool shmem;
};

FIXTURE_VARIANT_ADD(hotplug, anon) { .kind = TEST_PINPAGE_USER };
FIXTURE_VARIANT_ADD(hotplug, anon_get) { .kind = TEST_PINPAGE_GET };
FIXTURE_VARIANT_ADD(hotplug, shmem) { .kind = TEST_PINPAGE_USER, .shmem = true };
FIXTURE_VARIANT_ADD(hotplug, kernel) { .kind = TEST_PINPAGE_KERNEL };

static void ignore(int sig)
{
}

/* Where something won't move there is no end to it: bounded. */
static int set_block(uint64_t block, const char *state, int seconds)
{
	char path[128];
	int ret;

	snprintf(path, sizeof(path), MEMORY "memory%llu/state", (unsigned long long)block);
	alarm(seconds);
	ret = write_text(path, state);
	alarm(0);
	return ret;
}

static int block_node(uint64_t block)
{
	char path[128];

	snprintf(path, sizeof(path), MEMORY "memory%llu/node1", (unsigned long long)block);
	return !access(path, F_OK);
}

/* A block that can go, as ZONE_MOVABLE; from the top, without CMA. */
static bool make_movable(struct _test_data_hotplug *self, const struct cma *cma)
{
	char path[128];

	for (self->block = 64; self->block--;) {
		snprintf(path, sizeof(path), MEMORY "memory%llu",
			 (unsigned long long)self->block);
		if (access(path, F_OK))
			continue;
		if (self->block * self->pages < cma->base + cma->count &&
		    cma->base < (self->block + 1) * self->pages)
			continue;
		if (set_block(self->block, "offline", 5))
			continue;
		return !set_block(self->block, "online_movable", 30);
	}
	return false;
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
	int id;

	if (kind != TEST_PINPAGE_KERNEL)
		return dev_pin_range(self->fd, kind, self->at, NR, flags, 0);
	id = dev_pin_range(self->fd, kind, NULL, NR, 0, 0);
	if (id > 0 && dev_fill(self->fd, id, NR, SEED_USER))
		return -EIO;
	return id;
}

/* How many pages of @id are in the block? */
static int inside(struct _test_data_hotplug *self, int id)
{
	int i, nr = 0;

	for (i = 0; i < NR; i++)
		nr += dev_pfn(self->fd, id, i) / self->pages == self->block;
	return nr;
}

FIXTURE_SETUP(hotplug)
{
	const struct sigaction action = { .sa_handler = ignore };
	unsigned long long bytes = 0;
	struct cma cma;
	char why[128];
	FILE *f;

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	f = fopen(MEMORY "block_size_bytes", "r");
	if (!f)
		SKIP(return, "no memory hotplug");
	ASSERT_EQ(1, fscanf(f, "%llx", &bytes));
	fclose(f);
	self->pages = bytes / PAGE;
	sigaction(SIGALRM, &action, NULL);
	find_cma(&cma);
	if (!make_movable(self, &cma))
		SKIP(return, "no memory block can go offline");
	prefer_node(block_node(self->block));
	ASSERT_TRUE(map_filled(self, variant->shmem));
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
	/* Fails where it is offline already. */
	set_block(self->block, "offline", 30);
	EXPECT_EQ(0, set_block(self->block, "online_kernel", 30));
	close(self->fd);
}

TEST_F_TIMEOUT(hotplug, stays, TEST_SECONDS)
{
	EXPECT_EQ(NR, inside(self, self->id));
	EXPECT_EQ(0, dev_count(self->fd, self->id).prepares);
}

/* An ordinary long-term pin does not, and takes the registered one along. */
static void expect_leaves(struct __test_metadata *_metadata, struct _test_data_hotplug *self,
			  int kind, int flags)
{
	int id = pin(self, kind, flags);

	ASSERT_GT(id, 0);
	EXPECT_EQ(0, inside(self, id));
	EXPECT_EQ(0, inside(self, self->id));
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
	EXPECT_NE(0, set_block(self->block, "offline", 3));
	EXPECT_EQ(dev_pfn(self->fd, id, 0), dev_pfn(self->fd, self->id, 0));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	EXPECT_EQ(0, set_block(self->block, "offline", 60));
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
	ASSERT_EQ(NR, inside(self, self->id));
	EXPECT_EQ(0, set_block(self->block, "offline", 60));
	EXPECT_EQ(0, inside(self, self->id));
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
	EXPECT_NE(0, set_block(self->block, "offline", 3));
	EXPECT_EQ(pfn, dev_pfn(self->fd, self->id, 7));
	EXPECT_LT(0, dev_count(self->fd, self->id).refused);
	EXPECT_EQ(0, dev_check(self->fd, self->id, NR, SEED_USER));
	ASSERT_EQ(0, dev_policy(self->fd, yes));
	EXPECT_EQ(0, set_block(self->block, "offline", 60));
	EXPECT_EQ(0, inside(self, self->id));
}

TEST_HARNESS_MAIN
