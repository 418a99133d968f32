// SPDX-License-Identifier: GPL-2.0
/*
 * An unprivileged user of io_uring who does the worst: buffers of a page each, here and
 * there in memory, each in a request that does not end.
 *
 * worst-ring send|pipe|fuse|poll: "ready" when they are all out; until it is killed, and
 * the server of fuse with it, which is of the same name.
 *
 * send: zero-copy, to a socket that nobody reads.
 * pipe: a worker's, from an empty pipe.
 * fuse: a worker's, from a file whose server does not answer.
 * poll: of a disk that has to be polled, by a ring that nobody polls.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <tools/include/io_uring/mini_liburing.h>

#include "guest.h"

#define BUFFERS		31
#define SPREAD		(256UL << 20)
#define WORST_USER	1000
#define DIR		"/tmp/worst-fuse"

static struct io_uring ring;
static char *at[BUFFERS];

/* Of all that is mapped, a page in each part is kept; some are in any area. */
static void spread_buffers(void)
{
	size_t part = SPREAD / BUFFERS & ~(PAGE - 1);
	struct iovec iov[BUFFERS];
	char *all;
	int i;

	all = mmap(NULL, part * BUFFERS, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (all == MAP_FAILED)
		die("mmap");
	for (i = 0; i < BUFFERS; i++) {
		at[i] = all + i * part;
		iov[i].iov_base = at[i];
		iov[i].iov_len = PAGE;
		if (munmap(at[i] + PAGE, part - PAGE))
			die("munmap");
	}
	if (io_uring_register_buffers(&ring, iov, BUFFERS))
		die("register");
}

static void prep(int i, int op, int fd, int flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe)
		die("no room in the ring");
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = fd;
	sqe->flags = flags;
	sqe->addr = (uintptr_t)at[i];
	sqe->len = PAGE;
	sqe->buf_index = i;
	sqe->user_data = i;
	if (op == IORING_OP_SEND_ZC)
		sqe->ioprio = IORING_RECVSEND_FIXED_BUF;
}

/* And never look at the ring again. */
static void submit(void)
{
	struct io_uring_sq *sq = &ring.sq;
	unsigned int tail = *sq->ktail, nr = sq->sqe_tail - sq->sqe_head;

	while (sq->sqe_head != sq->sqe_tail)
		sq->array[tail++ & *sq->kring_mask] = sq->sqe_head++ & *sq->kring_mask;
	__atomic_store_n(sq->ktail, tail, __ATOMIC_RELEASE);
	if (io_uring_enter(ring.ring_fd, nr, 0, 0, NULL) != (int)nr)
		die("submit");
}

/* The receiver has all that it takes, and what follows stays with the sender. */
static int full_socket(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0), tx = socket(AF_INET, SOCK_STREAM, 0);
	int small = 4096, large = 4 << 20;
	static char data[256 << 10];

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	setsockopt(tx, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof(large));
	if (bind(listener, (void *)&addr, sizeof(addr)) || listen(listener, 1) ||
	    getsockname(listener, (void *)&addr, &len) || connect(tx, (void *)&addr, len) ||
	    accept(listener, NULL, NULL) < 0 || write(tx, data, sizeof(data)) != sizeof(data))
		die("socket");
	return tx;
}

static void answer(int dev, uint64_t unique, const void *data, size_t len)
{
	struct fuse_out_header head = { .len = sizeof(head) + len, .unique = unique };
	struct iovec iov[] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)data, .iov_len = len },
	};

	if (writev(dev, iov, 2) < 0)
		die("answer");
}

static void serve(int dev)
{
	static char request[FUSE_MIN_READ_BUFFER + PAGE];
	struct fuse_in_header *in = (void *)request;
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = PAGE, .time_gran = 1, .max_background = BUFFERS,
	};
	struct fuse_entry_out entry = { .nodeid = 2, .entry_valid = 1000, .attr_valid = 1000 };
	struct fuse_attr_out attr = { .attr_valid = 1000 };
	struct fuse_open_out open = { .open_flags = FOPEN_DIRECT_IO };

	entry.attr.ino = 2;
	entry.attr.nlink = 1;
	entry.attr.mode = S_IFREG | 0644;
	entry.attr.size = BUFFERS * PAGE;
	while (read(dev, request, sizeof(request)) > 0) {
		switch (in->opcode) {
		case FUSE_INIT:
			answer(dev, in->unique, &init, sizeof(init));
			break;
		case FUSE_LOOKUP:
			answer(dev, in->unique, &entry, sizeof(entry));
			break;
		case FUSE_GETATTR:
			attr.attr = entry.attr;
			if (in->nodeid == FUSE_ROOT_ID)
				attr.attr.mode = S_IFDIR | 0755;
			answer(dev, in->unique, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			answer(dev, in->unique, &open, sizeof(open));
			break;
		}
		/* Who reads gets no answer. */
	}
	exit(0);
}

static int silent_file(void)
{
	int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC), fd;
	char options[96];

	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", dev);
	mkdir(DIR, 0755);
	if (dev < 0 || mount("worst", DIR, "fuse", 0, options))
		die("fuse");
	if (!fork())
		serve(dev);
	close(dev);
	fd = open(DIR "/file", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("file");
	/* Of the file system is left what the file needs. */
	umount2(DIR, MNT_DETACH);
	return fd;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	int op = IORING_OP_READ_FIXED, flags = 0, setup = 0, fd = -1, pipes[2], i;

	if (!strcmp(kind, "send")) {
		fd = full_socket();
		op = IORING_OP_SEND_ZC;
	} else if (!strcmp(kind, "pipe")) {
		fd = pipe(pipes) ? -1 : pipes[0];
		flags = IOSQE_ASYNC;
	} else if (!strcmp(kind, "fuse")) {
		fd = silent_file();
		flags = IOSQE_ASYNC;
	} else if (!strcmp(kind, "poll")) {
		fd = open("/dev/nullb1", O_RDONLY | O_DIRECT | O_CLOEXEC);
		setup = IORING_SETUP_IOPOLL;
	}
	if (fd < 0)
		die(kind);
	/* Memory is locked as his, and he is waited for as who he is. */
	if (setresuid(WORST_USER, WORST_USER, WORST_USER))
		die("setresuid");
	if (io_uring_queue_init(2 * BUFFERS, &ring, setup))
		die("io_uring");
	spread_buffers();
	for (i = 0; i < BUFFERS; i++)
		prep(i, op, fd, flags);
	submit();
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
