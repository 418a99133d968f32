// SPDX-License-Identifier: GPL-2.0
/*
 * Loads that nobody has arranged for CMA: what uses memory in the area at the
 * moment, and goes on doing so. The base gets every one of these allocations, so
 * the default and the hard rung have to; and what is said of the pages is what
 * isolation and migration find.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "cma_util.h"

#define MIB		(1024 * 1024UL)
#define TIMES		8
#define MAX_WORKERS	64
#define NULL_DISK	"null_blk nr_devices=1 gb=1 bs=4096 irqmode=2 hw_queue_depth=128 " \
			"completion_nsec="

struct load;

/* Begins, in this process, with memory of up to @size bytes; 0, or a reason */
struct kind {
	const char *name;
	const char *(*begin)(struct load *load);
	void (*end)(struct load *load);
	/* What workers do until stopping() */
	void (*work)(struct load *load, unsigned int worker);
	unsigned int workers;
	/* Parts of the area that one request is for: 16 is a sixteenth */
	unsigned int share;
	/* Nobody lets go or comes while it is at work */
	bool steady;
};

struct load {
	struct area *area;
	const struct kind *kind;
	size_t size;
	char *at;
	int file;
	char *filler;
	size_t filler_size;
	aio_context_t aio[MAX_WORKERS];
	pthread_t threads[MAX_WORKERS];
	unsigned int nr_threads, nr_begun;
	bool stop;
	char text[64];
};

static bool stopping(const struct load *load)
{
	return __atomic_load_n(&load->stop, __ATOMIC_RELAXED);
}

static uint64_t rnd(uint64_t *state, uint64_t below)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 33) % below;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Memory for the load, half of which is random: it compresses to as much. */
static const char *begin_anon(struct load *load)
{
	uint64_t half[PAGE / 16], state = 1;
	size_t i;

	for (i = 0; i < PAGE / 16; i++)
		half[i] = rnd(&state, ~0UL);
	load->at = mmap(NULL, load->size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (load->at == MAP_FAILED)
		return "mmap";
	madvise(load->at, load->size, MADV_NOHUGEPAGE);
	for (i = 0; i < load->size; i += PAGE) {
		half[0] = i;
		memcpy(load->at + i, half, sizeof(half));
	}
	return NULL;
}

static void end_anon(struct load *load)
{
	munmap(load->at, load->size);
}

static const char *begin_zram(struct load *load)
{
	const char *why = begin_anon(load);
	size_t done = 0;
	ssize_t n;

	if (why)
		return why;
	if (system("rmmod zram 2>/dev/null; modprobe zram 2>/dev/null"))
		return "no zram";
	snprintf(load->text, sizeof(load->text), "%zu", load->size);
	if (write_text("/sys/block/zram0/disksize", load->text))
		return "the size of zram";
	load->file = open("/dev/zram0", O_RDWR | O_DIRECT);
	if (load->file < 0)
		return "/dev/zram0";
	while (done < load->size) {
		n = write(load->file, load->at + done, MIB);
		if (n <= 0)
			return "write to zram";
		done += n;
	}
	return NULL;
}

static void end_zram(struct load *load)
{
	end_anon(load);
	close(load->file);
	write_text("/sys/block/zram0/reset", "1");
}

static const char *begin_balloon(struct load *load)
{
	struct cma_test_balloon balloon = { .nr = load->size / PAGE };

	if (ioctl(load->area->fd, CMA_TEST_BALLOON, &balloon))
		return errno == EOPNOTSUPP ? "no balloon" : "a balloon";
	return balloon.inside ? NULL : "no page of the balloon is in the area";
}

static void end_balloon(struct load *load)
{
	struct cma_test_balloon balloon = {};

	ioctl(load->area->fd, CMA_TEST_BALLOON, &balloon);
}

static const char *begin_disk(struct load *load, const char *ns)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "rmmod null_blk 2>/dev/null; modprobe " NULL_DISK "%s 2>/dev/null", ns);
	if (system(command))
		return "no null_blk";
	load->file = open("/dev/nullb0", O_RDONLY | O_DIRECT);
	if (load->file < 0)
		return "/dev/nullb0";
	return begin_anon(load);
}

static const char *begin_fast_disk(struct load *load)
{
	return begin_disk(load, "50000");
}

