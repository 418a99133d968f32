// SPDX-License-Identifier: GPL-2.0
/*
 * A udmabuf lets its folios move while no importer needs them to stay.
 *
 * Whoever uses the folios for a moment (a page fault, CPU access, an importer
 * that maps) counts itself in moves->users. While moves->closed is not zero,
 * nobody enters: faults drop their lock and wait, the others wait in a killable
 * sleep. A range is quiet while it holds moves->closed, from a moment when
 * there were no users until complete().
 *
 * prepare() may close an idle buffer at once. Otherwise a work item does what
 * sleeps: it tells dynamic importers by move_notify() to forget their mappings,
 * waits for the fences of the buffer, and zaps user mappings, which are faulted
 * in again after the move. It takes the reservation lock for that; once the
 * buffer is closed nobody needs that lock to end a pause, so importers may wait
 * with it held. Importers that are not dynamic, or have pinned the buffer, and
 * kernel mappings, which are written to at any time, make the buffer stay.
 *
 * Devices that are not coherent: as in the heaps, content is synchronized for
 * each importer that has the buffer mapped, when CPU access begins and ends, and
 * for the CPU when a mapping ends that a device may have written by. A mapping
 * ends before a move, so that the CPU always copies what the device has written.
 * complete() writes the copy back, where devices find it without CPU access,
 * and where CPU access may drop cache lines. Between DMA_BUF_SYNC_START and
 * DMA_BUF_SYNC_END the CPU owns the content, and nothing is fetched.
 */
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pinpage_dma.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "udmabuf.h"

/* How often to look whether the core still waits, in milliseconds. */
#define SLICE_MS	10

/*
 * Ranges can be paused one after the other, and so a buffer could be closed for
 * ever. One that has been closed for so long, in milliseconds, opens first.
 */
#define CLOSED_MS	20

enum range_state {
	RANGE_RUNS,
	RANGE_ASKED,		/* prepare() has returned -EINPROGRESS */
	RANGE_ZAPPED,		/* by the work item, which goes on */
	RANGE_QUIET,
};

/*
 * What the ioctl calls an item: a range of a memfd. A set of its own, since one
 * memfd_pin_folios() pins each folio once, and the next one once more.
 */
struct udmabuf_range {
	struct pinpage_set set;
	struct udmabuf_moves *moves;
	pgoff_t first, nr;
	enum range_state state;
	pgoff_t zap_first, zap_end;	/* while asked */
};

/* A mapping that an importer can use; those before a move are not listed. */
struct udmabuf_mapping {
	struct list_head list;
	struct sg_table *sg;
	struct device *dev;
	enum dma_data_direction direction;
};

/*
 * Locking: the reservation lock of the buffer, then sync_lock, then lock, which
 * prepare() and complete() take, and which is never held across an allocation.
 */
struct udmabuf_moves {
	struct udmabuf *ubuf;
	struct dma_buf *buf;
	struct inode *inode;		/* of buf->file, which goes earlier */
	struct work_struct work;
	wait_queue_head_t opened, idle;

	spinlock_t lock;		/* protects what follows */
	unsigned int users;
	unsigned int closed;		/* quiet ranges, and the work item */
	unsigned long closed_at;	/* jiffies */
	unsigned int pins;		/* by importers */
	unsigned int mapped;		/* length of mappings */
	bool vmapped;
	bool sg_dropped;		/* by a move */
	struct sg_table *sg;		/* for CPU access; changed by users */

	struct mutex sync_lock;		/* protects what follows, and the content of sg */
	struct list_head mappings;
	bool cpu_owns;			/* CPU access has begun and not ended */
	bool unclean;			/* a sync may have written to the pages */

	bool fresh;			/* a mapping came after move_notify(); resv */

	unsigned int nr_ranges;
	struct udmabuf_range ranges[] __counted_by(nr_ranges);
};

static struct udmabuf_range *range_of(struct pinpage_set *set)
{
	return container_of(set, struct udmabuf_range, set);
}

