/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The interface of /dev/noncoherent_test, for selftests and for nobody else:
 * until the file is closed, the named devices are not coherent.
 */
#ifndef _LIB_TEST_NONCOHERENT_UAPI_H
#define _LIB_TEST_NONCOHERENT_UAPI_H

#include <linux/ioctl.h>

/* A misc device or a platform device. */
struct test_noncoherent_device {
	char name[32];
};

#define TEST_NONCOHERENT_DEVICE	_IOW('N', 0x00, struct test_noncoherent_device)

#endif
