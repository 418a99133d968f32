/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who touched the struct pages of a dma-buf? For those who see it happen: the
 * architectures' fault handlers, vmap(), and what maps memory for devices.
 */
#ifndef _LINUX_DMA_BUF_DEBUG_H
#define _LINUX_DMA_BUF_DEBUG_H

#include <linux/jump_label.h>
#include <linux/types.h>

struct page;
struct scatterlist;

#ifdef CONFIG_DMABUF_DEBUG

/* The pages of a checked importer have page frame numbers that are nobody's. */
#if defined(CONFIG_SPARSEMEM_VMEMMAP) && \
	(defined(CONFIG_X86_64) || defined(CONFIG_ARM64))
#define DMA_BUF_DEBUG_PFN	1
#endif

/* On as long as the check is on, or a table of it is in somebody's hands. */
DECLARE_STATIC_KEY_FALSE(dma_buf_debug_key);

static inline bool dma_buf_debug_active(void)
{
	return static_branch_unlikely(&dma_buf_debug_key);
}

bool dma_buf_debug_exists(void);
bool dma_buf_debug_oops(unsigned long addr);
void dma_buf_debug_fixup(unsigned long addr);
bool dma_buf_debug_page(const struct page *page);
bool dma_buf_debug_pfn(unsigned long pfn);

bool __dma_buf_debug_bad_page(const struct page *page);
bool __dma_buf_debug_bad_sg(struct scatterlist *sgl, unsigned int nents);
bool __dma_buf_debug_bad_phys(phys_addr_t phys, size_t size);

#else

static inline bool dma_buf_debug_active(void)
{
	return false;
}

static inline bool dma_buf_debug_exists(void)
{
	return false;
}

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

static inline bool dma_buf_debug_pfn(unsigned long pfn)
{
	return false;
}

static inline bool __dma_buf_debug_bad_page(const struct page *page)
{
	return false;
}

static inline bool __dma_buf_debug_bad_sg(struct scatterlist *sgl,
					  unsigned int nents)
{
	return false;
}

static inline bool __dma_buf_debug_bad_phys(phys_addr_t phys, size_t size)
{
	return false;
}

#endif

/**
 * dma_buf_debug_bad_page - does a device get a page that is somebody's dma-buf?
 * @page: a page, not dereferenced
 *
 * A checked importer must not map the pages of its table, neither for a device nor
 * in an IOMMU: they are not those of the buffer. If it does, it is named, with a
 * backtrace; the caller fails.
 *
 * Context: Any.
 * Return: true if the page is none that can be mapped.
 */
static inline bool dma_buf_debug_bad_page(const struct page *page)
{
	return dma_buf_debug_active() && __dma_buf_debug_bad_page(page);
}

/**
 * dma_buf_debug_bad_sg - as dma_buf_debug_bad_page(), for the pages of a list
 * @sgl: the list
 * @nents: its entries, of which the first few are looked at
 *
 * Context: Any.
 * Return: true if one of the pages is none that can be mapped.
 */
static inline bool dma_buf_debug_bad_sg(struct scatterlist *sgl,
					unsigned int nents)
{
	return dma_buf_debug_active() && __dma_buf_debug_bad_sg(sgl, nents);
}

/**
 * dma_buf_debug_bad_phys - as dma_buf_debug_bad_page(), for a physical range
 * @phys: where it begins
 * @size: bytes in it
 *
 * Knows none where there is no vmemmap.
 *
 * Context: Any.
 * Return: true if the range is none that can be mapped.
 */
static inline bool dma_buf_debug_bad_phys(phys_addr_t phys, size_t size)
{
	return dma_buf_debug_active() && __dma_buf_debug_bad_phys(phys, size);
}

#endif
