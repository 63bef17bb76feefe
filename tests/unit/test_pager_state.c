/* SPDX-License-Identifier: Apache-2.0 */

/* What one pager leaves to the next. */

#include "base/file.h"
/* NOLINTBEGIN(bugprone-suspicious-include): the pager is a program, not a library */
#include "runtime/pager/regions.c"
#include "runtime/pager/state.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <criterion/criterion.h>

#define MEMORY (PAGES * UINT64_C(4096))

enum {
	PAGES = 200
};

static const Regions regions = { PAGE_SMALL, 1, { { 0x10000, MEMORY, 0 } } };
static const ProcessId vmm = { 4711, 99 };

typedef struct Desk {
	char dir[64];
	char *path;
	State *state;
} Desk;

static Desk desk_new(void)
{
	Desk desk = { .dir = "/tmp/hearth-state-XXXXXX" };
	Error err = { 0 };

	cr_assert_not_null(mkdtemp(desk.dir));
	desk.path = text_printf("%s/pager.state", desk.dir);
	cr_assert_eq(state_new(&desk.state, desk.path, &vmm, &regions, MEMORY, &err), 0, "%s",
		     err.what);
	return desk;
}

static void desk_free(Desk *desk)
{
	state_free(desk->state);
	(void)!file_remove_tree(desk->dir);
	free(desk->path);
}

Test(pager_state, bits_are_found_wherever_they_are)
{
	cleanup_(desk_free) Desk desk = desk_new();
	State *state = desk.state;

	for (uint64_t begin = 0; begin < PAGES; begin += 13)
		for (uint64_t count = 1; begin + count <= PAGES; count += 9) {
			for (size_t i = 0; i <= PAGES / WORD_BITS; i++)
				atomic_store(&state->bits[BITS_REMOVED][i], 0);
			state_set_bits(state, BITS_REMOVED, begin, count);

			cr_assert_eq(state_next_bit(state, BITS_REMOVED, 0, PAGES), begin);
			cr_assert_eq(state_next_clear(state, BITS_REMOVED, begin, PAGES),
				     begin + count);
			cr_assert_eq(state_next_bit(state, BITS_REMOVED, begin + count, PAGES),
				     PAGES);
			cr_assert(state_bit(state, BITS_REMOVED, begin + count - 1));
			cr_assert_not(state_bit(state, BITS_PRESENT, begin));
		}
}

Test(pager_state, the_next_pager_finds_all_of_it)
{
	cleanup_(desk_free) Desk desk = desk_new();
	cleanup_(state_freep) State *next = NULL;
	Error err = { 0 };

	state_set_bits(desk.state, BITS_REMOVED, 7, 3);
	counter_add(&state_shared(desk.state)->counters.faults, 5);
	state_fail(desk.state, "first %d", 1);
	state_fail(desk.state, "second");
	cr_assert_eq(state_open(&next, desk.path, &vmm, MEMORY, &err), 0, "%s", err.what);

	cr_assert_eq(state_next_bit(next, BITS_REMOVED, 0, PAGES), 7);
	cr_assert_eq(counter_get(&state_shared(next)->counters.faults), 5);
	cr_assert_eq(state_shared(next)->regions.items[0].size, MEMORY);
	cr_assert_str_eq(state_shared(next)->failure, "first 1");
}

static void check_not_opened(const Desk *desk, const ProcessId *of, uint64_t memory_size)
{
	State *state = NULL;
	Error err = { 0 };

	cr_assert_eq(state_open(&state, desk->path, of, memory_size, &err), -1);
	cr_assert_eq(err.kind, ERROR_UFFD);
	cr_assert_eq(err.cause, CAUSE_CORRUPT);
}

Test(pager_state, a_file_of_something_else_is_refused)
{
	static const ProcessId later = { 4711, 100 }, other = { 4712, 99 };
	cleanup_(desk_free) Desk desk = desk_new();

	check_not_opened(&desk, &later, MEMORY);
	check_not_opened(&desk, &other, MEMORY);
	check_not_opened(&desk, &vmm, MEMORY + 4096);
	state_shared(desk.state)->regions.items[0].size = 2 * MEMORY;
	check_not_opened(&desk, &vmm, MEMORY);
	state_shared(desk.state)->regions = regions;
	state_shared(desk.state)->words++;
	check_not_opened(&desk, &vmm, MEMORY);
	state_shared(desk.state)->words--;
	state_shared(desk.state)->version++;
	check_not_opened(&desk, &vmm, MEMORY);
	state_shared(desk.state)->version--;
	cr_assert_eq(truncate(desk.path, sizeof(PagerState)), 0);
	check_not_opened(&desk, &vmm, MEMORY);
}
