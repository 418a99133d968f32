// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of a driver's own, that no process has mapped and no LRU lists: they
 * move by compaction and for CMA, with their content and what the driver keeps
 * in struct page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NR	512
#define TAKE	2048
#define MAX_PAGES	8192

FIXTURE(kernel) {
	int fd;
	int id;
	struct cma cma;
	size_t taken;
	struct holes holes;
	uint64_t *pfns;
};

FIXTURE_VARIANT(kernel) {
	int system;
	int flags;
};

FIXTURE_VARIANT_ADD(kernel, copied) { .system = 0 };
FIXTURE_VARIANT_ADD(kernel, copied_mapping) { .flags = TEST_PINPAGE_MAPPING };
FIXTURE_VARIANT_ADD(kernel, own_migrate) { .system = TEST_PINPAGE_SYSTEM_COPY };
FIXTURE_VARIANT_ADD(kernel, own_migrate_mapping) {
	.system = TEST_PINPAGE_SYSTEM_COPY, .flags = TEST_PINPAGE_MAPPING,
};

static int alloc_pages(int fd, size_t pages, int system, int flags)
{
	return dev_pin_range(fd, TEST_PINPAGE_KERNEL, NULL, pages, flags, system);
}

/* Another owner of what @from has. */
static int share_pages(int fd, int kind, int from, size_t first, size_t pages, int system)
{
	struct test_pinpage_pin pin = {
		.kind = kind,
		.addr = first * PAGE,
		.len = pages * PAGE,
		.flags = TEST_PINPAGE_FROM,
		.system = system,
		.from = from,
	};

	return dev_pin(fd, pin);
}

FIXTURE_SETUP(kernel)
{
	char why[128];

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	find_cma(&self->cma);
	self->pfns = calloc(NR, sizeof(*self->pfns));
	ASSERT_NE(NULL, self->pfns);
	prefer_node(0);
	self->id = alloc_pages(self->fd, NR, variant->system, variant->flags);
	ASSERT_GT(self->id, 0);
	prefer_node(-1);
	ASSERT_EQ(0, dev_fill(self->fd, self->id, NR, SEED_DEVICE));
}

FIXTURE_TEARDOWN(kernel)
{
	struct test_pinpage_counters count;

	cma_give(&self->cma, self->taken);
	drop_holes(&self->holes);
	count = dev_count(self->fd, self->id);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_check(self->fd, self->id, NR, SEED_DEVICE));
	EXPECT_EQ(0, dev_unpin(self->fd, self->id));
	close(self->fd);
}

static struct test_pinpage_place places[NR];

static void remember(struct _test_data_kernel *self)
{
	size_t i;

	dev_places(self->fd, self->id, NR, places);
	for (i = 0; i < NR; i++)
		self->pfns[i] = places[i].pfn;
}

static size_t count_moved(struct _test_data_kernel *self)
{
	size_t i, moved = 0;

	dev_places(self->fd, self->id, NR, places);
	for (i = 0; i < NR; i++)
		moved += self->pfns[i] != places[i].pfn;
	return moved;
}

/* Content, fields, flag: all there. */
static void expect_intact(struct __test_metadata *_metadata, struct _test_data_kernel *self)
{
	struct test_pinpage_place place;
	size_t i;

	EXPECT_EQ(0, dev_check(self->fd, self->id, NR, SEED_DEVICE));
	EXPECT_EQ(0, dev_order(self->fd, self->id));
	make_known(dev_pfn(self->fd, self->id, 0));
	ASSERT_EQ(0, dev_places(self->fd, self->id, NR, places));
	for (i = 0; i < NR; i++) {
		place = places[i];
		ASSERT_EQ(TEST_PINPAGE_FLAGGED | TEST_PINPAGE_INTACT, place.flags)
			TH_LOG("page %zu, pfn %#llx, %u references, was at pfn %#llx", i,
			       (unsigned long long)place.pfn, place.refs,
			       (unsigned long long)self->pfns[i]);
		ASSERT_TRUE(page_flag(place.pfn, KPF_PINPAGE));
	}
}

