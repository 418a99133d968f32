// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/dmabuf_test: an exporter of dma-bufs, and a bad importer.
 *
 * The exporter hands out its own tables, in the ways that exporters do, and
 * checks that it knows them again. The importer is one of two devices. It does
 * DMA, that is, it reads and writes by the DMA addresses, through the IOMMU if
 * there is one; and on demand it does what no importer may: it looks at the
 * struct pages. What userspace asks for is in test_dmabuf_uapi.h.
 *
 * Locking: file->lock protects the ids, and is taken outside of any dma_resv. It
 * is not held while the importer misbehaves, since that ends the task.
 */
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iosys-map.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pgtable.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/xarray.h>

#include "test_dmabuf_uapi.h"

static struct device *test_devices[TEST_DMABUF_DEVICES];

/* The exporter */

/* @table[0] is the CPU's view; @table[1] the device's, if that's another one. */
struct test_buffer {
	u32 flags;
	unsigned int segments;
	unsigned int pages;		/* in each segment */
	struct page **first[2];		/* of each segment */
	struct sg_table *shared;
	struct list_head tables;	/* mapped ones; under the dma_resv */
	u32 mapped;
	u64 wrong;
};

struct test_table {
	struct sg_table sgt;
	struct device *dev;
	struct list_head list;
	unsigned int mapped;
};

static unsigned int test_order(const struct test_buffer *buffer)
{
	return get_order(buffer->pages * PAGE_SIZE);
}

static void test_buffer_free_pages(struct test_buffer *buffer, int view)
{
	unsigned int i;

	if (!buffer->first[view])
		return;
	for (i = 0; i < buffer->segments && buffer->first[view][i]; i++)
		__free_pages(buffer->first[view][i], test_order(buffer));
	kvfree(buffer->first[view]);
}

static int test_buffer_alloc_pages(struct test_buffer *buffer, int view)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN;
	struct page **first;
	unsigned int i;

	first = kvcalloc(buffer->segments, sizeof(*first), GFP_KERNEL);
	if (!first)
		return -ENOMEM;
	buffer->first[view] = first;
	for (i = 0; i < buffer->segments; i++) {
		first[i] = alloc_pages(gfp, test_order(buffer));
		if (!first[i])
			return -ENOMEM;
	}
	return 0;
}

static void test_buffer_free(struct test_buffer *buffer)
{
	test_buffer_free_pages(buffer, 0);
	test_buffer_free_pages(buffer, 1);
	kfree(buffer);
}

static struct test_table *test_table_alloc(struct test_buffer *buffer,
					   struct device *dev)
{
	struct test_table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	struct scatterlist *sg;
	unsigned int i;

	if (!table)
		return NULL;
	if (sg_alloc_table(&table->sgt, buffer->segments, GFP_KERNEL)) {
		kfree(table);
		return NULL;
	}
	for_each_sgtable_sg(&table->sgt, sg, i)
		sg_set_page(sg, buffer->first[0][i], buffer->pages * PAGE_SIZE,
			    0);
	table->dev = dev;
	return table;
}

static void test_table_free(struct test_table *table)
{
	sg_free_table(&table->sgt);
	kfree(table);
}

/*
 * What a cache does that the device doesn't look into: write it back, or drop
 * it. By the pages of the table, as iommu_dma_sync_sg_for_device() does it.
 */
static void test_sync_table(struct test_buffer *buffer, struct sg_table *sgt,
			    bool to_device)
{
	size_t size = buffer->pages * PAGE_SIZE;
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_sg(sgt, sg, i) {
		void *cpu = page_address(buffer->first[0][i]);
		void *device = page_address(buffer->first[1][i]);

		if (sg_page(sg) != buffer->first[0][i]) {
			buffer->wrong++;
			continue;
		}
		if (to_device)
			memcpy(device, cpu, size);
		else
			memcpy(cpu, device, size);
	}
}

/* Where the device finds its view: behind an IOMMU the DMA API says it. */
static int test_map_view(struct test_buffer *buffer, struct test_table *table,
			 struct scatterlist *sg, unsigned int i)
{
	struct page *page = buffer->first[1][i];

	sg_dma_len(sg) = sg->length;
	sg_dma_address(sg) = phys_to_dma(table->dev, page_to_phys(page));
	if (!iommu_get_domain_for_dev(table->dev))
		return 0;
	sg_dma_address(sg) = dma_map_page(table->dev, page, 0, sg->length,
					  DMA_BIDIRECTIONAL);
	return dma_mapping_error(table->dev, sg_dma_address(sg));
}

static void test_unmap_views(struct test_table *table, unsigned int nr)
{
	struct scatterlist *sg;
	unsigned int i;

	if (!iommu_get_domain_for_dev(table->dev))
		return;
	for_each_sg(table->sgt.sgl, sg, nr, i)
		dma_unmap_page(table->dev, sg_dma_address(sg), sg_dma_len(sg),
			       DMA_BIDIRECTIONAL);
}

static int test_map_table(struct test_buffer *buffer, struct test_table *table,
			  enum dma_data_direction direction)
{
	struct scatterlist *sg;
	unsigned int i;
	int ret;

