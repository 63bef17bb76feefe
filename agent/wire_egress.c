/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/wire_egress.h"

#include "agent/agent.h"

enum {
	DIRECTIONS = 2,
};

/* What became of packets in one direction, as a message of fixed size. */
typedef struct TrafficForm {
	Hearth__V1__EgressTraffic message;
	Hearth__V1__EgressCounter counters[FILTER_VERDICT_COUNT_];
	Hearth__V1__EgressCounter *refs[FILTER_VERDICT_COUNT_];
} TrafficForm;

static Hearth__V1__EgressTraffic *one_direction(Arena *arena, Hearth__V1__Direction direction,
						const struct filter_counters *counters)
{
	TrafficForm *form = arena_alloc(arena, sizeof *form);

	hearth__v1__egress_traffic__init(&form->message);
	form->message.direction = direction;
	form->message.passed_bytes = counters->passed_bytes;
	form->message.dropped_bytes = counters->dropped_bytes;
	form->message.counters = form->refs;
	for (int i = 0; i < FILTER_VERDICT_COUNT_; i++) {
		Hearth__V1__EgressCounter *counter = &form->counters[form->message.n_counters];

		if (!counters->packets[i])
			continue;
		hearth__v1__egress_counter__init(counter);
		counter->verdict = message_text(network_verdict_name(i));
		counter->description = message_text(network_verdict_words(i));
		counter->packets = counters->packets[i];
		form->refs[form->message.n_counters++] = counter;
	}
	return &form->message;
}

Hearth__V1__EgressTraffic **wire_traffic(Arena *arena, const EgressState *state, size_t *count)
{
	Hearth__V1__EgressTraffic **all = arena_alloc(arena, DIRECTIONS * sizeof(void *));

	*count = 0;
	if (!state->has_counters)
		return all;
	all[(*count)++] = one_direction(arena, HEARTH__V1__DIRECTION__DIRECTION_FROM_VM,
					&state->counters.from_vm);
	all[(*count)++] = one_direction(arena, HEARTH__V1__DIRECTION__DIRECTION_TO_VM,
					&state->counters.to_vm);
	return all;
}

typedef struct LeadForm {
	Hearth__V1__EgressLead message;
	Google__Protobuf__Duration remaining;
	char address[NETWORK_ADDRESS_MAX];
} LeadForm;

Hearth__V1__EgressLead **wire_leads(Arena *arena, const EgressState *state, size_t *count)
{
	Hearth__V1__EgressLead **all = arena_alloc(arena, (state->lead_count + 1) * sizeof(void *));

	for (*count = 0; *count < state->lead_count; ++*count) {
		const NetworkLead *lead = &state->leads[*count];
		LeadForm *form = arena_alloc(arena, sizeof *form);

		hearth__v1__egress_lead__init(&form->message);
		google__protobuf__duration__init(&form->remaining);
		network_address_text(form->address, &lead->address);
		form->remaining.seconds = lead->seconds;
		form->message.name = lead->name;
		form->message.address = form->address;
		form->message.remaining = &form->remaining;
		all[*count] = &form->message;
	}
	return all;
}
