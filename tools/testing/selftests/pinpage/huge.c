// SPDX-License-Identifier: GPL-2.0
/*
 * Large folios that are pinned as a whole, in part, and by several owners with
 * different parts: they move in one piece, with all their pins.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define HUGE_PAGES	512			/* 2 MiB */
#define HUGE_BYTES	(HUGE_PAGES * PAGE)
#define NR		(2 * HUGE_PAGES)

/* include/uapi/linux/kernel-page-flags.h */
#define KPF_COMPOUND_HEAD	15
#define KPF_COMPOUND_TAIL	16

#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define NODES		"/sys/devices/system/node/"

enum memory { ANON_THP, ANON_MTHP, SHMEM_THP, HUGETLB, HUGETLB_SHARED };

FIXTURE(huge) {
	int fd;
	int memfd;
	char *at;
	size_t folio;			/* pages in one */
	int64_t balance;
};

FIXTURE_VARIANT(huge) {
	enum memory memory;
};

FIXTURE_VARIANT_ADD(huge, thp) { .memory = ANON_THP };
FIXTURE_VARIANT_ADD(huge, mthp) { .memory = ANON_MTHP };
FIXTURE_VARIANT_ADD(huge, shmem) { .memory = SHMEM_THP };
FIXTURE_VARIANT_ADD(huge, hugetlb) { .memory = HUGETLB };
FIXTURE_VARIANT_ADD(huge, hugetlb_shared) { .memory = HUGETLB_SHARED };

/* Room on both nodes for what is mapped, and for where it moves. */
static bool make_hugetlb(void)
{
	int node, tries, left;
	char path[128];

	for (node = 0; node < 2; node++) {
		snprintf(path, sizeof(path),
			 NODES "node%d/hugepages/hugepages-2048kB/nr_hugepages", node);
		for (tries = 5, left = 1; left && tries; tries--) {
			if (write_text(path, "4"))
				return false;
			left = read_number(path) != 4;
		}
		if (left)
			return false;
	}
	return true;
}

static void drop_hugetlb(void)
{
	write_text(NODES "node0/hugepages/hugepages-2048kB/nr_hugepages", "0");
	write_text(NODES "node1/hugepages/hugepages-2048kB/nr_hugepages", "0");
}

