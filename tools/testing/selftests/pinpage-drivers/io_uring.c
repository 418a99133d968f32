// SPDX-License-Identifier: GPL-2.0
/*
 * Registered buffers of io_uring, whose pages move while requests go in and out,
 * are delayed, linked, cloned, updated, unregistered or left behind.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/time_types.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../../../include/io_uring/mini_liburing.h"
#include "../kselftest_harness.h"
#include "../pinpage/pinpage_util.h"

#define NR		((size_t)64)
#define LEN		(NR * PAGE)
#define CHUNK		((size_t)8)	/* pages of a request */
#define ROUNDS		rounds(20)

static int do_register(int fd, unsigned int op, const void *arg, unsigned int nr)
{
	return syscall(__NR_io_uring_register, fd, op, arg, nr) < 0 ? -errno : 0;
}

static int register_at(struct io_uring *ring, void *at, size_t len)
{
	struct iovec iov = { .iov_base = at, .iov_len = len };

	return io_uring_register_buffers(ring, &iov, 1);
}

/* The tests have no more requests out than there is room for. */
static struct io_uring_sqe *get_sqe(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (!sqe)
		abort();
	return sqe;
}

static void prep_fixed(struct io_uring_sqe *sqe, int op, int fd, const void *at, size_t len,
		       uint64_t offset, uint64_t data)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)at;
	sqe->len = len;
	sqe->off = offset;
	sqe->user_data = data;
}

/* Wait for @nr completions: the first error, or one of them if they are short. */
static int reap(struct io_uring *ring, unsigned int nr, int expected)
{
	struct io_uring_cqe *cqe;
	int ret = 0, err;

	while (nr--) {
		err = io_uring_wait_cqe(ring, &cqe);
		if (err)
			return err;
		if (!ret && cqe->res != expected)
			ret = cqe->res < 0 ? cqe->res : -EIO;
		io_uring_cqe_seen(ring);
	}
	return ret;
}

/* All of the buffer, in requests of CHUNK pages that are out at once. */
static int transfer(struct io_uring *ring, int op, int fd, char *at, unsigned int flags)
{
	struct io_uring_sqe *sqe;
	size_t i;
	int ret;

	for (i = 0; i < NR; i += CHUNK) {
		sqe = get_sqe(ring);
		prep_fixed(sqe, op, fd, at + i * PAGE, CHUNK * PAGE, i * PAGE, i);
		if (i + CHUNK < NR)
			sqe->flags |= flags;
	}
	ret = io_uring_submit(ring);
	if (ret < 0)
		return ret;
	return reap(ring, NR / CHUNK, CHUNK * PAGE);
}

/* Out to the file with one content, and back in after another one: 0 if right. */
static int round_trip(struct io_uring *ring, int fd, char *at, unsigned int flags, uint64_t seed)
{
	int ret;

	user_fill(at, NR, seed);
	ret = transfer(ring, IORING_OP_WRITE_FIXED, fd, at, flags);
	if (ret)
		return ret;
	user_fill(at, NR, ~seed);
	ret = transfer(ring, IORING_OP_READ_FIXED, fd, at, flags);
	if (ret)
		return ret;
	return user_check(at, NR, seed) ? -EUCLEAN : 0;
}

static void *map_huge(void)
{
	size_t huge = 512 * PAGE;
	char *at = mmap(NULL, 2 * huge, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	at = (char *)(((uintptr_t)at + huge - 1) & ~(huge - 1));
	madvise(at, huge, MADV_HUGEPAGE);
	memset(at, 1, huge);
	/* A buffer of part of it, which begins in the middle. */
	return at + 7 * PAGE;
}

FIXTURE(ring) {
	struct io_uring ring;
	int file;
	char *at;
};

FIXTURE_VARIANT(ring) {
	unsigned int setup;
	bool shmem, huge, direct;
};

FIXTURE_VARIANT_ADD(ring, plain) { .direct = true };
FIXTURE_VARIANT_ADD(ring, buffered) { };
FIXTURE_VARIANT_ADD(ring, shmem) { .shmem = true, .direct = true };
FIXTURE_VARIANT_ADD(ring, huge) { .huge = true, .direct = true };
FIXTURE_VARIANT_ADD(ring, sqpoll) { .setup = IORING_SETUP_SQPOLL, .direct = true };
FIXTURE_VARIANT_ADD(ring, defer) {
	.setup = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, .direct = true
};

/*
 * Submit what there is to the thread. It may have posted the completion of the
 * request before without having said that it has taken it, which mini_liburing
 * has no idea of.
 */
static int submit_to_thread(struct io_uring *ring)
{
	int ret;

	while (__atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE) != *ring->sq.ktail)
		sched_yield();
	ret = io_uring_submit(ring);
	if (ret < 0)
		return ret;
	return io_uring_enter(ring->ring_fd, 0, 0, IORING_ENTER_SQ_WAKEUP, NULL);
}

FIXTURE_SETUP(ring)
{
	int fd = -1;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	if (access("/sys/kernel/debug/pinpage/systems", F_OK))
		SKIP(return, "no pinpage in debugfs");
	if (io_uring_queue_init(32, &self->ring, variant->setup) < 0)
		SKIP(return, "no io_uring: %s", strerror(errno));
	self->file = make_file(NR);
	if (self->file < 0)
		SKIP(return, "no disk file system");
	if (variant->direct &&
	    fcntl(self->file, F_SETFL, fcntl(self->file, F_GETFL) | O_DIRECT))
		SKIP(return, "no direct I/O");
	if (variant->huge) {
		self->at = map_huge();
	} else if (variant->shmem) {
		fd = make_memfd(NR);
		self->at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	} else {
		self->at = map_anon(NR);
	}
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(0, register_at(&self->ring, self->at, LEN));
}

FIXTURE_TEARDOWN(ring)
{
	if (self->file >= 0)
		close(self->file);
	io_uring_queue_exit(&self->ring);
}

TEST_F_TIMEOUT(ring, moves, TEST_SECONDS)
{
	unsigned int round;

	if (variant->setup & IORING_SETUP_SQPOLL)
		SKIP(return, "see by_thread");
	for (round = 0; round < 4; round++) {
		EXPECT_EQ(NR, move_patiently(self->at, NR));
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER + round));
		EXPECT_EQ(0, round_trip(&self->ring, self->file, self->at, 0,
					SEED_USER + round + 1));
	}
}