static uint64_t lowest_pfn(int fd, int id)
{
	uint64_t lowest = ~0ULL;
	size_t i;

	dev_places(fd, id, NR, places);
	for (i = 0; i < NR; i++)
		lowest = places[i].pfn < lowest ? places[i].pfn : lowest;
	return lowest;
}

/* In place of the buffer, the lowest of many, with something else between them. */
static void find_lowest(struct __test_metadata *_metadata, struct _test_data_kernel *self,
			const struct _fixture_variant_kernel *variant)
{
	int id;

	while (add_filler(&self->holes)) {
		prefer_node(0);
		id = alloc_pages(self->fd, NR, variant->system, variant->flags);
		prefer_node(-1);
		ASSERT_GT(id, 0);
		ASSERT_EQ(0, dev_fill(self->fd, id, NR, SEED_DEVICE));
		if (lowest_pfn(self->fd, id) < lowest_pfn(self->fd, self->id)) {
			EXPECT_EQ(0, dev_unpin(self->fd, self->id));
			self->id = id;
		} else {
			EXPECT_EQ(0, dev_unpin(self->fd, id));
		}
	}
	ASSERT_EQ(MAX_FILLER, self->holes.nr);
}

/*
 * The buffer, and holes above it. Most of the time goes into moving what stands between
 * them, so there is more of it only where a little has all come to stand below.
 */
static void settle(struct __test_metadata *_metadata, struct _test_data_kernel *self,
		   const struct _fixture_variant_kernel *variant)
{
	size_t pages = debug_kernel() ? 1024 : 4096, holes = 0;

	for (; holes <= NR && pages <= MAX_PAGES; pages *= 2) {
		drop_holes(&self->holes);
		self->holes.pages = pages;
		find_lowest(_metadata, self, variant);
		holes = punch_holes(&self->holes, lowest_pfn(self->fd, self->id));
	}
	ASSERT_LT(NR, holes);
	remember(self);
}

/* The node where it all stands, or all of them. */
static int compact_once(void)
{
	return write_text("/sys/devices/system/node/node0/compact", "1") ?
	       write_text("/proc/sys/vm/compact_memory", "1") : 0;
}

/*
 * Compaction may have met itself below what shall move, and have used the holes
 * above it for others: then there have to be new ones.
 */
static void expect_moved(struct __test_metadata *_metadata, struct _test_data_kernel *self)
{
	int tries = 8;

	do {
		EXPECT_EQ(0, compact_once());
		if (count_moved(self))
			return;
		drop_holes(&self->holes);
		while (add_filler(&self->holes))
			;
		punch_holes(&self->holes, lowest_pfn(self->fd, self->id));
	} while (--tries);
	EXPECT_LT(0, count_moved(self));
}

TEST_F_TIMEOUT(kernel, compaction, TEST_SECONDS)
{
	struct test_pinpage_counters count;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction");
	settle(_metadata, self, variant);
	expect_moved(_metadata, self);
	expect_intact(_metadata, self);
	count = dev_count(self->fd, self->id);
	EXPECT_EQ(variant->system == TEST_PINPAGE_SYSTEM_COPY ? count.moved : 0,
		  count.migrates);
}

/* Nobody else than the owner has these pages, and he says no. */
static void expect_kept(struct __test_metadata *_metadata, struct _test_data_kernel *self,
			struct test_pinpage_policy policy)
{
	policy.id = self->id;
	ASSERT_EQ(0, dev_policy(self->fd, policy));
	EXPECT_EQ(0, compact_once());
	EXPECT_EQ(0, count_moved(self));
	expect_intact(_metadata, self);
}

