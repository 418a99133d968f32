// SPDX-License-Identifier: GPL-2.0
/*
 * Sets that no mover has met: registered, and not in the index.
 *
 * Most sets come and go without a page of theirs being in anybody's way. Such a set
 * costs a copy of the array of its pages. The first mover that comes puts those of
 * its range into the index, a slice of the array at a time, before it looks at pages;
 * what is not in the index is a pin like any other. What no slot stands for is in
 * set->pages; the place of a page that has a slot is NULL there.
 *
 * Where the owner holds a pin for each page, the rest of a set may wait while a slice
 * is in the index: pages of a folio that have no slot yet are references that nobody
 * claims, and the folio stays. Where it holds one reference for a folio, the slot of
 * one page would speak for all of them. Such a set is SET_STARTING, and not asked,
 * until all of it is in the index.
 *
 * lazy_lock protects the list of such sets, and with set->walkers their place on it.
 * set->index_lock protects set->pages, set->slices, and the list of chunks, which
 * grows. It is held for a slice, and never while memory is allocated: movers may be
 * direct compaction.
 */
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "internal.h"

/* Pages of a set that are put into the index together: a chunk, if they are small. */
#define SLICE	CHUNK_SLOTS

/* A page for which there can't be a slot, so that it does not move. */
#define STUCK	BIT(0)

/*
 * Where those pages of a slice are that had no slot when it was looked at, and where
 * their owner keeps them: between two pfns, and in which pageblocks, modulo
 * SLICE_BLOCKS, for the pages of a process come from a few places far from each other.
 * All of it 0: nobody has looked.
 */
#define SLICE_BLOCKS	256

struct pinpage_slice {
	unsigned long first, last;
	DECLARE_BITMAP(blocks, SLICE_BLOCKS);
};

/* In the order in which they were registered, which set->born tells as well. */
LIST_HEAD(pinpage_lazy_sets);
static DEFINE_SPINLOCK(lazy_lock);
static u64 lazy_born;

/* For tests: register sets as if a mover were there at once. */
bool pinpage_index_at_once;

static bool is_lazy(struct page *page)
{
	return page && !((unsigned long)page & STUCK);
}

static struct page *page_of(struct page *page)
{
	return (struct page *)((unsigned long)page & ~STUCK);
}

/* Does one slot in a folio speak for all pages of @set in it? */
static bool holds_folios(const struct pinpage_set *set)
{
	return set->flags & (PINPAGE_KERNEL | PINPAGE_FOLIO);
}

/* How many of the @nr pages follow @pages[0] in its folio and in memory? */
static noinline unsigned int long_run(struct page **pages, unsigned long nr)
{
	unsigned int max, i;

	max = folio_nr_pages(page_folio(pages[0])) -
	      folio_page_idx(page_folio(pages[0]), pages[0]);
	max = min3((unsigned long)max, nr, (unsigned long)SLOT_NR_MAX);
	for (i = 1; i < max; i++)
		if (pages[i] != nth_page(pages[0], i))
			break;
	return i;
}

static __always_inline unsigned int run_length(struct page **pages,
					       unsigned long nr)
{
	return PageCompound(pages[0]) ? long_run(pages, nr) : 1;
}

/* Can there be a slot for @page? GUP gives pages that nobody owns, but seldom. */
static bool can_have_slot(struct page *page)
{
	return slot_can_hold(page_to_pfn(page)) && !is_zero_page(page) &&
	       !is_huge_zero_folio(page_folio(page)) &&
	       !folio_is_zone_device(page_folio(page));
}

/*
 * Memory for the index of @set is its owner's, though a mover asks for it: it is
 * charged, beyond the limit if need be, but not reclaimed from the owner's cgroup.
 */
static void *alloc_for(struct pinpage_set *set, size_t size, bool may_wait)
{
	gfp_t gfp = GFP_NOWAIT | __GFP_ACCOUNT | __GFP_HIGH | __GFP_NOMEMALLOC |
		    __GFP_NOWARN;
	struct mem_cgroup *old = set_active_memcg(set->memcg);
	void *memory = kmalloc(size, gfp);

	if (!memory && may_wait)
		memory = kmalloc(size, gfp | GFP_KERNEL | __GFP_NORETRY);
	set_active_memcg(old);
	return memory;
}

