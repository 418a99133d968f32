// SPDX-License-Identifier: GPL-2.0
/*
 * What does it cost everybody else, when nothing is registered? bench-idle METRIC
 * prints rows "case,METRIC,value" in ns of guest time, which --icount makes
 * instructions. Of each case the least of ROUNDS counts: interrupts and the like
 * only add to it. Two kernels of the same configuration run it, one of them the
 * base; where pages lie must not differ by more than chance, so each case takes
 * its memory anew, in the same order.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/mempolicy.h>

#include "mm/gup_test.h"
#include "guest.h"

#define HUGE	(512 * PAGE)
#define BYTES	(64UL << 20)
#define PAGES	(BYTES / PAGE)
/* Huge pages are so few that there have to be more bytes of them. */
#define HUGE_BYTES	(384UL << 20)
#define ROUNDS	7

static const char *metric;
static unsigned long bytes;		/* that map() has mapped */

static void least(uint64_t *best, uint64_t took)
{
	if (!*best || took < *best)
		*best = took;
}

static char *map(bool huge)
{
	char *at;

	bytes = huge ? HUGE_BYTES : BYTES;
	at = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		die("mmap");
	at = (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
	if (madvise(at, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("madvise");
	return at;
}

static void touch(char *at, unsigned long step)
{
	unsigned long i;

	for (i = 0; i < bytes; i += step)
		at[i] = 1;
}

static void drop(char *at)
{
	if (madvise(at, bytes, MADV_DONTNEED))
		die("madvise");
}

static void page_fault(const char *name, bool huge)
{
	uint64_t best = 0, start;
	char *at = map(huge);
	int i;

	for (i = 0; i < ROUNDS; i++) {
		drop(at);
		start = now();
		touch(at, huge ? HUGE : PAGE);
		least(&best, now() - start);
	}
	munmap(at, bytes);
	row(name, metric, best);
}

/* The child waits for a byte, so that fork() and exit() are told apart. */
static void fork_once(uint64_t *forked, uint64_t *gone)
{
	uint64_t start;
	int fds[2];
	char byte;
	pid_t pid;

	if (pipe(fds))
		die("pipe");
	start = now();
	pid = fork();
	if (!pid)
		_exit(read(fds[0], &byte, 1) != 1);
	*forked += now() - start;
	if (pid < 0)
		die("fork");
	/* It begins to wait. */
	usleep(5000);
	start = now();
	if (write(fds[1], "", 1) != 1 || waitpid(pid, NULL, 0) != pid)
		die("child");
	*gone += now() - start;
	close(fds[0]);
	close(fds[1]);
}

/* Huge pages take so little of it that the rest, which varies, is averaged. */
static void fork_exit(const char *fork_name, const char *exit_name, bool huge)
{
	uint64_t best_fork = 0, best_exit = 0, forked, gone;
	int i, n, times = huge ? 50 : 5;
	char *at = map(huge);

	touch(at, PAGE);
	for (i = 0; i < ROUNDS; i++) {
		forked = 0;
		gone = 0;
		for (n = 0; n < times; n++)
			fork_once(&forked, &gone);
		least(&best_fork, forked / times);
		least(&best_exit, gone / times);
	}
	munmap(at, bytes);
	row(fork_name, metric, best_fork);
	row(exit_name, metric, best_exit);
}

static void gup(const char *name, unsigned long cmd)
{
	struct gup_test gup = { .size = BYTES, .nr_pages_per_call = PAGES, .gup_flags = 1 };
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR), i;
	char *at = map(false);
	uint64_t best = 0;

	if (fd < 0)
		die("gup_test");
	touch(at, PAGE);
	for (i = 0; i < ROUNDS; i++) {
		gup.addr = (uintptr_t)at;
		gup.size = BYTES;
		if (ioctl(fd, cmd, &gup))
			die("gup_test");
		least(&best, (gup.get_delta_usec + gup.put_delta_usec) * 1000);
	}
	munmap(at, bytes);
	close(fd);
	row(name, metric, best);
}

static void move_to(char *at, unsigned long step, int node)
{
	static void *pages[PAGES];
	static int nodes[PAGES], status[PAGES];
	unsigned long i, nr = bytes / step;

	for (i = 0; i < nr; i++) {
		pages[i] = at + i * step;
		nodes[i] = node;
	}
	if (syscall(__NR_move_pages, 0, nr, pages, nodes, status, 2))
		die("move_pages");
	for (i = 0; i < nr; i++)
		if (status[i] != node)
			exit(1);
}

static void migration(const char *name, bool huge)
{
	unsigned long step = huge ? HUGE : PAGE;
	uint64_t best = 0, start;
	char *at = map(huge);
	int i;

	touch(at, PAGE);
	move_to(at, step, 0);
	for (i = 0; i < ROUNDS; i++) {
		start = now();
		move_to(at, step, 1);
		move_to(at, step, 0);
		least(&best, now() - start);
	}
	munmap(at, bytes);
	row(name, metric, best);
}

static uint64_t event(const char *name)
{
	char line[128];
	uint64_t value = 0;
	FILE *f = fopen("/proc/vmstat", "r");
	size_t len = strlen(name);

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && line[len] == ' ')
			value = strtoull(line + len, NULL, 10);
	if (f)
		fclose(f);
	return value;
}

static void compact(void)
{
	int fd = open("/sys/devices/system/node/node1/compact", O_WRONLY);

	if (fd < 0 || write(fd, "1", 1) != 1)
		die("compact");
	close(fd);
}

/* Where memory comes from, from now on; -1: from anywhere. */
static void bind_to(int node)
{
	unsigned long mask = 1UL << (node < 0 ? 0 : node);

	if (syscall(__NR_set_mempolicy, node < 0 ? MPOL_DEFAULT : MPOL_BIND,
		    node < 0 ? NULL : &mask, node < 0 ? 0 : 8 * sizeof(mask)))
		die("set_mempolicy");
}

/*
 * Most of node 1 is in use, which has little else; then of its pages there remain the
 * lowest ones, which are to move up, and every other page of the upper half. Who looks
 * for free pages soon looks at every 32nd only, so they have to be the even ones.
 */
#define FILLED		(800UL << 20)
#define LOWEST		20000

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void leave_pages(char *at)
{
	static uint64_t pfn[FILLED / PAGE], sorted[FILLED / PAGE];
	unsigned long i, nr = FILLED / PAGE;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, pfn, sizeof(pfn), (uintptr_t)at / PAGE * 8) != sizeof(pfn))
		die("pagemap");
	close(fd);
	for (i = 0; i < nr; i++)
		sorted[i] = pfn[i] &= (1ULL << 55) - 1;
	qsort(sorted, nr, sizeof(*sorted), by_number);
	for (i = 0; i < nr; i++)
		if (pfn[i] >= sorted[LOWEST] && (pfn[i] < sorted[nr / 2] || !(pfn[i] % 2)))
			madvise(at + i * PAGE, PAGE, MADV_DONTNEED);
}

