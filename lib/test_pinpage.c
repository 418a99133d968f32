// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/pinpage_test: a pretended device whose memory is pinned, and moves.
 *
 * It registers some pinpage systems. Userspace has it pin pages as a buffer of
 * one of them, and reads and writes through the "device", which knows the pages
 * only by its own array of page pointers. prepare() pauses pages of the array,
 * complete() repoints and resumes them; a device access to a page that is quiet
 * waits. What userspace asks for is in test_pinpage_uapi.h.
 *
 * The callbacks watch the contract of pinpage.h as well. Each breach is counted
 * and warned about.
 *
 * Locking: file->lock protects the buffers' ids and is held over no call into
 * pinpage but pinpage_quiet(). buffer->lock protects pages[], moves[], the pause,
 * policy and counters. It is taken by a timer in interrupt context as well, and no
 * memory is allocated under it, so that the callbacks may take it. A device access
 * to one page is atomic under it.
 */
#include <linux/buffer_head.h>
#include <linux/completion.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/pinpage.h>
#include <linux/rmap.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "test_pinpage_uapi.h"

/* A batch has at most so many pages; see struct pinpage_ops. */
#define TEST_BATCH		512
#define TEST_MAX_SYSTEMS	16
#define TEST_PATIENCE		(30 * HZ)
#define TEST_HUGE_PAGES		(1UL << (PMD_SHIFT - PAGE_SHIFT))

static unsigned int nr_systems = 4;
module_param(nr_systems, uint, 0444);
MODULE_PARM_DESC(nr_systems, "Number of systems to register, 1 to 16");

static bool debug_vm = IS_ENABLED(CONFIG_DEBUG_VM);
module_param(debug_vm, bool, 0444);
MODULE_PARM_DESC(debug_vm, "for reading: the struct pages of memory that goes offline are overwritten");

struct test_system {
	struct pinpage_system system;
	char name[16];
	bool registered;
};

/* The last one is TEST_PINPAGE_SYSTEM_COPY. */
static struct test_system test_systems[TEST_MAX_SYSTEMS + 1];
static atomic64_t test_violations = ATOMIC64_INIT(0);

/* Of the last calls, by whomever: for a benchmark, which is alone. */
static struct test_pinpage_time test_time;

/* Held around an allocation; to be taken by callbacks that are to be caught. */
static DEFINE_MUTEX(test_bad_lock);

struct test_file {
	struct mutex lock;	/* protects buffers against each other's ioctls */
	struct xarray buffers;
};

/*
 * One call of prepare() that did not refuse, until complete(); and the last one
 * before it, to see that the set has run for as long as that has lasted.
 */
struct test_pause {
	bool open;
	bool quiet;
	unsigned int nr;		/* items */
	struct task_struct *task;	/* never dereferenced */
	ktime_t began;
	ktime_t due;			/* quiet then; 0: when told */
	ktime_t quieted;
	ktime_t ended;
	ktime_t lasted;
};

struct test_buffer {
	struct pinpage_set set;
	struct kref ref;
	struct test_system *sys;	/* NULL: not registered */
	u32 id;
	u32 kind;
	u32 flags;
	nodemask_t nodes;
	bool dead;			/* the device has let go */
	bool cleared;			/* and is not in pinpage any more */
	unsigned long nr;
	unsigned long entry;		/* pages that the device maps by one entry */
	bool mapped;			/* its table is complete */
	struct page **pages;		/* the device's view, at each entry */
	struct page **moves;		/* where it goes; NULL: it runs */
	/* KERNEL: the owner that the pages' private, index, mapping speak of. */
	struct test_buffer *origin;
	unsigned long origin_first;
	struct address_space *mapping;

	/* What others wait for: held by a task that does nothing else. */
	struct task_struct *holder;
	struct completion taken;
	int held;			/* 0, or why not */
	struct rw_semaphore *rwsem;

	spinlock_t lock;		/* see above */
	wait_queue_head_t wait;		/* pages that resume, death */
	struct test_pause pause;
	struct hrtimer timer;		/* the pause is quiet */
	struct test_pinpage_policy policy;
	struct test_pinpage_counters count;
	atomic64_t violations;
};

static bool count_breach(struct test_buffer *b)
{
	atomic64_inc(&b->violations);
	atomic64_inc(&test_violations);
	return true;
}

