/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/state.h"

#include "base/text.h"

#include <sys/mman.h>
#include <sys/stat.h>

enum {
	WORD_BITS = 64
};

struct State {
	PagerState *shared;
	size_t size;
	atomic_uint_fast64_t *bits[BITS_COUNT_];
};

static uint64_t words_for(uint64_t memory_size, uint64_t page_size)
{
	return memory_size / page_size / WORD_BITS + 1;
}

static uint64_t file_size(uint64_t words)
{
	return sizeof(PagerState) + BITS_COUNT_ * words * sizeof(uint64_t);
}

static int map(State *state, int fd, uint64_t words)
{
	atomic_uint_fast64_t *first;

	void *memory = mmap(NULL, file_size(words), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	state->size = file_size(words);
	state->shared = memory;
	first = (void *)(state->shared + 1);
	for (size_t i = 0; i < BITS_COUNT_; i++)
		state->bits[i] = first + i * words;
	return 0;
}

/* Not seen before it is whole. Disk space that is missing would be SIGBUS later. */
static int make(State *state, const char *path, const PagerState *first)
{
	cleanup_free char *aside = text_printf("%s.new", path);
	cleanup_close int fd =
		open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = -posix_fallocate(fd, 0, (off_t)file_size(first->words));
	if (r == 0)
		r = map(state, fd, first->words);
	if (r == 0) {
		memcpy(state->shared, first, sizeof *first);
		r = rename(aside, path) < 0 ? -errno : 0;
	}
	if (r < 0)
		(void)unlink(aside);
	return r;
}

int state_new(State **ret, const char *path, const ProcessId *vmm, const Regions *regions,
	      uint64_t memory_size, Error *err)
{
	cleanup_(state_freep) State *state = new0(State);
	PagerState first = {
		.version = STATE_VERSION,
		.size = sizeof first,
		.vmm_pid = vmm->pid,
		.vmm_start_time = vmm->start_time,
		.memory_size = memory_size,
		.words = words_for(memory_size, regions->page_size),
		.regions = *regions,
	};
	int r;

	memcpy(first.magic, state_magic, sizeof state_magic);
	r = make(state, path, &first);
	if (r < 0)
		return error_set_errno(err, ERROR_UFFD, -r, "make %s", path);
	*ret = take_ptr(state);
	return 0;
}

static int check(const PagerState *seen, uint64_t size, const ProcessId *vmm, uint64_t memory_size)
{
	Regions regions = seen->regions;
	Error err = { 0 };

	return memcmp(seen->magic, state_magic, sizeof state_magic) == 0 &&
			       seen->version == STATE_VERSION && seen->size == sizeof *seen &&
			       seen->vmm_pid == vmm->pid &&
			       seen->vmm_start_time == vmm->start_time &&
			       seen->memory_size == memory_size &&
			       regions_check(&regions, memory_size, &err) == 0 &&
			       seen->words == words_for(memory_size, regions.page_size) &&
			       size == file_size(seen->words)
		       ? 0
		       : -EINVAL;
}

int state_open(State **ret, const char *path, const ProcessId *vmm, uint64_t memory_size,
	       Error *err)
{
	cleanup_(state_freep) State *state = new0(State);
	cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	PagerState seen;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, ERROR_UFFD, errno, "open %s", path);
	if (pread(fd, &seen, sizeof seen, 0) != (ssize_t)sizeof seen ||
	    check(&seen, (uint64_t)st.st_size, vmm, memory_size) < 0)
		return error_set_cause(err, ERROR_UFFD, CAUSE_CORRUPT,
				       "%s is not of a pager of pid %d and this memory file", path,
				       (int)vmm->pid);
	r = map(state, fd, seen.words);
	if (r < 0)
		return error_set_errno(err, ERROR_UFFD, -r, "map %s", path);
	*ret = take_ptr(state);
	return 0;
}

void state_free(State *state)
{
	if (!state)
		return;
	if (state->shared)
		(void)munmap(state->shared, state->size);
	free(state);
}

PagerState *state_shared(State *state)
{
	return state->shared;
}

bool state_bit(const State *state, StateBits bits, uint64_t page)
{
	uint64_t word =
		atomic_load_explicit(&state->bits[bits][page / WORD_BITS], memory_order_relaxed);

	return word >> page % WORD_BITS & 1;
}

void state_set_bits(State *state, StateBits bits, uint64_t page, uint64_t count)
{
	while (count) {
		uint64_t at = page % WORD_BITS;
		uint64_t n = count < WORD_BITS - at ? count : WORD_BITS - at;
		uint64_t ones = n == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << n) - 1;

		(void)atomic_fetch_or_explicit(&state->bits[bits][page / WORD_BITS], ones << at,
					       memory_order_relaxed);
		page += n;
		count -= n;
	}
}

/* The first page from @page on whose bit differs from all those of @same, 0 or all ones. */
static uint64_t next_unlike(const State *state, StateBits bits, uint64_t page, uint64_t end,
			    uint64_t same)
{
	while (page < end) {
		uint64_t word = atomic_load_explicit(&state->bits[bits][page / WORD_BITS],
						     memory_order_relaxed);

		word = (word ^ same) >> page % WORD_BITS;
		if (word) {
			page += (uint64_t)__builtin_ctzll(word);
			return page < end ? page : end;
		}
		page += WORD_BITS - page % WORD_BITS;
	}
	return end;
}

uint64_t state_next_bit(const State *state, StateBits bits, uint64_t page, uint64_t end)
{
	return next_unlike(state, bits, page, end, 0);
}

uint64_t state_next_clear(const State *state, StateBits bits, uint64_t page, uint64_t end)
{
	return next_unlike(state, bits, page, end, UINT64_MAX);
}

void state_fail(State *state, const char *format, ...)
{
	PagerState *shared = state->shared;
	va_list ap;

	if (atomic_load(&shared->failed))
		return;
	va_start(ap, format);
	(void)text_vappend(shared->failure, shared->failure + sizeof shared->failure, format, ap);
	va_end(ap);
	atomic_store(&shared->failed, 1); /* now it may be read */
}
