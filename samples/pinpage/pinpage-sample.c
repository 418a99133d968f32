// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest driver whose pinned pages move: write an address (u64) to
 * /dev/pinpage_sample and it pins 64 pages there; what it reads of them is read.
 */
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pinpage.h>
#include <linux/slab.h>
#include <linux/uio.h>

struct sample {
	struct mutex lock;		/* held by a transfer, and by a move */
	struct pinpage_set set;
	unsigned long nr;		/* pinned; 0 or all */
	struct page *pages[64];
};

static int sample_prepare(struct pinpage_set *set, struct pinpage_item *items, unsigned int nr,
			  enum migrate_mode mode)
{
	struct sample *s = container_of(set, struct sample, set);

	return mutex_trylock(&s->lock) ? 0 : -EAGAIN;
}

static void sample_complete(struct pinpage_set *set, struct pinpage_item *items, unsigned int nr)
{
	struct sample *s = container_of(set, struct sample, set);
	unsigned int i, j;

	for (i = 0; i < nr; i++)	/* new is NULL where a page stayed */
		for (j = 0; items[i].new && j < items[i].nr; j++)
			s->pages[items[i].index + j] = nth_page(items[i].new, j);
	mutex_unlock(&s->lock);
}

static const struct pinpage_ops sample_ops = {
	.prepare = sample_prepare, .complete = sample_complete,
};

static struct pinpage_system sample_system = {
	.name = "sample", .owner = THIS_MODULE, .ops = &sample_ops,
};

static int sample_open(struct inode *inode, struct file *file)
{
	struct sample *s = file->private_data = kzalloc(sizeof(*s), GFP_KERNEL);

	if (s)
		mutex_init(&s->lock);
	return s ? 0 : -ENOMEM;
}

static ssize_t sample_write(struct kiocb *iocb, struct iov_iter *from)
{
	struct sample *s = iocb->ki_filp->private_data;
	u64 addr;
	int ret;

	if (copy_from_iter(&addr, sizeof(addr), from) != sizeof(addr))
		return -EINVAL;
	guard(mutex)(&s->lock);
	ret = pinpage_pin_user(&sample_system, &s->set, addr, ARRAY_SIZE(s->pages), 0, 0, s->pages);
	s->nr = ret ? s->nr : ARRAY_SIZE(s->pages);
	return ret ?: sizeof(addr);
}

static int sample_release(struct inode *inode, struct file *file)
{
	struct sample *s = file->private_data;

	pinpage_unpin_user(&s->set, false);	/* waits for moves: not under the lock */
	kfree(s);
	return 0;
}

static ssize_t sample_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct sample *s = iocb->ki_filp->private_data;
	size_t at = offset_in_page(iocb->ki_pos), copied;

	guard(mutex)(&s->lock);
	if (iocb->ki_pos >> PAGE_SHIFT >= s->nr || !iov_iter_count(to))
		return 0;
	copied = copy_page_to_iter(s->pages[iocb->ki_pos >> PAGE_SHIFT], at, PAGE_SIZE - at, to);
	iocb->ki_pos += copied;
	return copied ?: -EFAULT;
}

static const struct file_operations sample_fops = {
	.owner = THIS_MODULE, .open = sample_open, .release = sample_release,
	.read_iter = sample_read, .write_iter = sample_write,
};

static struct miscdevice sample_misc = { MISC_DYNAMIC_MINOR, "pinpage_sample", &sample_fops };

static int __init sample_init(void)
{
	int ret = register_pinpage(&sample_system);

	if (!ret)
		ret = misc_register(&sample_misc);
	if (ret)
		unregister_pinpage(&sample_system);
	return ret;
}

static void __exit sample_exit(void)
{
	misc_deregister(&sample_misc);
	unregister_pinpage(&sample_system);
}

module_init(sample_init);
module_exit(sample_exit);
MODULE_DESCRIPTION("The smallest driver whose pinned pages move");
MODULE_LICENSE("GPL");