TEST_F_TIMEOUT(kernel, refused, TEST_SECONDS)
{
	/* Of migrate(): for now, for this time, and nonsense. */
	static const int values[] = { -EAGAIN, -EBUSY, -ENOMEM, 5 };
	struct test_pinpage_policy yes = {};
	size_t i;

	settle(_metadata, self, variant);
	expect_kept(_metadata, self, (struct test_pinpage_policy){
		.refusals = 1000000, .refusal = -EBUSY });
	EXPECT_LT(0, dev_count(self->fd, self->id).refused);
	for (i = 0; variant->system && i < ARRAY_SIZE(values); i++) {
		expect_kept(_metadata, self, (struct test_pinpage_policy){
			.migrate_refusals = 1000000, .migrate_refusal = values[i] });
		EXPECT_EQ(0, dev_count(self->fd, self->id).migrates);
		EXPECT_LT(0, dev_count(self->fd, self->id).stayed);
	}
	yes.id = self->id;
	ASSERT_EQ(0, dev_policy(self->fd, yes));
	expect_moved(_metadata, self);
	expect_intact(_metadata, self);
}

/* One reference more than the owners have. */
TEST_F_TIMEOUT(kernel, foreign, TEST_SECONDS)
{
	int id;

	settle(_metadata, self, variant);
	id = share_pages(self->fd, TEST_PINPAGE_REF, self->id, 0, NR, 0);
	ASSERT_GT(id, 0);
	EXPECT_EQ(0, compact_once());
	EXPECT_EQ(0, count_moved(self));
	EXPECT_EQ(0, dev_unpin(self->fd, id));
	expect_moved(_metadata, self);
	expect_intact(_metadata, self);
}

/* Two owners: of all pages, and of some. */
TEST_F_TIMEOUT(kernel, nested, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	int all, some;
	size_t i;

	settle(_metadata, self, variant);
	all = share_pages(self->fd, TEST_PINPAGE_KERNEL, self->id, 0, NR, 1);
	ASSERT_GT(all, 0);
	some = share_pages(self->fd, TEST_PINPAGE_KERNEL, all, 10, 20, 2);
	ASSERT_GT(some, 0);
	/* He refuses, so what he shares stays. */
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
		.id = some, .refusals = 1000000, .refusal = -EBUSY }));
	expect_moved(_metadata, self);
	for (i = 10; i < 30; i++)
		EXPECT_EQ(self->pfns[i], dev_pfn(self->fd, self->id, i));
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){ .id = some }));
	EXPECT_EQ(0, compact_once());
	for (i = 0; i < NR; i++)
		ASSERT_EQ(dev_pfn(self->fd, self->id, i), dev_pfn(self->fd, all, i));
	for (i = 10; i < 30; i++)
		EXPECT_EQ(dev_pfn(self->fd, self->id, i), dev_pfn(self->fd, some, i - 10));
	EXPECT_EQ(0, dev_check(self->fd, all, NR, SEED_DEVICE));
	expect_intact(_metadata, self);
	count = dev_count(self->fd, some);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_unpin(self->fd, some));
	count = dev_count(self->fd, all);
	EXPECT_TRUE(account_balanced(&count));
	EXPECT_EQ(0, dev_unpin(self->fd, all));
}

static size_t count_inside(struct _test_data_kernel *self, int id)
{
	size_t i, inside = 0;

	dev_places(self->fd, id, NR, places);
	for (i = 0; i < NR; i++)
		inside += in_cma(&self->cma, places[i].pfn);
	return inside;
}

/*
 * Allocate until a buffer has pages of CMA, then take from the area, from its
 * beginning, until they have had to move.
 */
TEST_F_TIMEOUT(kernel, cma, TEST_SECONDS)
{
	int ids[128], nr;

	if (!self->cma.count)
		SKIP(return, "no CMA area in debugfs");
	ids[0] = self->id;
	for (nr = 1; nr < 128 && !count_inside(self, self->id); nr++) {
		prefer_node(nr % 2);
		self->id = alloc_pages(self->fd, NR, variant->system, variant->flags);
		ASSERT_GT(self->id, 0);
		ASSERT_EQ(0, dev_fill(self->fd, self->id, NR, SEED_DEVICE));
		ids[nr] = self->id;
	}
	prefer_node(-1);
	if (!count_inside(self, self->id))
		SKIP(return, "no page in CMA");
	while (--nr)
		EXPECT_EQ(0, dev_unpin(self->fd, ids[nr - 1]));
	remember(self);
	while (!count_moved(self) && !cma_take_patiently(&self->cma, TAKE))
		self->taken += TAKE;
	EXPECT_LT(0, self->taken);
	EXPECT_LT(0, count_moved(self));
	expect_intact(_metadata, self);
}

