/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/filler.h"

#include "runtime/pager/uffd.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void *room_for_page(uint64_t size)
{
	void *room = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		abort();
	return room;
}

void filler_init(Filler *ret, int uffd, const MemoryFile *memory, State *state)
{
	PagerState *shared = state_shared(state);

	*ret = (Filler){
		.uffd = uffd,
		.memory = memory,
		.state = state,
		.regions = &shared->regions,
		.counters = &shared->counters,
		.spare = room_for_page(shared->regions.page_size),
	};
}

void filler_clear(Filler *filler)
{
	(void)munmap(filler->spare, filler->regions->page_size);
}

Run filler_plan(const Filler *filler, const Region *region, uint64_t page, uint64_t count)
{
	const State *state = filler->state;
	uint64_t size = filler->regions->page_size;
	uint64_t end = min(page + count, region_end(filler->regions, region));
	Run run = { .page = page, .address = region_address(filler->regions, region, page) };
	uint64_t bytes;

	if (state_bit(state, BITS_REMOVED, page)) {
		run.zero = true;
		run.count = state_next_clear(state, BITS_REMOVED, page, end) - page;
		return run;
	}
	end = state_next_bit(state, BITS_REMOVED, page, end);
	bytes = memory_file_run(filler->memory, page * size, &run.zero);
	/* A page that only begins with a hole has data. */
	run.zero = run.zero && bytes >= size;
	run.count = min(end - page, bytes / size);
	if (run.count == 0)
		run.count = 1;
	return run;
}

static ssize_t fill_once(const Filler *filler, const Run *run, uint64_t done)
{
	uint64_t size = filler->regions->page_size;
	uint64_t to = run->address + done * size, bytes = (run->count - done) * size;
	int uffd = filler->uffd;

	if (!run->zero)
		return uffd_copy(uffd, to,
				 memory_file_at(filler->memory, (run->page + done) * size), bytes);
	/* Of huge pages there is no zero page. */
	return size == PAGE_SMALL ? uffd_zero(uffd, to, bytes)
				  : uffd_copy(uffd, to, filler->spare, size);
}

int64_t filler_fill(Filler *filler, const Run *run, atomic_uint_fast64_t *counter)
{
	uint64_t size = filler->regions->page_size, done = 0;
	ssize_t n = 0;

	while (done < run->count) {
		n = fill_once(filler, run, done);
		if (n == -EEXIST) { /* somebody may have come to wait since it was put there */
			counter_add(&filler->counters->found_present, 1);
			filler_wake(filler, run->address + done * size);
			done++;
			continue;
		}
		if (n < 0)
			break;
		done += (uint64_t)n / size;
		counter_add(counter, (uint64_t)n / size);
	}
	state_set_bits(filler->state, BITS_PRESENT, run->page, done);
	return done ? (int64_t)done : n;
}

/* Copies what has been read. */
static int fill_from_spare(Filler *filler, uint64_t address)
{
	ssize_t n = uffd_copy(filler->uffd, address, filler->spare, filler->regions->page_size);

	counter_add(&filler->counters->rereads, 1);
	if (n == -EEXIST)
		filler_wake(filler, address);
	return n < 0 && n != -EEXIST ? (int)n : 0;
}

int filler_reread(Filler *filler, const Run *page)
{
	uint64_t size = filler->regions->page_size, offset = page->page * size;
	int r = memory_file_read(filler->memory, filler->spare, offset, size);

	if (r < 0) {
		state_fail(filler->state,
			   "read %" PRIu64 " bytes at %" PRIu64 " of the memory file: %s", size,
			   offset,
			   r == -ENODATA ? "the file has become shorter" : strerrordesc_np(-r));
		r = -EIO;
	} else {
		r = fill_from_spare(filler, page->address);
	}
	/* Zeros again. */
	(void)madvise(filler->spare, size, MADV_DONTNEED);
	return r;
}

void filler_wake(const Filler *filler, uint64_t address)
{
	uffd_wake(filler->uffd, address, filler->regions->page_size);
}