/* Aligned to what a huge page needs. */
static char *map_aligned(int flags, int fd)
{
	char *at = mmap(NULL, (NR + HUGE_PAGES) * PAGE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	at = (char *)(((uintptr_t)at + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	at = mmap(at, NR * PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

static char *map_memory(enum memory memory, int *memfd)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *at;

	*memfd = -1;
	if (memory == HUGETLB)
		flags |= MAP_HUGETLB;
	if (memory == SHMEM_THP || memory == HUGETLB_SHARED) {
		*memfd = memfd_create("huge", memory == HUGETLB_SHARED ? MFD_HUGETLB : 0);
		if (*memfd < 0 || ftruncate(*memfd, NR * PAGE))
			return NULL;
		flags = MAP_SHARED;
	}
	at = map_aligned(flags, *memfd);
	if (at)
		madvise(at, NR * PAGE, MADV_HUGEPAGE);
	return at;
}

/* Pages in the folio of a page of ours, by where its compound page ends. */
static size_t folio_pages(char *at)
{
	uint64_t pfn = user_pfn(at);
	size_t nr = 1;

	if (!pfn || !page_flag(pfn, KPF_COMPOUND_HEAD))
		return 1;
	while (nr < NR && page_flag(pfn + nr, KPF_COMPOUND_TAIL) &&
	       user_pfn(at + nr * PAGE) == pfn + nr)
		nr++;
	return nr;
}

/*
 * How many are on @node afterwards? A folio is split where there is none to be had
 * for all of it, and shmem is not mapped then before it is read.
 */
static size_t move_all(struct _test_data_huge *self, int node)
{
	size_t i, there = move_to(0, self->at, NR, node);

	if (there == NR || madvise(self->at, NR * PAGE, MADV_POPULATE_READ))
		return there;
	for (i = there = 0; i < NR; i++)
		there += node_of(self->at + i * PAGE) == node;
	return there;
}

FIXTURE_SETUP(huge)
{
	char why[128];
	int tries;

	self->memfd = -1;
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	write_text(THP "shmem_enabled", "advise");
	write_text(THP "hugepages-64kB/enabled",
		   variant->memory == ANON_MTHP ? "madvise" : "never");
	write_text(THP "hugepages-2048kB/enabled",
		   variant->memory == ANON_MTHP ? "never" : "inherit");
	if (variant->memory >= HUGETLB && !make_hugetlb())
		SKIP(return, "no memory for hugetlb");
	self->balance = pin_balance();
	self->at = map_memory(variant->memory, &self->memfd);
	ASSERT_NE(NULL, self->at);
	ASSERT_EQ(0, prefer_node(0));
	user_fill(self->at, NR, SEED_USER);
	ASSERT_EQ(0, prefer_node(-1));
	/* Nobody has pinned it yet, but whoever looks at it may delay it. */
	for (tries = 50; move_all(self, 0) < NR && --tries; )
		sleep_ms(20);
	ASSERT_GT(tries, 0);
	self->folio = folio_pages(self->at);
	if (self->folio < 16)
		SKIP(return, "folios of %zu pages", self->folio);
}

FIXTURE_TEARDOWN(huge)
{
	if (self->at) {
		EXPECT_FALSE(page_flag(user_pfn(self->at), KPF_PINPAGE));
		munmap(self->at, NR * PAGE);
	}
	if (self->memfd >= 0)
		close(self->memfd);
	close(self->fd);
	if (variant->memory >= HUGETLB)
		drop_hugetlb();
	EXPECT_EQ(self->balance, pin_balance());
}

static int pin_part(struct _test_data_huge *self, int kind, size_t first, size_t pages,
		    int system)
{
	return dev_pin_range(self->fd, kind, self->at + first * PAGE, pages,
			     TEST_PINPAGE_WRITE, system);
}

/* What the device reads of a part is what the process wrote there. */
static int64_t check_part(struct _test_data_huge *self, int id, size_t first, size_t pages,
			  uint64_t seed)
{
	__u64 page[PAGE / 8];
	int64_t bad = 0;
	size_t i;

	for (i = 0; i < pages; i++) {
		if (dev_access(self->fd, id, page, i * PAGE, PAGE, false, 0))
			return -1;
		bad += test_pinpage_compare(page, 0, PAGE / 8, seed, first + i);
	}
	return bad;
}

static void expect_part(struct __test_metadata *_metadata, struct _test_data_huge *self,
			int id, size_t first, size_t pages)
{
	struct test_pinpage_counters count = dev_count(self->fd, id);
	size_t i;

	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, check_part(self, id, first, pages, SEED_USER));
	for (i = 0; i < pages; i += pages > 1 ? pages - 1 : 1)
		EXPECT_EQ(user_pfn(self->at + (first + i) * PAGE), dev_pfn(self->fd, id, i));
}

/*
 * There and back; in one piece, if the first folio is pinned. Others may be split
 * where memory is scarce.
 */
static void expect_moves(struct __test_metadata *_metadata, struct _test_data_huge *self,
			 bool pinned)
{
	uint64_t pfn = user_pfn(self->at);
	int node;

	for (node = 1; node >= 0; node--) {
		EXPECT_EQ(NR, move_all(self, node));
		EXPECT_NE(pfn, user_pfn(self->at));
		pfn = user_pfn(self->at);
		if (pinned)
			EXPECT_EQ(self->folio, folio_pages(self->at));
		EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
	}
}

/* move_pages() stops at the first folio that stays: one at a time. */
static void expect_one_stays(struct __test_metadata *_metadata, struct _test_data_huge *self)
{
	uint64_t pfn = user_pfn(self->at);
	size_t i;

	for (i = 0; i < NR; i += self->folio)
		EXPECT_EQ(i > 0, move_to(0, self->at + i * PAGE, 1, 1));
	EXPECT_EQ(pfn, user_pfn(self->at));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_USER));
}

TEST_F_TIMEOUT(huge, whole, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	int id = pin_part(self, TEST_PINPAGE_USER, 0, NR, 0);

	ASSERT_GT(id, 0);
	expect_moves(_metadata, self, true);
	expect_part(_metadata, self, id, 0, NR);
	count = dev_count(self->fd, id);
	EXPECT_EQ(2 * NR, count.moved);
	/* A folio is one item, not as many as it has pages. */
	EXPECT_GE(2 * NR / self->folio, count.items);
	ASSERT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* A device that maps huge pages gives way with all of one, or not at all. */
TEST_F_TIMEOUT(huge, huge_entries, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	bool whole = self->folio >= HUGE_PAGES;
	int id = dev_pin_range(self->fd, TEST_PINPAGE_USER, self->at, NR,
			       TEST_PINPAGE_WRITE | TEST_PINPAGE_HUGE, 0);

	EXPECT_EQ(-EINVAL, dev_pin_range(self->fd, TEST_PINPAGE_USER, self->at,
					 HUGE_PAGES + 1, TEST_PINPAGE_HUGE, 0));
	if (!whole) {
		EXPECT_EQ(-EINVAL, id);
		return;
	}
	ASSERT_GT(id, 0);
	expect_moves(_metadata, self, true);
	expect_part(_metadata, self, id, 0, NR);
	count = dev_count(self->fd, id);
	EXPECT_EQ(2 * NR, count.moved);
	ASSERT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
	EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
	EXPECT_EQ(0, dev_order(self->fd, id));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* A page here, some there, across the border of two folios. */
TEST_F_TIMEOUT(huge, parts, TEST_SECONDS)
{
	static const size_t parts[][2] = {
		{ 0, 1 }, { 3, 7 }, { 5, 10 }, { 15, 1 }, { HUGE_PAGES - 4, 8 },
		{ HUGE_PAGES + 100, 300 },
	};
	static const int kinds[] = { TEST_PINPAGE_USER, TEST_PINPAGE_SET };
	int id[ARRAY_SIZE(parts)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		id[i] = pin_part(self, kinds[i % 2], parts[i][0], parts[i][1], i % 4);
		ASSERT_GT(id[i], 0);
	}
	expect_moves(_metadata, self, true);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		expect_part(_metadata, self, id[i], parts[i][0], parts[i][1]);
		EXPECT_EQ(2 * parts[i][1], dev_count(self->fd, id[i]).moved);
	}
	/* One by one they leave, and the others stay what they are. */
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		EXPECT_EQ(0, dev_unpin(self->fd, id[i]));
		expect_moves(_metadata, self, i < 3);
	}
}

/* Each of those who hold a part can keep the whole where it is. */
TEST_F_TIMEOUT(huge, refused, TEST_SECONDS)
{
	int whole = pin_part(self, TEST_PINPAGE_USER, 0, NR, 0);
	int part = pin_part(self, TEST_PINPAGE_USER, 7, 2, 1);

	ASSERT_GT(whole, 0);
	ASSERT_GT(part, 0);
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
		.id = part, .refusals = 1000000, .refusal = -EBUSY }));
	expect_one_stays(_metadata, self);
	expect_part(_metadata, self, whole, 0, NR);
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){ .id = part }));
	expect_moves(_metadata, self, true);
	expect_part(_metadata, self, part, 7, 2);
	EXPECT_EQ(0, dev_unpin(self->fd, part));
	EXPECT_EQ(0, dev_unpin(self->fd, whole));
}

