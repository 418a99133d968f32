// SPDX-License-Identifier: GPL-2.0
/*
 * torture SECONDS SEED [WORKERS]: see torture.h. Rounds of workers and movers, all at
 * once; workers are killed now and then, and begun anew. After each round nothing may be left
 * of them. Ends with 0 where nothing was found and each operation has happened.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "torture.h"
#include "../../selftests/pinpage/pinpage_util.h"

#define ROUND_MS	20000
/* Who has not gone after so long, with all others gone, never will. */
#define GONE_MS		900000

/* Operations after which each kind of them has to have happened. */
#define ENOUGH		10000

static int nr_workers = 6;
static uint64_t incarnation;

/* Each of them has to have happened, or it was no test. */
static const char * const required[] = {
	"operations", "map anon", "map thp", "map shmem", "map memfd", "map hugetlb",
	"map huge memfd", "map ext4", "map ext4 private", "map tmpfs", "map tmpfs private",
	"write", "munmap", "mremap", "mremap, larger", "mremap, the old mapping stays",
	"mprotect, nothing", "mprotect, read", "mlock", "munlock", "madvise dontneed",
	"madvise free", "madvise cold", "madvise pageout", "madvise willneed",
	"madvise populate, read", "madvise populate, write",
	"madvise hugepage", "madvise nohugepage", "madvise unmergeable", "madvise mergeable",
	"madvise remove", "soft offline", "placed in CMA", "pages there after move_pages",
	"pin user", "pin set", "pin memfd", "pin kernel", "pin kernel pages of another",
	"pin plain", "pin longterm", "io_uring buffer", "pins refused that have to be", "unpin",
	"owner never quiet", "owner refuses", "owner slow", "device reads", "device writes",
	"CPU and device count", "order", "fork", "fork, wiped",
	"forks of what moves", "vfork", "exec", "another cgroup",
	"truncate", "punch", "userfaultfd missing", "userfaultfd wp", "userfaultfd minor",
	"userfaultfd move", "direct read", "direct write", "process_vm_writev", "process_vm_readv",
	"vmsplice", "cma_alloc, noretry", "cma_alloc", "cma_alloc, retry", "cma_alloc_bulk",
	"alloc_contig_range", "compact_memory", "offline", "huge page pool",
	"pages there after move_pages of another", "migrate_pages", "looks", "drop_caches",
	"workers killed", "rounds with nothing left behind",
};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("mmap");
	seat = &shared->seats[2 * MAX_WORKERS - 1];
	snprintf(seat->name, sizeof(seat->name), "supervisor");
}

static void say(const char *fmt, uint64_t a, uint64_t b)
{
	char text[128];

	snprintf(text, sizeof(text), fmt, (unsigned long long)a, (unsigned long long)b);
	write_text("/dev/kmsg", text);
}

/* A seat for a new process; it begins with no operation. */
static void start(int nr, const char *name, int (*run)(int nr, uint64_t seed))
{
	struct seat *s = &shared->seats[nr];
	pid_t pid;

	s->pid = 0;
	s->at = 0;
	s->nr_ops = 0;
	memset(s->log, 0, sizeof(s->log));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->seed = mix(mix(shared->seed, shared->round), 1000 * incarnation++ + nr);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return;
	if (!pid) {
		seat = s;
		_exit(run(nr, s->seed));
	}
	s->pid = pid;
}

static int be_worker(int nr, uint64_t seed)
{
	char pid[16], path[64];

	write_text("/proc/self/oom_score_adj", "0");
	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(path, sizeof(path), "/sys/fs/cgroup/torture%d/cgroup.procs", nr % 2);
	if (write_text(path, pid) && !stopping())
		found("no cgroup");
	return run_worker(nr, seed);
}

static int be_mover(int nr, uint64_t seed)
{
	return run_mover(&jobs[nr - MAX_WORKERS], seed);
}

static void start_worker(int nr)
{
	char name[24];

	snprintf(name, sizeof(name), "worker %d", nr);
	start(nr, name, be_worker);
}

static struct seat *find_seat(pid_t pid)
{
	int i;

	for (i = 0; i < 2 * MAX_WORKERS; i++)
		if (shared->seats[i].pid == pid)
			return &shared->seats[i];
	return NULL;
}

/* What others have left behind is reaped here as well. */
static void judge(pid_t pid, int status)
{
	struct seat *s = find_seat(pid);

	if (WIFEXITED(status) && WEXITSTATUS(status) == FOUND)
		shared->found = 1;
	else if (s && status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		found("%s ended with %#x", s->name, status);
	if (s)
		s->pid = 0;
}

/* true: there are some yet */
static bool reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		judge(pid, status);
	return !pid;
}

