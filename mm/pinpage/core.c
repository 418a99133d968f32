// SPDX-License-Identifier: GPL-2.0
/*
 * Systems and sets: who pins, and what is pinned.
 *
 * The life of a set is in set->moves. While the set is starting, or has been
 * asked to leave, it is negative: the pages stay where they are, and nobody is
 * asked. Live, it counts those who look at the set, the batch that has its pause
 * open among them; clear_pinpage() adds SET_LEAVING, which keeps new ones out
 * and ends a pause that is not quiet yet, and waits for those that are there. A
 * slot, and so the set, is found under a stripe lock of the index only, and the
 * slots leave the index before the set is given back: whoever sees the slot may
 * look at set->moves.
 */
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "internal.h"

/*
 * Added to set->moves. Movers need it not to be negative; those who put pages into
 * the index need it not to be below SET_STARTING.
 */
#define SET_STARTING	(-(1 << 29))
#define SET_LEAVING	(-(1 << 30))

DEFINE_STATIC_KEY_FALSE(pinpage_active_key);

/* Protects the list of systems, and the number of sets of each. */
DEFINE_MUTEX(pinpage_mutex);
LIST_HEAD(pinpage_systems);

static bool pinpage_off __ro_after_init;

static int __init pinpage_setup(char *str)
{
	bool on;

	if (!str || kstrtobool(str, &on)) {
		pr_warn("pinpage: '%s' is neither on nor off, ignored\n",
			str ?: "");
		return 0;
	}
	pinpage_off = !on;
	return 0;
}
early_param("pinpage", pinpage_setup);

/**
 * pinpage_enabled - is anybody asked at all?
 *
 * For a driver that would rather go without what it needs for its callbacks, if
 * they are never called.
 *
 * Context: Any.
 * Return: false with pinpage=off on the kernel command line, or without
 * CONFIG_PINPAGE. The same for as long as the kernel runs.
 */
bool pinpage_enabled(void)
{
	return !pinpage_off;
}
EXPORT_SYMBOL_GPL(pinpage_enabled);

static struct pinpage_system *find_system(const char *name)
{
	struct pinpage_system *system;

	list_for_each_entry(system, &pinpage_systems, list)
		if (!strcmp(system->name, name))
			return system;
	return NULL;
}

static int add_system(struct pinpage_system *system)
{
	int err;

	if (system->registered || find_system(system->name))
		return -EEXIST;
	if (!pinpage_off && list_empty(&pinpage_systems)) {
		err = pinpage_index_enable();
		if (err)
			return err;
	}
	memset(system->stat, 0, sizeof(system->stat));
	memset(system->pauses, 0, sizeof(system->pauses));
	atomic_long_set(&system->nr_evicted, 0);
	atomic_long_set(&system->nr_lazy, 0);
	atomic_long_set(&system->nr_stuck, 0);
	atomic64_set(&system->longest, 0);
	system->nr_sets = 0;
	system->registered = true;
	list_add_tail(&system->list, &pinpage_systems);
	return 0;
}

/**
 * register_pinpage - announce a subsystem that pins pages for long
 * @system: name, module and callbacks; stays the caller's, and in use until
 *	unregister_pinpage()
 *
 * With pinpage=off on the kernel command line this succeeds as well: pins are
 * then ordinary ones, and nobody is ever asked.
 *
 * Context: Process context, may sleep.
 * Return: 0; -EINVAL without a name, ops, prepare or complete; -EEXIST where
 * @system, or another one of this name, is registered; -ENOMEM.
 */
int register_pinpage(struct pinpage_system *system)
{
	int err;

	if (!system || !system->name || !*system->name || !system->ops ||
	    !system->ops->prepare || !system->ops->complete)
		return -EINVAL;

	mutex_lock(&pinpage_mutex);
	err = add_system(system);
	mutex_unlock(&pinpage_mutex);
	if (!err && !pinpage_off)
		static_branch_inc(&pinpage_active_key);
	return err;
}
EXPORT_SYMBOL_GPL(register_pinpage);

