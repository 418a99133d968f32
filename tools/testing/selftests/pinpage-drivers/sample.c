// SPDX-License-Identifier: GPL-2.0
/*
 * The driver of samples/pinpage, which the documentation quotes: its pages
 * move, and what it reads is what the process has written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "../pinpage/pinpage_util.h"

#define NR	((size_t)64)

FIXTURE(sample) {
	int fd;
	char *at;
	char *data;
	int64_t balance;
};

static int sample_open(void)
{
	const char *path = "/dev/pinpage_sample";
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && !system("modprobe -q pinpage-sample >/dev/null 2>&1"))
		fd = open(path, O_RDWR | O_CLOEXEC);
	return fd;
}

FIXTURE_SETUP(sample)
{
	self->fd = sample_open();
	if (self->fd < 0)
		SKIP(return, "/dev/pinpage_sample: %s", strerror(errno));
	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->balance = pin_balance();
	self->at = map_anon(NR);
	self->data = malloc(NR * PAGE);
	ASSERT_NE(NULL, self->at);
	ASSERT_NE(NULL, self->data);
	user_fill(self->at, NR, SEED_USER);
}

FIXTURE_TEARDOWN(sample)
{
	free(self->data);
	close(self->fd);
	munmap(self->at, NR * PAGE);
	EXPECT_EQ(self->balance, pin_balance());
}

static int pin(int fd, void *at)
{
	uint64_t addr = (uintptr_t)at;

	return write(fd, &addr, sizeof(addr)) == sizeof(addr) ? 0 : -errno;
}

/* What the device sees: wrong bytes, or a negative errno. */
static int64_t device_check(int fd, char *data, uint64_t seed)
{
	size_t i;

	for (i = 0; i < NR; i++)
		if (pread(fd, data + i * PAGE, PAGE, i * PAGE) != PAGE)
			return -errno;
	return user_check(data, NR, seed);
}

TEST_F_TIMEOUT(sample, moves, TEST_SECONDS)
{
	uint64_t before[NR];
	size_t i, stayed = 0;
	int round;

	ASSERT_EQ(0, pin(self->fd, self->at));
	for (round = 0; round < 4; round++) {
		for (i = 0; i < NR; i++)
			before[i] = user_pfn(self->at + i * PAGE);
		EXPECT_EQ(NR, move_patiently(self->at, NR));
		for (i = 0; i < NR; i++)
			stayed += user_pfn(self->at + i * PAGE) == before[i];
		EXPECT_EQ(0, stayed);
		EXPECT_EQ(0, device_check(self->fd, self->data, SEED_USER + round));
		user_fill(self->at, NR, SEED_USER + round + 1);
		EXPECT_EQ(0, device_check(self->fd, self->data, SEED_USER + round + 1));
	}
}

TEST_F_TIMEOUT(sample, bad_input, TEST_SECONDS)
{
	EXPECT_EQ(-1, write(self->fd, "short", 5));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-EFAULT, pin(self->fd, NULL));
	EXPECT_EQ(0, read(self->fd, self->data, PAGE));
	ASSERT_EQ(0, pin(self->fd, self->at));
	EXPECT_EQ(-EBUSY, pin(self->fd, self->at));
	EXPECT_EQ(0, pread(self->fd, self->data, PAGE, NR * PAGE));
	EXPECT_EQ(-1, syscall(__NR_pread64, self->fd, 0UL, PAGE, 0UL));
	EXPECT_EQ(EFAULT, errno);
}

/* Transfers and moves at once: both go on, neither sees half of the other. */
TEST_F_TIMEOUT(sample, races, TEST_SECONDS)
{
	struct mover m;
	int round;

	ASSERT_EQ(0, pin(self->fd, self->at));
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < 100; round++) {
		user_fill(self->at, NR, round);
		EXPECT_EQ(0, device_check(self->fd, self->data, round));
	}
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, device_check(self->fd, self->data, round - 1));
}

/* The process dies, and so the file is closed, in the middle of moves. */
TEST_F_TIMEOUT(sample, exit, TEST_SECONDS)
{
	int round, status, ready[2];
	struct mover m;
	char byte;
	pid_t pid;

	for (round = 0; round < 10; round++) {
		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		if (!pid) {
			self->fd = sample_open();
			user_fill(self->at, NR, round);
			if (pin(self->fd, self->at) || write(ready[1], "", 1) != 1)
				_exit(1);
			pause();
		}
		ASSERT_LT(0, pid);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		ASSERT_EQ(0, start_mover(&m, self->at, NR, pid));
		sleep_ms(5);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		stop_mover(&m);
		close(ready[0]);
		close(ready[1]);
	}
}

TEST_HARNESS_MAIN
