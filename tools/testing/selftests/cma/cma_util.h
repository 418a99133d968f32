/* SPDX-License-Identifier: GPL-2.0 */
/* What the cma selftests share. Functions return a negative errno. */
#ifndef _CMA_UTIL_H
#define _CMA_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mm/cma_test.h>

/* Emulated machines with all debugging are slow. */
#define TEST_SECONDS	900

#define PAGE		((size_t)4096)
#define ALL_RUNGS	3

/* The three rungs, in the order of how hard they try. */
extern const int rung_flags[ALL_RUNGS];
extern const char *const rung_names[ALL_RUNGS];

struct area {
	int fd;
	struct cma_test_info info;
};

/* The largest area; false with a reason to skip. */
bool area_open(struct area *area, char *why, size_t len);
void area_close(struct area *area);
int64_t area_free(struct area *area);
uint64_t area_end(struct area *area);
int pageblock_order(struct area *area);

/* These return what the call has got, or its error. */
int64_t alloc_one(struct area *area, uint64_t pages, int order, int flags,
		  struct cma_test_alloc *out);
int64_t alloc_bulk(struct area *area, uint64_t nr, int order, uint64_t min, int flags,
		   struct cma_test_alloc *out);
int64_t alloc_range(struct area *area, uint64_t pfn, uint64_t pages, int flags,
		    struct cma_test_alloc *out);
int release(struct area *area, uint32_t id);
int chunk_pfns(struct area *area, uint32_t id, uint64_t nr, uint64_t *pfns);

/*
 * Take all of the area but for one pageblock. Returns its pfn, or 0: all but
 * for what can't be had.
 */
uint64_t leave_one(struct area *area);

/* A page of ours, filled with a pattern, that stands at @pfn; or NULL. */
void *page_at(struct area *area, uint64_t pfn);
void *shared_page_at(struct area *area, uint64_t pfn);
int place(struct area *area, void *at, uint64_t pfn);
int keep(struct area *area, void *at, int hold, unsigned int us);
int keep_immap(struct area *area, int file, unsigned int us);
/* When the last one that let go by itself did, ktime. */
uint64_t letgo(struct area *area);

void fill(void *at, size_t pages, uint64_t seed);
uint64_t check(const void *at, size_t pages, uint64_t seed);
void *map_anon(size_t pages);
uint64_t user_pfn(const void *at);

int64_t read_number(const char *path);
int write_number(const char *path, int64_t value);
#define WAIT_STEPS	"/proc/sys/vm/contig_wait_steps"
#define WAIT_MS		"/proc/sys/vm/contig_wait_ms"

void sleep_ms(unsigned int ms);

#endif /* _CMA_UTIL_H */
