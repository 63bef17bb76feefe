/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/watch.h"

#include "base/clock.h"
#include "runtime/pager/working_set.h"

#include <string.h>

static void save(const WatchConfig *config)
{
	const PagerState *shared = state_shared(config->state);
	uint64_t page_size = shared->regions.page_size, page = 0;
	uint64_t end = shared->memory_size / page_size;
	WorkingSet set = { 0 };
	int r;

	while ((page = state_next_bit(config->state, BITS_TOUCHED, page, end)) < end) {
		uint64_t next = state_next_clear(config->state, BITS_TOUCHED, page, end);

		working_set_add(&set, page, next - page);
		page = next;
	}
	r = working_set_save(&set, config->record, page_size, shared->memory_size);
	working_set_clear(&set);
	if (r < 0)
		(void)fprintf(stderr, "hearth-pager: save %s: %s\n", config->record,
			      strerrordesc_np(-r));
}

void watch_until_end(const WatchConfig *config)
{
	if (config->record) {
		(void)!process_wait(config->vmm, clock_mono_us() + config->record_for);
		save(config);
	}
	while (process_wait(config->vmm, clock_mono_us() + USEC_PER_SEC * INT64_C(3600)) < 0)
		;
}
