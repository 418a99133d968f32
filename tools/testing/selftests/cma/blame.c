// SPDX-License-Identifier: GPL-2.0
/*
 * An allocation that fails says who stood in the way: in the log, once; in a
 * tracepoint; and in debugfs, for as long as it stands there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

#define TRACING		"/sys/kernel/tracing/"

static char text[1 << 18];

static bool enough;

FIXTURE(blame) {
	struct area area;
	int64_t free;
	uint64_t block;
	void *at;
};

FIXTURE_SETUP(blame)
{
	char why[128];

	if (!area_open(&self->area, why, sizeof(why)))
		SKIP(return, "%s", why);
	self->free = area_free(&self->area);
	self->block = leave_one(&self->area);
	ASSERT_NE(0, self->block);
	self->at = page_at(&self->area, self->block + 5);
	ASSERT_NE(NULL, self->at);
}

FIXTURE_TEARDOWN(blame)
{
	letgo(&self->area);
	munmap(self->at, PAGE);
	EXPECT_EQ(0, release(&self->area, 0));
	EXPECT_EQ(self->free, area_free(&self->area));
	area_close(&self->area);
}

static char *read_text(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t len = 0, got;

	while (fd >= 0 && (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += got;
	if (fd >= 0)
		close(fd);
	text[len] = 0;
	return text;
}

static char *read_blame(struct area *area)
{
	char path[160];

	snprintf(path, sizeof(path), "/sys/kernel/debug/cma/%.64s/blame", area->info.name);
	return read_text(path);
}

static int count(const char *in, const char *what)
{
	int n = 0;

	for (; (in = strstr(in, what)); in += strlen(what))
		n++;
	return n;
}

static void take(struct area *area, int flags)
{
	alloc_one(area, area->info.pageblock, pageblock_order(area), flags, NULL);
}

/* What is in the way now, until it is not. */
TEST_F_TIMEOUT(blame, now, TEST_SECONDS)
{
	if (access("/sys/kernel/debug/cma", R_OK))
		SKIP(return, "no debugfs");
	/* The first line is about now, the second one about the last failure. */
	*strchrnul(read_blame(&self->area), '\n') = 0;
	EXPECT_EQ(NULL, strstr(text, "pinned"));
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_PIN, 0));
	EXPECT_NE(NULL, strstr(read_blame(&self->area), "in the way: 1 pinned\n"))
		TH_LOG("%s", text);
	letgo(&self->area);
	*strchrnul(read_blame(&self->area), '\n') = 0;
	EXPECT_EQ(NULL, strstr(text, "pinned"));
}

/* One line, of which debugfs remembers the end. */
TEST_F_TIMEOUT(blame, message, TEST_SECONDS)
{
	int before;
	char *line;

	klogctl(5 /* clear */, NULL, 0);
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_PIN, 0));
	take(&self->area, CMA_TEST_RETRY_MAYFAIL);
	memset(text, 0, sizeof(text));
	ASSERT_LE(0, klogctl(3 /* read all */, text, sizeof(text) - 1));
	before = count(text, "alloc failed");
	EXPECT_EQ(0, before) TH_LOG("a message where none was wanted");
	take(&self->area, CMA_TEST_WARN);
	memset(text, 0, sizeof(text));
	ASSERT_LE(0, klogctl(3, text, sizeof(text) - 1));
	EXPECT_EQ(1, count(text, "alloc failed"));
	EXPECT_EQ(1, count(text, "cma: "));
	line = strstr(text, "alloc failed");
	ASSERT_NE(NULL, line);
	EXPECT_NE(NULL, strstr(line, "; in the way: 1 pinned\n")) TH_LOG("%s", line);
	letgo(&self->area);
	line = strstr(read_blame(&self->area), "failed at ");
	ASSERT_NE(NULL, line);
	EXPECT_NE(NULL, strstr(line, "512 pages, error -16; in the way: 1 pinned\n"))
		TH_LOG("%s", line);
}

TEST_F_TIMEOUT(blame, tracepoint, TEST_SECONDS)
{
	if (write_number(TRACING "events/cma/cma_alloc_blame/enable", 1))
		SKIP(return, "no tracing");
	close(open(TRACING "trace", O_WRONLY | O_TRUNC));
	ASSERT_EQ(0, keep(&self->area, self->at, CMA_TEST_PIN, 0));
	take(&self->area, 0);
	write_number(TRACING "events/cma/cma_alloc_blame/enable", 0);
	EXPECT_EQ(1, count(read_text(TRACING "trace"), "cma_alloc_blame: "));
	EXPECT_EQ(1, count(text, " errorno=-16 ")) TH_LOG("%s", text);
	EXPECT_EQ(1, count(text, " pinned=1 "));
	EXPECT_EQ(1, count(text, "text=\"1 pinned\""));
}

static void *read_on(void *area)
{
	static char path[160], in[4096];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/cma/%.64s/blame",
		 ((struct area *)area)->info.name);
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, in, sizeof(in)) <= 0)
			return (void *)1;
		close(fd);
	}
	return NULL;
}

/*
 * Nobody looks by taking a reference on a page that a driver may give back:
 * free_contig_range() would warn that it is still in use.
 */
TEST_F_TIMEOUT(blame, does_not_refer, TEST_SECONDS)
{
	int64_t tainted = read_number("/proc/sys/kernel/tainted");
	struct cma_test_alloc got;
	pthread_t reader;
	void *failed;
	int i;

	if (access("/sys/kernel/debug/cma", R_OK))
		SKIP(return, "no debugfs");
	enough = false;
	ASSERT_EQ(0, pthread_create(&reader, NULL, read_on, &self->area));
	for (i = 0; i < 300; i++) {
		ASSERT_EQ(1, alloc_one(&self->area, self->area.info.pageblock, 0, 0, &got));
		EXPECT_EQ(0, release(&self->area, got.id));
	}
	enough = true;
	pthread_join(reader, &failed);
	EXPECT_EQ(NULL, failed);
	/* Whether something has warned */
	EXPECT_EQ(tainted & 512, read_number("/proc/sys/kernel/tainted") & 512);
}

TEST_HARNESS_MAIN
