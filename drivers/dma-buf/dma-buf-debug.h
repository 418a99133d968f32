/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What dma-buf.c calls to give importers tables without usable struct pages.
 */
#ifndef _DMA_BUF_DEBUG_H
#define _DMA_BUF_DEBUG_H

#include <linux/dma-buf.h>
#include <linux/dma-buf-debug.h>

#ifdef CONFIG_DMABUF_DEBUG

struct sg_table *dma_buf_debug_wrap(struct dma_buf_attachment *attach,
				    struct sg_table *sgt);
struct sg_table *dma_buf_debug_unwrap(struct dma_buf_attachment *attach,
				      struct sg_table *sgt);
void dma_buf_debug_forget(struct dma_buf_attachment *attach);

#else

static inline struct sg_table *
dma_buf_debug_wrap(struct dma_buf_attachment *attach, struct sg_table *sgt)
{
	return sgt;
}

static inline struct sg_table *
dma_buf_debug_unwrap(struct dma_buf_attachment *attach, struct sg_table *sgt)
{
	return sgt;
}

static inline void dma_buf_debug_forget(struct dma_buf_attachment *attach)
{
}

#endif

#endif
