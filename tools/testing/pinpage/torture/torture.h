/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Torture of pinned pages that move. A supervisor (main.c) starts workers and movers
 * in rounds and looks at what is left after each (check.c). A worker (worker.c) knows
 * what each page of its memory holds (model.c), does random operations on it (memory.c,
 * pin.c, fork.c, files.c, uffd.c, io.c), and compares. Movers (movers.c) move whatever there is.
 */
#ifndef _TORTURE_H
#define _TORTURE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE		((size_t)4096)
#define HUGE_PAGES	((size_t)512)
#define HUGE_SIZE	(HUGE_PAGES * PAGE)

#define MAX_WORKERS	16
#define MAX_REGIONS	5
#define MAX_BUFFERS	8
#define MAX_COUNTERS	192
#define LOG_LINES	32
#define LOG_LEN		104

/* How a process ends that has found, and told, a fault. */
#define FOUND		9

/* One worker, or mover, as all processes see it. */
struct seat {
	pid_t pid;
	char name[24];
	uint64_t seed;
	uint64_t nr_ops;
	/* Where movers may find its memory; no more than a hint. */
	uint64_t at, pages;
	char log[LOG_LINES][LOG_LEN];
};

struct counter {
	const char *name;
	uint64_t nr;
};

struct cma;

struct shared {
	uint64_t seed;
	int round;
	int stop;		/* the round ends */
	int found;		/* something is wrong: all end */
	bool slow;		/* all debugging is on */
	bool faults;		/* allocations fail now and then */
	uint64_t bytes;		/* checked */
	struct counter counters[MAX_COUNTERS];
	struct seat seats[2 * MAX_WORKERS];
};

extern struct shared *shared;
extern struct seat *seat;	/* of this process */

/* random.c: of this process, by its seat's seed */
void seed_random(uint64_t seed);
uint64_t random_u64(void);
size_t below(size_t n);
bool one_in(size_t n);
uint64_t mix(uint64_t a, uint64_t b);

/* tell.c: what has happened, and the end where it is wrong */
void did(const char *name);
void did_many(const char *name, uint64_t nr);
uint64_t done(const char *name);
uint64_t cpu_ms(void);
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void found(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Any error but these that a machine short of memory may give ends in found(). */
bool soft(int err);
bool stopping(void);

/*
 * model.c: what a page holds, by whomever it is seen. A region's page and a buffer's
 * share one as long as they are one page.
 */
struct content {
	uint64_t base;		/* word n is base + n * 0x0101010101010101 */
	bool zero;		/* or all is */
	unsigned int refs;
};

enum kind {
	ANON,
	THP,
	SHMEM,
	MEMFD,
	HUGETLB,
	HUGE_MEMFD,
	EXT4,
	EXT4_PRIVATE,
	TMPFS,
	TMPFS_PRIVATE,
	NR_KINDS,
};

struct region {
	enum kind kind;
	char *at;
	size_t pages;
	size_t step;		/* pages that go together */
	int fd;
	bool readonly;
	struct content **c;
};

enum holder { DEVICE, RING };

struct ring;
struct buffer {
	enum holder holder;
	int pin;		/* enum test_pinpage_kind */
	int id;
	int system;
	size_t pages;
	bool writes;
	bool shared;		/* with children */
	struct ring *ring;
	struct content **c;
};

struct span {
	size_t first, nr;
};

extern const char * const kind_names[NR_KINDS];
extern struct region regions[MAX_REGIONS];
extern struct buffer buffers[MAX_BUFFERS];
extern int device, disk_file;

bool is_shared(const struct region *r);
bool is_file(const struct region *r);
bool is_huge(const struct region *r);
bool is_anon(const struct region *r);

struct content *new_content(void);
struct content *get_content(struct content *c);
void put_content(struct content *c);
struct content **share_contents(struct content **from, size_t nr);
void drop_contents(struct content **c, size_t nr);
void refresh(struct content *c);
/* The pages of the span are others from now on, and zero. */
void zero_span(struct region *r, struct span s);
bool is_content(const struct content *c, const void *at);
void write_content(const struct content *c, void *at);
void expect_page(const struct content *c, const void *at, const char *who, size_t page);

struct region *any_region(void);
struct buffer *any_buffer(void);
struct buffer *free_buffer(void);
struct span any_span(const struct region *r);
bool in_buffer(const struct content *c);

/* Accesses of the CPU. false: there is no memory for it, and the region is gone. */
bool write_span(struct region *r, struct span s);
bool check_span(struct region *r, struct span s);
bool check_region(struct region *r);
/* A signal comes of an access where one has to. */
bool faults(const volatile char *at, bool write);
void forget(struct region *r);
void catch_signals(void);

void write_buffer(struct buffer *b);
void check_buffer(struct buffer *b, bool all);
void check_all(bool all);

/* worker.c */
int run_worker(int nr, uint64_t seed);

/* memory.c */
void op_map(void);
void op_write(void);
void op_unmap(void);
void op_remap(void);
void op_protect(void);
void op_lock(void);
void op_discard(void);
void op_advise(void);
void op_merge(void);
void op_soft_offline(void);
void op_place(void);
void op_move(void);

/* pin.c */
void op_pin(void);
void op_pin_kernel(void);
void op_unpin(void);
void op_policy(void);
void op_device(void);
void op_count(void);
void op_order(void);
bool unpin(struct buffer *b);
extern bool pin_by_mapping;
void try_pin(struct region *r);
int open_device(void);

/* fork.c */
void op_fork(void);
void op_vfork(void);
void op_exec(void);
void op_cgroup(void);

/* files.c */
void op_truncate(void);
void op_punch(void);
int open_disk_file(void);

/* uffd.c */
void op_uffd_missing(void);
void op_uffd_wp(void);
void op_uffd_minor(void);
void op_uffd_move(void);

/* io.c */
void op_direct(void);
void op_process_vm(void);
void op_vmsplice(void);
void op_ring(void);
bool ring_write(struct buffer *b, size_t page);
bool ring_read(struct buffer *b, size_t page, void *to);
void ring_close(struct buffer *b);

/* movers.c */
struct job {
	const char *name;
	void (*step)(void);
	void (*begin)(void);
	void (*end)(void);
};

extern const struct job jobs[];
extern const int nr_jobs;
int run_mover(const struct job *job, uint64_t seed);

/* check.c */
extern struct cma area;		/* found while nothing of it is taken */
void check_begin(void);
void check_round(void);
bool reported(char *line, size_t len);
void let_fail(bool on);

#endif /* _TORTURE_H */
