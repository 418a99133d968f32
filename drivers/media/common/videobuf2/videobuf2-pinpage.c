// SPDX-License-Identifier: GPL-2.0
/*
 * USERPTR buffers whose pages move while the hardware has nothing to do with
 * them.
 *
 * A buffer is held, or it is stopped, or neither. The driver holds it from
 * buf_queue() to vb2_buffer_done(), and in its callbacks; where it learns DMA
 * addresses in buf_prepare(), from then on. A move stops it, from
 * prepare() to complete(): who wants to hold it then waits. That is for a
 * process in an ioctl, which has the lock of the queue, so nothing between
 * prepare() and complete() may wait for that lock, or for anybody who has it.
 *
 * While a stream runs, a buffer is nearly always held. A move that may sleep
 * waits until the driver gives it back, for some frames. The one who ends the
 * last hold stops the buffer on behalf of those who wait, so that a quick
 * process can't queue it again before they are awake. While nobody has it
 * stopped, nothing is different for the stream.
 *
 * The hardware must not run out of buffers, and so of a queue that streams only
 * one buffer at a time is stopped, and only while enough others are with the
 * driver. A task that has stopped one waits for no other: it would keep the
 * process, and with it the lock of the queue, which drivers may need for their
 * next frame.
 *
 * A buffer is stopped with all of its planes. Each has a set of its own, but who
 * holds a buffer would otherwise wait for one plane with another in his hands,
 * which the same batch may be asking for.
 *
 * One lock for all buffers, since a list of those that are stopped is needed
 * anyway. A frame takes it a handful of times, for a few instructions.
 */
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pinpage.h>
#include <linux/pinpage_vmap.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait_bit.h>

#include <media/videobuf2-core.h>

/*
 * Cameras go down to 7.5 frames per second in the dark, and programs queue four
 * buffers: a buffer comes back after 533 ms. The timeout is what the core allows
 * for that, and for the rest of prepare().
 */
#define WAIT_MS		550
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

/**
 * struct vb2_moves - what it takes to let the pages of a plane move
 * @set: the pages
 * @vb: the buffer
 * @pages: the owner's array of them
 * @vaddr: where the kernel has mapped them, or NULL
 * @pause: called when the buffer has been stopped; or NULL
 * @priv: for @pause
 * @leaving: nobody needs to wait any more
 * @stuck: its address has been taken while nobody held the buffer, so that it is
 *	held for as long as the plane is pinned
 */
struct vb2_moves {
	struct pinpage_set set;
	struct vb2_buffer *vb;
	struct page **pages;
	void *vaddr;
	void (*pause)(void *priv);
	void *priv;
	bool leaving;
	bool stuck;
};

/* Protects struct vb2_hold of all buffers, leaving and stuck. */
static DEFINE_SPINLOCK(hold_lock);
static LIST_HEAD(stopped_buffers);

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

/**
 * vb2_buffer_hold - the pages of a buffer stay where they are from now on
 * @vb: the buffer
 *
 * Context: Process context, may sleep until a move in flight is over. The lock
 * of the queue may be held.
 */
void vb2_buffer_hold(struct vb2_buffer *vb)
{
	if (vb->memory == VB2_MEMORY_USERPTR)
		wait_var_event(&vb->hold, try_hold(vb));
}

static void stop(struct vb2_buffer *vb)
{
	if (!vb->hold.stops++)
		list_add(&vb->hold.stopped, &stopped_buffers);
}

static void let_go(struct vb2_buffer *vb)
{
	if (--vb->hold.stops)
		return;
	vb->hold.mover = NULL;
	list_del(&vb->hold.stopped);
}