	if (!(buffer->flags & TEST_DMABUF_INCOHERENT))
		return dma_map_sgtable(table->dev, &table->sgt, direction, 0);
	for_each_sgtable_sg(&table->sgt, sg, i) {
		ret = test_map_view(buffer, table, sg, i);
		if (ret) {
			test_unmap_views(table, i);
			return ret;
		}
	}
	test_sync_table(buffer, &table->sgt, true);
	return 0;
}

static void test_unmap_table(struct test_buffer *buffer,
			     struct test_table *table,
			     enum dma_data_direction direction)
{
	if (buffer->flags & TEST_DMABUF_INCOHERENT) {
		test_sync_table(buffer, &table->sgt, false);
		test_unmap_views(table, table->sgt.orig_nents);
	} else {
		dma_unmap_sgtable(table->dev, &table->sgt, direction, 0);
	}
}

static int test_attach(struct dma_buf *dmabuf,
		       struct dma_buf_attachment *attach)
{
	struct test_buffer *buffer = dmabuf->priv;
	struct test_table *table;

	if (buffer->flags & TEST_DMABUF_SHARED && buffer->shared) {
		attach->priv = container_of(buffer->shared, struct test_table,
					    sgt);
		return 0;
	}
	table = test_table_alloc(buffer, attach->dev);
	if (!table)
		return -ENOMEM;
	if (buffer->flags & TEST_DMABUF_SHARED)
		buffer->shared = &table->sgt;
	attach->priv = table;
	return 0;
}

static void test_detach(struct dma_buf *dmabuf,
			struct dma_buf_attachment *attach)
{
	struct test_buffer *buffer = dmabuf->priv;

	if (!(buffer->flags & TEST_DMABUF_SHARED))
		test_table_free(attach->priv);
}

/* As in a heap, a table that is mapped twice is mapped for the device once. */
static struct sg_table *test_map(struct dma_buf_attachment *attach,
				 enum dma_data_direction direction)
{
	struct test_buffer *buffer = attach->dmabuf->priv;
	struct test_table *table = attach->priv;
	int ret;

	if (!table->mapped) {
		ret = test_map_table(buffer, table, direction);
		if (ret)
			return ERR_PTR(ret);
	}
	if (!table->mapped++)
		list_add(&table->list, &buffer->tables);
	buffer->mapped++;
	return &table->sgt;
}

/*
 * A look at the whole table, and not in the way of the benchmark, which has
 * too many segments for it.
 */
static void test_check_table(struct test_buffer *buffer, struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;

	if (buffer->segments > 1024)
		return;
	for_each_sgtable_sg(sgt, sg, i)
		if (sg_page(sg) != buffer->first[0][i])
			buffer->wrong++;
}

static void test_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		       enum dma_data_direction direction)
{
	struct test_buffer *buffer = attach->dmabuf->priv;
	struct test_table *table = attach->priv;

	if (sgt != &table->sgt) {
		buffer->wrong += buffer->segments;
		return;
	}
	test_check_table(buffer, sgt);
	buffer->mapped--;
	if (--table->mapped)
		return;
	list_del(&table->list);
	test_unmap_table(buffer, table, direction);
}

static void test_sync(struct dma_buf *dmabuf, bool to_device,
		      enum dma_data_direction direction)
{
	struct test_buffer *buffer = dmabuf->priv;
	struct test_table *table;

	dma_resv_lock(dmabuf->resv, NULL);
	list_for_each_entry(table, &buffer->tables, list) {
		if (buffer->flags & TEST_DMABUF_INCOHERENT)
			test_sync_table(buffer, &table->sgt, to_device);
		else if (to_device)
			dma_sync_sgtable_for_device(table->dev, &table->sgt,
						    direction);
		else
			dma_sync_sgtable_for_cpu(table->dev, &table->sgt,
						 direction);
	}
	dma_resv_unlock(dmabuf->resv);
}

static int test_begin_cpu_access(struct dma_buf *dmabuf,
				 enum dma_data_direction direction)
{
	test_sync(dmabuf, false, direction);
	return 0;
}

static int test_end_cpu_access(struct dma_buf *dmabuf,
			       enum dma_data_direction direction)
{
	test_sync(dmabuf, true, direction);
	return 0;
}

static int test_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct test_buffer *buffer = dmabuf->priv;
	unsigned long i, pgoff = vma->vm_pgoff;
	struct page *page;
	int ret = 0;

	for (i = 0; i < vma_pages(vma) && !ret; i++, pgoff++) {
		page = buffer->first[0][pgoff / buffer->pages] +
		       pgoff % buffer->pages;
		ret = remap_pfn_range(vma, vma->vm_start + i * PAGE_SIZE,
				      page_to_pfn(page), PAGE_SIZE,
				      vma->vm_page_prot);
	}
	return ret;
}

static void test_release(struct dma_buf *dmabuf)
{
	struct test_buffer *buffer = dmabuf->priv;

	if (buffer->shared)
		test_table_free(container_of(buffer->shared, struct test_table,
					     sgt));
	test_buffer_free(buffer);
}

