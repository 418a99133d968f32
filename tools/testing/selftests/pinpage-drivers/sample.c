// SPDX-License-Identifier: GPL-2.0
/*
 * The driver of samples/pinpage, which the documentation quotes: its pages
 * move, and what it reads is what the process has written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lib/test_noncoherent_uapi.h>

#include "../kselftest_harness.h"
#include "../pinpage/pinpage_util.h"

#define NR	((size_t)64)

FIXTURE(sample) {
	int fd;
	int noncoherent;
	char *at;
	char *data;
	int64_t balance;
};

FIXTURE_VARIANT(sample) {
	bool noncoherent;
};

/* With swiotlb=force, what is not synchronized is a wrong byte here as well. */
FIXTURE_VARIANT_ADD(sample, as_it_is) {
};

FIXTURE_VARIANT_ADD(sample, noncoherent) {
	.noncoherent = true,
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
	struct test_noncoherent_device device = { .name = "pinpage_sample" };

	self->noncoherent = -1;
	self->fd = sample_open();
	if (self->fd < 0)
		SKIP(return, "/dev/pinpage_sample: %s", strerror(errno));
	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	if (variant->noncoherent) {
		system("modprobe -q test_noncoherent >/dev/null 2>&1");
		self->noncoherent = open("/dev/noncoherent_test", O_RDWR | O_CLOEXEC);
		if (self->noncoherent < 0)
			SKIP(return, "/dev/noncoherent_test: %s", strerror(errno));
		ASSERT_EQ(0, ioctl(self->noncoherent, TEST_NONCOHERENT_DEVICE, &device))
			TH_LOG("%s", strerror(errno));
	}
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
	if (self->noncoherent >= 0)
		close(self->noncoherent);
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

/* The device writes. */
static int device_fill(int fd, char *data, uint64_t seed)
{
	size_t i;

	user_fill(data, NR, seed);
	for (i = 0; i < NR; i++)
		if (pwrite(fd, data + i * PAGE, PAGE, i * PAGE) != PAGE)
			return -errno;
	return 0;
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

/* What the device has written goes along, and to where they are after that. */
TEST_F_TIMEOUT(sample, device_writes, TEST_SECONDS)
{
	uint64_t seed;

	ASSERT_EQ(0, pin(self->fd, self->at));
	for (seed = SEED_DEVICE; seed < SEED_DEVICE + 4; seed++) {
		EXPECT_EQ(0, device_fill(self->fd, self->data, seed));
		EXPECT_EQ(NR, move_patiently(self->at, NR));
		EXPECT_EQ(0, user_check(self->at, NR, seed));
		EXPECT_EQ(0, device_check(self->fd, self->data, seed));
	}
}

TEST_F_TIMEOUT(sample, bad_input, TEST_SECONDS)
{
	EXPECT_EQ(-1, write(self->fd, "short", 5));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-EFAULT, pin(self->fd, NULL));
	EXPECT_EQ(0, read(self->fd, self->data, PAGE));
	ASSERT_EQ(0, pin(self->fd, self->at));
	EXPECT_EQ(-1, pwrite(self->fd, "end", 4, NR * PAGE));
	EXPECT_EQ(ENOSPC, errno);
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

static long locked_kb(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	long kb = -1;

	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "VmLck: %ld", &kb);
	if (status)
		fclose(status);
	return kb;
}

/* Pinned memory is locked memory: it is accounted, limited, and given back. */
TEST_F_TIMEOUT(sample, accounts, TEST_SECONDS)
{
	struct rlimit limit = { .rlim_cur = NR * PAGE, .rlim_max = NR * PAGE };
	long before = locked_kb();
	int status;
	pid_t pid;

	ASSERT_LE(0, before);
	EXPECT_EQ(-EFAULT, pin(self->fd, NULL));
	EXPECT_EQ(before, locked_kb());
	ASSERT_EQ(0, pin(self->fd, self->at));
	EXPECT_EQ(before + (long)(NR * PAGE / 1024), locked_kb());
	close(self->fd);
	EXPECT_EQ(before, locked_kb());
	self->fd = sample_open();
	pid = fork();
	if (!pid) {
		int first = sample_open(), second = sample_open();

		/* Without CAP_IPC_LOCK from here on. */
		if (setrlimit(RLIMIT_MEMLOCK, &limit) || setuid(65534))
			_exit(1);
		if (pin(first, self->at))
			_exit(2);
		if (pin(second, self->at) != -ENOMEM)
			_exit(3);
		close(first);
		_exit(pin(second, self->at) ? 4 : 0);
	}
	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

struct reader {
	int fd;
	char *to;
	ssize_t ret;
};

static void *read_page(void *arg)
{
	struct reader *r = arg;

	r->ret = pread(r->fd, r->to, PAGE, 0);
	return NULL;
}

/* Somebody keeps the reader waiting for its own page: nobody else waits for that. */
TEST_F_TIMEOUT(sample, userfaultfd, TEST_SECONDS)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zero = {};
	struct reader r = { .fd = self->fd };
	struct uffd_msg msg;
	pthread_t thread;
	int uffd;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (uffd < 0)
		SKIP(return, "userfaultfd: %s", strerror(errno));
	r.to = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, r.to);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	reg.range.start = (uintptr_t)r.to;
	reg.range.len = PAGE;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, pin(self->fd, self->at));
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_page, &r));
	ASSERT_EQ(sizeof(msg), read(uffd, &msg, sizeof(msg)));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	zero.range = reg.range;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(PAGE, r.ret);
	EXPECT_EQ(0, user_check(r.to, 1, SEED_USER));
	munmap(r.to, PAGE);
	close(uffd);
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