static struct pinpage_chunk *alloc_chunk(struct pinpage_set *set,
					 unsigned int slots, bool may_wait)
{
	struct pinpage_chunk *chunk;

	chunk = alloc_for(set, struct_size(chunk, slots, slots), may_wait);
	if (!chunk)
		return NULL;
	chunk->next = NULL;
	chunk->set = set;
	chunk->nr = 0;
	chunk->singles = true;
	return chunk;
}

/*
 * Runs of several pages need fewer slots than there are pages: a huge page is
 * one. Before the slots are linked, so a copy will do; without memory for it
 * the larger chunk is as good.
 */
static struct pinpage_chunk *trim_chunk(struct pinpage_chunk *chunk)
{
	size_t size = struct_size(chunk, slots, chunk->nr);
	struct pinpage_chunk *copy;

	if (chunk->singles)
		return chunk;
	copy = alloc_for(chunk->set, size, false);
	if (!copy)
		return chunk;
	memcpy(copy, chunk, size);
	kfree(chunk);
	return copy;
}

static void free_chunks(struct pinpage_set *set)
{
	struct pinpage_chunk *chunk;

	while ((chunk = set->chunks)) {
		set->chunks = chunk->next;
		kfree(chunk);
	}
	set->last_chunk = NULL;
}

/* Fill @chunk with up to @slots runs that begin before @end. */
static void fill_chunk(struct pinpage_chunk *chunk, unsigned int slots,
		       unsigned long at, unsigned long end)
{
	struct pinpage_set *set = chunk->set;
	struct page **pages = set->pages;
	unsigned long i = at;
	unsigned int run;

	chunk->index = at;
	while (i < end && chunk->nr < slots && is_lazy(pages[i]) &&
	       can_have_slot(pages[i])) {
		run = run_length(pages + i, set->nr_pages - i);
		if (run > 1)
			chunk->singles = false;
		slot_init(&chunk->slots[chunk->nr], page_to_pfn(pages[i]), run,
			  chunk->nr);
		chunk->nr++;
		i += run;
	}
}

/* Pages of the first @slots slots. */
static unsigned long pages_in(struct pinpage_chunk *chunk, unsigned int slots)
{
	unsigned long nr = 0;
	unsigned int i;

	for (i = 0; i < slots; i++)
		nr += slot_nr(&chunk->slots[i]);
	return nr;
}

/* By position in the set; mostly after the one that came last. */
static void link_chunk(struct pinpage_set *set, struct pinpage_chunk *chunk)
{
	struct pinpage_chunk **link = &set->chunks;

	if (set->last_chunk && set->last_chunk->index < chunk->index)
		link = &set->last_chunk->next;
	while (*link && (*link)->index < chunk->index)
		link = &(*link)->next;
	chunk->next = *link;
	*link = chunk;
	set->last_chunk = chunk;
}

static void count_lazy(struct pinpage_set *set, unsigned long nr)
{
	WRITE_ONCE(set->nr_lazy, set->nr_lazy - nr);
	atomic_long_sub(nr, &set->system->nr_lazy);
}

static void set_stuck(struct pinpage_set *set, unsigned long at,
		      unsigned long nr)
{
	unsigned long i;

	for (i = at; i < at + nr; i++)
		set->pages[i] = (void *)((unsigned long)set->pages[i] | STUCK);
	set->nr_stuck += nr;
	atomic_long_add(nr, &set->system->nr_stuck);
	count_lazy(set, nr);
}

/* The pages have slots, which say where they are from now on. */
static void forget_pages(struct pinpage_set *set, unsigned long at,
			 unsigned long nr)
{
	if (holds_folios(set))
		set->nr_indexed += nr;
	else
		memset(set->pages + at, 0, nr * sizeof(*set->pages));
	count_lazy(set, nr);
}

static void free_arrays(struct pinpage_set *set)
{
	kfree(set->slices);
	set->slices = NULL;
	kvfree(set->pages);
	set->pages = NULL;
}

/* Nothing of @set waits any more: it can be asked, and its slots say where it is. */
static void set_complete(struct pinpage_set *set)
{
	if (!set->nr_stuck)
		free_arrays(set);
	if (!set->starting)
		return;
	set->starting = false;
	pinpage_set_started(set);
}

