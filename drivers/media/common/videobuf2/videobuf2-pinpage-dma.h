/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _VIDEOBUF2_PINPAGE_DMA_H
#define _VIDEOBUF2_PINPAGE_DMA_H

#include <linux/dma-direction.h>
#include <linux/scatterlist.h>
#include <linux/types.h>

struct device;
struct page;
struct pinpage_item;

/**
 * struct vb2_moves_dma - how a plane is mapped for its device, and stays so
 * @dev: the device, or NULL: none of this is used
 * @dir: of the queue
 * @pages: the plane's, as they are now
 * @offset: where in the first one it begins
 * @size: bytes
 * @unit: pages that one address stands for: 1, or all of them
 * @nr: how many addresses there are
 * @now: the addresses, if @apart
 * @next: those of where items will be, from prepare() to complete()
 * @sgt: the driver's table, once it is mapped
 * @spare: a table with an entry for each address, until it is needed
 * @apart: each address has a mapping of its own, of @now
 * @left: the table is not mapped as a whole any more
 * @moved: @sgt says where pages were
 *
 * Until something has moved @sgt is mapped as a whole, beside @now.
 */
struct vb2_moves_dma {
	struct device *dev;
	enum dma_data_direction dir;
	struct page **pages;
	unsigned int offset;
	unsigned long size;
	unsigned long unit;
	unsigned long nr;
	dma_addr_t *now;
	dma_addr_t *next;
	struct sg_table *sgt;
	struct sg_table spare;
	bool apart;
	bool left;
	bool moved;
};

int vb2_moves_dma_init(struct vb2_moves_dma *dma);
void vb2_moves_dma_free(struct vb2_moves_dma *dma);
phys_addr_t vb2_moves_dma_limit(struct device *dev);
int vb2_moves_dma_prepare(struct vb2_moves_dma *dma,
			  const struct pinpage_item *items, unsigned int nr);
void vb2_moves_dma_cancel(struct vb2_moves_dma *dma,
			  const struct pinpage_item *items, unsigned int nr);
void vb2_moves_dma_complete(struct vb2_moves_dma *dma,
			    const struct pinpage_item *items, unsigned int nr);
void vb2_moves_dma_update(struct vb2_moves_dma *dma);
bool vb2_moves_dma_end(struct vb2_moves_dma *dma);

#endif /* _VIDEOBUF2_PINPAGE_DMA_H */
