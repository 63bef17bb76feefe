/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/pager_guest.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

enum {
	PIECE = 64 * 1024, /* is a hole or is not */
	WORDS = GUEST_PAGE / sizeof(uint64_t),
	CLUSTER = 8,
	STALL_NS = 5000,
	REGIONS = 32
};

__attribute__((__noreturn__)) static void die(const char *what)
{
	perror(what);
	exit(2);
}

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t guest_random(uint64_t *state)
{
	return mix((*state)++);
}

/* What 4 KiB at @offset of the file begin with; 0: they are a hole. */
static uint64_t word_at(const GuestPlan *plan, uint64_t offset)
{
	if (mix(offset / PIECE) % 100 < plan->hole_percent)
		return 0;
	return mix(~offset) | 1;
}

void guest_make_file(const char *path, const GuestPlan *plan)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t words[WORDS];

	if (fd < 0 || ftruncate(fd, (off_t)plan->size) < 0)
		die(path);
	for (uint64_t at = 0; at < plan->size; at += sizeof words) {
		uint64_t first = word_at(plan, at);

		if (!first)
			continue;
		for (size_t i = 0; i < WORDS; i++)
			words[i] = first + i;
		if (pwrite(fd, words, sizeof words, (off_t)at) != (ssize_t)sizeof words)
			die(path);
	}
}

static uint64_t region_size(const GuestPlan *plan)
{
	uint64_t size = plan->size / plan->regions;

	return size - size % plan->page_size;
}

/* The last region has what is left. */
static uint64_t size_of_region(const GuestPlan *plan, unsigned i)
{
	uint64_t size = region_size(plan);

	return i + 1 < plan->regions ? size : plan->size - i * size;
}

static int make_uffd(void)
{
	cleanup_close int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (device >= 0)
		return ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

/* As vmm::persist::guest_memory_from_uffd() does. */
static void map_memory(Guest *guest)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE };
	int huge = guest->plan.page_size == GUEST_PAGE_HUGE ? MAP_HUGETLB : 0;

	guest->uffd = make_uffd();
	if (guest->uffd < 0 || ioctl(guest->uffd, UFFDIO_API, &api) < 0)
		die("userfaultfd");
	for (unsigned i = 0; i < guest->plan.regions; i++) {
		uint64_t size = size_of_region(&guest->plan, i);
		struct uffdio_register wanted = { .mode = UFFDIO_REGISTER_MODE_MISSING };

		guest->memory[i] = mmap(NULL, size, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | huge, -1, 0);
		if (guest->memory[i] == MAP_FAILED)
			die("map the guest's memory");
		/* Apart from the next: a page that belongs to nobody. */
		(void)mmap(NULL, GUEST_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		wanted.range.start = (uintptr_t)guest->memory[i];
		wanted.range.len = size;
		if (ioctl(guest->uffd, UFFDIO_REGISTER, &wanted) < 0)
			die("register the guest's memory");
	}
}

/* As serde writes GuestRegionUffdMapping. */
static void write_regions(const Guest *guest, char *at, const char *end)
{
	uint64_t offset = 0;

	at = text_append(at, end, "[");
	for (unsigned i = 0; i < guest->plan.regions; i++) {
		uint64_t size = size_of_region(&guest->plan, i);

		at = text_append(at, end,
				 "%s{\"base_host_virt_addr\":%" PRIu64 ",\"size\":%" PRIu64
				 ",\"offset\":%" PRIu64 ",\"page_size\":%" PRIu64
				 ",\"page_size_kib\":%" PRIu64 "}",
				 i ? "," : "", (uint64_t)(uintptr_t)guest->memory[i], size, offset,
				 guest->plan.page_size, guest->plan.page_size);
		offset += size;
	}
	(void)text_append(at, end, "]");
}

static void hand_over(Guest *guest, const char *path)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char text[REGIONS * 256];
	struct iovec part = { .iov_base = text };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};

	write_regions(guest, text, text + sizeof text);
	part.iov_len = strlen(text);
	memcpy(CMSG_DATA(&control.header), &guest->uffd, sizeof guest->uffd);
	text_copy(address.sun_path, sizeof address.sun_path, path);
	guest->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(guest->socket, (const void *)&address, sizeof address) < 0 ||
	    sendmsg(guest->socket, &message, MSG_NOSIGNAL) != (ssize_t)part.iov_len)
		die("hand the guest's memory over");
}

static void await_step(int steps)
{
	char step;

	if (read(steps, &step, 1) != 1)
		_exit(2); /* the test is over */
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

__attribute__((__noreturn__)) static void live(Guest *guest, const char *socket, int steps,
					       GuestWork *work)
{
	uint64_t begun;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGBUS, SIG_DFL); /* a sanitizer's handler would make another end of it */
	map_memory(guest);
	await_step(steps);
	hand_over(guest, socket);
	await_step(steps);
	begun = now_ns();
	work(guest);
	atomic_store(&guest->report->all_ns, now_ns() - begun);
	_exit(atomic_load(&guest->report->bad) ? 1 : 0);
}

