/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/json.h"
#include "agent/ctl/message.h"
#include "base/text.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

#include <string.h>
#include <time.h>

enum {
	PATH_MAX_ = 256
};

/* Where in the document we are, and what was found wrong so far. */
typedef struct Reader {
	Error *err;
	char path[PATH_MAX_];
	size_t length;
} Reader;

static size_t enter(Reader *reader, const char *separator, const char *name)
{
	size_t before = reader->length;
	char *at = reader->path + before;

	at = text_append(at, reader->path + PATH_MAX_, "%s%s", before ? separator : "", name);
	reader->length = (size_t)(at - reader->path);
	return before;
}

static size_t enter_index(Reader *reader, size_t index)
{
	size_t before = reader->length;
	char *at = text_append(reader->path + before, reader->path + PATH_MAX_, "[%zu]", index);

	reader->length = (size_t)(at - reader->path);
	return before;
}

static void leave(Reader *reader, size_t before)
{
	reader->length = before;
	reader->path[before] = '\0';
}

static int refuse(Reader *reader, const char *what)
{
	return error_add_violation(reader->err, reader->length ? reader->path : "(document)", "%s",
				   what);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* @count digits at *@at as a number, moving on; -1 if they are none. */
static int take_digits(const char **at, int count)
{
	int value = 0;

	for (int i = 0; i < count; i++, (*at)++) {
		if (!is_digit(**at))
			return -1;
		value = value * 10 + (**at - '0');
	}
	return value;
}

/* ".5" as nanoseconds; 0 and nothing moved if there is no fraction; -1 if it is bad. */
static int32_t take_fraction(const char **at)
{
	int32_t nanos = 0;
	int32_t unit = 100000000;

	if (**at != '.')
		return 0;
	if (!is_digit(*++*at))
		return -1;
	for (; is_digit(**at); (*at)++, unit /= 10)
		nanos += unit * (**at - '0');
	return nanos;
}

/* "Z" or "+01:00" in seconds east of UTC, at the end of the text. */
static int take_offset(const char *at, int *ret)
{
	int sign = *at == '-' ? -1 : 1;
	int hours, minutes;

	if ((*at == 'Z' || *at == 'z') && !at[1]) {
		*ret = 0;
		return 0;
	}
	if (*at != '+' && *at != '-')
		return -EINVAL;
	at++;
	hours = take_digits(&at, 2);
	if (hours < 0 || hours > 23 || *at++ != ':')
		return -EINVAL;
	minutes = take_digits(&at, 2);
	if (minutes < 0 || minutes > 59 || *at)
		return -EINVAL;
	*ret = sign * (hours * 3600 + minutes * 60);
	return 0;
}

/* "2026-11-23T16:00:00" as its six numbers, moving on; "t" and " " for "T" are not taken. */
static int take_date(const char **at, int parts[static 6])
{
	static const char separators[] = "--T::";
	static const int digits[] = { 4, 2, 2, 2, 2, 2 };
	static const int least[] = { 1, 1, 1, 0, 0, 0 };
	static const int most[] = { 9999, 12, 31, 23, 59, 59 };

	for (size_t i = 0; i < array_size(digits); i++) {
		if (i > 0 && *(*at)++ != separators[i - 1])
			return -EINVAL;
		parts[i] = take_digits(at, digits[i]);
		if (parts[i] < least[i] || parts[i] > most[i])
			return -EINVAL;
	}
	return 0;
}

int timestamp_from_text(int64_t *seconds, int32_t *nanos, const char *text)
{
	int parts[6] = { 0 };
	int32_t fraction;
	struct tm tm;
	int offset;

	if (take_date(&text, parts) < 0)
		return -EINVAL;
	fraction = take_fraction(&text);
	if (fraction < 0 || take_offset(text, &offset) < 0)
		return -EINVAL;
	tm = (struct tm){ .tm_year = parts[0] - 1900,
			  .tm_mon = parts[1] - 1,
			  .tm_mday = parts[2],
			  .tm_hour = parts[3],
			  .tm_min = parts[4],
			  .tm_sec = parts[5] };
	*seconds = (int64_t)timegm(&tm) - offset;
	if (tm.tm_mday != parts[2])
		return -EINVAL; /* the 30th of February */
	*nanos = fraction;
	return 0;
}

static int read_timestamp(Reader *reader, ProtobufCMessage *message, json_t *json)
{
	Google__Protobuf__Timestamp *time = (void *)message;
	const char *text = json_string_value(json);

	if (!text || timestamp_from_text(&time->seconds, &time->nanos, text) < 0)
		return refuse(reader, "is not a time such as \"2026-01-31T12:00:00Z\"");
	return 0;
}

static int read_duration(Reader *reader, ProtobufCMessage *message, json_t *json)
{
	static const char expected[] = "is not a duration in seconds such as \"1.5s\"";
	Google__Protobuf__Duration *duration = (void *)message;
	const char *text = json_string_value(json);
	bool negative = text && *text == '-';
	int32_t nanos;
	char *end;

	if (!text || !is_digit(text[negative]) || strlen(text) > 24)
		return refuse(reader, expected);
	errno = 0;
	duration->seconds = strtoll(text, &end, 10);
	text = end;
	nanos = take_fraction(&text);
	if (errno || nanos < 0 || strcmp(text, "s") != 0)
		return refuse(reader, expected);
	duration->nanos = negative ? -nanos : nanos;
	return 0;
}

static const struct {
	const ProtobufCMessageDescriptor *type;
	int (*read)(Reader *reader, ProtobufCMessage *message, json_t *json);
} special[] = {
	{ &google__protobuf__timestamp__descriptor, read_timestamp },
	{ &google__protobuf__duration__descriptor, read_duration },
};

/* A whole number, as a number or as text, between the bounds of @bits; -1 refused. */
static int read_integer(Reader *reader, json_t *json, bool is_signed, unsigned bits, uint64_t *ret)
{
	const char *text = json_string_value(json);
	uint64_t most = is_signed ? UINT64_MAX >> (65 - bits) : UINT64_MAX >> (64 - bits);
	bool negative;
	char number[24] = "";
	uint64_t size;

	if (json_is_integer(json)) {
		(void)text_append(number, number + sizeof number, "%" JSON_INTEGER_FORMAT,
				  json_integer_value(json));
		text = number;
	}
	if (!text)
		return refuse(reader, "is not a whole number");
	negative = *text == '-';
	if (text_to_u64(&size, text + negative) < 0)
		return refuse(reader, "is not a whole number within 64 bits");
	if (negative && !is_signed && size)
		return refuse(reader, "must not be negative");
	if (size > most + (negative ? 1 : 0))
		return refuse(reader, "is out of range");
	*ret = negative ? 0 - size : size;
	return 0;
}

static int read_enum(Reader *reader, const ProtobufCEnumDescriptor *names, json_t *json, int *ret)
{
	const char *text = json_string_value(json);
	const ProtobufCEnumValue *known =
		text ? protobuf_c_enum_descriptor_get_value_by_name(names, text) : NULL;
	char what[512];
	char *at;

	if (known) {
		*ret = known->value;
		return 0;
	}
	/* Numbers are allowed: the agent judges those it does not know. */
	if (json_is_integer(json) && json_integer_value(json) >= INT32_MIN &&
	    json_integer_value(json) <= INT32_MAX) {
		*ret = (int)json_integer_value(json);
		return 0;
	}
	at = text_append(what, what + sizeof what, "is none of");
	for (unsigned i = 1; i < names->n_values; i++)
		at = text_append(at, what + sizeof what, "%s %s", i > 1 ? "," : "",
				 names->values[i].name);
	return refuse(reader, what);
}

/* Recursion is as deep as messages lie in each other; no type of the contract contains itself. */
/* NOLINTBEGIN(misc-no-recursion) */

static int read_members(Reader *reader, ProtobufCMessage *message, json_t *json);

/* An int of 32 or 64 bits, by @type. */
static int read_number(Reader *reader, ProtobufCType type, void *at, json_t *json)
{
	bool is_signed = type == PROTOBUF_C_TYPE_INT32 || type == PROTOBUF_C_TYPE_SINT32 ||
			 type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_SINT64;
	bool is_wide = type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_SINT64 ||
		       type == PROTOBUF_C_TYPE_UINT64;
	uint64_t number = 0;

	if (read_integer(reader, json, is_signed, is_wide ? 64 : 32, &number) < 0)
		return -1;
	if (is_wide)
		*(uint64_t *)at = number;
	else
		*(uint32_t *)at = (uint32_t)number;
	return 0;
}

/* One value into @at. Types that no request of the contract has are refused. */
static int read_value(Reader *reader, const ProtobufCFieldDescriptor *field, void *at, json_t *json)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT64:
		return read_number(reader, field->type, at, json);
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_is_boolean(json))
			return refuse(reader, "is neither true nor false");
		*(protobuf_c_boolean *)at = json_is_true(json);
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		return read_enum(reader, field->descriptor, json, at);
	case PROTOBUF_C_TYPE_STRING:
		if (!json_is_string(json) ||
		    strlen(json_string_value(json)) != json_string_length(json))
			return refuse(reader, "is not a text without NUL");
		*(char **)at = text_dup(json_string_value(json));
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)at = message_new(field->descriptor);
		return read_members(reader, *(ProtobufCMessage **)at, json);
	default:
		return refuse(reader, "has a type that cannot be given in JSON");
	}
}