/* Requests and moves at once; each request comes to its end, with right data. */
TEST_F_TIMEOUT(ring, races, TEST_SECONDS)
{
	struct mover m;
	int round;

	if (variant->setup & IORING_SETUP_SQPOLL)
		SKIP(return, "see by_thread");
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < ROUNDS; round++)
		EXPECT_EQ(0, round_trip(&self->ring, self->file, self->at,
					round % 2 ? IOSQE_IO_LINK : 0, round));
	for (round = 0; round < ROUNDS; round++)
		EXPECT_EQ(0, round_trip(&self->ring, self->file, self->at,
					IOSQE_ASYNC, round));
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, user_check(self->at, NR, round - 1));
}

/* Requests that wait for input, a worker's too, do not keep the buffer where it is. */
TEST_F_TIMEOUT(ring, waiting, TEST_SECONDS)
{
	struct io_uring_sqe *sqe;
	int pipes[2], i;

	if (variant->setup & IORING_SETUP_SQPOLL)
		SKIP(return, "see by_thread");
	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < 2; i++) {
		sqe = get_sqe(&self->ring);
		prep_fixed(sqe, IORING_OP_READ_FIXED, pipes[0], self->at + PAGE + i, 1, 0, 1);
		sqe->flags = i ? IOSQE_ASYNC : 0;
		ASSERT_EQ(1, io_uring_submit(&self->ring));
	}
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	ASSERT_EQ(2, write(pipes[1], "**", 2));
	EXPECT_EQ(0, reap(&self->ring, 2, 1));
	EXPECT_EQ(0, memcmp(self->at + PAGE, "**", 2));
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F_TIMEOUT(ring, by_thread, TEST_SECONDS)
{
	struct io_uring_sqe *sqe;
	struct mover m;
	int round;

	if (!(variant->setup & IORING_SETUP_SQPOLL))
		SKIP(return, "not this variant");
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < 4 * ROUNDS; round++) {
		user_fill(self->at, CHUNK, round);
		sqe = get_sqe(&self->ring);
		prep_fixed(sqe, IORING_OP_WRITE_FIXED, self->file, self->at, CHUNK * PAGE, 0, 1);
		ASSERT_LE(0, submit_to_thread(&self->ring));
		EXPECT_EQ(0, reap(&self->ring, 1, CHUNK * PAGE));
		user_fill(self->at, CHUNK, ~round);
		sqe = get_sqe(&self->ring);
		prep_fixed(sqe, IORING_OP_READ_FIXED, self->file, self->at, CHUNK * PAGE, 0, 1);
		ASSERT_LE(0, submit_to_thread(&self->ring));
		EXPECT_EQ(0, reap(&self->ring, 1, CHUNK * PAGE));
		EXPECT_EQ(0, user_check(self->at, CHUNK, round));
	}
	stop_mover(&m);
}

