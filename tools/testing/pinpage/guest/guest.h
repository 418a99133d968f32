/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs of the guest share: rows, time, and an end that says why. */
#ifndef _GUEST_H
#define _GUEST_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE	4096UL
#define SECOND	1000000000ULL

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

/* Of --icount guests: how many instructions. */
static inline uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static inline void row(const char *name, const char *metric, long long value)
{
	printf("%s,%s,%lld\n", name, metric, value);
	fflush(stdout);
}

#endif
