/* SPDX-License-Identifier: GPL-2.0 */
/* Which CMA areas heaps are for: what the heaps that have some share */
#ifndef _HEAP_AREA_H
#define _HEAP_AREA_H

#include <linux/init.h>

struct cma;
struct device_node;

/* How often a heap's parameter can be given. */
#define HEAP_PARAMETERS	16

struct cma *heap_area_by_name(const char *name) __init;
struct cma *heap_area_of_node(struct device_node *node) __init;
int heap_area_short_name(const char *region) __init;

#endif /* _HEAP_AREA_H */
