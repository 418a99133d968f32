// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that move and are mapped for a device, each by itself. Where a page will
 * go is mapped in prepare(), where that may fail; complete() takes the address or
 * gives it back.
 */
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/pinpage.h>
#include <linux/pinpage_dma.h>
#include <linux/slab.h>

/**
 * pinpage_dma_limit - pages of a set move to where a device reaches them
 * @set: the set, before it is pinned
 * @dev: the device
 *
 * Without an IOMMU, a page beyond the mask would go by a bounce buffer from the
 * move on.
 */
void pinpage_dma_limit(struct pinpage_set *set, struct device *dev)
{
	if (!device_iommu_mapped(dev))
		set->limit = min_not_zero(dma_get_mask(dev),
					  dev->bus_dma_limit);
}
EXPORT_SYMBOL_GPL(pinpage_dma_limit);

static dma_addr_t map_one(struct pinpage_dma *dma, struct page *page,
			  unsigned long attrs)
{
	return dma_map_page_attrs(dma->dev, page, 0, PAGE_SIZE, dma->dir,
				  attrs | DMA_ATTR_NO_WARN);
}

static void unmap_one(struct pinpage_dma *dma, dma_addr_t addr,
		      unsigned long attrs)
{
	dma_unmap_page_attrs(dma->dev, addr, PAGE_SIZE, dma->dir, attrs);
}

static void unmap_first(struct pinpage_dma *dma, unsigned long nr,
			unsigned long attrs)
{
	while (nr)
		unmap_one(dma, dma->addr[--nr], attrs);
	kvfree(dma->addr);
	dma->addr = NULL;
}

/**
 * pinpage_dma_map - map the pages of a set for a device
 * @dma: what to fill in, zeroed
 * @dev: the device
 * @pages: the pages
 * @nr: how many
 * @dir: %DMA_TO_DEVICE or %DMA_BIDIRECTIONAL, since the content goes to the
 *	device again with each move
 *
 * The set may be in use already: until this has returned, pinpage_dma_prepare()
 * refuses.
 *
 * Context: Process context, may sleep.
 * Return: 0; -EINVAL for another direction; -ENOMEM without memory, -EIO where
 * there are no addresses.
 */
int pinpage_dma_map(struct pinpage_dma *dma, struct device *dev,
		    struct page **pages, unsigned long nr,
		    enum dma_data_direction dir)
{
	unsigned long i;

	if (dir != DMA_TO_DEVICE && dir != DMA_BIDIRECTIONAL)
		return -EINVAL;
	dma->addr = kvmalloc_array(nr, 2 * sizeof(*dma->addr), GFP_KERNEL);
	if (!dma->addr)
		return -ENOMEM;
	dma->next = dma->addr + nr;
	dma->dev = dev;
	dma->dir = dir;
	dma->nr = nr;
	for (i = 0; i < nr; i++) {
		dma->addr[i] = map_one(dma, pages[i], 0);
		if (dma_mapping_error(dev, dma->addr[i])) {
			unmap_first(dma, i, DMA_ATTR_SKIP_CPU_SYNC);
			return -EIO;
		}
	}
	/* Pairs with pinpage_dma_prepare(). */
	smp_store_release(&dma->mapped, true);
	return 0;
}
EXPORT_SYMBOL_GPL(pinpage_dma_map);

/**
 * pinpage_dma_unmap - take back pinpage_dma_map()
 * @dma: as filled in; where nothing is mapped, nothing happens
 *
 * The CPU owns the content afterwards. To be called between clear_pinpage() and
 * the end of the pins.
 *
 * Context: Process context, may sleep.
 */
void pinpage_dma_unmap(struct pinpage_dma *dma)
{
	if (dma->addr)
		unmap_first(dma, dma->nr, 0);
	dma->mapped = false;
}
EXPORT_SYMBOL_GPL(pinpage_dma_unmap);

/**
 * pinpage_dma_cancel - take back pinpage_dma_prepare(), where prepare() refuses
 * @dma: as filled in by pinpage_dma_map()
 * @items: as given to prepare()
 * @nr: how many
 *
 * Context: Any.
 */
void pinpage_dma_cancel(struct pinpage_dma *dma,
			const struct pinpage_item *items, unsigned int nr)
{
	unsigned int i, j;

	for (i = 0; i < nr; i++)
		for (j = 0; j < items[i].nr; j++)
			unmap_one(dma, dma->next[items[i].index + j],
				  DMA_ATTR_SKIP_CPU_SYNC);
}
EXPORT_SYMBOL_GPL(pinpage_dma_cancel);