/**
 * register_pinpage_once - register_pinpage(), unless that has been done
 * @system: as for register_pinpage(); it is registered in this way only
 *
 * For a system that nobody pays for before its first use.
 * unregister_pinpage() says -ENODEV if there was none.
 *
 * Context: Process context, may sleep.
 * Return: 0 if @system is registered now; else as register_pinpage().
 */
int register_pinpage_once(struct pinpage_system *system)
{
	/* Held until the hooks are on: who comes second relies on them, too. */
	static DEFINE_MUTEX(once_mutex);
	int err = 0;

	mutex_lock(&once_mutex);
	if (!system || !system->registered)
		err = register_pinpage(system);
	mutex_unlock(&once_mutex);
	return err;
}
EXPORT_SYMBOL_GPL(register_pinpage_once);

/**
 * unregister_pinpage - take back register_pinpage()
 * @system: the system; all its sets must have been cleared
 *
 * Context: Process context, may sleep.
 * Return: 0; -EINVAL without a system; -ENODEV where it is not registered;
 * -EBUSY while a set of it lives.
 */
int unregister_pinpage(struct pinpage_system *system)
{
	int err = 0;

	if (!system)
		return -EINVAL;

	mutex_lock(&pinpage_mutex);
	if (!system->registered)
		err = -ENODEV;
	else if (system->nr_sets)
		err = -EBUSY;
	if (!err) {
		list_del(&system->list);
		system->registered = false;
	}
	mutex_unlock(&pinpage_mutex);
	if (!err && !pinpage_off)
		static_branch_dec(&pinpage_active_key);
	return err;
}
EXPORT_SYMBOL_GPL(unregister_pinpage);

/* A set keeps its system registered and the module of its callbacks loaded. */
static int system_get(struct pinpage_system *system)
{
	int err = 0;

	mutex_lock(&pinpage_mutex);
	if (!system->registered || !try_module_get(system->owner))
		err = -ENODEV;
	else
		system->nr_sets++;
	mutex_unlock(&pinpage_mutex);
	return err;
}

static void system_put(struct pinpage_system *system)
{
	struct module *owner = system->owner;

	mutex_lock(&pinpage_mutex);
	system->nr_sets--;
	mutex_unlock(&pinpage_mutex);
	module_put(owner);
}

/* @set is known from now on; @starting: movers have to leave it alone yet. */
void pinpage_set_live(struct pinpage_set *set, bool starting)
{
	atomic_set_release(&set->moves, starting ? SET_STARTING : 0);
}

void pinpage_set_started(struct pinpage_set *set)
{
	atomic_sub(SET_STARTING, &set->moves);
}

/* Somebody looks at @set for a moment, or pauses it: false where it is not live. */
bool pinpage_set_get(struct pinpage_set *set)
{
	return atomic_inc_unless_negative(&set->moves);
}

/* As pinpage_set_get(), of a set that is starting as well. */
bool pinpage_set_hold(struct pinpage_set *set)
{
	int moves = atomic_read(&set->moves);

	do {
		if (moves < SET_STARTING)
			return false;
	} while (!atomic_try_cmpxchg(&set->moves, &moves, moves + 1));
	return true;
}

bool pinpage_set_leaves(struct pinpage_set *set)
{
	return atomic_read(&set->moves) < SET_STARTING;
}

static bool nobody_looks(int moves)
{
	return moves == SET_LEAVING || moves == SET_LEAVING + SET_STARTING;
}

void pinpage_set_put(struct pinpage_set *set)
{
	/* The set may be gone after this; its address is all that is used. */
	if (nobody_looks(atomic_dec_return(&set->moves)))
		wake_up_var(&set->moves);
}

