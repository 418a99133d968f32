// SPDX-License-Identifier: GPL-2.0
/*
 * A pause is short: an owner that is quiet waits for nothing but its own pages,
 * whatever somebody else holds, is asked about, or refuses in the same call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define HALF	32
#define NR	(2 * HALF)
#define ALL	(NR + 1)
#define STRANGER HALF			/* the page between the two halves */
#define HELD_MS	2000ULL
#define SAMPLES	50

/*
 * Two owners with a half each, and a page between them that is somebody else's:
 * one call of move_pages(2) gets all of them.
 */
FIXTURE(pause) {
	int fd;
	char *at;
	int backing;
	int first, second;
	int other;			/* owner of the page between, or 0 */
};

FIXTURE_VARIANT(pause) {
	int hold;			/* what is held, of the page between */
	bool registered;		/* and that page has an owner */
	bool own;			/* or of a page of the first owner */
};

FIXTURE_VARIANT_ADD(pause, writeback) { .hold = TEST_PINPAGE_WRITEBACK };
FIXTURE_VARIANT_ADD(pause, writeback_registered) {
	.hold = TEST_PINPAGE_WRITEBACK, .registered = true,
};

FIXTURE_VARIANT_ADD(pause, lock) { .hold = TEST_PINPAGE_LOCK };
FIXTURE_VARIANT_ADD(pause, lock_registered) {
	.hold = TEST_PINPAGE_LOCK, .registered = true,
};

FIXTURE_VARIANT_ADD(pause, lock_own) { .hold = TEST_PINPAGE_LOCK, .own = true };
FIXTURE_VARIANT_ADD(pause, buffer) { .hold = TEST_PINPAGE_BUFFER };
FIXTURE_VARIANT_ADD(pause, buffer_registered) {
	.hold = TEST_PINPAGE_BUFFER, .registered = true,
};

FIXTURE_VARIANT_ADD(pause, anon_vma) { .hold = TEST_PINPAGE_ANON_VMA };
FIXTURE_VARIANT_ADD(pause, anon_vma_registered) {
	.hold = TEST_PINPAGE_ANON_VMA, .registered = true,
};

FIXTURE_VARIANT_ADD(pause, anon_vma_own) {
	.hold = TEST_PINPAGE_ANON_VMA, .own = true,
};

FIXTURE_VARIANT_ADD(pause, i_mmap) { .hold = TEST_PINPAGE_I_MMAP };
FIXTURE_VARIANT_ADD(pause, i_mmap_registered) {
	.hold = TEST_PINPAGE_I_MMAP, .registered = true,
};

/*
 * Mappings that come later must not become one with it: for that the rmap lock is
 * needed, which may be held.
 */
static char *map_fenced(size_t pages)
{
	char *at = map_anon(pages + 2);

	if (!at || mprotect(at, PAGE, PROT_NONE) ||
	    mprotect(at + (pages + 1) * PAGE, PAGE, PROT_NONE))
		return NULL;
	return at + PAGE;
}

/* The page between: of what the lock is of, and with an rmap lock of its own. */
static bool map_stranger(char *at, int hold, int *backing)
{
	int flags = MAP_SHARED;

	if (hold == TEST_PINPAGE_BUFFER)
		*backing = make_file(1);
	else if (hold == TEST_PINPAGE_WRITEBACK || hold == TEST_PINPAGE_I_MMAP)
		*backing = make_memfd(1);
	else
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
	if (flags == MAP_SHARED && *backing < 0)
		return false;
	if (mmap(at, PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, *backing, 0) != at)
		return false;
	/* It is not to be one mapping with its neighbours. */
	madvise(at, PAGE, MADV_DONTFORK);
	return true;
}

static int pin(struct _test_data_pause *self, size_t first, size_t pages, int system)
{
	return dev_pin_range(self->fd, TEST_PINPAGE_SET, self->at + first * PAGE, pages,
			     TEST_PINPAGE_WRITE, system);
}

FIXTURE_SETUP(pause)
{
	char why[128];

	self->backing = -1;
	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->at = map_fenced(ALL);
	ASSERT_NE(NULL, self->at);
	if (!map_stranger(self->at + STRANGER * PAGE, variant->hold, &self->backing))
		SKIP(return, "no disk file system");
	user_fill(self->at, ALL, SEED_USER);
	if (self->backing >= 0)
		fsync(self->backing);
	ASSERT_EQ(ALL, move_to(0, self->at, ALL, 0));
	self->first = pin(self, 0, HALF, 0);
	ASSERT_GT(self->first, 0);
	self->second = pin(self, HALF + 1, HALF, 1);
	ASSERT_GT(self->second, 0);
	if (variant->registered) {
		self->other = pin(self, STRANGER, 1, 2);
		ASSERT_GT(self->other, 0);
	}
}