/*
 * Put pages from *@at on into the index, by @chunk with room for @slots, and one that
 * can't be there aside. Returns an error where such a page makes the whole set one
 * that stays. @slots becomes the number of those used.
 */
static int index_chunk(struct pinpage_set *set, struct pinpage_chunk *chunk,
		       unsigned long *at, unsigned long end, unsigned int *slots)
{
	unsigned long nr, nr_stuck = 0;
	unsigned int filled;
	int err;

	fill_chunk(chunk, *slots, *at, end);
	chunk = trim_chunk(chunk);
	filled = chunk->nr;
	err = filled ? pinpage_index_insert(chunk) : -EINVAL;
	*slots = chunk->nr;
	nr = pages_in(chunk, chunk->nr);
	if (err && !holds_folios(set)) {
		nr_stuck = filled ? slot_nr(&chunk->slots[chunk->nr]) : 1;
		set_stuck(set, *at + nr, nr_stuck);
		err = 0;
	}
	if (chunk->nr) {
		link_chunk(set, chunk);
		forget_pages(set, *at, nr);
	} else {
		kfree(chunk);
	}
	if (!set->nr_lazy)
		set_complete(set);
	*at += nr + nr_stuck;
	return err;
}

/* The first page from @at on that waits, or @end. */
static unsigned long next_lazy(struct pinpage_set *set, unsigned long at,
			       unsigned long end)
{
	if (!set->nr_lazy)
		return end;
	if (holds_folios(set))
		return min(max(at, set->nr_indexed), end);
	while (at < end && !is_lazy(set->pages[at]))
		at++;
	return at;
}

/* A run that goes across the border of a slice is not cut in two. */
static unsigned long run_begin(struct pinpage_set *set, unsigned long at)
{
	struct page **pages = set->pages;
	struct folio *folio;

	if (!PageCompound(pages[at]))
		return at;
	folio = page_folio(pages[at]);
	while (at && is_lazy(pages[at - 1]) &&
	       pages[at] == nth_page(pages[at - 1], 1) &&
	       page_folio(pages[at - 1]) == folio)
		at--;
	return at;
}

/* Make one chunk of what waits from *@at on, and go on behind it. */
static int index_some(struct pinpage_set *set, unsigned long *at,
		      unsigned long end, bool may_wait)
{
	unsigned int slots = min(end - *at, SLICE), used = slots;
	struct pinpage_chunk *chunk = alloc_chunk(set, slots, may_wait);
	int err = 0;

	if (!chunk)
		return -ENOMEM;
	if (!pinpage_index_fit(slots, may_wait)) {
		kfree(chunk);
		return -ENOMEM;
	}
	mutex_lock(&set->index_lock);
	*at = next_lazy(set, *at, end);
	if (*at < end) {
		if (!holds_folios(set))
			*at = run_begin(set, *at);
		err = index_chunk(set, chunk, at, end, &used);
	} else {
		used = 0;
		kfree(chunk);
	}
	mutex_unlock(&set->index_lock);
	pinpage_index_unfit(slots - used);
	return err;
}

/* What begins from @at on and before @end, or as much as there is memory for. */
static int index_part(struct pinpage_set *set, unsigned long at,
		      unsigned long end, bool may_wait)
{
	int err = 0;

	while (!err && at < end && READ_ONCE(set->nr_lazy)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		/* Its owner waits for us. */
		if (pinpage_set_leaves(set))
			break;
		err = index_some(set, &at, end, may_wait);
		cond_resched();
	}
	return err;
}

/* A page of @set can't be in the index: then none is, and nobody is ever asked. */
static void give_up(struct pinpage_set *set)
{
	bool first;

	mutex_lock(&set->index_lock);
	first = !(set->flags & PINPAGE_UNINDEXED);
	if (first) {
		set->flags |= PINPAGE_UNINDEXED;
		count_lazy(set, set->nr_lazy);
		set->nr_stuck = set->nr_pages;
		atomic_long_add(set->nr_stuck, &set->system->nr_stuck);
	}
	mutex_unlock(&set->index_lock);
	if (!first)
		return;
	/* It never was live: no slot of it has been claimed. */
	pinpage_index_remove(set);
	free_chunks(set);
}

