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

static int systems_show(struct seq_file *m, void *unused)
{
	struct pinpage_system *system;
	int i;

	seq_puts(m, "system sets asked moved refused timedout foreign\n");
	mutex_lock(&pinpage_mutex);
	list_for_each_entry(system, &pinpage_systems, list) {
		seq_printf(m, "%s %lu", system->name, system->nr_sets);
		for (i = 0; i < NR_PINPAGE_STATS; i++)
			seq_printf(m, " %ld",
				   atomic_long_read(&system->stat[i]));
		seq_putc(m, '\n');
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
