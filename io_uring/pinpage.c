// SPDX-License-Identifier: GPL-2.0
/*
 * Registered buffers whose pages move.
 *
 * A request takes the pages of its buffer when it is issued, not when it is
 * prepared: what io_import_fixed() makes is a pointer into imu->bvec, where a
 * move changes nothing but the pages. So what counts is from issue to the end of
 * the I/O, in moves->uses: for reads and writes until ->ki_complete(), which
 * comes by itself, be the ring looked after or not; for commands until
 * io_uring_cmd_done(); for zero-copy sends until the last skb has gone, so it is
 * the notification that counts there.
 *
 * prepare() freezes the buffer: it takes IO_BUF_THAWED off uses, so that no
 * request can be added, and waits for those that are out. A request that finds
 * it frozen is put on a list, before it has done anything, and complete() has
 * task work submit it again. Nobody sleeps for it, with uring_lock or without,
 * and so the ones that prepare() waits for are never behind it.
 *
 * A buffer that is shared by rings (IORING_REGISTER_CLONE_BUFFERS) has one count
 * and one list. A buffer goes when all of its requests have, including those on
 * the list, and then waits for moves in flight; these need no lock of a ring.
 */
#include <linux/bvec.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pinpage.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "io_uring.h"
#include "net.h"
#include "notif.h"
#include "pinpage.h"
#include "rsrc.h"
#include "uring_cmd.h"

static struct io_buf_moves *moves_of(struct pinpage_set *set)
{
	return container_of(set, struct io_buf_moves, set);
}

static bool is_idle(struct io_buf_moves *moves)
{
	/* Pairs with io_buf_count_out(): what the last request has done. */
	return !atomic_read_acquire(&moves->uses);
}

static void freeze(struct io_buf_moves *moves)
{
	spin_lock(&moves->lock);
	if (!moves->freezes++)
		atomic_sub(IO_BUF_THAWED, &moves->uses);
	spin_unlock(&moves->lock);
}

static void unfreeze(struct io_buf_moves *moves)
{
	struct llist_node *delayed = NULL;
	struct io_kiocb *req, *next;

	spin_lock(&moves->lock);
	if (!--moves->freezes) {
		/* Whoever counts himself in sees the pages as they are now. */
		atomic_add_return(IO_BUF_THAWED, &moves->uses);
		delayed = llist_del_all(&moves->delayed);
	}
	spin_unlock(&moves->lock);

	delayed = llist_reverse_order(delayed);
	llist_for_each_entry_safe(req, next, delayed, io_task_work.node)
		io_req_task_queue(req);
}

/*
 * Allocations that a request makes must not wait for that request; and nobody's
 * should wait for a disk.
 */
static bool may_wait(enum migrate_mode mode)
{
	return mode != MIGRATE_ASYNC && !(current->flags & PF_MEMALLOC);
}

static int io_buf_prepare(struct pinpage_set *set, struct pinpage_item *items,
			  unsigned int nr, enum migrate_mode mode)
{
	struct io_buf_moves *moves = moves_of(set);

	/* Pairs with io_moves_start(). */
	if (!smp_load_acquire(&moves->imu))
		return -EBUSY;
	freeze(moves);
	if (!is_idle(moves) && may_wait(mode))
		wait_event_timeout(moves->wait, is_idle(moves),
				   msecs_to_jiffies(PINPAGE_TIMEOUT_MS - 10));
	if (is_idle(moves))
		return 0;
	/* Requests use all of a buffer: no use in asking for half of it. */
	unfreeze(moves);
	return -EBUSY;
}

/* Entries of several pages stand for a folio, and begin where it does. */
static void set_page(struct io_buf_moves *moves, unsigned long index,
		     struct page *page)
{
	struct io_mapped_ubuf *imu = moves->imu;
	unsigned int order = imu->folio_shift - PAGE_SHIFT;

	if (moves->nr_pages_head) {
		page = compound_head(page);
		if (index < moves->nr_pages_head)
			index = 0;
		else
			index = 1 + ((index - moves->nr_pages_head) >> order);
	}
	imu->bvec[index].bv_page = page;
}

static void io_buf_complete(struct pinpage_set *set, struct pinpage_item *items,
			    unsigned int nr)
{
	struct io_buf_moves *moves = moves_of(set);
	unsigned int i, j;

	spin_lock(&moves->lock);
	for (i = 0; i < nr; i++)
		for (j = 0; items[i].new && j < items[i].nr; j++)
			set_page(moves, items[i].index + j,
				 nth_page(items[i].new, j));
	spin_unlock(&moves->lock);
	unfreeze(moves);
}

static void io_buf_show(struct seq_file *m, struct pinpage_set *set)
{
	struct io_buf_moves *moves = moves_of(set);
	struct io_mapped_ubuf *imu;

	imu = smp_load_acquire(&moves->imu);	/* as in prepare() */
	if (imu)
		seq_printf(m, "%u bytes at %#llx, %d in flight", imu->len,
			   imu->ubuf, atomic_read(&moves->uses) & (IO_BUF_THAWED - 1));
}

static const struct pinpage_ops io_buf_ops = {
	.prepare = io_buf_prepare,
	.complete = io_buf_complete,
	.show = io_buf_show,
};

static struct pinpage_system io_buf_system = {
	.name = "io_uring",
	.owner = THIS_MODULE,
	.ops = &io_buf_ops,
};

static struct io_buf_moves *alloc_moves(void)
{
	struct io_buf_moves *moves;