/* A stranger's pin of one page keeps the whole where it is. */
TEST_F_TIMEOUT(huge, foreign, TEST_SECONDS)
{
	int whole = pin_part(self, TEST_PINPAGE_USER, 0, NR, 0);
	int plain = pin_part(self, TEST_PINPAGE_PLAIN, 9, 1, 0);

	ASSERT_GT(whole, 0);
	ASSERT_GT(plain, 0);
	expect_one_stays(_metadata, self);
	EXPECT_EQ(0, dev_unpin(self->fd, plain));
	expect_moves(_metadata, self, true);
	expect_part(_metadata, self, whole, 0, NR);
	EXPECT_EQ(0, dev_unpin(self->fd, whole));
}

/* memfd_pin_folios() holds a folio once, not each of its pages. */
TEST_F_TIMEOUT(huge, memfd, TEST_SECONDS)
{
	struct test_pinpage_pin pin = {
		.kind = TEST_PINPAGE_MEMFD, .fd = self->memfd, .flags = TEST_PINPAGE_WRITE,
		.addr = 5 * PAGE, .len = (NR - 10) * PAGE,
	};
	int id, more;

	if (self->memfd < 0)
		SKIP(return, "not a memfd");
	id = dev_pin(self->fd, pin);
	ASSERT_GT(id, 0);
	more = pin_part(self, TEST_PINPAGE_USER, 0, NR, 1);
	ASSERT_GT(more, 0);
	expect_moves(_metadata, self, true);
	expect_part(_metadata, self, id, 5, NR - 10);
	expect_part(_metadata, self, more, 0, NR);
	EXPECT_EQ(0, dev_unpin(self->fd, more));
	expect_moves(_metadata, self, true);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* What the child sees is what was there; what is written later is not for it. */
static int fork_child(struct _test_data_huge *self, bool shared, int go)
{
	char byte;

	if (read(go, &byte, 1) != 1)
		return 2;
	return !!user_check(self->at, NR, shared ? SEED_DEVICE : SEED_USER);
}

static void fork_round(struct __test_metadata *_metadata, struct _test_data_huge *self,
		       enum memory memory, int id)
{
	bool shared = memory == SHMEM_THP || memory == HUGETLB_SHARED;
	int go[2], status;
	pid_t pid;

	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid)
		_exit(fork_child(self, shared, go[0]));
	/* The pool of hugetlb may have been in use for the move. */
	if (pid > 0 || memory != HUGETLB) {
		ASSERT_LT(0, pid);
		EXPECT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
		EXPECT_EQ(0, user_check(self->at, NR, SEED_DEVICE));
		ASSERT_EQ(1, write(go[1], "", 1));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		user_fill(self->at, NR, SEED_USER);
		EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	}
	close(go[0]);
	close(go[1]);
}

