// SPDX-License-Identifier: GPL-2.0
/*
 * What else can happen while pinned pages move: a device and a CPU that count in
 * the same word, exec, swapoff, a new cgroup, several movers at once, sets that
 * come and go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	32

FIXTURE(races) {
	int fd;
	char *at;
	int64_t balance;
	bool stop;
	size_t rounds;
	pthread_t threads[8];
	int nr_threads;
};

FIXTURE_SETUP(races)
{
	char why[128];

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->balance = pin_balance();
	self->at = map_anon(NR);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
}

FIXTURE_TEARDOWN(races)
{
	munmap(self->at, NR * PAGE);
	close(self->fd);
	EXPECT_EQ(self->balance, pin_balance());
}

static void *keep_moving(void *arg)
{
	struct _test_data_races *self = arg;
	size_t round;

	while (!__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
		round = __atomic_add_fetch(&self->rounds, 1, __ATOMIC_RELAXED);
		move_to(0, self->at, NR, round % 2);
	}
	return NULL;
}

static void *keep_compacting(void *arg)
{
	struct _test_data_races *self = arg;

	while (!__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
		write_text("/proc/sys/vm/compact_memory", "1");
		sleep_ms(10);
	}
	return NULL;
}

static void start(struct __test_metadata *_metadata, struct _test_data_races *self,
		  void *(*what)(void *))
{
	ASSERT_EQ(0, pthread_create(&self->threads[self->nr_threads], NULL, what, self));
	self->nr_threads++;
}

static void stop_all(struct _test_data_races *self)
{
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	while (self->nr_threads)
		pthread_join(self->threads[--self->nr_threads], NULL);
}

/* One move at least begins and ends from now on. */
static void let_move(struct _test_data_races *self)
{
	size_t rounds = __atomic_load_n(&self->rounds, __ATOMIC_RELAXED);

	while (__atomic_load_n(&self->rounds, __ATOMIC_RELAXED) < rounds + 2)
		sleep_ms(1);
}

static int pin(struct _test_data_races *self, int kind, int system)
{
	return dev_pin_range(self->fd, kind, self->at, NR, TEST_PINPAGE_WRITE, system);
}

static void expect_sound(struct __test_metadata *_metadata, struct _test_data_races *self,
			 int id)
{
	struct test_pinpage_counters count = dev_count(self->fd, id);

	EXPECT_TRUE(account_balanced(&count));
	EXPECT_LT(0, count.moved);
	EXPECT_EQ(0, dev_order(self->fd, id));
}

/* CPU and device */

#define ADDS	20000

struct adder {
	struct _test_data_races *self;
	int id;
	int ret;
};

static void *device_adds(void *arg)
{
	struct adder *adder = arg;

	adder->ret = dev_add(adder->self->fd, adder->id, 5 * PAGE + 64, ADDS);
	return NULL;
}

/*
 * Both add to the same word while the page goes from node to node: access is
 * taken away and given back to both, and no addition is lost.
 */
static void count_together(struct __test_metadata *_metadata, struct _test_data_races *self,
			   int kind)
{
	uint64_t *word = (uint64_t *)(self->at + 5 * PAGE + 64);
	struct adder adder = { .self = self, .id = pin(self, kind, 0) };
	pthread_t thread;
	int i;

	ASSERT_GT(adder.id, 0);
	__atomic_store_n(word, 0, __ATOMIC_RELAXED);
	start(_metadata, self, keep_moving);
	let_move(self);
	ASSERT_EQ(0, pthread_create(&thread, NULL, device_adds, &adder));
	for (i = 0; i < ADDS; i++)
		__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	let_move(self);
	stop_all(self);
	EXPECT_EQ(0, adder.ret);
	EXPECT_EQ(2 * ADDS, __atomic_load_n(word, __ATOMIC_RELAXED));
	expect_sound(_metadata, self, adder.id);
	EXPECT_EQ(0, dev_unpin(self->fd, adder.id));
}

