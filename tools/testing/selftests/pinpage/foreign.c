// SPDX-License-Identifier: GPL-2.0
/*
 * Who keeps a registered page where it is: references that are nobody's to ask,
 * sets that must not move, and those who never ask: reclaim, KSM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mm/gup_test.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	16

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

FIXTURE(foreign) {
	int fd;
	char *at;
	int id;
};

FIXTURE_SETUP(foreign)
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
	self->id = dev_pin_range(self->fd, TEST_PINPAGE_USER, self->at, NR,
				 TEST_PINPAGE_WRITE, 0);
	ASSERT_GT(self->id, 0);
}

FIXTURE_TEARDOWN(foreign)
{
	struct test_pinpage_counters count = dev_count(self->fd, self->id);

	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_check(self->fd, self->id, NR, SEED_USER));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	EXPECT_EQ(0, dev_unpin(self->fd, self->id));
	munmap(self->at, NR * PAGE);
	close(self->fd);
}

/* Page 3 has a reference of a stranger: it stays, its neighbours move. */
static void expect_one_stays(struct __test_metadata *_metadata, struct _test_data_foreign *self)
{
	uint64_t foreign = read_event("pinpage_foreign");
	uint64_t pfn = user_pfn(self->at + 3 * PAGE);

	EXPECT_EQ(NR - 1, move_to(0, self->at, NR, 1));
	EXPECT_EQ(pfn, user_pfn(self->at + 3 * PAGE));
	EXPECT_EQ(pfn, dev_pfn(self->fd, self->id, 3));
	EXPECT_LT(foreign, read_event("pinpage_foreign"));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	EXPECT_EQ(0, dev_check(self->fd, self->id, NR, SEED_USER));
}

static void expect_all_move(struct __test_metadata *_metadata, struct _test_data_foreign *self)
{
	EXPECT_EQ(NR, move_to(0, self->at, NR, 1));
	EXPECT_EQ(NR, move_to(0, self->at, NR, 0));
}

static void stranger(struct __test_metadata *_metadata, struct _test_data_foreign *self,
		     int kind)
{
	int id = dev_pin_range(self->fd, kind, self->at + 3 * PAGE, 1, 0, 0);

	ASSERT_GT(id, 0);
	expect_one_stays(_metadata, self);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	expect_all_move(_metadata, self);
}

TEST_F_TIMEOUT(foreign, plain_pin, TEST_SECONDS)
{
	stranger(_metadata, self, TEST_PINPAGE_PLAIN);
}

TEST_F_TIMEOUT(foreign, longterm_pin, TEST_SECONDS)
{
	stranger(_metadata, self, TEST_PINPAGE_LONGTERM);
}

TEST_F_TIMEOUT(foreign, reference, TEST_SECONDS)
{
	stranger(_metadata, self, TEST_PINPAGE_REF);
}

TEST_F_TIMEOUT(foreign, vmsplice, TEST_SECONDS)
{
	struct iovec iov = { .iov_base = self->at + 3 * PAGE, .iov_len = PAGE };
	static char drain[4096];
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ((ssize_t)PAGE, vmsplice(fds[1], &iov, 1, 0));
	expect_one_stays(_metadata, self);
	ASSERT_EQ((ssize_t)PAGE, read(fds[0], drain, PAGE));
	EXPECT_EQ(0, test_pinpage_compare((__u64 *)drain, 0, PAGE / 8, SEED_USER, 3));
	expect_all_move(_metadata, self);
	close(fds[0]);
	close(fds[1]);
}

TEST_F_TIMEOUT(foreign, gup_test, TEST_SECONDS)
{
	struct pin_longterm_test args = {
		.addr = (uintptr_t)self->at + 3 * PAGE,
		.size = PAGE,
		.flags = PIN_LONGTERM_TEST_FLAG_USE_WRITE | PIN_LONGTERM_TEST_FLAG_USE_FAST,
	};
	int gup = open("/sys/kernel/debug/gup_test", O_RDWR);

	if (gup < 0)
		SKIP(return, "no gup_test in debugfs");
	ASSERT_EQ(0, ioctl(gup, PIN_LONGTERM_TEST_START, &args));
	expect_one_stays(_metadata, self);
	ASSERT_EQ(0, ioctl(gup, PIN_LONGTERM_TEST_STOP));
	expect_all_move(_metadata, self);
	close(gup);
}

