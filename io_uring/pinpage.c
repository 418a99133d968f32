// SPDX-License-Identifier: GPL-2.0
/*
 * Registered buffers whose pages move.
 *
 * A request takes the pages of its buffer when it is issued, not when it is
 * prepared: what io_import_fixed() makes is a pointer into imu->bvec, where a
 * move changes nothing but the pages. So what counts is from issue to the end of
 * the I/O, and it is a gate that counts: for reads and writes until
 * ->ki_complete(), which comes by itself, be the ring looked after or not; for
 * commands until io_uring_cmd_done(); for zero-copy sends until the last skb has
 * gone, so it is the notification that has passed the gate there.
 *
 * prepare() closes the gate, and the last request to leave says that the buffer
 * is quiet. A request that finds the gate closed is delayed, before it has done
 * anything: it is put on a list of the buffer and on one of its ring, and
 * complete() has task work submit it again. Nobody sleeps for it, with uring_lock
 * or without, and so the ones that a pause waits for are never behind it. By the
 * list of the ring it is found when it is to be cancelled.
 *
 * A request is complete()'s once that has taken it off the list of the buffer,
 * and then stays on the other list for a moment. Whoever cancels takes it off
 * both, or leaves it alone.
 *
 * A buffer that is shared by rings (IORING_REGISTER_CLONE_BUFFERS) has one gate
 * and one list. A buffer goes when all of its requests have, including those
 * delayed, and then waits for moves in flight; these need no lock of a ring.
 */
#include <linux/bvec.h>
#include <linux/cred.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pinpage.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "io_uring.h"
#include "net.h"
#include "notif.h"
#include "pinpage.h"
#include "rsrc.h"
#include "timeout.h"
#include "uring_cmd.h"

/* As many requests as complete() submits, while other owners may wait for theirs. */
#define RESUBMIT_MAX	64

static struct io_buf_moves *moves_of(struct pinpage_set *set)
{
	return container_of(set, struct io_buf_moves, set);
}

static bool is_open(struct io_buf_moves *moves)
{
	return atomic_read_acquire(&moves->gate.users) >= PINPAGE_GATE_OPEN;
}

/* The oldest delayed request, which from now on is the caller's; or NULL. */
static struct io_kiocb *take_delayed(struct io_buf_moves *moves)
{
	struct io_kiocb *req = NULL;

	spin_lock(&moves->lock);
	if (is_open(moves))
		req = list_first_entry_or_null(&moves->delayed,
					       struct io_kiocb, delayed);
	if (req)
		list_del_init(&req->delayed);
	spin_unlock(&moves->lock);
	return req;
}

/* Submit up to @nr delayed requests again. False: there were not as many. */
static bool resubmit(struct io_buf_moves *moves, unsigned int nr)
{
	struct io_kiocb *req;

	while (nr--) {
		req = take_delayed(moves);
		if (!req)
			return false;
		spin_lock(&req->ctx->delayed_lock);
		hlist_del_init(&req->hash_node);
		spin_unlock(&req->ctx->delayed_lock);
		io_req_task_queue(req);
	}
	return true;
}

static void resubmit_rest(struct work_struct *work)
{
	struct io_buf_moves *moves = container_of(work, struct io_buf_moves,
						  resubmit);

	while (resubmit(moves, RESUBMIT_MAX))
		cond_resched();
}

static int io_buf_prepare(struct pinpage_set *set, struct pinpage_item *items,
			  unsigned int nr)
{
	return pinpage_gate_close(&moves_of(set)->gate);
}

/* Entries of several pages stand for a folio, and begin where it does. */
static void repoint_folio(struct io_buf_moves *moves,
			  const struct pinpage_item *item)
{
	struct io_mapped_ubuf *imu = moves->imu;
	unsigned long i = 0;

	if (item->index >= moves->nr_pages_head)
		i = 1 + ((item->index - moves->nr_pages_head) >>
			 (imu->folio_shift - PAGE_SHIFT));
	WRITE_ONCE(imu->bvec[i].bv_page, compound_head(item->new));
}

