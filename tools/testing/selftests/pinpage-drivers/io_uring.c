// SPDX-License-Identifier: GPL-2.0
/*
 * Registered buffers of io_uring, whose pages move while requests go in and out,
 * are delayed, linked, cloned, updated, unregistered or left behind.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
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

static void prep_fixed(struct io_uring_sqe *sqe, int op, int fd, void *at, size_t len,
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

/* A request that waits for its input does not keep the buffer where it is. */
TEST_F_TIMEOUT(ring, waiting, TEST_SECONDS)
{
	struct io_uring_sqe *sqe;
	int pipes[2];
	char byte = 42;

	if (variant->setup & IORING_SETUP_SQPOLL)
		SKIP(return, "see by_thread");
	ASSERT_EQ(0, pipe(pipes));
	sqe = get_sqe(&self->ring);
	prep_fixed(sqe, IORING_OP_READ_FIXED, pipes[0], self->at + PAGE, 1, 0, 1);
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_EQ(NR, move_patiently(self->at, NR));
	ASSERT_EQ(1, write(pipes[1], &byte, 1));
	EXPECT_EQ(0, reap(&self->ring, 1, 1));
	EXPECT_EQ(42, self->at[PAGE]);
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

/* A page that is twice in the buffer: nobody can move it, and all else is well. */
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
	EXPECT_EQ(0, move_to(0, at, NR / 2, !node_of(at)));
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

/* Zero-copy sends over a socket to itself. */
FIXTURE(send_zc) {
	struct io_uring ring;
	int tx, rx;
	char *at;
};

FIXTURE_SETUP(send_zc)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int listener;

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	if (access("/sys/kernel/debug/pinpage/systems", F_OK))
		SKIP(return, "no pinpage in debugfs");
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	self->tx = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (void *)&addr, sizeof(addr)) ||
	    listen(listener, 1) || getsockname(listener, (void *)&addr, &len) ||
	    connect(self->tx, (void *)&addr, sizeof(addr)))
		SKIP(return, "no TCP: %s", strerror(errno));
	self->rx = accept(listener, NULL, NULL);
	ASSERT_LE(0, self->rx);
	close(listener);
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

TEST_HARNESS_MAIN
