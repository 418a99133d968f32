// SPDX-License-Identifier: GPL-2.0
/* The CMA areas that heaps are for, as the device tree or a parameter says it. */
#include <linux/cma.h>
#include <linux/of.h>
#include <linux/of_reserved_mem.h>
#include <linux/string.h>

#include "heap-area.h"

/* A CMA area by its name, or by where it is. */
struct area {
	const char *name;
	phys_addr_t base;
	phys_addr_t size;
	struct cma *cma;
};

static int __init is_area(struct cma *cma, void *data)
{
	struct area *area = data;

	if (area->name ? !strcmp(area->name, cma_get_name(cma)) :
			 area->base == cma_get_base(cma) &&
			 area->size == cma_get_size(cma))
		area->cma = cma;
	return !!area->cma;
}

/**
 * heap_area_by_name() - find a CMA area
 * @name: as in /sys/kernel/mm/cma
 *
 * Context: while the kernel starts.
 * Return: The area, or %NULL if there is none.
 */
struct cma * __init heap_area_by_name(const char *name)
{
	struct area area = { .name = name };

	cma_for_each_area(is_area, &area);
	return area.cma;
}

/**
 * heap_area_of_node() - find the CMA area that a region of the device tree is
 * @node: of a child of /reserved-memory
 *
 * Context: while the kernel starts.
 * Return: The area, or %NULL if the region is none.
 */
struct cma * __init heap_area_of_node(struct device_node *node)
{
	struct reserved_mem *rmem = of_reserved_mem_lookup(node);
	struct area area = {};

	if (!rmem)
		return NULL;
	area.base = rmem->base;
	area.size = rmem->size;
	cma_for_each_area(is_area, &area);
	return area.cma;
}

/**
 * heap_area_short_name() - without its unit address, which is one machine's
 * @region: name of a node
 *
 * Return: The length of the part of @region that comes before it.
 */
int __init heap_area_short_name(const char *region)
{
	return strchrnul(region, '@') - region;
}
