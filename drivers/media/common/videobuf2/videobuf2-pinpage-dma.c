// SPDX-License-Identifier: GPL-2.0
/*
 * The DMA mapping of a plane whose pages move.
 *
 * A table is mapped as a whole, and can be unmapped only so. Who is asked for the
 * first time therefore maps each page on its own as well, and when something has
 * moved the mapping of the table goes. All mapping is done in prepare(), which may
 * refuse: from then until complete() the pages are mapped where they are and where
 * they will be, and complete() drops what is not needed any more. So there is
 * always a mapping, and QBUF has nothing to do that could fail: it fills in a table
 * that has been there since the buffer was pinned.
 *
 * The driver's table is left alone until then, since the driver may look at it
 * in buf_cleanup().
 *
 * The copy is made by the CPU, and nothing has to be synced for it: pages move
 * between vb2_buffer_done(), which has synced them for the CPU, and the next
 * buf_prepare(), after which they are synced for the device. No hint of the
 * process prevents that, for there are none for USERPTR buffers.
 */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/pinpage.h>
#include <linux/slab.h>

#include "videobuf2-pinpage-dma.h"

/* The part of the plane that address @n stands for. */
static unsigned long start_of(const struct vb2_moves_dma *dma, unsigned long n)
{
	return n ? 0 : dma->offset;
}

static unsigned long length_of(const struct vb2_moves_dma *dma, unsigned long n)
{
	unsigned long unit = dma->unit << PAGE_SHIFT;
	unsigned long end = dma->offset + dma->size - n * unit;

	return min(end, unit) - start_of(dma, n);
}

static dma_addr_t map_unit(const struct vb2_moves_dma *dma, unsigned long n,
			   struct page *page)
{
	return dma_map_page_attrs(dma->dev, page, start_of(dma, n),
				  length_of(dma, n), dma->dir,
				  DMA_ATTR_SKIP_CPU_SYNC);
}

static void unmap_unit(const struct vb2_moves_dma *dma, unsigned long n,
		       dma_addr_t addr)
{
	dma_unmap_page_attrs(dma->dev, addr, length_of(dma, n), dma->dir,
			     DMA_ATTR_SKIP_CPU_SYNC);
}

static void unmap_first(const struct vb2_moves_dma *dma, unsigned long nr)
{
	while (nr--)
		unmap_unit(dma, nr, dma->now[nr]);
}

static int map_all(struct vb2_moves_dma *dma)
{
	unsigned long n;

	for (n = 0; n < dma->nr; n++) {
		dma->now[n] = map_unit(dma, n, dma->pages[n * dma->unit]);
		if (dma_mapping_error(dma->dev, dma->now[n])) {
			unmap_first(dma, n);
			return -EBUSY;
		}
	}
	return 0;
}

static void unmap_next(struct vb2_moves_dma *dma,
		       const struct pinpage_item *item, unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < pages; i += dma->unit)
		unmap_unit(dma, (item->index + i) / dma->unit,
			   dma->next[(item->index + i) / dma->unit]);
}

static int map_next(struct vb2_moves_dma *dma, const struct pinpage_item *item)
{
	unsigned long n;
	unsigned int i;

	for (i = 0; i < item->nr; i += dma->unit) {
		n = (item->index + i) / dma->unit;
		dma->next[n] = map_unit(dma, n, nth_page(item->new, i));
		if (dma_mapping_error(dma->dev, dma->next[n])) {
			unmap_next(dma, item, i);
			return -EBUSY;
		}
	}
	return 0;
}

/**
 * vb2_moves_dma_init - provide for all that moves will need
 * @dma: with all fields set up to @unit, the rest zero
 *
 * Return: 0 or -ENOMEM.
 */
int vb2_moves_dma_init(struct vb2_moves_dma *dma)
{
	unsigned long unit = dma->unit << PAGE_SHIFT;

	dma->nr = DIV_ROUND_UP(dma->offset + dma->size, unit);
	dma->now = kvmalloc_array(2 * dma->nr, sizeof(*dma->now), GFP_KERNEL);
	if (!dma->now)
		return -ENOMEM;
	dma->next = dma->now + dma->nr;
	return sg_alloc_table(&dma->spare, dma->nr, GFP_KERNEL);
}

/**
 * vb2_moves_dma_free - take back vb2_moves_dma_init(), whether or not it failed
 * @dma: which is not mapped
 */
