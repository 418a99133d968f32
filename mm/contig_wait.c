// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous ranges of pages: waiting for what is in the way to go by itself.
 */
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/sched/signal.h>
#include <linux/sysctl.h>

#include "internal.h"
#include "contig.h"

#define CREATE_TRACE_POINTS
#include <trace/events/contig.h>

/* The tracepoint names them by number. */
static_assert(PAGE_BLAME_UNMOVABLE == 7);

/*
 * A reference between two steps of fork() or exit() is gone when its holder is
 * scheduled again: a few time slices. Longer steps than 20 ms, two ticks at
 * HZ=100, would be longer than that; fifty of them are a second, after which
 * the reference is not of that kind, nor is it direct I/O. The first step is
 * short, since most are.
 */
static unsigned int contig_wait_steps = 50;
static unsigned int contig_wait_ms = 20;
static const unsigned int contig_wait_ms_max = 10 * MSEC_PER_SEC;
#define FIRST_STEP_US	100

/* Who tries hard may wait as long as the tunables say, others not at all. */
void contig_wait_init(struct contig_ctl *ctl)
{
	ctl->wait = (struct contig_wait) { .pfn = ULONG_MAX };
	if (ctl->rung != CONTIG_HARD)
		return;
	ctl->wait.us = FIRST_STEP_US;
	ctl->wait.max_us = READ_ONCE(contig_wait_ms) * USEC_PER_MSEC;
	if (ctl->wait.max_us)
		ctl->wait.steps = READ_ONCE(contig_wait_steps);
}

/**
 * contig_sleep() - one step
 * @wait: what may still be waited
 *
 * A quarter less where a timer can be shared. The next step is twice as long.
 *
 * Context: sleeps, killable.
 * Return: false if there was no step left, or the task is to die.
 */
bool contig_sleep(struct contig_wait *wait)
{
	unsigned int us = min(wait->us, wait->max_us);
	u64 slack = (u64)us * (NSEC_PER_USEC / 4);
	ktime_t timeout = ns_to_ktime((u64)us * NSEC_PER_USEC - slack);

	if (!wait->steps || fatal_signal_pending(current))
		return false;
	wait->steps--;
	wait->us = min(2 * us, wait->max_us);
	/* Not usleep_range_state(), which spins when a signal is pending */
	set_current_state(TASK_KILLABLE);
	schedule_hrtimeout_range(&timeout, slack, HRTIMER_MODE_REL);
	__set_current_state(TASK_RUNNING);
	return !fatal_signal_pending(current);
}

/* Likely to go away by itself */
static bool is_transient(enum page_blame what)
{
	return what == PAGE_BLAME_LOCKED || what == PAGE_BLAME_WRITEBACK ||
	       what == PAGE_BLAME_REFERENCED || what == PAGE_BLAME_PINNED;
}

/* Returns true when there is nothing in the way, or owners that may agree. */
static bool wait_for_page(struct contig_ctl *ctl, bool again)
{
	unsigned int before = ctl->wait.steps;
	unsigned long nr;

	for (;;) {
		ctl->why = page_blame(pfn_to_page(ctl->blocker), &nr);
		if (ctl->why == PAGE_BLAME_UNMOVABLE)
			return false;
		/*
		 * Nothing in the way but owners, who have been asked and did
		 * not agree: they won't because time passes.
		 */
		if (ctl->why == PAGE_BLAME_REFUSED && ctl->wait.steps == before)
			return false;
		if (!is_transient(ctl->why) &&
		    (!again || ctl->wait.steps < before))
			return true;
		if (!contig_sleep(&ctl->wait))
			return false;
	}
}

/**
 * contig_wait() - wait for what has just made an attempt at a range fail
 * @ctl: of the call; what it may wait in all is counted there
 *
 * fork() takes its reference before it maps a page for the child, exit() and
 * munmap() unmap a page before they drop theirs; direct I/O, isolation by others,
 * and page locks come and go as well. There is no event to wait for, so look
 * again after each of ever longer steps.
 *
 * A page with nothing in its way any more is worth an attempt at once, but if
 * the very same one fails again, only after a step.
 *
 * Context: may sleep. No pageblock is isolated, no claim is held: the pages
 * around are free to be used meanwhile.
 * Return: true if it is worth to try again.
 */
bool contig_wait(struct contig_ctl *ctl)
{
	bool again = ctl->wait.pfn == ctl->blocker, retry;
	unsigned int before = ctl->wait.steps;
	ktime_t begin = ktime_get();

	if (!before || fatal_signal_pending(current))
		return false;
	contig_caches_on(ctl);
	if (!again)
		ctl->wait.us = FIRST_STEP_US;
	ctl->wait.pfn = ctl->blocker;
	/* Which page others isolate is not known; that they will end is. */
	if (ctl->taken)
		retry = contig_sleep(&ctl->wait);
	else
		retry = wait_for_page(ctl, again);
	/* An attempt costs more than a step, so it counts as one. */
	if (retry && before == ctl->wait.steps)
		ctl->wait.steps--;
	trace_contig_wait(ctl->blocker, ctl->why, before - ctl->wait.steps,
			  ktime_us_delta(ktime_get(), begin), retry);
	return retry;
}

static struct ctl_table contig_sysctls[] = {
	{
		.procname	= "contig_wait_steps",
		.data		= &contig_wait_steps,
		.maxlen		= sizeof(contig_wait_steps),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_INT_MAX,
	},
	{
		.procname	= "contig_wait_ms",
		.data		= &contig_wait_ms,
		.maxlen		= sizeof(contig_wait_ms),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= (void *)&contig_wait_ms_max,
	},
};

static int __init contig_sysctl_init(void)
{
	register_sysctl_init("vm", contig_sysctls);
	return 0;
}
late_initcall(contig_sysctl_init);
