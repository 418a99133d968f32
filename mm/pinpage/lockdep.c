// SPDX-License-Identifier: GPL-2.0
/*
 * What a callback may not wait for, told to lockdep: it may be called out of a
 * memory allocation, so whatever is held around one is held around it. That is
 * taught at boot, or a driver that takes its own lock would deadlock only on
 * the day when memory is tight.
 *
 * And what clear_pinpage() waits for: all that a mover does while owners stand
 * still. A task that holds a lock which a callback or an mmu notifier takes must
 * not wait for a pause.
 */
#include <linux/init.h>
#include <linux/lockdep.h>
#include <linux/sched/mm.h>

#include "internal.h"

static struct lockdep_map callback_map =
	STATIC_LOCKDEP_MAP_INIT("pinpage_callback", &callback_map);
static struct lockdep_map move_map =
	STATIC_LOCKDEP_MAP_INIT("pinpage_move", &move_map);

void pinpage_move_enter(void)
{
	lock_map_acquire(&move_map);
}

void pinpage_move_exit(void)
{
	lock_map_release(&move_map);
}

void __pinpage_callback_enter(void)
{
	lock_map_acquire(&callback_map);
}

void __pinpage_callback_exit(void)
{
	lock_map_release(&callback_map);
}

static int __init pinpage_lockdep_init(void)
{
	fs_reclaim_acquire(GFP_KERNEL);
	pinpage_move_enter();
	__pinpage_callback_enter();
	__pinpage_callback_exit();
	pinpage_move_exit();
	fs_reclaim_release(GFP_KERNEL);
	return 0;
}
late_initcall(pinpage_lockdep_init);