/* A ring with a clone of the buffers of another one, which is the first to go. */
TEST_F_TIMEOUT(ring, clone, TEST_SECONDS)
{
	struct io_uring_clone_buffers arg = { .src_fd = self->ring.ring_fd };
	struct io_uring clone;
	struct mover m;
	int round;

	if (variant->setup)
		SKIP(return, "not this variant");
	ASSERT_EQ(0, io_uring_queue_init(32, &clone, 0));
	ASSERT_EQ(0, do_register(clone.ring_fd, IORING_REGISTER_CLONE_BUFFERS, &arg, 1));
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < ROUNDS; round++)
		EXPECT_EQ(0, round_trip(round % 2 ? &clone : &self->ring, self->file,
					self->at, 0, round));
	EXPECT_EQ(0, do_register(self->ring.ring_fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
	for (round = 0; round < ROUNDS; round++)
		EXPECT_EQ(0, round_trip(&clone, self->file, self->at, 0, round));
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, round_trip(&clone, self->file, self->at, 0, 1));
	io_uring_queue_exit(&clone);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/* The slot gets another buffer, and the first one back, while both move. */
TEST_F_TIMEOUT(ring, update, TEST_SECONDS)
{
	char *other = map_anon(NR);
	struct iovec iov = { .iov_base = other, .iov_len = LEN };
	struct io_uring_rsrc_update2 up = { .data = (uintptr_t)&iov, .nr = 1 };
	struct mover m, n;
	int round;

	if (variant->setup)
		SKIP(return, "not this variant");
	ASSERT_NE(NULL, other);
	user_fill(other, NR, SEED_DEVICE);
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	ASSERT_EQ(0, start_mover(&n, other, NR, 0));
	for (round = 0; round < ROUNDS; round++) {
		iov.iov_base = round % 2 ? self->at : other;
		/* mini_liburing has no name for it, and sizeof() stands for a number. */
		ASSERT_EQ(0, do_register(self->ring.ring_fd, IORING_REGISTER_BUFFERS_UPDATE,
					 &up, sizeof(up)));
		EXPECT_EQ(0, round_trip(&self->ring, self->file, iov.iov_base, 0, round));
	}
	stop_mover(&m);
	stop_mover(&n);
	munmap(other, LEN);
}

/* Registering and unregistering, over and over, in the middle of moves. */
TEST_F_TIMEOUT(ring, unregister, TEST_SECONDS)
{
	struct mover m;
	int round;

	if (variant->setup)
		SKIP(return, "not this variant");
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < 3 * ROUNDS; round++) {
		EXPECT_EQ(0, do_register(self->ring.ring_fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
		user_fill(self->at, NR, round);
		EXPECT_EQ(0, register_at(&self->ring, self->at, LEN));
		if (round % 4 == 0)
			EXPECT_EQ(0, round_trip(&self->ring, self->file, self->at, 0, round));
		EXPECT_EQ(0, user_check(self->at, NR, round));
	}
	stop_mover(&m);
}

/* A page that is twice in the buffer moves like any other, and is found in both places. */
TEST_F_TIMEOUT(ring, twice, TEST_SECONDS)
{
	int fd = make_memfd(NR / 2);
	char *at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	size_t half = LEN / 2, i;

	if (variant->setup)
		SKIP(return, "not this variant");
	ASSERT_NE(MAP_FAILED, at);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(at + i * half, mmap(at + i * half, half, PROT_READ | PROT_WRITE,
					      MAP_SHARED | MAP_FIXED, fd, 0));
	EXPECT_EQ(0, do_register(self->ring.ring_fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
	EXPECT_EQ(0, register_at(&self->ring, at, LEN));
	user_fill(at, NR / 2, SEED_USER);
	EXPECT_EQ(0, transfer(&self->ring, IORING_OP_WRITE_FIXED, self->file, at, 0));
	for (i = 0; i < NR / 2; i++)
		EXPECT_EQ(0, move_shared(at + i * PAGE, !node_of(at)));
	user_fill(at, NR / 2, SEED_DEVICE);
	EXPECT_EQ(0, transfer(&self->ring, IORING_OP_READ_FIXED, self->file, at, 0));
	EXPECT_EQ(0, user_check(at, NR / 2, SEED_USER));
	EXPECT_EQ(0, user_check(at + half, NR / 2, SEED_USER));
	munmap(at, LEN);
	close(fd);
}

/*
 * The process dies with requests in flight and on the list of those delayed. The
 * disk may be at them later still, so what the next one reads proves nothing.
 */
TEST_F_TIMEOUT(ring, exit, TEST_SECONDS)
{
	int round, status, ready[2];
	struct io_uring ring;
	struct mover m;
	char byte;
	pid_t pid;

	if (variant->setup)
		SKIP(return, "not this variant");
	for (round = 0; round < ROUNDS / 2; round++) {
		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		if (!pid) {
			if (io_uring_queue_init(32, &ring, 0))
				_exit(1);
			user_fill(self->at, NR, round);
			if (register_at(&ring, self->at, LEN) || write(ready[1], "", 1) != 1)
				_exit(2);
			for (;;)
				round_trip(&ring, self->file, self->at, 0, round);
		}
		ASSERT_LT(0, pid);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		ASSERT_EQ(0, start_mover(&m, self->at, NR, pid));
		sleep_ms(20);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		stop_mover(&m);
		close(ready[0]);
		close(ready[1]);
	}
}

/* A child gets copies of pinned pages, moving or not; the buffer is the parent's. */
TEST_F_TIMEOUT(ring, fork, TEST_SECONDS)
{
	int round, status;
	struct mover m;
	pid_t pid;

	if (variant->setup || variant->shmem)
		SKIP(return, "not this variant");
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < ROUNDS; round++) {
		user_fill(self->at, NR, round);
		pid = fork();
		if (!pid) {
			status = !!user_check(self->at, NR, round);
			user_fill(self->at, NR, 1000);
			_exit(status);
		}
		ASSERT_LT(0, pid);
		EXPECT_EQ(0, transfer(&self->ring, IORING_OP_WRITE_FIXED, self->file,
				      self->at, 0));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		user_fill(self->at, NR, ~round);
		EXPECT_EQ(0, transfer(&self->ring, IORING_OP_READ_FIXED, self->file,
				      self->at, 0));
		EXPECT_EQ(0, user_check(self->at, NR, round));
	}
	stop_mover(&m);
}

/* A disk that takes its time: how long, in milliseconds, is for the test to say. */
FIXTURE(slow) {
	struct io_uring ring;
	int disk;
	char *at;
};

FIXTURE_VARIANT(slow) {
	unsigned int ms;
	bool polled;
};

/* Shorter than an owner may take, and longer. */
FIXTURE_VARIANT_ADD(slow, little) { .ms = 20 };
FIXTURE_VARIANT_ADD(slow, polled) { .polled = true };
FIXTURE_VARIANT_ADD(slow, very) { .ms = 2000 };

FIXTURE_SETUP(slow)
{
	char command[160];
	int i;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	if (access("/sys/kernel/debug/pinpage/systems", F_OK))
		SKIP(return, "no pinpage in debugfs");
	self->disk = -1;
	system("modprobe -q -r null_blk >/dev/null 2>&1");
	snprintf(command, sizeof(command),
		 "modprobe -q null_blk nr_devices=1 irqmode=2 completion_nsec=%u000000 gb=1 poll_queues=%d >/dev/null 2>&1",
		 variant->ms, variant->polled);
	if (system(command))
		SKIP(return, "no null_blk");
	for (i = 0; i < 50 && self->disk < 0; i++) {
		self->disk = open("/dev/nullb0", O_RDWR | O_DIRECT | O_CLOEXEC);
		if (self->disk < 0)
			sleep_ms(20);
	}
	ASSERT_LE(0, self->disk);
	/* What is deferred is done when the ring is entered, and not before. */
	ASSERT_EQ(0, io_uring_queue_init(32, &self->ring, variant->polled ? IORING_SETUP_IOPOLL :
					 IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN));
	self->at = map_anon(NR);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(0, register_at(&self->ring, self->at, LEN));
}

FIXTURE_TEARDOWN(slow)
{
	io_uring_queue_exit(&self->ring);
	if (self->disk >= 0)
		close(self->disk);
	system("modprobe -q -r null_blk >/dev/null 2>&1");
}

static void write_slowly(struct __test_metadata *_metadata, struct _test_data_slow *self)
{
	struct io_uring_sqe *sqe = get_sqe(&self->ring);

	prep_fixed(sqe, IORING_OP_WRITE_FIXED, self->disk, self->at, CHUNK * PAGE, 0, 1);
	ASSERT_EQ(1, io_uring_submit(&self->ring));
}

/* In flight: a move waits for a little while; what takes longer makes it fail. */
TEST_F_TIMEOUT(slow, in_flight, TEST_SECONDS)
{
	int to = !node_of(self->at);
	size_t moved;

	write_slowly(_metadata, self);
	moved = move_to(0, self->at, NR, to);
	if (variant->ms > 1000)
		EXPECT_EQ(0, moved);
	EXPECT_EQ(0, reap(&self->ring, 1, CHUNK * PAGE));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
}

/* Nobody looks after the ring: the I/O has its end, and the pages move. */
TEST_F_TIMEOUT(slow, unreaped, TEST_SECONDS)
{
	if (variant->polled)
		SKIP(return, "polled requests end when the ring is polled");
	write_slowly(_metadata, self);
	sleep_ms(2 * variant->ms);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, reap(&self->ring, 1, CHUNK * PAGE));
}

/* Unregistered with a request in flight, while somebody tries to move it. */
TEST_F_TIMEOUT(slow, unregister, TEST_SECONDS)
{
	struct mover m;

	if (variant->polled)
		SKIP(return, "nobody would poll");
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	write_slowly(_metadata, self);
	EXPECT_EQ(0, do_register(self->ring.ring_fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
	EXPECT_EQ(0, reap(&self->ring, 1, CHUNK * PAGE));
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
}

/* Requests that end when somebody asks, and moves. */
TEST_F_TIMEOUT(slow, by_polling, TEST_SECONDS)
{
	struct mover m;
	int round;

	if (!variant->polled)
		SKIP(return, "not this variant");
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < 5 * ROUNDS; round++) {
		write_slowly(_metadata, self);
		EXPECT_EQ(0, reap(&self->ring, 1, CHUNK * PAGE));
	}
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
}

/* RWF_NOWAIT: a frozen buffer is no reason to fail. */
TEST_F_TIMEOUT(slow, nowait, TEST_SECONDS)
{
	struct io_uring_sqe *sqe;
	struct mover m;
	int round;

	if (variant->ms > 1000 || variant->polled)
		SKIP(return, "not this variant");
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < 5 * ROUNDS; round++) {
		sqe = get_sqe(&self->ring);
		prep_fixed(sqe, IORING_OP_WRITE_FIXED, self->disk, self->at, CHUNK * PAGE, 0, 1);
		sqe->rw_flags = RWF_NOWAIT;
		ASSERT_EQ(1, io_uring_submit(&self->ring));
		EXPECT_EQ(0, reap(&self->ring, 1, CHUNK * PAGE));
	}
	stop_mover(&m);
}

/*
 * Locked memory, of a user who may lock one huge page and a half. A huge page counts
 * once for a ring, whatever of it is in how many buffers.
 */
#define HUGE_PAGE	((size_t)PAGEBLOCK * PAGE)
#define NOBODY		65534

FIXTURE(locked) {
	struct io_uring ring;
	struct rlimit before;
	char *at;
	int uffd;
};

/* NULL: there was none to be had. */
static char *one_huge_page(void)
{
	char *at = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t pfn;

	if (at == MAP_FAILED)
		return NULL;
	at = (char *)(((uintptr_t)at + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	madvise(at, HUGE_PAGE, MADV_HUGEPAGE);
	memset(at, 1, HUGE_PAGE);
	pfn = user_pfn(at);
	return pfn % PAGEBLOCK || user_pfn(at + HUGE_PAGE - PAGE) != pfn + PAGEBLOCK - 1 ?
	       NULL : at;
}

/* A ring goes a little later than its file, and what it has accounted with it. */
static int wait_for_account(struct io_uring *ring, char *at)
{
	struct iovec iov = { .iov_base = at, .iov_len = PAGE };
	int tries, ret = -1;

	for (tries = 1000; ret && tries; tries--) {
		ret = io_uring_register_buffers(ring, &iov, 1);
		if (ret)
			sleep_ms(10);
	}
	return ret ?: do_register(ring->ring_fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

FIXTURE_SETUP(locked)
{
	struct rlimit limit = { HUGE_PAGE * 3 / 2, HUGE_PAGE * 3 / 2 };

	self->uffd = -1;
	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	if (access("/sys/kernel/debug/pinpage/systems", F_OK))
		SKIP(return, "no pinpage in debugfs");
	self->at = one_huge_page();
	if (!self->at)
		SKIP(return, "no huge page");
	self->uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	/* The ring is his; what looks at pages is root's. */
	ASSERT_EQ(0, setresuid(NOBODY, NOBODY, 0));
	ASSERT_EQ(0, io_uring_queue_init(8, &self->ring, 0));
	ASSERT_EQ(0, setresuid(0, 0, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	ASSERT_EQ(0, wait_for_account(&self->ring, self->at));
}

FIXTURE_TEARDOWN(locked)
{
	io_uring_queue_exit(&self->ring);
	close(self->uffd);
}

static int update_slot(struct io_uring *ring, unsigned int slot, void *at, size_t len)
{
	struct iovec iov = { .iov_base = at, .iov_len = len };
	struct io_uring_rsrc_update2 up = { .offset = slot, .data = (uintptr_t)&iov, .nr = 1 };

	return do_register(ring->ring_fd, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
}

/* A page that is known by where it was is counted twice after a move, or not at all. */
TEST_F_TIMEOUT(locked, moved, TEST_SECONDS)
{
	struct iovec iov[] = { { .iov_base = self->at, .iov_len = CHUNK * PAGE }, {} };
	char *other;

	ASSERT_EQ(0, io_uring_register_buffers(&self->ring, iov, 2));
	EXPECT_EQ(0, update_slot(&self->ring, 1, self->at + HUGE_PAGE / 2, CHUNK * PAGE));
	EXPECT_EQ(0, update_slot(&self->ring, 1, NULL, 0));
	EXPECT_EQ(PAGEBLOCK, move_patiently(self->at, PAGEBLOCK));
	EXPECT_EQ(0, update_slot(&self->ring, 1, self->at + HUGE_PAGE / 2, CHUNK * PAGE));
	EXPECT_EQ(0, update_slot(&self->ring, 1, NULL, 0));
	other = one_huge_page();
	ASSERT_NE(NULL, other);
	EXPECT_EQ(-ENOMEM, update_slot(&self->ring, 1, other, CHUNK * PAGE));
}

struct registration {
	struct io_uring *ring;
	struct iovec *iov;
	int ret;
};

static void *register_two(void *arg)
{
	struct registration *r = arg;

	r->ret = io_uring_register_buffers(r->ring, r->iov, 2);
	return NULL;
}

/* A huge page of ours at @pfn, which has just become free. */
static char *huge_page_at(uint64_t pfn)
{
	char *at;
	int i;

	for (i = 0; i < 64; i++) {
		at = one_huge_page();
		if (at && user_pfn(at) == pfn)
			return at;
	}
	return NULL;
}

/*
 * The kernel is made to wait between the first buffer and the second one. Meanwhile
 * the huge page of the first moves, and the second gets the one that it leaves.
 */
TEST_F_TIMEOUT(locked, recycled, TEST_SECONDS)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct iovec page[PAGE / sizeof(struct iovec)] = {};
	struct registration r = { .ring = &self->ring };
	struct uffdio_copy copy = { .len = PAGE };
	uint64_t pfn = user_pfn(self->at);
	char *table = map_anon(2);
	int node = node_of(self->at);
	struct uffd_msg msg;
	pthread_t thread;
	cpu_set_t cpus;

	if (self->uffd < 0 || ioctl(self->uffd, UFFDIO_API, &api))
		SKIP(return, "no userfaultfd");
	/* Where a page is freed it is found first. */
	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpus), &cpus));
	ASSERT_EQ(0, prefer_node(node));
	ASSERT_NE(NULL, table);
	r.iov = (struct iovec *)(table + PAGE) - 1;
	r.iov[0].iov_base = self->at;
	r.iov[0].iov_len = CHUNK * PAGE;
	reg.range.start = (uintptr_t)table + PAGE;
	reg.range.len = PAGE;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, pthread_create(&thread, NULL, register_two, &r));
	ASSERT_EQ(sizeof(msg), read(self->uffd, &msg, sizeof(msg)));
	EXPECT_EQ(PAGEBLOCK, move_patiently(self->at, PAGEBLOCK));
	page[0].iov_base = huge_page_at(pfn);
	page[0].iov_len = CHUNK * PAGE;
	copy.dst = reg.range.start;
	copy.src = (uintptr_t)page;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_COPY, &copy));
	pthread_join(thread, NULL);
	if (!page[0].iov_base)
		SKIP(return, "the huge page went elsewhere");
	EXPECT_EQ(-ENOMEM, r.ret);
}

/* Zero-copy sends over a socket to itself. */
FIXTURE(send_zc) {
	struct io_uring ring;
	int tx, rx;
	char *at;
};

/* 0, or a negative errno where there is no TCP. */
static int tcp_pair(int *tx, int *rx)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int listener;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	*tx = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (void *)&addr, sizeof(addr)) ||
	    listen(listener, 1) || getsockname(listener, (void *)&addr, &len) ||
	    connect(*tx, (void *)&addr, sizeof(addr)))
		return -errno;
	*rx = accept(listener, NULL, NULL);
	close(listener);
	return *rx < 0 ? -errno : 0;
}

