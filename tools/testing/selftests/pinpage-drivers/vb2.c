// SPDX-License-Identifier: GPL-2.0
/*
 * USERPTR buffers of videobuf2 that move: idle, queued, and while vivid streams.
 * vivid's picture stands still here, so each frame has to be the same, byte by
 * byte. Where it is written by DMA addresses (vb2-dma-sg, vb2-dma-contig) and those
 * are of bounce buffers (swiotlb=force), a sync that is missing is a wrong frame.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "../pinpage/pinpage_util.h"

#define WHO	"/sys/kernel/debug/pinpage/who"
#define SYSTEMS	"/sys/kernel/debug/pinpage/systems"
#define OPTION	"/sys/module/videobuf2_common/parameters/pinpage"
#define VIVID	"modprobe -q vivid n_devs=3 allocators=0,2,1 node_types=1,1,1 " \
		"num_inputs=1,1,1 input_types=0,0,0 >/dev/null 2>&1"

#define NR_BUFS		4
#define NR		((size_t)29)	/* pages of a buffer */
#define PLACED		4		/* of them in the area */
#define FRAMES		75
#define ATTEMPTS	5
#define HUGE		(512 * PAGE)

FIXTURE(vb2) {
	struct cma cma;
	int fd;			/* /dev/videoN */
	int contig;		/* /dev/cma_test */
	size_t size;		/* of a frame */
	char *frame;		/* as it has to be */
	char *at[NR_BUFS];
	size_t offset[NR_BUFS];	/* where the buffer begins, in the page there */
	bool huge;		/* each is in a huge page */
	uint64_t placed[NR_BUFS]; /* where that was */
	int64_t balance;
	pthread_t taker;
	bool stop, done;
	int rounds, failed;	/* what the taker has done */
	int err;		/* of the last that failed */
};

FIXTURE_VARIANT(vb2) {
	const char *bus;
	bool dma;		/* stays from buf_prepare() on */
	bool huge;		/* contiguous */
};

FIXTURE_VARIANT_ADD(vb2, vmalloc) { .bus = "platform:vivid-000" };
FIXTURE_VARIANT_ADD(vb2, dma_sg) { .bus = "platform:vivid-001", .dma = true };
FIXTURE_VARIANT_ADD(vb2, dma_contig) {
	.bus = "platform:vivid-002", .dma = true, .huge = true,
};

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

static bool is_it(int fd, const char *bus)
{
	struct v4l2_capability cap = {};

	return !ioctl(fd, VIDIOC_QUERYCAP, &cap) && !strcmp((char *)cap.bus_info, bus) &&
	       cap.device_caps & V4L2_CAP_VIDEO_CAPTURE;
}

/* The modules are there already, or not; only so loaded are they of use. */
static int open_video(const char *bus)
{
	char path[32];
	int i, fd;

	system(VIVID);
	for (i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_it(fd, bus))
			return fd;
		close(fd);
	}
	return -1;
}

static bool loaded_for_us(void)
{
	char line[32] = "";
	FILE *f = fopen("/sys/module/vivid/parameters/allocators", "r");

	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	return !strncmp(line, "0,2,1", 5);
}

static int set_control(int fd, const char *name, int value)
{
	struct v4l2_queryctrl query = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };
	struct v4l2_control control = { .value = value };

	while (!ioctl(fd, VIDIOC_QUERYCTRL, &query)) {
		control.id = query.id;
		if (!strcmp((char *)query.name, name))
			return do_ioctl(fd, VIDIOC_S_CTRL, &control);
		query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
	}
	return -ENOENT;
}

/* 25 frames per second of 320 x 180, a picture without text: its size. */
static int set_format(int fd)
{
	struct v4l2_format format = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.fmt.pix = { .width = 320, .height = 180, .pixelformat = V4L2_PIX_FMT_YUYV },
	};
	struct v4l2_streamparm rate = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.parm.capture.timeperframe = { 1, 25 },
	};
	int err = do_ioctl(fd, VIDIOC_S_FMT, &format) ?: do_ioctl(fd, VIDIOC_S_PARM, &rate) ?:
		  set_control(fd, "OSD Text Mode", 2);

	return err ?: (int)format.fmt.pix.sizeimage;
}

