/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/faults.h"

#include "runtime/pager/filler.h"
#include "runtime/pager/uffd.h"
#include "runtime/pager/window.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum {
	PARKED_ROOM = 16,
	STEP = 64 * 1024, /* of an install: no fault waits for more than that */
	WAIT_MIN_MS = 1,  /* before what is parked is tried again */
	WAIT_MAX_MS = 20,
	NSEC_PER_SEC = 1000000000
};

typedef struct Fault {
	uint64_t address;
	uint64_t since; /* nsec */
} Fault;

struct Faults {
	const FaultsConfig *config;
	const Regions *regions;
	Counters *counters;
	Window window;
	Filler filler;
	struct uffd_msg *messages; /* in the state */
	Fault *parked;
	size_t parked_count, parked_room;
	int wait_ms;
	bool blocking;  /* as the descriptor is now */
	bool gone;      /* the VMM's memory */
	bool stalled;   /* the install's last step came to nothing */
	size_t extent;  /* of the working set, the next to install */
	uint64_t ahead; /* pages of it that are dealt with */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

Faults *faults_new(const FaultsConfig *config)
{
	Faults *faults = new0(Faults);
	PagerState *shared = state_shared(config->state);

	faults->config = config;
	faults->regions = &shared->regions;
	faults->counters = &shared->counters;
	faults->messages = shared->messages;
	faults->window.max = config->window / faults->regions->page_size;
	filler_init(&faults->filler, config->uffd, config->memory, config->state);
	faults->wait_ms = WAIT_MIN_MS;
	return faults;
}

void faults_free(Faults *faults)
{
	if (!faults)
		return;
	filler_clear(&faults->filler);
	free(faults->parked);
	free(faults);
}

/* Nothing can be served: better no VM than one that hangs or has a page of nonsense. */
static void give_up(Faults *faults, const char *what, int problem)
{
	state_fail(faults->config->state, "%s: %s", what, strerrordesc_np(problem));
	(void)!process_signal(faults->config->vmm, SIGKILL);
	faults->gone = true;
}

static void park(Faults *faults, const Fault *fault)
{
	if (faults->parked_count == faults->parked_room) {
		faults->parked_room = faults->parked_room ? 2 * faults->parked_room : PARKED_ROOM;
		faults->parked =
			must_realloc(faults->parked, faults->parked_room, sizeof *faults->parked);
	}
	faults->parked[faults->parked_count++] = *fault;
	counter_add(&faults->counters->parked, 1);
}

static bool is_installing(const Faults *faults)
{
	return faults->extent < faults->config->install->count;
}

/* How much to bring for a fault at @run's first page: no more than costs little. */
static void widen(Faults *faults, Run *run, const Region *region)
{
	uint64_t size = faults->regions->page_size;
	uint64_t wanted = window_open(&faults->window, run->page);
	uint64_t extent = 0;

	/* What is about to be installed is wanted in any case. */
	if (is_installing(faults))
		extent = min(working_set_run(faults->config->install, run->page), STEP / size);
	if (wanted < extent)
		wanted = extent;
	*run = filler_plan(&faults->filler, region, run->page, wanted);
	run->count = state_next_bit(faults->config->state, BITS_PRESENT, run->page + 1,
				    run->page + run->count) -
		     run->page;
	if (!run->zero && run->count > 1)
		run->count =
			min(run->count, memory_file_resident(faults->config->memory,
							     run->page * size, run->count * size) /
						size);
	if (run->count == 0)
		run->count = 1;
	window_close(&faults->window, run->page, run->count);
}

/* Return: 0: whoever waits for it need not any longer; -errno. */
static int bring(Faults *faults, const Fault *fault, const Region *region)
{
	Run run = { .page = region_page(faults->regions, region, fault->address) };
	atomic_uint_fast64_t *counter;
	int64_t n;

	widen(faults, &run, region);
	counter = run.zero ? &faults->counters->pages_zeroed : &faults->counters->pages_copied;
	/* Before: with the page the VMM may come to its end, and the set be saved. */
	state_set_bits(faults->config->state, BITS_TOUCHED, run.page, run.count);
	n = filler_fill(&faults->filler, &run, counter);
	if (n == -ENOENT && run.count > 1) { /* perhaps not the page itself is gone */
		run.count = 1;
		n = filler_fill(&faults->filler, &run, counter);
	}
	if (n == -EFAULT && !run.zero)
		return filler_reread(&faults->filler, &run);
	if (n < 0)
		return (int)n;
	return 0;
}

static void serve(Faults *faults, const Fault *fault)
{
	const Region *region = regions_find(faults->regions, fault->address);
	int r = region ? bring(faults, fault, region) : -EFAULT;

	if (r == -EAGAIN || r == -ENOMEM) {
		park(faults, fault);
		return;
	}
	if (r == -ENOENT) { /* removed: the kernel's, for whoever asks again */
		counter_add(&faults->counters->found_gone, 1);
		filler_wake(&faults->filler, fault->address);
	} else if (r == -ESRCH) {
		faults->gone = true;
	} else if (r < 0) {
		give_up(faults, "a fault that nothing can be done about", -r);
	}
	counters_add_latency(faults->counters, now_ns() - fault->since);
}

/* The part of a removed range that lies in @region. */
static void remove_from(Faults *faults, const Region *region, uint64_t begin, uint64_t end)
{
	uint64_t size = faults->regions->page_size, pages;

	begin = begin > region->address ? begin : region->address;
	end = min(end, region->address + region->size);
	if (begin >= end)
		return;
	pages = (end - begin) / size;
	state_set_bits(faults->config->state, BITS_REMOVED,
		       region_page(faults->regions, region, begin), pages);
	/* What cannot be unregistered is brought as zeros. */
	if (counter_get(&faults->counters->removes) < UNREGISTER_MAX)
		(void)!uffd_unregister(faults->config->uffd, begin, end - begin);
	uffd_wake(faults->config->uffd, begin, end - begin);
	counter_add(&faults->counters->pages_removed, pages);
}

/* Before any fault of the same reading, which may have come after it. */
static void apply_removes(Faults *faults, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct uffd_msg *message = &faults->messages[i];

		if (message->event != UFFD_EVENT_REMOVE)
			continue;
		for (size_t k = 0; k < faults->regions->count; k++)
			remove_from(faults, &faults->regions->items[k], message->arg.remove.start,
				    message->arg.remove.end);
		counter_add(&faults->counters->removes, 1);
		/* The kernel writes it, and the next pager reads it, behind the compiler's back. */
		((volatile struct uffd_msg *)message)->event = 0;
		faults->wait_ms = 0; /* what it held up can go on as soon as the VMM does */
	}
}