FIXTURE_SETUP(send_zc)
{
	int ret;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	if (access("/sys/kernel/debug/pinpage/systems", F_OK))
		SKIP(return, "no pinpage in debugfs");
	ret = tcp_pair(&self->tx, &self->rx);
	if (ret)
		SKIP(return, "no TCP: %s", strerror(-ret));
	ASSERT_EQ(0, io_uring_queue_init(32, &self->ring, 0));
	self->at = map_anon(NR);
	ASSERT_NE(NULL, self->at);
	ASSERT_EQ(0, register_at(&self->ring, self->at, LEN));
}

FIXTURE_TEARDOWN(send_zc)
{
	io_uring_queue_exit(&self->ring);
	close(self->tx);
	close(self->rx);
}

static int receive(int fd, char *to, size_t len)
{
	ssize_t n;

	while (len) {
		n = recv(fd, to, len, MSG_WAITALL);
		if (n <= 0)
			return n ? -errno : -EPIPE;
		to += n;
		len -= n;
	}
	return 0;
}

static void send_fixed(struct __test_metadata *_metadata, struct _test_data_send_zc *self,
		       size_t len)
{
	struct io_uring_sqe *sqe = get_sqe(&self->ring);

	io_uring_prep_sendzc(sqe, self->tx, self->at, len, MSG_WAITALL, IORING_RECVSEND_FIXED_BUF);
	sqe->buf_index = 0;
	ASSERT_EQ(1, io_uring_submit(&self->ring));
}

