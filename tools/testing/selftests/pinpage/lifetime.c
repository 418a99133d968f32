// SPDX-License-Identifier: GPL-2.0
/*
 * Memory, processes and owners that go away, or change, while pinned pages
 * move. What is pinned stays the owner's; nothing leaks; nobody sees a write
 * that is not for him.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	32

/* Once more at least, from now on. */
static void let_move(struct mover *m)
{
	size_t rounds = __atomic_load_n(&m->rounds, __ATOMIC_RELAXED);

	while (__atomic_load_n(&m->rounds, __ATOMIC_RELAXED) < rounds + 2)
		sleep_ms(1);
}

FIXTURE(lifetime) {
	int fd;
	int backing;
	char *at;
	int64_t balance;
};

FIXTURE_VARIANT(lifetime) {
	bool anon;
	int kind;
	bool disk;
};

FIXTURE_VARIANT_ADD(lifetime, anon) { .anon = true, .kind = TEST_PINPAGE_USER };
FIXTURE_VARIANT_ADD(lifetime, anon_set) { .anon = true, .kind = TEST_PINPAGE_SET };
FIXTURE_VARIANT_ADD(lifetime, shmem) { .kind = TEST_PINPAGE_USER };
FIXTURE_VARIANT_ADD(lifetime, shmem_set) { .kind = TEST_PINPAGE_SET };
FIXTURE_VARIANT_ADD(lifetime, file) { .kind = TEST_PINPAGE_SET, .disk = true };

static char *map_it(bool anon, int backing)
{
	char *at;

	if (anon)
		return map_anon(NR);
	at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, backing, 0);
	return at == MAP_FAILED ? NULL : at;
}

FIXTURE_SETUP(lifetime)
{
	char why[128];

	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->balance = pin_balance();
	self->backing = -1;
	if (!variant->anon) {
		self->backing = variant->disk ? make_file(NR) : make_memfd(NR);
		if (self->backing < 0 && variant->disk)
			SKIP(return, "no disk file system");
		ASSERT_LE(0, self->backing);
	}
	self->at = map_it(variant->anon, self->backing);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
}

FIXTURE_TEARDOWN(lifetime)
{
	if (self->at)
		munmap(self->at, NR * PAGE);
	if (self->backing >= 0)
		close(self->backing);
	close(self->fd);
	EXPECT_EQ(self->balance, pin_balance());
}

static int pin_all(struct _test_data_lifetime *self,
		   const struct _fixture_variant_lifetime *variant)
{
	return dev_pin_range(self->fd, variant->kind, self->at, NR, TEST_PINPAGE_WRITE, 0);
}

/* With a mover about, a move may be in flight. */
static void expect_lawful(struct __test_metadata *_metadata, int fd, int id)
{
	EXPECT_EQ(0, dev_count(fd, id).violations);
	EXPECT_EQ(0, dev_order(fd, id));
}

static void expect_sound(struct __test_metadata *_metadata, int fd, int id)
{
	struct test_pinpage_counters count = dev_count(fd, id);

	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_order(fd, id));
}

/* The process lets go of the memory; the device has it still. */
TEST_F_TIMEOUT(lifetime, munmap, TEST_SECONDS)
{
	struct mover m;
	int round, id;

	for (round = 0; round < rounds(20); round++) {
		id = pin_all(self, variant);
		ASSERT_GT(id, 0);
		ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
		let_move(&m);
		ASSERT_EQ(0, munmap(self->at, NR * PAGE));
		stop_mover(&m);
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
		EXPECT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
		self->at = map_it(variant->anon, self->backing);
		ASSERT_NE(NULL, self->at);
		EXPECT_EQ(0, variant->anon ? 0 : user_check(self->at, NR, SEED_DEVICE));
		user_fill(self->at, NR, SEED_USER);
		/* The file has what was written to the mapping now. */
		EXPECT_EQ(0, dev_check(self->fd, id, NR,
				       variant->anon ? SEED_DEVICE : SEED_USER));
		expect_sound(_metadata, self->fd, id);
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
}

/* What the process sees is thrown away: by itself, by truncation, by a hole. */
static int throw_away(struct _test_data_lifetime *self, bool anon, int round)
{
	if (anon)
		return madvise(self->at, NR * PAGE, MADV_DONTNEED);
	if (round % 2)
		return ftruncate(self->backing, 0) ?:
		       ftruncate(self->backing, NR * PAGE);
	return fallocate(self->backing, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 0, NR * PAGE);
}

TEST_F_TIMEOUT(lifetime, throw_away, TEST_SECONDS)
{
	struct mover m;
	int round, id;

	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(20); round++) {
		user_fill(self->at, NR, SEED_USER);
		id = pin_all(self, variant);
		ASSERT_GT(id, 0);
		let_move(&m);
		ASSERT_EQ(0, throw_away(self, variant->anon, round));
		let_move(&m);
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
		EXPECT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
		/* What is read now is new. */
		EXPECT_EQ(0, self->at[0]);
		EXPECT_EQ(0, self->at[NR * PAGE - 1]);
		let_move(&m);
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_DEVICE));
		expect_lawful(_metadata, self->fd, id);
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
	stop_mover(&m);
}

