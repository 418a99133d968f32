// SPDX-License-Identifier: GPL-2.0
/*
 * The dma-buf operations of heaps whose buffers are ordinary memory.
 *
 * A heap allocates a buffer, fills in its table, and exports it; all that
 * importers and processes do with it is here. Where the memory comes from, and
 * where it goes, is the heap's business alone.
 *
 * Locking: attach, detach, mmap and CPU access are called without the dma_resv
 * lock, mapping and vmap with it. buffer->lock is inside of it, and of mmap_lock.
 */
#define pr_fmt(fmt) "dma-buf: " fmt

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/iosys-map.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "heap-helpers.h"

/* A buffer that leaves no memory for its table fails, and nobody is killed for it. */
#define TABLE_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

#ifdef CONFIG_MEMCG

/* obj_cgroup_charge() counts bytes in an unsigned int. */
#define CHARGE_MAX	((unsigned long)SZ_1G)

static void heap_uncharge(struct heap_buffer *buffer, unsigned long bytes)
{
	unsigned long part;

	if (!buffer->objcg)
		return;
	buffer->charged -= bytes;
	for (; bytes; bytes -= part) {
		part = min(bytes, CHARGE_MAX);
		obj_cgroup_uncharge(buffer->objcg, part);
	}
}

/*
 * Charge memory of @buffer to the cgroup of who allocated it. Whoever exceeds the
 * limit gets an error, and nobody is killed for it.
 */
static int heap_charge(struct heap_buffer *buffer, unsigned long bytes)
{
	unsigned long part, done;

	if (!buffer->objcg)
		return 0;
	for (done = 0; done < bytes; done += part) {
		part = min(bytes - done, CHARGE_MAX);
		if (obj_cgroup_charge(buffer->objcg, TABLE_GFP, part)) {
			heap_uncharge(buffer, done);
			return -ENOMEM;
		}
		buffer->charged += part;
	}
	return 0;
}

static void heap_charge_begin(struct heap_buffer *buffer)
{
	buffer->accounts = dma_heap_accounts();
	if (buffer->accounts)
		buffer->objcg = get_obj_cgroup_from_current();
}

static void heap_charge_end(struct heap_buffer *buffer)
{
	heap_uncharge(buffer, buffer->charged);
	obj_cgroup_put(buffer->objcg);
}

#else

static void heap_uncharge(struct heap_buffer *buffer, unsigned long bytes)
{
}

static int heap_charge(struct heap_buffer *buffer, unsigned long bytes)
{
	return 0;
}

static void heap_charge_begin(struct heap_buffer *buffer)
{
}

static void heap_charge_end(struct heap_buffer *buffer)
{
}

#endif

/*
 * A copy of the table, for one mapping. attachment->priv is one that is not
 * mapped: the attachment's first, so that it is attaching that fails where there
 * is no memory. Who maps an attachment twice gets another one, since a table
 * has the DMA addresses of one mapping only. It's under the dma_resv lock.
 */
struct heap_mapping {
	struct sg_table table;
	struct dma_buf_attachment *attachment;
	enum dma_data_direction direction;
	struct list_head node;
};

static struct heap_mapping *heap_mapping_alloc(struct heap_buffer *buffer)
{
	/* Who attaches pays for it, even if nobody does for the buffer. */
	gfp_t gfp = buffer->accounts ? GFP_KERNEL_ACCOUNT : GFP_KERNEL;
	struct sg_table *from = &buffer->sg_table;
	struct scatterlist *sg, *to;
	struct heap_mapping *map;
	unsigned int i;

	map = kzalloc(sizeof(*map), gfp);
	if (!map)
		return NULL;
	if (sg_alloc_table(&map->table, from->orig_nents, gfp)) {
		kfree(map);
		return NULL;
	}
	to = map->table.sgl;
	for_each_sgtable_sg(from, sg, i) {
		sg_set_page(to, sg_page(sg), sg->length, sg->offset);
		to = sg_next(to);
	}
	return map;
}

static void heap_mapping_free(struct heap_mapping *map)
{
	if (!map)
		return;
	sg_free_table(&map->table);
	kfree(map);
}