/* A stranger that comes while the owners pause is seen as well. */
struct racer {
	int fd;
	char *at;
	int done;
};

static void *pin_and_unpin(void *arg)
{
	struct racer *r = arg;
	int id;

	while (!__atomic_load_n(&r->done, __ATOMIC_ACQUIRE)) {
		id = dev_pin_range(r->fd, TEST_PINPAGE_PLAIN, r->at, NR, 0, 0);
		if (id > 0)
			dev_unpin(r->fd, id);
	}
	return NULL;
}

TEST_F_TIMEOUT(foreign, racing_pins, TEST_SECONDS)
{
	struct racer r = { .fd = self->fd, .at = self->at };
	pthread_t thread;
	int round, id, i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, pin_and_unpin, &r));
	for (round = 0; round < rounds(100); round++) {
		move_to(0, self->at, NR, round % 2);
		/* A plain pin means: here it stays, for as long as we hold it. */
		id = dev_pin_range(self->fd, TEST_PINPAGE_PLAIN, self->at, NR, 0, 0);
		ASSERT_GT(id, 0);
		for (i = 0; i < NR; i++)
			ASSERT_EQ(user_pfn(self->at + i * PAGE), dev_pfn(self->fd, id, i));
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
		EXPECT_EQ(0, dev_check(self->fd, self->id, NR, SEED_USER));
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
	__atomic_store_n(&r.done, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	expect_all_move(_metadata, self);
}

/* Without pinpage, and with a set that must not move. */
TEST_F_TIMEOUT(foreign, unregistered_stays, TEST_SECONDS)
{
	uint64_t asked = read_event("pinpage_asked");
	char *at = map_anon(NR);
	int id;

	ASSERT_NE(NULL, at);
	user_fill(at, NR, SEED_USER);
	id = dev_pin_range(self->fd, TEST_PINPAGE_PLAIN, at, NR, TEST_PINPAGE_WRITE, 0);
	ASSERT_GT(id, 0);
	EXPECT_FALSE(dev_place(self->fd, id, 0).flags & TEST_PINPAGE_FLAGGED);
	EXPECT_EQ(0, move_away(at, NR));
	EXPECT_EQ(asked, read_event("pinpage_asked"));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	EXPECT_EQ(NR, move_away(at, NR));
	munmap(at, NR * PAGE);
}

TEST_F_TIMEOUT(foreign, unmovable_stays, TEST_SECONDS)
{
	int kinds[] = { TEST_PINPAGE_USER, TEST_PINPAGE_SET };
	struct test_pinpage_counters count;
	int id, i;

	for (i = 0; i < 2; i++) {
		id = dev_pin_range(self->fd, kinds[i], self->at + 3 * PAGE, 1,
				   TEST_PINPAGE_UNMOVABLE, 1);
		ASSERT_GT(id, 0);
		/* It shares a page with a set that can move: not now. */
		EXPECT_EQ(NR - 1, move_to(0, self->at, NR, 1));
		count = dev_count(self->fd, id);
		EXPECT_EQ(0, count.prepares);
		EXPECT_EQ(0, dev_order(self->fd, id));
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		expect_all_move(_metadata, self);
	}
}

/* A swap file, where a disk can have one. */
static int make_swap(char *path, size_t len)
{
	static const char * const dirs[] = { "/mnt", "/var/tmp", "." };
	static char header[4096];
	static const char zeroes[65536];
	unsigned int *info = (unsigned int *)(header + 1024);
	unsigned int i, j;
	int fd;

	info[0] = 1;		/* version */
	info[1] = 4095;		/* last page */
	memcpy(header + 4096 - 10, "SWAPSPACE2", 10);
	for (i = 0; i < 3; i++) {
		snprintf(path, len, "%s/pinpage.swap", dirs[i]);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		if (fd < 0)
			continue;
		for (j = 0; j < 256; j++)
			if (write(fd, zeroes, sizeof(zeroes)) < 0)
				break;
		if (pwrite(fd, header, sizeof(header), 0) == sizeof(header) &&
		    !fsync(fd) && !close(fd) && !swapon(path, 0))
			return 0;
		unlink(path);
	}
	return -1;
}

TEST_F_TIMEOUT(foreign, pageout, TEST_SECONDS)
{
	struct test_pinpage_counters before = dev_count(self->fd, self->id), count;
	char *other, path[64];
	uint64_t pfns[NR];
	int i, out = 0;

	if (make_swap(path, sizeof(path)))
		SKIP(return, "no swap");
	other = map_anon(NR);
	ASSERT_NE(NULL, other);
	user_fill(other, NR, SEED_USER);
	for (i = 0; i < NR; i++)
		pfns[i] = user_pfn(self->at + i * PAGE);
	EXPECT_EQ(0, madvise(self->at, NR * PAGE, MADV_PAGEOUT));
	EXPECT_EQ(0, madvise(other, NR * PAGE, MADV_PAGEOUT));
	for (i = 0; i < NR; i++) {
		out += !user_pfn(other + i * PAGE);
		EXPECT_EQ(pfns[i], dev_pfn(self->fd, self->id, i));
	}
	EXPECT_LT(0, out);
	/* Reclaim asks nobody. */
	count = dev_count(self->fd, self->id);
	EXPECT_EQ(before.prepares, count.prepares);
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	for (i = 0; i < NR; i++)
		EXPECT_EQ(pfns[i], user_pfn(self->at + i * PAGE));
	/* In the swap cache or not, they move. */
	expect_all_move(_metadata, self);
	EXPECT_EQ(0, user_check(other, NR, SEED_USER));
	munmap(other, NR * PAGE);
	EXPECT_EQ(0, swapoff(path));
	unlink(path);
}

#define KSM	"/sys/kernel/mm/ksm/"

TEST_F_TIMEOUT(foreign, ksm, TEST_SECONDS)
{
	uint64_t end, pfns[2];
	char *at;
	int id;

	if (access(KSM "run", W_OK))
		SKIP(return, "no KSM");
	/* Pages 0 and 1 are alike, and registered; 2 and 3 are alike, and merge. */
	at = map_anon(4);
	ASSERT_NE(NULL, at);
	memset(at, 0x5a, 2 * PAGE);
	memset(at + 2 * PAGE, 0xa5, 2 * PAGE);
	id = dev_pin_range(self->fd, TEST_PINPAGE_USER, at, 2, TEST_PINPAGE_WRITE, 0);
	ASSERT_GT(id, 0);
	pfns[0] = user_pfn(at);
	pfns[1] = user_pfn(at + PAGE);
	ASSERT_EQ(0, madvise(at, 4 * PAGE, MADV_MERGEABLE));
	write_text(KSM "pages_to_scan", "1000");
	write_text(KSM "sleep_millisecs", "1");
	ASSERT_EQ(0, write_text(KSM "run", "1"));
	for (end = now_ms() + 60000; now_ms() < end; sleep_ms(10))
		if (user_pfn(at + 2 * PAGE) == user_pfn(at + 3 * PAGE))
			break;
	EXPECT_EQ(user_pfn(at + 2 * PAGE), user_pfn(at + 3 * PAGE));
	/* It has had its chance. */
	sleep_ms(500);
	EXPECT_EQ(pfns[0], user_pfn(at));
	EXPECT_EQ(pfns[1], user_pfn(at + PAGE));
	EXPECT_EQ(0, dev_count(self->fd, id).prepares);
	EXPECT_EQ(0, write_text(KSM "run", "2"));
	EXPECT_EQ(2, move_to(0, at, 2, !node_of(at)));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	munmap(at, 4 * PAGE);
}

TEST_HARNESS_MAIN
