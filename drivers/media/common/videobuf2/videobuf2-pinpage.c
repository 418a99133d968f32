// SPDX-License-Identifier: GPL-2.0
/*
 * USERPTR buffers whose pages move while the hardware has nothing to do with
 * them.
 *
 * A buffer is held, or it is stopped, or neither. The driver holds it from
 * buf_queue() to vb2_buffer_done(), and an ioctl while it has the driver look at
 * it; where the driver learns DMA addresses in buf_prepare(), from then on. A
 * move stops it, until complete(). That is short, so an ioctl that finds it
 * stopped waits, interruptibly.
 *
 * While a stream runs, a buffer is nearly always held. A move asks for it then,
 * and gets it when the last hold ends, often in an interrupt: what moves need
 * done where one may not is done in prepare(), with the hardware still at work,
 * or in complete(). While nobody asks, nothing is different for the stream.
 *
 * The hardware must not run out of buffers, and so of a queue that streams only
 * one buffer at a time is stopped, and only while enough others are with the
 * driver. For what has to wait for that there is a timer, since most of what
 * changes it is not worth a call. A page that several buffers share moves while
 * the driver has none of the queue.
 *
 * A buffer is stopped with all of its planes, though each has a set of its own.
 * Two movers that take turns with the planes could keep it for ever, so a task
 * that waits for the buffer comes before a set that is to join.
 *
 * One lock for all buffers: there are few of those that a move asks for, and
 * who asks has to know of the others of the queue. A frame takes the lock a
 * handful of times, for a few instructions.
 */
#include <linux/cacheflush.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pinpage.h>
#include <linux/pinpage_vmap.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/wait_bit.h>

#include <media/videobuf2-core.h>

#include "videobuf2-pinpage-dma.h"

/*
 * Cameras go down to 7.5 frames per second in the dark, and programs queue four
 * buffers: a buffer comes back after 533 ms.
 */
#define TIMEOUT_MS	600
/*
 * How long a buffer that nobody holds is left to a stream that is short of
 * buffers: some frames; and how often to look whether it still is.
 */
#define SHORT_MS	100
#define LOOK_MS		10

static bool pinpage = true;
module_param(pinpage, bool, 0644);
MODULE_PARM_DESC(pinpage, "let the pages of USERPTR buffers move, of those that are pinned from now on");

enum moves_state {
	MOVES_IDLE,
	MOVES_ASKED,
	MOVES_STOPPED,
};

/**
 * struct vb2_moves - what it takes to let the pages of a plane move
 * @set: the pages
 * @vb: the buffer
 * @pages: the owner's array of them
 * @nr: how many
 * @vaddr: where the kernel has mapped them, or NULL
 * @dma: how they are mapped for a device
 * @state: what the buffer's counters have it as
 * @entry: in the list of those asked, or of those stopped
 * @mover: the task that is moving the pages
 * @joins: it has a page in common with another buffer that is to move with it
 * @patience: jiffies from when on a stream that is short of buffers is no reason
 *	any more
 * @stuck: its address has been taken while nobody held the buffer, so that it is
 *	held for as long as the plane is pinned
 */
struct vb2_moves {
	struct pinpage_set set;
	struct vb2_buffer *vb;
	struct page **pages;
	unsigned long nr;
	void *vaddr;
	struct vb2_moves_dma dma;
	enum moves_state state;
	struct list_head entry;
	struct task_struct *mover;
	unsigned long patience;
	bool joins, stuck;
};

/* Protects struct vb2_hold of all buffers, and state, mover, joins and stuck. */
static DEFINE_SPINLOCK(hold_lock);
static LIST_HEAD(asked_sets);
static LIST_HEAD(stopped_sets);

static void look_again(struct timer_list *unused);
static DEFINE_TIMER(look_timer, look_again);

static void look_soon(void)
{
	if (!timer_pending(&look_timer))
		mod_timer(&look_timer, jiffies + msecs_to_jiffies(LOOK_MS));
}

static bool is_stopped_by(struct vb2_buffer *vb, struct task_struct *mover)
{
	struct vb2_moves *moves;

	list_for_each_entry(moves, &stopped_sets, entry)
		if (moves->vb == vb && moves->mover == mover)
			return true;
	return false;
}

