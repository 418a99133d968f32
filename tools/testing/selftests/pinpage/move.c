// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of a process that are pinned move, by move_pages(2) and mbind(2), with
 * what the process and the device wrote, and the device follows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	64

enum memory { ANON, SHMEM, FILE_CACHE };

FIXTURE(move) {
	int fd;
	int backing;		/* of what is mapped, or -1 */
	char *at;
	int id;
	int64_t balance;	/* pins acquired and not released */
};

FIXTURE_VARIANT(move) {
	enum memory memory;
	int kind;
	int flags;
};

/* Pages in place, pinned by pinpage_pin_user() for writing. */
FIXTURE_VARIANT_ADD(move, anon) {
	.memory = ANON, .kind = TEST_PINPAGE_USER, .flags = TEST_PINPAGE_WRITE,
};

FIXTURE_VARIANT_ADD(move, anon_readonly) {
	.memory = ANON, .kind = TEST_PINPAGE_USER,
};

FIXTURE_VARIANT_ADD(move, anon_set) {
	.memory = ANON, .kind = TEST_PINPAGE_SET, .flags = TEST_PINPAGE_WRITE,
};

FIXTURE_VARIANT_ADD(move, shmem) {
	.memory = SHMEM, .kind = TEST_PINPAGE_USER, .flags = TEST_PINPAGE_WRITE,
};

FIXTURE_VARIANT_ADD(move, shmem_memfd) {
	.memory = SHMEM, .kind = TEST_PINPAGE_MEMFD, .flags = TEST_PINPAGE_WRITE,
};

FIXTURE_VARIANT_ADD(move, shmem_set) {
	.memory = SHMEM, .kind = TEST_PINPAGE_SET, .flags = TEST_PINPAGE_WRITE,
};

FIXTURE_VARIANT_ADD(move, file_readonly) {
	.memory = FILE_CACHE, .kind = TEST_PINPAGE_USER,
};

FIXTURE_VARIANT_ADD(move, file_set) {
	.memory = FILE_CACHE, .kind = TEST_PINPAGE_SET, .flags = TEST_PINPAGE_WRITE,
};

static int pin_it(int fd, int kind, void *at, size_t pages, int flags, int backing)
{
	struct test_pinpage_pin pin = {
		.kind = kind,
		.addr = kind == TEST_PINPAGE_MEMFD ? 0 : (uintptr_t)at,
		.fd = kind == TEST_PINPAGE_MEMFD ? backing : 0,
		.len = pages * PAGE,
		.flags = flags,
	};

	return dev_pin(fd, pin);
}

/* Memory of the variant's kind, each page of it filled. */
static char *make_memory(enum memory memory, size_t pages, int *backing)
{
	void *at;

	*backing = -1;
	if (memory == ANON) {
		at = map_anon(pages);
	} else {
		*backing = memory == SHMEM ? make_memfd(pages) : make_file(pages);
		if (*backing < 0)
			return NULL;
		at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			  *backing, 0);
		if (at == MAP_FAILED)
			return NULL;
	}
	if (at)
		user_fill(at, pages, SEED_USER);
	/* A file's pages are not under writeback from here on. */
	if (memory == FILE_CACHE)
		fsync(*backing);
	return at;
}

FIXTURE_SETUP(move)
{
	char why[128];

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->balance = pin_balance();
	self->at = make_memory(variant->memory, NR, &self->backing);
	if (!self->at && variant->memory == FILE_CACHE)
		SKIP(return, "no disk file system");
	ASSERT_NE(NULL, self->at);
	self->id = pin_it(self->fd, variant->kind, self->at, NR, variant->flags,
			  self->backing);
	ASSERT_GT(self->id, 0);
}

FIXTURE_TEARDOWN(move)
{
	struct test_pinpage_counters count = dev_count(self->fd, self->id);

	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_order(self->fd, self->id));
	EXPECT_EQ(0, dev_unpin(self->fd, self->id));
	EXPECT_EQ(self->balance, pin_balance());
	/* Nobody holds the pages: the flag is gone. */
	EXPECT_FALSE(page_flag(user_pfn(self->at), KPF_PINPAGE));
	munmap(self->at, NR * PAGE);
	if (self->backing >= 0)
		close(self->backing);
	close(self->fd);
}

/* Both sides see the same pages, and all of what was written. */
static void check_sides(struct __test_metadata *_metadata, struct _test_data_move *self,
			const struct _fixture_variant_move *variant, int round)
{
	struct test_pinpage_place place;
	uint64_t seed = SEED_DEVICE + round;
	int i;

	make_known(user_pfn(self->at));
	for (i = 0; i < NR; i++) {
		place = dev_place(self->fd, self->id, i);
		ASSERT_NE(0, place.pfn);
		ASSERT_EQ(place.pfn, user_pfn(self->at + i * PAGE));
		ASSERT_EQ(TEST_PINPAGE_FLAGGED, place.flags);
		ASSERT_TRUE(page_flag(place.pfn, KPF_PINPAGE));
	}
	ASSERT_EQ(0, user_check(self->at, NR, SEED_USER));
	ASSERT_EQ(0, dev_check(self->fd, self->id, NR, SEED_USER));
	if (!(variant->flags & TEST_PINPAGE_WRITE))
		return;
	ASSERT_EQ(0, dev_fill(self->fd, self->id, NR, seed));
	ASSERT_EQ(0, user_check(self->at, NR, seed));
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(0, dev_check(self->fd, self->id, NR, SEED_USER));
}