static int request_bufs(int fd, unsigned int count, unsigned int memory)
{
	struct v4l2_requestbuffers req = {
		.count = count, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = memory,
	};

	return do_ioctl(fd, VIDIOC_REQBUFS, &req);
}

static int stream(int fd, bool on)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

	return do_ioctl(fd, on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &type);
}

/* A frame in memory of the kernel, which doesn't move. */
static int read_reference(struct _test_data_vb2 *self)
{
	struct v4l2_buffer buf = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP,
	};
	int err = request_bufs(self->fd, 1, V4L2_MEMORY_MMAP);
	char *at;

	err = err ?: do_ioctl(self->fd, VIDIOC_QUERYBUF, &buf);
	if (err)
		return err;
	at = mmap(NULL, buf.length, PROT_READ, MAP_SHARED, self->fd, buf.m.offset);
	if (at == MAP_FAILED)
		return -errno;
	err = do_ioctl(self->fd, VIDIOC_QBUF, &buf) ?: stream(self->fd, true) ?:
	      do_ioctl(self->fd, VIDIOC_DQBUF, &buf) ?: stream(self->fd, false);
	memcpy(self->frame, at, self->size);
	munmap(at, buf.length);
	return err ?: request_bufs(self->fd, 0, V4L2_MEMORY_MMAP);
}

static char *data(struct _test_data_vb2 *self, int b)
{
	return self->at[b] + self->offset[b];
}

static struct v4l2_buffer user_buffer(struct _test_data_vb2 *self, int b)
{
	return (struct v4l2_buffer) {
		.index = b,
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_USERPTR,
		.m.userptr = (unsigned long)data(self, b),
		.length = self->size,
	};
}

/* What was there before is no frame. */
static int queue(struct _test_data_vb2 *self, int b)
{
	struct v4l2_buffer buf = user_buffer(self, b);

	memset(data(self, b), 0xa5, self->size);
	return do_ioctl(self->fd, VIDIOC_QBUF, &buf);
}

static int queue_all(struct _test_data_vb2 *self)
{
	int b, err = 0;

	for (b = 0; !err && b < NR_BUFS; b++)
		err = queue(self, b);
	return err;
}

/* Which buffer has a frame? A frame that does not come is an error. */
static int dequeue(struct _test_data_vb2 *self, unsigned int *sequence)
{
	struct v4l2_buffer buf = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_USERPTR,
	};
	struct pollfd poll_fd = { .fd = self->fd, .events = POLLIN };
	int err;

	if (poll(&poll_fd, 1, 60000) != 1)
		return -ETIMEDOUT;
	err = do_ioctl(self->fd, VIDIOC_DQBUF, &buf);
	if (sequence)
		*sequence = buf.sequence;
	return err ?: buf.flags & V4L2_BUF_FLAG_ERROR ? -EIO : (int)buf.index;
}

static size_t wrong_bytes(struct _test_data_vb2 *self, int b)
{
	size_t i, wrong = 0;

	for (i = 0; i < self->size; i++)
		wrong += data(self, b)[i] != self->frame[i];
	return wrong;
}

/* @frames of them: how many were lost; or an error. */
static int check_stream(struct _test_data_vb2 *self, int frames)
{
	unsigned int sequence, next = 0;
	int b, i, lost = 0;

	for (i = 0; i < frames; i++) {
		b = dequeue(self, &sequence);
		if (b < 0)
			return b;
		if (wrong_bytes(self, b))
			return -EILSEQ;
		lost += i ? sequence - next : 0;
		next = sequence + 1;
		b = queue(self, b);
		if (b)
			return b;
	}
	return lost;
}

static int start(struct _test_data_vb2 *self)
{
	return request_bufs(self->fd, NR_BUFS, V4L2_MEMORY_USERPTR) ?: queue_all(self) ?:
	       stream(self->fd, true);
}

/* The end, with the buffers still pinned. */
static int finish(struct _test_data_vb2 *self)
{
	return stream(self->fd, false);
}

static int64_t moved(void)
{
	long long asked, count, found = -1;
	char line[256], name[64];
	FILE *f = fopen(SYSTEMS, "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %*d %lld %lld", name, &asked, &count) == 3 &&
		    !strcmp(name, "videobuf2"))
			found = count;
	if (f)
		fclose(f);
	return found;
}

