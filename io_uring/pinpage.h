/* SPDX-License-Identifier: GPL-2.0 */
/* Registered buffers whose pages move. */
#ifndef IOU_PINPAGE_H
#define IOU_PINPAGE_H

#include <linux/atomic.h>
#include <linux/io_uring_types.h>
#include <linux/llist.h>
#include <linux/pinpage.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "rsrc.h"

#ifdef CONFIG_IO_URING_PINPAGE
#define IO_BUF_THAWED	0x40000000

/**
 * struct io_buf_moves - what it takes to let a registered buffer move
 * @uses: requests that access the pages, plus %IO_BUF_THAWED unless @freezes
 * @nr_pages_head: of the first entry of imu->bvec; 0: an entry for each page
 * @imu: the buffer; NULL while it is being registered, and then it stays
 * @set: its pages
 * @wait: for @uses to become 0
 * @lock: protects what follows, and the pages in imu->bvec against those who
 *	look at them without access. Taken in task context only.
 * @freezes: moves in flight, each with a prepare() of its own
 * @delayed: requests to submit again when there are none
 */
struct io_buf_moves {
	atomic_t uses;
	unsigned int nr_pages_head;
	struct io_mapped_ubuf *imu;
	struct pinpage_set set;
	wait_queue_head_t wait;
	spinlock_t lock;		/* see above */
	unsigned int freezes;
	struct llist_head delayed;
};

struct page **io_pin_movable(unsigned long uaddr, unsigned long len,
			     int *npages, struct io_buf_moves **moves);
void io_moves_start(struct io_mapped_ubuf *imu, unsigned int nr_pages_head);
void io_moves_free(struct io_buf_moves *moves);
bool io_moves_has_hpage(struct io_mapped_ubuf *imu, struct page *hpage);
bool __io_buf_hold(struct io_kiocb *req);
void __io_buf_issued(struct io_kiocb *req);

/* @req has got its buffer: it is one whose pages may move. */
static inline void io_buf_prep(struct io_kiocb *req)
{
	if (req->imu->moves)
		req->flags |= REQ_F_BUF_MOVES;
}

/* Whoever has frozen the buffer waits for the last one. */
static inline void io_buf_count_out(struct io_buf_moves *moves)
{
	if (unlikely(atomic_dec_and_test(&moves->uses)))
		wake_up(&moves->wait);
}

/* One request more accesses the pages; false: the buffer is frozen. */
static inline bool io_buf_count_in(struct io_buf_moves *moves)
{
	if (likely(atomic_fetch_inc(&moves->uses) >= IO_BUF_THAWED))
		return true;
	io_buf_count_out(moves);
	return false;
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
	io_buf_count_out(req->imu->moves);
}

/*
 * @req is going to be issued: its buffer stays as it is, until it is released.
 * False: not now; @req will be issued by task work, and is not the caller's.
 */
static inline bool io_buf_hold(struct io_kiocb *req)
{
	if (!(req->flags & REQ_F_BUF_MOVES))
		return true;
	/* A zero-copy send has somebody else count, who may do so already. */
	if (unlikely((req->flags & REQ_F_BUF_HELD) ||
		     req->opcode == IORING_OP_SEND_ZC ||
		     !io_buf_count_in(req->imu->moves)))
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

static inline void io_buf_prep(struct io_kiocb *req)
{
}

static inline bool io_buf_hold(struct io_kiocb *req)
{
	return true;
}

static inline void io_buf_issued(struct io_kiocb *req)
{
}

static inline void io_buf_release(struct io_kiocb *req)
{
}
#endif

#endif