/* The result, and the notification that follows if there was one to send. */
static int reap_send(struct io_uring *ring, int len)
{
	struct io_uring_cqe *cqe;
	int ret, left = 1;

	while (left--) {
		ret = io_uring_wait_cqe(ring, &cqe);
		if (ret)
			return ret;
		if (!(cqe->flags & IORING_CQE_F_NOTIF) && cqe->res != len)
			ret = cqe->res < 0 ? cqe->res : -EIO;
		if (cqe->flags & IORING_CQE_F_MORE)
			left++;
		io_uring_cqe_seen(ring);
		if (ret)
			return ret;
	}
	return 0;
}

TEST_F_TIMEOUT(send_zc, races, TEST_SECONDS)
{
	char *got = malloc(CHUNK * PAGE);
	struct mover m;
	int round;

	ASSERT_NE(NULL, got);
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < 3 * ROUNDS; round++) {
		user_fill(self->at, CHUNK, round);
		send_fixed(_metadata, self, CHUNK * PAGE);
		ASSERT_EQ(0, receive(self->rx, got, CHUNK * PAGE));
		EXPECT_EQ(0, user_check(got, CHUNK, round));
		EXPECT_EQ(0, reap_send(&self->ring, CHUNK * PAGE));
	}
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	free(got);
}

/* More than the socket takes: the rest waits in the request, the buffer with it. */
TEST_F_TIMEOUT(send_zc, stuck, TEST_SECONDS)
{
	char *got = malloc(LEN);
	struct mover m;
	int small = 4096;
	size_t i;

	ASSERT_NE(NULL, got);
	ASSERT_EQ(0, setsockopt(self->tx, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	send_fixed(_metadata, self, LEN);
	for (i = 0; i < NR; i += 4) {
		sleep_ms(5);
		ASSERT_EQ(0, receive(self->rx, got + i * PAGE, 4 * PAGE));
	}
	EXPECT_EQ(0, user_check(got, NR, SEED_USER));
	EXPECT_EQ(0, reap_send(&self->ring, LEN));
	stop_mover(&m);
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	free(got);
}

/*
 * A pause that lasts: another owner of the first page does not become quiet for as
 * long as the test likes, up to PATIENT_MS, and so the gate of the buffer is
 * closed. What happens meanwhile happens to requests that are delayed.
 */
#define DEPTH		256
#define ATTEMPTS	5

FIXTURE(delayed) {
	struct io_uring ring;
	int dev, id, pipes[2];
	char *at;
	struct one_move move;
	bool over;
	unsigned int out;	/* completions to come */
	int res[DEPTH];		/* the first one, by user_data */
	unsigned int seen[DEPTH];
};

FIXTURE_VARIANT(delayed) {
	unsigned int setup;
};

FIXTURE_VARIANT_ADD(delayed, plain) { };
FIXTURE_VARIANT_ADD(delayed, sqpoll) { .setup = IORING_SETUP_SQPOLL };
FIXTURE_VARIANT_ADD(delayed, defer) {
	.setup = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
};

/* Who writes a byte for the tests to see that the gate is closed. */
#define PROBE		0

FIXTURE_SETUP(delayed)
{
	char why[80];

	self->ring.ring_fd = -1;
	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->dev = device_open(why, sizeof(why));
	if (self->dev < 0)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, io_uring_queue_init(DEPTH, &self->ring, variant->setup));
	ASSERT_EQ(0, pipe(self->pipes));
	self->at = map_anon(NR);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(0, register_at(&self->ring, self->at, LEN));
}

FIXTURE_TEARDOWN(delayed)
{
	if (self->ring.ring_fd >= 0)
		io_uring_queue_exit(&self->ring);
	close(self->pipes[0]);
	close(self->pipes[1]);
	close(self->dev);
}

/* What ends at once has ended afterwards. */
static int submit_all(struct io_uring *ring)
{
	int ret = submit_to_thread(ring);

	while (ret >= 0 && __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE) != *ring->sq.ktail)
		sched_yield();
	return ret < 0 ? ret : 0;
}

/* The last one moves the first page, and is over when the pause is. */
static bool paused(struct _test_data_delayed *self)
{
	return !self->over && dev_count(self->dev, self->id).open;
}

static size_t resume(struct _test_data_delayed *self)
{
	struct test_pinpage_policy policy = { .id = self->id };

	if (self->over)
		return 0;
	self->over = true;
	dev_policy(self->dev, policy);
	return end_move(&self->move);
}

/* The next @nr completions. */
static int collect(struct _test_data_delayed *self, unsigned int nr)
{
	struct io_uring_cqe *cqe;
	int ret;

	while (nr--) {
		ret = io_uring_wait_cqe(&self->ring, &cqe);
		if (ret)
			return ret;
		if (!self->seen[cqe->user_data % DEPTH]++)
			self->res[cqe->user_data % DEPTH] = cqe->res;
		io_uring_cqe_seen(&self->ring);
		self->out--;
	}
	return 0;
}

