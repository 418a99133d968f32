/* SPDX-License-Identifier: GPL-2.0 */
/* What the dma-buf selftests share. Functions return a negative errno. */
#ifndef _DMABUF_UTIL_H
#define _DMABUF_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lib/test_dmabuf_uapi.h>

/* Emulated machines with all debugging are slow. */
#define TEST_SECONDS	600

/* enum dma_data_direction, which is not exported */
#define DMA_BIDIRECTIONAL	0
#define DMA_TO_DEVICE		1
#define DMA_FROM_DEVICE		2

size_t page_size(void);
int write_text(const char *path, const char *text);
/* Without the newline; "" if there is no such file. */
const char *read_text(const char *path, char *buf, size_t len);

/* The switch: 1, 0, or -ENOENT if there is none. */
int debug_get(void);
int debug_set(bool on);

/* Booted so that all DMA goes through bounce buffers? */
bool dma_bounces(void);

/* Has device 0 of the test driver an IOMMU, and so addresses of its own? */
bool behind_iommu(int dev);

/* The test driver; -1 with a reason to skip. */
int device_open(char *why, size_t len);

/* These give an fd. */
int buf_export(int dev, unsigned int segments, unsigned int pages,
	       unsigned int flags);
int buf_heap(const char *heap, size_t size);
int buf_udmabuf(size_t size);

/* These give an id. */
int buf_attach(int dev, int fd, unsigned int device, unsigned int flags);
int buf_map(int dev, int attach, unsigned int direction);

int buf_detach(int dev, int attach);
int buf_unmap(int dev, int map);
int buf_entry(int dev, int map, unsigned int index,
	      struct test_dmabuf_entry *entry);
/* 1: both mappings have the same table. */
int buf_same_table(int dev, int map, int other);
int buf_state(int dev, int fd, struct test_dmabuf_state *state);
/* The device reads or writes all of a mapping. */
int buf_read(int dev, int map, void *data, size_t len);
int buf_write(int dev, int map, const void *data, size_t len);
int buf_sync(int fd, uint64_t flags);

/* A pattern of one's own for each seed, different in each byte of a page. */
void fill(void *data, size_t len, unsigned int seed);
size_t count_wrong(const void *data, size_t len, unsigned int seed);

#endif
