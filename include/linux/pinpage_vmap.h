/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_PINPAGE_VMAP_H
#define _LINUX_PINPAGE_VMAP_H

#include <linux/pinpage.h>

void pinpage_vmap_repoint(void *vaddr, const struct pinpage_item *items,
			  unsigned int nr);

#endif /* _LINUX_PINPAGE_VMAP_H */