static struct io_uring_sqe *prep_one(struct _test_data_delayed *self, int op, int fd,
				     const void *at, size_t len, unsigned int data)
{
	struct io_uring_sqe *sqe = get_sqe(&self->ring);

	prep_fixed(sqe, op, fd, at, len, op == IORING_OP_WRITE_FIXED ? -1 : 0, data);
	self->out++;
	return sqe;
}

static struct io_uring_sqe *prep_byte(struct _test_data_delayed *self, unsigned int data)
{
	return prep_one(self, IORING_OP_WRITE_FIXED, self->pipes[1], self->at + data, 1, data);
}

static struct io_uring_sqe *prep_cancel(struct _test_data_delayed *self, unsigned int flags,
					unsigned int data, unsigned int mine)
{
	int fd = flags & IORING_ASYNC_CANCEL_FD ? self->pipes[1] : -1;
	struct io_uring_sqe *sqe = prep_one(self, IORING_OP_ASYNC_CANCEL, fd,
					    (void *)(uintptr_t)data, 0, mine);

	sqe->cancel_flags = flags;
	return sqe;
}

/*
 * The other owner may have been asked first: try until a request is delayed. It
 * waits until the pause is over, and whatever comes after it as well.
 */
static int wait_closed(struct _test_data_delayed *self)
{
	int ret;

	while (paused(self)) {
		prep_byte(self, PROBE);
		ret = submit_all(&self->ring);
		if (ret)
			return ret;
		if (*self->ring.cq.khead == __atomic_load_n(self->ring.cq.ktail, __ATOMIC_ACQUIRE))
			return 0;
		ret = collect(self, 1);
		if (ret)
			return ret;
		self->seen[PROBE] = 0;
	}
	return -EAGAIN;
}

static int pin_held(struct _test_data_delayed *self, int attempt)
{
	struct test_pinpage_policy policy = { .hold = 1 };

	memset(self->seen, 0, sizeof(self->seen));
	/* Somebody who has been waited for in vain is not waited for again. */
	dev_user = FIRST_USER + getpid() * ATTEMPTS + attempt;
	self->id = dev_pin_range(self->dev, TEST_PINPAGE_USER, self->at, 1, TEST_PINPAGE_WRITE,
				 attempt % 4);
	if (self->id < 0)
		return self->id;
	policy.id = self->id;
	self->over = false;
	return dev_policy(self->dev, policy);
}

static int begin_pause(struct _test_data_delayed *self, int attempt)
{
	return pin_held(self, attempt) ?:
	       start_move(&self->move, self->at, 1, !node_of(self->at));
}

/*
 * Run @body in a pause, with the probe delayed: 0 if it is right. -EAGAIN of a
 * body is for when the pause was over before it was done, which proves nothing.
 */
static int in_pause(struct _test_data_delayed *self, int (*body)(struct _test_data_delayed *self))
{
	int attempt, ret = -EAGAIN;
	char byte;

	for (attempt = 0; ret == -EAGAIN && attempt < ATTEMPTS; attempt++) {
		ret = begin_pause(self, attempt);
		if (ret)
			return ret;
		ret = -EAGAIN;
		if (wait_open(self->dev, self->id, &self->move))
			ret = wait_closed(self);
		if (!ret)
			ret = body(self);
		resume(self);
		collect(self, self->out);
		dev_unpin(self->dev, self->id);
		fcntl(self->pipes[0], F_SETFL, O_NONBLOCK);
		while (read(self->pipes[0], &byte, 1) == 1)
			;
	}
	return ret;
}

/* @nr completions have to come while the pause is open. */
static int collect_paused(struct _test_data_delayed *self, unsigned int nr)
{
	int ret = submit_all(&self->ring) ?: collect(self, nr);

	return ret ?: paused(self) ? 0 : -EAGAIN;
}

static int expect(struct _test_data_delayed *self, unsigned int data, int res)
{
	if (self->seen[data] == 1 && self->res[data] == res)
		return 0;
	ksft_print_msg("request %u: %u completions, the last is %d, not %d\n", data,
		       self->seen[data], self->res[data], res);
	return -EIO;
}

static int cancel_one(struct _test_data_delayed *self)
{
	prep_byte(self, 1);
	prep_byte(self, 2);
	prep_cancel(self, 0, 1, 3);
	return collect_paused(self, 2) ?: expect(self, 1, -ECANCELED) ?: expect(self, 3, 0);
}

TEST_F_TIMEOUT(delayed, cancel, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, cancel_one));
	EXPECT_EQ(0, expect(self, PROBE, 1));
	EXPECT_EQ(0, expect(self, 2, 1));
}

static int cancel_many(struct _test_data_delayed *self, unsigned int flags)
{
	struct io_uring_sqe *sqe;

	prep_byte(self, 1);
	prep_byte(self, 2);
	sqe = prep_cancel(self, flags, 0, 3);
	if (flags & IORING_ASYNC_CANCEL_OP)
		sqe->len = IORING_OP_WRITE_FIXED;
	/* The probe is one of them. */
	return collect_paused(self, 4) ?: expect(self, 1, -ECANCELED) ?:
	       expect(self, 2, -ECANCELED) ?: expect(self, 3, 3);
}

static int cancel_fd(struct _test_data_delayed *self)
{
	return cancel_many(self, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL);
}

static int cancel_any(struct _test_data_delayed *self)
{
	return cancel_many(self, IORING_ASYNC_CANCEL_ANY);
}

static int cancel_op(struct _test_data_delayed *self)
{
	return cancel_many(self, IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_ALL);
}

TEST_F_TIMEOUT(delayed, cancel_all, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, cancel_fd));
	EXPECT_EQ(0, in_pause(self, cancel_any));
	EXPECT_EQ(0, in_pause(self, cancel_op));
}

static int cancel_sync(struct _test_data_delayed *self)
{
	struct io_uring_sync_cancel_reg reg = {
		.addr = 1,
		.timeout = { .tv_sec = -1, .tv_nsec = -1 },
	};
	int ret;

	prep_byte(self, 1);
	ret = submit_all(&self->ring) ?:
	      do_register(self->ring.ring_fd, IORING_REGISTER_SYNC_CANCEL, &reg, 1);
	return ret ?: collect_paused(self, 1) ?: expect(self, 1, -ECANCELED);
}

TEST_F_TIMEOUT(delayed, cancel_sync, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, cancel_sync));
}