static int heap_attach(struct dma_buf *dmabuf,
		       struct dma_buf_attachment *attachment)
{
	attachment->priv = heap_mapping_alloc(dmabuf->priv);
	return attachment->priv ? 0 : -ENOMEM;
}

static void heap_mapping_unmap(struct heap_mapping *map)
{
	dma_unmap_sgtable(map->attachment->dev, &map->table, map->direction, 0);
}

/* What an importer has not given back goes with its attachment, and its device. */
static void heap_detach(struct dma_buf *dmabuf,
			struct dma_buf_attachment *attachment)
{
	struct heap_buffer *buffer = dmabuf->priv;
	struct heap_mapping *map, *next;
	unsigned int nr = 0;
	LIST_HEAD(left);

	mutex_lock(&buffer->lock);
	list_for_each_entry_safe(map, next, &buffer->mappings, node)
		if (map->attachment == attachment)
			list_move(&map->node, &left);
	mutex_unlock(&buffer->lock);
	list_for_each_entry_safe(map, next, &left, node) {
		heap_mapping_unmap(map);
		heap_mapping_free(map);
		nr++;
	}
	if (nr)
		pr_warn("importer %s (driver %s) detached with %u mappings of a buffer of %s, which are unmapped now\n",
			dev_name(attachment->dev),
			dev_driver_string(attachment->dev), nr,
			dmabuf->exp_name);
	heap_mapping_free(attachment->priv);
}

/* It is not mapped, or not any more. */
static void heap_mapping_keep(struct dma_buf_attachment *attachment,
			      struct heap_mapping *map)
{
	if (attachment->priv)
		heap_mapping_free(map);
	else
		attachment->priv = map;
}

static struct sg_table *heap_map(struct dma_buf_attachment *attachment,
				 enum dma_data_direction direction)
{
	struct heap_buffer *buffer = attachment->dmabuf->priv;
	struct heap_mapping *map = attachment->priv;
	int ret;

	if (!map)
		map = heap_mapping_alloc(buffer);
	if (!map)
		return ERR_PTR(-ENOMEM);
	attachment->priv = NULL;
	/* What the CPU writes between two frames goes where the device has it. */
	if (direction == DMA_FROM_DEVICE)
		direction = DMA_BIDIRECTIONAL;
	ret = dma_map_sgtable(attachment->dev, &map->table, direction, 0);
	if (ret) {
		heap_mapping_keep(attachment, map);
		return ERR_PTR(ret);
	}
	map->attachment = attachment;
	map->direction = direction;
	mutex_lock(&buffer->lock);
	list_add(&map->node, &buffer->mappings);
	mutex_unlock(&buffer->lock);
	return &map->table;
}

static void heap_unmap(struct dma_buf_attachment *attachment,
		       struct sg_table *table,
		       enum dma_data_direction direction)
{
	struct heap_mapping *map = container_of(table, struct heap_mapping,
						table);
	struct heap_buffer *buffer = attachment->dmabuf->priv;

	/* From here on it is not synchronized any more. */
	mutex_lock(&buffer->lock);
	list_del(&map->node);
	mutex_unlock(&buffer->lock);
	heap_mapping_unmap(map);
	heap_mapping_keep(attachment, map);
}

static void heap_sync_mapping(struct heap_mapping *map,
			      enum dma_data_direction direction, bool for_cpu)
{
	struct device *dev = map->attachment->dev;

	/* What is mapped for one direction is synchronized for that one. */
	if (map->direction != DMA_BIDIRECTIONAL)
		direction = map->direction;
	if (for_cpu)
		dma_sync_sgtable_for_cpu(dev, &map->table, direction);
	else
		dma_sync_sgtable_for_device(dev, &map->table, direction);
}

static int heap_cpu_access(struct heap_buffer *buffer,
			   enum dma_data_direction direction, bool begin)
{
	struct heap_mapping *map;