static int test_pin(struct dma_buf_attachment *attach)
{
	return 0;
}

static void test_unpin(struct dma_buf_attachment *attach)
{
}

#define TEST_OPS				\
	.attach = test_attach,			\
	.detach = test_detach,			\
	.map_dma_buf = test_map,		\
	.unmap_dma_buf = test_unmap,		\
	.begin_cpu_access = test_begin_cpu_access, \
	.end_cpu_access = test_end_cpu_access,	\
	.mmap = test_mmap,			\
	.release = test_release

static const struct dma_buf_ops test_ops = { TEST_OPS };

static const struct dma_buf_ops test_cached_ops = {
	TEST_OPS,
	.cache_sgt_mapping = true,
};

static const struct dma_buf_ops test_dynamic_ops = {
	TEST_OPS,
	.pin = test_pin,
	.unpin = test_unpin,
};

static bool test_is_ours(const struct dma_buf *dmabuf)
{
	return dmabuf->ops == &test_ops || dmabuf->ops == &test_cached_ops ||
	       dmabuf->ops == &test_dynamic_ops;
}

static struct test_buffer *test_buffer_alloc(struct test_dmabuf_export *arg)
{
	struct test_buffer *buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);
	int ret;

	if (!buffer)
		return NULL;
	buffer->flags = arg->flags;
	buffer->segments = arg->segments;
	buffer->pages = arg->pages;
	INIT_LIST_HEAD(&buffer->tables);
	ret = test_buffer_alloc_pages(buffer, 0);
	if (!ret && arg->flags & TEST_DMABUF_INCOHERENT)
		ret = test_buffer_alloc_pages(buffer, 1);
	if (!ret)
		return buffer;
	test_buffer_free(buffer);
	return NULL;
}

static long test_export(struct test_dmabuf_export *arg)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct test_buffer *buffer;
	struct dma_buf *dmabuf;

	if (!arg->segments || !arg->pages ||
	    arg->flags & ~TEST_DMABUF_EXPORT_FLAGS ||
	    (u64)arg->segments * arg->pages > TEST_DMABUF_MAX_PAGES)
		return -EINVAL;
	if (arg->flags & TEST_DMABUF_CACHED && arg->flags & TEST_DMABUF_DYNAMIC)
		return -EINVAL;
	buffer = test_buffer_alloc(arg);
	if (!buffer)
		return -ENOMEM;
	info.ops = &test_ops;
	if (arg->flags & TEST_DMABUF_CACHED)
		info.ops = &test_cached_ops;
	if (arg->flags & TEST_DMABUF_DYNAMIC)
		info.ops = &test_dynamic_ops;
	info.size = (size_t)arg->segments * arg->pages * PAGE_SIZE;
	info.flags = O_RDWR;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		test_buffer_free(buffer);
		return PTR_ERR(dmabuf);
	}
	arg->fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (arg->fd < 0)
		dma_buf_put(dmabuf);
	return min(arg->fd, 0);
}

static long test_state(struct test_dmabuf_state *arg)
{
	struct dma_buf *dmabuf = dma_buf_get(arg->fd);
	struct test_buffer *buffer;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (!test_is_ours(dmabuf)) {
		dma_buf_put(dmabuf);
		return -EINVAL;
	}
	buffer = dmabuf->priv;
	dma_resv_lock(dmabuf->resv, NULL);
	arg->mapped = buffer->mapped;
	arg->wrong = buffer->wrong;
	dma_resv_unlock(dmabuf->resv);
	dma_buf_put(dmabuf);
	return 0;
}

/* The importer */

struct test_file {
	struct mutex lock;	/* see above */
	struct xarray attaches;
	struct xarray maps;
	struct dma_buf *vmapped;
	struct iosys_map vmap;
	struct page *kept;
};

struct test_mapping {
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	enum dma_data_direction direction;
};

static void test_move_notify(struct dma_buf_attachment *attach)
{
}

static const struct dma_buf_attach_ops test_dynamic_importer = {
	.allow_peer2peer = true,
	.move_notify = test_move_notify,
};

static long test_do_attach(struct test_file *file,
			   struct test_dmabuf_attach *arg)
{
	const struct dma_buf_attach_ops *ops = NULL;
	struct dma_buf_attachment *attach;
	struct dma_buf *dmabuf;
	int ret;

	if (arg->device >= TEST_DMABUF_DEVICES ||
	    arg->flags & ~TEST_DMABUF_ATTACH_FLAGS)
		return -EINVAL;
	if (arg->flags & TEST_DMABUF_ATTACH_DYNAMIC)
		ops = &test_dynamic_importer;
	dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	attach = dma_buf_dynamic_attach(dmabuf, test_devices[arg->device], ops,
					file);
	if (IS_ERR(attach)) {
		dma_buf_put(dmabuf);
		return PTR_ERR(attach);
	}
	ret = xa_alloc(&file->attaches, &arg->id, attach, xa_limit_31b,
		       GFP_KERNEL);
	if (ret) {
		dma_buf_detach(dmabuf, attach);
		dma_buf_put(dmabuf);
	}
	return ret;
}