/* A worker finds the gate closed. Where it is just at it, it can't be cancelled. */
static int cancel_async(struct _test_data_delayed *self)
{
	int ret;

	prep_byte(self, 1)->flags |= IOSQE_ASYNC;
	do {
		self->seen[2] = 0;
		prep_cancel(self, 0, 1, 2);
		ret = collect_paused(self, 1);
	} while (!ret && self->seen[2] && (self->res[2] == -EALREADY || self->res[2] == -ENOENT));
	/* The one that has been cancelled, or the one that has cancelled it. */
	return ret ?: collect_paused(self, 1) ?: expect(self, 1, -ECANCELED);
}

TEST_F_TIMEOUT(delayed, cancel_async, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, cancel_async));
}

/* Also of the rest of its link. */
static int cancel_link(struct _test_data_delayed *self)
{
	prep_byte(self, 1)->flags |= IOSQE_IO_LINK;
	prep_byte(self, 2);
	prep_cancel(self, 0, 1, 3);
	return collect_paused(self, 3) ?: expect(self, 1, -ECANCELED) ?:
	       expect(self, 2, -ECANCELED) ?: expect(self, 3, 0);
}

TEST_F_TIMEOUT(delayed, cancel_link, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, cancel_link));
}

static int time_out(struct _test_data_delayed *self)
{
	struct __kernel_timespec ts = { .tv_nsec = 1000000 };

	prep_byte(self, 1)->flags |= IOSQE_IO_LINK;
	prep_one(self, IORING_OP_LINK_TIMEOUT, -1, &ts, 1, 2);
	return collect_paused(self, 2) ?: expect(self, 1, -ECANCELED) ?: expect(self, 2, -ETIME);
}

TEST_F_TIMEOUT(delayed, timeout, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, time_out));
}

/* The timeout of one that is issued after all is disarmed. */
static int no_time_out(struct _test_data_delayed *self)
{
	struct __kernel_timespec ts = { .tv_sec = 3600 };
	int ret;

	prep_byte(self, 1)->flags |= IOSQE_IO_LINK;
	prep_one(self, IORING_OP_LINK_TIMEOUT, -1, &ts, 1, 2);
	ret = submit_all(&self->ring);
	if (!ret && !paused(self))
		ret = -EAGAIN;
	resume(self);
	return ret ?: collect(self, 3) ?: expect(self, 1, 1) ?: expect(self, 2, -ECANCELED);
}

TEST_F_TIMEOUT(delayed, no_timeout, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, no_time_out));
}

/* All of many are issued after the pause, each once, the first one first. */
static int submit_many(struct _test_data_delayed *self)
{
	unsigned int i;
	char byte;
	int ret;

	for (i = 1; i < DEPTH - 1; i++)
		prep_byte(self, i);
	ret = submit_all(&self->ring);
	if (!ret && !paused(self))
		ret = -EAGAIN;
	if (!ret && self->seen[1])
		ret = -EEXIST;
	resume(self);
	ret = ret ?: collect(self, DEPTH - 1);
	for (i = 0; !ret && i < DEPTH - 1; i++) {
		ret = expect(self, i, 1);
		if (!ret && (read(self->pipes[0], &byte, 1) != 1 || byte != self->at[i]))
			ret = -EUCLEAN;
	}
	return ret;
}

TEST_F_TIMEOUT(delayed, many, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, submit_many));
}

/* What waits for those before it waits for the delayed ones as well. */
static int drain(struct _test_data_delayed *self)
{
	int ret;

	prep_byte(self, 1);
	prep_one(self, IORING_OP_NOP, -1, NULL, 0, 2)->flags |= IOSQE_IO_DRAIN;
	ret = submit_all(&self->ring);
	if (!ret && self->seen[2])
		ret = -EEXIST;
	prep_cancel(self, 0, 1, 3);
	/* Comes after the one that drains, and is drained with it. */
	ret = ret ?: submit_all(&self->ring);
	if (!ret && !paused(self))
		ret = -EAGAIN;
	if (!ret && *self->ring.cq.khead != *self->ring.cq.ktail)
		ret = -EEXIST;
	resume(self);
	return ret ?: collect(self, 4) ?: expect(self, 1, 1) ?: expect(self, 2, 0) ?:
	       expect(self, 3, -ENOENT);
}

TEST_F_TIMEOUT(delayed, drain, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, drain));
}

/* The slot gets another buffer; the one that is delayed still writes the old one. */
static int update(struct _test_data_delayed *self)
{
	char *other = map_anon(NR), byte;
	struct iovec iov = { .iov_base = other, .iov_len = LEN };
	struct io_uring_rsrc_update2 up = { .data = (uintptr_t)&iov, .nr = 1 };
	int ret;

	if (!other)
		return -ENOMEM;
	prep_byte(self, 1);
	ret = submit_all(&self->ring) ?:
	      do_register(self->ring.ring_fd, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
	if (!ret && !paused(self))
		ret = -EAGAIN;
	resume(self);
	ret = ret ?: collect(self, 2) ?: expect(self, 1, 1);
	if (!ret && (read(self->pipes[0], &byte, 1) != 1 || byte != self->at[PROBE] ||
		     read(self->pipes[0], &byte, 1) != 1 || byte != self->at[1]))
		ret = -EUCLEAN;
	iov.iov_base = self->at;
	do_register(self->ring.ring_fd, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
	munmap(other, LEN);
	return ret;
}

TEST_F_TIMEOUT(delayed, update, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, update));
}

static void *resume_later(void *arg)
{
	sleep_ms(20);
	resume(arg);
	return NULL;
}

/* Who unregisters the buffer waits for the delayed one. */
static int unregister(struct _test_data_delayed *self)
{
	pthread_t thread;
	int ret;

	prep_byte(self, 1);
	ret = submit_all(&self->ring);
	if (!ret && !paused(self))
		ret = -EAGAIN;
	if (pthread_create(&thread, NULL, resume_later, self))
		return -ENOMEM;
	ret = ret ?: do_register(self->ring.ring_fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	pthread_join(thread, NULL);
	ret = ret ?: collect(self, 2) ?: expect(self, PROBE, 1) ?: expect(self, 1, 1);
	return ret ?: register_at(&self->ring, self->at, LEN);
}

TEST_F_TIMEOUT(delayed, unregister, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, unregister));
}

/* Two rings, one buffer: what one cancels is not what the other has. */
static int cancel_in_clone(struct _test_data_delayed *self)
{
	struct io_uring_clone_buffers arg = { .src_fd = self->ring.ring_fd };
	struct io_uring clone, mine = self->ring;
	unsigned int out = self->out;
	int ret;

	ret = io_uring_queue_init(32, &clone, 0) ?:
	      do_register(clone.ring_fd, IORING_REGISTER_CLONE_BUFFERS, &arg, 1);
	if (ret)
		return ret;
	self->ring = clone;
	prep_byte(self, 1);
	prep_byte(self, 2);
	prep_cancel(self, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL, 0, 3);
	ret = collect_paused(self, 3) ?: expect(self, 1, -ECANCELED) ?:
	      expect(self, 2, -ECANCELED) ?: expect(self, 3, 2);
	clone = self->ring;
	self->ring = mine;
	self->out = out;
	io_uring_queue_exit(&clone);
	return ret;
}