static int read_map(Reader *reader, const ProtobufCFieldDescriptor *field, ProtobufCMessage ***ret,
		    json_t *json)
{
	const ProtobufCMessageDescriptor *type = field->descriptor;
	const char *key;
	json_t *value;
	size_t n = 0;
	int result = 0;

	if (!json_is_object(json))
		return refuse(reader, "is not an object");
	*ret = new0_array(ProtobufCMessage *, json_object_size(json));
	json_object_foreach(json, key, value)
	{
		ProtobufCMessage *entry = message_new(type);
		size_t before = enter(reader, ".", key);

		(*ret)[n++] = entry;
		*(char **)(void *)((char *)entry + type->fields[0].offset) = text_dup(key);
		if (read_value(reader, &type->fields[1], (char *)entry + type->fields[1].offset,
			       value) < 0)
			result = -1;
		leave(reader, before);
	}
	return result;
}

static int read_array(Reader *reader, const ProtobufCFieldDescriptor *field, void ***ret,
		      json_t *json)
{
	int result = 0;

	if (!json_is_array(json))
		return refuse(reader, "is not an array");
	/* Of numbers no request of the contract has several. */
	if (field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING)
		return refuse(reader, "has a type that cannot be given in JSON");
	*ret = new0_array(void *, json_array_size(json));
	for (size_t i = 0; i < json_array_size(json); i++) {
		size_t before = enter_index(reader, i);

		if (read_value(reader, field, &(*ret)[i], json_array_get(json, i)) < 0)
			result = -1;
		leave(reader, before);
	}
	return result;
}