/* Nobody looks at @set any more, and no pause is open. */
static void set_leave(struct pinpage_set *set)
{
	might_sleep();
	/* Waiting for a pause is waiting for all that is done in it. */
	pinpage_move_enter();
	pinpage_move_exit();

	atomic_add(SET_LEAVING, &set->moves);
	pinpage_evict_not(set, true);
	/* Pairs with set_current_state() in wait_for_news(). */
	smp_mb__after_atomic();
	spin_lock_irq(&set->lock);
	if (set->batch)
		pinpage_batch_wake(set->batch);
	spin_unlock_irq(&set->lock);
	wait_var_event(&set->moves, nobody_looks(atomic_read(&set->moves)));
}

/* slot_index() in a chunk with runs of several pages. */
unsigned long pinpage_run_index(struct pinpage_slot *slot)
{
	struct pinpage_chunk *chunk = slot_chunk(slot);
	unsigned long index = chunk->index;
	struct pinpage_slot *s;

	for (s = chunk->slots; s < slot; s++)
		index += slot_nr(s);
	return index;
}

static bool page_is_nobodys(struct page *page, struct folio *folio)
{
	return !folio_ref_count(folio) || PageReserved(page) ||
	       is_zero_page(page) || is_huge_zero_folio(folio) ||
	       folio_is_zone_device(folio) ||
	       (page_has_type(&folio->page) && !folio_test_hugetlb(folio));
}

/* Can @page be what a set with these @flags says it is? */
static int check_page(struct page *page, unsigned int flags)
{
	struct folio *folio;
	bool user;

	if (!page)
		return -EINVAL;
	folio = page_folio(page);
	if (page_is_nobodys(page, folio))
		return -EINVAL;
	if (PageHWPoison(page))
		return -EHWPOISON;

	user = folio_test_lru(folio) || folio_test_anon(folio) ||
	       folio_test_swapbacked(folio) || folio_test_hugetlb(folio);
	if (flags & PINPAGE_KERNEL)
		return user || __folio_test_movable(folio) ? -EINVAL : 0;
	if (!user && !folio->mapping)
		return -EINVAL;
	return folio_maybe_dma_pinned(folio) ? 0 : -EINVAL;
}

/* What no owner can hold so is found at once, where GUP has not seen the pages. */
static int check_pages(struct page **pages, unsigned long nr, unsigned int flags)
{
	unsigned long i;
	int err;

	for (i = 0; i < nr; i++) {
		if (!(i % 1024)) {
			if (fatal_signal_pending(current))
				return -EINTR;
			cond_resched();
		}
		err = check_page(pages[i], flags);
		if (err)
			return err;
	}
	return 0;
}

static int start_set(struct pinpage_system *system, struct pinpage_set *set,
		     struct page **pages, unsigned long nr, unsigned int flags,
		     bool from_gup)
{
	int err;

	set->flags = flags;
	if (pinpage_off || (flags & PINPAGE_UNMOVABLE))
		set->flags |= PINPAGE_UNINDEXED;
	set->nr_pages = nr;
	set->system = system;
	atomic_set(&set->moves, SET_LEAVING);
	pinpage_pause_init(set);

	err = from_gup ? 0 : check_pages(pages, nr, flags);
	if (!err)
		err = pinpage_lazy_start(set, pages);
	if (err)
		set->system = NULL;
	return err;
}

static int check_set(struct pinpage_system *system, struct pinpage_set *set,
		     struct page **pages, unsigned long nr)
{
	if (!system || !set || !pages || !nr)
		return -EINVAL;
	return set->system ? -EBUSY : 0;
}