static bool other_is_stopped(struct vb2_buffer *vb)
{
	struct vb2_moves *moves;

	list_for_each_entry(moves, &stopped_sets, entry)
		if (moves->vb != vb && moves->vb->vb2_queue == vb->vb2_queue)
			return true;
	return false;
}

/*
 * Has the driver enough without @vb? As many as it needs at least, or all the
 * others there are. A queue is changed under its lock, which we don't have: a
 * number that is out of date lets the buffer stop a moment too early or late.
 */
static bool driver_has_enough(struct vb2_buffer *vb)
{
	struct vb2_queue *q = vb->vb2_queue;
	unsigned int need = max(q->min_queued_buffers, 1U);

	need = min(need, vb2_get_num_buffers(q) - 1);
	return atomic_read(&q->owned_by_drv_count) >= need;
}

static bool is_streaming(const struct vb2_buffer *vb)
{
	/* Changed under the lock of the queue: as for driver_has_enough(). */
	return !data_race(!vb->vb2_queue->start_streaming_called);
}

static bool may_stop(struct vb2_moves *moves)
{
	struct vb2_hold *hold = &moves->vb->hold;

	if (hold->holds)
		return false;
	if (hold->claims)
		return hold->stops && is_stopped_by(moves->vb, moves->mover);
	if (hold->stops || !is_streaming(moves->vb))
		return true;
	if (!moves->joins && other_is_stopped(moves->vb))
		return false;
	return driver_has_enough(moves->vb) ||
	       time_after_eq(jiffies, moves->patience);
}

static void stop_set(struct vb2_moves *moves)
{
	/* What was written there is to be copied. */
	if (moves->vaddr)
		flush_kernel_vmap_range(moves->vaddr, moves->nr << PAGE_SHIFT);
	moves->vb->hold.stops++;
	moves->state = MOVES_STOPPED;
	list_add(&moves->entry, &stopped_sets);
}

static void ask_for(struct vb2_moves *moves)
{
	moves->vb->hold.asked++;
	moves->state = MOVES_ASKED;
	list_add_tail(&moves->entry, &asked_sets);
	look_soon();
}

static void forget_set(struct vb2_moves *moves)
{
	if (moves->state == MOVES_ASKED)
		moves->vb->hold.asked--;
	else
		moves->vb->hold.stops--;
	moves->state = MOVES_IDLE;
	list_del(&moves->entry);
}

/* Stop what was asked for and can be stopped by now, of @q, or of all queues. */
static void stop_asked(struct vb2_queue *q)
{
	struct vb2_moves *moves, *next;

	list_for_each_entry_safe(moves, next, &asked_sets, entry) {
		if ((q && moves->vb->vb2_queue != q) || !may_stop(moves))
			continue;
		forget_set(moves);
		stop_set(moves);
		/* Under the lock, so that it is not late for this pause. */
		pinpage_quiet(&moves->set);
	}
}

static void look_again(struct timer_list *unused)
{
	unsigned long flags;

	spin_lock_irqsave(&hold_lock, flags);
	stop_asked(NULL);
	if (!list_empty(&asked_sets))
		look_soon();
	spin_unlock_irqrestore(&hold_lock, flags);
}

static bool try_hold(struct vb2_buffer *vb)
{
	unsigned long flags;
	bool held;

	spin_lock_irqsave(&hold_lock, flags);
	held = !vb->hold.stops;
	if (held)
		vb->hold.holds++;
	spin_unlock_irqrestore(&hold_lock, flags);
	return held;
}

static void claim(struct vb2_buffer *vb, int more)
{
	unsigned long flags;

	spin_lock_irqsave(&hold_lock, flags);
	vb->hold.claims += more;
	if (!vb->hold.claims && vb->hold.asked)
		stop_asked(vb->vb2_queue);
	spin_unlock_irqrestore(&hold_lock, flags);
}

/**
 * vb2_buffer_hold - the pages of a buffer stay where they are from now on
 * @vb: the buffer
 *
 * Waits for a move in flight, with the lock of the queue, which a process that
 * touches one of the pages would as well.
 *
 * Context: Process context, may sleep.
 * Return: 0; -ERESTARTSYS for a signal, then nothing has changed.
 */
