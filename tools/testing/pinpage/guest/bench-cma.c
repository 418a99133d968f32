// SPDX-License-Identifier: GPL-2.0
/*
 * What contiguous memory costs, guest side: bench-cma base|ours prints rows
 * "case,metric,value", the metrics of the base kernel with the prefix "base".
 *
 * The area is the largest one. Pages are put where a case wants them, one at a
 * time, by the test driver; what it allocates is held until the case is over, so
 * that each call finds a place that no other has emptied before.
 *
 * Case names: bulk/..., failfast/..., retry/..., kill/... and curve/SIZE/WHAT=N%,
 * of which N percent of the pageblocks have a page that is pinned by a stranger
 * (foreign) or by a pinpage system (registered), or sixteen pages that are dirty
 * and being written back, to a disk where that takes 100 ms (dirty).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../../lib/test_pinpage_uapi.h"
#include "../../../../mm/cma_test.h"
#include "guest.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB	(21U << 26)
#endif

#define HUGE		(2UL << 20)
#define CHUNKS		4800		/* of 64 KiB: 300 MiB */
#define LOOP_LIMIT	(20 * SECOND)
#define RETRIES		1000
#define WINDOW_US	20000
#define MAX_CALLS	1000
#define DIRTY_RUN	16		/* pages in a pageblock, */
#define DIRTY_MANY	64		/* or more */
/* Small requests: what completes at one go should not take long itself. */
#define DISK		"null_blk nr_devices=1 gb=1 bs=4096 memory_backed=1 irqmode=2 " \
			"completion_nsec=100000000 max_sectors=8"

static bool ours;
static int dev;
static struct cma_test_info area;
static uint64_t block;			/* pages in a pageblock */

static void nap(unsigned int us)
{
	const struct timespec t = { us / 1000000, us % 1000000 * 1000L };

	nanosleep(&t, NULL);
}

static void info(void)
{
	memset(&area, 0, sizeof(area));
	if (ioctl(dev, CMA_TEST_INFO, &area))
		die("no CMA area");
	block = area.pageblock;
}

static struct cma_test_alloc alloc(int how, uint64_t nr, int order, int flags, uint64_t min)
{
	struct cma_test_alloc arg = {
		.how = how, .nr = nr, .order = order, .flags = flags, .min = min,
		.limit_ns = LOOP_LIMIT,
	};

	if (ioctl(dev, CMA_TEST_ALLOC, &arg))
		die("alloc");
	return arg;
}

static void release(uint32_t id)
{
	if (ioctl(dev, CMA_TEST_RELEASE, (unsigned long)id))
		die("release");
}

static uint64_t letgo(void)
{
	uint64_t ns = 0;

	if (ioctl(dev, CMA_TEST_LETGO, &ns))
		die("letgo");
	return ns;
}

static bool keep(uint64_t what, int hold, unsigned int us)
{
	struct cma_test_keep arg = { .addr = what, .hold = hold, .us = us };

	return !ioctl(dev, CMA_TEST_KEEP, &arg);
}

static bool place(void *at, uint64_t pfn)
{
	struct cma_test_place arg = { .addr = (uintptr_t)at, .pfn = pfn };

	return !ioctl(dev, CMA_TEST_PLACE, &arg);
}

static char *map(size_t len, int file)
{
	char *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, file, 0);

	if (at == MAP_FAILED)
		die("mmap");
	madvise(at, len, MADV_NOHUGEPAGE);
	return at;
}

/* The i-th pageblock of @nr that are to be spread evenly over the area. */
static uint64_t spread(unsigned int i, unsigned int nr)
{
	return area.base_pfn + area.count / block * i / nr * block;
}

/* A page of ours in each of @nr pageblocks, not always at the same place. */
static char *put_pages(unsigned int nr)
{
	char *at = map((nr + 1) * PAGE, -1);
	unsigned int i;

	memset(at, 1, (nr + 1) * PAGE);
	for (i = 0; i < nr; i++)
		if (!place(at + i * PAGE, spread(i, nr) + i * 41 % block))
			die("place");
	return at;
}