static struct device *cpu_device(struct udmabuf_moves *m)
{
	return m->ubuf->device->this_device;
}

/* Users and the barrier */

static bool enter_moves(struct udmabuf_moves *m)
{
	bool open;

	spin_lock(&m->lock);
	open = !m->closed;
	m->users += open;
	spin_unlock(&m->lock);
	return open;
}

static void leave_moves(struct udmabuf_moves *m)
{
	spin_lock(&m->lock);
	if (!--m->users)
		wake_up(&m->idle);
	spin_unlock(&m->lock);
}

static int wait_until_open(struct udmabuf_moves *m)
{
	return wait_event_state(m->opened, !READ_ONCE(m->closed), TASK_KILLABLE);
}

static int enter_killable(struct udmabuf_moves *m)
{
	while (!enter_moves(m))
		if (wait_until_open(m))
			return -EINTR;
	return 0;
}

static void close_moves(struct udmabuf_moves *m)
{
	lockdep_assert_held(&m->lock);
	if (!m->closed)
		m->closed_at = jiffies;
	WRITE_ONCE(m->closed, m->closed + 1);
}

static void open_moves(struct udmabuf_moves *m)
{
	lockdep_assert_held(&m->lock);
	WRITE_ONCE(m->closed, m->closed - 1);
	if (!m->closed)
		wake_up_all(&m->opened);
}

/* The table for CPU access has the old pages; with the buffer closed and idle. */
static struct sg_table *drop_sg(struct udmabuf_moves *m)
{
	struct sg_table *sg = m->sg;

	lockdep_assert_held(&m->lock);
	if (sg)
		m->sg_dropped = true;
	m->sg = NULL;
	return sg;
}

static void put_cpu_sg(struct udmabuf_moves *m, struct sg_table *sg)
{
	if (sg)
		udmabuf_put_sg(cpu_device(m), sg, DMA_BIDIRECTIONAL);
}

/* What has to end before a move, and takes a work item to end it */

static bool is_asked(struct udmabuf_moves *m)
{
	bool asked = false;
	unsigned int i;

	spin_lock(&m->lock);
	for (i = 0; i < m->nr_ranges && !asked; i++)
		asked = m->ranges[i].state == RANGE_ASKED;
	spin_unlock(&m->lock);
	return asked;
}

static void fetch(struct udmabuf_moves *m, struct udmabuf_mapping *mapping)
{
	if (m->cpu_owns || mapping->direction == DMA_TO_DEVICE)
		return;
	dma_sync_sgtable_for_cpu(mapping->dev, mapping->sg, mapping->direction);
	m->unclean |= dma_dev_need_sync(mapping->dev);
}

static void forget_mapping(struct udmabuf_moves *m,
			   struct udmabuf_mapping *mapping)
{
	list_del(&mapping->list);
	kfree(mapping);
	/* From here on prepare() may find the buffer idle. */
	spin_lock(&m->lock);
	m->mapped--;
	spin_unlock(&m->lock);
}

static bool may_stop(struct udmabuf_moves *m)
{
	bool may;

	spin_lock(&m->lock);
	may = !m->pins && !m->vmapped;
	spin_unlock(&m->lock);
	return may;
}

/* With the reservation lock held. Have the devices of all importers ended? */
static bool stop_devices(struct udmabuf_moves *m)
{
	struct udmabuf_mapping *mapping, *next;

	if (!may_stop(m))
		return false;
	if (m->fresh) {
		/* Importers may unmap in there, and map again. */
		m->fresh = false;
		dma_buf_move_notify(m->buf);
	}
	if (m->fresh ||
	    !dma_resv_test_signaled(m->buf->resv, DMA_RESV_USAGE_BOOKKEEP))
		return false;
	mutex_lock(&m->sync_lock);
	list_for_each_entry_safe(mapping, next, &m->mappings, list) {
		fetch(m, mapping);
		forget_mapping(m, mapping);
	}
	mutex_unlock(&m->sync_lock);
	return true;
}