/**
 * set_pinpage - let the pages that an owner holds move
 * @system: who pins; registered
 * @set: the owner's, not in use; stays in use until clear_pinpage()
 * @pages: the pages, of which the owner holds references as @flags say; runs
 *	of consecutive pages in a folio cost as much as one page
 * @nr: how many
 * @flags: %PINPAGE_KERNEL, %PINPAGE_FOLIO, %PINPAGE_UNMOVABLE
 *
 * The callbacks may come before this returns. @pages is not used afterwards.
 * Nothing is done for each page before a mover comes: a page that can't move after
 * all is found then. Where the owner holds a pin for each page, that page stays, as
 * the pages of others do; else all of the set does. debugfs pinpage/systems counts
 * both as stuck.
 *
 * Context: Process context, may sleep.
 * Return: 0. On error nothing has changed: -EINVAL for bad arguments, and for
 * pages that no owner can hold so (free, slab, reserved, device, zero page, not
 * pinned, of the other kind); -EHWPOISON for a poisoned page; -EBUSY where @set
 * is in use; -ENODEV where @system is not registered; -ENOMEM; -EINTR after a
 * fatal signal.
 */
int set_pinpage(struct pinpage_system *system, struct pinpage_set *set,
		struct page **pages, unsigned long nr, unsigned int flags)
{
	int err;

	if (flags & ~(PINPAGE_KERNEL | PINPAGE_FOLIO | PINPAGE_UNMOVABLE))
		return -EINVAL;
	err = check_set(system, set, pages, nr);
	if (!err)
		err = system_get(system);
	if (err)
		return err;
	err = start_set(system, set, pages, nr, flags, false);
	if (err)
		system_put(system);
	return err;
}
EXPORT_SYMBOL_GPL(set_pinpage);

/* Take @set out of the index; its slots say where the pages are, for good. */
static int stop_set(struct pinpage_set *set)
{
	if (!set)
		return -EINVAL;
	if (!set->system)
		return -ENOENT;
	set_leave(set);
	pinpage_lazy_stop(set);
	return 0;
}

static void finish_set(struct pinpage_set *set)
{
	struct pinpage_system *system = set->system;

	pinpage_lazy_free(set);
	set->nr_pages = 0;
	set->system = NULL;
	system_put(system);
}

/* Where @slot is. A batch may be moving it: only a stable answer counts. */
static unsigned long read_slot_pfn(struct pinpage_slot *slot)
{
	struct pinpage_bucket bucket;
	struct folio *folio;
	unsigned long pfn;
	bool stable;

	if (slot_set(slot)->flags & PINPAGE_UNINDEXED)
		return slot_pfn(slot);
	do {
		/* A guess, verified under the lock that it leads to. */
		pfn = data_race(slot_pfn(slot));
		/* Of a word that lru has, too, the bit that is read stays. */
		folio = data_race(page_folio(pfn_to_page(pfn)));
		pinpage_index_lock(&bucket, folio);
		stable = slot_pfn(slot) == pfn;
		pinpage_index_unlock(&bucket);
	} while (!stable);
	return pfn;
}

/* Store in @pages what of @slot lies in the @nr pages of the set from @index. */
static void read_slot(struct pinpage_slot *slot, unsigned long at,
		      unsigned long index, struct page **pages,
		      unsigned long nr)
{
	unsigned long i, end = min(at + slot_nr(slot), index + nr);
	unsigned long pfn = read_slot_pfn(slot);

	for (i = max(at, index); i < end; i++)
		pages[i - index] = pfn_to_page(pfn + i - at);
}

static void read_slots(struct pinpage_set *set, unsigned long index,
		       struct page **pages, unsigned long nr)
{
	struct pinpage_chunk *chunk;
	struct pinpage_slot *slot;
	unsigned long at;

	for (chunk = set->chunks; chunk; chunk = chunk->next) {
		if (chunk->next && chunk->next->index <= index)
			continue;
		at = chunk->index;
		for (slot = chunk->slots; slot < chunk->slots + chunk->nr;
		     slot++) {
			if (at >= index + nr)
				return;
			read_slot(slot, at, index, pages, nr);
			at += slot_nr(slot);
		}
		cond_resched();
	}
}

/* From the slots, and from the array what has none. */
static void read_pages(struct pinpage_set *set, unsigned long index,
		       struct page **pages, unsigned long nr)
{
	struct page *page;
	unsigned long i;

