// SPDX-License-Identifier: GPL-2.0
/*
 * Bad input, each with its errno and nothing changed; and no memory, which is
 * an error like any other.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	16

FIXTURE(badinput) {
	int fd;
	char *at;
	int64_t balance;
};

FIXTURE_SETUP(badinput)
{
	char why[128];

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->at = map_anon(NR);
	ASSERT_NE(NULL, self->at);
	user_fill(self->at, NR, SEED_USER);
	self->balance = pin_balance();
}

/* Whatever went wrong: no pin is left, no page flagged, and pins work still. */
FIXTURE_TEARDOWN(badinput)
{
	int i, id;

	EXPECT_EQ(self->balance, pin_balance());
	for (i = 0; i < NR; i++)
		EXPECT_FALSE(page_flag(user_pfn(self->at + i * PAGE), KPF_PINPAGE));
	id = dev_pin_range(self->fd, TEST_PINPAGE_USER, self->at, NR, TEST_PINPAGE_WRITE, 0);
	EXPECT_GT(id, 0);
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	munmap(self->at, NR * PAGE);
	close(self->fd);
}

static int pin(struct _test_data_badinput *self, int kind, void *at, size_t pages,
	       int flags)
{
	return dev_pin_range(self->fd, kind, at, pages, flags, 0);
}

/* Calls of the interface that no driver should make. */
TEST_F_TIMEOUT(badinput, misuse, TEST_SECONDS)
{
	static const struct {
		unsigned int misuse;
		int error;
	} cases[] = {
		{ TEST_PINPAGE_NO_OPS, -EINVAL },
		{ TEST_PINPAGE_NO_PREPARE, -EINVAL },
		{ TEST_PINPAGE_NO_COMPLETE, -EINVAL },
		{ TEST_PINPAGE_NO_NAME, -EINVAL },
		{ TEST_PINPAGE_SAME_NAME, -EEXIST },
		{ TEST_PINPAGE_REGISTER_TWICE, -EEXIST },
		{ TEST_PINPAGE_UNREGISTER_UNKNOWN, -ENODEV },
		{ TEST_PINPAGE_UNREGISTER_BUSY, -EBUSY },
		{ TEST_PINPAGE_UNKNOWN_SYSTEM, -ENODEV },
		{ TEST_PINPAGE_NO_PAGES, -EINVAL },
		{ TEST_PINPAGE_SLAB_PAGE, -EINVAL },
		{ TEST_PINPAGE_ZERO_PAGE, -EINVAL },
		{ TEST_PINPAGE_SET_TWICE, -EBUSY },
		{ TEST_PINPAGE_CLEAR_UNSET, -ENOENT },
		{ TEST_PINPAGE_UNPIN_UNSET, -ENOENT },
		{ TEST_PINPAGE_GET_UNSET, -ENOENT },
		{ TEST_PINPAGE_GET_BEYOND, -EINVAL },
	};
	/* For UNREGISTER_BUSY. */
	int id = pin(self, TEST_PINPAGE_USER, self->at, 1, 0);
	size_t i;

	ASSERT_GT(id, 0);
	ASSERT_EQ(TEST_PINPAGE_NR_MISUSES, ARRAY_SIZE(cases));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].error, dev_misuse(self->fd, cases[i].misuse))
			TH_LOG("misuse %u", cases[i].misuse);
	}
	EXPECT_EQ(0, dev_check(self->fd, id, 1, SEED_USER));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

TEST_F_TIMEOUT(badinput, hole, TEST_SECONDS)
{
	static const int kinds[] = { TEST_PINPAGE_USER, TEST_PINPAGE_SET };
	char *at = map_anon(NR);
	size_t i;

	ASSERT_NE(NULL, at);
	ASSERT_EQ(0, munmap(at + NR / 2 * PAGE, PAGE));
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		EXPECT_EQ(-EFAULT, pin(self, kinds[i], at, NR, TEST_PINPAGE_WRITE));
		EXPECT_EQ(-EFAULT, pin(self, kinds[i], at + NR / 2 * PAGE, 1, 0));
	}
	munmap(at, NR * PAGE);
}

