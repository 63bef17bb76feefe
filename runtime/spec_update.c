/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec_update.h"

#include "base/text.h"

#include <assert.h>
#include <string.h>

enum {
	FIELD_BYTES = 96, /* of a violation's field */
	LIVE_MAX = 3,
};

/* clang-format off */
static const struct {
	unsigned bit;
	const char *path; /* from the spec */
} parts[] = {
	{ RUNTIME_UPDATE_LABELS,         "labels" },
	{ RUNTIME_UPDATE_RESTART_POLICY, "restart_policy" },
	{ RUNTIME_UPDATE_EXPIRES_AT,     "expires_at" },
	{ RUNTIME_UPDATE_EXPIRE_ACTION,  "expire_action" },
	{ RUNTIME_UPDATE_DRIVES,         "drives" },
	{ RUNTIME_UPDATE_INTERFACES,     "network_interfaces" },
	{ RUNTIME_UPDATE_BALLOON,        "devices.balloon" },
	{ RUNTIME_UPDATE_MMDS,           "devices.mmds" },
	{ RUNTIME_UPDATE_EGRESS,         "egress" },
};
/* clang-format on */

unsigned spec_update_bit(const char *path)
{
	for (size_t i = 0; i < array_size(parts); i++)
		if (strcmp(parts[i].path, path) == 0)
			return parts[i].bit;
	return 0;
}

const char *spec_update_name(unsigned mask)
{
	size_t i = 0;

	while (i < array_size(parts) && !(parts[i].bit & mask))
		i++;
	assert(i < array_size(parts));
	return parts[i].path;
}

char *spec_update_names(void)
{
	char *names = text_dup(parts[0].path);

	for (size_t i = 1; i < array_size(parts); i++) {
		cleanup_free char *before = names;

		names = text_printf("%s, %s", before, parts[i].path);
	}
	return names;
}

/* The field of @table whose name is the first @length bytes of @name: a table of its own. */
static FieldTable only(const FieldTable *table, const char *name, size_t length)
{
	FieldTable one = *table;
	size_t i = 0;

	while (i < table->count && (strlen(table->fields[i].name) != length ||
				    strncmp(table->fields[i].name, name, length) != 0))
		i++;
	assert(i < table->count);
	one.fields = &table->fields[i];
	one.count = 1;
	return one;
}

/* Where a part lies: a field of the spec, or of a structure that is one (or is missing). */
typedef struct Place {
	FieldTable outer; /* count 0: the spec itself */
	FieldTable field;
} Place;

static Place place_of(const char *path)
{
	size_t length = strcspn(path, ".");
	Place place = { .field = only(&vm_spec_table, path, length) };

	if (!path[length])
		return place;
	place.outer = place.field;
	place.field = only(place.outer.fields->table, path + length + 1, strlen(path + length + 1));
	return place;
}

/* The structure that holds the part; NULL: there is none. */
static const void *holder_in(const Place *place, const VmSpec *spec)
{
	if (!place->outer.count)
		return spec;
	return *(void *const *)field_in(place->outer.fields, spec);
}

/* The same, to be changed; made if it is missing and @wanted. */
static void *holder_at(const Place *place, VmSpec *spec, bool wanted)
{
	void **slot;

	if (!place->outer.count)
		return spec;
	slot = field_at(place->outer.fields, spec);
	if (!*slot && wanted)
		*slot = must_calloc(1, place->outer.fields->table->size);
	return *slot;
}

static bool is_set(const Place *place, const VmSpec *spec)
{
	const void *holder = holder_in(place, spec);

	return holder && field_is_set(place->field.fields, holder);
}

static void transfer(const Place *place, VmSpec *to, const VmSpec *from)
{
	void *holder = holder_at(place, to, is_set(place, from));

	if (!holder)
		return;
	fields_clear(&place->field, holder);
	if (is_set(place, from))
		fields_copy(&place->field, holder, holder_in(place, from));
}

static bool is_same(const Place *place, const VmSpec *a, const VmSpec *b)
{
	if (!is_set(place, a) || !is_set(place, b))
		return is_set(place, a) == is_set(place, b);
	return fields_equal(&place->field, holder_in(place, a), holder_in(place, b));
}

