/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_PINPAGE_VMAP_H
#define _LINUX_PINPAGE_VMAP_H

#include <linux/pinpage.h>

int pinpage_vmap_pause(void *vaddr, const struct pinpage_item *items,
		       unsigned int nr);
void pinpage_vmap_resume(void *vaddr, const struct pinpage_item *items,
			 unsigned int nr);

#endif /* _LINUX_PINPAGE_VMAP_H */
