/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who touched the struct pages of a dma-buf? For those who see it happen: the
 * architectures' fault handlers and dma-debug.
 */
#ifndef _LINUX_DMA_BUF_DEBUG_H
#define _LINUX_DMA_BUF_DEBUG_H

#include <linux/types.h>

struct page;

#ifdef CONFIG_DMABUF_DEBUG

bool dma_buf_debug_oops(unsigned long addr);
void dma_buf_debug_fixup(unsigned long addr);
bool dma_buf_debug_page(const struct page *page);

#else

static inline bool dma_buf_debug_oops(unsigned long addr)
{
	return false;
}

static inline void dma_buf_debug_fixup(unsigned long addr)
{
}

static inline bool dma_buf_debug_page(const struct page *page)
{
	return false;
}

#endif

#endif
