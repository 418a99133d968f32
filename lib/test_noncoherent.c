// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/noncoherent_test makes devices of a coherent machine behave as if they
 * were not: what the CPU sees of a page is the page, as if all of it were in a
 * cache, and what devices see is another page, its memory. Nothing gets from one
 * to the other but by the functions of the DMA API, and each page that has never
 * been written back has some old content in memory. All devices look at the same
 * memory, as they do on a real machine, and not with bounce buffers.
 *
 * A mapping is of a page or less: that is what udmabuf and pinpage_dma_map() do.
 */
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "test_noncoherent_uapi.h"

#define STALE_BYTE	0xdb
#define MAX_DEVICES	4

/* By pfn of the page: the page that is its memory, whose private is that pfn. */
static DEFINE_XARRAY_FLAGS(test_memory, XA_FLAGS_LOCK_IRQ);
static DEFINE_MUTEX(test_lock);		/* protects what follows */
static struct device *test_devices[MAX_DEVICES];
static unsigned int test_nr_devices;
static bool test_is_open;

static struct page *memory_of(struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	struct page *memory = xa_load(&test_memory, pfn), *other;
	unsigned long flags;

	if (memory)
		return memory;
	memory = alloc_page(GFP_ATOMIC);
	if (!memory)
		return NULL;
	memset(page_address(memory), STALE_BYTE, PAGE_SIZE);
	set_page_private(memory, pfn);
	xa_lock_irqsave(&test_memory, flags);
	other = __xa_cmpxchg(&test_memory, pfn, NULL, memory, GFP_ATOMIC);
	xa_unlock_irqrestore(&test_memory, flags);
	if (!other)
		return memory;
	__free_page(memory);
	return xa_is_err(other) ? NULL : other;
}

/* NULL: mapped before the device was one of ours. */
static struct page *cached_page(struct page *memory)
{
	unsigned long pfn = page_private(memory);

	return xa_load(&test_memory, pfn) == memory ? pfn_to_page(pfn) : NULL;
}

static void test_sync(struct device *dev, dma_addr_t addr, size_t size,
		      bool to_device)
{
	phys_addr_t phys = dma_to_phys(dev, addr);
	struct page *cached = cached_page(pfn_to_page(PHYS_PFN(phys)));
	size_t at = offset_in_page(phys);

	if (!cached || WARN_ON_ONCE(at + size > PAGE_SIZE))
		return;
	if (to_device)
		memcpy(phys_to_virt(phys), page_address(cached) + at, size);
	else
		memcpy(page_address(cached) + at, phys_to_virt(phys), size);
}

static void test_sync_for_cpu(struct device *dev, dma_addr_t addr, size_t size,
			      enum dma_data_direction dir)
{
	if (dir != DMA_TO_DEVICE)
		test_sync(dev, addr, size, false);
}

static void test_sync_for_device(struct device *dev, dma_addr_t addr,
				 size_t size, enum dma_data_direction dir)
{
	test_sync(dev, addr, size, true);
}

static void test_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl,
				 int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		test_sync_for_cpu(dev, sg_dma_address(sg), sg->length, dir);
}

static void test_sync_sg_for_device(struct device *dev, struct scatterlist *sgl,
				    int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		test_sync_for_device(dev, sg_dma_address(sg), sg->length, dir);
}

static dma_addr_t test_map_page(struct device *dev, struct page *page,
				unsigned long offset, size_t size,
				enum dma_data_direction dir,
				unsigned long attrs)
{
	struct page *memory;
	dma_addr_t addr;

	page = nth_page(page, offset >> PAGE_SHIFT);
	offset = offset_in_page(offset);
	memory = memory_of(page);
	if (WARN_ON_ONCE(offset + size > PAGE_SIZE) || !memory)
		return DMA_MAPPING_ERROR;
	addr = phys_to_dma(dev, page_to_phys(memory) + offset);
	if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		test_sync_for_device(dev, addr, size, dir);
	return addr;
}

