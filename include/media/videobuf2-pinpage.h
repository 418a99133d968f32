/* SPDX-License-Identifier: GPL-2.0 */
/*
 * USERPTR buffers of videobuf2 whose pages move while the hardware has nothing
 * to do with them. For videobuf2 itself, not for drivers.
 */
#ifndef _MEDIA_VIDEOBUF2_PINPAGE_H
#define _MEDIA_VIDEOBUF2_PINPAGE_H

#include <linux/list.h>
#include <linux/types.h>

struct frame_vector;
struct task_struct;
struct vb2_buffer;
struct vb2_moves;

/**
 * struct vb2_hold - who has a buffer: those who use it, or those who move it
 * @holds: reasons why its pages must stay: the driver, a callback of it
 * @stops: calls of prepare() without complete(); then nobody holds it
 * @waiters: movers that wait for @holds to become 0
 * @prepared: one of @holds is for what the driver has learned in buf_prepare()
 * @given: one of @stops is for the first of the waiters to see it
 * @vain: somebody has waited to the end, and no hold has ended since
 * @mover: the task that has stopped it
 * @stopped: entry in the list of all those with @stops
 */
struct vb2_hold {
	unsigned int holds;
	unsigned int stops;
	unsigned int waiters;
	bool prepared;
	bool given;
	bool vain;
	struct task_struct *mover;
	struct list_head stopped;
};

#ifdef CONFIG_VIDEOBUF2_PINPAGE

void vb2_buffer_hold(struct vb2_buffer *vb);
void vb2_buffer_unhold(struct vb2_buffer *vb);
void vb2_buffer_forget(struct vb2_buffer *vb);
void vb2_buffer_set_prepared(struct vb2_buffer *vb, bool prepared);
struct frame_vector *vb2_moves_pin(struct vb2_buffer *vb, unsigned long start,
				   unsigned long length, bool write,
				   void (*pause)(void *priv), void *priv,
				   struct vb2_moves **moves);
void vb2_moves_mapped(struct vb2_moves *moves, void *vaddr);
void vb2_moves_use(struct vb2_moves *moves);
void vb2_moves_end(struct vb2_moves *moves);
void vb2_moves_unpin(struct vb2_moves *moves);

#else /* CONFIG_VIDEOBUF2_PINPAGE */

static inline void vb2_buffer_hold(struct vb2_buffer *vb)
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
	      bool write, void (*pause)(void *priv), void *priv,
	      struct vb2_moves **moves)
{
	return NULL;
}

static inline void vb2_moves_mapped(struct vb2_moves *moves, void *vaddr)
{
}

static inline void vb2_moves_use(struct vb2_moves *moves)
{
}

static inline void vb2_moves_end(struct vb2_moves *moves)
{
}

static inline void vb2_moves_unpin(struct vb2_moves *moves)
{
}

#endif /* CONFIG_VIDEOBUF2_PINPAGE */
#endif /* _MEDIA_VIDEOBUF2_PINPAGE_H */
