// SPDX-License-Identifier: GPL-2.0
/*
 * PIN_LONGTERM_TEST_START of gup_test, through pinpage: the one range that it
 * has pinned moves while nobody reads it.
 *
 * Locking: gup_test calls one function here at a time. The gate keeps callbacks
 * away from the array of pages while it is read.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pinpage.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include "gup_test_pinpage.h"

static struct pinpage_set pin_set;
static struct pinpage_gate pin_gate;
static struct page **pin_pages;
static unsigned long pin_nr;

static int gup_test_prepare(struct pinpage_set *set, struct pinpage_item *items,
			    unsigned int nr)
{
	return pinpage_gate_close(&pin_gate);
}

static void gup_test_complete(struct pinpage_set *set,
			      struct pinpage_item *items, unsigned int nr)
{
	pinpage_repoint(pin_pages, items, nr);
	pinpage_gate_open(&pin_gate);
}

static void gup_test_show(struct seq_file *m, struct pinpage_set *set)
{
	seq_printf(m, "%lu pages", pin_nr);
}

static const struct pinpage_ops gup_test_ops = {
	.prepare = gup_test_prepare,
	.complete = gup_test_complete,
	.show = gup_test_show,
};

static struct pinpage_system gup_test_system = {
	.name = "gup_test",
	.owner = THIS_MODULE,
	.ops = &gup_test_ops,
};

/**
 * gup_test_pinpage_pin - pin a range of the current process
 * @addr: user address, of a page
 * @nr: pages
 * @gup_flags: as for pinpage_pin_user()
 * @pages: where to store the pages; followed until gup_test_pinpage_unpin()
 *
 * The system is registered for as long as a range is pinned, so that a kernel
 * with gup_test in it costs what any other costs.
 *
 * Context: Process context, takes mmap_lock, may sleep.
 * Return: 0, or as register_pinpage() and pinpage_pin_user().
 */
int gup_test_pinpage_pin(unsigned long addr, unsigned long nr,
			 unsigned int gup_flags, struct page **pages)
{
	int ret = register_pinpage(&gup_test_system);

	if (ret)
		return ret;
	pin_pages = pages;
	pin_nr = nr;
	pinpage_gate_init(&pin_gate, &pin_set);
	ret = pinpage_pin_user(&gup_test_system, &pin_set, addr, nr, gup_flags,
			       0, pages);
	if (ret) {
		unregister_pinpage(&gup_test_system);
		pin_nr = 0;
	}
	return ret;
}

/**
 * gup_test_pinpage_unpin - take back gup_test_pinpage_pin()
 *
 * Context: Process context, waits for moves in flight.
 * Return: Was there something pinned?
 */
bool gup_test_pinpage_unpin(void)
{
	if (!pin_nr)
		return false;
	pinpage_unpin_user(&pin_set, false);
	unregister_pinpage(&gup_test_system);
	pin_nr = 0;
	return true;
}

/**
 * gup_test_pinpage_begin - the pages are going to be read
 *
 * Context: Process context, waits for a move in flight.
 * Return: 0: they stay where they are until gup_test_pinpage_end(), which is to
 * be called; -ERESTARTSYS after a signal.
 */
int gup_test_pinpage_begin(void)
{
	if (!pin_nr)
		return 0;
	return pinpage_gate_enter_wait(&pin_gate, TASK_INTERRUPTIBLE);
}

/** gup_test_pinpage_end - the pages have been read, and may move again */
void gup_test_pinpage_end(void)
{
	if (pin_nr)
		pinpage_gate_leave(&pin_gate);
}