static void test_undo_attach(struct dma_buf_attachment *attach)
{
	struct dma_buf *dmabuf = attach->dmabuf;

	dma_buf_detach(dmabuf, attach);
	dma_buf_put(dmabuf);
}

/* Also of one with mappings left, which dma-buf has to live with. */
static long test_do_detach(struct test_file *file, u32 id)
{
	struct dma_buf_attachment *attach = xa_erase(&file->attaches, id);
	struct test_mapping *map;
	unsigned long i;

	if (!attach)
		return -ENOENT;
	xa_for_each(&file->maps, i, map) {
		if (map->attach == attach) {
			xa_erase(&file->maps, i);
			kfree(map);
		}
	}
	test_undo_attach(attach);
	return 0;
}

static long test_do_map(struct test_file *file, struct test_dmabuf_map *arg)
{
	struct dma_buf_attachment *attach = xa_load(&file->attaches, arg->attach);
	struct test_mapping *map;
	int ret;

	if (!attach)
		return -ENOENT;
	if (!valid_dma_direction(arg->direction) || arg->pad)
		return -EINVAL;
	map = kzalloc(sizeof(*map), GFP_KERNEL);
	if (!map)
		return -ENOMEM;
	map->attach = attach;
	map->direction = arg->direction;
	map->sgt = dma_buf_map_attachment_unlocked(attach, arg->direction);
	if (IS_ERR(map->sgt)) {
		ret = PTR_ERR(map->sgt);
		kfree(map);
		return ret;
	}
	ret = xa_alloc(&file->maps, &arg->id, map, xa_limit_31b, GFP_KERNEL);
	if (ret) {
		dma_buf_unmap_attachment_unlocked(attach, map->sgt,
						  arg->direction);
		kfree(map);
	}
	return ret;
}

static long test_do_unmap(struct test_file *file, u32 id)
{
	struct test_mapping *map = xa_erase(&file->maps, id);

	if (!map)
		return -ENOENT;
	dma_buf_unmap_attachment_unlocked(map->attach, map->sgt,
					  map->direction);
	kfree(map);
	return 0;
}

static long test_entry(struct test_file *file, struct test_dmabuf_entry *arg)
{
	struct test_mapping *map = xa_load(&file->maps, arg->map);
	struct test_mapping *other = xa_load(&file->maps, arg->other);
	struct scatterlist *sg;
	unsigned int i;

	if (!map || (arg->other && !other))
		return -ENOENT;
	arg->nents = map->sgt->nents;
	arg->orig_nents = map->sgt->orig_nents;
	arg->same_table = other && other->sgt == map->sgt;
	for_each_sgtable_sg(map->sgt, sg, i) {
		if (i != arg->index)
			continue;
		arg->dma_address = sg_dma_address(sg);
		arg->dma_length = sg_dma_len(sg);
		arg->length = sg->length;
		arg->offset = sg->offset;
		arg->pfn_valid = pfn_valid(page_to_pfn(sg_page(sg)));
		return 0;
	}
	return -EINVAL;
}

/* Where the device gets to by this address. */
static phys_addr_t test_translate(struct device *dev, dma_addr_t addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain ? iommu_iova_to_phys(domain, addr) :
			dma_to_phys(dev, addr);
}

/* One page or less of DMA. */
static int test_dma(struct test_mapping *map, dma_addr_t addr, void __user *data,
		    size_t length, bool write)
{
	phys_addr_t phys = test_translate(map->attach->dev, addr);
	unsigned long left;
	void *memory;

	if (!phys || !pfn_valid(PHYS_PFN(phys)))
		return -EIO;
	memory = kmap_local_page(pfn_to_page(PHYS_PFN(phys))) + offset_in_page(phys);
	left = write ? copy_from_user(memory, data, length) :
		       copy_to_user(data, memory, length);
	kunmap_local(memory);
	return left ? -EFAULT : 0;
}

static long test_access(struct test_file *file, struct test_dmabuf_access *arg)
{
	struct test_mapping *map = xa_load(&file->maps, arg->map);
	size_t left = arg->length, chunk, at = arg->offset % PAGE_SIZE;
	void __user *data = u64_to_user_ptr(arg->data);
	struct sg_dma_page_iter iter;
	int ret;

	if (!map)
		return -ENOENT;
	if (arg->write > 1 || arg->offset > map->attach->dmabuf->size ||
	    arg->length > map->attach->dmabuf->size - arg->offset)
		return -EINVAL;
	for_each_sgtable_dma_page(map->sgt, &iter, arg->offset >> PAGE_SHIFT) {
		chunk = min_t(size_t, left, PAGE_SIZE - at);
		if (!chunk)
			break;
		ret = test_dma(map, sg_page_iter_dma_address(&iter) + at, data,
			       chunk, arg->write);
		if (ret)
			return ret;
		at = 0;
		data += chunk;
		left -= chunk;
	}
	return left ? -EIO : 0;
}

/* What an importer must not do */

/* A read that stays in. */
static long test_read(const void *at)
{
	return READ_ONCE(*(const u8 *)at);
}

