// SPDX-License-Identifier: GPL-2.0
/*
 * A small driver whose pinned pages move: the first write to /dev/pinpage_sample is
 * an address (u64), and 64 pages there are pinned and mapped for a device. Later
 * writes are what the device writes to these pages, and reads what it reads there.
 */
#include <linux/cleanup.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pinpage.h>
#include <linux/pinpage_dma.h>
#include <linux/platform_device.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uio.h>

#define NR	64

struct sample {
	struct pinpage_set set;
	struct pinpage_gate gate;	/* entered for as long as the device is at work */
	struct pinpage_dma dma;
	struct mutex lock;		/* of pinned, and of who pins */
	bool pinned;
	struct mm_struct *mm;		/* where the pages are accounted */
	struct page *pages[NR];
};

static struct platform_device *sample_device;

static int sample_prepare(struct pinpage_set *set, struct pinpage_item *items, unsigned int nr)
{
	struct sample *s = container_of(set, struct sample, set);

	return pinpage_dma_prepare(&s->dma, items, nr) ?: pinpage_gate_close(&s->gate);
}

static void sample_complete(struct pinpage_set *set, struct pinpage_item *items, unsigned int nr)
{
	struct sample *s = container_of(set, struct sample, set);

	pinpage_repoint(s->pages, items, nr);
	pinpage_dma_complete(&s->dma, items, nr);
	pinpage_gate_open(&s->gate);
}

static const struct pinpage_ops sample_ops = {
	.prepare = sample_prepare, .complete = sample_complete,
};

static struct pinpage_system sample_system = {
	.name = "sample", .owner = THIS_MODULE, .ops = &sample_ops,
};

static int sample_pin(struct sample *s, u64 addr)
{
	struct device *dev = &sample_device->dev;
	int ret = account_locked_vm(current->mm, NR, true);

	if (ret)
		return ret;
	pinpage_gate_init(&s->gate, &s->set);
	pinpage_dma_limit(&s->set, dev);
	ret = pinpage_pin_user(&sample_system, &s->set, addr, NR, FOLL_WRITE, 0, s->pages);
	if (ret)
		goto unaccount;
	ret = pinpage_dma_map(&s->dma, dev, s->pages, NR, DMA_BIDIRECTIONAL);
	if (ret)
		goto unpin;
	mmgrab(current->mm);
	s->mm = current->mm;
	s->pinned = true;
	return 0;
unpin:
	pinpage_unpin_user(&s->set, false);
unaccount:
	account_locked_vm(current->mm, NR, false);
	return ret;
}

static void sample_unpin(struct sample *s)
{
	clear_pinpage(&s->set, NULL);	/* from here on they stay where they are */
	pinpage_dma_unmap(&s->dma);
	unpin_user_pages_dirty_lock(s->pages, NR, true);
	account_locked_vm(s->mm, NR, false);
	mmdrop(s->mm);
}

/* What the hardware would do: it knows nothing but the address. */
static void sample_hardware(dma_addr_t addr, void *data, size_t len, bool write)
{
	void *memory = phys_to_virt(dma_to_phys(&sample_device->dev, addr));

	if (write)
		memcpy(memory, data, len);
	else
		memcpy(data, memory, len);
}

static int sample_transfer(struct sample *s, loff_t pos, void *data, size_t len, bool write)
{
	struct device *dev = &sample_device->dev;
	size_t at = offset_in_page(pos);
	int ret = pinpage_gate_enter_wait(&s->gate, TASK_INTERRUPTIBLE);
	dma_addr_t addr;

	if (ret)
		return ret;
	addr = s->dma.addr[pos >> PAGE_SHIFT];
	dma_sync_single_range_for_device(dev, addr, at, len, DMA_BIDIRECTIONAL);
	sample_hardware(addr + at, data, len, write);
	/* Before the gate is left: the next to read may be a move. */
	dma_sync_single_range_for_cpu(dev, addr, at, len, DMA_BIDIRECTIONAL);
	pinpage_gate_leave(&s->gate);
	return 0;
}

static bool sample_pinned(struct sample *s)
{
	guard(mutex)(&s->lock);
	return s->pinned;
}

/* Up to the end of a page; what may fault is done outside of the gate. */
static ssize_t sample_iter(struct kiocb *iocb, struct iov_iter *iter, bool write)
{
	struct sample *s = iocb->ki_filp->private_data;
	size_t len = min(iov_iter_count(iter), PAGE_SIZE - offset_in_page(iocb->ki_pos));
	int ret;

	void *data __free(kfree) = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	if (!len || iocb->ki_pos >> PAGE_SHIFT >= NR || !sample_pinned(s))
		return 0;
	if (write && copy_from_iter(data, len, iter) != len)
		return -EFAULT;
	ret = sample_transfer(s, iocb->ki_pos, data, len, write);
	if (ret)
		return ret;
	if (!write && copy_to_iter(data, len, iter) != len)
		return -EFAULT;
	iocb->ki_pos += len;
	return len;
}

static ssize_t sample_read(struct kiocb *iocb, struct iov_iter *to)
{
	return sample_iter(iocb, to, false);
}

static ssize_t sample_write(struct kiocb *iocb, struct iov_iter *from)
{
	struct sample *s = iocb->ki_filp->private_data;
	u64 addr;

	if (sample_pinned(s))
		return sample_iter(iocb, from, true) ?: -ENOSPC;
	if (copy_from_iter(&addr, sizeof(addr), from) != sizeof(addr))
		return -EINVAL;
	guard(mutex)(&s->lock);
	return (s->pinned ? -EBUSY : sample_pin(s, addr)) ?: sizeof(addr);
}

static int sample_open(struct inode *inode, struct file *file)
{
	struct sample *s = file->private_data = kzalloc(sizeof(*s), GFP_KERNEL);

	if (s)
		mutex_init(&s->lock);
	return s ? 0 : -ENOMEM;
}

static int sample_release(struct inode *inode, struct file *file)
{
	struct sample *s = file->private_data;

	if (s->pinned)
		sample_unpin(s);
	kfree(s);
	return 0;
}

static const struct file_operations sample_fops = {
	.owner = THIS_MODULE, .open = sample_open, .release = sample_release,
	.read_iter = sample_read, .write_iter = sample_write,
};

static struct miscdevice sample_misc = { MISC_DYNAMIC_MINOR, "pinpage_sample", &sample_fops };

static int __init sample_init(void)
{
	int ret = register_pinpage(&sample_system);

	if (ret)
		return ret;
	sample_device = platform_device_register_simple("pinpage_sample", -1, NULL, 0);
	ret = PTR_ERR_OR_ZERO(sample_device);
	if (ret)
		goto system;
	ret = dma_set_mask_and_coherent(&sample_device->dev, DMA_BIT_MASK(64));
	if (!ret)
		ret = misc_register(&sample_misc);
	if (!ret)
		return 0;
	platform_device_unregister(sample_device);
system:
	unregister_pinpage(&sample_system);
	return ret;
}

static void __exit sample_exit(void)
{
	misc_deregister(&sample_misc);
	platform_device_unregister(sample_device);
	unregister_pinpage(&sample_system);
}

module_init(sample_init);
module_exit(sample_exit);
MODULE_DESCRIPTION("A small driver whose pinned pages move");
MODULE_LICENSE("GPL");