static void repoint_pages(struct io_buf_moves *moves,
			  const struct pinpage_item *item)
{
	struct bio_vec *bvec = moves->imu->bvec + item->index;
	unsigned int i;

	for (i = 0; i < item->nr; i++)
		WRITE_ONCE(bvec[i].bv_page, nth_page(item->new, i));
}

static void io_buf_complete(struct pinpage_set *set, struct pinpage_item *items,
			    unsigned int nr)
{
	struct io_buf_moves *moves = moves_of(set);
	struct pinpage_item *item;

	for (item = items; item < items + nr; item++) {
		if (!item->new)
			continue;
		if (moves->nr_pages_head)
			repoint_folio(moves, item);
		else
			repoint_pages(moves, item);
	}
	/* Who has found it closed is on the list, or looks again: see delay(). */
	spin_lock(&moves->lock);
	pinpage_gate_open(&moves->gate);
	spin_unlock(&moves->lock);
	if (resubmit(moves, RESUBMIT_MAX))
		queue_work(system_unbound_wq, &moves->resubmit);
}

static void io_buf_show(struct seq_file *m, struct pinpage_set *set)
{
	struct io_buf_moves *moves = moves_of(set);
	struct io_mapped_ubuf *imu;

	/* Pairs with io_moves_start(). */
	imu = smp_load_acquire(&moves->imu);
	if (imu)
		seq_printf(m, "%u bytes at %#llx, %d in flight", imu->len,
			   imu->ubuf, atomic_read(&moves->gate.users) &
				      (PINPAGE_GATE_OPEN - 1));
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
	spin_lock_init(&moves->lock);
	INIT_LIST_HEAD(&moves->delayed);
	INIT_WORK(&moves->resubmit, resubmit_rest);
	pinpage_gate_init(&moves->gate, &moves->set);
	/* Until io_moves_start(), or io_moves_free(). */
	pinpage_gate_enter(&moves->gate);
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
 * the pages are to be pinned in the usual way: with pinpage=off; or for an error,
 * which will be found again.
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
	struct io_buf_moves *moves = imu->moves;

	if (!moves)
		return;
	moves->nr_pages_head = nr_pages_head;
	/* Who sees it sees all of it. */
	smp_store_release(&moves->imu, imu);
	pinpage_gate_leave(&moves->gate);
}

/**
 * io_moves_free - unpin the pages of a buffer that no request uses any more
 * @moves: of the buffer
 *
 * Context: Process context, waits for moves in flight.
 */
void io_moves_free(struct io_buf_moves *moves)
{
	/* One that was never ready is still at its own gate. */
	int users = PINPAGE_GATE_OPEN + !moves->imu;

	pinpage_unpin_user(&moves->set, false);
	cancel_work_sync(&moves->resubmit);
	WARN_ON_ONCE(atomic_read(&moves->gate.users) != users ||
		     !list_empty(&moves->delayed));
	kfree(moves);
}

/* As io_imu_has_hpage(), by what pinpage knows. */
static bool set_has_hpage(struct io_buf_moves *moves, struct page *hpage)
{
	unsigned long nr = moves->imu->len, i, j, n;
	struct page *pages[32];

	nr = DIV_ROUND_UP(offset_in_page(moves->imu->ubuf) + nr, PAGE_SIZE);
	for (i = 0; i < nr; i += n) {
		n = min(nr - i, ARRAY_SIZE(pages));
		if (WARN_ON_ONCE(pinpage_get_pages(&moves->set, i, pages, n)))
			return false;
		for (j = 0; j < n; j++)
			if (compound_head(pages[j]) == hpage)
				return true;
	}
	return false;
}

/**
 * io_moves_has_hpage - as io_imu_has_hpage(), for a buffer that may move
 * @imu: the buffer
 * @hpage: the head page of a folio that the caller has pinned, and that does
 *	not move
 *
 * When the gate was open at some time after @hpage had been pinned, what the
 * table says then is true of @hpage, and stays so: the folio has not been freed
 * and can't come or go. When the gate is closed, the pages may have moved
 * without the table saying so, and what it names may be anybody's by now; but
 * pinpage's slots move with the pages.
 *
 * Context: Process context, may sleep.
 * Return: Is some of it in the buffer?
 */
