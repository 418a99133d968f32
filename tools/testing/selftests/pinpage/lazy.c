// SPDX-License-Identifier: GPL-2.0
/*
 * A set that no mover has met is not in the index: nothing is flagged, and who moves,
 * compacts, allocates or asks is what puts it there, as much of it as is in the way.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define AT_ONCE	"/sys/kernel/debug/pinpage/index_at_once"
#define SLICE	254			/* pages that go into the index together */
#define NR	(16 * SLICE)

FIXTURE(lazy) {
	int fd;
	char *at;
	int64_t balance;
	char at_once[4];
};

static int64_t unindexed(void)
{
	return system_number("test0", "unindexed");
}

static int64_t stuck(void)
{
	return system_number("test0", "stuck");
}

FIXTURE_SETUP(lazy)
{
	char why[128];
	int at_once;

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	at_once = open(AT_ONCE, O_RDONLY);
	if (at_once < 0)
		SKIP(return, AT_ONCE ": %s", strerror(errno));
	ASSERT_LT(0, read(at_once, self->at_once, sizeof(self->at_once) - 1));
	close(at_once);
	ASSERT_EQ(0, write_text(AT_ONCE, "N"));
	self->balance = pin_balance();
	self->at = map_anon(NR);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(0, unindexed());
	ASSERT_EQ(0, stuck());
}

FIXTURE_TEARDOWN(lazy)
{
	EXPECT_EQ(0, unindexed());
	EXPECT_EQ(0, stuck());
	munmap(self->at, NR * PAGE);
	close(self->fd);
	EXPECT_EQ(self->balance, pin_balance());
	EXPECT_EQ(0, write_text(AT_ONCE, self->at_once));
}

static int pin(struct _test_data_lazy *self, int kind, size_t pages)
{
	return dev_pin_range(self->fd, kind, self->at, pages, TEST_PINPAGE_WRITE, 0);
}

static size_t flagged(const char *at, size_t pages)
{
	size_t i, nr = 0;

	for (i = 0; i < pages; i++)
		nr += page_flag(user_pfn(at + i * PAGE), KPF_PINPAGE);
	return nr;
}

/* No mover comes: no page is flagged, and the pins are as they were. */
TEST_F_TIMEOUT(lazy, nobody_moves, TEST_SECONDS)
{
	int id = pin(self, TEST_PINPAGE_USER, NR);

	ASSERT_LT(0, id);
	EXPECT_EQ(NR, unindexed());
	EXPECT_EQ(0, flagged(self->at, NR));
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	EXPECT_EQ(0, dev_order(self->fd, id));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	EXPECT_EQ(0, unindexed());
}

/* One page in the way: of a large set, what is not near it stays out of the index. */
TEST_F_TIMEOUT(lazy, slice, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	size_t page = 5 * SLICE + 7;
	uint64_t pfn;
	int id;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	id = pin(self, TEST_PINPAGE_USER, NR);
	ASSERT_LT(0, id);
	pfn = user_pfn(self->at + page * PAGE);
	EXPECT_EQ(1, move_patiently(self->at + page * PAGE, 1));
	EXPECT_NE(pfn, user_pfn(self->at + page * PAGE));
	EXPECT_EQ(user_pfn(self->at + page * PAGE), dev_pfn(self->fd, id, page));
	EXPECT_GT(NR, unindexed());
	EXPECT_LT(NR / 2, unindexed());
	EXPECT_EQ(NR - unindexed(), (int64_t)flagged(self->at, NR));
	EXPECT_EQ(0, dev_order(self->fd, id));
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));

	/* The rest comes when it is its turn, and each page once. */
	EXPECT_EQ(NR, (int)move_away(self->at, NR));
	EXPECT_EQ(0, unindexed());
	EXPECT_EQ(NR, (int)flagged(self->at, NR));
	EXPECT_EQ(0, dev_order(self->fd, id));
	EXPECT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
	count = dev_count(self->fd, id);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	EXPECT_EQ(0, flagged(self->at, NR));
}