/* Tell the child to go on, or wait until told. */
static void tell(int fd)
{
	if (write(fd, "", 1) != 1)
		_exit(99);
}

static void wait_for(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		_exit(98);
}

/*
 * A fork while pages move. The pinned pages are the parent's: what the device
 * writes afterwards, the parent sees and the child does not, and what the child
 * writes, nobody else does.
 */
static int fork_child(struct _test_data_lifetime *self, bool anon, int go, int done)
{
	uint64_t bad;

	wait_for(go);
	bad = user_check(self->at, NR, anon ? SEED_USER : SEED_DEVICE);
	if (anon) {
		user_fill(self->at, NR, 1234);
		bad += user_check(self->at, NR, 1234);
	}
	tell(done);
	wait_for(go);
	if (anon)
		bad += user_check(self->at, NR, 1234);
	return !!bad;
}

static void fork_round(struct __test_metadata *_metadata, struct _test_data_lifetime *self,
		       bool anon, int id)
{
	int go[2], done[2], status = -1;
	pid_t pid;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	pid = fork();
	if (!pid)
		_exit(fork_child(self, anon, go[0], done[1]));
	ASSERT_LT(0, pid);
	EXPECT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
	tell(go[1]);
	wait_for(done[0]);
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_DEVICE));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
	user_fill(self->at, NR, SEED_USER);
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	tell(go[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(go[0]);
	close(go[1]);
	close(done[0]);
	close(done[1]);
}

TEST_F_TIMEOUT(lifetime, fork, TEST_SECONDS)
{
	struct mover m;
	int round, id;

	id = pin_all(self, variant);
	ASSERT_GT(id, 0);
	fork_round(_metadata, self, variant->anon, id);
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(50); round++)
		fork_round(_metadata, self, variant->anon, id);
	let_move(&m);
	stop_mover(&m);
	expect_sound(_metadata, self->fd, id);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* Forked before: the pin takes the pages of the parent out of the sharing. */
TEST_F_TIMEOUT(lifetime, pin_after_fork, TEST_SECONDS)
{
	int go[2], done[2], status = -1, round, id;
	struct mover m;
	pid_t pid;

	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(20); round++) {
		user_fill(self->at, NR, SEED_USER);
		ASSERT_EQ(0, pipe(go));
		ASSERT_EQ(0, pipe(done));
		pid = fork();
		if (!pid)
			_exit(fork_child(self, variant->anon, go[0], done[1]));
		ASSERT_LT(0, pid);
		id = pin_all(self, variant);
		ASSERT_GT(id, 0);
		EXPECT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
		let_move(&m);
		tell(go[1]);
		wait_for(done[0]);
		EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_DEVICE));
		tell(go[1]);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
		expect_lawful(_metadata, self->fd, id);
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		close(go[0]);
		close(go[1]);
		close(done[0]);
		close(done[1]);
	}
	stop_mover(&m);
}

/* Pin and unpin, all the time, while pages move. */
TEST_F_TIMEOUT(lifetime, pin_unpin, TEST_SECONDS)
{
	struct mover m;
	int round, id;

	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(300); round++) {
		id = pin_all(self, variant);
		ASSERT_GT(id, 0);
		EXPECT_EQ(0, dev_fill(self->fd, id, NR, round));
		if (round % 16 == 0)
			let_move(&m);
		EXPECT_EQ(0, user_check(self->at, NR, round));
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		EXPECT_EQ(0, user_check(self->at, NR, round));
	}
	stop_mover(&m);
	EXPECT_EQ(NR, move_to(0, self->at, NR, 0));
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
}

/* The file of the device is closed, with buffers in it, while they move. */
TEST_F_TIMEOUT(lifetime, close_device, TEST_SECONDS)
{
	struct mover m;
	char why[128];
	int round, fd;

	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(50); round++) {
		fd = device_open(why, sizeof(why));
		ASSERT_LE(0, fd);
		ASSERT_LT(0, dev_pin_range(fd, variant->kind, self->at, NR,
					   TEST_PINPAGE_WRITE, 0));
		ASSERT_LT(0, dev_pin_range(fd, variant->kind, self->at, NR,
					   TEST_PINPAGE_WRITE, 1));
		if (round % 4 == 0)
			let_move(&m);
		close(fd);
	}
	stop_mover(&m);
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	EXPECT_EQ(NR, move_to(0, self->at, NR, 0));
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
}