static void pin_foreign(char *at, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!keep((uintptr_t)at + i * PAGE, CMA_TEST_PIN, 0))
			die("pin");
}

static int pin_registered(char *at, unsigned int nr)
{
	struct test_pinpage_pin pin = {
		.kind = TEST_PINPAGE_USER, .addr = (uintptr_t)at,
		.len = nr * PAGE, .flags = TEST_PINPAGE_WRITE, .stride = 1,
	};
	int fd = open("/dev/pinpage_test", O_RDWR);

	if (fd < 0 && !system("modprobe test_pinpage"))
		fd = open("/dev/pinpage_test", O_RDWR);
	if (fd < 0 || (nr && ioctl(fd, TEST_PINPAGE_PIN, &pin)))
		die("/dev/pinpage_test");
	return fd;
}

/* 4800 chunks: by bulk, and one by one. */
static void bulk_case(const char *name, unsigned int pinned)
{
	char *at = put_pages(pinned);
	struct cma_test_alloc got;
	uint64_t gettable;

	pin_foreign(at, pinned);
	info();
	gettable = area.free / 16 - pinned;
	if (gettable > CHUNKS)
		gettable = CHUNKS;
	if (ours) {
		got = alloc(CMA_TEST_BULK, CHUNKS, 4, 0, 0);
		row(name, "bulk", got.ns);
		row(name, "gettable", gettable);
		row(name, "got", got.got);
		release(0);
		got = alloc(CMA_TEST_BULK, CHUNKS, 4, CMA_TEST_NORETRY, 0);
		row(name, "bulk_noretry", got.ns);
		row(name, "got_noretry", got.got);
		release(0);
	}
	got = alloc(CMA_TEST_LOOP, CHUNKS, 4, 0, 0);
	row(name, ours ? "loop" : "base_loop", got.ns);
	row(name, ours ? "loop_got" : "base_got", got.got);
	row(name, ours ? "loop_cut" : "base_cut", got.ns >= LOOP_LIMIT);
	release(0);
	letgo();
	munmap(at, (pinned + 1) * PAGE);
}

/* A file on a slow disk, of which a process of its own never ceases to write. */
struct dirty {
	char *at;
	size_t pages;
	int file;
	pid_t writer;
};

static void mount_disk(void)
{
	mkdir("/tmp/disk", 0700);
	if (system("modprobe " DISK) ||
	    system("mke2fs -b 4096 /dev/nullb0 131072 >/dev/null 2>&1") ||
	    mount("/dev/nullb0", "/tmp/disk", "ext4", 0, NULL))
		die("the disk");
}

/* Clean page cache would be dropped, which is less work than to move it. */
static void write_on(struct dirty *dirty, bool sync)
{
	struct sched_param param = {};
	size_t i;

	sched_setscheduler(0, SCHED_IDLE, &param);
	for (;;) {
		for (i = 0; i < dirty->pages; i++)
			dirty->at[i * PAGE]++;
		if (sync)
			sync_file_range(dirty->file, 0, 0, SYNC_FILE_RANGE_WRITE);
		nap(1000);
	}
}

static struct dirty put_dirty(unsigned int blocks, unsigned int run, bool writing)
{
	struct dirty dirty = { .pages = blocks * run };
	size_t i;