FIXTURE_TEARDOWN(pause)
{
	int ids[] = { self->first, self->second, self->other }, i;
	struct test_pinpage_counters count;

	for (i = 0; i < 2 + variant->registered; i++) {
		count = dev_count(self->fd, ids[i]);
		EXPECT_TRUE(account_balanced(&count));
		EXPECT_EQ(0, dev_order(self->fd, ids[i]));
		EXPECT_EQ(0, dev_unpin(self->fd, ids[i]));
	}
	EXPECT_EQ(0, user_check(self->at, ALL, SEED_USER));
	munmap(self->at - PAGE, (ALL + 2) * PAGE);
	if (self->backing >= 0)
		close(self->backing);
	close(self->fd);
}

static uint64_t longest(struct _test_data_pause *self)
{
	uint64_t first = dev_count(self->fd, self->first).longest_ns;
	uint64_t second = dev_count(self->fd, self->second).longest_ns;

	return first > second ? first : second;
}

/* How often somebody stands still, as long as it is held: of SAMPLES. */
static int count_open(struct _test_data_pause *self, int *samples)
{
	int nr = 0;

	for (*samples = 0; *samples < SAMPLES; ++*samples) {
		nr += dev_count(self->fd, self->first).open ||
		      dev_count(self->fd, self->second).open;
		sleep_ms(HELD_MS / SAMPLES);
	}
	return nr;
}

/*
 * For two seconds. A pause that waits for it is that long; one that does not takes
 * as long as some pages take.
 */
TEST_F_TIMEOUT(pause, waits_for_nothing, TEST_SECONDS)
{
	char *held = self->at + (variant->own ? 3 : STRANGER) * PAGE;
	int id, open, samples;
	struct one_move m;
	size_t there;

	id = dev_pin_range(self->fd, variant->hold, held, 1, 0, 0);
	ASSERT_GT(id, 0);
	ASSERT_EQ(0, start_move(&m, self->at, ALL, 1));
	open = count_open(self, &samples);
	EXPECT_GT(samples / 2, open);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	there = end_move(&m);
	EXPECT_GT(HELD_MS * 1000000 / 2, longest(self));
	/* What is held may stay; nothing else has a reason to. */
	EXPECT_LE(variant->own ? HALF : NR, there);
	EXPECT_EQ(ALL, move_patiently(self->at, ALL));
}

/*
 * Three owners of a page, two of another one. The fourth is waited for; the third
 * page has one owner, whom nobody delays.
 */
#define OWNERS		6
#define PAGES		3

FIXTURE(refusal) {
	int fd;
	char *at;
	int ids[OWNERS];
};

static const int owns[OWNERS] = { 0, 0, 0, 1, 1, 2 };

FIXTURE_SETUP(refusal)
{
	char why[128];
	int i;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->at = map_anon(PAGES);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, PAGES, SEED_USER);
	ASSERT_EQ(PAGES, move_to(0, self->at, PAGES, 0));
	for (i = 0; i < OWNERS; i++) {
		self->ids[i] = dev_pin_range(self->fd, TEST_PINPAGE_USER,
					     self->at + owns[i] * PAGE, 1,
					     TEST_PINPAGE_WRITE, i % 4);
		ASSERT_GT(self->ids[i], 0);
	}
}

FIXTURE_TEARDOWN(refusal)
{
	struct test_pinpage_counters count;
	int i;

	for (i = 0; i < OWNERS; i++) {
		count = dev_count(self->fd, self->ids[i]);
		EXPECT_TRUE(account_balanced(&count));
		EXPECT_EQ(0, dev_unpin(self->fd, self->ids[i]));
	}
	EXPECT_EQ(0, user_check(self->at, PAGES, SEED_USER));
	munmap(self->at, PAGES * PAGE);
	close(self->fd);
}

static void obey(struct __test_metadata *_metadata, struct _test_data_refusal *self, int owner,
		 struct test_pinpage_policy policy)
{
	policy.id = self->ids[owner];
	ASSERT_EQ(0, dev_policy(self->fd, policy));
}

/*
 * The one in the middle refuses: whoever has been asked before is told so while
 * the owner of the other page is waited for.
 */
