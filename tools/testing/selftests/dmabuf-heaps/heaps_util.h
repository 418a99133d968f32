/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of heaps share. Functions return a negative errno. */
#ifndef _HEAPS_UTIL_H
#define _HEAPS_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../dma-buf/dmabuf_util.h"

#define MAX_HEAPS	32
#define NAME_MAX_HEAP	256

struct heap {
	char name[NAME_MAX_HEAP];
	size_t chunk;		/* 0: not of chunks */
};

/* All heaps, or those of chunks only; how many there are. */
int find_heaps(struct heap *heaps, bool chunks_only);

/* These give an fd. */
int heap_open(const struct heap *heap);
int heap_alloc(const struct heap *heap, size_t size);
size_t buf_size(int fd);
void *buf_mmap(int fd, size_t size);

/* /proc/self/smaps of what is mapped at @at, in bytes. */
struct usage {
	size_t rss, pss;
};

struct usage mapping_usage(const void *at);
size_t process_rss(void);

/* KiB that a line of a file in /proc has, "FIELD: KIB kB"; -1 */
long proc_kib(const char *path, const char *field);

/* Pages that CMA areas have given out, in all. -ENOENT: not to be seen. */
int64_t cma_used(void);

/*
 * Let allocations of this process fail, one in @one_in; 0: none any more.
 * -ENOENT where the kernel can't.
 */
int fail_allocations(unsigned int one_in);

/* A word on the kernel command line; NULL if it's not there (any more) */
const char *cmdline_next(const char *name, const char *after, char *value, size_t len);
/* How many lines of the kernel log have this in them. -ENODATA: it has lost some. */
int count_log(const char *text);

#endif