static int index_whole(struct pinpage_set *set, bool may_wait)
{
	int err = index_part(set, 0, set->nr_pages, may_wait);

	if (err == -EINVAL || err == -EEXIST) {
		/* That takes waiting for others, who may have isolated a page. */
		if (!may_wait)
			return -ENOMEM;
		give_up(set);
	}
	return err;
}

/* What movers are about to look at. */
struct lazy_range {
	unsigned long start, end;
	u64 last;			/* set to look at: later ones are not met */
	bool may_wait;
};

/* May the slice have a page in the range? */
static bool overlaps(const struct pinpage_slice *slice,
		     const struct lazy_range *range)
{
	unsigned long block = range->start / pageblock_nr_pages;
	unsigned long last = (range->end - 1) / pageblock_nr_pages;

	if (slice->first >= range->end || slice->last < range->start)
		return false;
	if (last - block >= SLICE_BLOCKS)
		return true;
	for (; block <= last; block++)
		if (test_bit(block % SLICE_BLOCKS, slice->blocks))
			return true;
	return false;
}

/* Bring @slice up to date: has it a page in the range? */
static bool look_at_slice(struct pinpage_set *set, unsigned long at,
			  struct pinpage_slice *slice,
			  const struct lazy_range *range)
{
	unsigned long end = min(at + SLICE, set->nr_pages), pfn;
	bool found = false;

	*slice = (struct pinpage_slice) { .first = ULONG_MAX, .last = 1 };
	for (; at < end; at++) {
		if (!is_lazy(set->pages[at]))
			continue;
		pfn = page_to_pfn(set->pages[at]);
		slice->first = min(slice->first, pfn);
		slice->last = max(slice->last, pfn);
		__set_bit(pfn / pageblock_nr_pages % SLICE_BLOCKS,
			  slice->blocks);
		found |= pfn >= range->start && pfn < range->end;
	}
	return found;
}

/* Has the slice at @at pages without a slot in the range? */
static bool slice_in_range(struct pinpage_set *set, unsigned long at,
			   const struct lazy_range *range)
{
	struct pinpage_slice now = {}, *slice = &now;
	bool found = false;

	mutex_lock(&set->index_lock);
	if (set->nr_lazy) {
		if (set->slices)
			slice = &set->slices[at / SLICE];
		if (!slice->last || overlaps(slice, range))
			found = look_at_slice(set, at, slice, range);
	}
	mutex_unlock(&set->index_lock);
	return found;
}

/* For those who come later; without memory, each slice is looked at again. */
static void remember_slices(struct pinpage_set *set, bool may_wait)
{
	size_t size = DIV_ROUND_UP(set->nr_pages, SLICE) *
		      sizeof(struct pinpage_slice);
	struct pinpage_slice *slices;

	if (READ_ONCE(set->slices))
		return;
	slices = alloc_for(set, size, may_wait);
	if (!slices)
		return;
	memset(slices, 0, size);
	mutex_lock(&set->index_lock);
	if (set->pages && !set->slices)
		swap(set->slices, slices);
	mutex_unlock(&set->index_lock);
	kfree(slices);
}

/* A small set is not worth a look: it goes into the index, and off the list. */
static int index_set(struct pinpage_set *set, const struct lazy_range *range)
{
	unsigned long at;
	int err = 0;

	if (set->nr_pages <= SLICE || range->end - range->start == ULONG_MAX)
		return index_whole(set, range->may_wait);
	remember_slices(set, range->may_wait);
	for (at = 0; !err && at < set->nr_pages && READ_ONCE(set->nr_lazy);
	     at += SLICE) {
		if (pinpage_set_leaves(set))
			break;
		cond_resched();
		if (!slice_in_range(set, at, range))
			continue;
		if (holds_folios(set))
			return index_whole(set, range->may_wait);
		err = index_part(set, at, min(at + SLICE, set->nr_pages),
				 range->may_wait);
	}
	return err;
}

/*
 * The set after @prev on the list, or the first one; @prev is done with. Sets that come
 * later than the mover do not keep it.
 */
