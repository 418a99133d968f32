// SPDX-License-Identifier: GPL-2.0
/*
 * Who stands in the way: what pinpage/who in debugfs and the message of a failed
 * cma_alloc() say about an area with one obstacle of each kind.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define WHO	"/sys/kernel/debug/pinpage/who"
#define NR	4
#define TRIES	64

FIXTURE(blame) {
	int fd, contig;
	struct cma cma;
	char *anon, *shmem;		/* in the area */
	int ids[TRIES], nr_ids;
};

static char *map_filled(bool shmem)
{
	int backing = shmem ? make_memfd(NR) : -1;
	char *at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE,
			shmem ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, backing, 0);

	if (backing >= 0)
		close(backing);
	if (at == MAP_FAILED)
		return NULL;
	madvise(at, NR * PAGE, MADV_NOHUGEPAGE);
	user_fill(at, NR, SEED_USER);
	return at;
}

/* Memory in the area, @at pages into it. */
static char *map_inside(struct _test_data_blame *self, bool shmem, uint64_t at)
{
	char *page = map_filled(shmem);
	int i;

	for (i = 0; page && i < NR; i++)
		if (contig_place(self->contig, page + i * PAGE, self->cma.base + at + i))
			return NULL;
	return page;
}

static int add(struct _test_data_blame *self, int id)
{
	if (id > 0)
		self->ids[self->nr_ids++] = id;
	return id;
}

static int pin_page(struct _test_data_blame *self, int kind, char *at, int system)
{
	return add(self, dev_pin_range(self->fd, kind, at, 1, TEST_PINPAGE_WRITE, system));
}

/* A page of the driver's that nobody may move, in the area. */
static int unmovable(struct _test_data_blame *self)
{
	struct test_pinpage_pin pin = {
		.kind = TEST_PINPAGE_KERNEL, .len = 256 * PAGE, .flags = TEST_PINPAGE_UNMOVABLE,
	};
	int i, id;

	while (self->nr_ids < TRIES) {
		prefer_node(self->nr_ids % 2);
		id = add(self, dev_pin(self->fd, pin));
		prefer_node(-1);
		if (id < 0)
			return id;
		for (i = 0; i < 256; i++)
			if (in_cma(&self->cma, dev_pfn(self->fd, id, i)))
				return id;
	}
	return -ENOENT;
}

FIXTURE_SETUP(blame)
{
	char why[128];

	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	if (!find_cma(&self->cma) || access(WHO, W_OK))
		SKIP(return, "no CMA area in debugfs");
	if (!have_two_nodes())
		SKIP(return, "one NUMA node");
	self->contig = contig_open();
	if (self->contig < 0)
		SKIP(return, "needs CONFIG_CMA_TEST");
	self->anon = map_inside(self, false, 1000);
	ASSERT_NE(NULL, self->anon);
	self->shmem = map_inside(self, true, 3000);
	ASSERT_NE(NULL, self->shmem);
}

FIXTURE_TEARDOWN(blame)
{
	while (self->nr_ids)
		EXPECT_EQ(0, dev_unpin(self->fd, self->ids[--self->nr_ids]));
	if (self->anon)
		munmap(self->anon, NR * PAGE);
	if (self->shmem)
		munmap(self->shmem, NR * PAGE);
	close(self->contig);
	close(self->fd);
}

/* One obstacle of each kind. */
static void build_all(struct __test_metadata *_metadata, struct _test_data_blame *self)
{
	int id = pin_page(self, TEST_PINPAGE_USER, self->anon, 1);

	ASSERT_GT(id, 0);
	ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
		.id = id, .refusals = 1000000, .refusal = -EBUSY }));
	ASSERT_GT(pin_page(self, TEST_PINPAGE_PLAIN,
			   self->anon + PAGE, 0), 0);
	ASSERT_GT(unmovable(self), 0);
}

/* An allocation by default waits for it, as on the base: not for those that allocate. */
static void add_writeback(struct __test_metadata *_metadata, struct _test_data_blame *self)
{
	ASSERT_GT(pin_page(self, TEST_PINPAGE_WRITEBACK, self->shmem, 0), 0);
}

/* Somebody wants the page of the owner who refuses; an allocation may not even try. */
static void ask_owner(struct __test_metadata *_metadata, struct _test_data_blame *self)
{
	char *at = self->anon;

	EXPECT_EQ(0, move_to(0, at, 1, !node_of(at)));
}

