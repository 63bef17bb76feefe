/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where names have led: for each VM a list of names and addresses, sorted by
 * address, and of that what the programs look up, a rule for each address. Both
 * are in pinned maps; a pin never without its names, so that an agent that dies
 * leaves nothing that the next one would not know of.
 */

#include "base/text.h"
#include "netfw/filter_private.h"

#include <errno.h>
#include <string.h>

enum {
	LIVE_SECONDS = 60, /* for which an address in use is held once more */
	AHEAD_SECONDS = 10,
};

static const int64_t nsec_per_sec = INT64_C(1000000000);

/* One name at one address; @name is our own. */
typedef struct FilterPinned {
	struct filter_name_key key;
	uint64_t until; /* monotonic ns */
	char *name;
} Pinned;

static uint64_t now_ns(void)
{
	return (uint64_t)clock_mono_us() * 1000;
}

static uint64_t after_seconds(uint32_t seconds)
{
	return now_ns() + seconds * (uint64_t)nsec_per_sec;
}

static struct filter_name_key make_key(uint32_t slot, const char *name, const Prefix *address)
{
	struct filter_name_key key;

	memset(&key, 0, sizeof key);
	key.pin.slot = slot;
	key.pin.family = address->family;
	memcpy(key.pin.address, address->address, address->family == 4 ? 4 : 16);
	key.hash = text_hash(name, strlen(name));
	return key;
}

static Prefix address_of(const struct filter_pin_key *pin)
{
	Prefix address = { .family = pin->family, .length = pin->family == 4 ? 32 : 128 };

	memcpy(address.address, pin->address, sizeof address.address);
	return address;
}