/* The migration entry of a pinned page, of whatever size, is never shared. */
TEST_F_TIMEOUT(huge, fork, TEST_SECONDS)
{
	int id = pin_part(self, TEST_PINPAGE_USER, 0, NR, 0);
	struct mover m;
	int round;

	ASSERT_GT(id, 0);
	/* A child needs as many huge pages as are pinned: 2 of 4 of a node. */
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	for (round = 0; round < rounds(30); round++)
		fork_round(_metadata, self, variant->memory, id);
	stop_mover(&m);
	EXPECT_LT(0, m.rounds);
	EXPECT_EQ(0, dev_count(self->fd, id).violations);
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/*
 * fork() splits what a PMD maps, if it is pinned, and the page table stays: each
 * round has a new mapping. Its first PMD is a migration entry from when the owner
 * is quiet until the page is copied; how long fork() takes to come there is to be
 * found out.
 */
TEST_F_TIMEOUT(huge, fork_whole, TEST_SECONDS)
{
	int round, id;
	struct mover m;

	if (variant->memory != ANON_THP)
		SKIP(return, "not mapped by a PMD, or not split");
	for (round = 0; round < rounds(30); round++) {
		ASSERT_EQ(0, munmap(self->at, NR * PAGE));
		self->at = map_memory(ANON_THP, &self->memfd);
		ASSERT_NE(NULL, self->at);
		user_fill(self->at, NR, SEED_USER);
		EXPECT_EQ(HUGE_PAGES, folio_pages(self->at));
		id = pin_part(self, TEST_PINPAGE_USER, 0, NR, 0);
		ASSERT_GT(id, 0);
		ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
			.id = id, .quiet_us = 1000 * (1 + round % 10) }));
		ASSERT_EQ(0, start_mover(&m, self->at, 1, 0));
		while (!dev_count(self->fd, id).open)
			sched_yield();
		fork_round(_metadata, self, variant->memory, id);
		stop_mover(&m);
		EXPECT_EQ(0, dev_count(self->fd, id).violations);
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
}

/* Unmapped, split by the page table, thrown away in part: the pins hold. */
TEST_F_TIMEOUT(huge, munmap, TEST_SECONDS)
{
	struct mover m;
	size_t cut = variant->memory >= HUGETLB ? HUGE_PAGES : 37;
	int id = pin_part(self, TEST_PINPAGE_USER, 0, NR, 0);

	ASSERT_GT(id, 0);
	ASSERT_EQ(0, start_mover(&m, self->at, NR, 0));
	sleep_ms(50);
	ASSERT_EQ(0, mprotect(self->at, cut * PAGE, PROT_READ));
	sleep_ms(50);
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	ASSERT_EQ(0, munmap(self->at, cut * PAGE));
	sleep_ms(50);
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	ASSERT_EQ(0, munmap(self->at, NR * PAGE));
	self->at = NULL;
	stop_mover(&m);
	EXPECT_EQ(0, dev_check(self->fd, id, NR, SEED_USER));
	EXPECT_EQ(0, dev_count(self->fd, id).violations);
	EXPECT_EQ(0, dev_order(self->fd, id));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
}