static void compaction(const char *name)
{
	uint64_t best = 0, moved, start, took;
	unsigned long i;
	char *at;
	int n;

	for (n = 0; n < 3; n++) {
		at = mmap(NULL, FILLED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED)
			die("mmap");
		madvise(at, FILLED, MADV_NOHUGEPAGE);
		bind_to(1);
		for (i = 0; i < FILLED; i += PAGE)
			at[i] = 1;
		bind_to(-1);
		leave_pages(at);
		moved = event("pgmigrate_success");
		start = now();
		compact();
		took = now() - start;
		moved = event("pgmigrate_success") - moved;
		if (moved < LOWEST) {
			fprintf(stderr, "bench-idle: compaction moved %llu pages\n",
				(unsigned long long)moved);
			exit(1);
		}
		least(&best, took * 1000 / moved);
		munmap(at, FILLED);
	}
	row(name, metric, best);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: bench-idle METRIC\n");
		return 2;
	}
	metric = argv[1];
	page_fault("fault/4K", false);
	page_fault("fault/2M", true);
	fork_exit("fork/4K", "exit/4K", false);
	fork_exit("fork/2M", "exit/2M", true);
	gup("gup/get_fast", GUP_FAST_BENCHMARK);
	gup("gup/pin_fast", PIN_FAST_BENCHMARK);
	gup("gup/pin_longterm", PIN_LONGTERM_BENCHMARK);
	migration("migrate/4K", false);
	migration("migrate/2M", true);
	compaction("compact/1000");
	return 0;
}