	mutex_lock(&set->index_lock);
	read_slots(set, index, pages, nr);
	for (i = 0; set->pages && i < nr; i++) {
		page = pinpage_lazy_page(set, index + i);
		if (page)
			pages[i] = page;
	}
	mutex_unlock(&set->index_lock);
}

/**
 * pinpage_get_pages - where are the pages of a set now?
 * @set: a set in use
 * @index: position of the first page in the set
 * @pages: where to store the pages, in the order in which they were given
 * @nr: how many
 *
 * A page that is not quiet may move right after this was read: call it where
 * the pages can't move (from complete(), or with prepare() being refused).
 *
 * Context: Process context, may sleep, but not inside a callback: there the
 * items say where the pages are.
 * Return: 0; -EINVAL for bad arguments or pages beyond the set; -ENOENT where
 * @set is not in use.
 */
int pinpage_get_pages(struct pinpage_set *set, unsigned long index,
		      struct page **pages, unsigned long nr)
{
	if (!set || !pages)
		return -EINVAL;
	if (!set->system)
		return -ENOENT;
	if (!nr || index >= set->nr_pages || nr > set->nr_pages - index)
		return -EINVAL;
	read_pages(set, index, pages, nr);
	return 0;
}
EXPORT_SYMBOL_GPL(pinpage_get_pages);

/**
 * clear_pinpage - take back set_pinpage()
 * @set: the set
 * @pages: where to store where the pages are now, in the order in which they
 *	were given, or NULL; room for as many
 *
 * Ends a pause that is not quiet yet, and waits for one that is. Afterwards no
 * callback runs or will run for @set, and its pages stay where they are. The
 * owner's references are still there.
 *
 * Context: Process context, may sleep for as long as the pages of a batch take
 * to be unmapped, copied and mapped, or a mover to allocate a page for the index.
 * Not inside a callback, and without locks that are taken in callbacks or in mmu
 * notifiers, which lockdep checks.
 * Return: 0; -EINVAL without a set; -ENOENT where @set is not in use.
 */
int clear_pinpage(struct pinpage_set *set, struct page **pages)
{
	int err = stop_set(set);

	if (err)
		return err;
	if (pages)
		read_pages(set, 0, pages, set->nr_pages);
	finish_set(set);
	return 0;
}
EXPORT_SYMBOL_GPL(clear_pinpage);

/* Pin the whole range or nothing: 0 or a negative errno. */
static int pin_range(unsigned long start, unsigned long nr,
		     unsigned int gup_flags, bool movable, struct page **pages)
{
	unsigned long done = 0;
	int n;

	while (done < nr) {
		unsigned long at = start + (done << PAGE_SHIFT);
		int want = min_t(unsigned long, nr - done, INT_MAX >> PAGE_SHIFT);

		if (movable)
			n = pin_user_pages_fast_pinpage(at, want, gup_flags,
							pages + done);
		else
			n = pin_user_pages_fast(at, want,
						gup_flags | FOLL_LONGTERM,
						pages + done);
		if (n <= 0) {
			unpin_user_pages(pages, done);
			return n ?: -EFAULT;
		}
		done += n;
	}
	return 0;
}

/**
 * pinpage_pin_user - pin a range of the current process, so that it can move
 * @system: who pins; registered
 * @set: the owner's, not in use; stays in use until pinpage_unpin_user()
 * @start: user address; rounded down to a page
 * @nr: pages to pin, all of them or none
 * @gup_flags: as for pin_user_pages_fast(); %FOLL_LONGTERM is implied
 * @flags: 0 or %PINPAGE_UNMOVABLE
 * @pages: where to store the pages
 *
 * The pins obey all rules of %FOLL_LONGTERM (no fs-dax, no file mapping whose
 * filesystem tracks dirty pages; the caller accounts locked memory) but one:
 * pages in CMA and ZONE_MOVABLE stay there. With %PINPAGE_UNMOVABLE, and with
 * pinpage=off, they are moved out first, as for everyone.
 *
 * The callbacks may come before this returns, but not before @pages is filled.
 *
 * Context: Process context, takes mmap_lock, may sleep.
 * Return: 0. On error nothing has changed: -EFAULT for a range with a hole, a
 * VM_PFNMAP or VM_IO mapping, or no permission; -EINVAL for bad arguments;
 * -EOVERFLOW where the range wraps; what pin_user_pages_fast() returns; and as
 * set_pinpage(). A page may be mapped twice in the range.
 */