static void serve_faults(Faults *faults, size_t count, uint64_t since)
{
	uint64_t mask = faults->regions->page_size - 1;

	for (size_t i = 0; i < count && !faults->gone; i++) {
		const struct uffd_msg *message = &faults->messages[i];
		Fault fault = { message->arg.pagefault.address & ~mask, since };

		if (message->event != UFFD_EVENT_PAGEFAULT)
			continue;
		counter_add(&faults->counters->faults, 1);
		serve(faults, &fault);
	}
}

/* Each once; those that have to wait on are parked anew. */
static void retry_parked(Faults *faults)
{
	size_t count = faults->parked_count;
	Fault *waiting = take_ptr(faults->parked);

	faults->parked_count = faults->parked_room = 0;
	for (size_t i = 0; i < count && !faults->gone; i++)
		serve(faults, &waiting[i]);
	free(waiting);
}

/* The next page to install, and how many with it; false: that was the last. */
static bool next_install(Faults *faults, Run *run)
{
	const WorkingSet *set = faults->config->install;
	const State *state = faults->config->state;
	const Region *region = NULL;

	while (faults->extent < set->count) {
		const Extent *extent = &set->extents[faults->extent];
		uint64_t end = extent->page + extent->count;
		uint64_t page =
			state_next_clear(state, BITS_PRESENT, extent->page + faults->ahead, end);

		faults->ahead = page - extent->page;
		region = page < end ? regions_of_page(faults->regions, page) : NULL;
		if (region && !state_bit(state, BITS_REMOVED, page)) {
			end = state_next_bit(state, BITS_PRESENT, page, end);
			end = min(end, page + (STEP + faults->regions->page_size - 1) /
						       faults->regions->page_size);
			*run = filler_plan(&faults->filler, region, page, end - page);
			return true;
		}
		faults->ahead++;
		if (faults->ahead < extent->count)
			continue;
		faults->extent++;
		faults->ahead = 0;
	}
	return false;
}