static long test_peek_iterator(struct sg_table *sgt)
{
	struct sg_page_iter iter;

	for_each_sgtable_page(sgt, &iter, 1)
		return READ_ONCE(sg_page_iter_page(&iter)->flags) & 1;
	return -EIO;
}

static long test_peek_miter(struct sg_table *sgt)
{
	struct sg_mapping_iter miter;
	long ret = -EIO;

	sg_miter_start(&miter, sgt->sgl, sgt->orig_nents, SG_MITER_FROM_SG);
	if (sg_miter_next(&miter))
		ret = test_read(miter.addr);
	sg_miter_stop(&miter);
	return ret;
}

static long test_peek_kmap(struct page *page, bool write)
{
	u8 *at, byte = 0xba;

	if (write) {
		at = kmap_local_page(page);
		WRITE_ONCE(*at, byte);
		kunmap_local(at);
	} else {
		memcpy_from_page(&byte, page, 0, 1);
		/* Or nobody would read it. */
		barrier_data(&byte);
	}
	return byte;
}

static long test_peek_copy(struct sg_table *sgt, bool write)
{
	u8 byte = 0xba;
	size_t done;

	if (write)
		done = sg_copy_from_buffer(sgt->sgl, sgt->orig_nents, &byte, 1);
	else
		done = sg_copy_to_buffer(sgt->sgl, sgt->orig_nents, &byte, 1);
	return done ? byte : -EIO;
}

static long test_peek_vmap(struct page *page)
{
	void *at = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	long ret;

	if (!at)
		return -ENOMEM;
	ret = test_read(at);
	vunmap(at);
	return ret;
}

static long test_peek_memremap(phys_addr_t phys)
{
	void *at = memremap(phys, PAGE_SIZE, MEMREMAP_WB);
	long ret;

	if (!at)
		return -ENOMEM;
	ret = test_read(at);
	memunmap(at);
	return ret;
}

/* For the other device: a table is mapped for one. */
static struct device *test_other_device(struct test_mapping *map)
{
	if (map->attach->dev == test_devices[0])
		return test_devices[1];
	return test_devices[0];
}

static long test_peek_dma_map(struct test_mapping *map, struct page *page)
{
	struct device *dev = test_other_device(map);
	dma_addr_t addr;

	addr = dma_map_page(dev, page, 0, PAGE_SIZE, DMA_TO_DEVICE);
	if (dma_mapping_error(dev, addr))
		return -ENOMEM;
	dma_unmap_page(dev, addr, PAGE_SIZE, DMA_TO_DEVICE);
	return 0;
}

static long test_peek_dma_sg(struct test_mapping *map)
{
	struct device *dev = test_other_device(map);
	struct scatterlist sg;
	struct sg_table sgt = { .sgl = &sg, .orig_nents = 1 };
	long ret;

	sg_init_table(&sg, 1);
	sg_set_page(&sg, sg_page(map->sgt->sgl), PAGE_SIZE, 0);
	ret = dma_map_sgtable(dev, &sgt, DMA_TO_DEVICE, 0);
	if (!ret)
		dma_unmap_sgtable(dev, &sgt, DMA_TO_DEVICE, 0);
	return ret;
}

static long test_peek_dma_resource(struct test_mapping *map, phys_addr_t phys)
{
	struct device *dev = test_other_device(map);
	dma_addr_t addr;

	addr = dma_map_resource(dev, phys, PAGE_SIZE, DMA_TO_DEVICE, 0);
	if (dma_mapping_error(dev, addr))
		return -ENOMEM;
	dma_unmap_resource(dev, addr, PAGE_SIZE, DMA_TO_DEVICE, 0);
	return 0;
}

/* As drivers do that have a domain of their own. */
static long test_peek_iommu(struct test_mapping *map, bool by_table)
{
	const unsigned long iova = SZ_16M;
	struct scatterlist *sg = map->sgt->sgl;
	struct iommu_domain *domain;
	ssize_t ret;

	if (!device_iommu_mapped(map->attach->dev))
		return -ENODEV;
	domain = iommu_paging_domain_alloc(map->attach->dev);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	if (by_table)
		ret = iommu_map_sgtable(domain, iova, map->sgt, IOMMU_READ);
	else
		ret = iommu_map(domain, iova, sg_phys(sg), sg->length,
				IOMMU_READ, GFP_KERNEL);
	if (ret >= 0)
		iommu_unmap(domain, iova, by_table ? ret : sg->length);
	iommu_domain_free(domain);
	return min(ret, 0);
}