/* A part of the pages has moved when the owner unpins: all are where it expects them. */
TEST_F_TIMEOUT(lazy, unpin_part, TEST_SECONDS)
{
	size_t i;
	int id;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	for (i = 0; i < NR; i += NR / 5) {
		id = pin(self, TEST_PINPAGE_USER, NR);
		ASSERT_LT(0, id);
		EXPECT_EQ(1, move_patiently(self->at + i * PAGE, 1));
		EXPECT_LT(0, unindexed());
		EXPECT_EQ(0, dev_order(self->fd, id));
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		EXPECT_EQ(self->balance, pin_balance());
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	}
}

/* All who move pages put a set into the index first. */
TEST_F_TIMEOUT(lazy, movers, TEST_SECONDS)
{
	size_t moved, i;
	struct cma cma;
	int id, contig;

	id = pin(self, TEST_PINPAGE_USER, NR);
	ASSERT_LT(0, id);
	EXPECT_EQ(0, write_text("/proc/sys/vm/compact_memory", "1"));
	EXPECT_EQ(0, unindexed());
	EXPECT_EQ(0, dev_unpin(self->fd, id));

	id = pin(self, TEST_PINPAGE_USER, SLICE);
	ASSERT_LT(0, id);
	make_known(user_pfn(self->at));
	EXPECT_EQ(0, unindexed());
	EXPECT_EQ(0, dev_unpin(self->fd, id));

	contig = contig_open();
	if (contig < 0 || !find_cma(&cma))
		SKIP(return, "no CMA area");
	ASSERT_EQ(0, contig_place(contig, self->at, cma.base + 3));
	id = pin(self, TEST_PINPAGE_USER, NR);
	ASSERT_LT(0, id);
	EXPECT_EQ(NR, unindexed());
	for (i = moved = 0; i < 10 && !moved; i++)
		moved = contig_take(contig, cma.base, 4, true) >= 0;
	EXPECT_EQ(1, moved);
	EXPECT_FALSE(in_cma(&(struct cma){ .base = cma.base, .count = 4 },
			    user_pfn(self->at)));
	EXPECT_GT(NR, unindexed());
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	close(contig);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* A page that is mapped twice in a range moves, for the device in both places. */
TEST_F_TIMEOUT(lazy, twice, TEST_SECONDS)
{
	int backing = make_memfd(1), id;
	char *at;

	ASSERT_LE(0, backing);
	at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, backing, 0);
	ASSERT_NE(MAP_FAILED, at);
	ASSERT_EQ(at + PAGE, mmap(at + PAGE, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, backing, 0));
	at[0] = 1;
	id = dev_pin_range(self->fd, TEST_PINPAGE_USER, at, 2, TEST_PINPAGE_WRITE, 0);
	ASSERT_LT(0, id);
	if (have_two_nodes()) {
		EXPECT_EQ(0, move_shared(at, !node_of(at)));
		EXPECT_EQ(user_pfn(at), dev_pfn(self->fd, id, 0));
		EXPECT_EQ(user_pfn(at), dev_pfn(self->fd, id, 1));
		EXPECT_EQ(0, dev_add(self->fd, id, PAGE, 6));
		EXPECT_EQ(7, at[0]);
	}
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	munmap(at, 2 * PAGE);
	close(backing);
}

/* A kernel page can't be twice in a set: then the set stays, and says so. */
TEST_F_TIMEOUT(lazy, kernel_twice, TEST_SECONDS)
{
	int id;

	ASSERT_EQ(0, write_text(AT_ONCE, "Y"));
	EXPECT_EQ(-EEXIST, dev_pin_range(self->fd, TEST_PINPAGE_KERNEL, NULL, 600,
					 TEST_PINPAGE_TWICE, 0));
	EXPECT_EQ(0, unindexed());
	EXPECT_EQ(0, stuck());
	ASSERT_EQ(0, write_text(AT_ONCE, "N"));
	id = dev_pin_range(self->fd, TEST_PINPAGE_KERNEL, NULL, 600, TEST_PINPAGE_TWICE, 0);
	ASSERT_LT(0, id);
	EXPECT_EQ(600, unindexed());
	EXPECT_EQ(0, write_text("/proc/sys/vm/compact_memory", "1"));
	EXPECT_EQ(0, unindexed());
	EXPECT_EQ(600, stuck());
	/* The set has one page in another place than the device. */
	EXPECT_EQ(-EUCLEAN, dev_unpin(self->fd, id));
}

