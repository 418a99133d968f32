/* SPDX-License-Identifier: GPL-2.0 */
/* Registered buffers whose pages move. */
#ifndef IOU_PINPAGE_H
#define IOU_PINPAGE_H

#include <linux/io_uring_types.h>

#include "rsrc.h"

struct io_buf_moves;

#ifdef CONFIG_IO_URING_PINPAGE
struct page **io_pin_movable(unsigned long uaddr, unsigned long len,
			     int *npages, struct io_buf_moves **moves);
void io_moves_start(struct io_mapped_ubuf *imu, unsigned int nr_pages_head);
void io_moves_free(struct io_buf_moves *moves);
bool io_moves_has_hpage(struct io_mapped_ubuf *imu, struct page *hpage);
bool __io_buf_hold(struct io_kiocb *req);
void __io_buf_issued(struct io_kiocb *req);
void __io_buf_release(struct io_kiocb *req);

/* @req has got its buffer: it is one whose pages may move. */
static inline void io_buf_prep(struct io_kiocb *req)
{
	if (req->imu->moves)
		req->flags |= REQ_F_BUF_MOVES;
}

/*
 * @req is going to be issued: its buffer stays as it is, until it is released.
 * False: not now; @req will be issued by task work, and is not the caller's.
 */
static inline bool io_buf_hold(struct io_kiocb *req)
{
	return !(req->flags & REQ_F_BUF_MOVES) || __io_buf_hold(req);
}

/* @req has been issued and is the caller's again: complete, or to be retried. */
static inline void io_buf_issued(struct io_kiocb *req)
{
	if (req->flags & REQ_F_BUF_MOVES)
		__io_buf_issued(req);
}

/* Nobody accesses the buffer for the sake of @req any more. Any context. */
static inline void io_buf_release(struct io_kiocb *req)
{
	if (req->flags & REQ_F_BUF_HELD)
		__io_buf_release(req);
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
