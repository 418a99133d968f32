/* SPDX-License-Identifier: GPL-2.0 */
/* What the pinpage selftests share. Functions return a negative errno. */
#ifndef _PINPAGE_UTIL_H
#define _PINPAGE_UTIL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lib/test_pinpage_uapi.h>

/* Emulated machines with all debugging are slow. */
#define TEST_SECONDS	900

#define PAGE		((size_t)4096)
#define PAGEBLOCK	512			/* pages */

/* include/uapi/linux/kernel-page-flags.h */
#define KPF_HWPOISON	19

/* include/linux/kernel-page-flags.h, which is not exported */
#define KPF_PINPAGE	43

/* Two patterns that differ in every byte of a page. */
#define SEED_USER	0x1122334455667788ULL
#define SEED_DEVICE	0xeeddccbbaa998877ULL

/* The device; -1 with a reason to skip. */
int device_open(char *why, size_t len);

/* A set that does not say how long it takes to become quiet gets the most. */
#define PATIENT_MS	1000

/*
 * Who pins. Somebody who was waited for in vain is not waited for again for a
 * while, by user and system: with 0, each process is a user of its own.
 */
#define FIRST_USER	20000

extern unsigned int dev_user;

int dev_pin(int fd, struct test_pinpage_pin pin);
int dev_pin_range(int fd, int kind, void *at, size_t pages, int flags, int system);
int dev_unpin(int fd, int id);
int dev_access(int fd, int id, void *data, size_t offset, size_t len, bool write,
	       int flags);
int dev_fill(int fd, int id, size_t pages, uint64_t seed);
int64_t dev_check(int fd, int id, size_t pages, uint64_t seed);
int64_t dev_order(int fd, int id);
int dev_policy(int fd, struct test_pinpage_policy policy);
/* Without a pause: nobody should care. */
int dev_quiet(int fd, int id);
struct test_pinpage_counters dev_count(int fd, int id);
struct test_pinpage_place dev_place(int fd, int id, size_t page);
/* Of the first so many pages, at once. */
int dev_places(int fd, int id, size_t pages, struct test_pinpage_place *places);
uint64_t dev_pfn(int fd, int id, size_t page);
int dev_misuse(int fd, unsigned int misuse);
/* The device adds one to the word at @offset, so often. */
int dev_add(int fd, int id, size_t offset, uint64_t count);

/* A balanced account: nothing is paused, each prepare ended one way. */
bool account_balanced(const struct test_pinpage_counters *c);

void *map_anon(size_t pages);
/*
 * Compaction moves what it finds at the bottom of a zone to free pages in
 * blocks further up that are in use in part, and not to free blocks. To make
 * such ones on node 0: map filler before, between and after the pages that
 * shall move, then punch holes in what of it is above @pfn. Returns how many.
 */
#define MAX_FILLER	8

struct holes {
	char *at[MAX_FILLER];
	size_t pages;		/* in each */
	int nr;
};

bool add_filler(struct holes *holes);
size_t punch_holes(struct holes *holes, uint64_t pfn);
void drop_holes(struct holes *holes);
int make_memfd(size_t pages);
/* In the current directory; -1 where it can't be, or is no disk's. */
int make_file(size_t pages);
void user_fill(void *at, size_t pages, uint64_t seed);
uint64_t user_check(const void *at, size_t pages, uint64_t seed);

/* 0: not present, or not for us to see */
uint64_t user_pfn(const void *at);
bool page_flag(uint64_t pfn, int bit);
uint64_t read_event(const char *name);
/* Pins in the whole system, acquired and not released. */
int64_t pin_balance(void);
int64_t read_number(const char *path);
/* What stands in a column of pinpage/systems in debugfs; -1: no such thing. */
int64_t system_number(const char *system, const char *column);
int write_text(const char *path, const char *text);
/* As if a mover had looked at that page: it is in the index, if it is registered. */
void make_known(uint64_t pfn);

/* Pages that a test has poisoned are healed, or the next tests meet them. */
bool can_unpoison(void);
int unpoison(uint64_t pfn);

/* The NUMA nodes with memory that pages can be moved between, or false. */
bool have_two_nodes(void);
int node_of(const void *at);
/* Move by move_pages(2), wherever they are: how many are on @node afterwards. */
size_t move_to(int pid, void *at, size_t pages, int node);
/* One page that is mapped more than once; 0, or an error if it stays. */
int move_shared(void *at, int node);
size_t move_list(int pid, void **at, size_t pages, int node);
/* A thread that moves pages from node to node, as fast as it can. */
struct mover {
	pthread_t thread;
	char *at;
	size_t pages;
	int pid;
	bool stop;
	size_t rounds;
};

int start_mover(struct mover *m, char *at, size_t pages, int pid);
void stop_mover(struct mover *m);
/* Move all of them to where they are not: how many have left. */
size_t move_away(void *at, size_t pages);
/* The same, by a thread of its own: end_move() says how many are there. */
struct one_move {
	pthread_t thread;
	char *at;
	size_t pages, there;
	int node;
	bool done;
};

int start_move(struct one_move *m, void *at, size_t pages, int node);
bool move_is_over(struct one_move *m);
size_t end_move(struct one_move *m);
/* Until a pause of @id is open: true; or until the move is over. */
bool wait_open(int fd, int id, struct one_move *m);
/*
 * To the other node: how many are there. An owner has little time, or is not
 * waited for, and the machine under the test may stop for longer: over and over,
 * for ten seconds.
 */
size_t move_patiently(void *at, size_t pages);
int bind_here(void *at, size_t pages, int node);
int prefer_node(int node);

struct cma {
	char name[64];
	uint64_t base, count;	/* in pages */
};

bool find_cma(struct cma *cma);
bool in_cma(const struct cma *cma, uint64_t pfn);
int cma_take(const struct cma *cma, size_t pages);
/* Reclaim may have a page in its hands for a moment: over and over, for a second. */
int cma_take_patiently(const struct cma *cma, size_t pages);
void cma_give(const struct cma *cma, size_t pages);
/* alloc_contig_range(), by /dev/cma_test; held until it is closed. */
int contig_open(void);
int contig_take(int fd, uint64_t pfn, uint64_t pages, bool in_cma);
/* Move a page of ours to a place in the largest area. */
int contig_place(int fd, void *at, uint64_t pfn);

/* This task gets no memory of that order, or more, until it is 0; false: it can't be so. */
bool fail_order(int order);
/* To be opened before anything fails, since that needs memory as well. */
int open_fail_nth(void);
/* The @n-th allocation of this task from now on fails, once; 0: none does. */
void fail_nth(int nth, unsigned int n);
/* No more of it. Were there so many allocations? */
bool has_failed(int nth);

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t now_ms(void);
/* Each page that is freed is poisoned, each access checked: fewer rounds there. */
bool debug_kernel(void);
int rounds(int nr);
void sleep_ms(unsigned int ms);

#endif /* _PINPAGE_UTIL_H */
