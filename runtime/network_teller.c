/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_teller.h"

#include "base/clock.h"

#include <string.h>

enum {
	NSEC_PER_USEC = 1000,
	FULL_4 = 32,
	FULL_6 = 128,
};

void network_teller_init(NetworkTeller *teller)
{
	*teller = (NetworkTeller){ .sink = NULL };
	lock_init(&teller->lock);
	cond_init(&teller->told);
}

void network_teller_destroy(NetworkTeller *teller)
{
	cond_destroy(&teller->told);
}

void network_teller_set(NetworkTeller *teller, NetworkSink *sink, void *user)
{
	lock_take(&teller->lock);
	while (teller->telling)
		cond_wait(&teller->told, &teller->lock);
	teller->sink = sink;
	teller->user = user;
	lock_drop(&teller->lock);
}

static Prefix address_of(const uint8_t *bytes, uint8_t family)
{
	Prefix address = { .family = family };

	if (!family)
		return address;
	address.length = family == 4 ? FULL_4 : FULL_6;
	memcpy(address.address, bytes, address.length / 8);
	return address;
}

/* One batch of events, to the sink there is. */
typedef struct Batch {
	NetworkSink *sink;
	void *user;
	int64_t offset; /* of the wall clock to the monotonic one, usec */
} Batch;

static void take_event(void *user, const struct filter_event *event)
{
	const Batch *batch = user;
	const NetworkEvent told = {
		.time = (int64_t)(event->time / NSEC_PER_USEC) + batch->offset,
		.slot = event->slot + 1,
		.verdict = event->verdict,
		.to_vm = event->to_vm,
		.protocol = event->protocol,
		.ethertype = event->ethertype,
		.source = address_of(event->source, event->family),
		.target = address_of(event->target, event->family),
		.source_port = event->source_port,
		.target_port = event->target_port,
		.length = event->length,
		.suppressed = event->suppressed,
	};

	if (batch->sink)
		batch->sink(batch->user, &told);
}

/* The sink there is; it stays until end(). */
static Batch begin(NetworkTeller *teller)
{
	Batch batch = { .offset = clock_wall_us() - clock_mono_us() };

	lock_take(&teller->lock);
	teller->telling++;
	batch.sink = teller->sink;
	batch.user = teller->user;
	lock_drop(&teller->lock);
	return batch;
}

static void end(NetworkTeller *teller)
{
	lock_take(&teller->lock);
	teller->telling--;
	cond_broadcast(&teller->told);
	lock_drop(&teller->lock);
}

void network_teller_tell(NetworkTeller *teller, const NetworkEvent *event)
{
	const Batch batch = begin(teller);

	if (batch.sink)
		batch.sink(batch.user, event);
	end(teller);
}

void network_teller_run(NetworkTeller *teller, Filter *filter)
{
	Batch batch = begin(teller);

	(void)!filter_events_read(filter, take_event, &batch);
	end(teller);
}