/* Run without any lock, since many a way ends the task. */
static long test_peek_way(struct test_mapping *map, struct scatterlist *sg,
			  const struct test_dmabuf_peek *arg)
{
	struct page *page = sg_page(sg);
	u8 byte;

	switch (arg->way) {
	case TEST_DMABUF_FLAGS:
	case TEST_DMABUF_STALE:
		return READ_ONCE(page->flags) & 1;
	case TEST_DMABUF_GET_PAGE:
		get_page(page);
		put_page(page);
		return 0;
	case TEST_DMABUF_ITERATOR:
		return test_peek_iterator(map->sgt);
	case TEST_DMABUF_KMAP:
		return test_peek_kmap(page, false);
	case TEST_DMABUF_KMAP_LOCAL:
		return test_peek_kmap(page, true);
	case TEST_DMABUF_SG_VIRT:
		return test_read(sg_virt(sg));
	case TEST_DMABUF_MITER:
		return test_peek_miter(map->sgt);
	case TEST_DMABUF_COPY_FROM:
		return test_peek_copy(map->sgt, false);
	case TEST_DMABUF_COPY_TO:
		return test_peek_copy(map->sgt, true);
	case TEST_DMABUF_SG_PHYS:
		return test_read(phys_to_virt(sg_phys(sg)));
	case TEST_DMABUF_PFN:
		return READ_ONCE(pfn_to_page(page_to_pfn(page))->flags) & 1;
	case TEST_DMABUF_TO_USER:
		return copy_to_user(u64_to_user_ptr(arg->data),
				    page_address(page), 1) ? -EFAULT : 0;
	case TEST_DMABUF_VMAP:
		return test_peek_vmap(page);
	case TEST_DMABUF_MEMREMAP:
		return test_peek_memremap(sg_phys(sg));
	case TEST_DMABUF_DMA_MAP:
		return test_peek_dma_map(map, page);
	case TEST_DMABUF_NOFAULT:
		return copy_from_kernel_nofault(&byte, page_address(page), 1);
	case TEST_DMABUF_PFN_VALID:
		return pfn_valid(page_to_pfn(page)) ? 0 : -ENOENT;
	case TEST_DMABUF_DMA_SG:
		return test_peek_dma_sg(map);
	case TEST_DMABUF_DMA_RESOURCE:
		return test_peek_dma_resource(map, sg_phys(sg));
	case TEST_DMABUF_IOMMU_SG:
		return test_peek_iommu(map, true);
	case TEST_DMABUF_IOMMU_PHYS:
		return test_peek_iommu(map, false);
	}
	return -EINVAL;
}

static long test_peek(struct test_file *file, const struct test_dmabuf_peek *arg)
{
	struct scatterlist sg;
	struct test_mapping *map;
	long ret;

	if (arg->way >= TEST_DMABUF_NR_WAYS)
		return -EINVAL;
	if (arg->way == TEST_DMABUF_KEPT)
		return file->kept ? READ_ONCE(file->kept->flags) & 0 : -ENOENT;
	mutex_lock(&file->lock);
	map = xa_load(&file->maps, arg->map);
	if (!map) {
		mutex_unlock(&file->lock);
		return -ENOENT;
	}
	sg = *map->sgt->sgl;
	if (arg->way == TEST_DMABUF_KEEP) {
		file->kept = sg_page(&sg);
		mutex_unlock(&file->lock);
		return 0;
	}
	if (arg->way == TEST_DMABUF_STALE)
		test_do_unmap(file, arg->map);
	mutex_unlock(&file->lock);
	ret = test_peek_way(map, &sg, arg);
	return min(ret, 0);
}

static long test_bench(struct test_file *file, struct test_dmabuf_bench *arg)
{
	struct dma_buf_attachment *attach = xa_load(&file->attaches, arg->attach);
	struct sg_table *sgt;
	ktime_t start;
	u32 i;

	if (!attach)
		return -ENOENT;
	start = ktime_get();
	for (i = 0; i < arg->rounds; i++) {
		sgt = dma_buf_map_attachment_unlocked(attach, DMA_BIDIRECTIONAL);
		if (IS_ERR(sgt))
			return PTR_ERR(sgt);
		dma_buf_unmap_attachment_unlocked(attach, sgt,
						  DMA_BIDIRECTIONAL);
	}
	arg->ns = ktime_to_ns(ktime_sub(ktime_get(), start));
	return 0;
}

/* As heaps clear what they give, 64 KiB at a time; the same over and over. */
#define TEST_CLEAR_ORDER	get_order(SZ_64K)

static long test_clear(struct test_dmabuf_clear *arg)
{
	struct page *page = alloc_pages(GFP_KERNEL, TEST_CLEAR_ORDER);
	ktime_t start;
	u64 nr, i;

	if (!page)
		return -ENOMEM;
	start = ktime_get();
	for (nr = 0; nr < arg->nr; nr += 1 << TEST_CLEAR_ORDER) {
		for (i = 0; i < 1 << TEST_CLEAR_ORDER; i++) {
			if (fatal_signal_pending(current))
				break;
			clear_highpage(nth_page(page, i));
			cond_resched();
		}
	}
	arg->ns = ktime_to_ns(ktime_sub(ktime_get(), start));
	__free_pages(page, TEST_CLEAR_ORDER);
	return 0;
}

#ifdef CONFIG_X86_64

/* In the direct map, and more than a processor without 5 levels can address */
#define TEST_BAD_BIT	BIT_ULL(44)

