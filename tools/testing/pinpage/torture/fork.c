// SPDX-License-Identifier: GPL-2.0
/* Children: they have a copy of what is private, and must not see what the parent writes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "torture.h"
#include "../../selftests/pinpage/pinpage_util.h"

/* How @pid ended is fine: by itself, or killed by us, or for want of memory. */
static void judge_child(pid_t pid, const char *what)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			found("waitpid() fails");
	if (WIFEXITED(status) && WEXITSTATUS(status) == FOUND)
		_exit(FOUND);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		did("a child killed");
	else if (status)
		found("%s ended with %#x", what, status);
	else
		did(what);
}

/* Huge pages may not be there for both. */
static bool for_child(const struct region *r)
{
	return r->at && r->kind != HUGETLB;
}

static void write_private(void)
{
	struct region *r = any_region();

	if (r && for_child(r) && !is_shared(r) && !r->readonly)
		write_span(r, any_span(r));
}

static void check_inherited(void)
{
	size_t i;

	for (i = 0; i < MAX_REGIONS; i++)
		if (for_child(&regions[i]))
			check_region(&regions[i]);
}

/* Pins are the parent's: the child has none, and makes its own. */
static void child_pins(void)
{
	struct region *r = any_region();
	int i;

	device = open_device();
	if (device < 0)
		return;
	for (i = 0; i < 3; i++, r = any_region())
		if (r && for_child(r) && !is_shared(r))
			try_pin(r);
	for (i = 0; i < MAX_BUFFERS; i++)
		if (buffers[i].c && buffers[i].writes)
			write_buffer(&buffers[i]);
	for (i = 0; i < MAX_BUFFERS; i++)
		if (buffers[i].c)
			check_buffer(&buffers[i], false);
}

static void forget_buffers(void)
{
	size_t i;

	for (i = 0; i < MAX_BUFFERS; i++) {
		if (buffers[i].c)
			drop_contents(buffers[i].c, buffers[i].pages);
		buffers[i] = (struct buffer){};
	}
}

static void be_child(uint64_t seed, bool exec)
{
	int i;

	seed_random(seed);
	forget_buffers();
	check_inherited();
	for (i = 1 + below(4); i; i--) {
		write_private();
		usleep(below(3000));
		check_inherited();
	}
	if (one_in(2))
		child_pins();
	check_inherited();
	if (exec) {
		/* What fails there beyond a point is a signal. */
		write_text("/proc/self/make-it-fail", "0");
		execl("/bin/true", "true", NULL);
		if (!soft(errno))
			found("exec fails");
	}
	_exit(0);
}

static void write_beside_child(void)
{
	struct buffer *b = any_buffer();

	write_private();
	/* What the child sees as well stays as it is. */
	if (b && b->shared)
		return;
	if (b && b->writes)
		write_buffer(b);
}

static void fork_once(bool exec)
{
	uint64_t seed = random_u64();
	pid_t pid = fork();
	int i;

	if (pid < 0) {
		if (!soft(errno))
			found("fork() fails");
		return;
	}
	if (!pid)
		be_child(seed, exec);
	for (i = below(4); i; i--) {
		write_beside_child();
		check_all(false);
	}
	if (one_in(4))
		kill(pid, SIGKILL);
	judge_child(pid, exec ? "exec" : "fork");
	check_all(false);
}

/* Some of what is copied for the child is under migration at that moment. */
static void fork_moving(struct region *r)
{
	struct mover m;
	int i;

	note("fork, %s moves", kind_names[r->kind]);
	try_pin(r);
	if (start_mover(&m, r->at, r->pages < 64 ? r->pages : 64, 0))
		return;
	for (i = 1 + below(6); i; i--)
		fork_once(false);
	stop_mover(&m);
	did_many("forks of what moves", m.rounds);
}

/* What a child is not to have reads as zero there. */
static void wipe_once(struct region *r)
{
	size_t i, bytes = r->pages * PAGE;
	pid_t pid;

	if (madvise(r->at, bytes, MADV_WIPEONFORK))
		return;
	pid = fork();
	if (!pid) {
		struct content zero = { .zero = true };

		for (i = 0; i < r->pages; i++)
			expect_page(&zero, r->at + i * PAGE, "wiped for a child", i);
		_exit(0);
	}
	if (pid > 0)
		judge_child(pid, "fork, wiped");
	while (madvise(r->at, bytes, MADV_KEEPONFORK))
		usleep(1000);
	check_all(false);
}

void op_fork(void)
{
	struct region *r = any_region();

	if (r && is_anon(r) && one_in(4)) {
		note("fork, %s wiped", kind_names[r->kind]);
		wipe_once(r);
		return;
	}
	if (r && one_in(2)) {
		fork_moving(r);
		return;
	}
	note("fork");
	fork_once(false);
}

void op_exec(void)
{
	note("fork and exec");
	fork_once(true);
}

/* The child writes what is the parent's. */
void op_vfork(void)
{
	struct region *r = any_region();
	size_t page;
	pid_t pid;

	if (!r || r->readonly || is_huge(r))
		return;
	page = below(r->pages);
	note("vfork, writes %s %zu", kind_names[r->kind], page);
	refresh(r->c[page]);
	pid = vfork();
	if (!pid) {
		write_content(r->c[page], r->at + page * PAGE);
		_exit(0);
	}
	if (pid < 0)
		write_content(r->c[page], r->at + page * PAGE);
	else
		judge_child(pid, "vfork");
	check_all(false);
}

/* Who pays changes: the pages stay charged as they are, and move so. */
void op_cgroup(void)
{
	static const char * const groups[] = { "/sys/fs/cgroup/torture0/cgroup.procs",
					      "/sys/fs/cgroup/torture1/cgroup.procs" };
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	note("another cgroup");
	if (!write_text(groups[below(2)], pid))
		did("another cgroup");
}