/* Of the pages of all buffers; of huge ones, those that are where they were. */
static size_t count_in_area(struct _test_data_vb2 *self)
{
	size_t i, in = 0;
	int b;

	for (b = 0; self->huge && b < NR_BUFS; b++)
		in += self->placed[b] == user_pfn(self->at[b]) ? PLACED : 0;
	for (b = 0; !self->huge && b < NR_BUFS; b++)
		for (i = 0; i < NR; i++)
			in += in_cma(&self->cma, user_pfn(self->at[b] + i * PAGE));
	return in;
}

/* Pages of all buffers side by side: as many as could be brought there. */
static size_t place(struct _test_data_vb2 *self)
{
	uint64_t pfn = self->cma.base;
	size_t placed = 0;
	int b, i;

	for (b = 0; self->huge && b < NR_BUFS; b++) {
		self->placed[b] = user_pfn(self->at[b]);
		placed += self->placed[b] ? PLACED : 0;
	}
	if (self->huge)
		return placed;
	for (b = 0; b < NR_BUFS; b++)
		for (i = 0; i < PLACED; i++)
			placed += !contig_place(self->contig, self->at[b] + i * 9 * PAGE, pfn++);
	return placed;
}

/* The memory of a huge page, and give it back. */
static int take_huge(struct _test_data_vb2 *self, int b)
{
	uint64_t pfn = user_pfn(self->at[b]) & ~511ULL;
	int tries, fd, err = -ENOENT;

	for (tries = 50; pfn && err && tries; tries--) {
		fd = contig_open();
		err = contig_take(fd, pfn, 512, in_cma(&self->cma, pfn));
		err = err < 0 ? err : 0;
		close(fd);
		if (err)
			sleep_ms(20);
	}
	return err;
}

static int take_all_huge(struct _test_data_vb2 *self)
{
	int b, err = 0;

	for (b = 0; !err && b < NR_BUFS; b++) {
		self->placed[b] = user_pfn(self->at[b]);
		err = take_huge(self, b);
		if (!err && self->placed[b] == user_pfn(self->at[b]))
			err = -EUCLEAN;
	}
	return err;
}

/* All of the area, and nothing of ours left in it. */
static int take_area(struct _test_data_vb2 *self)
{
	int err;

	if (self->huge)
		return take_all_huge(self);
	err = cma_take_patiently(&self->cma, self->cma.count);
	if (err)
		return err;
	err = count_in_area(self) ? -EUCLEAN : 0;
	cma_give(&self->cma, self->cma.count);
	return err;
}

