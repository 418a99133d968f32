/* SPDX-License-Identifier: GPL-2.0 */
/* A udmabuf, and how it lets its folios move. */
#ifndef _UDMABUF_H
#define _UDMABUF_H

#include <linux/dma-buf.h>
#include <linux/dma-direction.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/pinpage.h>
#include <linux/types.h>

struct miscdevice;
struct sg_table;
struct udmabuf_moves;

/**
 * struct udmabuf - a dma-buf of the pages of memfds
 * @pagecount: pages
 * @folios: the folio of each page
 * @sg: for CPU access, of a udmabuf whose folios stay; NULL if there was none
 * @sg_dir: direction of @sg
 * @device: the misc device, for which @sg is mapped
 * @offsets: where in its folio each page is, in bytes
 * @unpin_list: the folios that are pinned, &struct udmabuf_folio
 * @moves: what it takes to let folios move; NULL: they stay
 *
 * With @moves, @folios may be read between udmabuf_enter() and udmabuf_leave().
 */
struct udmabuf {
	pgoff_t pagecount;
	struct folio **folios;
	struct sg_table *sg;
	enum dma_data_direction sg_dir;
	struct miscdevice *device;
	pgoff_t *offsets;
	struct list_head unpin_list;
	struct udmabuf_moves *moves;
};

extern const struct dma_buf_ops udmabuf_ops;

struct sg_table *udmabuf_get_sg(struct device *dev, struct dma_buf *buf,
				enum dma_data_direction direction);
void udmabuf_put_sg(struct device *dev, struct sg_table *sg,
		    enum dma_data_direction direction);

#ifdef CONFIG_UDMABUF_PINPAGE
extern const struct dma_buf_ops udmabuf_movable_ops;

int udmabuf_moves_init(struct udmabuf *ubuf, unsigned int max_ranges);
void udmabuf_moves_add(struct udmabuf *ubuf, pgoff_t first);
int udmabuf_moves_start(struct udmabuf *ubuf, struct dma_buf *buf);
void udmabuf_moves_stop(struct udmabuf *ubuf);
bool udmabuf_enter(struct udmabuf *ubuf);
void udmabuf_leave(struct udmabuf *ubuf);
vm_fault_t udmabuf_wait_in_fault(struct udmabuf *ubuf, struct vm_fault *vmf);

static inline const struct dma_buf_ops *udmabuf_ops_of(struct udmabuf *ubuf)
{
	return ubuf->moves ? &udmabuf_movable_ops : &udmabuf_ops;
}

static inline long udmabuf_pin_memfd(struct udmabuf *ubuf, struct file *memfd,
				     loff_t start, loff_t end,
				     struct folio **folios, unsigned int max,
				     pgoff_t *offset)
{
	if (ubuf->moves)
		return pinpage_pin_memfd(memfd, start, end, folios, max, offset);
	return memfd_pin_folios(memfd, start, end, folios, max, offset);
}
#else
static inline int udmabuf_moves_init(struct udmabuf *ubuf,
				     unsigned int max_ranges)
{
	return 0;
}

static inline void udmabuf_moves_add(struct udmabuf *ubuf, pgoff_t first)
{
}

static inline int udmabuf_moves_start(struct udmabuf *ubuf, struct dma_buf *buf)
{
	return 0;
}

static inline void udmabuf_moves_stop(struct udmabuf *ubuf)
{
}

static inline bool udmabuf_enter(struct udmabuf *ubuf)
{
	return true;
}

static inline void udmabuf_leave(struct udmabuf *ubuf)
{
}

static inline vm_fault_t udmabuf_wait_in_fault(struct udmabuf *ubuf,
					       struct vm_fault *vmf)
{
	return VM_FAULT_NOPAGE;
}

static inline const struct dma_buf_ops *udmabuf_ops_of(struct udmabuf *ubuf)
{
	return &udmabuf_ops;
}

static inline long udmabuf_pin_memfd(struct udmabuf *ubuf, struct file *memfd,
				     loff_t start, loff_t end,
				     struct folio **folios, unsigned int max,
				     pgoff_t *offset)
{
	return memfd_pin_folios(memfd, start, end, folios, max, offset);
}
#endif

#endif /* _UDMABUF_H */
