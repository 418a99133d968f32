// SPDX-License-Identifier: GPL-2.0
/* Who makes pages move: each kind of it by a process of its own, all at once. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mm/cma_test.h>

#include "torture.h"
#include "../../selftests/pinpage/pinpage_util.h"

#define MEMORY	"/sys/devices/system/memory/"

static int fd = -1;

/* Where each page that is freed is poisoned, or workers would get no time. */
static void pause_for(unsigned int ms)
{
	usleep(1000 * below(shared->slow ? 10 * ms : ms));
}

/* CMA, on all rungs */

static void begin_contig(void)
{
	fd = contig_open();
	if (fd < 0)
		found("no /dev/cma_test: %d", fd);
}

static void give_back(void)
{
	/* What was taken is marked: somebody may have written there. */
	if (ioctl(fd, CMA_TEST_RELEASE, 0))
		found("somebody wrote to memory that was allocated by cma_alloc()");
}

static void end_contig(void)
{
	give_back();
	close(fd);
	fd = -1;
}

static const struct {
	uint32_t flags;
	const char *ok, *failed;
} rungs[] = {
	{ CMA_TEST_NORETRY, "cma_alloc, noretry", "cma_alloc, noretry: failed" },
	{ 0, "cma_alloc", "cma_alloc: failed" },
	{ CMA_TEST_RETRY_MAYFAIL, "cma_alloc, retry", "cma_alloc, retry: failed" },
};

static void allocate(struct cma_test_alloc *alloc, const char *ok, const char *failed)
{
	if (ioctl(fd, CMA_TEST_ALLOC, alloc)) {
		if (!soft(errno))
			found("no allocation of kind %u", alloc->how);
		return;
	}
	did(alloc->got > 0 ? ok : failed);
	pause_for(60);
	if (one_in(3))
		give_back();
}

static void step_cma(void)
{
	size_t rung = below(3);
	struct cma_test_alloc alloc = { .how = CMA_TEST_ONE, .flags = rungs[rung].flags };

	alloc.order = below(10);
	alloc.nr = one_in(8) ? area.count : 1 + below(one_in(2) ? 4096 : area.count / 2);
	if (one_in(8))
		give_back();
	note("cma_alloc of %llu, rung %zu", (unsigned long long)alloc.nr, rung);
	allocate(&alloc, rungs[rung].ok, rungs[rung].failed);
}

static void step_bulk(void)
{
	struct cma_test_alloc alloc = { .how = CMA_TEST_BULK, .flags = rungs[below(3)].flags };

	alloc.order = below(10);
	alloc.nr = 1 + below(area.count >> alloc.order);
	alloc.min = one_in(2) ? 0 : 1 + below(alloc.nr);
	note("cma_alloc_bulk of %llu x 2^%u", (unsigned long long)alloc.nr, alloc.order);
	allocate(&alloc, "cma_alloc_bulk", "cma_alloc_bulk: failed");
	give_back();
}

static void step_range(void)
{
	struct cma_test_alloc alloc = { .how = CMA_TEST_RANGE, .flags = rungs[below(3)].flags };

	alloc.nr = 1 + below(one_in(2) ? 64 : 4096);
	alloc.pfn = area.base + below(area.count - alloc.nr);
	note("alloc_contig_range of %llu at %#llx", (unsigned long long)alloc.nr,
	     (unsigned long long)alloc.pfn);
	allocate(&alloc, "alloc_contig_range", "alloc_contig_range: failed");
}

/* Compaction, and those who look */

static void step_compact(void)
{
	if (!write_text("/proc/sys/vm/compact_memory", "1"))
		did("compact_memory");
	pause_for(300);
}

static void step_look(void)
{
	static const char * const paths[] = {
		"/sys/kernel/debug/pinpage/who",
		"/sys/kernel/debug/pinpage/systems",
		"/proc/kpageflags",
		"/proc/pagetypeinfo",
	};
	static char text[1 << 16];
	size_t which = below(4);
	int file = open(paths[which], which ? O_RDONLY : O_RDWR);
	ssize_t got;

	if (file < 0)
		return;
	/* Whose are those in the area? */
	if (!which)
		dprintf(file, "cma %s", area.name);
	do {
		got = read(file, text, sizeof(text));
	} while (got > 0 && !stopping());
	close(file);
	did("looks");
	if (one_in(10) && !write_text("/proc/sys/vm/drop_caches", "3"))
		did("drop_caches");
	pause_for(300);
}