static int read_field(Reader *reader, const ProtobufCFieldDescriptor *field,
		      ProtobufCMessage *message, json_t *json)
{
	void *at = (char *)message + field->offset;
	size_t *count = (size_t *)(void *)((char *)message + field->quantifier_offset);
	int result;

	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return read_value(reader, field, at, json);
	if (json_is_map(field))
		result = read_map(reader, field, at, json);
	else
		result = read_array(reader, field, at, json);
	if (*(void **)at)
		*count = json_is_array(json) ? json_array_size(json) : json_object_size(json);
	return result;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
						  const char *name)
{
	for (unsigned i = 0; i < type->n_fields; i++) {
		char camel[64];

		json_name(camel, &type->fields[i]);
		if (strcmp(camel, name) == 0 || strcmp(type->fields[i].name, name) == 0)
			return &type->fields[i];
	}
	return NULL;
}

static bool is_message_set(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
	void *const *at = (void *const *)(const void *)((const char *)message + field->offset);

	return (field->label == PROTOBUF_C_LABEL_REPEATED ||
		field->type == PROTOBUF_C_TYPE_MESSAGE) &&
	       *at;
}

static int read_members(Reader *reader, ProtobufCMessage *message, json_t *json)
{
	const char *name;
	json_t *value;
	int result = 0;

	for (size_t i = 0; i < array_size(special); i++)
		if (special[i].type == message->descriptor)
			return special[i].read(reader, message, json);
	if (!json_is_object(json))
		return refuse(reader, "is not an object");
	json_object_foreach(json, name, value)
	{
		const ProtobufCFieldDescriptor *field = find_field(message->descriptor, name);
		size_t before = enter(reader, ".", name);

		if (!field)
			result = refuse(reader, "no such member");
		else if (is_message_set(field, message))
			result = refuse(reader, "is given twice, under both its names");
		else if (!json_is_null(value) && read_field(reader, field, message, value) < 0)
			result = -1;
		leave(reader, before);
	}
	return result;
}

/* NOLINTEND(misc-no-recursion) */

int json_to_message(ProtobufCMessage **ret, const ProtobufCMessageDescriptor *type, json_t *json,
		    Error *err)
{
	Reader reader = { .err = err };
	ProtobufCMessage *message = message_new(type);

	if (read_members(&reader, message, json) < 0) {
		message_free(message);
		return -1;
	}
	*ret = message;
	return 0;
}