	if (!blocks)
		return dirty;
	dirty.file = open("/tmp/disk/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (dirty.file < 0 || ftruncate(dirty.file, dirty.pages * PAGE))
		die("the file");
	dirty.at = map(dirty.pages * PAGE, dirty.file);
	memset(dirty.at, 1, dirty.pages * PAGE);
	if (fsync(dirty.file))
		die("fsync");
	for (i = 0; i < dirty.pages; i++)
		if (!place(dirty.at + i * PAGE, spread(i / run, blocks) +
			   7 + i % run * 3))
			die("place");
	if (fsync(dirty.file))
		die("fsync");
	fflush(stdout);
	dirty.writer = fork();
	if (!dirty.writer)
		write_on(&dirty, writing);
	return dirty;
}

static void drop_dirty(struct dirty *dirty)
{
	if (dirty->writer > 0) {
		kill(dirty->writer, SIGKILL);
		waitpid(dirty->writer, NULL, 0);
	}
	if (!dirty->pages)
		return;
	munmap(dirty->at, dirty->pages * PAGE);
	close(dirty->file);
	unlink("/tmp/disk/file");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct sample {
	uint64_t ns[MAX_CALLS];
	unsigned int nr, ok;
};

static uint64_t percentile(struct sample *sample, unsigned int percent)
{
	return sample->ns[(sample->nr - 1) * percent / 100];
}

/* @calls of one size, two thirds of the area at most; a nap between them. */
static void measure(struct sample *sample, uint64_t pages, unsigned int calls, int flags,
		    unsigned int nap_us)
{
	int order = 63 - __builtin_clzll(pages);
	struct cma_test_alloc got;

	if (order > 8)
		order = 8;
	sample->nr = 0;
	sample->ok = 0;
	while (sample->nr < calls) {
		got = alloc(CMA_TEST_ONE, pages, order, flags, 0);
		sample->ns[sample->nr++] = got.ns;
		sample->ok += got.got == 1;
		nap(nap_us);
	}
	release(0);
	qsort(sample->ns, sample->nr, sizeof(*sample->ns), compare);
}

static void sample_rows(const char *name, const char *how, struct sample *sample)
{
	char metric[64];

	snprintf(metric, sizeof(metric), "%s_p50", how);
	row(name, metric, percentile(sample, 50));
	snprintf(metric, sizeof(metric), "%s_p99", how);
	row(name, metric, percentile(sample, 99));
	snprintf(metric, sizeof(metric), "%s_max", how);
	row(name, metric, sample->ns[sample->nr - 1]);
	snprintf(metric, sizeof(metric), "%s_calls", how);
	row(name, metric, sample->nr);
	snprintf(metric, sizeof(metric), "%s_ok", how);
	row(name, metric, sample->ok);
}

enum what { FOREIGN, REGISTERED, DIRTY };
static const char *const what_name[] = { "foreign", "registered", "dirty" };

static const struct size {
	const char *name;
	uint64_t pages;
	unsigned int calls;
} sizes[] = {
	{ "64K", 16, 200 },
	{ "2M", 512, 60 },
	{ "16M", 4096, 10 },
};

static const struct rung {
	const char *name;
	int flags;
} rungs[] = {
	{ "noretry", CMA_TEST_NORETRY },
	{ "default", 0 },
	{ "hard", CMA_TEST_RETRY_MAYFAIL },
};

struct obstacle {
	char *at;
	unsigned int nr;
	int fd;
	struct dirty dirty;
};

static struct obstacle build(enum what what, unsigned int percent)
{
	struct obstacle o = { .nr = area.count / block * percent / 100, .fd = -1 };

	if (what == DIRTY) {
		o.dirty = put_dirty(o.nr, DIRTY_RUN, true);
		return o;
	}
	o.at = put_pages(o.nr);
	if (what == FOREIGN)
		pin_foreign(o.at, o.nr);
	else if (ours)
		o.fd = pin_registered(o.at, o.nr);
	else
		pin_foreign(o.at, o.nr);
	return o;
}

static void tear_down(struct obstacle *o)
{
	if (o->fd >= 0)
		close(o->fd);
	letgo();
	if (o->at)
		munmap(o->at, (o->nr + 1) * PAGE);
	drop_dirty(&o->dirty);
}

static void curve_point(enum what what, unsigned int percent, const struct size *size,
			const char *how, int flags)
{
	struct obstacle o = build(what, percent);
	struct sample sample;
	char name[64];

	snprintf(name, sizeof(name), "curve/%s/%s=%u%%", size->name, what_name[what], percent);
	measure(&sample, size->pages, size->calls, flags, 2000);
	sample_rows(name, how, &sample);
	tear_down(&o);
}

static void curve_bulk(enum what what, unsigned int percent, const char *how, int flags)
{
	struct obstacle o = build(what, percent);
	struct sample sample = {};
	struct cma_test_alloc got;
	char name[64], metric[64];
	uint64_t chunks = 0;

	snprintf(name, sizeof(name), "curve/bulk/%s=%u%%", what_name[what], percent);
	while (sample.nr < 16) {
		got = alloc(ours ? CMA_TEST_BULK : CMA_TEST_LOOP, 240, 4, flags, 0);
		sample.ns[sample.nr++] = got.ns;
		sample.ok += got.got == 240;
		chunks += got.got > 0 ? got.got : 0;
		nap(2000);
	}
	release(0);
	qsort(sample.ns, sample.nr, sizeof(*sample.ns), compare);
	sample_rows(name, how, &sample);
	snprintf(metric, sizeof(metric), "%s_chunks", how);
	row(name, metric, chunks);
	tear_down(&o);
}

static void curves(void)
{
	static const unsigned int percents[] = { 0, 10, 30, 60 };
	unsigned int p, s, r, nr_rungs = ours ? 3 : 1;
	int what;

	for (what = FOREIGN; what <= DIRTY; what++) {
		for (p = 0; p < 4; p++) {
			for (r = 0; r < nr_rungs; r++) {
				const char *how = ours ? rungs[r].name : "base";
				int flags = ours ? rungs[r].flags : 0;

				for (s = 0; s < 3; s++)
					curve_point(what, percents[p], &sizes[s], how, flags);
				curve_bulk(what, percents[p], how, flags);
			}
		}
	}
}

/* 2 MiB each, from an area full of page cache. */
static void failfast_case(bool writing, int flags, const char *metric)
{
	struct dirty dirty = put_dirty(area.count / block, DIRTY_MANY, writing);
	struct sample sample;
	char name[64];

	/* Time to write to all of it, before and in between. */
	nap(200000);
	measure(&sample, 512, 100, flags, 30000);
	row("failfast/writeback", metric, percentile(&sample, 99));
	snprintf(name, sizeof(name), "%s_ok", metric);
	row("failfast/writeback", name, sample.ok);
	drop_dirty(&dirty);
}

static void failfast(void)
{
	if (!ours) {
		failfast_case(false, 0, "base_p99_clean");
		failfast_case(true, 0, "base_p99_writeback");
		return;
	}
	failfast_case(false, CMA_TEST_NORETRY, "p99_clean");
	failfast_case(true, CMA_TEST_NORETRY, "p99_writeback");
	failfast_case(true, 0, "default_p99_writeback");
}

/* Take all but one pageblock. Returns its pfn. */
static uint64_t leave_one(void)
{
	uint64_t blocks = area.count / block;
	int order = __builtin_ctzll(block), how = ours ? CMA_TEST_BULK : CMA_TEST_LOOP;
	struct cma_test_alloc one;

	alloc(how, blocks / 2, order, 0, 0);
	one = alloc(CMA_TEST_ONE, block, order, 0, 0);
	if (one.got != 1)
		die("a pageblock");
	alloc(how, blocks, order, 0, 0);
	release(one.id);
	return one.pfn;
}

struct race {
	uint64_t pfn;
	char *at;
	int file;
	pthread_t thread;
};

static bool begin_fork(struct race *race)
{
	return place(race->at, race->pfn) &&
	       keep((uintptr_t)race->at, CMA_TEST_REF, WINDOW_US);
}

static void *unmap(void *at)
{
	munmap(at, 2 * HUGE);
	return NULL;
}

static bool is_mapped(const char *at)
{
	static int fd;
	uint64_t entry = 0;

	if (!fd)
		fd = open("/proc/self/pagemap", O_RDONLY);
	if (pread(fd, &entry, 8, (uintptr_t)at / PAGE * 8) != 8)
		die("pagemap");
	return entry >> 63;
}

/*
 * munmap() of a page and of a hugetlb mapping behind it, for which it has to
 * wait: the page is unmapped, and its reference not dropped yet.
 */
static bool begin_exit(struct race *race)
{
	char *at = mmap(NULL, 3 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	at = (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
	if (mmap(at, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mmap(at + HUGE, HUGE, PROT_READ, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
		 race->file, 0) == MAP_FAILED)
		return false;
	*at = 1;
	if (!place(at, race->pfn) || !keep(race->file, CMA_TEST_IMMAP, WINDOW_US))
		return false;
	if (pthread_create(&race->thread, NULL, unmap, at))
		return false;
	while (is_mapped(at))
		nap(100);
	return true;
}

static void retry(const char *name, bool (*begin)(struct race *))
{
	uint64_t left = leave_one(), late, latest = 0;
	int order = __builtin_ctzll(block), ok = 0, i;
	struct race race = { .pfn = left + 3 };
	struct cma_test_alloc got;

	race.at = map(PAGE, -1);
	*race.at = 1;
	race.file = memfd_create("bench", MFD_HUGETLB | MFD_HUGE_2MB);
	if (race.file < 0 || ftruncate(race.file, HUGE))
		die("hugetlb");
	for (i = 0; i < RETRIES; i++) {
		if (!begin(&race))
			die(name);
		got = alloc(CMA_TEST_ONE, block, order, CMA_TEST_RETRY_MAYFAIL, 0);
		late = got.end_ns - letgo();
		ok += got.got == 1;
		if (got.got == 1)
			release(got.id);
		if (got.got == 1 && late > latest)
			latest = late;
		if (race.thread)
			pthread_join(race.thread, NULL);
		race.thread = 0;
	}
	if (ours) {
		row(name, "tries", RETRIES);
		row(name, "ok", ok);
		row(name, "latest_ns", latest);
	} else {
		row(name, "base_ok", ok);
	}
	release(0);
	close(race.file);
	munmap(race.at, PAGE);
}

/* From the signal to the end of the process, and what is missing then. */
static void kill_case(const char *how, int kind, int flags, int hold)
{
	uint64_t left = leave_one(), begin, free;
	int order = __builtin_ctzll(block);
	char *at, name[64];
	pid_t pid;

	/* Shared, so that only the lock is in the way of who locks it. */
	at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		die("mmap");
	*at = 1;
	info();
	free = area.free;
	if (!place(at, left + 3) || !keep((uintptr_t)at, hold, 0))
		die("kill");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		for (;;) {
			if (kind == CMA_TEST_BULK)
				alloc(kind, block / 16, 4, flags, block / 16);
			else
				alloc(kind, block, order, flags, 0);
		}
	}
	nap(50000);
	begin = now();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(name, sizeof(name), "kill/%s", how);
	row(name, "ns", now() - begin);
	info();
	row(name, "leaked_pages", (long long)free - (long long)area.free);
	letgo();
	release(0);
	munmap(at, PAGE);
}

static void kills(void)
{
	if (!ours)
		return;
	kill_case("noretry/locked", CMA_TEST_ONE, CMA_TEST_NORETRY, CMA_TEST_LOCK);
	kill_case("default/locked", CMA_TEST_ONE, 0, CMA_TEST_LOCK);
	kill_case("hard/locked", CMA_TEST_ONE, CMA_TEST_RETRY_MAYFAIL, CMA_TEST_LOCK);
	kill_case("hard/referenced", CMA_TEST_ONE, CMA_TEST_RETRY_MAYFAIL, CMA_TEST_REF);
	kill_case("bulk/locked", CMA_TEST_BULK, 0, CMA_TEST_LOCK);
	kill_case("bulk-hard/referenced", CMA_TEST_BULK, CMA_TEST_RETRY_MAYFAIL, CMA_TEST_REF);
}

int main(int argc, char **argv)
{
	if (argc != 2 || (strcmp(argv[1], "base") && strcmp(argv[1], "ours"))) {
		fprintf(stderr, "usage: bench-cma base|ours\n");
		return 2;
	}
	ours = !strcmp(argv[1], "ours");
	dev = open("/dev/cma_test", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		die("/dev/cma_test");
	info();
	mount_disk();
	row("area", ours ? "free" : "base_free", area.free);
	bulk_case("bulk/4800x64K/clean", 0);
	bulk_case("bulk/4800x64K/foreign=30%", area.count / block * 30 / 100);
	retry("retry/fork", begin_fork);
	retry("retry/exit", begin_exit);
	kills();
	failfast();
	curves();
	return 0;
}
