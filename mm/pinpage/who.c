// SPDX-License-Identifier: GPL-2.0
/*
 * Whose pages are these? debugfs pinpage/who: for a range of pfns, or a CMA
 * area, each page that something keeps where it is, what that is, and who.
 */
#include <linux/cma.h>
#include <linux/debugfs.h>
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "../blame.h"
#include "internal.h"

/* What the owners of @folio hold together. */
void __pinpage_count_refs(struct folio *folio, struct pinpage_refs *pins)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;

	pinpage_index_lock(&bucket, folio);
	for (slot = first_slot(&bucket); slot; slot = next_slot(slot, &bucket)) {
		pins->slots++;
		pins->refs += slot_refs(slot, folio);
		pins->kernel |= !!(slot_set(slot)->flags & PINPAGE_KERNEL);
		pins->refused |= !!READ_ONCE(slot_set(slot)->vain);
	}
	pinpage_index_unlock(&bucket);
}

/* The @n-th slot in the folio of @bucket, which is locked. */
static struct pinpage_slot *nth_slot(struct pinpage_bucket *bucket,
				     unsigned int n)
{
	struct pinpage_slot *slot = first_slot(bucket);

	while (slot && n--)
		slot = next_slot(slot, bucket);
	return slot;
}

bool __pinpage_owner_name(struct folio *folio, unsigned int n, char *name,
			  size_t size)
{
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;

	pinpage_index_lock(&bucket, folio);
	slot = nth_slot(&bucket, n);
	if (slot)
		strscpy(name, slot_set(slot)->system->name, size);
	pinpage_index_unlock(&bucket);
	return slot;
}

/*
 * The set of the @n-th slot in @folio, which can't leave until it is put: NULL
 * where there are not so many, an error where it is leaving.
 */
static struct pinpage_set *get_owner(struct folio *folio, unsigned int n,
				     bool *refused)
{
	struct pinpage_set *set = NULL;
	struct pinpage_bucket bucket;
	struct pinpage_slot *slot;

	pinpage_index_lock(&bucket, folio);
	slot = nth_slot(&bucket, n);
	if (slot) {
		set = slot_set(slot);
		*refused = READ_ONCE(set->vain);
		if (!pinpage_set_get(set))
			set = ERR_PTR(-EBUSY);
	}
	pinpage_index_unlock(&bucket);
	return set;
}

struct who {
	unsigned long start, end;	/* pfns; nothing was asked for: 0, 0 */
	unsigned long nr;		/* pages that the last show() was about */
};

/* What was asked for last, by anyone: echo and cat are two files. */
static struct who last_who;
static DEFINE_MUTEX(last_who_lock);

static void show_line(struct seq_file *m, unsigned long pfn, unsigned long nr,
		      enum page_blame what, const char *owner)
{
	seq_printf(m, "%#lx %lu %s %s", pfn, nr, page_blame_names[what], owner);
}

static void show_owner(struct seq_file *m, struct pinpage_set *set)
{
	const struct pinpage_ops *ops = set->system->ops;

	if (!ops->show)
		return;
	seq_putc(m, ' ');
	pinpage_callback_enter();
	ops->show(m, set);
	pinpage_callback_exit();
}

/* One line for each owner; false: it has none. */
static bool show_owners(struct seq_file *m, struct page *page,
			unsigned long nr, enum page_blame what)
{
	struct folio *folio = page_folio(page);
	struct pinpage_set *set;
	enum page_blame its;
	unsigned int n = 0;
	bool refused;

	if (!pinpage_folio(folio))
		return false;
	while ((set = get_owner(folio, n, &refused))) {
		n++;
		if (IS_ERR(set))
			continue;
		/* Where one of several has refused, the others have not. */
		its = what == PAGE_BLAME_REFUSED && !refused ?
		      PAGE_BLAME_REGISTERED : what;
		show_line(m, page_to_pfn(page), nr, its, set->system->name);
		show_owner(m, set);
		seq_putc(m, '\n');
		pinpage_set_put(set);
	}
	return n;
}

