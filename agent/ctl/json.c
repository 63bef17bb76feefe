/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/json.h"

#include "agent/ctl/message.h"
#include "base/text.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "google/rpc/error_details.pb-c.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

static const struct {
	const ProtobufCMessageDescriptor *type;
} details[] = {
	{ &google__rpc__error_info__descriptor },
	{ &google__rpc__bad_request__descriptor },
	{ &google__rpc__retry_info__descriptor },
	{ &google__rpc__resource_info__descriptor },
	{ &google__rpc__precondition_failure__descriptor },
};

void json_name(char ret[static 64], const ProtobufCFieldDescriptor *field)
{
	size_t n = 0;
	bool raise = false;

	for (const char *at = field->name; *at && n < 63; at++) {
		if (*at != '_')
			ret[n++] = *at;
		/* Names of fields are ASCII, whose upper case is 32 below. */
		if (raise && *at >= 'a' && *at <= 'z')
			ret[n - 1] = (char)(*at - 32);
		raise = *at == '_';
	}
	ret[n] = '\0';
}

bool json_is_map(const ProtobufCFieldDescriptor *field)
{
	const ProtobufCMessageDescriptor *entry = field->descriptor;
	size_t length;

	/* protobuf-c does not carry the map_entry option; protoc reserves the name. */
	if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	length = strlen(entry->short_name);
	return length > 5 && strcmp(entry->short_name + length - 5, "Entry") == 0 &&
	       entry->n_fields == 2 && strcmp(entry->fields[0].name, "key") == 0 &&
	       strcmp(entry->fields[1].name, "value") == 0;
}

/* Text as JSON; what is not UTF-8 becomes U+FFFD, because JSON has no other way. */
static json_t *text_value(const char *text)
{
	size_t length = strlen(text);
	cleanup_free char *clean = NULL;

	if (text_is_utf8(text, length))
		return json_stringn(text, length);
	clean = must_calloc(3, length + 1);
	length = text_to_utf8(clean, text, length);
	return json_stringn(clean, length);
}

static json_t *base64_value(const ProtobufCBinaryData *bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	cleanup_free char *text = must_calloc(4, bytes->len / 3 + 2);
	size_t n = 0;

	for (size_t i = 0; i < bytes->len; i += 3) {
		size_t left = bytes->len - i;
		uint32_t group = (uint32_t)bytes->data[i] << 16;

		if (left > 1)
			group |= (uint32_t)bytes->data[i + 1] << 8;
		if (left > 2)
			group |= bytes->data[i + 2];
		text[n++] = digits[group >> 18];
		text[n++] = digits[group >> 12 & 63];
		text[n++] = (char)(left > 1 ? digits[group >> 6 & 63] : '=');
		text[n++] = (char)(left > 2 ? digits[group & 63] : '=');
	}
	return json_stringn(text, n);
}

/* Appends ".5", ".25", and so on; nothing for 0. */
static char *append_fraction(char *at, const char *end, int32_t nanos)
{
	char digits[16] = "";
	size_t length;

	if (!nanos)
		return at;
	(void)text_append(digits, digits + sizeof digits, "%09" PRId32, nanos < 0 ? -nanos : nanos);
	for (length = 9; digits[length - 1] == '0'; length--)
		digits[length - 1] = '\0';
	return text_append(at, end, ".%s", digits);
}