	mutex_lock(&buffer->lock);
	if (buffer->vmap_cnt && begin)
		invalidate_kernel_vmap_range(buffer->vaddr, buffer->len);
	else if (buffer->vmap_cnt)
		flush_kernel_vmap_range(buffer->vaddr, buffer->len);
	list_for_each_entry(map, &buffer->mappings, node)
		heap_sync_mapping(map, direction, begin);
	mutex_unlock(&buffer->lock);
	return 0;
}

static int heap_begin_cpu_access(struct dma_buf *dmabuf,
				 enum dma_data_direction direction)
{
	return heap_cpu_access(dmabuf->priv, direction, true);
}

static int heap_end_cpu_access(struct dma_buf *dmabuf,
			       enum dma_data_direction direction)
{
	return heap_cpu_access(dmabuf->priv, direction, false);
}

static struct page **heap_alloc_pages(struct heap_buffer *buffer)
{
	unsigned long bytes;
	struct page **pages;

	if (check_mul_overflow(buffer->len >> PAGE_SHIFT, sizeof(*pages),
			       &bytes) || bytes > INT_MAX ||
	    heap_charge(buffer, bytes))
		return NULL;
	pages = kvmalloc(bytes, GFP_KERNEL);
	if (!pages)
		heap_uncharge(buffer, bytes);
	return pages;
}

/*
 * All pages, one by one, as vmap() wants them, and as they are found when they
 * are unmapped. It stays until the buffer is freed. Caller holds the lock.
 */
static int heap_find_pages(struct heap_buffer *buffer)
{
	struct sg_page_iter iter;
	struct page **pages;
	unsigned long i = 0;

	lockdep_assert_held(&buffer->lock);
	if (buffer->pages)
		return 0;
	pages = heap_alloc_pages(buffer);
	if (!pages)
		return -ENOMEM;
	for_each_sgtable_page(&buffer->sg_table, &iter, 0)
		pages[i++] = sg_page_iter_page(&iter);
	buffer->pages = pages;
	return 0;
}

static struct page *heap_special_page(struct vm_area_struct *vma,
				      unsigned long addr)
{
	struct heap_buffer *buffer = vma->vm_private_data;

	return buffer->pages[linear_page_index(vma, addr)];
}

static const struct vm_operations_struct heap_vm_ops = {
	.find_special_page = heap_special_page,
};

/*
 * The pages count as mapped by the process, and can't be taken by
 * get_user_pages(): what is pinned would outlive the buffer.
 */
static int heap_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct heap_buffer *buffer = dmabuf->priv;
	int ret;

	if (!(vma->vm_flags & (VM_SHARED | VM_MAYSHARE)))
		return -EINVAL;
	mutex_lock(&buffer->lock);
	ret = heap_find_pages(buffer);
	mutex_unlock(&buffer->lock);
	if (ret)
		return ret;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &heap_vm_ops;
	vma->vm_private_data = buffer;
	return vm_insert_special_pages(vma, vma->vm_start,
				       buffer->pages + vma->vm_pgoff,
				       vma_pages(vma));
}

/* Caller holds the lock. */
static int heap_map_kernel(struct heap_buffer *buffer)
{
	int ret = heap_find_pages(buffer);

	if (ret)
		return ret;
	buffer->vaddr = vmap(buffer->pages, buffer->len >> PAGE_SHIFT, VM_MAP,
			     PAGE_KERNEL);
	return buffer->vaddr ? 0 : -ENOMEM;
}

static int heap_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct heap_buffer *buffer = dmabuf->priv;
	int ret = 0;

	mutex_lock(&buffer->lock);
	if (!buffer->vmap_cnt)
		ret = heap_map_kernel(buffer);
	if (!ret) {
		buffer->vmap_cnt++;
		iosys_map_set_vaddr(map, buffer->vaddr);
	}
	mutex_unlock(&buffer->lock);
	return ret;
}

static void heap_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct heap_buffer *buffer = dmabuf->priv;

	mutex_lock(&buffer->lock);
	if (!--buffer->vmap_cnt) {
		vunmap(buffer->vaddr);
		buffer->vaddr = NULL;
	}
	mutex_unlock(&buffer->lock);
	iosys_map_clear(map);
}