int pinpage_pin_user(struct pinpage_system *system, struct pinpage_set *set,
		     unsigned long start, unsigned long nr,
		     unsigned int gup_flags, unsigned int flags,
		     struct page **pages)
{
	bool movable = !pinpage_off && !(flags & PINPAGE_UNMOVABLE);
	int err;

	if (flags & ~PINPAGE_UNMOVABLE)
		return -EINVAL;
	err = check_set(system, set, pages, nr);
	if (err)
		return err;
	if (nr > ULONG_MAX >> PAGE_SHIFT)
		return -EOVERFLOW;
	err = system_get(system);
	if (err)
		return err;
	err = pin_range(start, nr, gup_flags, movable, pages);
	if (err)
		goto put;
	err = start_set(system, set, pages, nr, flags, true);
	if (!err)
		return 0;
	unpin_user_pages(pages, nr);
put:
	system_put(system);
	return err;
}
EXPORT_SYMBOL_GPL(pinpage_pin_user);

/**
 * pinpage_pin_memfd - pin folios of a memfd that are going to be in a set
 * @memfd: the memfd
 * @start: offset of the first byte
 * @end: offset of the last byte
 * @folios: where to store the folios, each once
 * @max_folios: room in @folios
 * @offset: where to store the offset of @start in the first folio, in bytes
 *
 * As memfd_pin_folios(), but folios in CMA and ZONE_MOVABLE stay there, unless
 * pinpage=off. The caller calls set_pinpage() for them, with %PINPAGE_FOLIO,
 * soon: until then they are in everybody's way. Where that fails, it unpins.
 *
 * Context: Process context, may sleep.
 * Return: How many folios, or what memfd_pin_folios() returns.
 */
long pinpage_pin_memfd(struct file *memfd, loff_t start, loff_t end,
		       struct folio **folios, unsigned int max_folios,
		       pgoff_t *offset)
{
	if (pinpage_off)
		return memfd_pin_folios(memfd, start, end, folios, max_folios,
					offset);
	return memfd_pin_folios_pinpage(memfd, start, end, folios, max_folios,
					offset);
}
EXPORT_SYMBOL_GPL(pinpage_pin_memfd);

static void unpin_slots(struct pinpage_set *set, bool make_dirty)
{
	struct pinpage_chunk *chunk;
	struct pinpage_slot *slot;
	struct page *page;

	for (chunk = set->chunks; chunk; chunk = chunk->next) {
		for (slot = chunk->slots; slot < chunk->slots + chunk->nr;
		     slot++) {
			page = pfn_to_page(slot_pfn(slot));
			if (chunk->singles && !make_dirty)
				unpin_user_page(page);
			else
				unpin_user_page_range_dirty_lock(page,
								 slot_nr(slot),
								 make_dirty);
		}
		cond_resched();
	}
}

/**
 * pinpage_unpin_user - take back pinpage_pin_user()
 * @set: the set
 * @make_dirty: mark the pages dirty, as unpin_user_pages_dirty_lock()
 *
 * Context and errors: as clear_pinpage(); takes folio locks.
 * Return: 0; -EINVAL without a set; -ENOENT where @set is not in use.
 */
int pinpage_unpin_user(struct pinpage_set *set, bool make_dirty)
{
	int err = stop_set(set);

	if (err)
		return err;
	unpin_slots(set, make_dirty);
	pinpage_lazy_unpin(set, make_dirty);
	finish_set(set);
	return 0;
}
EXPORT_SYMBOL_GPL(pinpage_unpin_user);

#include "tests/core-kunit.h"