TEST_F_TIMEOUT(refusal, others_go_on, TEST_SECONDS)
{
	struct test_pinpage_counters count[3];
	int i, tries, asked = 0;
	struct one_move m;
	bool open = false;

	obey(_metadata, self, 1, (struct test_pinpage_policy){
		.refusals = 1000, .refusal = -EBUSY });
	for (tries = 10; tries && !open; tries--) {
		obey(_metadata, self, 3, (struct test_pinpage_policy){ .hold = 1 });
		ASSERT_EQ(0, start_move(&m, self->at, PAGES, 1));
		open = wait_open(self->fd, self->ids[3], &m);
		while (open && !dev_count(self->fd, self->ids[1]).prepares)
			open = !move_is_over(&m);
		for (i = 0; i < 3; i++)
			count[i] = dev_count(self->fd, self->ids[i]);
		/* He is waited for once in a call, and was so when they were looked at. */
		open = dev_count(self->fd, self->ids[3]).open;
		obey(_metadata, self, 3, (struct test_pinpage_policy){});
		end_move(&m);
		if (!open)
			sleep_ms(2000);
	}
	ASSERT_TRUE(open);
	EXPECT_EQ(0, count[0].open);
	EXPECT_EQ(0, count[2].open);
	EXPECT_EQ(count[0].prepares, count[0].completes);
	EXPECT_EQ(count[2].prepares, count[2].completes);
	for (i = 0; i < 3; i += 2)
		asked += count[i].prepares;
	EXPECT_LT(0, asked);
	/* The other pages have nothing to do with it. */
	EXPECT_EQ(0, node_of(self->at));
	EXPECT_EQ(1, node_of(self->at + PAGE));
	EXPECT_EQ(1, node_of(self->at + 2 * PAGE));
}

/* An owner of another page that is quiet moves while somebody is waited for. */
TEST_F_TIMEOUT(refusal, quiet_ones_move, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	struct one_move m;
	bool there = false;
	int tries, i;

	for (tries = 10; tries && !there; tries--) {
		obey(_metadata, self, 0, (struct test_pinpage_policy){ .hold = 1 });
		ASSERT_EQ(0, start_move(&m, self->at, PAGES, 1));
		while (!move_is_over(&m) && !there) {
			there = dev_count(self->fd, self->ids[0]).open;
			for (i = 3; i < OWNERS; i++) {
				count = dev_count(self->fd, self->ids[i]);
				there &= count.moved && !count.open;
			}
			sched_yield();
		}
		obey(_metadata, self, 0, (struct test_pinpage_policy){});
		end_move(&m);
		if (there)
			break;
		sleep_ms(2000);
		for (i = 0; i < PAGES; i++)
			move_to(0, self->at + i * PAGE, 1, 0);
	}
	EXPECT_TRUE(there);
}

/* Movers of other parts of a buffer */
#define MOVERS		3
#define PART		512
#define BUFFER		(MOVERS * PART)

FIXTURE(movers) {
	int fd, id;
	char *at, *plain;
	bool stop;
	size_t reads;
	int error;
};

FIXTURE_SETUP(movers)
{
	char why[128];

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->at = map_anon(BUFFER);
	self->plain = map_anon(BUFFER);
	ASSERT_NE(NULL, self->at);
	ASSERT_NE(NULL, self->plain);
	user_fill(self->at, BUFFER, SEED_USER);
	user_fill(self->plain, BUFFER, SEED_USER);
	self->id = dev_pin_range(self->fd, TEST_PINPAGE_USER, self->at, BUFFER,
				 TEST_PINPAGE_WRITE | TEST_PINPAGE_WHOLE, 0);
	ASSERT_GT(self->id, 0);
}

FIXTURE_TEARDOWN(movers)
{
	struct test_pinpage_counters count = dev_count(self->fd, self->id);

	EXPECT_TRUE(account_balanced(&count));
	EXPECT_LT(0, count.moved);
	EXPECT_EQ(0, dev_check(self->fd, self->id, BUFFER, SEED_USER));
	EXPECT_EQ(0, dev_unpin(self->fd, self->id));
	munmap(self->at, BUFFER * PAGE);
	munmap(self->plain, BUFFER * PAGE);
	close(self->fd);
}

