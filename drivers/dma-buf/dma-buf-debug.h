/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What dma-buf.c calls to give importers tables without usable struct pages.
 */
#ifndef _DMA_BUF_DEBUG_H
#define _DMA_BUF_DEBUG_H

#include <linux/dma-buf.h>
#include <linux/jump_label.h>

#ifdef CONFIG_DMABUF_DEBUG

/* On as long as the check is on, or a table of it is in somebody's hands. */
DECLARE_STATIC_KEY_FALSE(dma_buf_debug_key);

struct sg_table *dma_buf_debug_wrap(struct dma_buf_attachment *attach,
				    struct sg_table *sgt);
struct sg_table *dma_buf_debug_unwrap(struct dma_buf_attachment *attach,
				      struct sg_table *sgt);
void dma_buf_debug_forget(struct dma_buf_attachment *attach);

static inline bool dma_buf_debug_active(void)
{
	return static_branch_unlikely(&dma_buf_debug_key);
}

#else

static inline bool dma_buf_debug_active(void)
{
	return false;
}

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