TEST_F_TIMEOUT(delayed, clone, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, cancel_in_clone));
	EXPECT_EQ(0, expect(self, PROBE, 1));
}

/* A zero-copy send has not given anything to the socket: so says its notification. */
static int cancel_send(struct _test_data_delayed *self)
{
	struct io_uring_sqe *sqe = get_sqe(&self->ring);
	int tx, rx, ret = tcp_pair(&tx, &rx);

	if (ret)
		return ret;
	io_uring_prep_sendzc(sqe, tx, self->at, PAGE, 0, IORING_RECVSEND_FIXED_BUF);
	sqe->user_data = 1;
	self->out += 2;
	prep_cancel(self, 0, 1, 2);
	ret = collect_paused(self, 3);
	if (!ret && (self->seen[1] != 2 || self->res[1] != -ECANCELED))
		ret = -EIO;
	ret = ret ?: expect(self, 2, 0);
	close(tx);
	close(rx);
	return ret;
}

TEST_F_TIMEOUT(delayed, cancel_send, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, cancel_send));
}

/* A command reads its SQE when it is issued; the ring may be in use again by then. */
static int command(struct _test_data_delayed *self)
{
	int tx, rx, value = 0, ret = tcp_pair(&tx, &rx);
	struct io_uring_sqe *sqe;

	if (ret)
		return ret;
	sqe = prep_one(self, IORING_OP_URING_CMD, tx, NULL, 0, 1);
	io_uring_prep_cmd(sqe, SOCKET_URING_OP_GETSOCKOPT, tx, SOL_SOCKET, SO_TYPE, &value,
			  sizeof(value));
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	sqe->user_data = 1;
	sqe = prep_one(self, IORING_OP_URING_CMD, tx, NULL, 0, 2);
	io_uring_prep_cmd(sqe, SOCKET_URING_OP_SIOCOUTQ, tx, 0, 0, NULL, 0);
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	sqe->user_data = 2;
	prep_cancel(self, 0, 2, 3);
	ret = collect_paused(self, 2) ?: expect(self, 2, -ECANCELED) ?: expect(self, 3, 0);
	memset(self->ring.sq.sqes, 0xff, DEPTH * sizeof(*sqe));
	resume(self);
	ret = ret ?: collect(self, 2) ?: expect(self, 1, sizeof(value));
	close(tx);
	close(rx);
	return ret ?: value == SOCK_STREAM ? 0 : -EUCLEAN;
}

TEST_F_TIMEOUT(delayed, command, TEST_SECONDS)
{
	EXPECT_EQ(0, in_pause(self, command));
}

/* The ring goes, and its buffer with it: the last page is nobody else's. */
static int close_ring(struct _test_data_delayed *self)
{
	uint64_t pfn = user_pfn(self->at + LEN - PAGE), timedout;
	int tries;

	prep_byte(self, 1);
	make_known(pfn);
	if (!page_flag(pfn, KPF_PINPAGE))
		return -ENOENT;
	if (submit_all(&self->ring))
		return -EIO;
	/* Which mini_liburing leaves mapped: the ring would stay. */
	munmap((void *)((uintptr_t)self->ring.cq.khead & ~(PAGE - 1)), self->ring.cq.ring_sz);
	io_uring_queue_exit(&self->ring);
	self->ring.ring_fd = -1;
	timedout = read_event("pinpage_timedout");
	/* The buffer ends the pause by leaving, or the other owner's time is up. */
	for (tries = 5000; page_flag(pfn, KPF_PINPAGE) && tries; tries--)
		sleep_ms(1);
	return tries && read_event("pinpage_timedout") == timedout ? 0 : -ETIMEDOUT;
}

TEST_F_TIMEOUT(delayed, close, TEST_SECONDS)
{
	int ret;

	ASSERT_EQ(0, begin_pause(self, 0));
	ASSERT_TRUE(wait_open(self->dev, self->id, &self->move));
	ASSERT_EQ(0, wait_closed(self));
	ret = close_ring(self);
	resume(self);
	EXPECT_EQ(0, ret);
	EXPECT_EQ(0, dev_unpin(self->dev, self->id));
}

/*
 * A process that ends does not wait for the pause. The page is held by the device,
 * which its parent has open as well, and moved by the parent.
 */
static void live_in_pause(struct _test_data_delayed *self, unsigned int setup, int tell,
			  int attempt)
{
	io_uring_queue_exit(&self->ring);
	if (io_uring_queue_init(DEPTH, &self->ring, setup) ||
	    register_at(&self->ring, self->at, LEN) || pin_held(self, attempt) ||
	    write(tell, &self->id, sizeof(self->id)) != sizeof(self->id))
		_exit(1);
	while (!dev_count(self->dev, self->id).open)
		sched_yield();
	if (wait_closed(self))
		_exit(2);
	prep_byte(self, 1);
	prep_byte(self, 2)->flags |= IOSQE_ASYNC;
	if (submit_all(&self->ring) || write(tell, "", 1) != 1)
		_exit(3);
	for (;;)
		pause();
}

/* 0; -EAGAIN where the pause was over before the process was. */
static int die_in_pause(struct _test_data_delayed *self, unsigned int setup, int attempt)
{
	int ready[2], status, ret = -EIO;
	struct mover m;
	pid_t pid;
	char byte;

	if (pipe(ready))
		return -errno;
	pid = fork();
	if (!pid)
		live_in_pause(self, setup, ready[1], attempt);
	close(ready[1]);
	if (pid > 0 && read(ready[0], &self->id, sizeof(self->id)) == sizeof(self->id)) {
		start_mover(&m, self->at, 1, pid);
		if (read(ready[0], &byte, 1) == 1)
			ret = 0;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		if (!dev_count(self->dev, self->id).open)
			ret = -EAGAIN;
		dev_policy(self->dev, (struct test_pinpage_policy){ .id = self->id });
		stop_mover(&m);
		dev_unpin(self->dev, self->id);
	}
	close(ready[0]);
	return ret;
}

TEST_F_TIMEOUT(delayed, exit, TEST_SECONDS)
{
	int attempt, ret = -EAGAIN;

	for (attempt = 0; ret == -EAGAIN && attempt < ATTEMPTS; attempt++)
		ret = die_in_pause(self, variant->setup, attempt);
	EXPECT_EQ(0, ret);
}

TEST_HARNESS_MAIN