void vb2_moves_dma_free(struct vb2_moves_dma *dma)
{
	sg_free_table(&dma->spare);
	kvfree(dma->now);
}

/**
 * vb2_moves_dma_limit - how far can a device reach?
 * @dev: the device
 *
 * For pinpage_set.limit: a page that is moved farther would have to bounce, or
 * could not be mapped at all. Where the bus adds an offset to addresses this is
 * not exact, and one of that happens; the second is -EBUSY in prepare().
 *
 * Return: the highest physical address, or 0 where there is no limit, as with
 * an IOMMU.
 */
phys_addr_t vb2_moves_dma_limit(struct device *dev)
{
	if (!dma_addressing_limited(dev))
		return 0;
	return min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
}

/**
 * vb2_moves_dma_prepare - map where items will be
 * @dma: of the plane; it may be in use by the device
 * @items: as given to prepare()
 * @nr: likewise
 *
 * Context: As prepare().
 * Return: 0; -EBUSY where something can't be mapped, then nothing has changed.
 */
int vb2_moves_dma_prepare(struct vb2_moves_dma *dma,
			  const struct pinpage_item *items, unsigned int nr)
{
	unsigned int i;

	/* It stays, since who is asked once is asked again. */
	if (!dma->apart && map_all(dma))
		return -EBUSY;
	dma->apart = true;
	for (i = 0; i < nr; i++) {
		if (map_next(dma, &items[i])) {
			vb2_moves_dma_cancel(dma, items, i);
			return -EBUSY;
		}
	}
	return 0;
}

/**
 * vb2_moves_dma_cancel - take back vb2_moves_dma_prepare(), in prepare()
 * @dma: of the plane
 * @items: as given there
 * @nr: likewise
 *
 * Context: As prepare().
 */
void vb2_moves_dma_cancel(struct vb2_moves_dma *dma,
			  const struct pinpage_item *items, unsigned int nr)
{
	while (nr--)
		unmap_next(dma, &items[nr], items[nr].nr);
}

static bool have_any_moved(const struct pinpage_item *items, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (items[i].new)
			return true;
	return false;
}

static void choose(struct vb2_moves_dma *dma, const struct pinpage_item *item)
{
	unsigned long n;
	unsigned int i;

	for (i = 0; i < item->nr; i += dma->unit) {
		n = (item->index + i) / dma->unit;
		if (item->new)
			swap(dma->now[n], dma->next[n]);
		unmap_unit(dma, n, dma->next[n]);
	}
}

/**
 * vb2_moves_dma_complete - unmap where items are not
 * @dma: of the plane
 * @items: as given to complete()
 * @nr: likewise
 *
 * Context: As complete(). If none of the items has moved the device may use the
 * plane.
 */
void vb2_moves_dma_complete(struct vb2_moves_dma *dma,
			    const struct pinpage_item *items, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		choose(dma, &items[i]);
	if (!have_any_moved(items, nr))
		return;
	if (!dma->left)
		dma_unmap_sgtable(dma->dev, dma->sgt, dma->dir,
				  DMA_ATTR_SKIP_CPU_SYNC);
	dma->left = true;
	dma->moved = true;
}

/**
 * vb2_moves_dma_update - have the driver's table follow the pages
 * @dma: of the plane; nobody moves it now, and the driver has forgotten the table
 *
 * Context: Any. Can't fail.
 */
void vb2_moves_dma_update(struct vb2_moves_dma *dma)
{
	struct scatterlist *sg;
	unsigned int n;

	if (!dma->moved)
		return;
	if (dma->spare.sgl) {
		sg_free_table(dma->sgt);
		*dma->sgt = dma->spare;
		dma->spare.sgl = NULL;
	}
	for_each_sgtable_sg(dma->sgt, sg, n) {
		sg_set_page(sg, dma->pages[n * dma->unit], length_of(dma, n),
			    start_of(dma, n));
		sg_dma_address(sg) = dma->now[n];
		sg_dma_len(sg) = length_of(dma, n);
	}
	dma->moved = false;
}

/**
 * vb2_moves_dma_end - unmap a plane whose pages stay from now on
 * @dma: of the plane
 *
 * Return: true; false where nothing has moved, so that the driver's table is
 * still to be unmapped.
 */
bool vb2_moves_dma_end(struct vb2_moves_dma *dma)
{
	if (dma->apart)
		unmap_first(dma, dma->nr);
	return dma->left;
}