static void end_install(Faults *faults)
{
	PagerState *shared = state_shared(faults->config->state);

	atomic_store(&shared->installed, 1);
	faults->config->installed();
}

/* A step. Pages that cannot be had now are left for whoever faults on them. */
static void install_some(Faults *faults)
{
	Run run;
	int64_t n;

	if (!next_install(faults, &run)) {
		end_install(faults);
		return;
	}
	n = filler_fill(&faults->filler, &run, &faults->counters->pages_installed);
	faults->stalled = n == -EAGAIN || n == -ENOMEM;
	if (n == -ESRCH)
		faults->gone = true;
	if (!faults->stalled)
		faults->ahead += n > 0 ? (uint64_t)n : 1;
}

static int set_blocking(Faults *faults, bool blocking)
{
	int r = 0;

	if (faults->blocking != blocking)
		r = uffd_set_blocking(faults->config->uffd, blocking);
	if (r == 0)
		faults->blocking = blocking;
	return r;
}

/* Until there is a message, or a moment after which what has to wait is worth another try. */
static void wait_a_little(Faults *faults)
{
	struct pollfd polled = { .fd = faults->config->uffd, .events = POLLIN };

	if (poll(&polled, 1, faults->wait_ms) != 0)
		return;
	faults->wait_ms = faults->wait_ms ? 2 * faults->wait_ms : WAIT_MIN_MS;
	if (faults->wait_ms > WAIT_MAX_MS)
		faults->wait_ms = WAIT_MAX_MS;
}

/* Return: how many messages have come. */
static size_t take_messages(Faults *faults)
{
	bool installing = is_installing(faults);
	bool waiting = faults->parked_count || (installing && faults->stalled);
	ssize_t n;
	int r = set_blocking(faults, !installing && !waiting);

	if (r < 0) {
		give_up(faults, "set up the userfaultfd", -r);
		return 0;
	}
	if (waiting)
		wait_a_little(faults);
	else
		faults->wait_ms = WAIT_MIN_MS;
	n = read(faults->config->uffd, faults->messages,
		 STATE_MESSAGES_MAX * sizeof *faults->messages);
	if (n >= 0)
		return (size_t)n / sizeof *faults->messages;
	if (errno != EAGAIN && errno != EINTR)
		give_up(faults, "read the userfaultfd", errno);
	return 0;
}

/* The REMOVEs that a dead pager had read are applied, perhaps again; the faults that it had read
 * are asked once more. */
static void take_up(Faults *faults)
{
	counter_add(&faults->counters->takeovers, 1);
	apply_removes(faults, STATE_MESSAGES_MAX);
	for (size_t i = 0; i < faults->regions->count; i++)
		uffd_wake(faults->config->uffd, faults->regions->items[i].address,
			  faults->regions->items[i].size);
}

static void begin(Faults *faults)
{
	const FaultsConfig *config = faults->config;
	PagerState *shared = state_shared(config->state);
	int r = uffd_set_blocking(config->uffd, false);

	faults->blocking = false;
	if (r < 0)
		give_up(faults, "set up the userfaultfd", -r);
	if (config->taken_over)
		take_up(faults);
	atomic_store(&shared->to_install, config->install->pages);
	for (size_t i = 0; i < config->install->count; i++)
		memory_file_want(config->memory,
				 config->install->extents[i].page * faults->regions->page_size,
				 config->install->extents[i].count * faults->regions->page_size);
	if (!config->install->count)
		end_install(faults);
}

void faults_serve(Faults *faults)
{
	begin(faults);
	while (!faults->gone) {
		size_t count = take_messages(faults);
		uint64_t since = count ? now_ns() : 0;

		apply_removes(faults, count);
		serve_faults(faults, count, since);
		if (faults->parked_count)
			retry_parked(faults);
		if (is_installing(faults) && !faults->gone)
			install_some(faults);
	}
}