TEST_F_TIMEOUT(races, atomics, TEST_SECONDS)
{
	count_together(_metadata, self, TEST_PINPAGE_USER);
}

TEST_F_TIMEOUT(races, atomics_of_set, TEST_SECONDS)
{
	count_together(_metadata, self, TEST_PINPAGE_SET);
}

/* Several movers */

TEST_F_TIMEOUT(races, movers, TEST_SECONDS)
{
	int first = pin(self, TEST_PINPAGE_USER, 0), second = pin(self, TEST_PINPAGE_SET, 1);
	int round;

	ASSERT_GT(first, 0);
	ASSERT_GT(second, 0);
	start(_metadata, self, keep_moving);
	start(_metadata, self, keep_moving);
	start(_metadata, self, keep_moving);
	start(_metadata, self, keep_compacting);
	for (round = 0; round < rounds(20); round++) {
		let_move(self);
		EXPECT_EQ(0, dev_fill(self->fd, first, NR, round));
		EXPECT_EQ(0, dev_check(self->fd, second, NR, round));
		EXPECT_EQ(0, user_check(self->at, NR, round));
	}
	stop_all(self);
	expect_sound(_metadata, self, first);
	expect_sound(_metadata, self, second);
	EXPECT_EQ(0, dev_unpin(self->fd, first));
	EXPECT_EQ(0, dev_unpin(self->fd, second));
}

/* Owners come and go while one stays. */
TEST_F_TIMEOUT(races, owners, TEST_SECONDS)
{
	int stays = pin(self, TEST_PINPAGE_USER, 0), round, id[3], i;

	ASSERT_GT(stays, 0);
	start(_metadata, self, keep_moving);
	start(_metadata, self, keep_moving);
	for (round = 0; round < rounds(60); round++) {
		for (i = 0; i < 3; i++) {
			id[i] = pin(self, i % 2 ? TEST_PINPAGE_SET : TEST_PINPAGE_USER, i + 1);
			ASSERT_GT(id[i], 0);
		}
		EXPECT_EQ(0, dev_check(self->fd, id[round % 3], NR, SEED_USER));
		for (i = 0; i < 3; i++)
			EXPECT_EQ(0, dev_unpin(self->fd, id[(i + round) % 3]));
	}
	let_move(self);
	stop_all(self);
	EXPECT_EQ(0, dev_check(self->fd, stays, NR, SEED_USER));
	expect_sound(_metadata, self, stays);
	EXPECT_EQ(0, dev_unpin(self->fd, stays));
}

/* exec */

/* A new image: the memory goes, while another process moves it, and the device too. */
static void pin_and_exec(char *at)
{
	char why[128];
	int fd = device_open(why, sizeof(why));

	if (fd < 0 || dev_pin_range(fd, TEST_PINPAGE_USER, at, NR, TEST_PINPAGE_WRITE, 0) < 0)
		_exit(3);
	/* Until somebody has begun to move it. */
	sleep_ms(20);
	execl("/bin/true", "true", NULL);
	execl("/usr/bin/true", "true", NULL);
	_exit(4);
}

TEST_F_TIMEOUT(races, exec, TEST_SECONDS)
{
	int round, status;
	size_t moves;
	pid_t pid;

	for (round = 0; round < rounds(20); round++) {
		pid = fork();
		if (!pid)
			pin_and_exec(self->at);
		ASSERT_LT(0, pid);
		for (moves = 0; !waitpid(pid, &status, WNOHANG); moves++)
			move_to(pid, self->at, NR, moves % 2);
		EXPECT_EQ(0, status);
		EXPECT_LT(0, moves);
	}
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
}

/* swapoff */

#define SWAP_FILE	"pinpage-swap"
#define SWAP_PAGES	4096