int vb2_buffer_hold(struct vb2_buffer *vb)
{
	int err;

	if (vb->memory != VB2_MEMORY_USERPTR || try_hold(vb))
		return 0;
	claim(vb, 1);
	err = wait_var_event_interruptible(&vb->hold, try_hold(vb));
	claim(vb, -1);
	return err;
}

/**
 * vb2_buffer_hold_more - hold a buffer that is held
 * @vb: the buffer
 *
 * Context: Any.
 */
void vb2_buffer_hold_more(struct vb2_buffer *vb)
{
	if (vb->memory == VB2_MEMORY_USERPTR)
		WARN_ON_ONCE(!try_hold(vb));
}

/**
 * vb2_buffer_unhold - take back vb2_buffer_hold()
 * @vb: the buffer
 *
 * Context: Any; the caller keeps the buffer from being freed.
 */
void vb2_buffer_unhold(struct vb2_buffer *vb)
{
	struct vb2_hold *hold = &vb->hold;
	unsigned long flags;

	if (vb->memory != VB2_MEMORY_USERPTR)
		return;
	spin_lock_irqsave(&hold_lock, flags);
	if (!WARN_ON_ONCE(!hold->holds) && !--hold->holds && hold->asked)
		stop_asked(vb->vb2_queue);
	spin_unlock_irqrestore(&hold_lock, flags);
}

static void change_lasting(struct vb2_buffer *vb, int more)
{
	unsigned long flags;

	spin_lock_irqsave(&hold_lock, flags);
	vb->hold.lasting += more;
	spin_unlock_irqrestore(&hold_lock, flags);
}

/**
 * vb2_buffer_forget - the driver needs what it learned in buf_prepare() no more
 * @vb: the buffer, held
 *
 * Context: Any. Before anybody can have the buffer prepared again.
 */
void vb2_buffer_forget(struct vb2_buffer *vb)
{
	if (!vb->hold.prepared)
		return;
	vb->hold.prepared = false;
	change_lasting(vb, -1);
	vb2_buffer_unhold(vb);
}

/**
 * vb2_buffer_set_prepared - set or clear the mark that a buffer is prepared
 * @vb: the buffer; held, if it is to be prepared
 * @prepared: is it?
 *
 * Where drivers learn DMA addresses in buf_prepare(), it is held from then on,
 * until vb2_buffer_forget(). So is one that is part of a request: nobody could be
 * told that its turn has come in the middle of a move.
 *
 * Context: Process context.
 */
void vb2_buffer_set_prepared(struct vb2_buffer *vb, bool prepared)
{
	if (vb->prepared == prepared)
		return;
	vb->prepared = prepared;
	if (!prepared) {
		vb2_buffer_forget(vb);
	} else if (vb->memory == VB2_MEMORY_USERPTR &&
		   (vb->vb2_queue->mem_ops->hold_prepared ||
		    vb->state == VB2_BUF_STATE_IN_REQUEST)) {
		vb2_buffer_hold_more(vb);
		change_lasting(vb, 1);
		vb->hold.prepared = true;
	}
}

static struct vb2_moves *moves_of(struct pinpage_set *set)
{
	return container_of(set, struct vb2_moves, set);
}

static bool has_folio_of(const struct vb2_moves *moves,
			 const struct pinpage_item *items, unsigned int nr)
{
	struct folio *first = page_folio(moves->pages[0]);
	struct folio *last = page_folio(moves->pages[moves->nr - 1]);
	struct folio *folio;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		folio = page_folio(items[i].page);
		if (folio == first || folio == last)
			return true;
	}
	return false;
}

/*
 * Buffers that lie side by side share a page, or a huge one. It moves when all of
 * them are stopped: the one to look for is in @sets, of another buffer, and of this
 * move.
 */
static struct vb2_moves *find_partner(const struct vb2_moves *moves,
				      const struct list_head *sets,
				      const struct pinpage_item *items,
				      unsigned int nr)
{
	struct vb2_moves *other;

	list_for_each_entry(other, sets, entry)
		if (other->mover == current && other->vb != moves->vb &&
		    has_folio_of(other, items, nr))
			return other;
	return NULL;
}

/*
 * Is the driver at work? The buffers of a page would have to wait for each other,
 * and half of a queue would be missing. A frame is worth more than a page.
 */
static bool driver_works(const struct vb2_buffer *vb)
{
	return is_streaming(vb) && atomic_read(&vb->vb2_queue->owned_by_drv_count);
}