static int who_show(struct seq_file *m, void *v)
{
	struct who *who = m->private;
	unsigned long pfn = (unsigned long)v - 1;
	enum page_blame what;
	struct page *page;

	who->nr = 1;
	page = pfn_to_online_page(pfn);
	if (!page)
		return 0;
	what = page_blame(page, &who->nr);
	who->nr = min(who->nr, who->end - pfn);
	if (what == PAGE_BLAME_NONE || show_owners(m, page, who->nr, what))
		return 0;
	show_line(m, pfn, who->nr, what, "-");
	seq_putc(m, '\n');
	return 0;
}

/* A position is a pfn, counted from the start; the element is that pfn + 1. */
static void *who_at(struct who *who, loff_t *pos)
{
	if (*pos >= who->end - who->start)
		return NULL;
	return (void *)(who->start + (unsigned long)*pos + 1);
}

static void *who_start(struct seq_file *m, loff_t *pos)
{
	struct who *who = m->private;

	if (*pos < who->end - who->start)
		pinpage_index_range(who->start + *pos, who->end, GFP_KERNEL);
	return who_at(who, pos);
}

static void *who_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct who *who = m->private;

	*pos += who->nr;
	cond_resched();
	return fatal_signal_pending(current) ? NULL : who_at(who, pos);
}

static void who_stop(struct seq_file *m, void *v)
{
}

static const struct seq_operations who_seq_ops = {
	.start	= who_start,
	.next	= who_next,
	.stop	= who_stop,
	.show	= who_show,
};

static int who_open(struct inode *inode, struct file *file)
{
	struct who *who = __seq_open_private(file, &who_seq_ops, sizeof(*who));

	if (!who)
		return -ENOMEM;
	mutex_lock(&last_who_lock);
	*who = last_who;
	mutex_unlock(&last_who_lock);
	return 0;
}

#ifdef CONFIG_CMA
struct find_area {
	const char *name;
	struct who *who;
};

static int is_area(struct cma *cma, void *data)
{
	struct find_area *find = data;

	if (strcmp(cma_get_name(cma), find->name))
		return 0;
	find->who->start = PHYS_PFN(cma_get_base(cma));
	find->who->end = find->who->start + (cma_get_size(cma) >> PAGE_SHIFT);
	return 1;
}

static int who_area(const char *name, struct who *who)
{
	struct find_area find = { .name = name, .who = who };

	return cma_for_each_area(is_area, &find) ? 0 : -ENOENT;
}
#else
static int who_area(const char *name, struct who *who)
{
	return -ENOENT;
}
#endif

static int parse_who(char *text, struct who *who)
{
	char *first = strsep(&text, " \t");
	int err;

	text = text ? skip_spaces(text) : NULL;
	if (!text || !*text)
		return -EINVAL;
	if (!strcmp(first, "cma"))
		return who_area(text, who);
	err = kstrtoul(first, 0, &who->start) ?: kstrtoul(text, 0, &who->end);
	if (err)
		return err;
	if (who->start >= who->end)
		return -EINVAL;
	return 0;
}

/* "START END", pfns, or "cma NAME". */
static ssize_t who_write(struct file *file, const char __user *buf,
			 size_t count, loff_t *ppos)
{
	struct seq_file *m = file->private_data;
	struct who who = {}, *own = m->private;
	char text[96];
	int err;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	text[count] = 0;
	err = parse_who(strim(text), &who);
	if (err)
		return err;
	mutex_lock(&m->lock);
	*own = who;
	mutex_unlock(&m->lock);
	mutex_lock(&last_who_lock);
	last_who = who;
	mutex_unlock(&last_who_lock);
	return count;
}

static const struct file_operations who_fops = {
	.owner		= THIS_MODULE,
	.open		= who_open,
	.read		= seq_read,
	.write		= who_write,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};

/* The directory is there already: stat.o is linked first. */
static int __init pinpage_who_init(void)
{
	struct dentry *dir = debugfs_lookup("pinpage", NULL);

	/* Or not, without debugfs. */
	if (IS_ERR_OR_NULL(dir))
		return 0;
	debugfs_create_file("who", 0600, dir, NULL, &who_fops);
	dput(dir);
	return 0;
}
late_initcall(pinpage_who_init);