/* Where there is none of its order to be had, it stays, and nothing else does. */
TEST_F_TIMEOUT(huge, no_memory_for_one, TEST_SECONDS)
{
	int id, small_id, i;
	void *list[9];
	char *small;

	if (variant->memory >= HUGETLB)
		SKIP(return, "from a pool");
	if (!fail_order(0))
		SKIP(return, "no fault injection");
	id = pin_part(self, TEST_PINPAGE_USER, 0, NR, 0);
	ASSERT_GT(id, 0);
	small = map_anon(8);
	ASSERT_NE(NULL, small);
	user_fill(small, 8, SEED_USER);
	ASSERT_EQ(8, move_to(0, small, 8, 0));
	small_id = dev_pin_range(self->fd, TEST_PINPAGE_USER, small, 8, TEST_PINPAGE_WRITE, 1);
	ASSERT_GT(small_id, 0);
	list[0] = self->at;
	for (i = 0; i < 8; i++)
		list[1 + i] = small + i * PAGE;
	ASSERT_TRUE(fail_order(2));
	EXPECT_EQ(8, move_list(0, list, 9, 1));
	EXPECT_TRUE(fail_order(0));
	EXPECT_EQ(0, node_of(self->at));
	EXPECT_EQ(8, dev_count(self->fd, small_id).moved);
	EXPECT_EQ(0, dev_count(self->fd, id).moved);
	expect_moves(_metadata, self, true);
	EXPECT_EQ(0, dev_unpin(self->fd, small_id));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	munmap(small, 8 * PAGE);
}

/* Poisoning a page sends a signal that can not be ignored. */
static void note_poison(int sig)
{
}

#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif

/* Nobody reads what is broken, not even to copy it: its owner is not asked. */
TEST_F_TIMEOUT(huge, poisoned, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	uint64_t pfn;
	int id;

	if (variant->memory != ANON_THP)
		SKIP(return, "one kind will do");
	if (!can_unpoison())
		SKIP(return, "needs CONFIG_HWPOISON_INJECT, to heal the page");
	signal(SIGBUS, note_poison);
	id = pin_part(self, TEST_PINPAGE_USER, 0, HUGE_PAGES, 0);
	ASSERT_GT(id, 0);
	pfn = dev_pfn(self->fd, id, 0);
	if (madvise(self->at + 7 * PAGE, PAGE, MADV_HWPOISON) && errno == EINVAL) {
		EXPECT_EQ(0, dev_unpin(self->fd, id));
		SKIP(return, "needs CONFIG_MEMORY_FAILURE");
	}
	EXPECT_TRUE(page_flag(pfn + 7, KPF_HWPOISON));
	move_to(0, self->at, HUGE_PAGES, 1);
	count = dev_count(self->fd, id);
	EXPECT_EQ(0, count.prepares);
	EXPECT_EQ(pfn, dev_pfn(self->fd, id, 0));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	/* What is left of it is not to be read. */
	ASSERT_EQ(0, munmap(self->at, NR * PAGE));
	self->at = NULL;
	EXPECT_EQ(0, unpoison(pfn + 7));
	EXPECT_FALSE(page_flag(pfn + 7, KPF_HWPOISON));
}

/* Kernel-owned folios, which only CMA and memory offline want out of the way. */
FIXTURE(owned) {
	int fd, contig;
	struct cma cma;
	int ids[128], nr;
};

FIXTURE_VARIANT(owned) {
	int order;
	int system;
	int flags;
};

FIXTURE_VARIANT_ADD(owned, small) { .order = 1 };
FIXTURE_VARIANT_ADD(owned, large) { .order = 4, .flags = TEST_PINPAGE_MAPPING };
FIXTURE_VARIANT_ADD(owned, huge) { .order = 9 };
FIXTURE_VARIANT_ADD(owned, largest) { .order = 10 };
FIXTURE_VARIANT_ADD(owned, own_migrate) {
	.order = 6, .system = TEST_PINPAGE_SYSTEM_COPY, .flags = TEST_PINPAGE_MAPPING,
};

static int alloc_owned(int fd, int order, int system, int flags)
{
	struct test_pinpage_pin pin = {
		.kind = TEST_PINPAGE_KERNEL, .len = NR * PAGE, .order = order,
		.system = system, .flags = flags,
	};

	return dev_pin(fd, pin);
}

static size_t owned_inside(struct _test_data_owned *self, int id)
{
	size_t i, inside = 0;

	for (i = 0; i < NR; i++)
		inside += in_cma(&self->cma, dev_pfn(self->fd, id, i));
	return inside;
}