static void watch_kernel(void)
{
	static char line[4096];

	if (!reported(line, sizeof(line)))
		return;
	printf("FOUND: SEED=%llu round %d: the kernel says: %s\n", (unsigned long long)shared->seed,
	       shared->round, line);
	fflush(stdout);
	shared->found = 1;
}

static void kill_one(void)
{
	struct seat *s = &shared->seats[below(nr_workers)];

	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	did("workers killed");
}

static void run_round(uint64_t end)
{
	int i;

	for (i = 0; i < nr_workers; i++)
		start_worker(i);
	for (i = 0; i < nr_jobs; i++)
		start(MAX_WORKERS + i, jobs[i].name, be_mover);
	while (now_ms() < end && !shared->found) {
		reap();
		for (i = 0; i < nr_workers; i++)
			if (!shared->seats[i].pid)
				start_worker(i);
		if (one_in(20))
			kill_one();
		watch_kernel();
		sleep_ms(50);
	}
}

static void kill_all(void)
{
	int i;

	for (i = 0; i < 2 * MAX_WORKERS; i++)
		if (shared->seats[i].pid > 0)
			kill(shared->seats[i].pid, SIGKILL);
}

static void end_round(void)
{
	uint64_t end = now_ms() + GONE_MS;

	shared->stop = 1;
	while (reap()) {
		watch_kernel();
		if (shared->found)
			kill_all();
		if (now_ms() > end) {
			write_text("/proc/sysrq-trigger", "w");
			found("somebody does not end");
		}
		sleep_ms(50);
	}
	shared->stop = 0;
	watch_kernel();
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct counter *)a)->name, ((const struct counter *)b)->name);
}

static void print_file(const char *path, const char *prefix)
{
	char line[512];
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, prefix, strlen(prefix)))
			fputs(line, stdout);
	if (f)
		fclose(f);
}

static void print_counters(void)
{
	struct counter *c = shared->counters;
	size_t nr = 0;

	while (nr < MAX_COUNTERS && c[nr].name)
		nr++;
	qsort(c, nr, sizeof(*c), compare);
	for (; nr; nr--, c++)
		printf("%12llu %s\n", (unsigned long long)c->nr, c->name);
	print_file("/sys/kernel/debug/pinpage/systems", "");
	print_file("/proc/vmstat", "pinpage");
	print_file("/proc/vmstat", "nr_foll_pin");
	print_file("/proc/vmstat", "pswp");
	print_file("/proc/vmstat", "oom_kill");
	print_file("/proc/vmstat", "ksm");
	print_file("/proc/vmstat", "pgmigrate");
	printf("%12llu MiB checked\n", (unsigned long long)(shared->bytes >> 20));
}

/* Nothing was tested by what has not happened; a slow machine doesn't get that far. */
static void check_required(void)
{
	bool many = done("operations") >= ENOUGH;
	size_t i;

	for (i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		if (done(required[i]))
			continue;
		printf("never happened: %s\n", required[i]);
		if (many)
			shared->found = 1;
	}
	if (!read_event("pinpage_moved")) {
		printf("no pinned page has moved\n");
		shared->found = 1;
	}
}

static void set_up(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: torture SECONDS SEED [WORKERS]\n");
		exit(2);
	}
	share();
	shared->seed = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		nr_workers = atoi(argv[3]);
	if (nr_workers < 1 || nr_workers > MAX_WORKERS)
		nr_workers = 6;
	seed_random(shared->seed);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	write_text("/proc/self/oom_score_adj", "-1000");
	shared->slow = debug_kernel();
	shared->faults = !access("/sys/kernel/debug/failslab", F_OK);
	/* Loads the module, before anything fails. */
	close(open_device());
	check_begin();
}

int main(int argc, char **argv)
{
	uint64_t begin = now_ms(), end;

	setvbuf(stdout, NULL, _IOLBF, 0);
	set_up(argc, argv);
	end = begin + 1000 * strtoull(argv[1], NULL, 0);
	do {
		shared->round++;
		say("torture: SEED=%llu round %llu\n", shared->seed, shared->round);
		printf("round %d at %llu s, %llu operations\n", shared->round,
		       (unsigned long long)(now_ms() - begin) / 1000,
		       (unsigned long long)done("operations"));
		let_fail(true);
		run_round(now_ms() + ROUND_MS < end ? now_ms() + ROUND_MS : end);
		end_round();
		let_fail(false);
		if (!shared->found)
			check_round();
	} while (now_ms() < end && !shared->found);
	printf("%s after %llu s\n", shared->found ? "FOUND something" : "nothing found",
	       (unsigned long long)(now_ms() - begin) / 1000);
	print_counters();
	if (!shared->found)
		check_required();
	return shared->found ? 1 : 0;
}
