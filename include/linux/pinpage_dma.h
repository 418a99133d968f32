/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pages that move and are mapped for a device, page by page: addresses that
 * follow them, and caches. Documentation/mm/pinpage.rst tells who synchronizes
 * what, and when.
 */
#ifndef _LINUX_PINPAGE_DMA_H
#define _LINUX_PINPAGE_DMA_H

#include <linux/dma-direction.h>
#include <linux/types.h>

struct device;
struct page;
struct pinpage_item;
struct pinpage_set;

/**
 * struct pinpage_dma - the pages of a set, mapped for a device
 * @dev: the device
 * @dir: %DMA_TO_DEVICE or %DMA_BIDIRECTIONAL
 * @nr: pages
 * @addr: the address of each page for the device, by its position in the set;
 *	changes in pinpage_dma_complete()
 */
struct pinpage_dma {
	struct device *dev;
	enum dma_data_direction dir;
	unsigned long nr;
	dma_addr_t *addr;
	/* private: */
	dma_addr_t *next;
	bool mapped;
};

void pinpage_dma_limit(struct pinpage_set *set, struct device *dev);
int pinpage_dma_map(struct pinpage_dma *dma, struct device *dev,
		    struct page **pages, unsigned long nr,
		    enum dma_data_direction dir);
void pinpage_dma_unmap(struct pinpage_dma *dma);
int pinpage_dma_prepare(struct pinpage_dma *dma,
			const struct pinpage_item *items, unsigned int nr);
void pinpage_dma_cancel(struct pinpage_dma *dma,
			const struct pinpage_item *items, unsigned int nr);
void pinpage_dma_complete(struct pinpage_dma *dma,
			  const struct pinpage_item *items, unsigned int nr);
void pinpage_dma_write_back(struct device *dev,
			    const struct pinpage_item *items, unsigned int nr);

#endif /* _LINUX_PINPAGE_DMA_H */