FIXTURE_SETUP(owned)
{
	char why[128];
	int id;

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->contig = contig_open();
	if (self->contig < 0)
		SKIP(return, "needs CONFIG_CMA_TEST");
	if (!find_cma(&self->cma))
		SKIP(return, "no CMA area in debugfs");
	do {
		prefer_node(self->nr % 2);
		id = alloc_owned(self->fd, variant->order, variant->system, variant->flags);
		if (id < 0)
			break;
		self->ids[self->nr++] = id;
	} while (self->nr < 128 && !owned_inside(self, id));
	prefer_node(-1);
	if (!self->nr || !owned_inside(self, self->ids[self->nr - 1]))
		SKIP(return, "no page in CMA");
	while (self->nr > 1)
		EXPECT_EQ(0, dev_unpin(self->fd, self->ids[--self->nr - 1]));
	self->ids[0] = id;
	ASSERT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
}

FIXTURE_TEARDOWN(owned)
{
	close(self->contig);
	while (self->nr)
		EXPECT_EQ(0, dev_unpin(self->fd, self->ids[--self->nr]));
	close(self->fd);
}

/*
 * Take the very pages: what else is around may be kept where it is for a while,
 * by a journal of the disk for one.
 */
static int take_them(struct _test_data_owned *self, int id)
{
	int ret = 0, tries = 50;
	size_t i, run;
	uint64_t pfn;

	for (i = 0; i < NR && ret >= 0; i += run) {
		run = 1;
		pfn = dev_pfn(self->fd, id, i);
		if (!in_cma(&self->cma, pfn))
			continue;
		while (i + run < NR && dev_pfn(self->fd, id, i + run) == pfn + run)
			run++;
		do {
			ret = contig_take(self->contig, pfn, run, true);
		} while (ret == -EBUSY && --tries);
	}
	return ret < 0 ? ret : 0;
}

static void expect_intact(struct __test_metadata *_metadata, struct _test_data_owned *self)
{
	size_t i;

	EXPECT_EQ(0, dev_check(self->fd, self->ids[0], NR, SEED_DEVICE));
	EXPECT_EQ(0, dev_order(self->fd, self->ids[0]));
	make_known(dev_pfn(self->fd, self->ids[0], 0));
	for (i = 0; i < NR; i++)
		ASSERT_EQ(TEST_PINPAGE_FLAGGED | TEST_PINPAGE_INTACT,
			  dev_place(self->fd, self->ids[0], i).flags);
}

/* Somebody wants one page only, in the middle of a folio: all of it has to go. */
TEST_F_TIMEOUT(owned, part, TEST_SECONDS)
{
	size_t folio = 1UL << variant->order, i;
	int tries = 50, ret;
	uint64_t pfn;

	for (i = 0; i < NR; i += folio)
		if (in_cma(&self->cma, dev_pfn(self->fd, self->ids[0], i)))
			break;
	ASSERT_GT(NR, i);
	pfn = dev_pfn(self->fd, self->ids[0], i);
	do {
		ret = contig_take(self->contig, pfn + folio / 2, 1, true);
	} while (ret == -EBUSY && --tries);
	EXPECT_LT(0, ret);
	EXPECT_NE(pfn, dev_pfn(self->fd, self->ids[0], i));
	expect_intact(_metadata, self);
}

TEST_F_TIMEOUT(owned, cma, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	int id = self->ids[0], second;
	struct test_pinpage_pin share = {
		.kind = TEST_PINPAGE_KERNEL, .flags = TEST_PINPAGE_FROM, .from = id,
		.addr = 3 * PAGE, .len = (NR - 6) * PAGE, .system = 1,
	};
	uint64_t before[NR];
	size_t i;

	second = dev_pin(self->fd, share);
	ASSERT_GT(second, 0);
	for (i = 0; i < NR; i++)
		before[i] = dev_pfn(self->fd, id, i);
	EXPECT_EQ(0, take_them(self, id));
	/* To elsewhere in the area, it may be. */
	for (i = 0; i < NR; i++)
		if (in_cma(&self->cma, before[i]))
			EXPECT_NE(before[i], dev_pfn(self->fd, id, i));
	expect_intact(_metadata, self);
	for (i = 0; i < NR - 6; i++)
		ASSERT_EQ(dev_pfn(self->fd, id, i + 3), dev_pfn(self->fd, second, i));
	count = dev_count(self->fd, second);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_LT(0, count.moved);
	EXPECT_EQ(0, dev_order(self->fd, second));
	EXPECT_EQ(0, dev_unpin(self->fd, second));
}

TEST_HARNESS_MAIN