/* What the kernel has said since @fd was opened, in one string. */
static char *read_log(int fd)
{
	static char all[65536];
	ssize_t len, at = 0;

	while (at < (ssize_t)sizeof(all) - 8192) {
		len = read(fd, all + at, sizeof(all) - 1 - at);
		if (len <= 0 && errno != EPIPE)
			break;
		at += len > 0 ? len : 0;
	}
	all[at] = 0;
	return all;
}

/* "in the way: 3 unmovable, 1 pinned, ..." has @word, with a number. */
static unsigned long blamed(const char *line, const char *word)
{
	const char *at = line ? strstr(line, "in the way: ") : NULL;
	const char *end = at ? strchr(at, '\n') : NULL;
	const char *found = at ? strstr(at, word) : NULL;

	if (!found || (end && found > end))
		return 0;
	while (found > at && found[-1] == ' ')
		found--;
	while (found > at && found[-1] >= '0' && found[-1] <= '9')
		found--;
	return strtoul(found, NULL, 10);
}

TEST_F_TIMEOUT(blame, message, TEST_SECONDS)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	const char *said;

	ASSERT_LE(0, log);
	build_all(_metadata, self);
	ask_owner(_metadata, self);
	/* Messages are limited in number: let those of other tests be forgotten. */
	sleep_ms(5500);
	lseek(log, 0, SEEK_END);
	EXPECT_NE(0, cma_take(&self->cma, self->cma.count));
	said = strstr(read_log(log), self->cma.name);
	ASSERT_NE(NULL, said);
	EXPECT_NE(NULL, strstr(said, "alloc failed, req-size: ")) TH_LOG("%s", said);
	EXPECT_EQ(1, blamed(said, " refused")) TH_LOG("%s", said);
	EXPECT_EQ(1, blamed(said, " pinned")) TH_LOG("%s", said);
	/* In CMA, a page of nobody known counts as one that may go away. */
	EXPECT_LT(0, blamed(said, " referenced")) TH_LOG("%s", said);
	EXPECT_NE(NULL, strstr(said, "(by test1 1)")) TH_LOG("%s", said);
	close(log);
}

/* Lines of pinpage/who that name this page and contain @what. */
static int who_says(uint64_t pfn, const char *what)
{
	char line[256], start[32];
	FILE *f = fopen(WHO, "r");
	int nr = 0;

	snprintf(start, sizeof(start), "%#llx ", (unsigned long long)pfn);
	while (f && fgets(line, sizeof(line), f))
		nr += !strncmp(line, start, strlen(start)) && strstr(line, what);
	if (f)
		fclose(f);
	return nr;
}

static int ask_who(const char *fmt, uint64_t start, uint64_t end, const char *name)
{
	char text[128];

	if (name)
		snprintf(text, sizeof(text), fmt, name);
	else
		snprintf(text, sizeof(text), fmt, (unsigned long long)start,
			 (unsigned long long)end);
	return write_text(WHO, text);
}

TEST_F_TIMEOUT(blame, who, TEST_SECONDS)
{
	uint64_t refused, pinned, writeback;

	add_writeback(_metadata, self);
	build_all(_metadata, self);
	refused = user_pfn(self->anon);
	pinned = user_pfn(self->anon + PAGE);
	writeback = user_pfn(self->shmem);
	ASSERT_EQ(0, ask_who("cma %s", 0, 0, self->cma.name));
	/* Nobody has asked him yet. */
	EXPECT_EQ(1, who_says(refused, " 1 registered test1 test_pinpage buffer "));
	ask_owner(_metadata, self);
	EXPECT_EQ(1, who_says(refused, " 1 refused test1 test_pinpage buffer "));
	EXPECT_EQ(1, who_says(pinned, " 1 pinned -"));
	EXPECT_EQ(1, who_says(writeback, " 1 writeback -"));
	EXPECT_EQ(1, who_says(dev_pfn(self->fd, self->ids[self->nr_ids - 1], 0),
			      " 1 referenced -") +
		     !in_cma(&self->cma, dev_pfn(self->fd, self->ids[self->nr_ids - 1], 0)));

	/* A second owner, and a stranger: each owner has a line, with the reason. */
	ASSERT_GT(pin_page(self, TEST_PINPAGE_USER,
			   self->anon + PAGE, 2), 0);
	ASSERT_GT(pin_page(self, TEST_PINPAGE_USER,
			   self->anon, 3), 0);
	EXPECT_EQ(1, who_says(pinned, " 1 pinned test2 "));
	EXPECT_EQ(1, who_says(refused, " 1 refused test1 "));
	EXPECT_EQ(1, who_says(refused, " 1 registered test3 "));

	/* A range, of one page and of none of these. */
	ASSERT_EQ(0, ask_who("%#llx %#llx", pinned, pinned + 1, NULL));
	EXPECT_EQ(1, who_says(pinned, " 1 pinned test2 "));
	EXPECT_EQ(0, who_says(refused, " "));
	ASSERT_EQ(0, ask_who("%llu %llu", 0, 1, NULL));
	EXPECT_EQ(0, who_says(pinned, " "));
}