/* RFC 3339 time in UTC, as "2026-11-23T16:00:00.5Z". */
static void timestamp_to_text(char ret[static 40], int64_t seconds, int32_t nanos)
{
	const char *end = ret + 40;
	time_t at = (time_t)seconds;
	struct tm tm = { 0 };
	char *to = ret;

	(void)gmtime_r(&at, &tm);
	to = text_append(to, end, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	to = append_fraction(to, end, nanos);
	(void)text_append(to, end, "Z");
}

static json_t *timestamp_value(const ProtobufCMessage *message)
{
	const Google__Protobuf__Timestamp *time = (const void *)message;
	char text[40];

	timestamp_to_text(text, time->seconds, time->nanos);
	return json_string(text);
}

static json_t *duration_value(const ProtobufCMessage *message)
{
	const Google__Protobuf__Duration *duration = (const void *)message;
	char text[64];
	char *at = text_append(text, text + sizeof text, "%s%" PRId64,
			       duration->seconds == 0 && duration->nanos < 0 ? "-" : "",
			       duration->seconds);

	at = append_fraction(at, text + sizeof text, duration->nanos);
	(void)text_append(at, text + sizeof text, "s");
	return json_string(text);
}

static json_t *any_value(const ProtobufCMessage *message)
{
	const Google__Protobuf__Any *any = (const void *)message;
	const char *name = strrchr(any->type_url, '/');
	json_t *object = json_object();

	(void)json_object_set_new(object, "@type", text_value(any->type_url));
	for (size_t i = 0; name && i < array_size(details); i++) {
		cleanup_(message_freep) ProtobufCMessage *detail = NULL;
		cleanup_(json_freep) json_t *members = NULL;

		if (strcmp(name + 1, details[i].type->name) == 0)
			detail = protobuf_c_message_unpack(details[i].type, NULL, any->value.len,
							   any->value.data);
		if (!detail)
			continue;
		members = json_from_message(detail);
		(void)json_object_update(object, members);
		return object;
	}
	(void)json_object_set_new(object, "value", base64_value(&any->value));
	return object;
}

static json_t *mask_value(const ProtobufCMessage *message)
{
	const Google__Protobuf__FieldMask *mask = (const void *)message;
	char text[512];
	char *at = text;

	*at = '\0';
	for (size_t i = 0; i < mask->n_paths; i++) {
		const ProtobufCFieldDescriptor named = { .name = mask->paths[i] };
		char name[64];

		json_name(name, &named);
		at = text_append(at, text + sizeof text, "%s%s", i ? "," : "", name);
	}
	return json_string(text);
}

/* Types with a JSON form of their own. */
static const struct {
	const ProtobufCMessageDescriptor *type;
	json_t *(*value)(const ProtobufCMessage *message);
} special[] = {
	{ &google__protobuf__timestamp__descriptor, timestamp_value },
	{ &google__protobuf__duration__descriptor, duration_value },
	{ &google__protobuf__any__descriptor, any_value },
	{ &google__protobuf__field_mask__descriptor, mask_value },
};

static json_t *u64_value(uint64_t number)
{
	char text[24];

	(void)text_append(text, text + sizeof text, "%" PRIu64, number);
	return json_string(text);
}

static json_t *i64_value(int64_t number)
{
	char text[24];

	(void)text_append(text, text + sizeof text, "%" PRId64, number);
	return json_string(text);
}

static json_t *real_value(double number)
{
	if (isnan(number))
		return json_string("NaN");
	if (isinf(number))
		return json_string(number > 0 ? "Infinity" : "-Infinity");
	return json_real(number);
}

static json_t *enum_value(const ProtobufCEnumDescriptor *names, int value)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(names, value);

	return known ? json_string(known->name) : json_integer(value);
}

/*
 * From here on functions call each other, as deep as messages lie in each
 * other; no type of the contract contains itself.
 */
/* NOLINTBEGIN(misc-no-recursion) */

/* The value of type @field->type stored at @at. */
static json_t *value_at(const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return i64_value(*(const int64_t *)at);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return u64_value(*(const uint64_t *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return real_value((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return real_value(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_value(field->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return text_value(*(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return base64_value(at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return json_from_message(*(ProtobufCMessage *const *)at);
	}
	return json_null();
}

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

/* Is a singular field unset, which in proto3 is the same as its default? */
static bool is_unset(const ProtobufCFieldDescriptor *field, const void *at)
{
	static const char zeros[sizeof(ProtobufCBinaryData)];

	if (field->type == PROTOBUF_C_TYPE_STRING)
		return text_equal(*(char *const *)at, NULL);
	if (field->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)at)->len == 0;
	return memcmp(at, zeros, value_size(field->type)) == 0;
}

static void add_map(json_t *object, const char *name, void *const *entries, size_t n)
{
	json_t *map = json_object();

	for (size_t i = 0; i < n; i++) {
		const ProtobufCMessage *entry = entries[i];
		const ProtobufCFieldDescriptor *fields = entry->descriptor->fields;
		const char *base = (const char *)entry;
		/* Every map of the contract has text for keys. */
		const char *key = *(char *const *)(const void *)(base + fields[0].offset);

		(void)json_object_set_new(map,
					  text_is_utf8(key, strlen(key)) ? key : "\xef\xbf\xbd",
					  value_at(&fields[1], base + fields[1].offset));
	}
	(void)json_object_set_new(object, name, map);
}

static void add_field(json_t *object, const ProtobufCFieldDescriptor *field, const char *message)
{
	const void *at = message + field->offset;
	const char *elements;
	char name[64];
	json_t *array;
	size_t n;

	json_name(name, field);
	if (field->label != PROTOBUF_C_LABEL_REPEATED) {
		if (!is_unset(field, at))
			(void)json_object_set_new(object, name, value_at(field, at));
		return;
	}
	n = *(const size_t *)(const void *)(message + field->quantifier_offset);
	elements = *(char *const *)at;
	if (n == 0)
		return;
	if (json_is_map(field)) {
		add_map(object, name, (void *const *)(const void *)elements, n);
		return;
	}
	array = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(
			array, value_at(field, elements + i * value_size(field->type)));
	(void)json_object_set_new(object, name, array);
}

json_t *json_from_message(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	json_t *object;

	for (size_t i = 0; i < array_size(special); i++)
		if (special[i].type == type)
			return special[i].value(message);
	object = json_object();
	for (unsigned i = 0; i < type->n_fields; i++)
		add_field(object, &type->fields[i], (const char *)message);
	return object;
}

/* NOLINTEND(misc-no-recursion) */

void json_print(FILE *to, const json_t *json, bool indented)
{
	(void)json_dumpf(json, to, indented ? JSON_INDENT(2) : JSON_COMPACT);
	(void)fputc('\n', to);
	(void)fflush(to);
}

void json_print_message(const ProtobufCMessage *message, bool indented)
{
	cleanup_(json_freep) json_t *json = json_from_message(message);

	json_print(stdout, json, indented);
}