/* Holds moves->closed; false: not done, and not closed. */
static bool stop_users(struct udmabuf_moves *m)
{
	struct sg_table *sg = NULL;
	bool idle;

	spin_lock(&m->lock);
	close_moves(m);
	spin_unlock(&m->lock);
	wait_event_timeout(m->idle, !READ_ONCE(m->users),
			   msecs_to_jiffies(SLICE_MS));
	spin_lock(&m->lock);
	idle = !m->users;
	if (idle)
		sg = drop_sg(m);
	else
		open_moves(m);
	spin_unlock(&m->lock);
	put_cpu_sg(m, sg);
	return idle;
}

/*
 * While some range is quiet, so is the buffer but for user mappings, and the
 * reservation lock may be with an importer that waits for the end of that.
 */
static bool stop_buffer(struct udmabuf_moves *m)
{
	struct dma_resv *resv = m->buf->resv;
	bool stopped;

	spin_lock(&m->lock);
	stopped = m->closed;
	if (stopped)
		close_moves(m);
	spin_unlock(&m->lock);
	if (stopped)
		return true;
	if (!dma_resv_trylock(resv))
		return false;
	stopped = stop_devices(m) && stop_users(m);
	dma_resv_unlock(resv);
	return stopped;
}

static void zap_range(struct udmabuf_range *range)
	__must_hold(&range->moves->lock)
{
	struct udmabuf_moves *m = range->moves;
	pgoff_t first = range->zap_first, nr = range->zap_end - first;

	lockdep_assert_held(&m->lock);
	range->state = RANGE_ZAPPED;
	spin_unlock(&m->lock);
	unmap_mapping_pages(m->inode->i_mapping, first, nr, true);
	spin_lock(&m->lock);
	/* Otherwise this pause has ended; there may be another one by now. */
	if (range->state == RANGE_ZAPPED) {
		range->state = RANGE_QUIET;
		close_moves(m);
		pinpage_quiet(&range->set);
	}
}

static void stop_asked(struct work_struct *work)
{
	struct udmabuf_moves *m = container_of(work, struct udmabuf_moves, work);
	unsigned int i;

	while (is_asked(m)) {
		if (!stop_buffer(m)) {
			if (dma_resv_wait_timeout(m->buf->resv,
						  DMA_RESV_USAGE_BOOKKEEP, false,
						  msecs_to_jiffies(SLICE_MS)))
				schedule_timeout_uninterruptible(1);
			continue;
		}
		spin_lock(&m->lock);
		for (i = 0; i < m->nr_ranges; i++)
			if (m->ranges[i].state == RANGE_ASKED)
				zap_range(&m->ranges[i]);
		open_moves(m);
		spin_unlock(&m->lock);
	}
}

/* The callbacks */

/* Nobody uses the pages, nor does what is mapped lead to them. */
static bool is_idle(struct udmabuf_moves *m)
{
	lockdep_assert_held(&m->lock);
	return !m->users && !m->mapped &&
	       !mapping_mapped(m->inode->i_mapping) &&
	       dma_resv_test_signaled(m->buf->resv, DMA_RESV_USAGE_BOOKKEEP);
}

static bool must_stay(struct udmabuf_moves *m)
{
	lockdep_assert_held(&m->lock);
	return m->pins || m->vmapped ||
	       (m->closed &&
		time_after(jiffies, m->closed_at + msecs_to_jiffies(CLOSED_MS)));
}

static void set_zap(struct udmabuf_range *range,
		    const struct pinpage_item *items, unsigned int nr)
{
	pgoff_t first = ULONG_MAX, end = 0;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		first = min(first, items[i].index);
		end = max(end, items[i].index + items[i].nr);
	}
	range->zap_first = range->first + first;
	range->zap_end = range->first + end;
}