static void *keep_reading(void *arg)
{
	struct _test_data_movers *self = arg;
	uint64_t word;

	while (!__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
		self->error |= dev_access(self->fd, self->id, &word, 0, sizeof(word), false, 0);
		__atomic_add_fetch(&self->reads, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Reads of the first page in a second, while all others of @at are moved. */
static double reads_beside(struct __test_metadata *_metadata, struct _test_data_movers *self,
			   char *at)
{
	struct mover movers[MOVERS];
	uint64_t start, took;
	size_t reads;
	int i;

	for (i = 0; i < MOVERS; i++)
		ASSERT_EQ(0, start_mover(&movers[i], at + (i * PART + 1) * PAGE, PART - 1, 0));
	start = now_ms();
	reads = __atomic_load_n(&self->reads, __ATOMIC_RELAXED);
	sleep_ms(5000);
	reads = __atomic_load_n(&self->reads, __ATOMIC_RELAXED) - reads;
	took = now_ms() - start;
	for (i = 0; i < MOVERS; i++) {
		stop_mover(&movers[i]);
		EXPECT_LT(0, movers[i].rounds);
	}
	return reads * 1000.0 / took;
}

/*
 * A buffer that stops as a whole, as io_uring's do, and movers that never let go: at
 * least half of the reads that there are while they move memory that is nobody's.
 */
TEST_F_TIMEOUT(movers, do_not_starve, TEST_SECONDS)
{
	double alone, beside;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_reading, self));
	alone = reads_beside(_metadata, self, self->plain);
	beside = reads_beside(_metadata, self, self->at);
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, self->error);
	EXPECT_LT(alone / 2, beside);
}

/* Where a set may not go, it is not sent. */
FIXTURE(limits) {
	int fd;
	char *at;
};

FIXTURE_SETUP(limits)
{
	char why[128];

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->at = map_anon(NR);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(NR, move_to(0, self->at, NR, 0));
}

FIXTURE_TEARDOWN(limits)
{
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	munmap(self->at, NR * PAGE);
	close(self->fd);
}

static int pin_limited(struct _test_data_limits *self, uint32_t nodes, uint64_t limit)
{
	struct test_pinpage_pin arg = {
		.kind = TEST_PINPAGE_USER,
		.addr = (uintptr_t)self->at,
		.len = NR * PAGE,
		.flags = TEST_PINPAGE_WRITE,
		.nodes = nodes,
		.limit = limit,
	};

	return dev_pin(self->fd, arg);
}

/* The driver checks each destination that it is told of. */
static void expect_lawful(struct __test_metadata *_metadata, struct _test_data_limits *self,
			  int id)
{
	struct test_pinpage_counters count = dev_count(self->fd, id);

	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

TEST_F_TIMEOUT(limits, nodes, TEST_SECONDS)
{
	int id = pin_limited(self, 1, 0), i;

	ASSERT_GT(id, 0);
	/* A call that wants them elsewhere does not get them. */
	EXPECT_EQ(0, move_to(0, self->at, NR, 1));
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, node_of(self->at + i * PAGE));
	expect_lawful(_metadata, self, id);
	id = pin_limited(self, 3, 0);
	ASSERT_GT(id, 0);
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	expect_lawful(_metadata, self, id);
	ASSERT_EQ(NR, move_to(0, self->at, NR, 0));
	id = pin_limited(self, 2, 0);
	ASSERT_GT(id, 0);
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	EXPECT_EQ(0, move_to(0, self->at, NR, 0));
	expect_lawful(_metadata, self, id);
}

/* Node 1 is above node 0: between them is a limit that has only one of them. */
TEST_F_TIMEOUT(limits, address, TEST_SECONDS)
{
	uint64_t high = 0, limit;
	int i, id;

	ASSERT_EQ(NR, move_to(0, self->at, NR, 1));
	for (i = 0; i < NR; i++)
		if (!high || user_pfn(self->at + i * PAGE) < high)
			high = user_pfn(self->at + i * PAGE);
	ASSERT_EQ(NR, move_to(0, self->at, NR, 0));
	for (i = 0; i < NR; i++)
		if (user_pfn(self->at + i * PAGE) >= high)
			SKIP(return, "the nodes do not follow each other");
	id = pin_limited(self, 0, 4096);
	ASSERT_GT(id, 0);
	EXPECT_EQ(0, move_to(0, self->at, NR, 1));
	EXPECT_EQ(0, dev_count(self->fd, id).moved);
	expect_lawful(_metadata, self, id);
	/* Wherever it is sent, it is below, or stays. */
	limit = high * PAGE - 1;
	id = pin_limited(self, 0, limit);
	ASSERT_GT(id, 0);
	move_to(0, self->at, NR, 1);
	for (i = 0; i < NR; i++)
		EXPECT_GE(limit, dev_pfn(self->fd, id, i) * PAGE);
	expect_lawful(_metadata, self, id);
	id = pin_limited(self, 0, ~0ULL >> 12);
	ASSERT_GT(id, 0);
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	expect_lawful(_metadata, self, id);
}

TEST_HARNESS_MAIN
