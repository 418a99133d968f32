/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who stands in the way of contiguous memory: what keeps a page where it is,
 * for messages, debugfs, and for those who choose a range to empty. An answer is
 * a snapshot, and may be wrong the moment after.
 */
#ifndef _MM_BLAME_H
#define _MM_BLAME_H

#include <linux/types.h>

struct page;
struct folio;

/* In the order in which they count, where several are true. */
enum page_blame {
	PAGE_BLAME_NONE,	/* free, or nothing seen that would keep it */
	PAGE_BLAME_REGISTERED,	/* pinned; its owners can be asked */
	PAGE_BLAME_LOCKED,	/* someone works on it */
	PAGE_BLAME_WRITEBACK,	/* on its way to a disk */
	PAGE_BLAME_REFUSED,	/* as registered, but an owner refused last time */
	PAGE_BLAME_REFERENCED,	/* by someone who may let go soon, or not */
	PAGE_BLAME_PINNED,	/* FOLL_PIN of someone who can't be asked */
	PAGE_BLAME_UNMOVABLE,	/* of the kernel, or never to be moved */
	NR_PAGE_BLAMES,
};

extern const char * const page_blame_names[NR_PAGE_BLAMES];

/* The systems of pinpage that are told apart in a summary. */
#define BLAME_OWNERS	4
#define BLAME_NAME	24

/**
 * struct blame - what is in the way in a range
 * @pages: pages by what keeps them
 * @owners: pages registered by each system, of those that were met first
 * @nr_owners: how many of @owners are in use
 */
struct blame {
	unsigned long pages[NR_PAGE_BLAMES];
	struct {
		char name[BLAME_NAME];
		unsigned long pages;
	} owners[BLAME_OWNERS];
	unsigned int nr_owners;
};

/* A summary as text: a number and a word or two for each kind of obstacle. */
#define BLAME_TEXT	256
/* And the page that was in the way last */
#define LAST_TEXT	64

enum page_blame page_blame(struct page *page, unsigned long *nr);
void blame_range(unsigned long start, unsigned long end, struct blame *blame);
void blame_text(const struct blame *blame, char *text, size_t size);

#endif /* _MM_BLAME_H */
