// SPDX-License-Identifier: GPL-2.0
/*
 * Counters: in /proc/vmstat for all systems, in debugfs for each.
 */
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/vmstat.h>

#include "internal.h"

static_assert(PINPAGE_FOREIGN - PINPAGE_ASKED == NR_PINPAGE_STATS - 1);

/**
 * pinpage_count - count what has become of pages of a set
 * @set: the set
 * @stat: what
 * @nr: pages
 */
void pinpage_count(struct pinpage_set *set, enum pinpage_stat stat,
		   unsigned int nr)
{
	count_vm_events(PINPAGE_ASKED + stat, nr);
	atomic_long_add(nr, &set->system->stat[stat]);
}

static unsigned int pause_bucket(u64 ns)
{
	unsigned int log = fls64(ns | 1) - 1;
	unsigned int quarter = log >= 2 ? (ns >> (log - 2)) & 3 : 0;

	return min(4 * log + quarter, PINPAGE_PAUSE_BUCKETS - 1);
}

/* The longest pause that the bucket stands for. */
static u64 bucket_end(unsigned int bucket)
{
	return bucket < 8 ? 1ULL << (bucket / 4 + 1) :
			    (5ULL + bucket % 4) << (bucket / 4 - 2);
}

/**
 * pinpage_count_pause - an owner has stood still
 * @system: the system of the set
 * @ns: for so many nanoseconds
 */
void pinpage_count_pause(struct pinpage_system *system, u64 ns)
{
	s64 longest = atomic64_read(&system->longest);

	atomic_long_inc(&system->pauses[pause_bucket(ns)]);
	while (longest < ns &&
	       !atomic64_try_cmpxchg(&system->longest, &longest, ns))
		;
}

/* The length in ns that @percent of the pauses don't exceed, within a quarter. */
static u64 pause_percentile(struct pinpage_system *system, unsigned long nr,
			    unsigned int percent)
{
	unsigned long below = 0;
	unsigned int i;

	for (i = 0; nr && i < PINPAGE_PAUSE_BUCKETS; i++) {
		below += atomic_long_read(&system->pauses[i]);
		if (below >= mult_frac(nr, percent, 100) && below)
			return min_t(u64, bucket_end(i),
				     atomic64_read(&system->longest));
	}
	return 0;
}

static void show_pauses(struct seq_file *m, struct pinpage_system *system)
{
	unsigned long nr = 0;
	unsigned int i;

	for (i = 0; i < PINPAGE_PAUSE_BUCKETS; i++)
		nr += atomic_long_read(&system->pauses[i]);
	seq_printf(m, " %lu %llu %llu %lld", nr,
		   pause_percentile(system, nr, 50),
		   pause_percentile(system, nr, 99),
		   atomic64_read(&system->longest));
}

static int systems_show(struct seq_file *m, void *unused)
{
	struct pinpage_system *system;
	int i;

	seq_puts(m, "system sets asked moved refused timedout foreign evicted pauses p50_ns p99_ns max_ns unindexed stuck\n");
	mutex_lock(&pinpage_mutex);
	list_for_each_entry(system, &pinpage_systems, list) {
		seq_printf(m, "%s %lu", system->name, system->nr_sets);
		for (i = 0; i < NR_PINPAGE_STATS; i++)
			seq_printf(m, " %ld",
				   atomic_long_read(&system->stat[i]));
		seq_printf(m, " %ld", atomic_long_read(&system->nr_evicted));
		show_pauses(m, system);
		seq_printf(m, " %ld %ld\n",
			   atomic_long_read(&system->nr_lazy),
			   atomic_long_read(&system->nr_stuck));
	}
	mutex_unlock(&pinpage_mutex);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(systems);

static int __init pinpage_stat_init(void)
{
	struct dentry *dir = debugfs_create_dir("pinpage", NULL);

	debugfs_create_file("systems", 0400, dir, NULL, &systems_fops);
	return 0;
}
late_initcall(pinpage_stat_init);
