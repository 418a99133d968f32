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
modprobe $module || exit 1
modprobe -r $module