/*
 * A frame comes back soon, and an ioctl. What is prepared while nothing streams
 * may stay so for ever.
 */
static bool comes_back(const struct vb2_buffer *vb)
{
	return !vb->hold.holds || vb->hold.holds > vb->hold.lasting;
}

/*
 * All pages of a buffer share its fate: no use in asking for half of them. Those
 * that share a page wait for each other.
 */
static int stop_or_ask(struct vb2_moves *moves,
		       const struct pinpage_item *items, unsigned int nr)
{
	struct vb2_moves *partner = find_partner(moves, &stopped_sets, items, nr);

	if (!partner)
		partner = find_partner(moves, &asked_sets, items, nr);
	if (partner && driver_works(moves->vb))
		return -EBUSY;
	if (partner)
		partner->joins = true;
	moves->joins = partner;
	moves->mover = current;
	moves->patience = jiffies + msecs_to_jiffies(SHORT_MS);
	if (may_stop(moves)) {
		stop_set(moves);
		return 0;
	}
	if (!comes_back(moves->vb))
		return -EBUSY;
	ask_for(moves);
	return -EINPROGRESS;
}

static int moves_prepare(struct pinpage_set *set, struct pinpage_item *items,
			 unsigned int nr)
{
	struct vb2_moves *moves = moves_of(set);
	unsigned long flags;
	int ret;

	/* Before it is quiet: the rest of this pause has nobody to be told. */
	if (moves->dma.dev && vb2_moves_dma_prepare(&moves->dma, items, nr))
		return -EBUSY;
	spin_lock_irqsave(&hold_lock, flags);
	ret = stop_or_ask(moves, items, nr);
	spin_unlock_irqrestore(&hold_lock, flags);
	if (ret == -EBUSY && moves->dma.dev)
		vb2_moves_dma_cancel(&moves->dma, items, nr);
	return ret;
}

/* No longer asked for, if that is how far it came. */
static bool withdraw(struct vb2_moves *moves)
{
	unsigned long flags;
	bool asked;

	spin_lock_irqsave(&hold_lock, flags);
	asked = moves->state == MOVES_ASKED;
	if (asked)
		forget_set(moves);
	spin_unlock_irqrestore(&hold_lock, flags);
	return asked;
}

static void go(struct vb2_moves *moves)
{
	struct vb2_buffer *vb = moves->vb;
	unsigned long flags;

	spin_lock_irqsave(&hold_lock, flags);
	forget_set(moves);
	stop_asked(vb->vb2_queue);
	spin_unlock_irqrestore(&hold_lock, flags);
	wake_up_var(&vb->hold);
}

static void moves_complete(struct pinpage_set *set, struct pinpage_item *items,
			   unsigned int nr)
{
	struct vb2_moves *moves = moves_of(set);
	bool asked = withdraw(moves);

	if (!asked) {
		pinpage_repoint(moves->pages, items, nr);
		if (moves->vaddr)
			pinpage_vmap_repoint(moves->vaddr, items, nr);
	}
	if (moves->dma.dev)
		vb2_moves_dma_complete(&moves->dma, items, nr);
	if (!asked)
		go(moves);
}

static const char *why_held(struct vb2_moves *moves)
{
	struct vb2_buffer *vb = moves->vb;

	/* For a person to read: it was so a moment ago. */
	if (data_race(vb->state) == VB2_BUF_STATE_ACTIVE)
		return "owned by the driver";
	/* As above. */
	if (data_race(moves->stuck))
		return "the driver has taken its address without owning it";
	/* As above. */
	if (data_race(vb->hold.holds))
		return "prepared for the driver";
	return "not in use";
}

static void moves_show(struct seq_file *m, struct pinpage_set *set)
{
	struct vb2_moves *moves = moves_of(set);
	struct vb2_buffer *vb = moves->vb;
	struct vb2_queue *q = vb->vb2_queue;

	seq_printf(m, "%s, queue %s, buffer %u, %s",
		   q->dev ? dev_name(q->dev) : "no device", q->name, vb->index,
		   why_held(moves));
}

static const struct pinpage_ops moves_ops = {
	.prepare = moves_prepare,
	.complete = moves_complete,
	.show = moves_show,
};