static void *keep_taking(void *arg)
{
	struct _test_data_vb2 *self = arg;

	while (!__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
		int err;

		place(self);
		err = take_area(self);
		if (err) {
			self->failed++;
			self->err = err;
		}
		self->rounds++;
	}
	__atomic_store_n(&self->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static int start_taker(struct _test_data_vb2 *self)
{
	self->stop = false;
	self->done = false;
	self->rounds = 0;
	self->failed = 0;
	return pthread_create(&self->taker, NULL, keep_taking, self);
}

static void stop_taker(struct _test_data_vb2 *self)
{
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	pthread_join(self->taker, NULL);
}

/* One page of the first buffer, or all of it. */
static int move_first(struct _test_data_vb2 *self, int n)
{
	if (self->huge)
		return take_huge(self, 0);
	return contig_place(self->contig, self->at[0], self->cma.base + n % 2);
}

static char *map_huge(void)
{
	char *at = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *huge;

	if (at == MAP_FAILED)
		return NULL;
	huge = (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
	if (huge > at)
		munmap(at, huge - at);
	munmap(huge + HUGE, at + HUGE - huge);
	madvise(huge, HUGE, MADV_HUGEPAGE);
	return huge;
}

FIXTURE_SETUP(vb2)
{
	int b;

	if (access(WHO, F_OK) || !find_cma(&self->cma))
		SKIP(return, "no pinpage or no CMA area in debugfs");
	self->contig = contig_open();
	if (self->contig < 0)
		SKIP(return, "/dev/cma_test: %s", strerror(-self->contig));
	self->fd = open_video(variant->bus);
	if (self->fd < 0 || !loaded_for_us())
		SKIP(return, "no vivid, or loaded otherwise than by %s", VIVID);
	if (access(OPTION, F_OK))
		SKIP(return, "no VIDEOBUF2_PINPAGE");
	self->size = set_format(self->fd);
	ASSERT_EQ(320 * 180 * 2, self->size);
	/* The second and the fourth begin in the middle of a page. */
	for (b = 0; b < NR_BUFS; b++)
		self->offset[b] = b % 2 * 256;
	ASSERT_LE(self->size + self->offset[1], NR * PAGE);
	self->huge = variant->huge;
	self->frame = malloc(self->size);
	ASSERT_NE(NULL, self->frame);
	ASSERT_EQ(0, read_reference(self));
	self->balance = pin_balance();
	for (b = 0; b < NR_BUFS; b++) {
		self->at[b] = self->huge ? map_huge() : map_anon(NR);
		ASSERT_NE(NULL, self->at[b]);
		user_fill(self->at[b], NR, b);
	}
}

FIXTURE_TEARDOWN(vb2)
{
	int b;

	set_control(self->fd, "Percentage of Dropped Buffers", 0);
	write_text(OPTION, "1");
	close(self->fd);
	EXPECT_EQ(self->balance, pin_balance());
	for (b = 0; b < NR_BUFS; b++)
		munmap(self->at[b], self->huge ? HUGE : NR * PAGE);
	close(self->contig);
	free(self->frame);
}

/* Frames have been there, and the process has its buffers back. */
TEST_F_TIMEOUT(vb2, idle, TEST_SECONDS)
{
	int round, b;

	ASSERT_EQ(0, start(self));
	for (round = 0; round < 2; round++) {
		for (b = 0; b < NR_BUFS; b++)
			ASSERT_LE(0, dequeue(self, NULL));
		/* Nothing is with the driver, though it streams. */
		EXPECT_EQ(NR_BUFS * PLACED, place(self));
		EXPECT_LE(NR_BUFS * PLACED, count_in_area(self));
		EXPECT_EQ(0, take_area(self));
		for (b = 0; b < NR_BUFS; b++)
			EXPECT_EQ(0, wrong_bytes(self, b));
		ASSERT_EQ(0, queue_all(self));
		EXPECT_LE(0, check_stream(self, NR_BUFS));
	}
	ASSERT_EQ(0, finish(self));
	EXPECT_EQ(NR_BUFS * PLACED, place(self));
	EXPECT_EQ(0, take_area(self));
}

/* Has the driver given it back? */
static bool is_done(struct _test_data_vb2 *self, int b)
{
	struct v4l2_buffer buf = user_buffer(self, b);

	return !do_ioctl(self->fd, VIDIOC_QUERYBUF, &buf) && buf.flags & V4L2_BUF_FLAG_DONE;
}

/* Frames are there, and nobody comes to fetch them. */
TEST_F_TIMEOUT(vb2, finished, TEST_SECONDS)
{
	int b;

	EXPECT_EQ(NR_BUFS * PLACED, place(self));
	ASSERT_EQ(0, start(self));
	for (b = 0; b < NR_BUFS; b++)
		while (!is_done(self, b))
			sleep_ms(20);
	EXPECT_LE(NR_BUFS * PLACED, count_in_area(self));
	EXPECT_EQ(0, take_area(self));
	EXPECT_LE(0, check_stream(self, 2 * NR_BUFS));
	ASSERT_EQ(0, finish(self));
}

/* Does who stands in the way say who it is? */
static bool blamed(struct __test_metadata *_metadata, struct _test_data_vb2 *self,
		   const char *why)
{
	uint64_t pfn = user_pfn(self->at[0]);
	bool found = false;
	char line[512];
	FILE *who;

	snprintf(line, sizeof(line), "%llu %llu", (unsigned long long)pfn,
		 (unsigned long long)pfn + 1);
	if (!pfn || write_text(WHO, line))
		return false;
	who = fopen(WHO, "r");
	while (who && fgets(line, sizeof(line), who)) {
		TH_LOG("%s", line);
		found |= strstr(line, "refused") && strstr(line, "videobuf2") &&
			 strstr(line, "vivid") && strstr(line, "buffer 0") && strstr(line, why);
	}
	if (who)
		fclose(who);
	return found;
}

static void expect_stuck(struct __test_metadata *_metadata, struct _test_data_vb2 *self,
			 const char *why)
{
	EXPECT_NE(0, self->huge ? take_huge(self, 0) : cma_take(&self->cma, self->cma.count));
	EXPECT_LE(NR_BUFS * PLACED, count_in_area(self));
	EXPECT_TRUE(blamed(_metadata, self, why));
}

/* Given to the driver, but not to the hardware: it depends on the allocator. */
TEST_F_TIMEOUT(vb2, queued, TEST_SECONDS)
{
	struct v4l2_buffer buf;
	int b;

	ASSERT_EQ(0, request_bufs(self->fd, NR_BUFS, V4L2_MEMORY_USERPTR));
	EXPECT_EQ(NR_BUFS * PLACED, place(self));
	/* One of them is only prepared. */
	buf = user_buffer(self, 0);
	memset(data(self, 0), 0xa5, self->size);
	ASSERT_EQ(0, do_ioctl(self->fd, VIDIOC_PREPARE_BUF, &buf));
	for (b = 1; b < NR_BUFS; b++)
		ASSERT_EQ(0, queue(self, b));
	/* Where they were is where they are. */
	EXPECT_LE(NR_BUFS * PLACED, count_in_area(self));
	if (variant->dma) {
		expect_stuck(_metadata, self, "prepared for the driver");
		/* As after REQBUFS, but pinned. */
		EXPECT_EQ(0, stream(self->fd, false));
		EXPECT_EQ(0, take_area(self));
		ASSERT_EQ(0, queue_all(self));
	} else {
		EXPECT_EQ(0, take_area(self));
		ASSERT_EQ(0, do_ioctl(self->fd, VIDIOC_QBUF, &buf));
	}
	ASSERT_EQ(0, stream(self->fd, true));
	EXPECT_LE(0, check_stream(self, 2 * NR_BUFS));
	ASSERT_EQ(0, finish(self));
}

/* Not before the taker has got what it is waiting for. */
static int stream_to_the_end(struct _test_data_vb2 *self)
{
	int lost = check_stream(self, FRAMES), more;

	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	while (lost >= 0 && !__atomic_load_n(&self->done, __ATOMIC_ACQUIRE)) {
		more = check_stream(self, 5);
		lost = more < 0 ? more : lost + more;
	}
	stop_taker(self);
	return lost;
}

/*
 * The area is taken and given back all the time. An emulated machine stops now
 * and then, and loses frames without us: then hardly more than where nothing moves.
 * On a debug kernel whoever takes the area takes the processor from the camera, too.
 */
TEST_F_TIMEOUT(vb2, streaming, TEST_SECONDS)
{
	int attempt, lost, least = FRAMES, most = debug_kernel() ? FRAMES : 0;
	int attempts = debug_kernel() ? 2 : ATTEMPTS;
	int64_t before = moved();

	ASSERT_EQ(0, start(self));
	ASSERT_LE(0, check_stream(self, NR_BUFS));
	for (attempt = 0; least && attempt < attempts; attempt++) {
		ASSERT_EQ(0, start_taker(self));
		lost = stream_to_the_end(self);
		ASSERT_LE(0, lost);
		TH_LOG("%d frames lost, %d allocations, %lld pages moved so far", lost,
		       self->rounds, (long long)(moved() - before));
		EXPECT_LT(0, self->rounds);
		EXPECT_EQ(0, self->failed)
			TH_LOG("allocation: %s", strerror(-self->err));
		least = lost < least ? lost : least;
	}
	EXPECT_LE(before + PLACED, moved());
	for (attempt = 0; least > most && attempt < attempts; attempt++) {
		lost = check_stream(self, FRAMES);
		ASSERT_LE(0, lost);
		TH_LOG("%d frames lost while nothing moves", lost);
		most = lost > most ? lost : most;
	}
	EXPECT_LE(least, most + FRAMES / 50);
	ASSERT_EQ(0, finish(self));
}

/* Hardware that keeps what it has got. */
TEST_F_TIMEOUT(vb2, stuck, TEST_SECONDS)
{
	EXPECT_EQ(NR_BUFS * PLACED, place(self));
	ASSERT_EQ(0, set_control(self->fd, "Percentage of Dropped Buffers", 100));
	ASSERT_EQ(0, start(self));
	expect_stuck(_metadata, self, "owned by the driver");
	/* And what it was waiting for comes. */
	ASSERT_EQ(0, set_control(self->fd, "Percentage of Dropped Buffers", 0));
	EXPECT_LE(0, check_stream(self, NR_BUFS));
	ASSERT_EQ(0, finish(self));
	EXPECT_EQ(0, take_area(self));
}

/* As it was: out of the area before it is pinned, and then for good. */
TEST_F_TIMEOUT(vb2, opt_out, TEST_SECONDS)
{
	EXPECT_EQ(NR_BUFS * PLACED, place(self));
	ASSERT_EQ(0, write_text(OPTION, "0"));
	ASSERT_EQ(0, start(self));
	if (!self->huge)
		EXPECT_EQ(0, count_in_area(self));
	EXPECT_LE(0, check_stream(self, NR_BUFS));
	ASSERT_EQ(0, finish(self));
	EXPECT_NE(0, move_first(self, 0));
	ASSERT_EQ(0, write_text(OPTION, "1"));
	/* Pinned once more, and it can. */
	ASSERT_EQ(0, request_bufs(self->fd, 0, V4L2_MEMORY_USERPTR));
	ASSERT_EQ(0, start(self));
	EXPECT_LE(0, check_stream(self, NR_BUFS));
	ASSERT_EQ(0, finish(self));
	EXPECT_EQ(0, move_first(self, 0));
	EXPECT_EQ(0, take_area(self));
}

static int queue_and_take_back(struct _test_data_vb2 *self)
{
	struct v4l2_buffer buf = user_buffer(self, 0);

	return do_ioctl(self->fd, VIDIOC_QBUF, &buf) ?: stream(self->fd, false);
}

/* To queue a buffer that has moved takes no memory, so it can't fail for want of it. */
TEST_F_TIMEOUT(vb2, no_memory, TEST_SECONDS)
{
	struct v4l2_buffer buf = user_buffer(self, 0);
	int nth = open_fail_nth();
	bool failed;
	int n;

	if (nth < 0)
		SKIP(return, "no FAULT_INJECTION");
	ASSERT_EQ(0, request_bufs(self->fd, NR_BUFS, V4L2_MEMORY_USERPTR));
	ASSERT_EQ(0, queue_and_take_back(self));
	for (n = 1; n <= 4; n++) {
		EXPECT_EQ(0, move_first(self, n));
		fail_nth(nth, 1);
		EXPECT_EQ(0, do_ioctl(self->fd, VIDIOC_QBUF, &buf));
		failed = has_failed(nth);
		EXPECT_FALSE(failed);
		ASSERT_EQ(0, stream(self->fd, false));
	}
	close(nth);
	ASSERT_EQ(0, start(self));
	EXPECT_LE(0, check_stream(self, NR_BUFS));
	ASSERT_EQ(0, finish(self));
	EXPECT_EQ(0, take_area(self));
}

/*
 * One behind the other, as by malloc(): the page between two of them is of both, a
 * huge one of all.
 */
TEST_F_TIMEOUT(vb2, packed, TEST_SECONDS)
{
	size_t pages = NR_BUFS * NR;
	char *region, *old[NR_BUFS];
	int b, lost;

	region = self->huge ? map_huge() : map_anon(pages);
	ASSERT_NE(NULL, region);
	user_fill(region, pages, 0);
	for (b = 0; b < NR_BUFS; b++) {
		old[b] = self->at[b];
		self->at[b] = region + (b * self->size & -PAGE);
		self->offset[b] = b * self->size % PAGE;
	}
	EXPECT_LT(0, place(self));
	ASSERT_EQ(0, start(self));
	for (b = 0; b < NR_BUFS; b++)
		ASSERT_LE(0, dequeue(self, NULL));
	/* None of them is in use, so all of them at once. */
	EXPECT_EQ(0, take_area(self));
	/* A page of two buffers stays while the driver is at work: it would stop both. */
	ASSERT_EQ(0, queue_all(self));
	ASSERT_EQ(0, start_taker(self));
	lost = check_stream(self, FRAMES);
	stop_taker(self);
	ASSERT_LE(0, lost);
	TH_LOG("%d frames lost, %d of %d allocations failed", lost, self->failed, self->rounds);
	ASSERT_EQ(0, finish(self));
	EXPECT_EQ(0, take_area(self));
	ASSERT_EQ(0, request_bufs(self->fd, 0, V4L2_MEMORY_USERPTR));
	munmap(region, self->huge ? HUGE : pages * PAGE);
	for (b = 0; b < NR_BUFS; b++) {
		self->at[b] = old[b];
		self->offset[b] = b % 2 * 256;
	}
}

struct waiter {
	struct _test_data_vb2 *self;
	pthread_t thread;
	int err;
};

static void *place_first(void *arg)
{
	struct waiter *waiter = arg;

	waiter->err = move_first(waiter->self, 0);
	return NULL;
}

static void *queue_first(void *arg)
{
	struct waiter *waiter = arg;
	struct v4l2_buffer buf = user_buffer(waiter->self, 0);

	waiter->err = do_ioctl(waiter->self->fd, VIDIOC_QBUF, &buf);
	return NULL;
}

static void no_restart(int sig)
{
}

/* Is the move that the other owner keeps waiting still under way? */
static bool is_waiting(int device, int id)
{
	return dev_count(device, id).open;
}

static bool begins_to_wait(int device, int id)
{
	int tries;

	for (tries = 100; !is_waiting(device, id) && tries; tries--)
		sleep_ms(10);
	/* A stream that is short of buffers keeps them for 100 ms. */
	sleep_ms(200);
	return is_waiting(device, id);
}

/*
 * A move that stands still in the middle, for the sake of another owner of a page:
 * DQBUF does not care, and QBUF waits as long as there is no signal.
 */
TEST_F_TIMEOUT(vb2, waits, TEST_SECONDS)
{
	struct sigaction action = { .sa_handler = no_restart };
	struct waiter mover = { .self = self }, queuer = { .self = self };
	bool dequeued = false, interrupted = false;
	char why[64] = "";
	int b, id, attempt, device = device_open(why, sizeof(why));
	struct v4l2_buffer buf;

	if (device < 0)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	for (attempt = 0; !(dequeued && interrupted) && attempt < 20; attempt++) {
		ASSERT_EQ(0, start(self));
		for (b = 0; b < NR_BUFS; b++)
			while (!is_done(self, b))
				sleep_ms(20);
		/* Waited for until the signal has come. */
		id = dev_pin(device, (struct test_pinpage_pin) {
			.kind = TEST_PINPAGE_USER, .addr = (uintptr_t)self->at[0],
			.len = PAGE, .timeout_ms = 1000 });
		ASSERT_LE(0, id);
		ASSERT_EQ(0, dev_policy(device, (struct test_pinpage_policy) {
			.id = id, .hold = 1 }));
		ASSERT_EQ(0, pthread_create(&mover.thread, NULL, place_first, &mover));
		if (begins_to_wait(device, id)) {
			fcntl(self->fd, F_SETFL, O_NONBLOCK);
			EXPECT_EQ(0, dequeue(self, NULL));
			dequeued |= is_waiting(device, id);
			fcntl(self->fd, F_SETFL, 0);
			ASSERT_EQ(0, pthread_create(&queuer.thread, NULL, queue_first, &queuer));
			sleep_ms(100);
			pthread_kill(queuer.thread, SIGUSR1);
			pthread_join(queuer.thread, NULL);
			if (queuer.err) {
				EXPECT_EQ(-EINTR, queuer.err);
				interrupted |= is_waiting(device, id);
				/* As it was: with us, and to be queued. */
				buf = user_buffer(self, 0);
				EXPECT_EQ(0, do_ioctl(self->fd, VIDIOC_QUERYBUF, &buf));
				EXPECT_FALSE(buf.flags & V4L2_BUF_FLAG_QUEUED);
				EXPECT_EQ(0, queue(self, 0));
			}
		}
		ASSERT_EQ(0, dev_policy(device, (struct test_pinpage_policy) { .id = id }));
		pthread_join(mover.thread, NULL);
		ASSERT_EQ(0, dev_unpin(device, id));
		ASSERT_EQ(0, stream(self->fd, false));
		ASSERT_EQ(0, request_bufs(self->fd, 0, V4L2_MEMORY_USERPTR));
	}
	EXPECT_TRUE(dequeued);
	EXPECT_TRUE(interrupted);
	close(device);
}

/* Buffers go in the middle of moves: by REQBUFS, and with the process. */
TEST_F_TIMEOUT(vb2, release, TEST_SECONDS)
{
	int round, status, b;
	pid_t pid;

	ASSERT_EQ(0, start_taker(self));
	for (round = 0; round < 8; round++) {
		ASSERT_EQ(0, start(self));
		EXPECT_LE(0, check_stream(self, round % 3));
		ASSERT_EQ(0, stream(self->fd, false));
		ASSERT_EQ(0, request_bufs(self->fd, 0, V4L2_MEMORY_USERPTR));
	}
	stop_taker(self);
	EXPECT_EQ(0, self->failed);
	close(self->fd);
	for (round = 0; round < 4; round++) {
		pid = fork();
		if (!pid) {
			self->fd = open_video(variant->bus);
			/* A copy on write is of small pages. */
			for (b = 0; self->huge && b < NR_BUFS; b++)
				self->at[b] = map_huge();
			if (self->fd < 0 || set_format(self->fd) < 0 || start_taker(self) ||
			    start(self))
				_exit(1);
			/* Gone from under the buffer, which it keeps. */
			munmap(self->at[1] + PAGE, PAGE);
			for (;;)
				if (dequeue(self, NULL) < 0)
					_exit(1);
		}
		ASSERT_LT(0, pid);
		sleep_ms(300);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	/* What a killed taker had taken. */
	cma_give(&self->cma, self->cma.count);
	self->fd = open_video(variant->bus);
	ASSERT_LE(0, self->fd);
	ASSERT_LT(0, set_format(self->fd));
	ASSERT_EQ(0, start(self));
	EXPECT_LE(0, check_stream(self, NR_BUFS));
	ASSERT_EQ(0, finish(self));
	EXPECT_EQ(0, take_area(self));
}

/* A driver that has not said that its buffers may move: pinned, and out of the area. */
TEST(other_driver)
{
	struct v4l2_requestbuffers req = {
		.count = 1, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_USERPTR,
	};
	struct v4l2_buffer buf = { .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
	int contig = contig_open(), fd = -1, i;
	struct cma cma;
	char path[32];
	size_t pages;
	char *at;

	if (contig < 0 || !find_cma(&cma))
		SKIP(return, "no CMA area, or no /dev/cma_test");
	system("modprobe -q vim2m >/dev/null 2>&1");
	for (i = 0; fd < 0 && i < 64; i++) {
		struct v4l2_capability cap = {};

		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && (ioctl(fd, VIDIOC_QUERYCAP, &cap) ||
				strcmp((char *)cap.driver, "vim2m"))) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0)
		SKIP(return, "no vim2m");
	ASSERT_EQ(0, do_ioctl(fd, VIDIOC_REQBUFS, &req));
	ASSERT_EQ(0, do_ioctl(fd, VIDIOC_QUERYBUF, &buf));
	pages = (buf.length + PAGE - 1) / PAGE;
	at = map_anon(pages);
	ASSERT_NE(NULL, at);
	user_fill(at, pages, 1);
	for (i = 0; i < PLACED; i++)
		EXPECT_EQ(0, contig_place(contig, at + i * PAGE, cma.base + i));
	buf.memory = V4L2_MEMORY_USERPTR;
	buf.m.userptr = (uintptr_t)at;
	buf.bytesused = buf.length;
	ASSERT_EQ(0, do_ioctl(fd, VIDIOC_QBUF, &buf));
	for (i = 0; i < PLACED; i++)
		EXPECT_FALSE(in_cma(&cma, user_pfn(at + i * PAGE)));
	EXPECT_FALSE(page_flag(user_pfn(at), KPF_PINPAGE));
	EXPECT_EQ(0, user_check(at, pages, 1));
	close(fd);
	munmap(at, pages * PAGE);
	close(contig);
}

TEST_HARNESS_MAIN