GuestProcess guest_start(const GuestPlan *plan, const char *socket, GuestWork *work)
{
	Guest guest = { .plan = *plan, .pages = plan->size / plan->page_size };
	GuestProcess process;
	int steps[2];
	pid_t pid;

	guest.report = mmap(NULL, sizeof *guest.report, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (guest.report == MAP_FAILED || pipe2(steps, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		die("start a guest");
	if (pid == 0) {
		(void)close(steps[1]);
		live(&guest, socket, steps[0], work);
	}
	(void)close(steps[0]);
	process = (GuestProcess){ .report = guest.report, .steps = steps[1] };
	if (process_identify(&process.id, pid) < 0)
		die("find the guest");
	return process;
}

void guest_step(const GuestProcess *process)
{
	if (write(process->steps, "", 1) != 1)
		die("have the guest go on");
}

int guest_wait(GuestProcess *process, int64_t usec)
{
	int64_t deadline = clock_mono_us() + usec;
	int status = 0;
	pid_t pid;

	while ((pid = waitpid(process->id.pid, &status, WNOHANG)) == 0) {
		if (clock_mono_us() >= deadline) {
			(void)kill(process->id.pid, SIGKILL);
			(void)waitpid(process->id.pid, NULL, 0);
			pid = -1;
			break;
		}
		clock_sleep_us(1000);
	}
	(void)close(process->steps);
	process->steps = -1;
	return pid > 0 ? status : -1;
}

static char *page_at(const Guest *guest, uint64_t page)
{
	uint64_t size = region_size(&guest->plan), at = page * guest->plan.page_size;
	uint64_t region = at / size;

	if (region >= guest->plan.regions)
		region = guest->plan.regions - 1;
	return guest->memory[region] + (at - region * size);
}

volatile uint64_t *guest_page(const Guest *guest, uint64_t page)
{
	return (volatile uint64_t *)(void *)page_at(guest, page);
}

void guest_give_back(const Guest *guest, uint64_t page, uint64_t count)
{
	if (madvise(page_at(guest, page), count * guest->plan.page_size, MADV_DONTNEED) < 0)
		die("give pages back");
}

uint64_t guest_word(const Guest *guest, uint64_t page)
{
	return word_at(&guest->plan, page * guest->plan.page_size);
}

static bool holds(const volatile uint64_t *words, uint64_t first)
{
	for (size_t i = 0; i < WORDS; i++)
		if (words[i] != (first ? first + i : 0))
			return false;
	return true;
}

bool guest_page_is_right(const Guest *guest, uint64_t page)
{
	uint64_t page_size = guest->plan.page_size;
	const volatile uint64_t *words = guest_page(guest, page);

	for (uint64_t at = 0; at < page_size; at += GUEST_PAGE, words += WORDS)
		if (!holds(words, word_at(&guest->plan, page * page_size + at)))
			return false;
	return true;
}

bool guest_page_is_zero(const Guest *guest, uint64_t page)
{
	return holds(guest_page(guest, page), 0);
}

void guest_touch(Guest *guest, uint64_t page)
{
	GuestReport *report = guest->report;
	uint64_t begun = now_ns(), took;

	(void)*guest_page(guest, page);
	took = now_ns() - begun;
	atomic_fetch_add_explicit(&report->sum_ns, took, memory_order_relaxed);
	if (took > STALL_NS)
		atomic_fetch_add_explicit(&report->stalls, 1, memory_order_relaxed);
	if (took > atomic_load_explicit(&report->max_ns, memory_order_relaxed))
		atomic_store_explicit(&report->max_ns, took, memory_order_relaxed);
	if (!guest_page_is_right(guest, page))
		atomic_fetch_add(&report->bad, 1);
	atomic_fetch_add_explicit(&report->touched, 1, memory_order_relaxed);
}

void guest_touch_in_order(Guest *guest)
{
	for (uint64_t page = 0; page < guest->pages; page++)
		guest_touch(guest, page);
}

/* The first @count of @all in an order that is any, and the same each time; to free. */
static uint32_t *shuffled(uint64_t all)
{
	uint32_t *order = new0_array(uint32_t, all);
	uint64_t random = 1;

	for (uint64_t i = 0; i < all; i++) {
		uint64_t k = guest_random(&random) % (i + 1);

		order[i] = order[k];
		order[k] = (uint32_t)i;
	}
	return order;
}

static void touch_shuffled(Guest *guest, uint64_t share, uint64_t cluster)
{
	uint64_t clusters = guest->pages / cluster;
	cleanup_free uint32_t *order = shuffled(clusters);

	for (uint64_t i = 0; i < clusters / share; i++)
		for (uint64_t k = 0; k < cluster; k++)
			guest_touch(guest, order[i] * cluster + k);
}

void guest_touch_scattered(Guest *guest)
{
	touch_shuffled(guest, 4, 1);
}

void guest_touch_clusters(Guest *guest)
{
	touch_shuffled(guest, 4, CLUSTER);
}

void guest_touch_all_mixed(Guest *guest)
{
	touch_shuffled(guest, 1, 1);
}

const char *guest_cannot(uint64_t page_size, uint64_t bytes)
{
	static const char path[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
	cleanup_close int uffd = make_uffd();
	cleanup_free char *text = NULL;

	if (uffd < 0)
		return "this process may not have a userfaultfd";
	if (page_size != GUEST_PAGE_HUGE)
		return NULL;
	if (file_read(&text, NULL, path, 64) < 0 ||
	    strtoull(text, NULL, 10) * GUEST_PAGE_HUGE < bytes)
		return "the host has too few huge pages";
	return NULL;
}