struct taker {
	int contig, ret;
	uint64_t pfn;
};

static void *take_cluster(void *arg)
{
	struct taker *t = arg;

	t->ret = contig_take(t->contig, t->pfn, 32, true);
	return NULL;
}

struct release {
	int fd, id;
	bool early, over;
};

/* After ten seconds, or as soon as nobody has been kept waiting. */
static void *release_later(void *arg)
{
	struct release *r = arg;
	int tries = 100;

	while (tries-- && !__atomic_load_n(&r->early, __ATOMIC_ACQUIRE))
		sleep_ms(100);
	__atomic_store_n(&r->over, true, __ATOMIC_RELEASE);
	dev_unpin(r->fd, r->id);
	return NULL;
}

/*
 * A mover has taken pages of the buffer, and waits for a page that is somebody else's
 * and under writeback. Letting the buffer go does not.
 */
TEST_F_TIMEOUT(kernel, clear_beside_writeback, TEST_SECONDS)
{
	struct release release = { .fd = self->fd };
	struct taker taker = { .contig = contig_open() };
	pthread_t taking, releasing;
	int ids[128], nr = 0, memfd = make_memfd(1);
	char *file;

	if (taker.contig < 0 || !self->cma.count)
		SKIP(return, "needs CONFIG_CMA_TEST, and an area in debugfs");
	ASSERT_LE(0, memfd);
	file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	ASSERT_NE(MAP_FAILED, file);
	file[0] = 1;
	do {
		prefer_node(nr % 2);
		ids[nr] = alloc_pages(self->fd, 32, variant->system, variant->flags);
		ASSERT_GT(ids[nr], 0);
		taker.pfn = dev_pfn(self->fd, ids[nr++], 8);
	} while (nr < 128 && !in_cma(&self->cma, taker.pfn));
	prefer_node(-1);
	if (!in_cma(&self->cma, taker.pfn))
		SKIP(return, "no page in CMA");
	/* What is at the place goes elsewhere. */
	ASSERT_EQ(0, contig_place(taker.contig, file, taker.pfn ^ 1));
	taker.pfn &= ~31ULL;
	release.id = dev_pin_range(self->fd, TEST_PINPAGE_WRITEBACK, file, 1, 0, 0);
	ASSERT_GT(release.id, 0);
	ASSERT_EQ(0, pthread_create(&taking, NULL, take_cluster, &taker));
	sleep_ms(1000);
	ASSERT_EQ(0, pthread_create(&releasing, NULL, release_later, &release));
	while (nr)
		EXPECT_EQ(0, dev_unpin(self->fd, ids[--nr]));
	EXPECT_FALSE(__atomic_load_n(&release.over, __ATOMIC_ACQUIRE));
	__atomic_store_n(&release.early, true, __ATOMIC_RELEASE);
	pthread_join(releasing, NULL);
	pthread_join(taking, NULL);
	munmap(file, PAGE);
	close(memfd);
	close(taker.contig);
	remember(self);
	expect_intact(_metadata, self);
}

/* Allocate and free while compaction goes round. */
static void *keep_compacting(void *stop)
{
	while (!__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE))
		compact_once();
	return NULL;
}

TEST_F_TIMEOUT(kernel, free_while_moving, TEST_SECONDS)
{
	struct test_pinpage_counters count;
	bool stop = false;
	pthread_t thread;
	int round, id;

	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_compacting, &stop));
	for (round = 0; round < rounds(200); round++) {
		id = alloc_pages(self->fd, NR, variant->system, variant->flags);
		ASSERT_GT(id, 0);
		EXPECT_EQ(0, dev_fill(self->fd, id, NR, round));
		EXPECT_EQ(0, dev_check(self->fd, id, NR, round));
		count = dev_count(self->fd, id);
		EXPECT_EQ(0, count.violations);
		EXPECT_EQ(0, dev_unpin(self->fd, id));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	expect_intact(_metadata, self);
}

TEST_HARNESS_MAIN