static void test_unmap_page(struct device *dev, dma_addr_t addr, size_t size,
			    enum dma_data_direction dir, unsigned long attrs)
{
	if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		test_sync_for_cpu(dev, addr, size, dir);
}

static void test_unmap_sg(struct device *dev, struct scatterlist *sgl,
			  int nents, enum dma_data_direction dir,
			  unsigned long attrs)
{
	if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		test_sync_sg_for_cpu(dev, sgl, nents, dir);
}

static int test_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
		       enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) {
		sg_dma_address(sg) = test_map_page(dev, sg_page(sg), sg->offset,
						   sg->length, dir, attrs);
		if (sg_dma_address(sg) == DMA_MAPPING_ERROR)
			return -ENOMEM;
		sg_dma_len(sg) = sg->length;
	}
	return nents;
}

static const struct dma_map_ops test_dma_ops = {
	.map_page = test_map_page,
	.unmap_page = test_unmap_page,
	.map_sg = test_map_sg,
	.unmap_sg = test_unmap_sg,
	.sync_single_for_cpu = test_sync_for_cpu,
	.sync_single_for_device = test_sync_for_device,
	.sync_sg_for_cpu = test_sync_sg_for_cpu,
	.sync_sg_for_device = test_sync_sg_for_device,
};

/* The mask again, which is when the DMA API looks whether there is a need to sync. */
static int test_set_ops(struct device *dev, const struct dma_map_ops *ops)
{
	set_dma_ops(dev, ops);
	return dma_set_mask_and_coherent(dev, dma_get_mask(dev));
}

/* /dev/noncoherent_test */

static struct miscdevice test_misc;

/* A driver may have a misc device and, of the same name, one for DMA. */
static struct device *test_find(const char *name)
{
	struct device *dev;

	dev = class_find_device_by_name(test_misc.this_device->class, name);
	if (dev && dev->dma_mask)
		return dev;
	put_device(dev);
	return bus_find_device_by_name(&platform_bus_type, NULL, name);
}

static long test_add(const char *name)
{
	struct device *dev;
	int ret = -EBUSY;

	if (test_nr_devices == MAX_DEVICES)
		return -ENOSPC;
	dev = test_find(name);
	if (!dev)
		return -ENODEV;
	if (dev->dma_mask && !get_dma_ops(dev))
		ret = test_set_ops(dev, &test_dma_ops);
	if (ret)
		put_device(dev);
	else
		test_devices[test_nr_devices++] = dev;
	return ret;
}

static long test_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct test_noncoherent_device device;

	if (cmd != TEST_NONCOHERENT_DEVICE)
		return -ENOTTY;
	if (copy_from_user(&device, (void __user *)arg, sizeof(device)))
		return -EFAULT;
	device.name[sizeof(device.name) - 1] = 0;
	guard(mutex)(&test_lock);
	return test_add(device.name);
}

static int test_open(struct inode *inode, struct file *filp)
{
	guard(mutex)(&test_lock);
	if (test_is_open)
		return -EBUSY;
	test_is_open = true;
	return 0;
}

static void test_forget_memory(void)
{
	struct page *memory;
	unsigned long pfn;

	xa_for_each(&test_memory, pfn, memory)
		__free_page(memory);
	xa_destroy(&test_memory);
}

/* Whoever has a mapping by then has what it leads to taken away. */
static int test_release(struct inode *inode, struct file *filp)
{
	struct device *dev;

	guard(mutex)(&test_lock);
	while (test_nr_devices) {
		dev = test_devices[--test_nr_devices];
		test_set_ops(dev, NULL);
		put_device(dev);
	}
	test_forget_memory();
	test_is_open = false;
	return 0;
}

static const struct file_operations test_fops = {
	.owner = THIS_MODULE,
	.open = test_open,
	.release = test_release,
	.unlocked_ioctl = test_ioctl,
};

static struct miscdevice test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "noncoherent_test",
	.fops = &test_fops,
	.mode = 0600,
};
module_misc_device(test_misc);

MODULE_DESCRIPTION("Makes devices behave as if they were not coherent");
MODULE_LICENSE("GPL");
