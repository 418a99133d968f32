/* SPDX-License-Identifier: GPL-2.0 */
/* Registered buffers whose pages move. */
#ifndef IOU_PINPAGE_H
#define IOU_PINPAGE_H

#include <linux/io_uring_types.h>
#include <linux/list.h>
#include <linux/pinpage.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "cancel.h"
#include "rsrc.h"

#ifdef CONFIG_IO_URING_PINPAGE
/**
 * struct io_buf_moves - what it takes to let a registered buffer move
 * @gate: requests that access the pages; and the buffer itself until it is
 *	ready for use, see io_moves_start()
 * @nr_pages_head: of the first entry of imu->bvec; 0: an entry for each page
 * @imu: the buffer; NULL while it is being registered
 * @set: its pages
 * @lock: protects @delayed, and is held where the gate opens; nests in
 *	ctx->delayed_lock. Taken in task context only.
 * @delayed: requests that found the gate closed, the oldest one first
 * @resubmit: submits what there are too many of for complete()
 */
struct io_buf_moves {
	struct pinpage_gate gate;
	unsigned int nr_pages_head;
	struct io_mapped_ubuf *imu;
	struct pinpage_set set;
	spinlock_t lock;		/* see above */
	struct list_head delayed;
	struct work_struct resubmit;
};

struct page **io_pin_movable(unsigned long uaddr, unsigned long len,
			     int *npages, struct io_buf_moves **moves);
void io_moves_start(struct io_mapped_ubuf *imu, unsigned int nr_pages_head);
void io_moves_free(struct io_buf_moves *moves);
bool io_moves_has_hpage(struct io_mapped_ubuf *imu, struct page *hpage);
bool __io_buf_hold(struct io_kiocb *req);
int io_buf_delayed(const struct cred *creds, struct io_kiocb *link);
void __io_buf_issued(struct io_kiocb *req);
int io_buf_cancel(struct io_ring_ctx *ctx, struct io_cancel_data *cd);
bool io_buf_cancel_all(struct io_ring_ctx *ctx, struct task_struct *task,
		       bool cancel_all);

static inline void io_buf_init(struct io_ring_ctx *ctx)
{
	spin_lock_init(&ctx->delayed_lock);
	INIT_HLIST_HEAD(&ctx->delayed_list);
}

/* @req has got its buffer: it is one whose pages may move. */
static inline void io_buf_prep(struct io_kiocb *req)
{
	if (req->imu->moves)
		req->flags |= REQ_F_BUF_MOVES;
}

/*
 * Nobody accesses the buffer for the sake of @req any more. Any context. The
 * buffer stays at least as long as its request.
 */
static inline void io_buf_release(struct io_kiocb *req)
{
	if (!(req->flags & REQ_F_BUF_HELD))
		return;
	req->flags &= ~REQ_F_BUF_HELD;
	pinpage_gate_leave(&req->imu->moves->gate);
}

/*
 * @req is going to be issued: its buffer stays as it is, until it is released.
 * False: not now; @req will be issued by task work, and is not the caller's.
 */
static inline bool io_buf_hold(struct io_kiocb *req)
{
	/* A zero-copy send has somebody else count, who may do so already. */
	if (unlikely((req->flags & REQ_F_BUF_HELD) ||
		     req->opcode == IORING_OP_SEND_ZC ||
		     !pinpage_gate_enter(&req->imu->moves->gate)))
		return __io_buf_hold(req);
	req->flags |= REQ_F_BUF_HELD;
	return true;
}

/*
 * @req, whose buffer may move, has been issued and is the caller's again:
 * complete, or to be retried.
 */
static inline void io_buf_issued(struct io_kiocb *req)
{
	if (req->flags & REQ_F_BUF_HELD)
		io_buf_release(req);
	else
		__io_buf_issued(req);
}
#else
static inline struct page **io_pin_movable(unsigned long uaddr,
					   unsigned long len, int *npages,
					   struct io_buf_moves **moves)
{
	return NULL;
}

static inline void io_moves_start(struct io_mapped_ubuf *imu,
				  unsigned int nr_pages_head)
{
}

static inline void io_moves_free(struct io_buf_moves *moves)
{
}

static inline bool io_moves_has_hpage(struct io_mapped_ubuf *imu,
				      struct page *hpage)
{
	return false;
}

static inline int io_buf_cancel(struct io_ring_ctx *ctx,
				struct io_cancel_data *cd)
{
	return -ENOENT;
}

static inline bool io_buf_cancel_all(struct io_ring_ctx *ctx,
				     struct task_struct *task, bool cancel_all)
{
	return false;
}

static inline void io_buf_init(struct io_ring_ctx *ctx)
{
}

static inline void io_buf_prep(struct io_kiocb *req)
{
}

static inline bool io_buf_hold(struct io_kiocb *req)
{
	return true;
}

static inline int io_buf_delayed(const struct cred *creds,
				 struct io_kiocb *link)
{
	return 0;
}

static inline void io_buf_issued(struct io_kiocb *req)
{
}

static inline void io_buf_release(struct io_kiocb *req)
{
}
#endif

#endif