static const char *begin_slow_disk(struct load *load)
{
	return begin_disk(load, "10000000");
}

static void end_disk(struct load *load)
{
	close(load->file);
	end_anon(load);
	system("rmmod null_blk 2>/dev/null");
}

/* One buffer after the other, of what it shares with the others. */
static void read_direct(struct load *load, unsigned int worker)
{
	uint64_t state = worker;
	size_t len = 16 * PAGE;

	while (!stopping(load))
		if (pread(load->file, load->at + rnd(&state, load->size / len) * len, len,
			  0) != (ssize_t)len)
			return;
}

/* The same buffer all the time */
static void read_fixed(struct load *load, unsigned int worker)
{
	size_t len = PAGE, step = load->size / load->kind->workers / PAGE * PAGE;

	while (!stopping(load))
		if (pread(load->file, load->at + worker * step, len, 0) != (ssize_t)len)
			return;
}

static const char *begin_file(struct load *load)
{
	load->file = memfd_create("load", 0);
	if (load->file < 0 || ftruncate(load->file, load->size))
		return "memfd";
	load->at = mmap(NULL, load->size, PROT_READ | PROT_WRITE, MAP_SHARED, load->file, 0);
	if (load->at == MAP_FAILED)
		return "mmap";
	memset(load->at, 1, load->size);
	return NULL;
}

static void end_file(struct load *load)
{
	end_anon(load);
	close(load->file);
}

static void read_cached(struct load *load, unsigned int worker)
{
	uint64_t state = worker;
	static char to[1 << 16];

	while (!stopping(load))
		if (pread(load->file, to, sizeof(to),
			  rnd(&state, load->size / sizeof(to)) * sizeof(to)) < 0)
			return;
}

static void churn(struct load *load, unsigned int worker)
{
	size_t len = MIB, i;
	char *at;

	while (!stopping(load)) {
		at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED)
			return;
		for (i = 0; i < len; i += PAGE)
			at[i] = 1;
		munmap(at, len);
	}
}

static void fork_on(struct load *load, unsigned int worker)
{
	pid_t pid;

	while (!stopping(load)) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return;
	}
}

/* Swap on a zram of its own */
static const char *begin_swap(struct load *load)
{
	const char *why = begin_file(load);

	if (why)
		return why;
	if (system("rmmod zram 2>/dev/null; modprobe zram 2>/dev/null"))
		return "no zram";
	if (write_text("/sys/block/zram0/disksize", "512M") ||
	    system("mkswap /dev/zram0 >/dev/null 2>&1 && swapon /dev/zram0"))
		return "no swap";
	return NULL;
}

static void end_swap(struct load *load)
{
	end_file(load);
	system("swapoff /dev/zram0");
	write_text("/sys/block/zram0/reset", "1");
}

static void page_out(struct load *load, unsigned int worker)
{
	size_t len = MIB, i;
	uint64_t state = worker;
	char *at;

	while (!stopping(load)) {
		at = load->at + rnd(&state, load->size / len) * len;
		madvise(at, len, MADV_PAGEOUT);
		for (i = 0; i < len; i += PAGE)
			at[i]++;
	}
}