TEST_F_TIMEOUT(badinput, permission, TEST_SECONDS)
{
	int id;

	ASSERT_EQ(0, mprotect(self->at + PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, pin(self, TEST_PINPAGE_USER, self->at, NR, TEST_PINPAGE_WRITE));
	id = pin(self, TEST_PINPAGE_USER, self->at, NR, 0);
	EXPECT_GT(id, 0);
	/* Pinned for reading, so the device does not write. */
	EXPECT_EQ(-EPERM, dev_fill(self->fd, id, NR, SEED_DEVICE));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	ASSERT_EQ(0, mprotect(self->at + PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, pin(self, TEST_PINPAGE_USER, self->at, NR, 0));
	ASSERT_EQ(0, mprotect(self->at + PAGE, PAGE, PROT_READ | PROT_WRITE));
}

/* The special mapping that each process has. */
TEST_F_TIMEOUT(badinput, special_mapping, TEST_SECONDS)
{
	unsigned long from = 0, to;
	char line[256];
	FILE *maps = fopen("/proc/self/maps", "r");

	ASSERT_NE(NULL, maps);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "[vvar]") && sscanf(line, "%lx-%lx", &from, &to) == 2)
			break;
	fclose(maps);
	if (!from)
		SKIP(return, "no vvar");
	EXPECT_EQ(-EFAULT, pin(self, TEST_PINPAGE_USER, (void *)from, 1, 0));
	EXPECT_EQ(-EFAULT, pin(self, TEST_PINPAGE_SET, (void *)from, 1, 0));
}

/* As FOLL_LONGTERM: the file system would not learn of the device's writes. */
TEST_F_TIMEOUT(badinput, dirty_tracking, TEST_SECONDS)
{
	int backing = make_file(NR), id;
	char *at;

	if (backing < 0)
		SKIP(return, "no disk file system");
	at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, backing, 0);
	ASSERT_NE(MAP_FAILED, at);
	user_fill(at, NR, SEED_USER);
	EXPECT_EQ(-EFAULT, pin(self, TEST_PINPAGE_LONGTERM, at, NR, TEST_PINPAGE_WRITE));
	EXPECT_EQ(-EFAULT, pin(self, TEST_PINPAGE_USER, at, NR, TEST_PINPAGE_WRITE));
	EXPECT_EQ(-EFAULT, pin(self, TEST_PINPAGE_USER, at, NR,
			       TEST_PINPAGE_WRITE | TEST_PINPAGE_UNMOVABLE));
	id = pin(self, TEST_PINPAGE_USER, at, NR, 0);
	EXPECT_GT(id, 0);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	munmap(at, NR * PAGE);
	close(backing);
}

/* Memory that was never written: a pin for long does not take the zero page. */
TEST_F_TIMEOUT(badinput, zero_page, TEST_SECONDS)
{
	char *at = map_anon(NR);
	int id;

	ASSERT_NE(NULL, at);
	/* The zero page, for all. */
	EXPECT_EQ(0, at[0]);
	EXPECT_EQ(-EINVAL, pin(self, TEST_PINPAGE_SET, at, 1, 0));
	id = pin(self, TEST_PINPAGE_USER, at, 1, 0);
	EXPECT_GT(id, 0);
	at[0] = 1;
	EXPECT_EQ(user_pfn(at), dev_pfn(self->fd, id, 0));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	munmap(at, NR * PAGE);
}

/* A plain reference does not keep fork() from sharing a page: only pins will do. */
TEST_F_TIMEOUT(badinput, references, TEST_SECONDS)
{
	int backing = make_memfd(1), id;
	char *at;

	ASSERT_LE(0, backing);
	at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, backing, 0);
	ASSERT_NE(MAP_FAILED, at);
	at[0] = 1;
	EXPECT_EQ(-EINVAL, pin(self, TEST_PINPAGE_GET, at, 1, TEST_PINPAGE_WRITE));
	EXPECT_EQ(-EINVAL, pin(self, TEST_PINPAGE_GET, self->at, NR, TEST_PINPAGE_WRITE));
	EXPECT_EQ(-EINVAL, pin(self, TEST_PINPAGE_GET, self->at, NR, 0));
	/* One that somebody else has pinned is no better. */
	id = pin(self, TEST_PINPAGE_USER, self->at, NR / 2, TEST_PINPAGE_WRITE);
	ASSERT_GT(id, 0);
	EXPECT_EQ(-EINVAL, pin(self, TEST_PINPAGE_GET, self->at, NR, TEST_PINPAGE_WRITE));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	munmap(at, PAGE);
	close(backing);
}