	moves = kzalloc(sizeof(*moves), GFP_KERNEL_ACCOUNT);
	if (!moves)
		return NULL;
	atomic_set(&moves->uses, IO_BUF_THAWED);
	init_waitqueue_head(&moves->wait);
	spin_lock_init(&moves->lock);
	init_llist_head(&moves->delayed);
	return moves;
}

/**
 * io_pin_movable - as io_pin_pages(), for pages that move
 * @uaddr: user address
 * @len: bytes, not 0
 * @npages: where to store how many pages these are
 * @moves: where to store what io_mapped_ubuf.moves is to be
 *
 * Context: Process context, may sleep.
 * Return: The pages, with a pin each, in memory to be freed by kvfree(). They
 * stay where they are until io_moves_start(). NULL: nothing has been done, and
 * the pages are to be pinned in the usual way: with pinpage=off; where a page is
 * mapped twice in the range, or is none that can move; or for an error, which
 * will be found again.
 */
struct page **io_pin_movable(unsigned long uaddr, unsigned long len,
			     int *npages, struct io_buf_moves **moves)
{
	unsigned long nr = DIV_ROUND_UP(offset_in_page(uaddr) + len, PAGE_SIZE);
	struct page **pages;

	/* Who registers no buffers pays for none. */
	if (!pinpage_enabled() || register_pinpage_once(&io_buf_system))
		return NULL;
	*moves = alloc_moves();
	if (!*moves)
		return NULL;
	pages = kvmalloc_array(nr, sizeof(*pages), GFP_KERNEL);
	if (pages && !pinpage_pin_user(&io_buf_system, &(*moves)->set, uaddr,
				       nr, FOLL_WRITE, 0, pages)) {
		*npages = nr;
		return pages;
	}
	kvfree(pages);
	kfree(*moves);
	*moves = NULL;
	return NULL;
}

/**
 * io_moves_start - from now on the pages of a buffer may move
 * @imu: the buffer, ready for use, but for requests
 * @nr_pages_head: pages in the first entry of its table, if entries stand for
 *	folios; 0 if they stand for pages
 */
void io_moves_start(struct io_mapped_ubuf *imu, unsigned int nr_pages_head)
{
	if (!imu->moves)
		return;
	imu->moves->nr_pages_head = nr_pages_head;
	/* Who sees it sees all of it. */
	smp_store_release(&imu->moves->imu, imu);
}

/**
 * io_moves_free - unpin the pages of a buffer that no request uses any more
 * @moves: of the buffer
 *
 * Context: Process context, waits for moves in flight.
 */
void io_moves_free(struct io_buf_moves *moves)
{
	pinpage_unpin_user(&moves->set, false);
	WARN_ON_ONCE(atomic_read(&moves->uses) != IO_BUF_THAWED ||
		     !llist_empty(&moves->delayed));
	kfree(moves);
}

/**
 * io_moves_has_hpage - as io_imu_has_hpage(), for a buffer that may move
 * @imu: the buffer
 * @hpage: the head page of a folio
 *
 * A folio that is on its way to another one is taken for the old one.
 *
 * Context: Task context.
 * Return: Is some of it in the buffer?
 */
bool io_moves_has_hpage(struct io_mapped_ubuf *imu, struct page *hpage)
{
	bool found;

	spin_lock(&imu->moves->lock);
	found = io_imu_has_hpage(imu, hpage);
	spin_unlock(&imu->moves->lock);
	return found;
}

/* Which request is it that tells when the pages are not accessed any more? */
static struct io_kiocb *holder_of(struct io_kiocb *req)
{
#ifdef CONFIG_NET
	if (req->opcode == IORING_OP_SEND_ZC)
		return io_send_zc_notif(req);
#endif
	return req;
}

/* False: the buffer has been released, try again. */
static bool delay(struct io_buf_moves *moves, struct io_kiocb *req)
{
	bool frozen;

	spin_lock(&moves->lock);
	frozen = moves->freezes;
	if (frozen)
		llist_add(&req->io_task_work.node, &moves->delayed);
	spin_unlock(&moves->lock);
	return frozen;
}

/*
 * For io_buf_hold(). Who is held is still held when it is issued again, if it
 * has waited for something in between without an end of I/O.
 */
bool __io_buf_hold(struct io_kiocb *req)
{
	struct io_buf_moves *moves = req->imu->moves;
	struct io_kiocb *holder = holder_of(req);

	if (holder->flags & REQ_F_BUF_HELD)
		return true;
	while (!io_buf_count_in(moves)) {
		/* Of the SQE nothing may be needed later. */
		if (req->opcode == IORING_OP_URING_CMD)
			io_uring_cmd_copy_sqe(req);
		if (delay(moves, req))
			return false;
	}
	holder->imu = req->imu;
	holder->flags |= REQ_F_BUF_HELD;
	return true;
}

/*
 * For io_buf_issued(), of those that have somebody else count. A zero-copy send
 * has given pages to skbs, which may still be there; or not yet, if it waits for
 * room in the socket. Then the notification has its own reference only, and is
 * linked to no other, whose skbs might carry the pages.
 */
void __io_buf_issued(struct io_kiocb *req)
{
	struct io_kiocb *holder = holder_of(req);
	struct io_notif_data *nd;

	if (!holder || holder == req)
		return;
	nd = io_notif_to_data(holder);
	if (nd->head == nd && refcount_read(&nd->uarg.refcnt) == 1)
		io_buf_release(holder);
}