static const char *begin_hugetlb(struct load *load)
{
	snprintf(load->text, sizeof(load->text), "%zu", load->size / (2 * MIB));
	if (write_text("/proc/sys/vm/nr_hugepages", load->text))
		return "no hugetlb pages";
	load->at = mmap(NULL, load->size / 2, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (load->at == MAP_FAILED)
		return "too few hugetlb pages";
	memset(load->at, 1, load->size / 2);
	return NULL;
}

static void end_hugetlb(struct load *load)
{
	munmap(load->at, load->size / 2);
	write_text("/proc/sys/vm/nr_hugepages", "0");
}

static const char *begin_ksm(struct load *load)
{
	size_t i;
	const char *why = begin_anon(load);

	if (why)
		return why;
	for (i = 0; i < load->size; i += PAGE)
		memset(load->at + i, i / PAGE % 7, PAGE);
	if (madvise(load->at, load->size, MADV_MERGEABLE) ||
	    write_text("/sys/kernel/mm/ksm/pages_to_scan", "1000") ||
	    write_text("/sys/kernel/mm/ksm/run", "1"))
		return "no KSM";
	return NULL;
}

static void end_ksm(struct load *load)
{
	write_text("/sys/kernel/mm/ksm/run", "2");
	end_anon(load);
}

static void unshare_pages(struct load *load, unsigned int worker)
{
	uint64_t state = worker;

	while (!stopping(load))
		load->at[rnd(&state, load->size / PAGE) * PAGE] = 3;
}

static const char *begin_mlock(struct load *load)
{
	const char *why = begin_anon(load);

	return why ?: mlock(load->at, load->size) ? "mlock" : NULL;
}

static const char *begin_aio(struct load *load)
{
	unsigned int i;

	for (i = 0; i < MAX_WORKERS; i++)
		if (syscall(SYS_io_setup, 500, &load->aio[i]))
			return "no aio";
	return begin_anon(load);
}

static void end_aio(struct load *load)
{
	unsigned int i;

	for (i = 0; i < MAX_WORKERS; i++)
		syscall(SYS_io_destroy, load->aio[i]);
	end_anon(load);
}

static void allocate(struct load *load, unsigned int worker)
{
	struct cma_test_alloc got;
	struct area area;
	char why[128];

	if (!area_open(&area, why, sizeof(why)))
		return;
	while (!stopping(load)) {
		if (alloc_one(&area, 64UL << worker, 0, 0, &got) == 1)
			release(&area, got.id);
	}
	area_close(&area);
}

static const struct kind kinds[] = {
	{ "zram", begin_zram, end_zram, NULL, 0, 16, true },
	{ "balloon", begin_balloon, end_balloon, NULL, 0, 16, true },
	{ "direct2", begin_fast_disk, end_disk, read_direct, 2, 2 },
	{ "direct64", begin_slow_disk, end_disk, read_direct, 64, 16 },
	{ "fixed16", begin_slow_disk, end_disk, read_fixed, 16, 16 },
	{ "cache", begin_file, end_file, read_cached, 2, 8 },
	{ "churn", begin_anon, end_anon, churn, 2, 8 },
	{ "fork", begin_anon, end_anon, fork_on, 2, 8 },
	{ "swap", begin_swap, end_swap, page_out, 2, 8 },
	{ "hugetlb", begin_hugetlb, end_hugetlb, NULL, 0, 16, true },
	{ "ksm", begin_ksm, end_ksm, unshare_pages, 1, 8 },
	{ "mlock", begin_mlock, end_anon, NULL, 0, 8, true },
	{ "aio", begin_aio, end_aio, NULL, 0, 16 },
	{ "allocators", begin_anon, end_anon, allocate, 6, 16 },
};

static void end_workers(struct load *load)
{
	__atomic_store_n(&load->stop, true, __ATOMIC_RELAXED);
	while (load->nr_threads)
		pthread_join(load->threads[--load->nr_threads], NULL);
}

static void *run_worker(void *arg)
{
	struct load *load = arg;

	load->kind->work(load, __atomic_fetch_add(&load->nr_begun, 1, __ATOMIC_RELAXED));
	if (!stopping(load))
		fprintf(stderr, "# a worker has failed: %s\n", strerror(errno));
	return NULL;
}

static bool begin_workers(struct load *load)
{
	for (; load->nr_threads < load->kind->workers; load->nr_threads++)
		if (pthread_create(&load->threads[load->nr_threads], NULL, run_worker, load))
			return false;
	return true;
}

static size_t meminfo_size(const char *name)
{
	size_t kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			kib = strtoul(line + strlen(name) + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib * 1024;
}

/*
 * Movable pages come from areas when these have more than half of what is free:
 * use the rest up to there.
 */
static bool fill_memory(struct load *load)
{
	size_t all = meminfo_size("MemFree"), areas = meminfo_size("CmaFree");

	if (all < 2 * areas)
		return true;
	load->filler_size = all - 2 * areas + 16 * MIB;
	load->filler = mmap(NULL, load->filler_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return load->filler != MAP_FAILED;
}

FIXTURE(loads) {
	struct area area;
	struct load load;
	int64_t free;
	bool begun;
};

FIXTURE_VARIANT(loads) {
	unsigned int kind;
};

FIXTURE_VARIANT_ADD(loads, zram) { .kind = 0 };
FIXTURE_VARIANT_ADD(loads, balloon) { .kind = 1 };
FIXTURE_VARIANT_ADD(loads, direct2) { .kind = 2 };
FIXTURE_VARIANT_ADD(loads, direct64) { .kind = 3 };
FIXTURE_VARIANT_ADD(loads, fixed16) { .kind = 4 };
FIXTURE_VARIANT_ADD(loads, cache) { .kind = 5 };
FIXTURE_VARIANT_ADD(loads, churn) { .kind = 6 };
FIXTURE_VARIANT_ADD(loads, fork) { .kind = 7 };
FIXTURE_VARIANT_ADD(loads, swap) { .kind = 8 };
FIXTURE_VARIANT_ADD(loads, hugetlb) { .kind = 9 };
FIXTURE_VARIANT_ADD(loads, ksm) { .kind = 10 };
FIXTURE_VARIANT_ADD(loads, mlock) { .kind = 11 };
FIXTURE_VARIANT_ADD(loads, aio) { .kind = 12 };
FIXTURE_VARIANT_ADD(loads, allocators) { .kind = 13 };

FIXTURE_SETUP(loads)
{
	const char *why;
	char no[128];

	if (!area_open(&self->area, no, sizeof(no)))
		SKIP(return, "%s", no);
	self->free = area_free(&self->area);
	self->load.area = &self->area;
	self->load.kind = &kinds[variant->kind];
	/* As much as the area: half of it will be there. */
	self->load.size = self->area.info.count * PAGE / 2 / (2 * MIB) * (2 * MIB);
	ASSERT_TRUE(fill_memory(&self->load));
	self->begun = true;
	why = self->load.kind->begin(&self->load);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(begin_workers(&self->load));
	sleep_ms(300);
}

FIXTURE_TEARDOWN(loads)
{
	if (!self->begun)
		return;
	end_workers(&self->load);
	self->load.kind->end(&self->load);
	if (self->load.filler)
		munmap(self->load.filler, self->load.filler_size);
	EXPECT_EQ(0, release(&self->area, 0));
	area_close(&self->area);
}

static unsigned int takes(struct area *area, unsigned int share, int rung)
{
	uint64_t pages = area->info.count / share;
	unsigned int i, ok = 0;
	struct cma_test_alloc got;

	for (i = 0; i < TIMES; i++) {
		if (alloc_one(area, pages, 0, rung_flags[rung], &got) != 1)
			continue;
		ok++;
		/* Those that are small are kept: each is of another place. */
		if (share < 16)
			release(area, got.id);
	}
	release(area, 0);
	return ok;
}

#define DEFAULT	1
#define HARD	2

TEST_F_TIMEOUT(loads, default_gets_all, TEST_SECONDS)
{
	EXPECT_EQ(TIMES, takes(&self->area, self->load.kind->share, DEFAULT));
}

TEST_F_TIMEOUT(loads, hard_gets_all, TEST_SECONDS)
{
	EXPECT_EQ(TIMES, takes(&self->area, self->load.kind->share, HARD));
}

/* As many chunks as one by one, in one call. */
TEST_F_TIMEOUT(loads, bulk_gets_all, TEST_SECONDS)
{
	int64_t nr = self->area.info.count / 4 / 16;

	EXPECT_EQ(nr, alloc_bulk(&self->area, nr, 4, nr, 0, NULL));
}

TEST_F_TIMEOUT(loads, what_is_said_is_true, TEST_SECONDS)
{
	struct cma_test_agree agree = {
		.pfn = self->area.info.base_pfn, .nr = self->area.info.count,
		.steady = self->load.kind->steady,
	};

	ASSERT_EQ(0, ioctl(self->area.fd, CMA_TEST_AGREE, &agree));
	TH_LOG("looked at %llu pages, moved %llu, %llu stayed", agree.looked,
	       agree.moved, agree.stayed);
	EXPECT_LE(self->area.info.count, agree.looked);
	EXPECT_LT(0, agree.moved);
	EXPECT_EQ(0, agree.wrong)
		TH_LOG("page %#llx was said to be %u", agree.wrong_pfn, agree.said);
}

TEST_HARNESS_MAIN
