// SPDX-License-Identifier: GPL-2.0
/*
 * What a request of io_uring costs, in instructions: direct I/O on a null_blk
 * that completes at once, with registered buffers and without, and no I/O at all.
 *
 * bench-io NAME prints rows "NAME,metric,value". Each is the least of some rounds
 * of REQUESTS requests; under icount a nanosecond is an instruction.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <tools/include/io_uring/mini_liburing.h>

#include "guest.h"

#define REQUESTS	4096
#define ROUNDS		5
#define BLOCK		4096
#define DEPTH		8

static struct io_uring ring;
static char *buffer;
static int disk;

static void prep(int op, unsigned int i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe)
		die("no room in the ring");
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	if (op == IORING_OP_NOP)
		return;
	sqe->fd = disk;
	sqe->addr = (uintptr_t)buffer + i * BLOCK;
	sqe->len = BLOCK;
	sqe->off = i * BLOCK;
}

static void reap(int op)
{
	struct io_uring_cqe *cqe;

	if (io_uring_wait_cqe(&ring, &cqe))
		die("wait");
	if (cqe->res != (op == IORING_OP_NOP ? 0 : BLOCK)) {
		errno = -cqe->res;
		die("a request");
	}
	io_uring_cqe_seen(&ring);
}

static uint64_t round_of(int op, unsigned int depth)
{
	uint64_t begun = now();
	unsigned int i, j;

	for (i = 0; i < REQUESTS; i += depth) {
		for (j = 0; j < depth; j++)
			prep(op, j);
		if (io_uring_submit(&ring) < 0)
			die("submit");
		for (j = 0; j < depth; j++)
			reap(op);
	}
	return now() - begun;
}

static void bench(const char *name, const char *metric, int op, unsigned int depth)
{
	uint64_t best = UINT64_MAX, took;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		took = round_of(op, depth);
		if (took < best)
			best = took;
	}
	printf("%s,%s,%.1f\n", name, metric, (double)best / REQUESTS);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "here";
	struct iovec iov;

	/* Queued and completed by the task itself. */
	if (system("modprobe null_blk queue_mode=2 irqmode=0 nr_devices=1 gb=1"))
		die("null_blk");
	disk = open("/dev/nullb0", O_RDWR | O_DIRECT);
	if (disk < 0)
		die("/dev/nullb0");
	if (io_uring_queue_init(64, &ring, 0))
		die("io_uring");
	buffer = mmap(NULL, DEPTH * BLOCK, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffer == MAP_FAILED)
		die("mmap");
	iov.iov_base = buffer;
	iov.iov_len = DEPTH * BLOCK;
	if (io_uring_register_buffers(&ring, &iov, 1))
		die("register");
	bench(name, "nop", IORING_OP_NOP, 1);
	bench(name, "nop-8", IORING_OP_NOP, DEPTH);
	bench(name, "read", IORING_OP_READ, 1);
	bench(name, "read-8", IORING_OP_READ, DEPTH);
	bench(name, "read-fixed", IORING_OP_READ_FIXED, 1);
	bench(name, "read-fixed-8", IORING_OP_READ_FIXED, DEPTH);
	bench(name, "write-fixed", IORING_OP_WRITE_FIXED, 1);
	bench(name, "write-fixed-8", IORING_OP_WRITE_FIXED, DEPTH);
	return 0;
}