static int udmabuf_prepare(struct pinpage_set *set, struct pinpage_item *items,
			   unsigned int nr)
{
	struct udmabuf_range *range = range_of(set);
	struct udmabuf_moves *m = range->moves;
	struct sg_table *sg = NULL;
	int ret = 0;

	spin_lock(&m->lock);
	if (must_stay(m)) {
		ret = -EBUSY;
	} else if (is_idle(m)) {
		range->state = RANGE_QUIET;
		close_moves(m);
		sg = drop_sg(m);
	} else {
		set_zap(range, items, nr);
		range->state = RANGE_ASKED;
		ret = -EINPROGRESS;
	}
	spin_unlock(&m->lock);
	put_cpu_sg(m, sg);
	if (ret == -EINPROGRESS)
		queue_work(system_unbound_wq, &m->work);
	return ret;
}

static void udmabuf_complete(struct pinpage_set *set,
			     struct pinpage_item *items, unsigned int nr)
{
	struct udmabuf_range *range = range_of(set);
	struct udmabuf_moves *m = range->moves;
	struct folio **folios = m->ubuf->folios + range->first;
	unsigned int i, j;

	pinpage_dma_write_back(cpu_device(m), items, nr);
	spin_lock(&m->lock);
	for (i = 0; i < nr; i++)
		for (j = 0; items[i].new && j < items[i].nr; j++)
			folios[items[i].index + j] = page_folio(items[i].new);
	if (range->state == RANGE_QUIET)
		open_moves(m);
	range->state = RANGE_RUNS;
	spin_unlock(&m->lock);
}

static void udmabuf_show(struct seq_file *s, struct pinpage_set *set)
{
	struct udmabuf_moves *m = range_of(set)->moves;
	struct dma_buf_attachment *attach;

	seq_printf(s, "inode %lu, %zu bytes", m->inode->i_ino, m->buf->size);
	if (READ_ONCE(m->vmapped))
		seq_puts(s, ", mapped by the kernel");
	if (!dma_resv_trylock(m->buf->resv)) {
		seq_puts(s, ", in use now");
		return;
	}
	list_for_each_entry(attach, &m->buf->attachments, node)
		if (attach->priv)
			seq_printf(s, ", pinned by importer %s",
				   dev_name(attach->dev));
	dma_resv_unlock(m->buf->resv);
}

static const struct pinpage_ops udmabuf_pinpage_ops = {
	.prepare = udmabuf_prepare,
	.complete = udmabuf_complete,
	.show = udmabuf_show,
};

static struct pinpage_system udmabuf_system = {
	.name = "udmabuf",
	.owner = THIS_MODULE,
	.ops = &udmabuf_pinpage_ops,
};

/**
 * udmabuf_moves_init - a udmabuf is going to be made
 * @ubuf: the udmabuf, zeroed
 * @max_ranges: how many times udmabuf_moves_add() will be called at most
 *
 * Context: Process context, may sleep.
 * Return: 0, with @ubuf->moves, or NULL there with pinpage=off; -ENOMEM.
 */
int udmabuf_moves_init(struct udmabuf *ubuf, unsigned int max_ranges)
{
	struct udmabuf_moves *m;
	int ret;

	if (!pinpage_enabled())
		return 0;
	/* Who has no udmabuf pays for none. */
	ret = register_pinpage_once(&udmabuf_system);
	if (ret)
		return ret;
	m = kvzalloc(struct_size(m, ranges, max_ranges), GFP_KERNEL);
	if (!m)
		return -ENOMEM;
	m->ubuf = ubuf;
	INIT_WORK(&m->work, stop_asked);
	init_waitqueue_head(&m->opened);
	init_waitqueue_head(&m->idle);
	spin_lock_init(&m->lock);
	mutex_init(&m->sync_lock);
	INIT_LIST_HEAD(&m->mappings);
	ubuf->moves = m;
	return 0;
}

/**
 * udmabuf_moves_add - a range of a memfd has been pinned
 * @ubuf: the udmabuf
 * @first: its first page; it goes as far as @ubuf does now
 */
void udmabuf_moves_add(struct udmabuf *ubuf, pgoff_t first)
{
	struct udmabuf_moves *m = ubuf->moves;
	struct udmabuf_range *range;

	if (!m)
		return;
	m->nr_ranges++;
	range = &m->ranges[m->nr_ranges - 1];
	range->moves = m;
	range->first = first;
	range->nr = ubuf->pagecount - first;
}