static u64 *test_entry_of(unsigned long at, unsigned int level)
{
	pgd_t *pgd = pgd_offset(current->mm, at);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, at);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, at);
	if (level == 3 || pud_none(*pud))
		return (u64 *)pud;
	pmd = pmd_offset(pud, at);
	if (level == 2 || pmd_none(*pmd))
		return (u64 *)pmd;
	return (u64 *)pte_offset_kernel(pmd, at);
}

static long test_corrupt(struct test_dmabuf_corrupt *arg)
{
	u64 *entry;

	if (arg->level < 1 || arg->level > 3 || arg->at >= TASK_SIZE)
		return -EINVAL;
	if (boot_cpu_data.x86_phys_bits > 44)
		return -EOPNOTSUPP;
	mmap_write_lock(current->mm);
	entry = test_entry_of(arg->at, arg->level);
	if (entry && arg->restore) {
		WRITE_ONCE(*entry, arg->saved);
	} else if (entry) {
		arg->saved = READ_ONCE(*entry);
		WRITE_ONCE(*entry, arg->saved | TEST_BAD_BIT);
	}
	mmap_write_unlock(current->mm);
	return entry ? 0 : -ENOENT;
}

#else

static long test_corrupt(struct test_dmabuf_corrupt *arg)
{
	return -EOPNOTSUPP;
}

#endif

static long test_device(struct test_dmabuf_device *arg)
{
	if (arg->device >= TEST_DMABUF_DEVICES)
		return -EINVAL;
	strscpy(arg->name, dev_name(test_devices[arg->device]));
	arg->iommu = !!iommu_get_domain_for_dev(test_devices[arg->device]);
	arg->special = IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL);
	return 0;
}

/* /dev/dmabuf_test */

union test_arg {
	struct test_dmabuf_corrupt corrupt;
	struct test_dmabuf_device device;
	struct test_dmabuf_export export;
	struct test_dmabuf_state state;
	struct test_dmabuf_attach attach;
	struct test_dmabuf_map map;
	struct test_dmabuf_entry entry;
	struct test_dmabuf_access access;
	struct test_dmabuf_peek peek;
	struct test_dmabuf_bench bench;
	struct test_dmabuf_clear clear;
	u32 id;
};

static void test_do_vunmap(struct test_file *file)
{
	if (!file->vmapped)
		return;
	dma_buf_vunmap_unlocked(file->vmapped, &file->vmap);
	dma_buf_put(file->vmapped);
	file->vmapped = NULL;
}

static long test_vmap(struct test_file *file, int fd)
{
	struct dma_buf *dmabuf;
	int ret;

	test_do_vunmap(file);
	if (fd == -1)
		return 0;
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = dma_buf_vmap_unlocked(dmabuf, &file->vmap);
	if (ret)
		dma_buf_put(dmabuf);
	else
		file->vmapped = dmabuf;
	return ret;
}

static long test_command(struct test_file *file, unsigned int cmd,
			 union test_arg *arg)
{
	switch (cmd) {
	case TEST_DMABUF_EXPORT:
		return test_export(&arg->export);
	case TEST_DMABUF_STATE:
		return test_state(&arg->state);
	case TEST_DMABUF_ATTACH:
		return test_do_attach(file, &arg->attach);
	case TEST_DMABUF_DETACH:
		return test_do_detach(file, arg->id);
	case TEST_DMABUF_MAP:
		return test_do_map(file, &arg->map);
	case TEST_DMABUF_UNMAP:
		return test_do_unmap(file, arg->id);
	case TEST_DMABUF_ENTRY:
		return test_entry(file, &arg->entry);
	case TEST_DMABUF_ACCESS:
		return test_access(file, &arg->access);
	case TEST_DMABUF_BENCH:
		return test_bench(file, &arg->bench);
	case TEST_DMABUF_CLEAR:
		return test_clear(&arg->clear);
	case TEST_DMABUF_CORRUPT:
		return test_corrupt(&arg->corrupt);
	case TEST_DMABUF_DEVICE:
		return test_device(&arg->device);
	case TEST_DMABUF_MAP_KERNEL:
		return test_vmap(file, arg->id);
	}
	return -ENOTTY;
}