VmSpec *spec_updated(const VmSpec *spec, const VmSpec *from, unsigned mask)
{
	VmSpec *next = spec_copy(spec);

	for (size_t i = 0; i < array_size(parts); i++) {
		const Place place = place_of(parts[i].path);

		if (parts[i].bit & mask)
			transfer(&place, next, from);
	}
	return next;
}

unsigned spec_update_difference(const VmSpec *a, const VmSpec *b, unsigned mask)
{
	unsigned difference = 0;

	for (size_t i = 0; i < array_size(parts); i++) {
		const Place place = place_of(parts[i].path);

		if ((parts[i].bit & mask) && !is_same(&place, a, b))
			difference |= parts[i].bit;
	}
	return difference;
}

/* What of a structure its VMM can be told of; the rest it is told of once. */
typedef struct LiveRule {
	const FieldTable *table;
	const char *live[LIVE_MAX]; /* up to the first NULL */
} LiveRule;

static const LiveRule drive_rule = { &vm_drive_table, { "path", "rate_limiter" } };
static const LiveRule interface_rule = { &vm_interface_table,
					 { "rx_rate_limiter", "tx_rate_limiter" } };
static const LiveRule balloon_rule = { &vm_balloon_table, { "amount_mib", "stats_interval" } };
static const LiveRule mmds_rule = { &vm_mmds_table, { "content" } };

static bool is_live(const LiveRule *rule, const char *name)
{
	for (size_t i = 0; i < LIVE_MAX && rule->live[i]; i++)
		if (strcmp(rule->live[i], name) == 0)
			return true;
	return false;
}

/* @path is @a's and @b's. */
static void check_object(const LiveRule *rule, const char *path, const void *a, const void *b,
			 Error *err)
{
	for (size_t i = 0; i < rule->table->count; i++) {
		const char *name = rule->table->fields[i].name;
		const FieldTable one = only(rule->table, name, strlen(name));
		char field[FIELD_BYTES];

		if (is_live(rule, name) || fields_equal(&one, a, b))
			continue;
		(void)snprintf(field, sizeof field, "%s.%s", path, name);
		(void)error_add_violation(err, field, "cannot change while the VM runs");
	}
}

static void check_list(const LiveRule *rule, const char *path, const FieldList *a,
		       const FieldList *b, Error *err)
{
	size_t size = rule->table->size;

	if (a->count != b->count) {
		(void)error_add_violation(err, path,
					  "cannot become more or fewer while the VM runs: there "
					  "are %zu",
					  a->count);
		return;
	}
	for (size_t i = 0; i < a->count; i++) {
		char item[FIELD_BYTES];

		(void)snprintf(item, sizeof item, "%s[%zu]", path, i);
		check_object(rule, item, (const char *)a->items + i * size,
			     (const char *)b->items + i * size, err);
	}
}

/* Devices of which there is one at most. */
static void check_device(const LiveRule *rule, const char *path, const void *a, const void *b,
			 Error *err)
{
	if (a && b)
		check_object(rule, path, a, b, err);
	else if (a || b)
		(void)error_add_violation(err, path, "cannot be %s while the VM runs",
					  a ? "taken away" : "added");
}

int spec_update_check_live(const VmSpec *spec, const VmSpec *to, Error *err)
{
	const VmBalloon *balloon = spec_balloon(spec), *wanted = spec_balloon(to);

	check_list(&drive_rule, "spec.drives", &spec->drives, &to->drives, err);
	check_list(&interface_rule, "spec.network_interfaces", &spec->network_interfaces,
		   &to->network_interfaces, err);
	check_device(&balloon_rule, "spec.devices.balloon", balloon, wanted, err);
	if (balloon && wanted && !balloon->stats_interval != !wanted->stats_interval)
		(void)error_add_violation(err, "spec.devices.balloon.stats_interval",
					  "cannot be %s while the VM runs",
					  balloon->stats_interval ? "switched off" : "switched on");
	check_device(&mmds_rule, "spec.devices.mmds", spec_mmds(spec), spec_mmds(to), err);
	return error_is_set(err) ? -1 : 0;
}
