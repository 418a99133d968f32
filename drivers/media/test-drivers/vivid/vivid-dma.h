/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _VIVID_DMA_H_
#define _VIVID_DMA_H_

struct vb2_buffer;
struct vivid_buffer;
struct vivid_dev;

int vivid_dma_buf_init(struct vb2_buffer *vb);
void vivid_dma_buf_cleanup(struct vb2_buffer *vb);
void vivid_dma_write(struct vivid_buffer *buf);
void vivid_dma_read(struct vivid_buffer *buf);
void *vivid_plane_vaddr(struct vivid_buffer *buf, unsigned int p);
void vivid_dma_free(struct vivid_dev *dev);

#endif
