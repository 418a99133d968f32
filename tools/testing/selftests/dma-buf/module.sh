#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The tests inside of dma-buf: the module runs them as it is loaded, and does not
# load if one fails.
module=dmabuf_selftests

if [ -d /sys/module/$module ]; then
	echo "$module is there already, and ran then"
	exit 4
fi
if ! find "/lib/modules/$(uname -r)" -name "$module.ko*" 2>/dev/null | grep -q .; then
	echo "no $module, CONFIG_DMABUF_SELFTESTS=m"
	exit 4
fi
# Two minutes of two and a quarter, on a debug kernel, go into waiting for a chain of 4096
# fences that is signaled from its end; it is waited for on others.
if [ -e /sys/kernel/debug/kmemleak ]; then
	filter='st_filter=!dma_fence_chain/wait_backward'
fi
modprobe $module ${filter-} || exit 1
modprobe -r $module
