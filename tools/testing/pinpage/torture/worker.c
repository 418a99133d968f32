// SPDX-License-Identifier: GPL-2.0
/* A worker: one random operation after the other, until the round ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#include "torture.h"
#include "../../selftests/pinpage/pinpage_util.h"

static const struct {
	void (*fn)(void);
	int weight;
} ops[] = {
	{ op_map, 12 },	     { op_write, 10 },	     { op_unmap, 2 },	   { op_remap, 4 },
	{ op_protect, 4 },   { op_lock, 3 },	     { op_discard, 4 },	   { op_advise, 8 },
	{ op_merge, 3 },     { op_soft_offline, 2 }, { op_place, 4 },	   { op_move, 6 },
	{ op_pin, 14 },	     { op_pin_kernel, 2 },   { op_unpin, 5 },	   { op_policy, 4 },
	{ op_device, 10 },   { op_count, 6 },	     { op_order, 2 },	   { op_fork, 6 },
	{ op_vfork, 2 },     { op_exec, 2 },	     { op_cgroup, 1 },	   { op_truncate, 2 },
	{ op_punch, 2 },     { op_uffd_missing, 2 }, { op_uffd_wp, 2 },	   { op_uffd_minor, 3 },
	{ op_uffd_move, 2 }, { op_direct, 4 },	     { op_process_vm, 3 }, { op_vmsplice, 3 },
	{ op_ring, 3 },
};

static void one_op(void)
{
	int sum = 0, at;
	size_t i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		sum += ops[i].weight;
	at = below(sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	ops[i].fn();
	did("operations");
}

static void publish(void)
{
	struct region *r = any_region();

	if (!r)
		return;
	seat->pages = 0;
	seat->at = (uintptr_t)r->at;
	seat->pages = r->pages;
}

static void begin(int nr, uint64_t seed)
{
	size_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed_random(seed);
	catch_signals();
	for (i = 0; i < MAX_REGIONS; i++)
		regions[i].fd = -1;
	device = open_device();
	if (device < 0)
		_exit(0);
	disk_file = open_disk_file();
	prefer_node((int)below(3) - 1);
	if (shared->faults && nr % 2)
		write_text("/proc/self/make-it-fail", "1");
}

/* The rest goes with the process: an owner that leaves in the middle of a move. */
static void end(void)
{
	size_t i;

	note("end");
	check_all(true);
	for (i = 0; i < MAX_BUFFERS; i++)
		if (buffers[i].c && one_in(2))
			unpin(&buffers[i]);
	check_all(true);
}

int run_worker(int nr, uint64_t seed)
{
	begin(nr, seed);
	while (!stopping()) {
		one_op();
		publish();
		if (one_in(8))
			check_all(false);
	}
	if (!__atomic_load_n(&shared->found, __ATOMIC_RELAXED))
		end();
	did_many("ms of processor time of workers", cpu_ms());
	return 0;
}