static struct pinpage_system vb2_system = {
	.name = "videobuf2",
	.owner = THIS_MODULE,
	.ops = &moves_ops,
};

static void __exit unregister_system(void)
{
	unregister_pinpage(&vb2_system);
	timer_shutdown_sync(&look_timer);
}
module_exit(unregister_system);

static struct vb2_moves *alloc_moves(struct vb2_buffer *vb, unsigned long nr,
				     struct page **pages)
{
	struct vb2_moves *moves = kzalloc(sizeof(*moves), GFP_KERNEL);

	if (!moves)
		return NULL;
	moves->vb = vb;
	moves->pages = pages;
	moves->nr = nr;
	moves->set.timeout_ms = TIMEOUT_MS;
	return moves;
}

static int provide_dma(struct vb2_moves *moves, struct device *dev,
		       unsigned int offset, unsigned long size, bool contiguous)
{
	moves->dma.dev = dev;
	moves->dma.dir = moves->vb->vb2_queue->dma_dir;
	moves->dma.pages = moves->pages;
	moves->dma.offset = offset;
	moves->dma.size = size;
	moves->dma.unit = contiguous ? moves->nr : 1;
	moves->set.limit = vb2_moves_dma_limit(dev);
	return vb2_moves_dma_init(&moves->dma);
}

static void release_moves(struct vb2_moves *moves)
{
	if (moves && moves->dma.dev)
		vb2_moves_dma_free(&moves->dma);
	kfree(moves);
}

/* In one folio a plane is contiguous wherever that goes. */
static bool in_one_folio(const struct vb2_moves *moves)
{
	struct folio *folio = page_folio(moves->pages[0]);
	unsigned long first = folio_page_idx(folio, moves->pages[0]);
	unsigned long i;

	for (i = 1; i < moves->nr; i++)
		if (page_folio(moves->pages[i]) != folio ||
		    folio_page_idx(folio, moves->pages[i]) != first + i)
			return false;
	return true;
}

/**
 * vb2_moves_pin - pin a plane of a USERPTR buffer, so that its pages can move
 * @vb: the buffer, held: until it isn't, the pages stay
 * @start: user address
 * @length: bytes, not 0
 * @write: will it be written to?
 * @dev: the device that it is going to be mapped for, with %DMA_ATTR_SKIP_CPU_SYNC
 *	and the direction of the queue; or NULL
 * @contiguous: for the device it has to be contiguous
 * @moves: where to store what is to be given back by vb2_moves_free()
 *
 * What the vector has are the pages as they are while the buffer is held.
 *
 * Context: Process context, may sleep.
 * Return: A vector of pages, or NULL: nothing has been done, and the pages are
 * to be pinned in the usual way: where the driver has not set userptr_may_move;
 * with pinpage=off, or the module's parameter; where a contiguous plane is not
 * within one folio; or for an error, which will be found again.
 */
struct frame_vector *vb2_moves_pin(struct vb2_buffer *vb, unsigned long start,
				   unsigned long length, bool write,
				   struct device *dev, bool contiguous,
				   struct vb2_moves **moves)
{
	unsigned int offset = offset_in_page(start);
	unsigned long nr = DIV_ROUND_UP(offset + length, PAGE_SIZE);
	struct frame_vector *vec;
	struct vb2_moves *m;

	/* Who has no such buffers pays for none. */
	if (!vb->vb2_queue->userptr_may_move || !READ_ONCE(pinpage) ||
	    !pinpage_enabled() || register_pinpage_once(&vb2_system))
		return NULL;
	vec = frame_vector_create(nr);
	if (!vec)
		return NULL;
	m = alloc_moves(vb, nr, (struct page **)vec->ptrs);
	if (!m || (dev && provide_dma(m, dev, offset, length, contiguous)))
		goto err;
	if (pinpage_pin_user(&vb2_system, &m->set, start & PAGE_MASK, nr,
			     write ? FOLL_WRITE : 0, 0, m->pages))
		goto err;
	if (contiguous && !in_one_folio(m)) {
		pinpage_unpin_user(&m->set, false);
		goto err;
	}
	vec->nr_frames = nr;
	vec->is_pfns = false;
	vec->got_ref = true;
	*moves = m;
	return vec;
err:
	release_moves(m);
	frame_vector_destroy(vec);
	return NULL;
}
EXPORT_SYMBOL_GPL(vb2_moves_pin);