/* A process is killed while another one moves its pinned pages. */
TEST_F_TIMEOUT(lifetime, exit, TEST_SECONDS)
{
	int round, ready[2], status, fd;
	struct mover m;
	char why[128];
	pid_t pid;

	for (round = 0; round < rounds(20); round++) {
		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		if (!pid) {
			fd = device_open(why, sizeof(why));
			user_fill(self->at, NR, round);
			if (dev_pin_range(fd, variant->kind, self->at, NR,
					  TEST_PINPAGE_WRITE, 0) < 0 ||
			    dev_pin_range(fd, variant->kind, self->at, NR,
					  TEST_PINPAGE_WRITE, 1) < 0)
				_exit(1);
			tell(ready[1]);
			pause();
		}
		ASSERT_LT(0, pid);
		wait_for(ready[0]);
		ASSERT_EQ(0, start_mover(&m, self->at, NR, pid));
		if (round % 4 == 0)
			let_move(&m);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		stop_mover(&m);
		close(ready[0]);
		close(ready[1]);
	}
}

/* mremap() takes the pages along; the device does not care. */
TEST_F_TIMEOUT(lifetime, mremap, TEST_SECONDS)
{
	struct mover m;
	int round, id;
	char *at;

	id = pin_all(self, variant);
	ASSERT_GT(id, 0);
	for (round = 0; round < rounds(20); round++) {
		ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
		let_move(&m);
		at = map_anon(NR);
		ASSERT_NE(NULL, at);
		at = mremap(self->at, NR * PAGE, NR * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at);
		ASSERT_NE(MAP_FAILED, at);
		self->at = at;
		stop_mover(&m);
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	}
	expect_sound(_metadata, self->fd, id);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* Write protection and back, while pages move. */
TEST_F_TIMEOUT(lifetime, mprotect, TEST_SECONDS)
{
	struct mover m;
	int round, id;

	id = pin_all(self, variant);
	ASSERT_GT(id, 0);
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(100); round++) {
		ASSERT_EQ(0, mprotect(self->at, NR * PAGE, PROT_READ));
		EXPECT_EQ(0, dev_fill(self->fd, id, NR, round));
		EXPECT_EQ(0, user_check(self->at, NR, round));
		ASSERT_EQ(0, mprotect(self->at, NR * PAGE, PROT_READ | PROT_WRITE));
		user_fill(self->at, NR, ~round);
		EXPECT_EQ(0, dev_check(self->fd, id, NR, ~round));
	}
	stop_mover(&m);
	expect_sound(_metadata, self->fd, id);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

TEST_F_TIMEOUT(lifetime, module, TEST_SECONDS)
{
	int id = pin_all(self, variant);
	char why[128];

	ASSERT_GT(id, 0);
	if (access("/sys/module/test_pinpage/refcnt", F_OK))
		SKIP(return, "the driver is built in");
	/* In use, by the file and by the set. */
	EXPECT_EQ(-1, syscall(__NR_delete_module, "test_pinpage", O_NONBLOCK));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	close(self->fd);
	EXPECT_EQ(0, syscall(__NR_delete_module, "test_pinpage", O_NONBLOCK));
	/* Nobody is registered: pages move as ever. */
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	EXPECT_EQ(NR, move_to(0, self->at, NR, 0));
	self->fd = device_open(why, sizeof(why));
	ASSERT_LE(0, self->fd);
	id = pin_all(self, variant);
	ASSERT_GT(id, 0);
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

struct forker {
	char *at;
	bool stop;
	int rounds, bad;
};

/* Children that look whether what the parent writes later is theirs, too. */
static void *keep_forking(void *arg)
{
	struct forker *f = arg;
	int go[2], status;
	pid_t pid;

	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE)) {
		if (pipe(go))
			break;
		user_fill(f->at, NR, SEED_USER);
		pid = fork();
		if (!pid) {
			wait_for(go[0]);
			_exit(!!user_check(f->at, NR, SEED_USER));
		}
		user_fill(f->at, NR, SEED_DEVICE);
		tell(go[1]);
		if (waitpid(pid, &status, 0) != pid || status)
			f->bad++;
		close(go[0]);
		close(go[1]);
		f->rounds++;
	}
	return NULL;
}

/*
 * The last system goes while pages of its last set move: what is a migration entry
 * then was exclusive before, and fork() must not share it.
 */
TEST_F_TIMEOUT(lifetime, fork_and_unregister, TEST_SECONDS)
{
	struct forker f = { .at = self->at };
	pthread_t thread;
	struct mover m;
	char why[128];
	int round;

	if (!variant->anon)
		SKIP(return, "shared with children anyway");
	if (access("/sys/module/test_pinpage/refcnt", F_OK))
		SKIP(return, "the driver is built in");
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_forking, &f));
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(30); round++) {
		ASSERT_LT(0, pin_all(self, variant));
		let_move(&m);
		/* Children have it open as well, for a while. */
		close(self->fd);
		while (syscall(__NR_delete_module, "test_pinpage", O_NONBLOCK) && errno == EAGAIN)
			sched_yield();
		self->fd = device_open(why, sizeof(why));
		ASSERT_LE(0, self->fd);
	}
	__atomic_store_n(&f.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	stop_mover(&m);
	EXPECT_LT(0, f.rounds);
	EXPECT_EQ(0, f.bad);
}

TEST_HARNESS_MAIN
