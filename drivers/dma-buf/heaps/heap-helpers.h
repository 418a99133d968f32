/* SPDX-License-Identifier: GPL-2.0 */
/* What the heaps whose buffers are ordinary memory share */
#ifndef _HEAP_HELPERS_H
#define _HEAP_HELPERS_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/types.h>

struct dma_buf;
struct dma_heap;
struct obj_cgroup;

/**
 * struct heap_buffer - a buffer of a heap
 * @sg_table: its memory: whole pages, set by the heap and not altered afterwards
 * @len: bytes in it, whole pages
 * @priv: the heap's
 * @free: give back the memory, and then the buffer by heap_buffer_free(); called
 *	when nobody uses it any more, may sleep
 */
struct heap_buffer {
	struct sg_table sg_table;
	unsigned long len;
	void *priv;
	void (*free)(struct heap_buffer *buffer);

	/* private: of heap-helpers.c */
	struct mutex lock;		/* of all that follows */
	struct list_head mappings;	/* for devices */
	struct page **pages;		/* once it is needed */
	unsigned int vmap_cnt;
	void *vaddr;
	bool accounts;			/* whoever uses memory for it pays */
	struct obj_cgroup *objcg;	/* for the buffer; NULL: nobody */
	unsigned long charged;		/* bytes */
};

struct heap_buffer *heap_buffer_alloc(unsigned long len,
				      void (*free)(struct heap_buffer *buffer));
int heap_buffer_table(struct heap_buffer *buffer, unsigned long nents);
void heap_buffer_free(struct heap_buffer *buffer);
struct dma_buf *heap_buffer_export(struct heap_buffer *buffer,
				   struct dma_heap *heap, u32 fd_flags);

int heap_zero_pages(struct page *page, unsigned long nr);

#endif /* _HEAP_HELPERS_H */