TEST_F_TIMEOUT(badinput, flags, TEST_SECONDS)
{
	static const int kinds[] = {
		TEST_PINPAGE_USER, TEST_PINPAGE_SET, TEST_PINPAGE_KERNEL,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		EXPECT_EQ(-EINVAL, pin(self, kinds[i],
				       kinds[i] == TEST_PINPAGE_KERNEL ? NULL : self->at,
				       NR, TEST_PINPAGE_BAD_FLAGS));
}

TEST_F_TIMEOUT(badinput, memfd, TEST_SECONDS)
{
	struct test_pinpage_pin arg = {
		.kind = TEST_PINPAGE_MEMFD,
		.len = NR * PAGE,
	};
	int fd;

	arg.fd = 1000;
	EXPECT_EQ(-EBADF, dev_pin(self->fd, arg));
	arg.fd = self->fd;
	EXPECT_EQ(-EINVAL, dev_pin(self->fd, arg));
	fd = make_memfd(NR / 2);
	ASSERT_LE(0, fd);
	arg.fd = fd;
	EXPECT_EQ(-EINVAL, dev_pin(self->fd, arg));
	close(fd);
}

/* The driver itself: what its own interface refuses. */
TEST_F_TIMEOUT(badinput, driver, TEST_SECONDS)
{
	struct test_pinpage_pin good = {
		.kind = TEST_PINPAGE_USER,
		.addr = (uintptr_t)self->at,
		.len = NR * PAGE,
		.stride = 1,
	}, arg;
	uint64_t word = 0;
	size_t i;
	int id;

	for (i = 0; i < 10; i++) {
		arg = good;
		switch (i) {
		case 0:
			arg.kind = TEST_PINPAGE_NR_KINDS;
			break;
		case 1:
			arg.len = 0;
			break;
		case 2:
			arg.addr++;
			break;
		case 3:
			arg.len--;
			break;
		case 4:
			arg.system = 99;
			break;
		case 5:
			arg.flags = ~TEST_PINPAGE_PIN_FLAGS;
			break;
		case 6:
			arg.id = 1;
			break;
		case 7:
			arg.stride = 2;
			break;
		case 8:
			arg.addr = -PAGE;
			break;
		case 9:
			arg.from = 1;
			break;
		}
		EXPECT_EQ(-EINVAL, dev_pin(self->fd, arg))
			TH_LOG("case %zu", i);
	}
	EXPECT_EQ(-1, ioctl(self->fd, _IO('P', 0x7f), NULL));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, ioctl(self->fd, TEST_PINPAGE_PIN, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-ENOENT, dev_unpin(self->fd, 12345));
	EXPECT_EQ(-ENOENT, dev_check(self->fd, 12345, 1, 0));
	EXPECT_EQ(-EINVAL, dev_misuse(self->fd, TEST_PINPAGE_NR_MISUSES));

	id = dev_pin(self->fd, good);
	ASSERT_GT(id, 0);
	EXPECT_EQ(-EINVAL, dev_check(self->fd, id, NR + 1, SEED_USER));
	EXPECT_EQ(-EINVAL, dev_access(self->fd, id, &word, NR * PAGE, 8, false, 0));
	EXPECT_EQ(-EFAULT, dev_access(self->fd, id, NULL, 0, 8, false, 0));
	EXPECT_EQ(-EINVAL, dev_policy(self->fd, (struct test_pinpage_policy){
		.id = id, .hold = 2 }));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	EXPECT_EQ(-ENOENT, dev_unpin(self->fd, id));
}

/* Fault injection: each allocation of a call fails in its turn */

#define FAULTS_MAX	4000

static const int nomem_kinds[] = {
	TEST_PINPAGE_USER, TEST_PINPAGE_SET, TEST_PINPAGE_KERNEL,
};

/* Pin, and unpin what could be pinned; returns how many pins were refused. */
static int nomem_pin(struct __test_metadata *_metadata, struct _test_data_badinput *self,
		     int nth, int kind)
{
	void *at = kind == TEST_PINPAGE_KERNEL ? NULL : self->at;
	int id, n, refused = 0;
	bool failed = true;

	for (n = 1; failed && n < FAULTS_MAX; n++) {
		fail_nth(nth, n);
		id = pin(self, kind, at, NR, TEST_PINPAGE_WRITE);
		failed = has_failed(nth);
		if (id < 0) {
			EXPECT_TRUE(failed);
			EXPECT_TRUE(id == -ENOMEM || id == -EFAULT)
				TH_LOG("kind %d, allocation %d: %d", kind, n, id);
			refused++;
			continue;
		}
		if (at)
			EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
	EXPECT_FALSE(failed);
	return refused;
}

/* Whatever failed, it's all there; returns how often less than all has moved. */
static int nomem_move(struct __test_metadata *_metadata, struct _test_data_badinput *self,
		      int nth, int kind)
{
	int id = pin(self, kind, self->at, NR, TEST_PINPAGE_WRITE);
	size_t moved = NR;
	bool failed = true;
	int n, stayed = 0;

	ASSERT_GT(id, 0);
	for (n = 1; failed && n < FAULTS_MAX; n++) {
		int target = !node_of(self->at);

		fail_nth(nth, n);
		moved = move_to(0, self->at, NR, target);
		failed = has_failed(nth);
		stayed += moved < NR;
		EXPECT_EQ(0, dev_order(self->fd, id));
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
		/* All on one node again, for the next round. */
		EXPECT_EQ(NR, move_to(0, self->at, NR, target));
	}
	EXPECT_FALSE(failed);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	return stayed;
}

static int nomem_unpin(struct __test_metadata *_metadata, struct _test_data_badinput *self,
		       int nth, int kind)
{
	void *at = kind == TEST_PINPAGE_KERNEL ? NULL : self->at;
	bool failed = true;
	int id, n, ret;

	for (n = 1; failed && n < FAULTS_MAX; n++) {
		id = pin(self, kind, at, NR, TEST_PINPAGE_WRITE);
		ASSERT_GT(id, 0);
		fail_nth(nth, n);
		ret = dev_unpin(self->fd, id);
		failed = has_failed(nth);
		/* The driver's own array to compare with; pinpage needs nothing. */
		if (ret) {
			EXPECT_EQ(-ENOMEM, ret);
			EXPECT_EQ(0, dev_unpin(self->fd, id));
		}
	}
	EXPECT_FALSE(failed);
	return 0;
}

TEST_F_TIMEOUT(badinput, no_memory_to_pin, TEST_SECONDS)
{
	int i, nth = open_fail_nth();

	if (nth < 0)
		SKIP(return, "no fault injection");
	for (i = 0; i < (int)ARRAY_SIZE(nomem_kinds); i++)
		EXPECT_LT(0, nomem_pin(_metadata, self, nth, nomem_kinds[i]));
	close(nth);
	EXPECT_EQ(self->balance, pin_balance());
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
}

TEST_F_TIMEOUT(badinput, no_memory_to_move, TEST_SECONDS)
{
	int i, nth = open_fail_nth();

	if (nth < 0 || !have_two_nodes())
		SKIP(return, "no fault injection, or one node");
	ASSERT_EQ(NR, move_to(0, self->at, NR, 0));
	for (i = 0; i < (int)ARRAY_SIZE(nomem_kinds); i++)
		if (nomem_kinds[i] != TEST_PINPAGE_KERNEL)
			EXPECT_LT(0, nomem_move(_metadata, self, nth, nomem_kinds[i]));
	close(nth);
}

TEST_F_TIMEOUT(badinput, no_memory_to_unpin, TEST_SECONDS)
{
	int i, nth = open_fail_nth();

	if (nth < 0)
		SKIP(return, "no fault injection");
	for (i = 0; i < (int)ARRAY_SIZE(nomem_kinds); i++)
		nomem_unpin(_metadata, self, nth, nomem_kinds[i]);
	close(nth);
	EXPECT_EQ(self->balance, pin_balance());
}

TEST_HARNESS_MAIN