TEST_F_TIMEOUT(move, stays_in_place, TEST_SECONDS)
{
	check_sides(_metadata, self, variant, 0);
	EXPECT_EQ(0, dev_count(self->fd, self->id).prepares);
}

TEST_F_TIMEOUT(move, move_pages, TEST_SECONDS)
{
	uint64_t moved = read_event("pinpage_moved"), before[NR];
	uint64_t asked = read_event("pinpage_asked");
	struct test_pinpage_counters count;
	int round, i;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	/* First all to node 0, from wherever they are. */
	move_to(0, self->at, NR, 0);
	for (round = 1; round <= 4; round++) {
		for (i = 0; i < NR; i++)
			before[i] = dev_pfn(self->fd, self->id, i);
		ASSERT_EQ(NR, move_to(0, self->at, NR, round % 2));
		for (i = 0; i < NR; i++)
			ASSERT_NE(before[i], dev_pfn(self->fd, self->id, i));
		check_sides(_metadata, self, variant, round);
	}
	count = dev_count(self->fd, self->id);
	EXPECT_LE(4 * NR, count.moved);
	/* One prepare() covers a batch, not a page. */
	EXPECT_EQ(NR, count.largest);
	EXPECT_LE(4 * NR, read_event("pinpage_moved") - moved);
	EXPECT_LE(4 * NR, read_event("pinpage_asked") - asked);
}

TEST_F_TIMEOUT(move, mbind, TEST_SECONDS)
{
	int round, i;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	for (round = 1; round <= 2; round++) {
		ASSERT_EQ(0, bind_here(self->at, NR, round % 2));
		for (i = 0; i < NR; i++)
			ASSERT_EQ(round % 2, node_of(self->at + i * PAGE));
		check_sides(_metadata, self, variant, round);
	}
}

/* Parts of a set move, others stay. */
TEST_F_TIMEOUT(move, some, TEST_SECONDS)
{
	uint64_t before[NR];
	int i;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	for (i = 0; i < NR; i++)
		before[i] = dev_pfn(self->fd, self->id, i);
	for (i = 0; i < NR; i += 3)
		ASSERT_EQ(1, move_away(self->at + i * PAGE, 1));
	for (i = 0; i < NR; i++)
		ASSERT_EQ(i % 3 != 0, before[i] == dev_pfn(self->fd, self->id, i));
	check_sides(_metadata, self, variant, 1);
}

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

/* A page that is about to break is the best reason to ask. */
TEST_F_TIMEOUT(move, soft_offline, TEST_SECONDS)
{
	uint64_t before[NR];
	int i;

	if (variant->memory == FILE_CACHE)
		SKIP(return, "is dropped, not moved, where it can be");
	if (!can_unpoison())
		SKIP(return, "needs CONFIG_HWPOISON_INJECT, to heal the page");
	for (i = 0; i < NR; i++)
		before[i] = user_pfn(self->at + i * PAGE);
	if (madvise(self->at + 5 * PAGE, PAGE, MADV_SOFT_OFFLINE) && errno == EINVAL)
		SKIP(return, "needs CONFIG_MEMORY_FAILURE");
	/* It is the only one that has left, or has been told to. */
	EXPECT_NE(before[5], dev_pfn(self->fd, self->id, 5));
	EXPECT_TRUE(page_flag(before[5], KPF_HWPOISON));
	for (i = 0; i < NR; i++)
		EXPECT_EQ(i != 5, before[i] == dev_pfn(self->fd, self->id, i));
	EXPECT_EQ(1, dev_count(self->fd, self->id).moved);
	check_sides(_metadata, self, variant, 1);
	EXPECT_EQ(0, unpoison(before[5]));
}

struct traffic {
	int fd, id;
	char *at;
	bool write, stop;
	uint64_t bad, rounds;
};

/* The device works on the first half while the pages move. */
static void *make_traffic(void *arg)
{
	struct traffic *t = arg;
	uint64_t round;

	for (round = 0; !__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE); round++) {
		if (t->write) {
			t->bad += !!dev_fill(t->fd, t->id, NR / 2, round);
			t->bad += !!dev_check(t->fd, t->id, NR / 2, round);
			t->bad += user_check(t->at, NR / 2, round);
		} else {
			t->bad += !!dev_check(t->fd, t->id, NR / 2, SEED_USER);
		}
		t->rounds++;
	}
	return NULL;
}

TEST_F_TIMEOUT(move, under_load, TEST_SECONDS)
{
	struct traffic t = {
		.fd = self->fd,
		.id = self->id,
		.at = self->at,
		.write = variant->flags & TEST_PINPAGE_WRITE,
	};
	pthread_t thread;
	size_t there = 0;
	int round;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	ASSERT_EQ(0, pthread_create(&thread, NULL, make_traffic, &t));
	for (round = 0; round < rounds(20); round++) {
		there += move_to(0, self->at, NR, round % 2);
		/* The process writes, too. */
		user_fill(self->at + NR / 2 * PAGE, NR / 2, round);
		EXPECT_EQ(0, dev_count(self->fd, self->id).violations);
		EXPECT_EQ(0, user_check(self->at + NR / 2 * PAGE, NR / 2, round));
	}
	__atomic_store_n(&t.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, t.bad);
	EXPECT_LT(0, t.rounds);
	/* gup_fast() and writeback may be in the way, but not all the time. */
	EXPECT_LT(0, there);
	user_fill(self->at, NR, SEED_USER);
	check_sides(_metadata, self, variant, 1);
}

TEST_HARNESS_MAIN
