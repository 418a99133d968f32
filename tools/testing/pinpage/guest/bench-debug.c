// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map and unmap a dma-buf of 4800 segments, with importers checked
 * and unchecked: rows "case,metric,value", of nanoseconds, each of which is an
 * instruction in a guest whose clock counts them.
 *
 * The exporter is the test driver, in the manner of the system heap: nothing is
 * allocated for a map. "without" is a kernel without CONFIG_DMABUF_DEBUG.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/test_dmabuf_uapi.h"
#include "guest.h"

#define SEGMENTS	4800
#define ROUNDS		20
#define TRIES		10
#define SWITCH		"/sys/module/dma_buf/parameters/debug"

static int dev;

static void say_switch(const char *to)
{
	int fd = open(SWITCH, O_WRONLY);

	if (fd < 0 || write(fd, to, strlen(to)) < 0)
		die(SWITCH);
	close(fd);
}

/* The best of some tries: what else the machine does only adds to it. */
static void measure(unsigned int attach, const char *metric)
{
	unsigned long long best = ~0ULL;
	int i;

	for (i = 0; i < TRIES; i++) {
		struct test_dmabuf_bench arg = { .attach = attach, .rounds = ROUNDS };

		if (ioctl(dev, TEST_DMABUF_BENCH, &arg))
			die("bench");
		if (arg.ns < best)
			best = arg.ns;
	}
	printf("map+unmap/%d,%s,%llu\n", SEGMENTS, metric, best / ROUNDS);
}

int main(void)
{
	struct test_dmabuf_export export = { .segments = SEGMENTS, .pages = 1 };
	struct test_dmabuf_attach attach = { 0 };

	if (system("modprobe test_dmabuf"))
		return 1;
	dev = open("/dev/dmabuf_test", O_RDWR);
	if (dev < 0)
		die("/dev/dmabuf_test");
	if (ioctl(dev, TEST_DMABUF_EXPORT, &export))
		die("export");
	attach.fd = export.fd;
	if (ioctl(dev, TEST_DMABUF_ATTACH, &attach))
		die("attach");
	if (access(SWITCH, F_OK)) {
		measure(attach.id, "without");
		return 0;
	}
	say_switch("off");
	measure(attach.id, "off");
	say_switch("on");
	measure(attach.id, "on");
	return 0;
}