/* Blocks of memory */

static long blocks[64];
static int nr_blocks;

static void ignore(int sig)
{
}

/* There is no end to it where something won't move. */
static int set_block(long block, const char *state, int seconds)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), MEMORY "memory%ld/state", block);
	alarm(seconds);
	err = write_text(path, state);
	alarm(0);
	return err;
}

static long block_pages(void)
{
	char text[32] = "";
	int file = open(MEMORY "block_size_bytes", O_RDONLY);

	if (file < 0 || read(file, text, sizeof(text) - 1) <= 0)
		found("no memory hotplug");
	close(file);
	return strtoull(text, NULL, 16) / PAGE;
}

/* Those that can go, from the top and without CMA, one or two of them. */
static void begin_blocks(void)
{
	const struct sigaction action = { .sa_handler = ignore };
	long block, pages = block_pages();
	char path[128];

	sigaction(SIGALRM, &action, NULL);
	for (block = 63; block >= 0 && nr_blocks < 2; block--) {
		snprintf(path, sizeof(path), MEMORY "memory%ld", block);
		if (access(path, F_OK))
			continue;
		if (block * pages < (long)(area.base + area.count) &&
		    (long)area.base < (block + 1) * pages)
			continue;
		if (!set_block(block, "offline", 5) && !set_block(block, "online_movable", 30))
			blocks[nr_blocks++] = block;
	}
}

static void step_blocks(void)
{
	long block;

	pause_for(500);
	if (!nr_blocks)
		return;
	block = blocks[below(nr_blocks)];
	note("block %ld offline", block);
	if (set_block(block, "offline", 10)) {
		did("offline: failed");
		return;
	}
	did("offline");
	pause_for(100);
	/* A page in it may be poisoned still. */
	while (set_block(block, "online_movable", 30) && !stopping())
		usleep(10000);
}

static void end_blocks(void)
{
	while (nr_blocks) {
		set_block(blocks[nr_blocks - 1], "offline", 30);
		set_block(blocks[nr_blocks - 1], "online_kernel", 30);
		nr_blocks--;
	}
}

/* Huge pages */

static void step_pool(void)
{
	char text[16];

	snprintf(text, sizeof(text), "%zu", 8 + below(24));
	note("%s huge pages", text);
	if (!write_text("/proc/sys/vm/nr_hugepages", text))
		did("huge page pool");
	snprintf(text, sizeof(text), "%zu", below(8));
	write_text("/proc/sys/vm/nr_overcommit_hugepages", text);
	pause_for(300);
}

/* Of a worker: it may be gone by then, and its memory elsewhere. */

static struct seat *any_worker(void)
{
	struct seat *s = &shared->seats[below(MAX_WORKERS)];

	return s->pid > 0 ? s : NULL;
}

static void step_move(void)
{
	struct seat *s = any_worker();
	uint64_t pages;

	if (!s || !s->at) {
		usleep(1000);
		return;
	}
	pages = s->pages < 600 ? s->pages : 600;
	note("move_pages %llu", (unsigned long long)pages);
	did_many("pages there after move_pages of another",
		 move_to(s->pid, (void *)s->at, pages, below(2)));
	pause_for(40);
}

static void step_migrate(void)
{
	struct seat *s = any_worker();
	unsigned long from = 1, to = 2;
	bool back = one_in(2);

	pause_for(200);
	if (s &&
	    syscall(__NR_migrate_pages, s->pid, 64, back ? &to : &from, back ? &from : &to) >= 0)
		did("migrate_pages");
}

const struct job jobs[] = {
	{ "cma", step_cma, begin_contig, end_contig },
	{ "cma bulk", step_bulk, begin_contig, end_contig },
	{ "contig range", step_range, begin_contig, end_contig },
	{ "compaction", step_compact },
	{ "blocks", step_blocks, begin_blocks, end_blocks },
	{ "huge page pool", step_pool },
	{ "move_pages", step_move },
	{ "migrate_pages", step_migrate },
	{ "looker", step_look },
};

const int nr_jobs = sizeof(jobs) / sizeof(jobs[0]);

int run_mover(const struct job *job, uint64_t seed)
{
	seed_random(seed);
	if (job->begin)
		job->begin();
	while (!stopping())
		job->step();
	if (job->end)
		job->end();
	did_many("ms of processor time of movers", cpu_ms());
	return 0;
}