static long test_ioctl(struct file *filp, unsigned int cmd, unsigned long uarg)
{
	struct test_file *file = filp->private_data;
	void __user *user = (void __user *)uarg;
	union test_arg arg = {};
	long ret;

	if (_IOC_TYPE(cmd) != 'D' || _IOC_SIZE(cmd) > sizeof(arg))
		return -ENOTTY;
	if (copy_from_user(&arg, user, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (cmd == TEST_DMABUF_PEEK)
		return test_peek(file, &arg.peek);
	mutex_lock(&file->lock);
	ret = test_command(file, cmd, &arg);
	mutex_unlock(&file->lock);
	if (!ret && _IOC_DIR(cmd) & _IOC_READ &&
	    copy_to_user(user, &arg, _IOC_SIZE(cmd)))
		ret = -EFAULT;
	return ret;
}

/* As an importer does that lets userspace map what it imported. */
static int test_file_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct test_file *file = filp->private_data;
	struct test_mapping *map = xa_load(&file->maps, vma->vm_pgoff / 2);
	struct page *page;

	if (!map || vma_pages(vma) != 1 || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	page = sg_page(map->sgt->sgl);
	if (vma->vm_pgoff % 2 == TEST_DMABUF_MMAP_PFN)
		return remap_pfn_range(vma, vma->vm_start, page_to_pfn(page),
				       PAGE_SIZE, vma->vm_page_prot);
	return vm_insert_page(vma, vma->vm_start, page);
}

static int test_open(struct inode *inode, struct file *filp)
{
	struct test_file *file = kzalloc(sizeof(*file), GFP_KERNEL);

	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	xa_init_flags(&file->attaches, XA_FLAGS_ALLOC1);
	xa_init_flags(&file->maps, XA_FLAGS_ALLOC1);
	filp->private_data = file;
	return 0;
}

static int test_file_release(struct inode *inode, struct file *filp)
{
	struct test_file *file = filp->private_data;
	struct dma_buf_attachment *attach;
	struct test_mapping *map;
	unsigned long i;

	test_do_vunmap(file);
	xa_for_each(&file->maps, i, map)
		test_do_unmap(file, i);
	xa_for_each(&file->attaches, i, attach)
		test_undo_attach(attach);
	xa_destroy(&file->maps);
	xa_destroy(&file->attaches);
	kfree(file);
	return 0;
}

static const struct file_operations test_fops = {
	.owner = THIS_MODULE,
	.open = test_open,
	.release = test_file_release,
	.unlocked_ioctl = test_ioctl,
	.mmap = test_file_mmap,
};

static struct miscdevice test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmabuf_test",
	.fops = &test_fops,
	.mode = 0600,
};

static int test_setup_dma(struct device *dev)
{
	dma_set_max_seg_size(dev, UINT_MAX);
	return dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
}

static int test_probe(struct platform_device *pdev)
{
	return test_setup_dma(&pdev->dev);
}

static struct platform_driver test_driver = {
	.probe = test_probe,
	.driver = { .name = "dmabuf_test" },
};

static struct platform_device *test_pretended[TEST_DMABUF_DEVICES];

static void test_remove_devices(void)
{
	int i;

	for (i = 0; i < TEST_DMABUF_DEVICES && test_pretended[i]; i++)
		platform_device_unregister(test_pretended[i]);
}

static int test_add_devices(void)
{
	struct platform_device *pdev;
	int i;

	for (i = 0; i < TEST_DMABUF_DEVICES; i++) {
		pdev = platform_device_register_simple("dmabuf_test", i, NULL,
						       0);
		if (IS_ERR(pdev)) {
			test_remove_devices();
			return PTR_ERR(pdev);
		}
		test_pretended[i] = pdev;
		test_devices[i] = &pdev->dev;
	}
	return 0;
}

#ifdef CONFIG_PCI

/*
 * Devices that nobody needs, behind whatever real ones are behind. Built in, the
 * driver is there before an IOMMU that they have to wait for.
 */
static const struct pci_device_id test_pci_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },	/* edu */
	{ PCI_DEVICE(0x1b36, 0x0005) },	/* pci-testdev */
	{}
};

static struct device *test_pci_devices[TEST_DMABUF_DEVICES];
static unsigned int test_nr_pci_devices;

static int test_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	if (test_nr_pci_devices == TEST_DMABUF_DEVICES)
		return -ENODEV;
	ret = test_setup_dma(&pdev->dev);
	if (ret)
		return ret;
	test_pci_devices[test_nr_pci_devices++] = &pdev->dev;
	if (test_nr_pci_devices == TEST_DMABUF_DEVICES)
		memcpy(test_devices, test_pci_devices, sizeof(test_devices));
	return 0;
}

static struct pci_driver test_pci_driver = {
	.name = "dmabuf_test",
	.id_table = test_pci_ids,
	.probe = test_pci_probe,
};

static int test_add_pci_devices(void)
{
	return pci_register_driver(&test_pci_driver);
}

static void test_remove_pci_devices(void)
{
	pci_unregister_driver(&test_pci_driver);
}

#else

static int test_add_pci_devices(void)
{
	return 0;
}

static void test_remove_pci_devices(void)
{
}

#endif

static int __init test_dmabuf_init(void)
{
	int ret = platform_driver_register(&test_driver);

	if (ret)
		return ret;
	ret = test_add_devices();
	if (ret)
		goto driver;
	ret = test_add_pci_devices();
	if (ret)
		goto devices;
	ret = misc_register(&test_misc);
	if (ret)
		goto pci_devices;
	return 0;

pci_devices:
	test_remove_pci_devices();
devices:
	test_remove_devices();
driver:
	platform_driver_unregister(&test_driver);
	return ret;
}
module_init(test_dmabuf_init);

static void __exit test_dmabuf_exit(void)
{
	misc_deregister(&test_misc);
	test_remove_pci_devices();
	test_remove_devices();
	platform_driver_unregister(&test_driver);
}
module_exit(test_dmabuf_exit);

MODULE_DESCRIPTION("Test exporter and importer of dma-bufs");
MODULE_IMPORT_NS(DMA_BUF);
MODULE_LICENSE("GPL");