#define breach(b, fmt, ...) \
	WARN_ONCE(count_breach(b), "test_pinpage: " fmt "\n", ##__VA_ARGS__)

/* Where in pages[] and moves[] is the entry that maps page @index? */
static __always_inline unsigned long entry_of(const struct test_buffer *b,
					      unsigned long index)
{
	return index & ~(b->entry - 1);
}

static struct page *device_page(const struct test_buffer *b, unsigned long index)
{
	return nth_page(b->pages[entry_of(b, index)], index & (b->entry - 1));
}

/* The device has stopped to access page @index. */
static bool page_is_quiet(const struct test_buffer *b, unsigned long index)
{
	return READ_ONCE(b->pause.quiet) && (b->flags & TEST_PINPAGE_WHOLE ||
					     READ_ONCE(b->moves[entry_of(b, index)]));
}

/* A callback may come out of an allocation, but never where it must be short. */
static void check_context(struct test_buffer *b)
{
	if (!in_task() || irqs_disabled() ||
	    (IS_ENABLED(CONFIG_PREEMPT_COUNT) && !preemptible()))
		breach(b, "callback in atomic context");
	if (READ_ONCE(b->cleared))
		breach(b, "callback for a set that is cleared");
}

static __always_inline bool item_in_range(struct test_buffer *b, const struct pinpage_item *item)
{
	if (item->nr && item->index < b->nr && item->nr <= b->nr - item->index)
		return true;
	breach(b, "pages %lu+%u of %lu", item->index, item->nr, b->nr);
	return false;
}

/* May @item go where prepare() is told that it will? */
static void check_destination(struct test_buffer *b, const struct pinpage_item *item)
{
	struct folio *folio;

	if (!item->new || item->new == item->page) {
		breach(b, "page %lu has no destination", item->index);
		return;
	}
	folio = page_folio(item->new);
	if (folio_page_idx(folio, item->new) + item->nr > folio_nr_pages(folio) ||
	    !folio_ref_count(folio) || folio_test_pinpage(folio))
		breach(b, "page %lu can't go to pfn %#lx", item->index,
		       page_to_pfn(item->new));
	if (b->set.limit &&
	    PFN_PHYS(page_to_pfn(item->new) + item->nr) - 1 > b->set.limit)
		breach(b, "page %lu is to go above the limit", item->index);
	if (b->set.nodes && !node_isset(page_to_nid(item->new), *b->set.nodes))
		breach(b, "page %lu is to go to node %d", item->index,
		       page_to_nid(item->new));
}

static void check_items(struct test_buffer *b, const struct pinpage_item *items,
			unsigned int nr)
{
	unsigned int i;

	if (!nr || nr > TEST_BATCH)
		breach(b, "%u items in a batch", nr);
	for (i = 0; i < nr; i++)
		if (item_in_range(b, &items[i]))
			check_destination(b, &items[i]);
}

/* One pause at a time, and none right after another. */
static void check_pause(struct test_buffer *b)
{
	struct test_pause *p = &b->pause;

	if (p->open)
		breach(b, "prepare() while a pause is open");
	else if (ktime_before(ktime_get(), ktime_add(p->ended, p->lasted)))
		breach(b, "prepare() %lld ns after a pause of %lld ns",
		       ktime_to_ns(ktime_sub(ktime_get(), p->ended)),
		       ktime_to_ns(p->lasted));
}

static bool items_overlap(const struct pinpage_item *items, unsigned int nr,
			  u64 first, u64 count)
{
	unsigned int i;

	if (!count)
		return false;
	for (i = 0; i < nr; i++)
		if (items[i].index < first + count &&
		    first < items[i].index + items[i].nr)
			return true;
	return false;
}

/* An entry of several pages moves as a whole, and when it is there. */
static bool parts_of_entries(const struct test_buffer *b,
			     const struct pinpage_item *items, unsigned int nr)
{
	unsigned int i;

	if (b->entry == 1)
		return false;
	for (i = 0; i < nr; i++)
		if ((items[i].index | items[i].nr) & (b->entry - 1))
			return true;
	return !b->mapped;
}

static int refuse(struct test_buffer *b, const struct pinpage_item *items,
		  unsigned int nr)
{
	struct test_pinpage_policy *p = &b->policy;

	if (parts_of_entries(b, items, nr) ||
	    items_overlap(items, nr, p->busy_first, p->busy_nr))
		return -EBUSY;
	if (p->refusals) {
		p->refusals--;
		return p->refusal;
	}
	return 0;
}

static void pause_item(struct test_buffer *b, const struct pinpage_item *item)
{
	unsigned long i;

	if (!item_in_range(b, item))
		return;
	for (i = 0; i < item->nr; i += b->entry) {
		if (b->moves[item->index + i])
			breach(b, "page %lu paused twice", item->index + i);
		if (b->pages[item->index + i] != nth_page(item->page, i))
			breach(b, "page %lu is not the device's", item->index + i);
		b->moves[item->index + i] = nth_page(item->new, i);
	}
	b->count.paused += item->nr;
}

static void resume_item(struct test_buffer *b, const struct pinpage_item *item)
{
	unsigned long i, at;

	if (!item_in_range(b, item))
		return;
	for (i = 0; i < item->nr; i += b->entry) {
		at = item->index + i;
		if (!b->moves[at])
			breach(b, "page %lu: complete() without its prepare()", at);
		if (b->pages[at] != nth_page(item->page, i))
			breach(b, "page %lu is not the device's", at);
		if (item->new && b->moves[at] != nth_page(item->new, i))
			breach(b, "page %lu is not where it was to go", at);
		if (item->new && !b->pause.quiet)
			breach(b, "page %lu has moved before it was quiet", at);
		if (item->new)
			b->pages[at] = nth_page(item->new, i);
		b->moves[at] = NULL;
	}
	b->count.paused -= item->nr;
	if (item->new)
		b->count.moved += item->nr;
	else
		b->count.stayed += item->nr;
}

/* What no callback should do. */
static void take_bad_lock(struct test_buffer *b)
{
	if (!READ_ONCE(b->policy.bad_lock))
		return;
	mutex_lock(&test_bad_lock);
	mutex_unlock(&test_bad_lock);
}

static void become_quiet(struct test_buffer *b)
{
	WRITE_ONCE(b->pause.quiet, true);
	b->pause.quieted = ktime_get();
}

static enum hrtimer_restart quiet_fn(struct hrtimer *timer)
{
	struct test_buffer *b = container_of(timer, struct test_buffer, timer);
	struct test_pause *p = &b->pause;
	unsigned long flags;

	spin_lock_irqsave(&b->lock, flags);
	/* It may be late, and that of the next pause early. */
	if (p->open && !p->quiet && p->due && !ktime_before(ktime_get(), p->due)) {
		become_quiet(b);
		pinpage_quiet(&b->set);
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return HRTIMER_NORESTART;
}

static int begin_pause(struct test_buffer *b, const struct pinpage_item *items,
		       unsigned int nr)
{
	const struct test_pinpage_policy *policy = &b->policy;
	struct test_pause *p = &b->pause;
	unsigned int i;

	p->open = true;
	p->quiet = false;
	p->nr = nr;
	p->task = current;
	p->began = ktime_get();
	p->due = 0;
	for (i = 0; i < nr; i++)
		pause_item(b, &items[i]);
	if (!policy->hold && !policy->early && !policy->quiet_us) {
		become_quiet(b);
		return 0;
	}
	b->count.inprogress++;
	if (policy->early) {
		become_quiet(b);
		pinpage_quiet(&b->set);
	} else if (!policy->hold) {
		p->due = ktime_add_us(p->began, policy->quiet_us);
		hrtimer_start(&b->timer, p->due, HRTIMER_MODE_ABS);
	}
	return -EINPROGRESS;
}

static void end_pause(struct test_buffer *b, unsigned int nr)
{
	struct test_pause *p = &b->pause;
	u64 quiet;

	if (b->count.paused)
		breach(b, "complete() leaves %llu pages paused", b->count.paused);
	p->ended = ktime_get();
	p->lasted = ktime_sub(p->ended, p->began);
	b->count.waited_ns = max_t(u64, b->count.waited_ns, p->lasted);
	if (p->quiet) {
		quiet = ktime_sub(p->ended, p->quieted);
		b->count.quiet_ns += quiet;
		b->count.longest_ns = max(b->count.longest_ns, quiet);
	} else {
		b->count.cancelled++;
	}
	p->open = false;
	WRITE_ONCE(p->quiet, false);
}

static int test_prepare(struct pinpage_set *set, struct pinpage_item *items,
			unsigned int nr)
{
	struct test_buffer *b = container_of(set, struct test_buffer, set);
	unsigned long flags;
	unsigned int i;
	int ret;

	check_context(b);
	take_bad_lock(b);
	spin_lock_irqsave(&b->lock, flags);
	b->count.prepares++;
	b->count.items += nr;
	b->count.largest = max_t(u64, b->count.largest, nr);
	for (i = 0; i < nr; i++)
		b->count.asked += items[i].nr;
	check_items(b, items, nr);
	check_pause(b);
	ret = refuse(b, items, nr);
	if (ret)
		b->count.refused++;
	else
		ret = begin_pause(b, items, nr);
	spin_unlock_irqrestore(&b->lock, flags);
	return ret;
}

/* By the clock of pauses: mdelay() counts cycles, which a guest may not get. */
static void be_busy(u32 ms)
{
	ktime_t end = ktime_add_ms(ktime_get(), ms);

	while (ktime_before(ktime_get(), end))
		cpu_relax();
}

static void test_complete(struct pinpage_set *set, struct pinpage_item *items,
			  unsigned int nr)
{
	struct test_buffer *b = container_of(set, struct test_buffer, set);
	struct test_pause *p = &b->pause;
	unsigned long flags;
	unsigned int i;
	u32 ms;

	check_context(b);
	spin_lock_irqsave(&b->lock, flags);
	b->count.completes++;
	if (!p->open || p->nr != nr || p->task != current)
		breach(b, "complete() of %u items is not as prepare() was", nr);
	ms = b->policy.complete_ms;
	if (ms) {
		b->count.in_complete++;
		spin_unlock_irqrestore(&b->lock, flags);
		be_busy(ms);
		spin_lock_irqsave(&b->lock, flags);
		b->count.in_complete--;
	}
	for (i = 0; i < nr; i++)
		resume_item(b, &items[i]);
	end_pause(b, nr);
	spin_unlock_irqrestore(&b->lock, flags);
	if (wq_has_sleeper(&b->wait))
		wake_up_all(&b->wait);
}

/* All that the owner of a kernel page keeps in it, besides its content. */
static void set_owner_fields(struct page *page, struct test_buffer *b,
			     unsigned long index)
{
	set_page_private(page, (unsigned long)b + index);
	page->index = ~index;
	if (b->flags & TEST_PINPAGE_MAPPING)
		page->mapping = b->mapping;
}

static bool owner_fields_intact(struct test_buffer *b, unsigned long index)
{
	struct page *page = device_page(b, index);
	struct test_buffer *origin = b->origin;

	/* Those of a folio are those of its first page. */
	if (PageTail(page))
		return true;
	index += b->origin_first;
	return page_private(page) == (unsigned long)origin + index &&
	       page->index == ~index &&
	       page->mapping == (origin->flags & TEST_PINPAGE_MAPPING ?
				 origin->mapping : NULL);
}

static void clear_owner_fields(struct page *page)
{
	set_page_private(page, 0);
	page->mapping = NULL;
}

static int refuse_migrate(struct test_buffer *b)
{
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&b->lock, flags);
	if (!b->pause.open || !b->pause.quiet || b->pause.task != current)
		breach(b, "migrate() of pages that are not quiet");
	if (b->policy.migrate_refusals) {
		b->policy.migrate_refusals--;
		ret = b->policy.migrate_refusal;
	} else {
		b->count.migrates++;
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return ret;
}

static int test_migrate(struct pinpage_set *set, struct folio *dst,
			struct folio *src, enum migrate_mode mode)
{
	struct test_buffer *b = container_of(set, struct test_buffer, set);
	long i;
	int ret;

	if (!folio_test_locked(src) || !folio_test_locked(dst))
		breach(b, "migrate() of unlocked folios");
	if (folio_ref_count(src))
		breach(b, "migrate() of a folio that others can get");
	if (mode != MIGRATE_ASYNC)
		breach(b, "migrate() in mode %d", mode);
	ret = refuse_migrate(b);
	if (ret)
		return ret;
	/* Not folio_copy(), which may sleep between two pages. */
	for (i = 0; i < folio_nr_pages(src); i++)
		copy_highpage(folio_page(dst, i), folio_page(src, i));
	set_page_private(&dst->page, page_private(&src->page));
	dst->page.index = src->page.index;
	dst->page.mapping = src->page.mapping;
	clear_owner_fields(&src->page);
	return 0;
}

static void test_show(struct seq_file *m, struct pinpage_set *set)
{
	struct test_buffer *b = container_of(set, struct test_buffer, set);

	seq_printf(m, "test_pinpage buffer %u of %lu pages", b->id, b->nr);
}

static const struct pinpage_ops test_ops = {
	.prepare = test_prepare,
	.complete = test_complete,
	.show = test_show,
};

static const struct pinpage_ops test_copy_ops = {
	.prepare = test_prepare,
	.complete = test_complete,
	.migrate = test_migrate,
	.show = test_show,
};

/* Buffers */

static bool is_registered_kind(u32 kind)
{
	return kind <= TEST_PINPAGE_KERNEL;
}

/* Not the pages, but something that others wait for? */
static bool is_held_kind(u32 kind)
{
	return kind >= TEST_PINPAGE_WRITEBACK;
}

static void free_buffer(struct kref *ref)
{
	struct test_buffer *b = container_of(ref, struct test_buffer, ref);

	hrtimer_cancel(&b->timer);
	if (b->origin && b->origin != b)
		kref_put(&b->origin->ref, free_buffer);
	kvfree(b->moves);
	kvfree(b->pages);
	kfree(b);
}

static void put_buffer(struct test_buffer *b)
{
	kref_put(&b->ref, free_buffer);
}

static struct test_buffer *alloc_buffer(const struct test_pinpage_pin *pin)
{
	struct test_buffer *b;

	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return NULL;
	kref_init(&b->ref);
	spin_lock_init(&b->lock);
	init_waitqueue_head(&b->wait);
	init_completion(&b->taken);
	hrtimer_init(&b->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
	b->timer.function = quiet_fn;
	b->kind = pin->kind;
	b->flags = pin->flags;
	b->set.timeout_ms = pin->timeout_ms;
	b->set.limit = pin->limit;
	b->nodes.bits[0] = pin->nodes;
	if (pin->nodes)
		b->set.nodes = &b->nodes;
	b->nr = DIV_ROUND_UP_ULL(pin->len >> PAGE_SHIFT, pin->stride);
	b->entry = pin->flags & TEST_PINPAGE_HUGE ? TEST_HUGE_PAGES : 1;
	b->pages = kvcalloc(b->nr, sizeof(*b->pages), GFP_KERNEL);
	b->moves = kvcalloc(b->nr, sizeof(*b->moves), GFP_KERNEL);
	if (b->pages && b->moves)
		return b;
	put_buffer(b);
	return NULL;
}

static struct test_buffer *get_buffer(struct test_file *file, u32 id)
{
	struct test_buffer *b;

	mutex_lock(&file->lock);
	b = xa_load(&file->buffers, id);
	if (b)
		kref_get(&b->ref);
	mutex_unlock(&file->lock);
	return b;
}

static bool is_pinned_kind(u32 kind)
{
	return kind == TEST_PINPAGE_SET || kind == TEST_PINPAGE_PLAIN ||
	       kind == TEST_PINPAGE_LONGTERM;
}

/* One reference or pin per folio, at the first page that is in it? */
static bool is_folio_kind(u32 kind)
{
	return kind == TEST_PINPAGE_KERNEL || kind == TEST_PINPAGE_MEMFD;
}

static bool is_first_in_folio(struct test_buffer *b, unsigned long i)
{
	return !i || page_folio(b->pages[i]) != page_folio(b->pages[i - 1]);
}

static bool is_rmap_kind(u32 kind)
{
	return kind == TEST_PINPAGE_ANON_VMA || kind == TEST_PINPAGE_I_MMAP;
}

#ifdef CONFIG_BUFFER_HEAD
static bool lock_first_buffer(struct folio *folio)
{
	if (!folio->mapping || folio_test_anon(folio) || !folio_buffers(folio))
		return false;
	lock_buffer(folio_buffers(folio));
	return true;
}

static void unlock_first_buffer(struct folio *folio)
{
	unlock_buffer(folio_buffers(folio));
}
#else
static bool lock_first_buffer(struct folio *folio)
{
	return false;
}

static void unlock_first_buffer(struct folio *folio)
{
}
#endif

static void end_hold(struct test_buffer *b, unsigned long nr)
{
	unsigned long i;

	if (is_rmap_kind(b->kind)) {
		if (b->rwsem)
			up_write(b->rwsem);
		return;
	}
	for (i = 0; i < nr; i++) {
		if (b->kind == TEST_PINPAGE_WRITEBACK)
			folio_end_writeback(page_folio(b->pages[i]));
		else if (b->kind == TEST_PINPAGE_BUFFER)
			unlock_first_buffer(page_folio(b->pages[i]));
		else if (is_first_in_folio(b, i))
			folio_unlock(page_folio(b->pages[i]));
	}
}

static bool start_writeback(struct folio *folio)
{
	if (folio_test_large(folio) || !folio->mapping || folio_test_anon(folio))
		return false;
	folio_wait_writeback(folio);
	folio_start_writeback(folio);
	return true;
}

/* Who holds it for writing keeps the anon_vma, and the mapping its inode. */
static bool lock_rmap(struct test_buffer *b, struct folio *folio)
{
	struct anon_vma *anon_vma;

	if (b->kind == TEST_PINPAGE_I_MMAP) {
		if (!folio->mapping || folio_test_anon(folio))
			return false;
		i_mmap_lock_write(folio->mapping);
		b->rwsem = &folio->mapping->i_mmap_rwsem;
		return true;
	}
	if (!folio_test_anon(folio) || folio_test_ksm(folio) || !folio_mapped(folio))
		return false;
	anon_vma = (void *)((unsigned long)folio->mapping & ~PAGE_MAPPING_FLAGS);
	anon_vma_lock_write(anon_vma);
	b->rwsem = &anon_vma->root->rwsem;
	return true;
}

static bool hold_folio(struct test_buffer *b, struct folio *folio)
{
	bool held;

	folio_lock(folio);
	switch (b->kind) {
	case TEST_PINPAGE_LOCK:
		return true;
	case TEST_PINPAGE_WRITEBACK:
		held = start_writeback(folio);
		break;
	case TEST_PINPAGE_BUFFER:
		held = lock_first_buffer(folio);
		break;
	default:
		held = lock_rmap(b, folio);
		break;
	}
	folio_unlock(folio);
	return held;
}

/*
 * What is locked, or under writeback, is not freed: no reference is needed, which
 * would keep the page where it is by itself.
 */
static int begin_hold(struct test_buffer *b)
{
	unsigned long i, nr = is_rmap_kind(b->kind) ? 1 : b->nr;

	for (i = 0; i < nr; i++) {
		if (b->kind == TEST_PINPAGE_LOCK && !is_first_in_folio(b, i))
			continue;
		if (!hold_folio(b, page_folio(b->pages[i])))
			break;
	}
	if (i < nr)
		end_hold(b, i);
	release_pages(b->pages, b->nr);
	return i < nr ? -EINVAL : 0;
}

static int hold_fn(void *arg)
{
	struct test_buffer *b = arg;

	b->held = begin_hold(b);
	complete(&b->taken);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (kthread_should_stop())
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	if (!b->held)
		end_hold(b, b->nr);
	return 0;
}

/* Not the caller: nobody returns to userspace with a lock. */
static int start_holder(struct test_buffer *b)
{
	struct task_struct *holder;

	holder = kthread_run(hold_fn, b, "pinpage_hold");
	if (IS_ERR(holder)) {
		release_pages(b->pages, b->nr);
		return PTR_ERR(holder);
	}
	wait_for_completion(&b->taken);
	if (b->held)
		kthread_stop(holder);
	else
		b->holder = holder;
	return b->held;
}

/* Drop what gather() took of the first @nr pages. */
static void drop_pages(struct test_buffer *b, unsigned long nr, bool dirty)
{
	unsigned long i;

	if (is_held_kind(b->kind)) {
		kthread_stop(b->holder);
		return;
	}
	if (is_pinned_kind(b->kind)) {
		unpin_user_pages_dirty_lock(b->pages, nr, dirty);
		return;
	}
	/* Last first: what is dropped may be gone. */
	for (i = nr; i--;) {
		if (is_folio_kind(b->kind) && !is_first_in_folio(b, i))
			continue;
		if (b->kind == TEST_PINPAGE_MEMFD) {
			unpin_user_page_range_dirty_lock(b->pages[i], 1, dirty);
			continue;
		}
		if (b->kind == TEST_PINPAGE_KERNEL && b->origin == b)
			clear_owner_fields(b->pages[i]);
		put_page(b->pages[i]);
		cond_resched();
	}
}

/* One page in each @stride pages of a user range. */
static int gather_user(struct test_buffer *b, const struct test_pinpage_pin *pin)
{
	unsigned int gup = pin->flags & TEST_PINPAGE_WRITE ? FOLL_WRITE : 0;
	unsigned long done = 0;
	u64 addr = pin->addr;
	int got, want;

	if (b->kind == TEST_PINPAGE_LONGTERM)
		gup |= FOLL_LONGTERM;
	while (done < b->nr) {
		want = pin->stride == 1 ? min(b->nr - done, 1024UL) : 1;
		if (is_pinned_kind(b->kind))
			got = pin_user_pages_fast(addr, want, gup, b->pages + done);
		else
			got = get_user_pages_fast(addr, want, gup, b->pages + done);
		if (got <= 0) {
			if (is_held_kind(b->kind))
				release_pages(b->pages, done);
			else
				drop_pages(b, done, false);
			return got ?: -EFAULT;
		}
		done += got;
		addr += (u64)got * pin->stride * PAGE_SIZE;
		cond_resched();
	}
	return 0;
}

static int gather_memfd(struct test_buffer *b, const struct test_pinpage_pin *pin)
{
	struct folio **folios;
	unsigned long done = 0, at;
	struct file *memfd;
	pgoff_t offset;
	long i, nr;

	folios = kvcalloc(b->nr, sizeof(*folios), GFP_KERNEL);
	if (!folios)
		return -ENOMEM;
	memfd = fget(pin->fd);
	nr = -EBADF;
	if (!memfd)
		goto out;
	nr = memfd_pin_folios(memfd, pin->addr, pin->addr + pin->len - 1,
			      folios, b->nr, &offset);
	fput(memfd);
	for (i = 0, at = offset >> PAGE_SHIFT; i < nr; i++, at = 0)
		while (at < folio_nr_pages(folios[i]) && done < b->nr)
			b->pages[done++] = folio_page(folios[i], at++);
	if (nr > 0 && done != b->nr) {
		unpin_folios(folios, nr);
		nr = -EFAULT;
	}
out:
	kvfree(folios);
	return min(nr, 0L);
}

static int gather_kernel(struct test_buffer *b, unsigned int order)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_ZERO | __GFP_COMP;
	struct page *page;
	unsigned long i;

	b->origin = b;
	for (i = 0; i < b->nr; i++) {
		if (i & ((1UL << order) - 1)) {
			b->pages[i] = b->pages[i - 1] + 1;
			continue;
		}
		page = alloc_pages(gfp, order);
		if (!page) {
			drop_pages(b, i, false);
			return -ENOMEM;
		}
		b->pages[i] = page;
		set_owner_fields(page, b, i);
		cond_resched();
	}
	return 0;
}

typedef void (*page_fn)(struct test_buffer *b, unsigned long index, void *arg);

/*
 * Call @fn for page @index once it is not quiet, under the lock, so that it
 * does not move before @fn returns. A page that nobody ever resumes is an error
 * of the core, which a test should live to tell.
 */
static int with_page(struct test_buffer *b, unsigned long index, bool nonblock,
		     page_fn fn, void *arg)
{
	unsigned long flags;
	long ret;

	for (;;) {
		spin_lock_irqsave(&b->lock, flags);
		ret = b->dead ? -ENOENT : page_is_quiet(b, index) ? -EBUSY : 0;
		if (!ret)
			fn(b, index, arg);
		spin_unlock_irqrestore(&b->lock, flags);
		if (ret != -EBUSY || nonblock)
			return ret;
		ret = wait_event_killable_timeout(b->wait, READ_ONCE(b->dead) ||
						  !page_is_quiet(b, index),
						  TEST_PATIENCE);
		if (ret <= 0)
			return ret ?: -ETIMEDOUT;
	}
}

struct page_get {
	struct page *page;
	struct folio *held;		/* already, and so it does not move */
};

static void get_page_fn(struct test_buffer *b, unsigned long index, void *arg)
{
	struct page_get *get = arg;

	get->page = device_page(b, index);
	if (page_folio(get->page) != get->held)
		get_page(get->page);
}

/* References to pages of another buffer. */
static int gather_from(struct test_buffer *b, struct test_buffer *from,
		       unsigned long first)
{
	struct page_get get = {};
	unsigned long i;
	int ret;

	if (b->kind == TEST_PINPAGE_KERNEL) {
		kref_get(&from->origin->ref);
		b->origin = from->origin;
		b->origin_first = from->origin_first + first;
	}
	for (i = 0; i < b->nr; i++) {
		ret = with_page(from, first + i, false, get_page_fn, &get);
		if (ret) {
			drop_pages(b, i, false);
			return ret;
		}
		b->pages[i] = get.page;
		if (is_folio_kind(b->kind))
			get.held = page_folio(get.page);
		cond_resched();
	}
	return 0;
}

static unsigned int set_flags(const struct test_buffer *b)
{
	unsigned int flags = 0;

	if (b->kind == TEST_PINPAGE_KERNEL)
		flags |= PINPAGE_KERNEL;
	if (b->kind == TEST_PINPAGE_MEMFD)
		flags |= PINPAGE_FOLIO;
	if (b->flags & TEST_PINPAGE_UNMOVABLE)
		flags |= PINPAGE_UNMOVABLE;
	if (b->flags & TEST_PINPAGE_BAD_FLAGS)
		flags |= BIT(30);
	return flags;
}

/*
 * Set what was gathered. A set that has a page twice never moves: what the device
 * knows of it need not be changed.
 */
static int set_buffer(struct test_buffer *b)
{
	struct page *last = b->pages[b->nr - 1];
	int ret;

	if (b->flags & TEST_PINPAGE_TWICE)
		b->pages[b->nr - 1] = b->pages[0];
	ret = set_pinpage(&b->sys->system, &b->set, b->pages, b->nr, set_flags(b));
	b->pages[b->nr - 1] = last;
	if (ret)
		drop_pages(b, b->nr, false);
	return ret;
}

/* Until the table is there, prepare() refuses: no page moves. */
static int map_entries(struct test_buffer *b)
{
	unsigned long i;

	for (i = 0; i < b->nr; i++)
		if (b->pages[i] != device_page(b, i) ||
		    folio_page_idx(page_folio(b->pages[i]), b->pages[i]) !=
		    (i & (b->entry - 1)))
			return -EINVAL;
	spin_lock_irq(&b->lock);
	b->mapped = true;
	spin_unlock_irq(&b->lock);
	return 0;
}

static int pin_user(struct test_buffer *b, const struct test_pinpage_pin *pin)
{
	int ret;

	ret = pinpage_pin_user(&b->sys->system, &b->set, pin->addr, b->nr,
			       pin->flags & TEST_PINPAGE_WRITE ? FOLL_WRITE : 0,
			       set_flags(b), b->pages);
	if (ret || b->entry == 1)
		return ret;
	ret = map_entries(b);
	if (ret)
		pinpage_unpin_user(&b->set, false);
	return ret;
}

static int fill_buffer(struct test_file *file, struct test_buffer *b,
		       const struct test_pinpage_pin *pin)
{
	struct test_buffer *from;
	int ret;

	test_time.pin_ns = ktime_get_ns();
	if (b->kind == TEST_PINPAGE_USER) {
		ret = pin_user(b, pin);
		goto out;
	}

	if (pin->flags & TEST_PINPAGE_FROM) {
		from = get_buffer(file, pin->from);
		if (!from)
			return -ENOENT;
		ret = -EINVAL;
		if ((pin->addr >> PAGE_SHIFT) < from->nr &&
		    b->nr <= from->nr - (pin->addr >> PAGE_SHIFT) &&
		    (b->kind == TEST_PINPAGE_REF || from->origin))
			ret = gather_from(b, from, pin->addr >> PAGE_SHIFT);
		put_buffer(from);
	} else if (b->kind == TEST_PINPAGE_MEMFD) {
		ret = gather_memfd(b, pin);
	} else if (b->kind == TEST_PINPAGE_KERNEL) {
		ret = gather_kernel(b, pin->order);
	} else {
		ret = gather_user(b, pin);
		if (!ret && is_held_kind(b->kind))
			ret = start_holder(b);
	}
	if (!ret && is_registered_kind(b->kind))
		ret = set_buffer(b);
out:
	test_time.pin_ns = ktime_get_ns() - test_time.pin_ns;
	return ret;
}

/*
 * The device lets go. A pause that is not quiet ends at once; nothing calls back
 * once a move in flight is over. With @got, this is where the pages came back.
 */
static void empty_buffer(struct test_buffer *b, bool dirty, struct page **got)
{
	int ret = 0;

	spin_lock_irq(&b->lock);
	WRITE_ONCE(b->dead, true);
	spin_unlock_irq(&b->lock);
	wake_up_all(&b->wait);

	test_time.unpin_ns = ktime_get_ns();
	if (b->kind == TEST_PINPAGE_USER)
		ret = pinpage_unpin_user(&b->set, dirty);
	else if (is_registered_kind(b->kind))
		ret = clear_pinpage(&b->set, got);
	if (ret)
		breach(b, "its set does not clear: %d", ret);
	WRITE_ONCE(b->cleared, true);
	if (b->pause.open || b->count.paused)
		breach(b, "%llu pages never resumed", b->count.paused);
	if (b->kind != TEST_PINPAGE_USER)
		drop_pages(b, b->nr, dirty);
	test_time.unpin_ns = ktime_get_ns() - test_time.unpin_ns;
}

static bool kind_takes(const struct test_pinpage_pin *pin, u32 flags)
{
	bool from = pin->flags & TEST_PINPAGE_FROM;

	switch (pin->kind) {
	case TEST_PINPAGE_MEMFD:
	case TEST_PINPAGE_KERNEL:
	case TEST_PINPAGE_USER:
		if (pin->stride != 1)
			return false;
		break;
	}
	if (from && pin->kind != TEST_PINPAGE_KERNEL && pin->kind != TEST_PINPAGE_REF)
		return false;
	if (from && pin->stride != 1)
		return false;
	if (!from && pin->from)
		return false;
	if (pin->kind == TEST_PINPAGE_KERNEL && !from && pin->addr)
		return false;
	if (pin->order && (pin->kind != TEST_PINPAGE_KERNEL || from ||
			   pin->order > MAX_PAGE_ORDER ||
			   pin->len & ((PAGE_SIZE << pin->order) - 1)))
		return false;
	if (pin->kind != TEST_PINPAGE_MEMFD && pin->fd)
		return false;
	if (pin->kind != TEST_PINPAGE_KERNEL && flags & TEST_PINPAGE_MAPPING)
		return false;
	if (!is_registered_kind(pin->kind) &&
	    (flags & (TEST_PINPAGE_UNMOVABLE | TEST_PINPAGE_TWICE |
		      TEST_PINPAGE_BAD_FLAGS) || pin->system || pin->timeout_ms ||
	     pin->limit || pin->nodes))
		return false;
	if (flags & TEST_PINPAGE_HUGE &&
	    (pin->kind != TEST_PINPAGE_USER ||
	     (pin->len >> PAGE_SHIFT) % TEST_HUGE_PAGES))
		return false;
	return !(flags & TEST_PINPAGE_TWICE) || is_folio_kind(pin->kind);
}

static int check_pin(const struct test_pinpage_pin *pin)
{
	if (pin->kind >= TEST_PINPAGE_NR_KINDS || pin->id ||
	    pin->flags & ~TEST_PINPAGE_PIN_FLAGS ||
	    !pin->stride || !pin->len ||
	    !PAGE_ALIGNED(pin->addr) || !PAGE_ALIGNED(pin->len) ||
	    pin->len >> PAGE_SHIFT > INT_MAX ||
	    pin->addr + pin->len < pin->addr ||
	    !kind_takes(pin, pin->flags))
		return -EINVAL;
	if (pin->system >= nr_systems && pin->system != TEST_PINPAGE_SYSTEM_COPY)
		return -EINVAL;
	if (pin->flags & TEST_PINPAGE_TWICE && pin->len >> PAGE_SHIFT < 2)
		return -EINVAL;
	return 0;
}

/* The buffer can be found, and moved, from here on. */
static int publish(struct test_file *file, struct test_buffer *b)
{
	void *old;

	mutex_lock(&file->lock);
	old = xa_store(&file->buffers, b->id, b, GFP_KERNEL);
	mutex_unlock(&file->lock);
	return xa_err(old);
}

static void unpublish(struct test_file *file, u32 id)
{
	mutex_lock(&file->lock);
	xa_erase(&file->buffers, id);
	mutex_unlock(&file->lock);
}

static int ioctl_pin(struct test_file *file, struct file *filp, void __user *argp)
{
	struct test_pinpage_pin pin, __user *arg = argp;
	struct test_buffer *b;
	int ret;

	if (copy_from_user(&pin, arg, sizeof(pin)))
		return -EFAULT;
	ret = check_pin(&pin);
	if (ret)
		return ret;
	b = alloc_buffer(&pin);
	if (!b)
		return -ENOMEM;
	b->mapping = filp->f_mapping;
	if (is_registered_kind(pin.kind))
		b->sys = &test_systems[min(pin.system, (u32)TEST_MAX_SYSTEMS)];

	/* A reserved entry reads as NULL, and storing to it can't fail. */
	mutex_lock(&file->lock);
	ret = xa_alloc(&file->buffers, &b->id, NULL, xa_limit_31b, GFP_KERNEL);
	mutex_unlock(&file->lock);
	if (ret)
		goto put;
	ret = fill_buffer(file, b, &pin);
	if (ret)
		goto unpublish;
	ret = put_user(b->id, &arg->id) ?: publish(file, b);
	if (!ret)
		return 0;
	empty_buffer(b, false, NULL);
unpublish:
	unpublish(file, b->id);
put:
	put_buffer(b);
	return ret;
}

static u64 count_misplaced(struct test_buffer *b, struct page **got)
{
	unsigned long i;
	u64 misplaced = 0;

	for (i = 0; i < b->nr; i++)
		misplaced += got[i] != device_page(b, i);
	return misplaced;
}

static void copy_page_fn(struct test_buffer *b, unsigned long index, void *arg)
{
	*(struct page **)arg = device_page(b, index);
}

/*
 * A move between pinpage_get_pages() and the comparison makes the two differ,
 * and so does one in flight: pages that don't agree are asked for again.
 */
static bool same_page(struct test_buffer *b, unsigned long index)
{
	struct page *core, *device;
	unsigned int tries;

	for (tries = 0; tries < 1000; tries++) {
		if (pinpage_get_pages(&b->set, index, &core, 1) ||
		    with_page(b, index, false, copy_page_fn, &device))
			return false;
		if (core == device)
			return true;
		cond_resched();
	}
	return false;
}

static u64 compare_order(struct test_buffer *b)
{
	unsigned long i;
	u64 misplaced = 0;

	for (i = 0; i < b->nr; i++) {
		misplaced += !same_page(b, i);
		cond_resched();
	}
	return misplaced;
}

static int ioctl_order(struct test_file *file, void __user *argp)
{
	struct test_pinpage_order order, __user *arg = argp;
	struct test_buffer *b;
	int ret = -EINVAL;

	if (copy_from_user(&order, arg, sizeof(order)))
		return -EFAULT;
	if (order.pad || order.misplaced)
		return -EINVAL;
	b = get_buffer(file, order.id);
	if (!b)
		return -ENOENT;
	if (is_registered_kind(b->kind))
		ret = put_user(compare_order(b), &arg->misplaced);
	put_buffer(b);
	return ret;
}

static int ioctl_unpin(struct test_file *file, void __user *argp)
{
	struct test_pinpage_unpin unpin, __user *arg = argp;
	struct page **got = NULL;
	struct test_buffer *b;
	u64 misplaced = 0;

	if (copy_from_user(&unpin, arg, sizeof(unpin)))
		return -EFAULT;
	if (unpin.flags & ~TEST_PINPAGE_DIRTY || unpin.misplaced)
		return -EINVAL;
	b = get_buffer(file, unpin.id);
	if (!b)
		return -ENOENT;
	if (is_registered_kind(b->kind) && b->kind != TEST_PINPAGE_USER) {
		got = kvcalloc(b->nr, sizeof(*got), GFP_KERNEL);
		if (!got) {
			put_buffer(b);
			return -ENOMEM;
		}
	}
	mutex_lock(&file->lock);
	if (xa_load(&file->buffers, unpin.id) != b) {
		mutex_unlock(&file->lock);
		kvfree(got);
		put_buffer(b);
		return -ENOENT;
	}
	xa_erase(&file->buffers, unpin.id);
	mutex_unlock(&file->lock);

	if (b->kind == TEST_PINPAGE_USER)
		misplaced = compare_order(b);
	empty_buffer(b, unpin.flags & TEST_PINPAGE_DIRTY, got);
	if (got)
		misplaced = count_misplaced(b, got);
	kvfree(got);
	put_buffer(b);	/* of get_buffer() */
	put_buffer(b);	/* of the file */
	return put_user(misplaced, &arg->misplaced);
}

/* The device */

struct page_access {
	void *data;
	size_t offset;
	size_t len;
	bool write;
};

static void access_page_fn(struct test_buffer *b, unsigned long index, void *arg)
{
	struct page_access *a = arg;
	char *at = kmap_local_page(device_page(b, index));

	if (a->write)
		memcpy(at + a->offset, a->data, a->len);
	else
		memcpy(a->data, at + a->offset, a->len);
	kunmap_local(at);
}

/* The device reads from pages that are pinned for reading only. */
static bool device_writes(const struct test_buffer *b)
{
	return b->flags & TEST_PINPAGE_WRITE || b->kind == TEST_PINPAGE_KERNEL;
}

static int access_buffer(struct test_buffer *b, const struct test_pinpage_access *a,
			 bool write, void *bounce)
{
	struct page_access page = { .data = bounce, .write = write };
	char __user *user = u64_to_user_ptr(a->ptr);
	u64 at = a->offset, end = a->offset + a->len;
	int ret;

	if (end < at || end > (u64)b->nr << PAGE_SHIFT)
		return -EINVAL;
	if (write && !device_writes(b))
		return -EPERM;
	for (; at < end; at += page.len, user += page.len) {
		page.offset = offset_in_page(at);
		page.len = min(end - at, PAGE_SIZE - page.offset);
		if (write && copy_from_user(bounce, user, page.len))
			return -EFAULT;
		ret = with_page(b, at >> PAGE_SHIFT, a->flags & TEST_PINPAGE_NONBLOCK,
				access_page_fn, &page);
		if (ret)
			return ret;
		if (!write && copy_to_user(user, bounce, page.len))
			return -EFAULT;
		cond_resched();
	}
	return 0;
}

static int ioctl_access(struct test_file *file, void __user *argp, bool write)
{
	struct test_pinpage_access access;
	struct test_buffer *b;
	void *bounce;
	int ret;

	if (copy_from_user(&access, argp, sizeof(access)))
		return -EFAULT;
	if (access.flags & ~TEST_PINPAGE_NONBLOCK)
		return -EINVAL;
	bounce = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;
	b = get_buffer(file, access.id);
	ret = -ENOENT;
	if (b) {
		ret = access_buffer(b, &access, write, bounce);
		put_buffer(b);
	}
	kfree(bounce);
	return ret;
}

static void fill_page_fn(struct test_buffer *b, unsigned long index, void *arg)
{
	struct test_pinpage_fill *fill = arg;
	u32 word = fill->offset / sizeof(u64), nr = fill->len / sizeof(u64);
	u64 *at = kmap_local_page(device_page(b, index));

	test_pinpage_write(at + word, word, nr, fill->seed, index * fill->stride);
	kunmap_local(at);
}

static void check_page_fn(struct test_buffer *b, unsigned long index, void *arg)
{
	struct test_pinpage_fill *fill = arg;
	u32 word = fill->offset / sizeof(u64), nr = fill->len / sizeof(u64);
	u64 *at = kmap_local_page(device_page(b, index));

	fill->bad_bytes += test_pinpage_compare(at + word, word, nr, fill->seed,
						index * fill->stride);
	kunmap_local(at);
}

static int pattern_buffer(struct test_buffer *b, struct test_pinpage_fill *fill,
			  bool check)
{
	unsigned long i;
	int ret;

	if (fill->nr > b->nr || fill->first > b->nr - fill->nr)
		return -EINVAL;
	if (!check && !device_writes(b))
		return -EPERM;
	for (i = fill->first; i < fill->first + fill->nr; i++) {
		ret = with_page(b, i, fill->flags & TEST_PINPAGE_NONBLOCK,
				check ? check_page_fn : fill_page_fn, fill);
		if (ret)
			return ret;
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

static int ioctl_pattern(struct test_file *file, void __user *argp, bool check)
{
	struct test_pinpage_fill fill, __user *arg = argp;
	struct test_buffer *b;
	int ret;

	if (copy_from_user(&fill, arg, sizeof(fill)))
		return -EFAULT;
	if (fill.flags & ~TEST_PINPAGE_NONBLOCK || fill.bad_bytes ||
	    fill.offset % sizeof(u64) || fill.len % sizeof(u64) ||
	    fill.offset > PAGE_SIZE || fill.len > PAGE_SIZE - fill.offset)
		return -EINVAL;
	b = get_buffer(file, fill.id);
	if (!b)
		return -ENOENT;
	ret = pattern_buffer(b, &fill, check);
	put_buffer(b);
	return ret ?: put_user(fill.bad_bytes, &arg->bad_bytes);
}

static int place_of(struct test_buffer *b, unsigned long index,
		    struct test_pinpage_place *place)
{
	unsigned long flags;
	struct page *page;
	int ret = 0;

	memset(place, 0, sizeof(*place));
	spin_lock_irqsave(&b->lock, flags);
	if (b->dead) {
		ret = -ENOENT;
	} else {
		page = device_page(b, index);
		place->pfn = page_to_pfn(page);
		place->refs = page_ref_count(compound_head(page));
		if (folio_test_pinpage(page_folio(page)))
			place->flags |= TEST_PINPAGE_FLAGGED;
		if (page_is_quiet(b, index))
			place->flags |= TEST_PINPAGE_PAUSED;
		else if (b->origin && owner_fields_intact(b, index))
			place->flags |= TEST_PINPAGE_INTACT;
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return ret;
}

static int ioctl_where(struct test_file *file, void __user *argp)
{
	struct test_pinpage_place place, __user *to;
	struct test_pinpage_where where;
	struct test_buffer *b;
	unsigned long i;
	int ret = 0;

	if (copy_from_user(&where, argp, sizeof(where)))
		return -EFAULT;
	if (where.pad)
		return -EINVAL;
	b = get_buffer(file, where.id);
	if (!b)
		return -ENOENT;
	if (where.nr > b->nr || where.first > b->nr - where.nr)
		ret = -EINVAL;
	to = u64_to_user_ptr(where.ptr);
	for (i = 0; !ret && i < where.nr; i++) {
		ret = place_of(b, where.first + i, &place);
		if (!ret && copy_to_user(to + i, &place, sizeof(place)))
			ret = -EFAULT;
		cond_resched();
	}
	put_buffer(b);
	return ret;
}

static int ioctl_policy(struct test_file *file, void __user *argp)
{
	struct test_pinpage_policy policy;
	struct test_buffer *b;

	if (copy_from_user(&policy, argp, sizeof(policy)))
		return -EFAULT;
	if (policy.bad_lock > 1 || policy.hold > 1 || policy.early > 1 ||
	    policy.busy_first + policy.busy_nr < policy.busy_first ||
	    policy.quiet_us > 10000000 || policy.complete_ms > 1000)
		return -EINVAL;
	b = get_buffer(file, policy.id);
	if (!b)
		return -ENOENT;
	spin_lock_irq(&b->lock);
	b->policy = policy;
	if (!policy.hold && b->pause.open && !b->pause.quiet && !b->pause.due) {
		become_quiet(b);
		pinpage_quiet(&b->set);
	}
	spin_unlock_irq(&b->lock);
	put_buffer(b);
	return 0;
}

/* What comes late, when its pause is over, is nobody's. */
static int ioctl_quiet(struct test_file *file, void __user *argp)
{
	struct test_buffer *b;
	int ret = -EINVAL;
	u32 id;

	if (get_user(id, (u32 __user *)argp))
		return -EFAULT;
	b = get_buffer(file, id);
	if (!b)
		return -ENOENT;
	spin_lock_irq(&b->lock);
	if (b->pause.open) {
		ret = -EBUSY;
	} else if (is_registered_kind(b->kind) && !b->dead) {
		pinpage_quiet(&b->set);
		ret = 0;
	}
	spin_unlock_irq(&b->lock);
	put_buffer(b);
	return ret;
}

static int ioctl_counters(struct test_file *file, void __user *argp)
{
	struct test_pinpage_counters count;
	struct test_buffer *b;
	u32 id;

	if (copy_from_user(&count, argp, sizeof(count)))
		return -EFAULT;
	id = count.id;
	b = get_buffer(file, id);
	if (!b)
		return -ENOENT;
	spin_lock_irq(&b->lock);
	count = b->count;
	count.open = b->pause.open;
	count.quiet = b->pause.quiet;
	spin_unlock_irq(&b->lock);
	count.id = id;
	count.violations = atomic64_read(&b->violations);
	put_buffer(b);
	return copy_to_user(argp, &count, sizeof(count)) ? -EFAULT : 0;
}

static int ioctl_info(void __user *argp)
{
	struct test_pinpage_info info = {
		.nr_systems = nr_systems,
		.violations = atomic64_read(&test_violations),
	};

	return copy_to_user(argp, &info, sizeof(info)) ? -EFAULT : 0;
}

/* Misuse: every call here is to fail. */

static int misuse_register(enum test_pinpage_misuse misuse)
{
	struct pinpage_ops ops = test_ops;
	struct pinpage_system system = {
		.name = "test_misuse",
		.owner = THIS_MODULE,
		.ops = &ops,
	};
	int ret;

	switch (misuse) {
	case TEST_PINPAGE_NO_OPS:
		system.ops = NULL;
		break;
	case TEST_PINPAGE_NO_PREPARE:
		ops.prepare = NULL;
		break;
	case TEST_PINPAGE_NO_COMPLETE:
		ops.complete = NULL;
		break;
	case TEST_PINPAGE_NO_NAME:
		system.name = NULL;
		break;
	case TEST_PINPAGE_SAME_NAME:
		system.name = test_systems[0].name;
		break;
	case TEST_PINPAGE_UNREGISTER_UNKNOWN:
		return unregister_pinpage(&system);
	case TEST_PINPAGE_UNREGISTER_BUSY:
		return unregister_pinpage(&test_systems[0].system);
	default:
		return register_pinpage(&test_systems[0].system);
	}
	ret = register_pinpage(&system);
	if (!ret)
		unregister_pinpage(&system);
	return ret;
}

static int misuse_set(enum test_pinpage_misuse misuse, struct page *page)
{
	struct pinpage_system unknown = {
		.name = "test_unknown",
		.owner = THIS_MODULE,
		.ops = &test_ops,
	};
	struct pinpage_system *system = &test_systems[0].system;
	struct test_buffer *b;
	struct page *slab;
	int ret;

	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return -ENOMEM;
	slab = virt_to_page(b);
	switch (misuse) {
	case TEST_PINPAGE_UNKNOWN_SYSTEM:
		ret = set_pinpage(&unknown, &b->set, &page, 1, PINPAGE_KERNEL);
		break;
	case TEST_PINPAGE_NO_PAGES:
		ret = set_pinpage(system, &b->set, &page, 0, PINPAGE_KERNEL);
		break;
	case TEST_PINPAGE_SLAB_PAGE:
		ret = set_pinpage(system, &b->set, &slab, 1, PINPAGE_KERNEL);
		break;
	default:
		page = ZERO_PAGE(0);
		ret = set_pinpage(system, &b->set, &page, 1, 0);
		break;
	}
	if (!ret)
		clear_pinpage(&b->set, NULL);
	kfree(b);
	return ret;
}

/* A set that is not set, or one that is. */
static int misuse_clear(enum test_pinpage_misuse misuse, struct page *page)
{
	struct pinpage_system *system = &test_systems[0].system;
	struct test_buffer *b;
	struct page *got;
	int ret;

	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return -ENOMEM;
	spin_lock_init(&b->lock);
	init_waitqueue_head(&b->wait);
	switch (misuse) {
	case TEST_PINPAGE_CLEAR_UNSET:
		ret = clear_pinpage(&b->set, NULL);
		break;
	case TEST_PINPAGE_UNPIN_UNSET:
		ret = pinpage_unpin_user(&b->set, false);
		break;
	case TEST_PINPAGE_GET_UNSET:
		ret = pinpage_get_pages(&b->set, 0, &got, 1);
		break;
	default:
		/* Nobody is asked to move it. */
		ret = set_pinpage(system, &b->set, &page, 1,
				  PINPAGE_KERNEL | PINPAGE_UNMOVABLE);
		if (ret) {
			pr_warn("test_pinpage: can't set a page: %d\n", ret);
			ret = 0;
			break;
		}
		if (misuse == TEST_PINPAGE_SET_TWICE)
			ret = set_pinpage(system, &b->set, &page, 1,
					  PINPAGE_KERNEL | PINPAGE_UNMOVABLE);
		else
			ret = pinpage_get_pages(&b->set, 1, &got, 1);
		clear_pinpage(&b->set, NULL);
	}
	kfree(b);
	return ret;
}

static int ioctl_misuse(void __user *argp)
{
	struct page *page;
	u32 misuse;
	int ret;

	if (get_user(misuse, (u32 __user *)argp))
		return -EFAULT;
	if (misuse >= TEST_PINPAGE_NR_MISUSES)
		return -EINVAL;
	page = alloc_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	if (misuse < TEST_PINPAGE_UNKNOWN_SYSTEM)
		ret = misuse_register(misuse);
	else if (misuse < TEST_PINPAGE_SET_TWICE)
		ret = misuse_set(misuse, page);
	else
		ret = misuse_clear(misuse, page);
	__free_page(page);
	return ret < 0 ? ret : -ENOTRECOVERABLE;
}

/* The file */

static int test_open(struct inode *inode, struct file *filp)
{
	struct test_file *file;

	file = kzalloc(sizeof(*file), GFP_KERNEL);
	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	xa_init_flags(&file->buffers, XA_FLAGS_ALLOC1);
	filp->private_data = file;
	return 0;
}

static int test_release(struct inode *inode, struct file *filp)
{
	struct test_file *file = filp->private_data;
	struct test_buffer *b;
	unsigned long id;

	xa_for_each(&file->buffers, id, b) {
		empty_buffer(b, b->flags & TEST_PINPAGE_WRITE, NULL);
		put_buffer(b);
	}
	xa_destroy(&file->buffers);
	kfree(file);
	return 0;
}

struct page_add {
	size_t offset;			/* in the page */
	u64 count;
};

static void add_fn(struct test_buffer *b, unsigned long index, void *arg)
{
	struct page_add *add = arg;
	void *at = kmap_local_page(device_page(b, index));

	atomic64_inc(at + add->offset);
	kunmap_local(at);
}

static int ioctl_add(struct test_file *file, void __user *argp)
{
	struct test_pinpage_add add;
	struct page_add arg;
	struct test_buffer *b;
	int ret = -EINVAL;

	if (copy_from_user(&add, argp, sizeof(add)))
		return -EFAULT;
	if (add.pad || !IS_ALIGNED(add.offset, sizeof(u64)))
		return -EINVAL;
	b = get_buffer(file, add.id);
	if (!b)
		return -ENOENT;
	arg.offset = offset_in_page(add.offset);
	if ((add.offset >> PAGE_SHIFT) < b->nr && device_writes(b))
		ret = 0;
	for (arg.count = add.count; !ret && arg.count; arg.count--) {
		ret = with_page(b, add.offset >> PAGE_SHIFT, false, add_fn, &arg);
		cond_resched();
	}
	put_buffer(b);
	return ret;
}

static int ioctl_time(void __user *argp)
{
	return copy_to_user(argp, &test_time, sizeof(test_time)) ? -EFAULT : 0;
}

static int ioctl_copy(void __user *argp)
{
	struct test_pinpage_copy copy;
	struct folio *src, *dst;
	int ret = -ENOMEM;
	u64 i;

	if (copy_from_user(&copy, argp, sizeof(copy)))
		return -EFAULT;
	src = folio_alloc(GFP_KERNEL | __GFP_ZERO, 0);
	dst = folio_alloc(GFP_KERNEL, 0);
	if (!src || !dst)
		goto out;
	ret = 0;
	copy.ns = ktime_get_ns();
	for (i = 0; i < copy.nr && !fatal_signal_pending(current); i++) {
		copy_mc_highpage(folio_page(dst, 0), folio_page(src, 0));
		cond_resched();
	}
	copy.ns = ktime_get_ns() - copy.ns;
	if (copy_to_user(argp, &copy, sizeof(copy)))
		ret = -EFAULT;
out:
	if (src)
		folio_put(src);
	if (dst)
		folio_put(dst);
	return ret;
}

/* What somebody does who does not know that a callback takes the lock, too. */
static int ioctl_alloc(void)
{
	void *memory;

	mutex_lock(&test_bad_lock);
	memory = kmalloc(PAGE_SIZE, GFP_KERNEL);
	mutex_unlock(&test_bad_lock);
	kfree(memory);
	return memory ? 0 : -ENOMEM;
}

static long test_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct test_file *file = filp->private_data;
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case TEST_PINPAGE_INFO:
		return ioctl_info(argp);
	case TEST_PINPAGE_PIN:
		return ioctl_pin(file, filp, argp);
	case TEST_PINPAGE_UNPIN:
		return ioctl_unpin(file, argp);
	case TEST_PINPAGE_READ:
		return ioctl_access(file, argp, false);
	case TEST_PINPAGE_WRITE_TO:
		return ioctl_access(file, argp, true);
	case TEST_PINPAGE_FILL:
		return ioctl_pattern(file, argp, false);
	case TEST_PINPAGE_CHECK:
		return ioctl_pattern(file, argp, true);
	case TEST_PINPAGE_WHERE:
		return ioctl_where(file, argp);
	case TEST_PINPAGE_POLICY:
		return ioctl_policy(file, argp);
	case TEST_PINPAGE_COUNTERS:
		return ioctl_counters(file, argp);
	case TEST_PINPAGE_ORDER:
		return ioctl_order(file, argp);
	case TEST_PINPAGE_MISUSE:
		return ioctl_misuse(argp);
	case TEST_PINPAGE_ADD:
		return ioctl_add(file, argp);
	case TEST_PINPAGE_ALLOC:
		return ioctl_alloc();
	case TEST_PINPAGE_TIME:
		return ioctl_time(argp);
	case TEST_PINPAGE_COPY:
		return ioctl_copy(argp);
	case TEST_PINPAGE_QUIET:
		return ioctl_quiet(file, argp);
	}
	return -ENOTTY;
}

static const struct file_operations test_fops = {
	.owner		= THIS_MODULE,
	.open		= test_open,
	.release	= test_release,
	.unlocked_ioctl	= test_ioctl,
	.llseek		= noop_llseek,
};

static struct miscdevice test_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "pinpage_test",
	.fops	= &test_fops,
};

static void unregister_systems(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(test_systems); i++) {
		if (test_systems[i].registered)
			WARN_ON(unregister_pinpage(&test_systems[i].system));
		test_systems[i].registered = false;
	}
}

static int register_one(struct test_system *sys, const struct pinpage_ops *ops)
{
	int ret;

	sys->system.name = sys->name;
	sys->system.owner = THIS_MODULE;
	sys->system.ops = ops;
	ret = register_pinpage(&sys->system);
	sys->registered = !ret;
	return ret;
}

static int register_systems(void)
{
	struct test_system *copy = &test_systems[TEST_MAX_SYSTEMS];
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < nr_systems; i++) {
		snprintf(test_systems[i].name, sizeof(test_systems[i].name),
			 "test%u", i);
		ret = register_one(&test_systems[i], &test_ops);
	}
	strscpy(copy->name, "testcopy");
	if (!ret)
		ret = register_one(copy, &test_copy_ops);
	if (ret)
		unregister_systems();
	return ret;
}

static int __init test_pinpage_init(void)
{
	int ret;

	if (!nr_systems || nr_systems > TEST_MAX_SYSTEMS)
		return -EINVAL;
	ret = register_systems();
	if (ret)
		return ret;
	ret = misc_register(&test_misc);
	if (ret)
		unregister_systems();
	return ret;
}

static void __exit test_pinpage_exit(void)
{
	misc_deregister(&test_misc);
	unregister_systems();
}

module_init(test_pinpage_init);
module_exit(test_pinpage_exit);
MODULE_DESCRIPTION("Test driver for pinned pages that move");
MODULE_LICENSE("GPL");