/* Both states are the same to who pins, moves and unpins. */
TEST_F_TIMEOUT(lazy, at_once, TEST_SECONDS)
{
	int id, round;

	for (round = 0; round < 2; round++) {
		ASSERT_EQ(0, write_text(AT_ONCE, round ? "N" : "Y"));
		id = pin(self, TEST_PINPAGE_USER, NR);
		ASSERT_LT(0, id);
		EXPECT_EQ(round ? NR : 0, unindexed());
		EXPECT_EQ(round ? 0 : NR, (int)flagged(self->at, NR));
		if (have_two_nodes())
			EXPECT_EQ(NR, (int)move_away(self->at, NR));
		EXPECT_EQ(0, dev_order(self->fd, id));
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
}

/* fork() and exit with a set that nobody has met, or only in part. */
TEST_F_TIMEOUT(lazy, fork_and_exit, TEST_SECONDS)
{
	int id, status, round;
	pid_t child;

	for (round = 0; round < 2; round++) {
		id = pin(self, TEST_PINPAGE_USER, NR);
		ASSERT_LT(0, id);
		if (round && have_two_nodes())
			EXPECT_EQ(1, move_patiently(self->at + NR / 2 * PAGE, 1));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			user_fill(self->at, NR, SEED_DEVICE);
			_exit(user_check(self->at, NR, SEED_DEVICE) ? 1 : 0);
		}
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd = open("/dev/pinpage_test", O_RDWR);

		id = dev_pin_range(fd, TEST_PINPAGE_USER, self->at, NR, TEST_PINPAGE_WRITE, 0);
		if (have_two_nodes())
			move_patiently(self->at, 1);
		_exit(id > 0 ? 0 : 1);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

struct racer {
	pthread_t thread;
	int fd;
	int kind;
	char *at;
	size_t pages;
	int rounds;
	int wrong;
	const bool *stop;
};

/* Register, look, unregister: whatever movers do in between. */
static void *come_and_go(void *arg)
{
	struct racer *r = arg;
	char *at = r->kind == TEST_PINPAGE_KERNEL ? NULL : r->at;
	int id, i;

	for (i = 0; i < r->rounds; i++) {
		id = dev_pin_range(r->fd, r->kind, at, r->pages, TEST_PINPAGE_WRITE, 0);
		if (id <= 0) {
			r->wrong++;
			continue;
		}
		if (at)
			r->wrong += !!dev_check(r->fd, id, r->pages, SEED_USER);
		r->wrong += !!dev_order(r->fd, id);
		r->wrong += !!dev_unpin(r->fd, id);
	}
	return NULL;
}

static void *ask_and_compact(void *arg)
{
	struct racer *r = arg;

	while (!__atomic_load_n(r->stop, __ATOMIC_ACQUIRE)) {
		write_text("/proc/sys/vm/compact_memory", "1");
		write_text(AT_ONCE, ++r->rounds % 4 ? "N" : "Y");
	}
	return NULL;
}

/* Sets that come and go beside movers: registering, indexing and leaving at once. */
TEST_F_TIMEOUT(lazy, races, TEST_SECONDS)
{
	struct racer racers[4], compactor = {};
	struct mover mover = {};
	bool stop = false;
	int i;

	compactor.stop = &stop;
	ASSERT_EQ(0, pthread_create(&compactor.thread, NULL, ask_and_compact, &compactor));
	if (have_two_nodes())
		ASSERT_EQ(0, start_mover(&mover, self->at, NR, 0));
	for (i = 0; i < 4; i++) {
		racers[i] = (struct racer){
			.fd = self->fd,
			.kind = i == 3 ? TEST_PINPAGE_KERNEL : TEST_PINPAGE_USER,
			.at = self->at + i * (NR / 4) * PAGE,
			.pages = i ? NR / 4 : 100,
			.rounds = rounds(200),
		};
		user_fill(racers[i].at, racers[i].pages, SEED_USER);
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, come_and_go, &racers[i]));
	}
	for (i = 0; i < 4; i++) {
		pthread_join(racers[i].thread, NULL);
		EXPECT_EQ(0, racers[i].wrong);
		EXPECT_EQ(0, user_check(racers[i].at, racers[i].pages, SEED_USER));
	}
	if (have_two_nodes())
		stop_mover(&mover);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(compactor.thread, NULL);
}

TEST_HARNESS_MAIN