/* In the current directory, or where the tests' disk is. */
static bool make_swap(char *path, size_t len)
{
	static const char * const dirs[] = { "/mnt", "." };
	char header[PAGE];
	size_t i, page;
	int fd;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, len, "%s/%s", dirs[i], SWAP_FILE);
		fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
		if (fd < 0)
			continue;
		memset(header, 0, sizeof(header));
		for (page = 0; page < SWAP_PAGES; page++) {
			if (page == 0) {
				((uint32_t *)(header + 1024))[0] = 1;
				((uint32_t *)(header + 1024))[1] = SWAP_PAGES - 1;
				memcpy(header + PAGE - 10, "SWAPSPACE2", 10);
			}
			if (write(fd, header, PAGE) != (ssize_t)PAGE)
				break;
			memset(header, 0, sizeof(header));
		}
		fsync(fd);
		close(fd);
		if (page == SWAP_PAGES && !swapon(path, 0))
			return true;
		unlink(path);
	}
	return false;
}

/*
 * Pages that have been swapped out and in again are pinned while they still have
 * a slot in the swap file; reclaim tries to have them, swapoff takes the file.
 */
TEST_F_TIMEOUT(races, swapoff, TEST_SECONDS)
{
	char path[64];
	int round, id;

	if (!make_swap(path, sizeof(path)))
		SKIP(return, "no file to swap to");
	start(_metadata, self, keep_moving);
	for (round = 0; round < rounds(10); round++) {
		user_fill(self->at, NR, round);
		madvise(self->at, NR * PAGE, MADV_PAGEOUT);
		/* Reading leaves the swap entry with the page. */
		EXPECT_EQ(0, user_check(self->at, NR, round));
		id = pin(self, TEST_PINPAGE_USER, 0);
		ASSERT_GT(id, 0);
		madvise(self->at, NR * PAGE, MADV_PAGEOUT);
		let_move(self);
		EXPECT_EQ(0, dev_check(self->fd, id, NR, round));
		if (round % 2) {
			EXPECT_EQ(0, swapoff(path));
			EXPECT_EQ(0, dev_check(self->fd, id, NR, round));
			EXPECT_EQ(0, swapon(path, 0));
		}
		EXPECT_EQ(0, dev_fill(self->fd, id, NR, ~round));
		EXPECT_EQ(0, user_check(self->at, NR, ~round));
		EXPECT_EQ(0, dev_count(self->fd, id).violations);
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
	stop_all(self);
	EXPECT_EQ(0, swapoff(path));
	unlink(path);
}

/* cgroups */

#define CGROUP	"/sys/fs/cgroup/pinpage_test"

static bool enter(const char *name)
{
	char path[128], pid[16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", name);
	snprintf(pid, sizeof(pid), "%d", getpid());
	return !write_text(path, pid);
}

/* The process changes its cgroup, and the one that was charged is removed. */
TEST_F_TIMEOUT(races, cgroup, TEST_SECONDS)
{
	static const char * const groups[] = { CGROUP "0", CGROUP "1" };
	int round, id;

	mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(groups[0], 0700) || mkdir(groups[1], 0700))
		SKIP(return, "no cgroup2");
	start(_metadata, self, keep_moving);
	for (round = 0; round < rounds(20); round++) {
		ASSERT_TRUE(enter(groups[round % 2]));
		madvise(self->at, NR * PAGE, MADV_DONTNEED);
		user_fill(self->at, NR, round);
		id = pin(self, TEST_PINPAGE_USER, 0);
		ASSERT_GT(id, 0);
		let_move(self);
		ASSERT_TRUE(enter(groups[!(round % 2)]));
		EXPECT_EQ(0, rmdir(groups[round % 2]));
		let_move(self);
		EXPECT_EQ(0, dev_check(self->fd, id, NR, round));
		EXPECT_EQ(0, user_check(self->at, NR, round));
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		EXPECT_EQ(0, mkdir(groups[round % 2], 0700));
	}
	stop_all(self);
	EXPECT_TRUE(enter("/sys/fs/cgroup"));
	rmdir(groups[0]);
	rmdir(groups[1]);
}

TEST_HARNESS_MAIN
