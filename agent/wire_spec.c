/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/wire.h"
#include "agent/wire_table.h"
#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
	PATH_BYTES = 256, /* of a violation's field; longer ones are cut */
	NANOS_MAX = 999999999,
};

/* What google.protobuf.Timestamp and Duration may hold. */
static const int64_t time_seconds_max = INT64_C(253402300799);
static const int64_t duration_seconds_max = INT64_C(315576000000);

typedef void TakeRule(const WirePair *pair, void *to, const void *message, const char *path,
		      Error *err);

static void take_all(const WireTable *table, void *to, const void *message, const char *path,
		     Error *err);

static const void *member(const WirePair *pair, const void *message)
{
	return wire_member_in(message, pair->proto->offset);
}

static void take_bool(const WirePair *pair, void *to, const void *message, const char *path,
		      Error *err)
{
	(void)path;
	(void)err;
	*(bool *)to = *(const protobuf_c_boolean *)member(pair, message) != 0;
}

static void take_32(const WirePair *pair, void *to, const void *message, const char *path,
		    Error *err)
{
	(void)path;
	(void)err;
	memcpy(to, member(pair, message), sizeof(uint32_t));
}

static void take_64(const WirePair *pair, void *to, const void *message, const char *path,
		    Error *err)
{
	(void)path;
	(void)err;
	memcpy(to, member(pair, message), sizeof(uint64_t));
}

static void take_text(const WirePair *pair, void *to, const void *message, const char *path,
		      Error *err)
{
	const char *text = *(char *const *)member(pair, message);

	(void)path;
	(void)err;
	if (text && *text)
		*(char **)to = text_dup(text);
}

/* Zero means unset, so the epoch itself cannot be kept; neither can what is no time. A time stays
 * set all the same: the violation says what is wrong with it. */
static void take_time(const WirePair *pair, void *to, const void *message, const char *path,
		      Error *err)
{
	const Google__Protobuf__Timestamp *time =
		*(Google__Protobuf__Timestamp *const *)member(pair, message);
	int64_t usec = 0;

	if (!time)
		return;
	if (time->nanos < 0 || time->nanos > NANOS_MAX)
		(void)error_add_violation(err, path, "nanos must be 0 to %d, is %" PRId32,
					  NANOS_MAX, time->nanos);
	else if (time->seconds < 0 || time->seconds > time_seconds_max)
		(void)error_add_violation(err, path, "must be in years 1970 to 9999");
	else if (!(usec = time->seconds * USEC_PER_SEC + time->nanos / 1000))
		(void)error_add_violation(err, path, "must be later than 1970-01-01T00:00:00Z");
	*(int64_t *)to = usec ? usec : 1;
}

static bool duration_is_good(const Google__Protobuf__Duration *duration)
{
	int64_t seconds = duration->seconds;
	int32_t nanos = duration->nanos;

	return seconds >= -duration_seconds_max && seconds <= duration_seconds_max &&
	       nanos >= -NANOS_MAX && nanos <= NANOS_MAX && !(seconds > 0 && nanos < 0) &&
	       !(seconds < 0 && nanos > 0);
}

/* A duration of nothing where something is asked for stays set, so that it is found too short. */
static void take_duration(const WirePair *pair, void *to, const void *message, const char *path,
			  Error *err)
{
	const Google__Protobuf__Duration *duration =
		*(Google__Protobuf__Duration *const *)member(pair, message);
	int64_t usec;

	if (!duration)
		return;
	if (!duration_is_good(duration)) {
		(void)error_add_violation(err, path,
					  "seconds must be within %" PRId64
					  ", nanos within %d, of one sign",
					  duration_seconds_max, NANOS_MAX);
		return;
	}
	usec = duration->seconds * USEC_PER_SEC + duration->nanos / 1000;
	if (!usec)
		usec = duration->nanos < 0 ? -1 : pair->field->min > 0;
	*(int64_t *)to = usec;
}