static int start_range(struct udmabuf *ubuf, struct udmabuf_range *range)
{
	struct page **pages;
	pgoff_t i, at;
	int ret;

	pages = kvmalloc_array(range->nr, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	for (i = 0; i < range->nr; i++) {
		at = range->first + i;
		pages[i] = folio_page(ubuf->folios[at],
				      ubuf->offsets[at] >> PAGE_SHIFT);
	}
	ret = set_pinpage(&udmabuf_system, &range->set, pages, range->nr,
			  PINPAGE_FOLIO);
	kvfree(pages);
	return ret;
}

/**
 * udmabuf_moves_start - from now on folios may move
 * @ubuf: the udmabuf
 * @buf: its dma-buf, which nobody else knows yet
 *
 * Context: Process context, may sleep.
 * Return: 0, or what set_pinpage() returns; then the folios must not stay
 * pinned, since they may be in CMA.
 */
int udmabuf_moves_start(struct udmabuf *ubuf, struct dma_buf *buf)
{
	struct udmabuf_moves *m = ubuf->moves;
	unsigned int i;
	int ret = 0;

	if (!m)
		return 0;
	m->buf = buf;
	m->inode = file_inode(buf->file);
	ihold(m->inode);
	for (i = 0; !ret && i < m->nr_ranges; i++)
		ret = start_range(ubuf, &m->ranges[i]);
	return ret;
}

/**
 * udmabuf_moves_stop - the end of a udmabuf, or of the attempt to make one
 * @ubuf: the udmabuf, which nobody uses any more
 *
 * Context: Process context, waits for moves in flight.
 */
void udmabuf_moves_stop(struct udmabuf *ubuf)
{
	struct udmabuf_moves *m = ubuf->moves;
	unsigned int i;

	if (!m)
		return;
	/* Of a range that was not started this changes nothing. */
	for (i = 0; i < m->nr_ranges; i++)
		clear_pinpage(&m->ranges[i].set, NULL);
	cancel_work_sync(&m->work);
	put_cpu_sg(m, m->sg);
	if (m->inode)
		iput(m->inode);
	kvfree(m);
	ubuf->moves = NULL;
}

/* Page faults, in udmabuf.c */

/**
 * udmabuf_enter - the folios stay where they are until udmabuf_leave()
 * @ubuf: the udmabuf
 *
 * Context: Task context, doesn't sleep.
 * Return: true; false while they move.
 */
bool udmabuf_enter(struct udmabuf *ubuf)
{
	return !ubuf->moves || enter_moves(ubuf->moves);
}

/**
 * udmabuf_leave - take back udmabuf_enter()
 * @ubuf: the udmabuf
 */
void udmabuf_leave(struct udmabuf *ubuf)
{
	if (ubuf->moves)
		leave_moves(ubuf->moves);
}

/**
 * udmabuf_wait_in_fault - udmabuf_enter() has failed in a page fault
 * @ubuf: the udmabuf
 * @vmf: the fault
 *
 * Context: With the lock of the fault, which is released if it may be; sleeps
 * until the folios have moved, or the task is killed.
 * Return: what the fault handler returns, to be called again.
 */
vm_fault_t udmabuf_wait_in_fault(struct udmabuf *ubuf, struct vm_fault *vmf)
{
	struct file *file;

	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	if (!fault_flag_allow_retry_first(vmf->flags)) {
		wait_until_open(ubuf->moves);
		return VM_FAULT_NOPAGE;
	}
	/* Once the lock is released, the file is what keeps the buffer. */
	file = get_file(vmf->vma->vm_file);
	release_fault_lock(vmf);
	wait_until_open(ubuf->moves);
	fput(file);
	return VM_FAULT_RETRY;
}

/* CPU access */

static int make_cpu_sg(struct udmabuf_moves *m)
{
	struct sg_table *sg;

	if (m->sg)
		return 0;
	sg = udmabuf_get_sg(cpu_device(m), m->buf, DMA_BIDIRECTIONAL);
	if (IS_ERR(sg))
		return PTR_ERR(sg);
	/* Users change it one at a time, and moves while there are none. */
	m->sg = sg;
	return 0;
}

/*
 * It was the CPU that has written for importers, out of bounce buffers. That must
 * not stay in its cache: it would be dropped when CPU access begins, or written
 * over what a device writes next. The device that stands for all importers sees
 * to it; without memory for its table this is left for the next time.
 */
static void clean(struct udmabuf_moves *m)
{
	if (!m->unclean || make_cpu_sg(m))
		return;
	dma_sync_sgtable_for_device(cpu_device(m), m->sg, DMA_BIDIRECTIONAL);
	m->unclean = false;
}

static int begin_cpu_access(struct udmabuf_moves *m,
			    enum dma_data_direction direction)
{
	struct udmabuf_mapping *mapping;
	int ret = make_cpu_sg(m);

	if (ret)
		return ret;
	clean(m);
	dma_sync_sgtable_for_cpu(cpu_device(m), m->sg, direction);
	/* All of it, for a buffer that is going to be written to in part. */
	m->cpu_owns = false;
	list_for_each_entry(mapping, &m->mappings, list)
		fetch(m, mapping);
	m->cpu_owns = true;
	return 0;
}

static int end_cpu_access(struct udmabuf_moves *m,
			  enum dma_data_direction direction)
{
	struct udmabuf_mapping *mapping;
	int ret;

	/* Never begun; or it has, and the pages have moved since. */
	if (!m->sg && !m->sg_dropped)
		return -EINVAL;
	ret = make_cpu_sg(m);
	if (ret)
		return ret;
	dma_sync_sgtable_for_device(cpu_device(m), m->sg, direction);
	m->unclean = false;
	m->cpu_owns = false;
	if (direction == DMA_FROM_DEVICE)
		return 0;
	list_for_each_entry(mapping, &m->mappings, list)
		dma_sync_sgtable_for_device(mapping->dev, mapping->sg,
					    mapping->direction);
	return 0;
}

static int cpu_access(struct dma_buf *buf, enum dma_data_direction direction,
		      int (*access)(struct udmabuf_moves *m,
				    enum dma_data_direction direction))
{
	struct udmabuf_moves *m = ((struct udmabuf *)buf->priv)->moves;
	int ret = enter_killable(m);

	if (ret)
		return ret;
	ret = mutex_lock_killable(&m->sync_lock);
	if (!ret) {
		ret = access(m, direction);
		mutex_unlock(&m->sync_lock);
	}
	leave_moves(m);
	return ret;
}

static int begin_cpu_movable(struct dma_buf *buf,
			     enum dma_data_direction direction)
{
	return cpu_access(buf, direction, begin_cpu_access);
}

static int end_cpu_movable(struct dma_buf *buf,
			   enum dma_data_direction direction)
{
	return cpu_access(buf, direction, end_cpu_access);
}

/* Importers */

static void add_mapping(struct udmabuf_moves *m,
			struct udmabuf_mapping *mapping)
{
	mutex_lock(&m->sync_lock);
	if (m->unclean && mapping->direction != DMA_FROM_DEVICE)
		dma_sync_sgtable_for_device(mapping->dev, mapping->sg,
					    mapping->direction);
	clean(m);
	list_add(&mapping->list, &m->mappings);
	mutex_unlock(&m->sync_lock);
	spin_lock(&m->lock);
	m->mapped++;
	spin_unlock(&m->lock);
	m->fresh = true;
}

/*
 * What the CPU writes between two frames goes where the device has it; with bounce
 * buffers the old frame would come back over it otherwise.
 */
static enum dma_data_direction map_direction(enum dma_data_direction direction)
{
	return direction == DMA_FROM_DEVICE ? DMA_BIDIRECTIONAL : direction;
}

static struct sg_table *map_movable(struct dma_buf_attachment *at,
				    enum dma_data_direction direction)
{
	struct udmabuf_moves *m = ((struct udmabuf *)at->dmabuf->priv)->moves;
	struct udmabuf_mapping *mapping;
	struct sg_table *sg;

	direction = map_direction(direction);
	mapping = kzalloc(sizeof(*mapping), GFP_KERNEL);
	if (!mapping)
		return ERR_PTR(-ENOMEM);
	if (enter_killable(m)) {
		kfree(mapping);
		return ERR_PTR(-EINTR);
	}
	sg = udmabuf_get_sg(at->dev, at->dmabuf, direction);
	if (IS_ERR(sg)) {
		kfree(mapping);
	} else {
		mapping->sg = sg;
		mapping->dev = at->dev;
		mapping->direction = direction;
		add_mapping(m, mapping);
	}
	leave_moves(m);
	return sg;
}

static void unmap_movable(struct dma_buf_attachment *at, struct sg_table *sg,
			  enum dma_data_direction direction)
{
	struct udmabuf_moves *m = ((struct udmabuf *)at->dmabuf->priv)->moves;
	struct udmabuf_mapping *mapping;

	mutex_lock(&m->sync_lock);
	/* One that a move has ended is not found: its pages are others' now. */
	list_for_each_entry(mapping, &m->mappings, list) {
		if (mapping->sg == sg) {
			fetch(m, mapping);
			forget_mapping(m, mapping);
			break;
		}
	}
	mutex_unlock(&m->sync_lock);
	udmabuf_put_sg(at->dev, sg, map_direction(direction));
}

/* Counted in attach->priv as well, for the sake of udmabuf_show(). */
static int pin_movable(struct dma_buf_attachment *attach)
{
	struct udmabuf_moves *m = ((struct udmabuf *)attach->dmabuf->priv)->moves;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);
	ret = enter_killable(m);
	if (ret)
		return ret;
	spin_lock(&m->lock);
	m->pins++;
	spin_unlock(&m->lock);
	leave_moves(m);
	attach->priv = (void *)((unsigned long)attach->priv + 1);
	return 0;
}

