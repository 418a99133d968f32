// SPDX-License-Identifier: GPL-2.0
/*
 * A file server that needs a pinned buffer to answer: what a mover waits for can wait
 * for the owner of a page that is to move in the same call. It must not be stopped
 * until then.
 *
 * Opening the file once more writes its dirty page out, under the lock of the page.
 * The server gets the write, reads into the buffer, and only then answers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../../include/io_uring/mini_liburing.h"

#include "../kselftest_harness.h"
#include "pinpage_util.h"

#define NAME		"file"
#define NODE		2		/* of the file; the root is 1 */
#define AT		1000		/* in the area: the file's page, then the buffer */
#define PATIENCE_MS	20000		/* a deadlock, or nearly one */

FIXTURE(fuse) {
	int fd, contig, dev;		/* the driver, the area, the server's end */
	struct cma cma;
	char dir[32], path[48];
	int file;
	char *page, *buffer;
	int id;				/* of the buffer, by the driver */
	struct io_uring ring;
	int source;			/* that io_uring reads from */
	pthread_t server;
	bool armed, writing, taking, served;
	int result;			/* of what the server read into the buffer */
	int taken;
};

FIXTURE_VARIANT(fuse) {
	bool io_uring;
};

FIXTURE_VARIANT_ADD(fuse, driver) {};
FIXTURE_VARIANT_ADD(fuse, io_uring) { .io_uring = true };

/* The server: a directory with one file, whose data go nowhere */

static void set_attr(struct fuse_attr *attr, uint64_t node)
{
	attr->ino = node;
	attr->mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	attr->nlink = 1;
	attr->size = node == FUSE_ROOT_ID ? 0 : PAGE;
	attr->blksize = PAGE;
}

static void answer(int dev, uint64_t unique, int error, const void *data, size_t len)
{
	struct fuse_out_header head = {
		.len = sizeof(head) + (error ? 0 : len), .error = error, .unique = unique,
	};
	struct iovec iov[] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)data, .iov_len = error ? 0 : len },
	};

	/* One that was interrupted is not there any more. */
	if (writev(dev, iov, 2) < 0 && errno != ENOENT)
		perror("answer");
}

static void do_init(int dev, const struct fuse_in_header *in, const struct fuse_init_in *init)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = init->max_readahead, .flags = FUSE_WRITEBACK_CACHE,
		.max_background = 16, .congestion_threshold = 12, .max_write = PAGE,
		.time_gran = 1,
	};

	answer(dev, in->unique, 0, &out, sizeof(out));
}

static void do_lookup(int dev, const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out = {
		.nodeid = NODE, .entry_valid = 1000, .attr_valid = 1000,
	};

	set_attr(&out.attr, NODE);
	answer(dev, in->unique, strcmp(name, NAME) ? -ENOENT : 0, &out, sizeof(out));
}

static void do_getattr(int dev, const struct fuse_in_header *in)
{
	struct fuse_attr_out out = { .attr_valid = 1000 };

	set_attr(&out.attr, in->nodeid);
	answer(dev, in->unique, 0, &out, sizeof(out));
}

static int read_by_ring(struct _test_data_fuse *self)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);
	uint64_t end = now_ms() + PATIENCE_MS;
	struct io_uring_cqe *cqe;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ_FIXED;
	sqe->fd = self->source;
	sqe->addr = (uintptr_t)self->buffer;
	sqe->len = PAGE;
	if (io_uring_submit(&self->ring) < 0)
		return -EIO;
	while (__atomic_load_n(self->ring.cq.ktail, __ATOMIC_ACQUIRE) == *self->ring.cq.khead) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		sleep_ms(1);
		/* What the task has to do for it, it does on its way out. */
		io_uring_enter(self->ring.ring_fd, 0, 0, IORING_ENTER_GETEVENTS, NULL);
	}
	io_uring_wait_cqe(&self->ring, &cqe);
	return cqe->res == (int)PAGE ? 0 : cqe->res;
}

static int read_by_driver(struct _test_data_fuse *self)
{
	uint64_t page[PAGE / 8];

	test_pinpage_write((__u64 *)page, 0, PAGE / 8, SEED_DEVICE, 0);
	return dev_access(self->fd, self->id, page, 0, PAGE, true, 0);
}

/* The first write is the one that everybody waits for. */
static void do_write(struct _test_data_fuse *self, const struct fuse_in_header *in,
		     const struct fuse_write_in *write)
{
	struct fuse_write_out out = { .size = write->size };

	if (__atomic_load_n(&self->armed, __ATOMIC_ACQUIRE) && !self->served) {
		__atomic_store_n(&self->writing, true, __ATOMIC_RELEASE);
		while (!__atomic_load_n(&self->taking, __ATOMIC_ACQUIRE))
			sleep_ms(1);
		/* The mover has come as far as it can. */
		sleep_ms(1000);
		self->result = self->id > 0 ? read_by_driver(self) : read_by_ring(self);
		self->served = true;
	}
	answer(self->dev, in->unique, 0, &out, sizeof(out));
}