static void take_map(const WirePair *pair, void *to, const void *message, const char *path,
		     Error *err)
{
	const ProtobufCMessageDescriptor *type = pair->proto->descriptor;
	size_t count = *(const size_t *)wire_member_in(message, pair->proto->quantifier_offset);
	void *const *items = *(void **const *)member(pair, message);
	FieldMap *map = to;

	(void)path;
	(void)err;
	if (!count)
		return;
	map->pairs = new0_array(struct FieldPair, count);
	map->count = count;
	for (size_t i = 0; i < count; i++) {
		const char *key = *(char *const *)wire_member(items[i], type->fields[0].offset);
		const char *value = *(char *const *)wire_member(items[i], type->fields[1].offset);

		map->pairs[i].key = text_dup(key ? key : "");
		map->pairs[i].value = text_dup(value ? value : "");
	}
}

static void take_texts(const WirePair *pair, void *to, const void *message, const char *path,
		       Error *err)
{
	size_t count = *(const size_t *)wire_member_in(message, pair->proto->quantifier_offset);
	char *const *items = *(char **const *)member(pair, message);

	(void)path;
	(void)err;
	for (size_t i = 0; i < count; i++)
		field_texts_add(to, items[i]);
}

/* NOLINTBEGIN(misc-no-recursion): as deep as the tables */
static void take_object(const WirePair *pair, void *to, const void *message, const char *path,
			Error *err)
{
	const void *nested = *(void *const *)member(pair, message);
	void *object;

	if (!nested)
		return;
	assert(pair->table); /* no spec has a failure in it */
	object = must_calloc(1, pair->field->table->size);
	take_all(pair->table, object, nested, path, err);
	*(void **)to = object;
}

static void take_list(const WirePair *pair, void *to, const void *message, const char *path,
		      Error *err)
{
	size_t count = *(const size_t *)wire_member_in(message, pair->proto->quantifier_offset);
	void *const *items = *(void **const *)member(pair, message);
	size_t size = pair->field->table->size;
	FieldList *list = to;
	char name[PATH_BYTES];

	if (!count)
		return;
	list->items = must_calloc(count, size);
	list->count = count;
	for (size_t i = 0; i < count; i++) {
		(void)text_append(name, name + sizeof name, "%s[%zu]", path, i);
		take_all(pair->table, (char *)list->items + i * size, items[i], name, err);
	}
}

/* clang-format off */
static TakeRule *const rules[] = {
	[FIELD_BOOL]     = take_bool,
	[FIELD_U32]      = take_32,
	[FIELD_I32]      = take_32,
	[FIELD_U64]      = take_64,
	[FIELD_ENUM]     = take_32,
	[FIELD_TEXT]     = take_text,
	[FIELD_TIME]     = take_time,
	[FIELD_DURATION] = take_duration,
	[FIELD_MAP]      = take_map,
	[FIELD_OBJECT]   = take_object,
	[FIELD_LIST]     = take_list,
	[FIELD_TEXTS]    = take_texts,
};
/* clang-format on */
static_assert(array_size(rules) == FIELD_TYPE_COUNT_, "a rule for every type");

static void take_all(const WireTable *table, void *to, const void *message, const char *path,
		     Error *err)
{
	for (size_t i = 0; i < table->count; i++) {
		const WirePair *pair = &table->pairs[i];
		char name[PATH_BYTES];

		(void)text_append(name, name + sizeof name, "%s.%s", path, pair->field->name);
		rules[pair->field->type](pair, field_at(pair->field, to), message, name, err);
	}
}
/* NOLINTEND(misc-no-recursion) */

VmSpec *wire_spec(const Hearth__V1__VmSpec *message, const char *path, Error *err)
{
	VmSpec *spec = spec_new();

	if (message)
		take_all(wire_tables()->spec, spec, message, path, err);
	return spec;
}

VmEgressPolicy *wire_take_egress(const Hearth__V1__EgressPolicy *message, const char *path,
				 Error *err)
{
	VmEgressPolicy *policy;

	if (!message)
		return NULL;
	policy = new0(VmEgressPolicy);
	take_all(wire_tables()->egress, policy, message, path, err);
	return policy;
}