static void unpin_movable(struct dma_buf_attachment *attach)
{
	struct udmabuf_moves *m = ((struct udmabuf *)attach->dmabuf->priv)->moves;

	dma_resv_assert_held(attach->dmabuf->resv);
	spin_lock(&m->lock);
	m->pins--;
	spin_unlock(&m->lock);
	attach->priv = (void *)((unsigned long)attach->priv - 1);
}

static void set_vmapped(struct udmabuf_moves *m, bool vmapped)
{
	spin_lock(&m->lock);
	WRITE_ONCE(m->vmapped, vmapped);
	spin_unlock(&m->lock);
}

static int vmap_movable(struct dma_buf *buf, struct iosys_map *map)
{
	struct udmabuf_moves *m = ((struct udmabuf *)buf->priv)->moves;
	int ret = enter_killable(m);

	if (ret)
		return ret;
	ret = udmabuf_ops.vmap(buf, map);
	if (!ret)
		set_vmapped(m, true);
	leave_moves(m);
	return ret;
}

static void vunmap_movable(struct dma_buf *buf, struct iosys_map *map)
{
	struct udmabuf_moves *m = ((struct udmabuf *)buf->priv)->moves;

	udmabuf_ops.vunmap(buf, map);
	set_vmapped(m, false);
}

static int mmap_movable(struct dma_buf *buf, struct vm_area_struct *vma)
{
	return udmabuf_ops.mmap(buf, vma);
}

static void release_movable(struct dma_buf *buf)
{
	udmabuf_ops.release(buf);
}

const struct dma_buf_ops udmabuf_movable_ops = {
	.map_on_demand	   = true,
	.pin		   = pin_movable,
	.unpin		   = unpin_movable,
	.map_dma_buf	   = map_movable,
	.unmap_dma_buf	   = unmap_movable,
	.release	   = release_movable,
	.mmap		   = mmap_movable,
	.vmap		   = vmap_movable,
	.vunmap		   = vunmap_movable,
	.begin_cpu_access  = begin_cpu_movable,
	.end_cpu_access    = end_cpu_movable,
};
