/* SPDX-License-Identifier: GPL-2.0 */
/*
 * USERPTR buffers of videobuf2 whose pages move while the hardware has nothing
 * to do with them. For videobuf2 itself, not for drivers: those set
 * vb2_queue->userptr_may_move.
 */
#ifndef _MEDIA_VIDEOBUF2_PINPAGE_H
#define _MEDIA_VIDEOBUF2_PINPAGE_H

#include <linux/types.h>

struct device;
struct frame_vector;
struct sg_table;
struct vb2_buffer;
struct vb2_moves;

/**
 * struct vb2_hold - who has a buffer: those who use it, or those who move it
 * @holds: reasons why its pages must stay: the driver, an ioctl
 * @lasting: of @holds, those whose end is not near
 * @asked: sets of planes that are to be stopped when they can be
 * @stops: sets of planes that are stopped; then nobody holds it
 * @claims: tasks that wait to hold it
 * @prepared: one of @lasting is for what the driver has learned in buf_prepare()
 */
struct vb2_hold {
	unsigned int holds;
	unsigned int lasting;
	unsigned int asked;
	unsigned int stops;
	unsigned int claims;
	bool prepared;
};

#ifdef CONFIG_VIDEOBUF2_PINPAGE

int vb2_buffer_hold(struct vb2_buffer *vb);
void vb2_buffer_hold_more(struct vb2_buffer *vb);
void vb2_buffer_unhold(struct vb2_buffer *vb);
void vb2_buffer_forget(struct vb2_buffer *vb);
void vb2_buffer_set_prepared(struct vb2_buffer *vb, bool prepared);
struct frame_vector *vb2_moves_pin(struct vb2_buffer *vb, unsigned long start,
				   unsigned long length, bool write,
				   struct device *dev, bool contiguous,
				   struct vb2_moves **moves);
void vb2_moves_mapped(struct vb2_moves *moves, void *vaddr);
void vb2_moves_dma_mapped(struct vb2_moves *moves, struct sg_table *sgt);
bool vb2_moves_use(struct vb2_moves *moves);
bool vb2_moves_have_moved(struct vb2_moves *moves);
void vb2_moves_update_table(struct vb2_moves *moves);
void vb2_moves_end(struct vb2_moves *moves);
bool vb2_moves_dma_unmap(struct vb2_moves *moves);
void vb2_moves_free(struct vb2_moves *moves);

#else /* CONFIG_VIDEOBUF2_PINPAGE */

static inline int vb2_buffer_hold(struct vb2_buffer *vb)
{
	return 0;
}

static inline void vb2_buffer_hold_more(struct vb2_buffer *vb)
{
}

static inline void vb2_buffer_unhold(struct vb2_buffer *vb)
{
}

static inline void vb2_buffer_forget(struct vb2_buffer *vb)
{
}

/* A macro, since this header comes before struct vb2_buffer. */
#define vb2_buffer_set_prepared(vb, is) ((vb)->prepared = (is))

static inline struct frame_vector *
vb2_moves_pin(struct vb2_buffer *vb, unsigned long start, unsigned long length,
	      bool write, struct device *dev, bool contiguous,
	      struct vb2_moves **moves)
{
	return NULL;
}

static inline void vb2_moves_mapped(struct vb2_moves *moves, void *vaddr)
{
}

static inline void vb2_moves_dma_mapped(struct vb2_moves *moves,
					struct sg_table *sgt)
{
}

static inline bool vb2_moves_use(struct vb2_moves *moves)
{
	return true;
}

static inline bool vb2_moves_have_moved(struct vb2_moves *moves)
{
	return false;
}

static inline void vb2_moves_update_table(struct vb2_moves *moves)
{
}

static inline void vb2_moves_end(struct vb2_moves *moves)
{
}

static inline bool vb2_moves_dma_unmap(struct vb2_moves *moves)
{
	return false;
}

static inline void vb2_moves_free(struct vb2_moves *moves)
{
}

#endif /* CONFIG_VIDEOBUF2_PINPAGE */
#endif /* _MEDIA_VIDEOBUF2_PINPAGE_H */