/**
 * vb2_moves_mapped - the kernel has mapped the pages of a plane
 * @moves: of the plane, whose buffer is held; or NULL
 * @vaddr: where the first page is, by vm_map_ram(); it stays until
 *	vb2_moves_end()
 */
void vb2_moves_mapped(struct vb2_moves *moves, void *vaddr)
{
	if (moves)
		moves->vaddr = vaddr;
}
EXPORT_SYMBOL_GPL(vb2_moves_mapped);

/**
 * vb2_moves_dma_mapped - the pages of a plane have been mapped for its device
 * @moves: of the plane, whose buffer is held; or NULL
 * @sgt: the table; it stays until vb2_moves_end(), but for what
 *	vb2_moves_update_table() makes of it
 */
void vb2_moves_dma_mapped(struct vb2_moves *moves, struct sg_table *sgt)
{
	if (moves)
		moves->dma.sgt = sgt;
}
EXPORT_SYMBOL_GPL(vb2_moves_dma_mapped);

/**
 * vb2_moves_use - a driver asks for the address of a plane
 * @moves: of the plane, or NULL
 *
 * If it's not at a time when it holds the buffer, nobody knows for how long it
 * is going to use the address: the pages stay from now on. Decoders do that with
 * frames that others refer to.
 *
 * Context: Any.
 * Return: true; false where the pages are moving, so that there is no address.
 */
bool vb2_moves_use(struct vb2_moves *moves)
{
	struct vb2_hold *hold;
	unsigned long flags;
	bool stopped;

	if (!moves)
		return true;
	hold = &moves->vb->hold;
	spin_lock_irqsave(&hold_lock, flags);
	stopped = hold->stops;
	if (!stopped && !hold->holds) {
		moves->stuck = true;
		hold->holds++;
		hold->lasting++;
	}
	spin_unlock_irqrestore(&hold_lock, flags);
	return !stopped;
}
EXPORT_SYMBOL_GPL(vb2_moves_use);

/**
 * vb2_moves_have_moved - is the table of a plane out of date?
 * @moves: of the plane, whose buffer is held; or NULL
 *
 * Return: true until vb2_moves_update_table().
 */
bool vb2_moves_have_moved(struct vb2_moves *moves)
{
	return moves && moves->dma.moved;
}
EXPORT_SYMBOL_GPL(vb2_moves_have_moved);

/**
 * vb2_moves_update_table - bring the table of a plane up to date
 * @moves: of the plane, whose buffer is held; or NULL
 *
 * Context: Any. Can't fail, since the pages are mapped already.
 */
void vb2_moves_update_table(struct vb2_moves *moves)
{
	if (moves && moves->dma.dev)
		vb2_moves_dma_update(&moves->dma);
}
EXPORT_SYMBOL_GPL(vb2_moves_update_table);

/**
 * vb2_moves_end - the pages of a plane stay from now on, to be unpinned
 * @moves: of the plane, or NULL
 *
 * Context: Process context, waits for a move in flight.
 */
void vb2_moves_end(struct vb2_moves *moves)
{
	if (moves)
		clear_pinpage(&moves->set, NULL);
}
EXPORT_SYMBOL_GPL(vb2_moves_end);

/**
 * vb2_moves_dma_unmap - unmap a plane from its device, where moves have mapped it
 * @moves: of the plane, after vb2_moves_end(); or NULL
 *
 * Return: true; false where the table is mapped as the driver had it.
 */
bool vb2_moves_dma_unmap(struct vb2_moves *moves)
{
	return moves && vb2_moves_dma_end(&moves->dma);
}
EXPORT_SYMBOL_GPL(vb2_moves_dma_unmap);

/**
 * vb2_moves_free - take back vb2_moves_pin(), but for the vector, and the pins
 * @moves: of the plane, after vb2_moves_end(), unmapped; or NULL
 *
 * Context: Process context.
 */
void vb2_moves_free(struct vb2_moves *moves)
{
	if (!moves)
		return;
	if (moves->stuck) {
		change_lasting(moves->vb, -1);
		vb2_buffer_unhold(moves->vb);
	}
	release_moves(moves);
}
EXPORT_SYMBOL_GPL(vb2_moves_free);