TEST_F_TIMEOUT(blame, who_bad_input, TEST_SECONDS)
{
	EXPECT_EQ(-EINVAL, write_text(WHO, "1"));
	EXPECT_EQ(-EINVAL, write_text(WHO, "1 1"));
	EXPECT_EQ(-EINVAL, write_text(WHO, "2 1"));
	EXPECT_EQ(-EINVAL, write_text(WHO, "one two"));
	EXPECT_EQ(-EINVAL, write_text(WHO, "1 2 3"));
	EXPECT_EQ(-EINVAL, write_text(WHO, "cma"));
	EXPECT_EQ(-ENOENT, write_text(WHO, "cma of-nobody"));
	EXPECT_EQ(-ERANGE, write_text(WHO, "1 0x10000000000000000"));
	EXPECT_EQ(0, write_text(WHO, " 1   2\n"));
}

/* How long owners have stood still: how often, most of them, almost all, the longest. */
TEST_F_TIMEOUT(blame, pauses, TEST_SECONDS)
{
	int64_t before = system_number("test2", "pauses"), p50, p99, max;
	struct test_pinpage_counters count;
	int id, i;

	ASSERT_LE(0, before);
	id = pin_page(self, TEST_PINPAGE_USER, self->anon + 2 * PAGE, 2);
	ASSERT_GT(id, 0);
	for (i = 0; i < 20; i++) {
		/* One of them is much longer than the others. */
		ASSERT_EQ(0, dev_policy(self->fd, (struct test_pinpage_policy){
			.id = id, .complete_ms = i == 10 ? 300 : 0 }));
		EXPECT_EQ(1, move_patiently(self->anon + 2 * PAGE, 1));
	}
	count = dev_count(self->fd, id);
	EXPECT_EQ(count.completes - count.cancelled,
		  system_number("test2", "pauses") - before);
	p50 = system_number("test2", "p50_ns");
	p99 = system_number("test2", "p99_ns");
	max = system_number("test2", "max_ns");
	EXPECT_LT(0, p50);
	EXPECT_LE(p50, p99);
	EXPECT_LE(p99, max);
	EXPECT_GT(300000000, p50);
	EXPECT_LE(300000000, max);
	EXPECT_EQ(-1, system_number("test2", "no_such_column"));
}

/* The trace says what was asked, and what was said. */
TEST_F_TIMEOUT(blame, trace, TEST_SECONDS)
{
	static const char * const words[] = {
		"pinpage_prepare: system=test1 ", "ret=-16",
		"pinpage_refuse: system=test1 ", "reason=refused",
	};
	const char *path = "/sys/kernel/tracing/events/pinpage/enable";
	static char all[65536];
	ssize_t len;
	size_t i;
	int fd;

	if (write_text(path, "1"))
		SKIP(return, "no tracing");
	close(open("/sys/kernel/tracing/trace", O_WRONLY | O_TRUNC));
	build_all(_metadata, self);
	ask_owner(_metadata, self);
	write_text(path, "0");
	fd = open("/sys/kernel/tracing/trace", O_RDONLY);
	ASSERT_LE(0, fd);
	len = read(fd, all, sizeof(all) - 1);
	close(fd);
	ASSERT_LT(0, len);
	all[len] = 0;
	for (i = 0; i < ARRAY_SIZE(words); i++)
		EXPECT_NE(NULL, strstr(all, words[i])) TH_LOG("word %zu: %.2000s", i, all);
}

TEST_HARNESS_MAIN