static bool other_is_stopped(struct vb2_buffer *vb)
{
	struct vb2_buffer *other;

	list_for_each_entry(other, &stopped_buffers, hold.stopped)
		if (other != vb && other->vb2_queue == vb->vb2_queue)
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

/*
 * For the task that has it stopped already, a batch may have several sets of a
 * buffer, and so may a batch within a batch. Others wait for their turn, or a
 * buffer might be stopped for as long as there is somebody to move it.
 *
 * @last: that the stream is short of buffers is no reason any more
 */
static bool may_stop(struct vb2_buffer *vb, bool last)
{
	if (vb->hold.stops)
		return vb->hold.given || vb->hold.mover == current;
	if (vb->hold.holds)
		return false;
	/* Changed under the lock of the queue: as for driver_has_enough(). */
	if (data_race(!vb->vb2_queue->start_streaming_called))
		return true;
	return !other_is_stopped(vb) && (last || driver_has_enough(vb));
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
	bool wake;

	if (vb->memory != VB2_MEMORY_USERPTR)
		return;
	spin_lock_irqsave(&hold_lock, flags);
	if (!WARN_ON_ONCE(!hold->holds) && !--hold->holds) {
		hold->vain = false;
		if (hold->waiters && may_stop(vb, false)) {
			hold->given = true;
			stop(vb);
		}
	}
	wake = hold->waiters;
	spin_unlock_irqrestore(&hold_lock, flags);
	if (wake)
		wake_up_var(hold);
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
	vb2_buffer_unhold(vb);
}

/**
 * vb2_buffer_set_prepared - set or clear the mark that a buffer is prepared
 * @vb: the buffer, held
 * @prepared: is it?
 *
 * Where drivers learn DMA addresses in buf_prepare(), it is held from then on,
 * until vb2_buffer_forget().
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
	} else if (vb->vb2_queue->mem_ops->hold_prepared) {
		vb2_buffer_hold(vb);
		vb->hold.prepared = true;
	}
}

static struct vb2_moves *moves_of(struct pinpage_set *set)
{
	return container_of(set, struct vb2_moves, set);
}

/* Nobody waits for a frame in the middle of an allocation. */
static bool may_wait(enum migrate_mode mode)
{
	return mode != MIGRATE_ASYNC && !(current->flags & PF_MEMALLOC);
}

static bool has_stopped_one(struct task_struct *task)
{
	struct vb2_buffer *vb;
	unsigned long flags;
	bool found = false;

	spin_lock_irqsave(&hold_lock, flags);
	list_for_each_entry(vb, &stopped_buffers, hold.stopped)
		found |= vb->hold.mover == task;
	spin_unlock_irqrestore(&hold_lock, flags);
	return found;
}

static bool try_stop(struct vb2_moves *moves, bool last)
{
	struct vb2_hold *hold = &moves->vb->hold;
	unsigned long flags;
	bool stopped;

	spin_lock_irqsave(&hold_lock, flags);
	stopped = !moves->leaving && may_stop(moves->vb, last);
	if (stopped) {
		if (!hold->given)
			stop(moves->vb);
		hold->given = false;
		hold->mover = current;
	}
	spin_unlock_irqrestore(&hold_lock, flags);
	return stopped;
}

/* What was given to nobody in particular is nobody's now. */
static void stop_waiting(struct vb2_moves *moves, bool stopped)
{
	struct vb2_hold *hold = &moves->vb->hold;
	unsigned long flags;
	bool wake = false;

	spin_lock_irqsave(&hold_lock, flags);
	if (!--hold->waiters && hold->given) {
		hold->given = false;
		let_go(moves->vb);
		wake = true;
	}
	if (!stopped && hold->holds)
		hold->vain = true;
	spin_unlock_irqrestore(&hold_lock, flags);
	if (wake)
		wake_up_var(hold);
}

static bool is_over(struct vb2_moves *moves, unsigned long last, bool *stopped)
{
	if (!*stopped)
		*stopped = try_stop(moves, time_after(jiffies, last));
	return *stopped || READ_ONCE(moves->leaving);
}

/*
 * Not where somebody has waited in vain: the driver may have the buffer for as
 * long as it likes, and an allocation asks several times.
 */
static bool stop_patiently(struct vb2_moves *moves)
{
	unsigned long end = jiffies + msecs_to_jiffies(WAIT_MS);
	unsigned long last = jiffies + msecs_to_jiffies(SHORT_MS);
	struct vb2_hold *hold = &moves->vb->hold;
	bool stopped = false;
	unsigned long flags;

	if (READ_ONCE(hold->vain) || has_stopped_one(current))
		return false;
	spin_lock_irqsave(&hold_lock, flags);
	hold->waiters++;
	spin_unlock_irqrestore(&hold_lock, flags);

	while (!is_over(moves, last, &stopped) && time_before(jiffies, end))
		wait_var_event_timeout(hold, is_over(moves, last, &stopped),
				       msecs_to_jiffies(LOOK_MS));
	stop_waiting(moves, stopped);
	return stopped;
}

static void go(struct vb2_buffer *vb)
{
	unsigned long flags;

	spin_lock_irqsave(&hold_lock, flags);
	let_go(vb);
	spin_unlock_irqrestore(&hold_lock, flags);
	wake_up_var(&vb->hold);
}

/* All pages of a buffer share its fate: no use in asking for half of them. */
static int moves_prepare(struct pinpage_set *set, struct pinpage_item *items,
			 unsigned int nr, enum migrate_mode mode)
{
	struct vb2_moves *moves = moves_of(set);

	if (!try_stop(moves, false) &&
	    (!may_wait(mode) || !stop_patiently(moves)))
		return -EBUSY;
	/* Stable while the buffer is stopped. */
	if (moves->vaddr && pinpage_vmap_pause(moves->vaddr, items, nr)) {
		go(moves->vb);
		return -EBUSY;
	}
	if (moves->pause)
		moves->pause(moves->priv);
	return 0;
}

static void moves_complete(struct pinpage_set *set, struct pinpage_item *items,
			   unsigned int nr)
{
	struct vb2_moves *moves = moves_of(set);
	unsigned int i, j;

	for (i = 0; i < nr; i++)
		for (j = 0; items[i].new && j < items[i].nr; j++)
			moves->pages[items[i].index + j] =
				nth_page(items[i].new, j);
	if (moves->vaddr)
		pinpage_vmap_resume(moves->vaddr, items, nr);
	go(moves->vb);
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
}
module_exit(unregister_system);

/**
 * vb2_moves_pin - pin a plane of a USERPTR buffer, so that its pages can move
 * @vb: the buffer, held: until it isn't, the pages stay
 * @start: user address
 * @length: bytes, not 0
 * @write: will it be written to?
 * @pause: to be called when the buffer has been stopped, before pages move, and
 *	maybe several times; in task context, may not sleep nor need memory. Or
 *	NULL
 * @priv: for @pause
 * @moves: where to store what is to be given back by vb2_moves_unpin()
 *
 * What the vector has are the pages as they are while the buffer is held.
 *
 * Context: Process context, may sleep.
 * Return: A vector of pages, or NULL: nothing has been done, and the pages are
 * to be pinned in the usual way: with pinpage=off, or the module's parameter;
 * where a page is mapped twice in the range, or is none that can move; or for an
 * error, which will be found again.
 */
struct frame_vector *vb2_moves_pin(struct vb2_buffer *vb, unsigned long start,
				   unsigned long length, bool write,
				   void (*pause)(void *priv), void *priv,
				   struct vb2_moves **moves)
{
	unsigned long nr = DIV_ROUND_UP(offset_in_page(start) + length,
					PAGE_SIZE);
	struct frame_vector *vec;
	struct vb2_moves *m;

	/* Who has no such buffers pays for none. */
	if (!READ_ONCE(pinpage) || !pinpage_enabled() ||
	    register_pinpage_once(&vb2_system))
		return NULL;
	vec = frame_vector_create(nr);
	m = kzalloc(sizeof(*m), GFP_KERNEL);
	if (!vec || !m)
		goto err;
	m->vb = vb;
	m->pages = (struct page **)vec->ptrs;
	m->pause = pause;
	m->priv = priv;
	m->set.timeout_ms = TIMEOUT_MS;
	if (pinpage_pin_user(&vb2_system, &m->set, start & PAGE_MASK, nr,
			     write ? FOLL_WRITE : 0, 0, m->pages))
		goto err;
	vec->nr_frames = nr;
	vec->is_pfns = false;
	/* The pins are those of the set. */
	vec->got_ref = false;
	*moves = m;
	return vec;
err:
	kfree(m);
	if (vec)
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

static bool try_use(struct vb2_moves *moves)
{
	struct vb2_hold *hold = &moves->vb->hold;
	unsigned long flags;
	bool stopped;

	spin_lock_irqsave(&hold_lock, flags);
	stopped = hold->stops;
	if (!stopped && !hold->holds) {
		moves->stuck = true;
		hold->holds++;
	}
	spin_unlock_irqrestore(&hold_lock, flags);
	return !stopped;
}

/**
 * vb2_moves_use - a driver asks for the address of a plane
 * @moves: of the plane, or NULL
 *
 * If it's not at a time when it holds the buffer, nobody knows for how long it
 * is going to use the address: the pages stay from now on. Decoders do that with
 * frames that others refer to.
 *
 * Context: Any, if the buffer is held; process context, may sleep, if not.
 */
void vb2_moves_use(struct vb2_moves *moves)
{
	if (moves && !try_use(moves))
		wait_var_event(&moves->vb->hold, try_use(moves));
}
EXPORT_SYMBOL_GPL(vb2_moves_use);

/**
 * vb2_moves_end - the pages of a plane stay from now on, to be unpinned
 * @moves: of the plane, or NULL
 *
 * Context: Process context, waits for moves in flight.
 */
void vb2_moves_end(struct vb2_moves *moves)
{
	unsigned long flags;

	if (!moves || moves->leaving)
		return;
	vb2_buffer_hold(moves->vb);
	spin_lock_irqsave(&hold_lock, flags);
	WRITE_ONCE(moves->leaving, true);
	spin_unlock_irqrestore(&hold_lock, flags);
	wake_up_var(&moves->vb->hold);
}
EXPORT_SYMBOL_GPL(vb2_moves_end);

/**
 * vb2_moves_unpin - take back vb2_moves_pin(), but for the vector
 * @moves: of the plane, which nobody has mapped any more; or NULL
 *
 * Context: Process context, waits for moves in flight.
 */
void vb2_moves_unpin(struct vb2_moves *moves)
{
	if (!moves)
		return;
	vb2_moves_end(moves);
	pinpage_unpin_user(&moves->set, false);
	if (moves->stuck)
		vb2_buffer_unhold(moves->vb);
	vb2_buffer_unhold(moves->vb);
	kfree(moves);
}
EXPORT_SYMBOL_GPL(vb2_moves_unpin);