/**
 * pinpage_dma_prepare - map where pages will go, in prepare()
 * @dma: as filled in by pinpage_dma_map()
 * @items: as given to prepare()
 * @nr: how many
 *
 * The device may use the old addresses until the set is quiet. By then the
 * driver has to have called dma_sync_single_for_cpu() for what the device has
 * written.
 *
 * Context: Any.
 * Return: 0; -EBUSY where there are no addresses, or pinpage_dma_map() has not
 * returned; then prepare() returns that.
 */
int pinpage_dma_prepare(struct pinpage_dma *dma,
			const struct pinpage_item *items, unsigned int nr)
{
	struct pinpage_item part;
	unsigned int i, j;
	dma_addr_t addr;

	/* Pairs with pinpage_dma_map(). */
	if (!smp_load_acquire(&dma->mapped))
		return -EBUSY;
	for (i = 0; i < nr; i++) {
		for (j = 0; j < items[i].nr; j++) {
			/* What is there now is nobody's; the copy is synchronized. */
			addr = map_one(dma, nth_page(items[i].new, j),
				       DMA_ATTR_SKIP_CPU_SYNC);
			if (dma_mapping_error(dma->dev, addr))
				goto undo;
			dma->next[items[i].index + j] = addr;
		}
	}
	return 0;
undo:
	part = items[i];
	part.nr = j;
	pinpage_dma_cancel(dma, &part, 1);
	pinpage_dma_cancel(dma, items, i);
	return -EBUSY;
}
EXPORT_SYMBOL_GPL(pinpage_dma_prepare);

static void follow_page(struct pinpage_dma *dma, unsigned long i)
{
	/* The content is at the new page, so at the old one is nothing to sync. */
	unmap_one(dma, dma->addr[i], DMA_ATTR_SKIP_CPU_SYNC);
	dma->addr[i] = dma->next[i];
}

/**
 * pinpage_dma_complete - have addresses follow the pages, in complete()
 * @dma: as given to pinpage_dma_prepare()
 * @items: as given to complete()
 * @nr: how many
 *
 * The device owns the content of all items afterwards, as after
 * pinpage_dma_map().
 *
 * Context: Any. Can't fail.
 */
void pinpage_dma_complete(struct pinpage_dma *dma,
			  const struct pinpage_item *items, unsigned int nr)
{
	unsigned long at;
	unsigned int i, j;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < items[i].nr; j++) {
			at = items[i].index + j;
			if (items[i].new)
				follow_page(dma, at);
			else
				unmap_one(dma, dma->next[at],
					  DMA_ATTR_SKIP_CPU_SYNC);
			dma_sync_single_for_device(dma->dev, dma->addr[at],
						   PAGE_SIZE, dma->dir);
		}
	}
}
EXPORT_SYMBOL_GPL(pinpage_dma_complete);

static void write_back_one(struct device *dev, struct page *page)
{
	unsigned long attrs = DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN;
	dma_addr_t addr = dma_map_page_attrs(dev, page, 0, PAGE_SIZE,
					     DMA_TO_DEVICE, attrs);

	/* Only bounce buffers can run out, and nobody has seen that one. */
	if (dma_mapping_error(dev, addr))
		return;
	dma_sync_single_for_device(dev, addr, PAGE_SIZE, DMA_TO_DEVICE);
	dma_unmap_page_attrs(dev, addr, PAGE_SIZE, DMA_TO_DEVICE, attrs);
}

/**
 * pinpage_dma_write_back - devices see the copy, in complete()
 * @dev: a device like those that have the pages mapped, or will have
 * @items: as given to complete()
 * @nr: how many
 *
 * For a driver that has none of them mapped in the moment of a move, but whose
 * devices expect to find the content in memory, and whose dma_sync functions
 * for the CPU would drop the copy from its cache.
 *
 * Context: Any. Can't fail.
 */
void pinpage_dma_write_back(struct device *dev,
			    const struct pinpage_item *items, unsigned int nr)
{
	unsigned int i, j;

	if (!dma_dev_need_sync(dev))
		return;
	for (i = 0; i < nr; i++)
		for (j = 0; items[i].new && j < items[i].nr; j++)
			write_back_one(dev, nth_page(items[i].new, j));
}
EXPORT_SYMBOL_GPL(pinpage_dma_write_back);

#if IS_ENABLED(CONFIG_PINPAGE_KUNIT_TEST) && defined(CONFIG_HAS_DMA)
#include "pinpage_dma_kunit.h"
#endif
