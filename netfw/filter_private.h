/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of the filter share; for nobody else.
 *
 * Changes are one after another: a change claims the filter, does what it has
 * to, and releases it. Reading (explanations, counters, events) claims
 * nothing: it is the kernel's maps that are read.
 */

#include "base/clock.h"
#include "base/lock.h"
#include "netfw/filter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* The programs, as an ELF object (cmake/bpf.cmake). */
extern const unsigned char filter_object[];
extern const size_t filter_object_size;

/*
 * For the size of libbpf's structures of options, whose own macro is a GNU statement expression.
 * What pads their end has to be 0, which no initialiser promises, so it is left out.
 */
/* NOLINTBEGIN(bugprone-macro-parentheses,bugprone-sizeof-expression): a type's name */
#define FILTER_OPTIONS_SIZE(type)                    \
	(offsetof(struct type, type##__last_field) + \
	 sizeof(((const struct type *)NULL)->type##__last_field))
/* NOLINTEND(bugprone-macro-parentheses,bugprone-sizeof-expression) */

enum {
	FILTER_DIR_MAX = 4096,
	FILTER_CHUNK = 64,          /* inner maps that are made at a time */
	FILTER_PORTS_MAX = 1 << 20, /* port prefixes, of all policies together */
	FILTER_TRIE_MAX = 1 << 16,  /* addresses of one policy and family */
	FILTER_SETS_BITS = 15, /* a port set's number: the policy's slot, and its number there */
	FILTER_IDLE_US = USEC_PER_SEC,
	FILTER_PINS_MAX = 1 << 18, /* of all VMs together */
};

typedef enum FilterMap {
	FILTER_MAP_POLICIES4,
	FILTER_MAP_POLICIES6,
	FILTER_MAP_PORTS,
	FILTER_MAP_PINS,
	FILTER_MAP_NAMES,
	FILTER_MAP_FLOWS,
	FILTER_MAP_COUNTERS,
	FILTER_MAP_FLOW_BUDGETS,
	FILTER_MAP_EVENT_BUDGETS,
	FILTER_MAP_EVENTS,
	FILTER_MAP_VMS, /* the last one: when it is pinned, all are */
	FILTER_MAP_COUNT_,
} FilterMap;

/* A pair of tries, one for each family. */
typedef struct FilterSlot {
	bool used;
	uint32_t references; /* of VMs; used without any: since @idle_since */
	int64_t idle_since;
	uint64_t hash;
	size_t size;
	void *content; /* of the policy, for comparing; NULL: an earlier agent's, which is not known
			*/
} FilterSlot;

/* Where the names of a VM's policy have led. */
typedef struct FilterNames {
	NameRules *rules; /* NULL: none, or an earlier agent's */
	struct FilterPinned *pinned;
	size_t count, room;
} FilterNames;

struct Filter {
	char dir[FILTER_DIR_MAX]; /* of the pins */
	bool fresh;               /* nothing was pinned */
	uint32_t max_vms;
	int maps[FILTER_MAP_COUNT_]; /* of @object */
	struct bpf_object *object;
	struct bpf_object *explainer; /* claimed; NULL before the first question */
	struct ring_buffer *events;

	Lock lock;
	Cond released;
	bool claimed; /* under lock */

	FilterSlot *slots;  /* claimed; 2 * max_vms */
	FilterNames *names; /* claimed; max_vms */

	/* claimed by the reader of events */
	void (*each)(void *user, const struct filter_event *event);
	void *each_user;
};

void filter_claim(Filter *filter);
void filter_release(Filter *filter);

/* filter_load.c: fills object, maps and max_vms; pins what is new. */
int filter_load(Filter *filter, const FilterConfig *config, Error *err) must_check;
/* Claimed: the same programs once more, without effects. The kernel takes a tenth of a second and
 * more to verify them, which an agent that starts need not wait for. */
int filter_load_explainer(Filter *filter, Error *err) must_check;

/* filter_slots.c: all claimed. */

/**
 * filter_publish() - see to it that there is an inner map at @index of @map
 *
 * Makes FILTER_CHUNK of them at once if there is none.
 */
int filter_publish(const Filter *filter, FilterMap map, uint32_t index, Error *err) must_check;
/* The inner map at @index, the caller's to close; or -errno. */
int filter_inner(const Filter *filter, FilterMap map, uint32_t index) must_check;
/* A reference to a slot that holds @table's policy. */
int filter_slot_take(Filter *filter, const FilterTable *table, uint32_t *ret, Error *err)
	must_check;
void filter_slot_drop(Filter *filter, uint32_t slot);
/* Counts who uses what an earlier agent has left. */
int filter_slots_adopt(Filter *filter, Error *err) must_check;
/* Empties what is idle, and publishes ahead; @unused_flows: the first slot above those in use. */
void filter_slots_tend(Filter *filter, uint32_t unused_flows);

/* filter_policy.c: the content of a slot. */
int filter_policy_write(const Filter *filter, uint32_t slot, const FilterTable *table, Error *err)
	must_check;
void filter_policy_clear(const Filter *filter, uint32_t slot);

/* filter_names.c: all claimed, but for the last one. */
int filter_names_adopt(Filter *filter, Error *err) must_check;
/* From now on the pins of @slot are what @rules make of them; NULL: there are none. */
void filter_names_set(Filter *filter, uint32_t slot, NameRules *rules);
/* Ends what is past, but for addresses that a flow of the VM uses. */
void filter_names_tend(Filter *filter, uint32_t slot);
void filter_names_free(Filter *filter);

/* filter_flows.c */
/* Calls @each with every flow of @slot that is not past. */
void filter_flows_each(const Filter *filter, uint32_t slot,
		       void (*each)(void *user, const struct filter_flow_key *key), void *user);
int filter_flows_clear(const Filter *filter, uint32_t slot, Error *err) must_check;
void filter_flows_tend(const Filter *filter, const uint32_t *slots, size_t count);

/* filter_events.c */
int filter_events_open(Filter *filter, Error *err) must_check;

int filter_find_vm(const Filter *filter, uint32_t ifindex, struct filter_vm *ret, Error *err)
	must_check;
