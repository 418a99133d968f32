/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __GUP_TEST_PINPAGE_H
#define __GUP_TEST_PINPAGE_H

#include <linux/errno.h>
#include <linux/types.h>

struct page;

#ifdef CONFIG_PINPAGE
int gup_test_pinpage_pin(unsigned long addr, unsigned long nr,
			 unsigned int gup_flags, struct page **pages);
bool gup_test_pinpage_unpin(void);
int gup_test_pinpage_begin(void);
void gup_test_pinpage_end(void);
#else
static inline int gup_test_pinpage_pin(unsigned long addr, unsigned long nr,
				       unsigned int gup_flags,
				       struct page **pages)
{
	return -EINVAL;
}

static inline bool gup_test_pinpage_unpin(void)
{
	return false;
}

static inline int gup_test_pinpage_begin(void)
{
	return 0;
}

static inline void gup_test_pinpage_end(void)
{
}
#endif

#endif /* __GUP_TEST_PINPAGE_H */
