// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that takes, in prepare(), a lock that is held around an allocation
 * elsewhere. The day on which both meet need not come: lockdep knows from the
 * callback alone. Exits with 0 when all was done without a deadlock; the report
 * is for the console's reader to find.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../../../lib/test_pinpage_uapi.h"
#include "guest.h"

#define NR	8

/* One way or the other: both nodes are tried. */
static void move(char *at)
{
	void *pages[NR];
	int nodes[NR], status[NR], i, node;

	for (node = 0; node < 2; node++) {
		for (i = 0; i < NR; i++) {
			pages[i] = at + i * PAGE;
			nodes[i] = node;
		}
		if (syscall(__NR_move_pages, 0, (unsigned long)NR, pages, nodes, status, 2) < 0)
			die("move_pages");
	}
}

int main(void)
{
	struct test_pinpage_pin pin = {
		.kind = TEST_PINPAGE_USER, .len = NR * PAGE, .stride = 1,
		.flags = TEST_PINPAGE_WRITE, .timeout_ms = 60000,
	};
	struct test_pinpage_policy policy = { .bad_lock = 1 };
	struct test_pinpage_counters count;
	char *at;
	int fd;

	fd = open("/dev/pinpage_test", O_RDWR);
	if (fd < 0 && !system("modprobe test_pinpage"))
		fd = open("/dev/pinpage_test", O_RDWR);
	if (fd < 0)
		die("/dev/pinpage_test");
	at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (at == MAP_FAILED)
		die("mmap");
	pin.addr = (unsigned long)at;
	if (ioctl(fd, TEST_PINPAGE_PIN, &pin))
		die("pin");
	policy.id = pin.id;
	if (ioctl(fd, TEST_PINPAGE_POLICY, &policy))
		die("policy");
	move(at);
	count.id = pin.id;
	if (ioctl(fd, TEST_PINPAGE_COUNTERS, &count) || !count.prepares) {
		errno = ENODATA;
		die("nobody was asked");
	}
	if (ioctl(fd, TEST_PINPAGE_ALLOC))
		die("alloc");
	return 0;
}
