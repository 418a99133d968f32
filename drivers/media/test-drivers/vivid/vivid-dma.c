// SPDX-License-Identifier: GPL-2.0
/*
 * A DMA engine, as a driver and its memory see one: pictures are made in memory
 * of the device, and go to and from the buffer by its DMA addresses only. So a
 * wrong address is a wrong picture, and with bounce buffers (swiotlb=force) so is
 * a sync that is missing. It is for buffers of vb2-dma-sg, and for USERPTR ones of
 * vb2-dma-contig, which have no kernel address.
 *
 * Only where a DMA address is a physical one: not behind an IOMMU, nor where the
 * architecture has a say. There the CPU writes by the kernel address.
 */
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/scatterlist.h>
#include <linux/vmalloc.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-dma-sg.h>

#include "vivid-core.h"
#include "vivid-dma.h"

static struct vivid_buffer *to_vivid_buffer(struct vb2_buffer *vb)
{
	return container_of(to_vb2_v4l2_buffer(vb), struct vivid_buffer, vb);
}

static bool has_engine(struct vb2_buffer *vb)
{
	const struct vb2_queue *q = vb->vb2_queue;

	if (IS_ENABLED(CONFIG_ARCH_HAS_PHYS_TO_DMA) || device_iommu_mapped(q->dev))
		return false;
	return q->mem_ops == &vb2_dma_sg_memops ||
	       (q->mem_ops == &vb2_dma_contig_memops && vb->memory == VB2_MEMORY_USERPTR);
}

/* What a table says, in a number that is another one if it says something else. */
static u64 table_sum(struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;
	u64 sum = 0;

	if (!sgt)
		return 0;
	for_each_sgtable_sg(sgt, sg, i)
		sum = sum * 31 + page_to_pfn(sg_page(sg)) + sg->length;
	for_each_sgtable_dma_sg(sgt, sg, i)
		sum = sum * 31 + sg_dma_address(sg) + sg_dma_len(sg);
	return sum;
}

static struct vivid_engine *engine_of(struct vb2_buffer *vb)
{
	struct vivid_dev *dev = vb2_get_drv_priv(vb->vb2_queue);

	return vb->vb2_queue == &dev->vb_vid_cap_q ? &dev->cap_engine : &dev->out_engine;
}

/* The device's memory for a plane grows, and stays. */
static int grow(struct vivid_engine *engine, unsigned int p, size_t size)
{
	void *shadow;

	if (engine->size[p] >= size)
		return 0;
	shadow = vmalloc(size);
	if (!shadow)
		return -ENOMEM;
	vfree(engine->shadow[p]);
	engine->shadow[p] = shadow;
	engine->size[p] = size;
	return 0;
}

int vivid_dma_buf_init(struct vb2_buffer *vb)
{
	struct vivid_buffer *buf = to_vivid_buffer(vb);
	unsigned int p;

	if (!has_engine(vb))
		return 0;
	for (p = 0; p < vb->num_planes; p++) {
		if (grow(engine_of(vb), p, vb2_plane_size(vb, p)))
			return -ENOMEM;
		buf->sgt[p] = vb->vb2_queue->mem_ops == &vb2_dma_sg_memops ?
			      vb2_dma_sg_plane_desc(vb, p) : NULL;
		buf->sum[p] = table_sum(buf->sgt[p]);
	}
	return 0;
}

/* A driver may undo by its table what it has done by it. */
void vivid_dma_buf_cleanup(struct vb2_buffer *vb)
{
	struct vivid_buffer *buf = to_vivid_buffer(vb);
	unsigned int p;

	for (p = 0; has_engine(vb) && p < vb->num_planes; p++)
		WARN_ONCE(buf->sum[p] != table_sum(buf->sgt[p]),
			  "vivid: the table of buffer %u has changed before buf_cleanup\n",
			  vb->index);
}

static void copy_by_address(dma_addr_t addr, void *shadow, size_t len, bool write)
{
	while (len) {
		struct page *page = pfn_to_page(PHYS_PFN(addr));
		size_t part = min_t(size_t, len, PAGE_SIZE - offset_in_page(addr));

		if (write)
			memcpy_to_page(page, offset_in_page(addr), shadow, part);
		else
			memcpy_from_page(shadow, page, offset_in_page(addr), part);
		addr += part;
		shadow += part;
		len -= part;
	}
}

static void transfer_plane(struct vb2_buffer *vb, unsigned int p, bool write)
{
	size_t part, done = 0, len = vb2_get_plane_payload(vb, p);
	void *shadow = engine_of(vb)->shadow[p];
	struct scatterlist *sg;
	struct sg_table *sgt;
	unsigned int i;

	if (vb->vb2_queue->mem_ops == &vb2_dma_contig_memops) {
		copy_by_address(vb2_dma_contig_plane_dma_addr(vb, p), shadow, len, write);
		return;
	}
	sgt = vb2_dma_sg_plane_desc(vb, p);
	for_each_sgtable_dma_sg(sgt, sg, i) {
		part = min_t(size_t, len - done, sg_dma_len(sg));
		copy_by_address(sg_dma_address(sg), shadow + done, part, write);
		done += part;
	}
}

static void transfer(struct vb2_buffer *vb, bool write)
{
	unsigned int p;

	for (p = 0; has_engine(vb) && p < vb->num_planes; p++)
		transfer_plane(vb, p, write);
}

void vivid_dma_write(struct vivid_buffer *buf)
{
	transfer(&buf->vb.vb2_buf, true);
}

void vivid_dma_read(struct vivid_buffer *buf)
{
	transfer(&buf->vb.vb2_buf, false);
}

void *vivid_plane_vaddr(struct vivid_buffer *buf, unsigned int p)
{
	struct vb2_buffer *vb = &buf->vb.vb2_buf;

	return has_engine(vb) ? engine_of(vb)->shadow[p] : vb2_plane_vaddr(vb, p);
}

void vivid_dma_free(struct vivid_dev *dev)
{
	unsigned int p;

	for (p = 0; p < TPG_MAX_PLANES; p++) {
		vfree(dev->cap_engine.shadow[p]);
		vfree(dev->out_engine.shadow[p]);
	}
}