static void heap_release(struct dma_buf *dmabuf)
{
	struct heap_buffer *buffer = dmabuf->priv;

	if (WARN(buffer->vmap_cnt, "%s: still mapped in the kernel\n",
		 dmabuf->exp_name))
		vunmap(buffer->vaddr);
	buffer->free(buffer);
}

static const struct dma_buf_ops heap_buf_ops = {
	.attach = heap_attach,
	.detach = heap_detach,
	.map_dma_buf = heap_map,
	.unmap_dma_buf = heap_unmap,
	.begin_cpu_access = heap_begin_cpu_access,
	.end_cpu_access = heap_end_cpu_access,
	.mmap = heap_mmap,
	.vmap = heap_vmap,
	.vunmap = heap_vunmap,
	.release = heap_release,
};

/**
 * heap_buffer_alloc() - begin with a buffer
 * @len: bytes, whole pages
 * @free: see &struct heap_buffer
 *
 * If buffers are accounted for, @len is charged to the memory cgroup of the caller,
 * before there is any memory.
 *
 * Context: may sleep.
 * Return: The buffer, without a table; or -ENOMEM.
 */
struct heap_buffer *heap_buffer_alloc(unsigned long len,
				      void (*free)(struct heap_buffer *buffer))
{
	struct heap_buffer *buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);

	if (!buffer)
		return ERR_PTR(-ENOMEM);
	buffer->len = len;
	buffer->free = free;
	mutex_init(&buffer->lock);
	INIT_LIST_HEAD(&buffer->mappings);
	heap_charge_begin(buffer);
	if (heap_charge(buffer, len)) {
		heap_buffer_free(buffer);
		return ERR_PTR(-ENOMEM);
	}
	return buffer;
}

/**
 * heap_buffer_table() - make the table of a buffer
 * @buffer: the buffer, which has none
 * @nents: segments in the table, which are empty
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM.
 */
int heap_buffer_table(struct heap_buffer *buffer, unsigned long nents)
{
	unsigned long bytes;
	int ret;

	if (nents > UINT_MAX ||
	    check_mul_overflow(nents, sizeof(struct scatterlist), &bytes) ||
	    heap_charge(buffer, bytes))
		return -ENOMEM;
	ret = sg_alloc_table(&buffer->sg_table, nents, TABLE_GFP);
	if (ret)
		heap_uncharge(buffer, bytes);
	return ret;
}

/**
 * heap_buffer_free() - free a buffer, but not its memory
 * @buffer: of heap_buffer_alloc(), not exported or not any more
 */
void heap_buffer_free(struct heap_buffer *buffer)
{
	kvfree(buffer->pages);
	sg_free_table(&buffer->sg_table);
	heap_charge_end(buffer);
	kfree(buffer);
}

/**
 * heap_buffer_export() - make a dma-buf of a buffer
 * @buffer: the buffer, whose table is filled in
 * @heap: the heap that it is of
 * @fd_flags: as userspace gave them
 *
 * From here on @buffer belongs to the dma-buf; if there is an error, it has been
 * freed by &heap_buffer.free.
 *
 * Context: may sleep.
 * Return: The dma-buf, or an error of dma_buf_export().
 */
struct dma_buf *heap_buffer_export(struct heap_buffer *buffer,
				   struct dma_heap *heap, u32 fd_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp_info);
	struct dma_buf *dmabuf;

	exp_info.exp_name = dma_heap_get_name(heap);
	exp_info.ops = &heap_buf_ops;
	exp_info.size = buffer->len;
	exp_info.flags = fd_flags;
	exp_info.priv = buffer;
	dmabuf = dma_buf_export(&exp_info);
	if (IS_ERR(dmabuf))
		buffer->free(buffer);
	return dmabuf;
}

/**
 * heap_zero_pages() - clear memory for userspace
 * @page: the first page
 * @nr: how many, contiguous
 *
 * Context: may sleep.
 * Return: 0; -EINTR if a fatal signal came, and some of it has not been cleared.
 */
int heap_zero_pages(struct page *page, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		clear_highpage(nth_page(page, i));
		cond_resched();
	}
	return 0;
}