/* Where @key is, or belongs. */
static size_t place_of(const FilterNames *names, const struct filter_name_key *key)
{
	size_t low = 0, high = names->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (memcmp(&names->pinned[middle].key, key, sizeof *key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool same_address(const Pinned *a, const Pinned *b)
{
	return memcmp(&a->key.pin, &b->key.pin, sizeof a->key.pin) == 0;
}

/* One behind the last one of @at's address. */
static size_t end_of_address(const FilterNames *names, size_t at)
{
	size_t end = at;

	while (end < names->count && same_address(&names->pinned[at], &names->pinned[end]))
		end++;
	return end;
}

static void remove_parts(const Filter *filter, struct filter_pin_key pin, uint8_t from)
{
	for (pin.part = from; pin.part < FILTER_PIN_PARTS; pin.part++)
		(void)bpf_map_delete_elem(filter->maps[FILTER_MAP_PINS], &pin);
}

static int put(const Filter *filter, FilterMap map, const void *key, const void *value, Error *err)
{
	if (bpf_map_update_elem(filter->maps[map], key, value, BPF_ANY) == 0)
		return 0;
	if (errno == E2BIG)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_EXHAUSTED,
				       "names have led to %d addresses already", FILTER_PINS_MAX);
	return error_set_errno(err, ERROR_FIREWALL, errno, "pin an address");
}

/*
 * Makes true what the names at @at's address allow together. The first part is written last, for it
 * says how many there are.
 */
static int write_pin(const Filter *filter, const FilterNames *names, size_t at, Error *err)
{
	cleanup_(port_ranges_clear) PortRanges ranges = { .items = NULL };
	struct filter_pin parts[FILTER_PIN_PARTS] = { 0 };
	struct filter_pin_key pin = names->pinned[at].key.pin;
	size_t end = end_of_address(names, at), left;
	uint64_t until = 0;
	uint8_t count = 0;

	for (size_t i = at; i < end; i++) {
		name_rules_ports(names->rules, names->pinned[i].name, pin.family, &ranges);
		if (names->pinned[i].until > until)
			until = names->pinned[i].until;
	}
	port_ranges_unite(&ranges);
	do {
		left = filter_rule_fill(&parts[count].rule, &ranges, (size_t)count * FILTER_RANGES);
		parts[count++].until = until;
	} while (left && count < FILTER_PIN_PARTS);
	parts[0].parts = count;
	for (pin.part = count; pin.part-- > 0;)
		if (put(filter, FILTER_MAP_PINS, &pin, &parts[pin.part], err) < 0)
			return -1;
	remove_parts(filter, names->pinned[at].key.pin, count);
	return 0;
}

static void forget(const Filter *filter, FilterNames *names, size_t at)
{
	Pinned *gone = &names->pinned[at];

	(void)bpf_map_delete_elem(filter->maps[FILTER_MAP_NAMES], &gone->key);
	free(gone->name);
	names->count--;
	memmove(gone, gone + 1, (names->count - at) * sizeof *gone);
}

/*
 * Of the names at the address of @at those that @stays has no doubts of stay; returns where the
 * next address begins. What is taken away is taken away from the programs first.
 */
static size_t review(const Filter *filter, FilterNames *names, size_t at,
		     bool (*stays)(const FilterNames *names, const Pinned *pinned))
{
	struct filter_pin_key pin = names->pinned[at].key.pin;
	size_t end = end_of_address(names, at), kept = 0;
	Error ignored = { 0 };

	for (size_t i = at; i < end; i++)
		kept += stays(names, &names->pinned[i]);
	if (!kept)
		remove_parts(filter, pin, 0);
	for (size_t i = end; i-- > at;)
		if (!stays(names, &names->pinned[i]))
			forget(filter, names, i);
	/* What can't be written must not stay as it was. */
	if (kept && write_pin(filter, names, at, &ignored) < 0)
		remove_parts(filter, pin, 0);
	return at + kept;
}

static void review_all(const Filter *filter, FilterNames *names,
		       bool (*stays)(const FilterNames *names, const Pinned *pinned))
{
	for (size_t at = 0; at < names->count;)
		at = review(filter, names, at, stays);
}

static bool is_allowed(const FilterNames *names, const Pinned *pinned)
{
	Prefix address = address_of(&pinned->key.pin);

	return name_rules_allow(names->rules, pinned->name) &&
	       !name_rules_deny(names->rules, &address);
}

static bool is_new(const FilterNames *names, const Pinned *pinned)
{
	(void)names;
	return pinned->until > now_ns();
}

void filter_names_set(Filter *filter, uint32_t slot, NameRules *rules)
{
	FilterNames *names = &filter->names[slot];
	NameRules *before = names->rules;

	names->rules = rules ? name_rules_ref(rules) : NULL;
	name_rules_unref(before);
	review_all(filter, names, is_allowed);
	if (names->count)
		return;
	free(names->pinned);
	names->pinned = NULL;
	names->room = 0;
}

/* The one of @names that ends first makes room. */
static void make_room(const Filter *filter, FilterNames *names)
{
	size_t first = 0;

	if (names->count < FILTER_VM_PINS)
		return;
	for (size_t i = 1; i < names->count; i++)
		if (names->pinned[i].until < names->pinned[first].until)
			first = i;
	names->pinned[first].until = 0;
	while (first > 0 && same_address(&names->pinned[first - 1], &names->pinned[first]))
		first--;
	(void)review(filter, names, first, is_new);
}

static void insert(FilterNames *names, const struct filter_name_key *key, const char *name,
		   uint64_t until)
{
	size_t at = place_of(names, key);

	if (names->count == names->room) {
		names->room = names->room ? 2 * names->room : 8;
		names->pinned = must_realloc(names->pinned, names->room, sizeof *names->pinned);
	}
	memmove(names->pinned + at + 1, names->pinned + at,
		(names->count - at) * sizeof *names->pinned);
	names->pinned[at] = (Pinned){ *key, until, text_dup(name) };
	names->count++;
}

static int remember(const Filter *filter, const Pinned *pinned, Error *err)
{
	struct filter_name value = { .until = pinned->until };

	text_copy(value.name, sizeof value.name, pinned->name);
	return put(filter, FILTER_MAP_NAMES, &pinned->key, &value, err);
}

static bool is_pinned(const FilterNames *names, const struct filter_name_key *key)
{
	size_t at = place_of(names, key);

	return at < names->count && memcmp(&names->pinned[at].key, key, sizeof *key) == 0;
}

static int pin_one(const Filter *filter, FilterNames *names, const struct filter_name_key *key,
		   const NameLead *lead, Error *err)
{
	uint64_t until = after_seconds(lead->ttl);
	bool known = is_pinned(names, key);
	size_t at;

	if (!known) {
		make_room(filter, names);
		insert(names, key, lead->name, until);
	}
	at = place_of(names, key);
	if (names->pinned[at].until < until)
		names->pinned[at].until = until;
	if (remember(filter, &names->pinned[at], err) < 0) {
		if (!known)
			forget(filter, names, at);
		return -1;
	}
	while (at > 0 && same_address(&names->pinned[at - 1], &names->pinned[at]))
		at--;
	return write_pin(filter, names, at, err);
}

/* Has a block of the policy in @slot something at @address? */
static bool has_block(const Filter *filter, uint32_t slot, const Prefix *address)
{
	bool four = address->family == 4;
	cleanup_close int trie =
		filter_inner(filter, four ? FILTER_MAP_POLICIES4 : FILTER_MAP_POLICIES6, slot);
	struct filter_key6 key = { .length = four ? 32 : 128 }; /* begins as that of IPv4 */
	struct filter_rule rule;

	memcpy(key.address, address->address, sizeof key.address);
	return trie >= 0 && bpf_map_lookup_elem(trie, &key, &rule) == 0 &&
	       (rule.any || rule.range_count);
}

/* All are looked at before the first is pinned. */
static int check_lead(const Filter *filter, const struct filter_vm *vm, const NameLead *lead,
		      Error *err)
{
	const NameRules *rules = filter->names[vm->slot].rules;
	char text[PREFIX_TEXT_MAX];

	if (!name_rules_allow(rules, lead->name))
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT, "no rule allows %s",
				       lead->name);
	for (size_t i = 0; i < lead->count; i++)
		if (name_rules_deny(rules, &lead->addresses[i]) &&
		    !has_block(filter, vm->policy, &lead->addresses[i]))
			return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
					       "%s leads to %s, where no name may lead", lead->name,
					       prefix_format(&lead->addresses[i], text));
	return 0;
}