static void *serve(void *arg)
{
	struct _test_data_fuse *self = arg;
	static char request[FUSE_MIN_READ_BUFFER + PAGE];
	struct fuse_in_header *in = (void *)request;
	void *body = in + 1;
	static const struct fuse_open_out open;

	/* -ENODEV: unmounted */
	while (read(self->dev, request, sizeof(request)) > 0 || errno != ENODEV) {
		switch (in->opcode) {
		case FUSE_INIT:
			do_init(self->dev, in, body);
			break;
		case FUSE_LOOKUP:
			do_lookup(self->dev, in, body);
			break;
		case FUSE_GETATTR:
		case FUSE_SETATTR:
			do_getattr(self->dev, in);
			break;
		case FUSE_OPEN:
			answer(self->dev, in->unique, 0, &open, sizeof(open));
			break;
		case FUSE_READ:
			memset(body, 0, PAGE);
			answer(self->dev, in->unique, 0, body, PAGE);
			break;
		case FUSE_WRITE:
			do_write(self, in, body);
			break;
		case FUSE_FLUSH:
		case FUSE_FSYNC:
		case FUSE_RELEASE:
			answer(self->dev, in->unique, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			answer(self->dev, in->unique, -EOPNOTSUPP, NULL, 0);
		}
	}
	return NULL;
}

static bool mount_it(struct _test_data_fuse *self)
{
	char options[128];

	snprintf(self->dir, sizeof(self->dir), "/tmp/pinpage-fuse.XXXXXX");
	self->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (self->dev < 0 || !mkdtemp(self->dir))
		return false;
	snprintf(self->path, sizeof(self->path), "%s/" NAME, self->dir);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", self->dev);
	return !mount("pinpage", self->dir, "fuse", 0, options) &&
	       !pthread_create(&self->server, NULL, serve, self);
}

static int register_buffer(struct _test_data_fuse *self, bool io_uring)
{
	struct iovec iov = { .iov_base = self->buffer, .iov_len = PAGE };

	if (!io_uring) {
		self->id = dev_pin_range(self->fd, TEST_PINPAGE_USER, self->buffer, 1,
					 TEST_PINPAGE_WRITE, 0);
		return self->id;
	}
	self->source = make_memfd(1);
	if (self->source < 0 || write(self->source, self->buffer, PAGE) != (ssize_t)PAGE)
		return -EIO;
	return syscall(__NR_io_uring_register, self->ring.ring_fd, IORING_REGISTER_BUFFERS,
		       &iov, 1) ? -errno : 1;
}

FIXTURE_SETUP(fuse)
{
	char why[128];

	self->contig = contig_open();
	if (self->contig < 0 || !find_cma(&self->cma))
		SKIP(return, "needs CONFIG_CMA_TEST, and an area in debugfs");
	self->fd = device_open(why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	if (variant->io_uring && io_uring_queue_init(4, &self->ring, 0))
		SKIP(return, "no io_uring");
	if (!mount_it(self))
		SKIP(return, "no FUSE");
	self->file = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->file);
	self->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->page);
	self->page[0] = 1;
	self->buffer = map_anon(1);
	ASSERT_NE(NULL, self->buffer);
	user_fill(self->buffer, 1, SEED_DEVICE);
	ASSERT_EQ(0, contig_place(self->contig, self->page, self->cma.base + AT));
	ASSERT_EQ(0, contig_place(self->contig, self->buffer, self->cma.base + AT + 1));
	ASSERT_LT(0, register_buffer(self, variant->io_uring));
	user_fill(self->buffer, 1, SEED_USER);
	/* What the kernel has begun to write back by itself is none of it. */
	ASSERT_EQ(0, fsync(self->file));
	__atomic_store_n(&self->armed, true, __ATOMIC_RELEASE);
}

FIXTURE_TEARDOWN(fuse)
{
	if (self->id > 0)
		EXPECT_EQ(0, dev_unpin(self->fd, self->id));
	if (variant->io_uring)
		close(self->ring.ring_fd);
	munmap(self->page, PAGE);
	close(self->file);
	/* The ring goes a little later than its file, and files of ours with it. */
	EXPECT_EQ(0, umount2(self->dir, MNT_DETACH));
	pthread_join(self->server, NULL);
	rmdir(self->dir);
	munmap(self->buffer, PAGE);
	close(self->contig);
	close(self->fd);
}

/*
 * The kernel may write the page back by itself before the file is opened; a second
 * write to the page waits for the server then, so it is this thread that does it.
 */
static void *open_again(void *arg)
{
	struct _test_data_fuse *self = arg;

	do {
		self->page[0]++;
		close(open(self->path, O_RDONLY | O_CLOEXEC));
	} while (!__atomic_load_n(&self->writing, __ATOMIC_ACQUIRE));
	return NULL;
}

static void *take(void *arg)
{
	struct _test_data_fuse *self = arg;

	self->taken = contig_take(self->contig, self->cma.base + AT, 2, true);
	return NULL;
}

TEST_F_TIMEOUT(fuse, server_uses_the_buffer, TEST_SECONDS)
{
	uint64_t pfn = user_pfn(self->buffer);
	pthread_t opener, taker;

	ASSERT_EQ(0, pthread_create(&opener, NULL, open_again, self));
	while (!__atomic_load_n(&self->writing, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	ASSERT_EQ(0, pthread_create(&taker, NULL, take, self));
	__atomic_store_n(&self->taking, true, __ATOMIC_RELEASE);
	pthread_join(opener, NULL);
	pthread_join(taker, NULL);
	EXPECT_EQ(0, self->result);
	EXPECT_EQ(0, user_check(self->buffer, 1, SEED_DEVICE));
	/* The file's page may have had one user too many at the time. */
	if (self->taken < 0)
		self->taken = contig_take(self->contig, self->cma.base + AT, 2, true);
	EXPECT_LT(0, self->taken);
	EXPECT_NE(pfn, user_pfn(self->buffer));
	EXPECT_EQ(0, user_check(self->buffer, 1, SEED_DEVICE));
}

TEST_HARNESS_MAIN
