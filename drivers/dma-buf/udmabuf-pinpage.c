// SPDX-License-Identifier: GPL-2.0
/*
 * A udmabuf lets its folios move while no importer needs them to stay.
 *
 * The barrier is the reservation lock of the buffer: prepare() takes it, and
 * complete() gives it back, in the same task. Whoever uses the folios holds it
 * for as long: map_dma_buf(), vmap(), page faults, CPU access. A batch may ask
 * about several sets of one buffer, and so may a batch within a batch; the task
 * that has the lock already only counts.
 *
 * What is left are those who keep an address. Importers that are not dynamic,
 * or have pinned the buffer, and kernel mappings, which are written to at any
 * time, make it stay. Dynamic importers are told by move_notify() to forget
 * their mappings, and the fences of the buffer say when their devices have.
 * move_notify() is not for a callback to call: importers take their locks there
 * and allocate under them elsewhere, so that a callback in the middle of such
 * an allocation would wait for its own task. A work item does it, and prepare()
 * waits for that, for a while.
 *
 * User mappings are zapped, and faulted in again after the move.
 */
#include <linux/delay.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "udmabuf.h"

/* How long to wait for page faults and the like, which are short. */
#define LOCK_TRIES	10

/*
 * What the ioctl calls an item: a range of a memfd. A set of its own, since one
 * memfd_pin_folios() pins each folio once, and the next one once more.
 */
struct udmabuf_range {
	struct pinpage_set set;
	struct udmabuf_moves *moves;
	pgoff_t first, nr;
};

struct udmabuf_moves {
	struct udmabuf *ubuf;
	struct dma_buf *buf;
	struct inode *inode;		/* of buf->file, which goes earlier */
	/* The task that has the reservation lock for moves, and how often. */
	struct task_struct *mover;
	unsigned int depth;
	/* Protected by the reservation lock: */
	unsigned int pins;		/* by importers */
	unsigned int maps;		/* mappings of importers */
	bool fresh;			/* some are newer than move_notify() */
	bool sg_dropped;
	struct work_struct notify;
	wait_queue_head_t notified;
	unsigned int nr_ranges;
	struct udmabuf_range ranges[] __counted_by(nr_ranges);
};

static struct udmabuf_range *range_of(struct pinpage_set *set)
{
	return container_of(set, struct udmabuf_range, set);
}

/* Nobody waits for a device in the middle of an allocation. */
static bool may_wait(enum migrate_mode mode)
{
	return mode != MIGRATE_ASYNC && !(current->flags & PF_MEMALLOC);
}

/* There are three things to wait for: importers, the lock, fences. */
static unsigned long timeout(void)
{
	return msecs_to_jiffies(PINPAGE_TIMEOUT_MS / 3);
}

static bool lock_patiently(struct dma_buf *buf, enum migrate_mode mode)
{
	int tries = may_wait(mode) ? LOCK_TRIES : 1;

	while (!dma_resv_trylock(buf->resv)) {
		if (!--tries)
			return false;
		usleep_range(500, 1000);
	}
	return true;
}

static void notify_importers(struct work_struct *work)
{
	struct udmabuf_moves *m = container_of(work, struct udmabuf_moves,
					       notify);
	struct dma_resv *resv = m->buf->resv;

	dma_resv_lock(resv, NULL);
	if (m->fresh) {
		dma_buf_move_notify(m->buf);
		if (dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, false,
					  timeout()) > 0)
			WRITE_ONCE(m->fresh, false);
	}
	dma_resv_unlock(resv);
	wake_up(&m->notified);
}

/* Does a device use the pages, by a mapping or by what it has begun? */
static int check_devices(struct udmabuf_moves *m, enum migrate_mode mode)
{
	struct dma_resv *resv = m->buf->resv;

	if (m->pins || m->buf->vmapping_counter)
		return -EBUSY;
	if (m->fresh)
		return -EAGAIN;
	if (dma_resv_test_signaled(resv, DMA_RESV_USAGE_BOOKKEEP))
		return 0;
	if (!may_wait(mode))
		return -EAGAIN;
	return dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, false,
				     timeout()) > 0 ? 0 : -EBUSY;
}

/* With the reservation lock held, and nothing else: 0 and still held, or not. */
static int quiesce(struct udmabuf_moves *m, enum migrate_mode mode)
{
	struct address_space *mapping = m->inode->i_mapping;
	int ret = check_devices(m, mode);

	/* Zapping may sleep. */
	if (!ret && mode == MIGRATE_ASYNC && mapping_mapped(mapping))
		ret = -EAGAIN;
	if (ret) {
		dma_resv_unlock(m->buf->resv);
		return ret;
	}
	if (m->ubuf->sg) {
		udmabuf_put_sg(m->ubuf);
		m->sg_dropped = true;
	}
	if (mapping_mapped(mapping))
		unmap_mapping_range(mapping, 0, 0, 1);
	return 0;
}