static int pin_all(const Filter *filter, uint32_t slot, const NameLead *lead, Error *err)
{
	FilterNames *names = &filter->names[slot];

	for (size_t i = 0; i < lead->count; i++) {
		struct filter_name_key key = make_key(slot, lead->name, &lead->addresses[i]);

		if (!name_rules_deny(names->rules, &lead->addresses[i]) &&
		    pin_one(filter, names, &key, lead, err) < 0)
			return -1;
	}
	return 0;
}

int filter_pin(Filter *filter, uint32_t ifindex, const NameLead *lead, Error *err)
{
	struct filter_vm vm;
	int r;

	filter_claim(filter);
	r = filter_find_vm(filter, ifindex, &vm, err);
	if (r == 0)
		r = check_lead(filter, &vm, lead, err);
	if (r == 0)
		r = pin_all(filter, vm.slot, lead, err);
	filter_release(filter);
	return r;
}

void filter_each_pin(Filter *filter, uint32_t ifindex,
		     void (*each)(void *user, const char *name, const Prefix *address,
				  int64_t seconds),
		     void *user)
{
	uint64_t now = now_ns();
	Error ignored = { 0 };
	struct filter_vm vm;

	filter_claim(filter);
	if (filter_find_vm(filter, ifindex, &vm, &ignored) == 0) {
		const FilterNames *names = &filter->names[vm.slot];

		for (size_t i = 0; i < names->count; i++) {
			const Pinned *pinned = &names->pinned[i];
			Prefix address = address_of(&pinned->key.pin);
			int64_t left = (int64_t)(pinned->until - now) / nsec_per_sec;

			if (pinned->until > now)
				each(user, pinned->name, &address, left);
		}
	}
	filter_release(filter);
}

