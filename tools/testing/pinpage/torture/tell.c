// SPDX-License-Identifier: GPL-2.0
/* What has happened, chance, and the end where something is wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "torture.h"

struct shared *shared;
struct seat *seat;

static uint64_t state;

/* splitmix64 */
uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t z = a + (b + 1) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void seed_random(uint64_t seed)
{
	state = seed;
}

uint64_t random_u64(void)
{
	state += 0x9e3779b97f4a7c15ULL;
	return mix(state, 0);
}

size_t below(size_t n)
{
	return n ? random_u64() % n : 0;
}

bool one_in(size_t n)
{
	return !below(n);
}

/* Names are literals of one program: their addresses are the same in all processes. */
static struct counter *find_counter(const char *name)
{
	struct counter *c = shared->counters;
	const char *was;

	for (; c < shared->counters + MAX_COUNTERS; c++) {
		was = NULL;
		if (__atomic_compare_exchange_n(&c->name, &was, name, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST) ||
		    was == name || !strcmp(was, name))
			return c;
	}
	found("more than %d counters", MAX_COUNTERS);
}

void did_many(const char *name, uint64_t nr)
{
	__atomic_fetch_add(&find_counter(name)->nr, nr, __ATOMIC_RELAXED);
}

void did(const char *name)
{
	did_many(name, 1);
}

uint64_t done(const char *name)
{
	return find_counter(name)->nr;
}

uint64_t cpu_ms(void)
{
	struct rusage usage = {};

	getrusage(RUSAGE_SELF, &usage);
	return 1000 * (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

void note(const char *fmt, ...)
{
	va_list args;
	int len;
	char *line = seat->log[seat->nr_ops % LOG_LINES];

	len = snprintf(line, LOG_LEN, "%llu ", (unsigned long long)seat->nr_ops);
	va_start(args, fmt);
	vsnprintf(line + len, LOG_LEN - len, fmt, args);
	va_end(args);
	seat->nr_ops++;
}

/* In one piece, for others write as well. */
void found(const char *fmt, ...)
{
	static char text[LOG_LINES * (LOG_LEN + 8) + 1024];
	int len, i, err = errno;
	uint64_t op;
	va_list args;

	len = snprintf(text, sizeof(text), "FOUND: SEED=%llu round %d, %s (pid %d, seed %#llx): ",
		       (unsigned long long)shared->seed, shared->round, seat->name, getpid(),
		       (unsigned long long)seat->seed);
	va_start(args, fmt);
	len += vsnprintf(text + len, 512, fmt, args);
	va_end(args);
	len += snprintf(text + len, 128, " (errno %d)\n", err);
	for (i = 0; i < LOG_LINES; i++) {
		op = seat->nr_ops + i;
		if (seat->log[op % LOG_LINES][0])
			len += snprintf(text + len, LOG_LEN + 8, "    %s\n",
					seat->log[op % LOG_LINES]);
	}
	if (write(STDOUT_FILENO, text, len) != len)
		perror("torture");
	__atomic_store_n(&shared->found, 1, __ATOMIC_SEQ_CST);
	_exit(FOUND);
}

bool soft(int err)
{
	if (err == ENOMEM)
		did("out of memory");
	return err == ENOMEM || err == EAGAIN || err == EINTR || err == ENOSPC || err == EDQUOT;
}

bool stopping(void)
{
	return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&shared->found, __ATOMIC_RELAXED);
}