static int udmabuf_prepare(struct pinpage_set *set, struct pinpage_item *items,
			   unsigned int nr, enum migrate_mode mode)
{
	struct udmabuf_moves *m = range_of(set)->moves;
	int ret;

	/* Only this task writes its own name there, and takes it back. */
	if (READ_ONCE(m->mover) == current) {
		m->depth++;
		return 0;
	}
	if (!lock_patiently(m->buf, mode))
		return -EAGAIN;
	if (m->fresh && !m->pins && may_wait(mode)) {
		dma_resv_unlock(m->buf->resv);
		queue_work(system_unbound_wq, &m->notify);
		wait_event_timeout(m->notified, !READ_ONCE(m->fresh),
				   timeout());
		if (!lock_patiently(m->buf, mode))
			return -EAGAIN;
	}
	ret = quiesce(m, mode);
	if (ret)
		return ret;
	m->depth = 1;
	WRITE_ONCE(m->mover, current);
	return 0;
}

static void udmabuf_complete(struct pinpage_set *set,
			     struct pinpage_item *items, unsigned int nr)
{
	struct udmabuf_range *range = range_of(set);
	struct udmabuf_moves *m = range->moves;
	struct folio **folios = m->ubuf->folios + range->first;
	unsigned int i, j;

	for (i = 0; i < nr; i++)
		for (j = 0; items[i].new && j < items[i].nr; j++)
			folios[items[i].index + j] = page_folio(items[i].new);
	if (--m->depth)
		return;
	WRITE_ONCE(m->mover, NULL);
	dma_resv_unlock(m->buf->resv);
}

static void udmabuf_show(struct seq_file *s, struct pinpage_set *set)
{
	struct udmabuf_moves *m = range_of(set)->moves;
	struct dma_buf_attachment *attach;
	bool locked = READ_ONCE(m->mover) != current;

	seq_printf(s, "inode %lu, %zu bytes", m->inode->i_ino, m->buf->size);
	if (locked && !dma_resv_trylock(m->buf->resv)) {
		seq_puts(s, ", in use now");
		return;
	}
	list_for_each_entry(attach, &m->buf->attachments, node)
		if (attach->priv)
			seq_printf(s, ", pinned by importer %s",
				   dev_name(attach->dev));
	if (m->buf->vmapping_counter)
		seq_puts(s, ", mapped by the kernel");
	if (locked)
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
	INIT_WORK(&m->notify, notify_importers);
	init_waitqueue_head(&m->notified);
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
	cancel_work_sync(&m->notify);
	if (m->inode)
		iput(m->inode);
	kvfree(m);
	ubuf->moves = NULL;
}

/**
 * udmabuf_lock - the folios stay where they are until udmabuf_unlock()
 * @ubuf: the udmabuf
 *
 * Context: Takes the reservation lock, if folios may move; may sleep.
 */
void udmabuf_lock(struct udmabuf *ubuf)
{
	if (ubuf->moves)
		dma_resv_lock(ubuf->moves->buf->resv, NULL);
}

/**
 * udmabuf_unlock - take back udmabuf_lock()
 * @ubuf: the udmabuf
 */
void udmabuf_unlock(struct udmabuf *ubuf)
{
	if (ubuf->moves)
		dma_resv_unlock(ubuf->moves->buf->resv);
}

/**
 * udmabuf_sg_dropped - has a move dropped the table for CPU access?
 * @ubuf: the udmabuf, locked
 *
 * Return: true, once for each time: the caller makes another one.
 */
bool udmabuf_sg_dropped(struct udmabuf *ubuf)
{
	bool dropped = ubuf->moves && ubuf->moves->sg_dropped;

	if (dropped)
		ubuf->moves->sg_dropped = false;
	return dropped;
}

/**
 * udmabuf_mapped - an importer has mapped the buffer
 * @ubuf: the udmabuf, locked
 */
void udmabuf_mapped(struct udmabuf *ubuf)
{
	if (!ubuf->moves)
		return;
	ubuf->moves->maps++;
	WRITE_ONCE(ubuf->moves->fresh, true);
}

/**
 * udmabuf_unmapped - an importer has unmapped the buffer
 * @ubuf: the udmabuf, locked
 */
void udmabuf_unmapped(struct udmabuf *ubuf)
{
	if (ubuf->moves && !--ubuf->moves->maps)
		WRITE_ONCE(ubuf->moves->fresh, false);
}

/**
 * udmabuf_pin - an importer wants the buffer to stay where it is
 * @attach: of the importer; its priv counts for the sake of udmabuf_show()
 *
 * Return: 0
 */
int udmabuf_pin(struct dma_buf_attachment *attach)
{
	struct udmabuf *ubuf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	ubuf->moves->pins++;
	attach->priv = (void *)((unsigned long)attach->priv + 1);
	return 0;
}

/**
 * udmabuf_unpin - take back udmabuf_pin()
 * @attach: of the importer
 */
void udmabuf_unpin(struct dma_buf_attachment *attach)
{
	struct udmabuf *ubuf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	ubuf->moves->pins--;
	attach->priv = (void *)((unsigned long)attach->priv - 1);
}