bool io_moves_has_hpage(struct io_mapped_ubuf *imu, struct page *hpage)
{
	if (likely(is_open(imu->moves)))
		return io_imu_has_hpage(imu, hpage);
	return set_has_hpage(imu->moves, hpage);
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

/* False: the gate has been opened, try again. Else @req is not the caller's. */
static bool delay(struct io_buf_moves *moves, struct io_kiocb *req)
{
	struct io_ring_ctx *ctx = req->ctx;
	bool closed;

	spin_lock(&ctx->delayed_lock);
	spin_lock(&moves->lock);
	closed = !is_open(moves);
	if (closed) {
		list_add_tail(&req->delayed, &moves->delayed);
		hlist_add_head(&req->hash_node, &ctx->delayed_list);
	}
	spin_unlock(&moves->lock);
	spin_unlock(&ctx->delayed_lock);
	return closed;
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
	while (!pinpage_gate_enter(&moves->gate)) {
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
 * io_buf_hold() has said no: what is left to do for a request that is somebody
 * else's by now. Its timeout begins.
 */
int io_buf_delayed(const struct cred *creds, struct io_kiocb *link)
{
	if (creds)
		revert_creds(creds);
	if (link)
		io_queue_linked_timeout(link);
	return 0;
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

/*
 * Take @req, on the list of its ring, off both; it goes to @cancelled. False:
 * complete() has it, and it is about to be submitted.
 */
static bool undelay(struct io_kiocb *req, struct list_head *cancelled)
{
	struct io_buf_moves *moves = req->imu->moves;
	bool ours;

	lockdep_assert_held(&req->ctx->delayed_lock);
	spin_lock(&moves->lock);
	ours = !list_empty(&req->delayed);
	if (ours) {
		hlist_del_init(&req->hash_node);
		list_move_tail(&req->delayed, cancelled);
	}
	spin_unlock(&moves->lock);
	return ours;
}

static bool fail_cancelled(struct list_head *cancelled)
{
	struct io_kiocb *req;
	bool found = false;

	while (!list_empty(cancelled)) {
		req = list_first_entry(cancelled, struct io_kiocb, delayed);
		list_del(&req->delayed);
		io_req_task_queue_fail(req, -ECANCELED);
		found = true;
	}
	return found;
}

/**
 * io_buf_cancel - cancel a request that a pause delays
 * @ctx: its ring
 * @cd: which one
 *
 * Context: Task context.
 * Return: 0; -ENOENT where there is none.
 */
int io_buf_cancel(struct io_ring_ctx *ctx, struct io_cancel_data *cd)
{
	struct io_kiocb *req;
	LIST_HEAD(cancelled);

	spin_lock(&ctx->delayed_lock);
	hlist_for_each_entry(req, &ctx->delayed_list, hash_node) {
		if (io_cancel_req_match(req, cd) && undelay(req, &cancelled))
			break;
	}
	spin_unlock(&ctx->delayed_lock);
	return fail_cancelled(&cancelled) ? 0 : -ENOENT;
}

/**
 * io_buf_cancel_all - cancel what a pause delays, of a ring or a task that ends
 * @ctx: the ring
 * @task: of this task; NULL: of all
 * @cancel_all: as for io_match_task_safe()
 *
 * Context: Task context.
 * Return: Have there been any?
 */
bool io_buf_cancel_all(struct io_ring_ctx *ctx, struct task_struct *task,
		       bool cancel_all)
{
	struct hlist_node *next;
	struct io_kiocb *req;
	LIST_HEAD(cancelled);

	spin_lock(&ctx->delayed_lock);
	hlist_for_each_entry_safe(req, next, &ctx->delayed_list, hash_node) {
		if (io_match_task_safe(req, task, cancel_all))
			undelay(req, &cancelled);
	}
	spin_unlock(&ctx->delayed_lock);
	return fail_cancelled(&cancelled);
}