static struct pinpage_set *next_set(struct pinpage_set *prev,
				    const struct lazy_range *range)
{
	struct pinpage_set *set, *found = NULL;

	spin_lock(&lazy_lock);
	set = list_prepare_entry(prev, &pinpage_lazy_sets, lazy);
	list_for_each_entry_continue(set, &pinpage_lazy_sets, lazy) {
		if (set->born > range->last)
			break;
		if (!pinpage_set_hold(set))
			continue;
		set->walkers++;
		found = set;
		break;
	}
	if (prev && !--prev->walkers && !READ_ONCE(prev->nr_lazy))
		list_del_init(&prev->lazy);
	spin_unlock(&lazy_lock);
	if (prev)
		pinpage_set_put(prev);
	return found;
}

static void end_walk(struct pinpage_set *set)
{
	spin_lock(&lazy_lock);
	set->walkers--;
	spin_unlock(&lazy_lock);
	pinpage_set_put(set);
}

static void index_work(struct work_struct *work)
{
	__pinpage_index_range(0, ULONG_MAX, GFP_KERNEL);
}

static DECLARE_WORK(lazy_work, index_work);

/*
 * A folio has pages on both sides of a border of the range, and is isolated whole. A
 * page that is looked at without a reference may be another one's tail a moment later:
 * what is pinned is not.
 */
static void widen(struct lazy_range *range)
{
	struct page *first = pfn_to_online_page(range->start), *head;
	struct page *last = pfn_to_online_page(range->end - 1);
	unsigned long nr = 1;

	if (first)
		range->start = min(range->start,
				   page_to_pfn(compound_head(first)));
	if (!last)
		return;
	head = compound_head(last);
	if (PageHead(head))
		/* Any number will do, if it has just been freed. */
		nr = min(data_race(compound_nr(head)), 1UL << PUD_ORDER);
	range->end = max(range->end, page_to_pfn(head) + nr);
}

/**
 * __pinpage_index_range - make registered pages known to a mover
 * @start: the first pfn that it is going to look at
 * @end: the pfn after the last one; 0 and %ULONG_MAX: all
 * @gfp: what allocations may do; without %__GFP_FS and %__GFP_IO, what there is no
 *	memory for is left to a worker
 *
 * Best effort: a page that is not known is a pinned one. A fatal signal ends it.
 *
 * Context: may sleep, without a lock that is taken in reclaim unless @gfp says so.
 */
void __pinpage_index_range(unsigned long start, unsigned long end, gfp_t gfp)
{
	struct lazy_range range = { .start = start, .end = end };
	struct pinpage_set *set = NULL;
	int err = 0;

	range.may_wait = !(current->flags & PF_MEMALLOC) &&
			 (current_gfp_context(gfp) & GFP_KERNEL) == GFP_KERNEL;
	if (end - start != ULONG_MAX)
		widen(&range);
	spin_lock(&lazy_lock);
	range.last = lazy_born;
	spin_unlock(&lazy_lock);
	while ((set = next_set(set, &range))) {
		err = index_set(set, &range);
		if (err == -ENOMEM || err == -EINTR)
			break;
	}
	if (set)
		end_walk(set);
	if (err == -ENOMEM && !range.may_wait)
		pinpage_index_later();
}

/* For movers that don't wait: a worker does it. */
void pinpage_index_later(void)
{
	if (pinpage_lazy())
		queue_work(system_unbound_wq, &lazy_work);
}

/**
 * pinpage_index_set - put all of a set into the index
 * @set: a set that can't be cleared meanwhile
 *
 * Context: may sleep, and allocates with %GFP_KERNEL.
 * Return: 0, where that was done or can't be; -ENOMEM, -EINTR.
 */
int pinpage_index_set(struct pinpage_set *set)
{
	int err = index_whole(set, true);

	return err == -ENOMEM || err == -EINTR ? err : 0;
}

/* A copy of the array is all there is to a set that is never indexed. */
static int init_set(struct pinpage_set *set, struct page **pages)
{
	set->chunks = NULL;
	set->last_chunk = NULL;
	set->slices = NULL;
	set->nr_indexed = 0;
	set->nr_stuck = 0;
	set->nr_lazy = 0;
	set->walkers = 0;
	set->starting = false;
	mutex_init(&set->index_lock);
	INIT_LIST_HEAD(&set->lazy);
	set->pages = kvmalloc_array(set->nr_pages, sizeof(*pages),
				    GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!set->pages)
		return -ENOMEM;
	memcpy(set->pages, pages, set->nr_pages * sizeof(*pages));
	set->memcg = get_mem_cgroup_from_current();
	return 0;
}