/* Addresses that flows of a VM go to. */
typedef struct Live {
	struct filter_pin_key pins[FILTER_FLOWS];
	size_t count;
} Live;

static void add_live(void *user, const struct filter_flow_key *key)
{
	Live *live = user;
	struct filter_pin_key *pin = &live->pins[live->count];

	if (live->count == FILTER_FLOWS)
		return;
	memset(pin, 0, sizeof *pin);
	pin->family = key->family;
	memcpy(pin->address, key->remote, sizeof pin->address);
	live->count++;
}

static bool is_live(const Live *live, const struct filter_pin_key *pin)
{
	for (size_t i = 0; i < live->count; i++)
		if (live->pins[i].family == pin->family &&
		    memcmp(live->pins[i].address, pin->address, sizeof pin->address) == 0)
			return true;
	return false;
}

/* A while before it would end: until then a change of the policy must not cut its flows. */
void filter_names_tend(Filter *filter, uint32_t slot)
{
	FilterNames *names = &filter->names[slot];
	uint64_t soon = after_seconds(AHEAD_SECONDS);
	cleanup_free Live *live = NULL;
	Error ignored = { 0 };

	for (size_t i = 0; names->rules && i < names->count; i++) {
		Pinned *pinned = &names->pinned[i];

		if (pinned->until > soon)
			continue;
		if (!live) {
			live = new0(Live);
			filter_flows_each(filter, slot, add_live, live);
		}
		if (!is_live(live, &pinned->key.pin))
			continue;
		pinned->until = after_seconds(LIVE_SECONDS);
		(void)!remember(filter, pinned, &ignored);
	}
	if (live)
		review_all(filter, names, is_new);
}

static void adopt_one(Filter *filter, const struct filter_name_key *key, const bool *used)
{
	struct filter_name value;

	if (key->pin.slot >= filter->max_vms || !used[key->pin.slot]) {
		remove_parts(filter, key->pin, 0);
		(void)bpf_map_delete_elem(filter->maps[FILTER_MAP_NAMES], key);
		return;
	}
	if (bpf_map_lookup_elem(filter->maps[FILTER_MAP_NAMES], key, &value) < 0)
		return;
	value.name[sizeof value.name - 1] = '\0';
	insert(&filter->names[key->pin.slot], key, value.name, value.until);
}

int filter_names_adopt(Filter *filter, Error *err)
{
	cleanup_free bool *used = new0_array(bool, filter->max_vms);
	cleanup_free struct filter_name_key *keys = NULL;
	struct filter_name_key key, *at = NULL;
	uint32_t ifindex, *vm_at = NULL;
	size_t count = 0, room = 0;
	struct filter_vm vm;

	filter->names = new0_array(FilterNames, filter->max_vms);
	for (; bpf_map_get_next_key(filter->maps[FILTER_MAP_VMS], vm_at, &ifindex) == 0;
	     vm_at = &ifindex)
		if (filter_find_vm(filter, ifindex, &vm, err) == 0 && vm.slot < filter->max_vms)
			used[vm.slot] = true;
	error_clear(err);
	/* Listed first: a walk whose key is gone begins again. */
	for (; bpf_map_get_next_key(filter->maps[FILTER_MAP_NAMES], at, &key) == 0; at = &key) {
		if (count == room) {
			room = room ? 2 * room : 64;
			keys = must_realloc(keys, room, sizeof *keys);
		}
		keys[count++] = key;
	}
	for (size_t i = 0; i < count; i++)
		adopt_one(filter, &keys[i], used);
	return 0;
}

void filter_names_free(Filter *filter)
{
	for (uint32_t slot = 0; filter->names && slot < filter->max_vms; slot++) {
		FilterNames *names = &filter->names[slot];

		for (size_t i = 0; i < names->count; i++)
			free(names->pinned[i].name);
		free(names->pinned);
		name_rules_unref(names->rules);
	}
	free(filter->names);
}
