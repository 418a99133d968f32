// SPDX-License-Identifier: GPL-2.0
/*
 * USERPTR buffers of videobuf2 that move: idle, queued, and while vivid streams.
 * vivid's picture stands still here, so each frame has to be the same, byte by
 * byte.
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
#define VIVID	"modprobe -q vivid n_devs=2 allocators=0,2 node_types=1,1 num_inputs=1,1 " \
		"input_types=0,0 >/dev/null 2>&1"

#define NR_BUFS		4
/* The second and the fourth begin in the middle of a page. */
#define OFFSET(b)	((b) % 2 * 256)
#define NR		((size_t)29)	/* pages of a buffer */
#define PLACED		4		/* of them in the area */
#define FRAMES		75
#define ATTEMPTS	5

FIXTURE(vb2) {
	struct cma cma;
	int fd;			/* /dev/videoN */
	int contig;		/* /dev/cma_test */
	size_t size;		/* of a frame */
	char *frame;		/* as it has to be */
	char *at[NR_BUFS];
	int64_t balance;
	pthread_t taker;
	bool stop, done;
	int rounds, failed;	/* what the taker has done */
	int err;		/* of the last that failed */
};

FIXTURE_VARIANT(vb2) {
	const char *bus;
	bool dma;		/* stays from buf_prepare() on */
};

FIXTURE_VARIANT_ADD(vb2, vmalloc) { .bus = "platform:vivid-000" };
FIXTURE_VARIANT_ADD(vb2, dma_sg) { .bus = "platform:vivid-001", .dma = true };

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
	return !strncmp(line, "0,2", 3);
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
	return self->at[b] + OFFSET(b);
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

static size_t count_in_area(struct _test_data_vb2 *self)
{
	size_t i, in = 0;
	int b;

	for (b = 0; b < NR_BUFS; b++)
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

	for (b = 0; b < NR_BUFS; b++)
		for (i = 0; i < PLACED; i++)
			placed += !contig_place(self->contig, self->at[b] + i * 9 * PAGE, pfn++);
	return placed;
}

/* All of the area, and nothing of ours left in it. */
static int take_area(struct _test_data_vb2 *self)
{
	int err = cma_take_patiently(&self->cma, self->cma.count);

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
	ASSERT_LE(self->size + OFFSET(1), NR * PAGE);
	self->frame = malloc(self->size);
	ASSERT_NE(NULL, self->frame);
	ASSERT_EQ(0, read_reference(self));
	self->balance = pin_balance();
	for (b = 0; b < NR_BUFS; b++) {
		self->at[b] = map_anon(NR);
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
		munmap(self->at[b], NR * PAGE);
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
	EXPECT_NE(0, cma_take(&self->cma, self->cma.count));
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
	char *page = self->at[0];

	EXPECT_EQ(NR_BUFS * PLACED, place(self));
	ASSERT_EQ(0, write_text(OPTION, "0"));
	ASSERT_EQ(0, start(self));
	EXPECT_EQ(0, count_in_area(self));
	EXPECT_LE(0, check_stream(self, NR_BUFS));
	ASSERT_EQ(0, finish(self));
	EXPECT_NE(0, contig_place(self->contig, page, self->cma.base));
	ASSERT_EQ(0, write_text(OPTION, "1"));
	/* Pinned once more, and it can. */
	ASSERT_EQ(0, request_bufs(self->fd, 0, V4L2_MEMORY_USERPTR));
	ASSERT_EQ(0, start(self));
	EXPECT_LE(0, check_stream(self, NR_BUFS));
	ASSERT_EQ(0, finish(self));
	EXPECT_EQ(0, contig_place(self->contig, page, self->cma.base));
	EXPECT_EQ(0, take_area(self));
}

static int queue_and_take_back(struct _test_data_vb2 *self)
{
	struct v4l2_buffer buf = user_buffer(self, 0);

	return do_ioctl(self->fd, VIDIOC_QBUF, &buf) ?: stream(self->fd, false);
}

/* A buffer that has moved is mapped for DMA when it is queued, or not queued. */
TEST_F_TIMEOUT(vb2, no_memory, TEST_SECONDS)
{
	int nth = open_fail_nth();
	struct v4l2_buffer buf = user_buffer(self, 0);
	int n, err, refused = 0;
	bool failed = true;

	if (nth < 0)
		SKIP(return, "no FAULT_INJECTION");
	ASSERT_EQ(0, request_bufs(self->fd, NR_BUFS, V4L2_MEMORY_USERPTR));
	for (n = 1; failed && n < 100; n++) {
		ASSERT_EQ(0, queue_and_take_back(self));
		EXPECT_EQ(0, contig_place(self->contig, self->at[0], self->cma.base + n % 2));
		fail_nth(nth, n);
		err = do_ioctl(self->fd, VIDIOC_QBUF, &buf);
		failed = has_failed(nth);
		if (err) {
			EXPECT_TRUE(failed);
			EXPECT_EQ(-ENOMEM, err);
			refused++;
		}
		ASSERT_EQ(0, stream(self->fd, false));
	}
	EXPECT_FALSE(failed);
	EXPECT_EQ(variant->dma, refused > 0);
	close(nth);
	ASSERT_EQ(0, start(self));
	EXPECT_LE(0, check_stream(self, NR_BUFS));
	ASSERT_EQ(0, finish(self));
	EXPECT_EQ(0, take_area(self));
}

/* Buffers go in the middle of moves: by REQBUFS, and with the process. */
TEST_F_TIMEOUT(vb2, release, TEST_SECONDS)
{
	int round, status;
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

TEST_HARNESS_MAIN