/**
 * pinpage_lazy_start - a set is there, for those who move pages to find it
 * @set: the set, with flags, system and nr_pages; not live yet
 * @pages: its pages
 *
 * Context: may sleep.
 * Return: 0, -ENOMEM; and where sets are put into the index at once, -EEXIST,
 * -EINVAL, -EINTR. On error nothing has changed.
 */
int pinpage_lazy_start(struct pinpage_set *set, struct page **pages)
{
	bool at_once = READ_ONCE(pinpage_index_at_once);
	int err = init_set(set, pages);

	if (err)
		return err;
	if (set->flags & PINPAGE_UNINDEXED) {
		pinpage_set_live(set, false);
		return 0;
	}
	set->nr_lazy = set->nr_pages;
	atomic_long_add(set->nr_lazy, &set->system->nr_lazy);
	set->starting = at_once || holds_folios(set);
	pinpage_set_live(set, set->starting);
	spin_lock(&lazy_lock);
	set->born = ++lazy_born;
	if (!at_once)
		list_add_tail(&set->lazy, &pinpage_lazy_sets);
	spin_unlock(&lazy_lock);
	if (at_once) {
		err = index_whole(set, true);
		if (err) {
			pinpage_lazy_stop(set);
			pinpage_lazy_free(set);
		}
		return err;
	}
	return 0;
}

/**
 * pinpage_lazy_stop - forget the pages of a set
 * @set: the set, which has left: nobody looks at it
 *
 * Its array and its slots say where the pages are, for good.
 *
 * Context: May sleep, until isolated kernel-owned pages have been put back.
 */
void pinpage_lazy_stop(struct pinpage_set *set)
{
	spin_lock(&lazy_lock);
	list_del_init(&set->lazy);
	spin_unlock(&lazy_lock);
	if (set->chunks && !(set->flags & PINPAGE_UNINDEXED))
		pinpage_index_remove(set);
	atomic_long_sub(set->nr_lazy, &set->system->nr_lazy);
	atomic_long_sub(set->nr_stuck, &set->system->nr_stuck);
}

void pinpage_lazy_free(struct pinpage_set *set)
{
	free_chunks(set);
	free_arrays(set);
	mem_cgroup_put(set->memcg);
}

/**
 * pinpage_lazy_page - the page at a position, if no slot says where it is
 * @set: the set, with index_lock held, or which has left
 * @index: position in the set, in pages
 *
 * Return: The page, which has not moved, or NULL.
 */
struct page *pinpage_lazy_page(struct pinpage_set *set, unsigned long index)
{
	return set->pages ? page_of(set->pages[index]) : NULL;
}

static unsigned long single_pages(struct page **pages, unsigned long nr)
{
	unsigned long i = 0;

	while (i < nr && pages[i] && !PageCompound(pages[i]))
		i++;
	return i;
}

/* Unpin what no slot stands for, once @set has left. */
void pinpage_lazy_unpin(struct pinpage_set *set, bool make_dirty)
{
	struct page **pages = set->pages;
	unsigned long at, nr;

	/* No mover has come: the array is as GUP gave it. */
	if (set->nr_lazy == set->nr_pages && !PageCompound(pages[0])) {
		unpin_user_pages_dirty_lock(pages, set->nr_pages, make_dirty);
		return;
	}
	for (at = 0; set->nr_stuck && at < set->nr_pages; at++)
		pages[at] = page_of(pages[at]);
	for (at = 0; pages && at < set->nr_pages; at += nr) {
		nr = single_pages(pages + at, set->nr_pages - at);
		if (nr) {
			unpin_user_pages_dirty_lock(pages + at, nr, make_dirty);
		} else if (pages[at]) {
			nr = long_run(pages + at, set->nr_pages - at);
			unpin_user_page_range_dirty_lock(pages[at], nr,
							 make_dirty);
		} else {
			nr = 1;
		}
	}
}

static int __init pinpage_lazy_init(void)
{
	struct dentry *dir = debugfs_lookup("pinpage", NULL);

	if (IS_ERR_OR_NULL(dir))
		return 0;
	debugfs_create_bool("index_at_once", 0600, dir, &pinpage_index_at_once);
	dput(dir);
	return 0;
}
late_initcall(pinpage_lazy_init);

#include "tests/lazy-kunit.h"
