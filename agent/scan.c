/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/scan.h"

#include "agent/token.h"
#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

typedef ProtobufCMessageDescriptor Type;
typedef ProtobufCFieldDescriptor Field;

enum {
	PATH_MAX_BYTES = 512,
	KEY_SHOWN_MAX = 64
};

/* A message that is being read. */
typedef struct Frame {
	const Type *type;
	const Field *field; /* of the message around it; NULL: the request itself */
	const uint8_t *start, *end, *at;
	uint64_t seen;    /* fields that hold a message, by their place in type */
	size_t first_key; /* in Scan.keys, of this message's maps */
	bool is_entry;    /* of a map */
	const uint8_t *key;
	size_t key_size;
} Frame;

/* Of a map's entry. */
typedef struct Key {
	const Field *map;
	const uint8_t *bytes;
	size_t size;
} Key;

typedef struct Scan {
	Frame frames[SCAN_DEPTH_MAX];
	unsigned depth;
	unsigned elements;
	bool strict;
	bool ended; /* there is no going on */
	Key *keys;
	size_t key_count, key_room;
	Error *err;
} Scan;

/* clang-format off */
static const WireType wire_types[] = {
	[PROTOBUF_C_TYPE_INT32] = WIRE_VARINT,    [PROTOBUF_C_TYPE_SINT32] = WIRE_VARINT,
	[PROTOBUF_C_TYPE_SFIXED32] = WIRE_32BIT,  [PROTOBUF_C_TYPE_INT64] = WIRE_VARINT,
	[PROTOBUF_C_TYPE_SINT64] = WIRE_VARINT,   [PROTOBUF_C_TYPE_SFIXED64] = WIRE_64BIT,
	[PROTOBUF_C_TYPE_UINT32] = WIRE_VARINT,   [PROTOBUF_C_TYPE_FIXED32] = WIRE_32BIT,
	[PROTOBUF_C_TYPE_UINT64] = WIRE_VARINT,   [PROTOBUF_C_TYPE_FIXED64] = WIRE_64BIT,
	[PROTOBUF_C_TYPE_FLOAT] = WIRE_32BIT,     [PROTOBUF_C_TYPE_DOUBLE] = WIRE_64BIT,
	[PROTOBUF_C_TYPE_BOOL] = WIRE_VARINT,     [PROTOBUF_C_TYPE_ENUM] = WIRE_VARINT,
	[PROTOBUF_C_TYPE_STRING] = WIRE_BYTES,    [PROTOBUF_C_TYPE_BYTES] = WIRE_BYTES,
	[PROTOBUF_C_TYPE_MESSAGE] = WIRE_BYTES,
};
/* clang-format on */

static Frame *top(Scan *scan)
{
	return &scan->frames[scan->depth - 1];
}

/* protoc makes a map a list of messages called ...Entry, of a key and a value. */
static bool is_map(const Field *field)
{
	static const char suffix[] = "Entry";
	const Type *entry = field->descriptor;
	size_t length;

	if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE ||
	    entry->n_fields != 2 || strcmp(entry->fields[0].name, "key") != 0 ||
	    strcmp(entry->fields[1].name, "value") != 0)
		return false;
	length = strlen(entry->short_name);
	return length >= sizeof suffix - 1 &&
	       strcmp(entry->short_name + length - (sizeof suffix - 1), suffix) == 0;
}

/* How many times @id occurs in @frame before @until: bytes that were read already. */
static unsigned count_before(const Frame *frame, uint32_t id, const uint8_t *until)
{
	const uint8_t *at = frame->start;
	unsigned count = 0;
	Token token;

	while (at < until && !token_read(&token, &at, frame->end))
		if (token.id == id && at < until)
			count++;
	return count;
}

/* Where the message being read is, such as "spec.drives[1]"; empty for the request itself. */
static char *append_path(const Scan *scan, char *at, const char *end)
{
	for (unsigned i = 1; i < scan->depth; i++) {
		const Frame *frame = &scan->frames[i];
		const Field *field = frame->field;

		at = text_append(at, end, "%s%s", i > 1 ? "." : "", field->name);
		if (field->label == PROTOBUF_C_LABEL_REPEATED && !frame->is_entry)
			at = text_append(
				at, end, "[%u]",
				count_before(&scan->frames[i - 1], field->id, frame->start));
	}
	return at;
}

static void path_of_message(const Scan *scan, char ret[static PATH_MAX_BYTES])
{
	if (append_path(scan, ret, ret + PATH_MAX_BYTES) == ret)
		text_copy(ret, PATH_MAX_BYTES, "request");
}

/* @index counts within packed elements; before them come those of earlier fields. */
static void path_of_field(const Scan *scan, const Field *field, const Token *token, unsigned index,
			  char ret[static PATH_MAX_BYTES])
{
	const char *end = ret + PATH_MAX_BYTES;
	const Frame *frame = &scan->frames[scan->depth - 1];
	char *at = append_path(scan, ret, end);

	at = text_append(at, end, "%s%s", scan->depth > 1 ? "." : "", field->name);
	if (field->label == PROTOBUF_C_LABEL_REPEATED && !is_map(field))
		text_append(at, end, "[%u]", index + count_before(frame, field->id, token->bytes));
}

static void malformed(Scan *scan, const char *wrong)
{
	char path[PATH_MAX_BYTES];

	path_of_message(scan, path);
	(void)error_add_violation(scan->err, path, "cannot be decoded: %s", wrong);
	scan->ended = true;
}

static void bad_field(Scan *scan, const Field *field, const Token *token, const char *wrong)
{
	char path[PATH_MAX_BYTES];

	path_of_field(scan, field, token, 0, path);
	(void)error_add_violation(scan->err, path, "%s", wrong);
}

static void unknown_field(Scan *scan, const Token *token)
{
	char path[PATH_MAX_BYTES];
	const char *end = path + sizeof path;
	char *at;

	if (!scan->strict)
		return;
	at = append_path(scan, path, end);
	text_append(at, end, "%s%" PRIu32, at > path ? "." : "", token->id);
	if (!error_is_set(scan->err))
		(void)error_set(scan->err, ERROR_UNKNOWN_FIELD, "%s", "");
	(void)error_add_violation(scan->err, path, "this agent knows no field %" PRIu32, token->id);
}

static void check_enum(Scan *scan, const Field *field, const Token *token, unsigned index,
		       uint64_t value)
{
	/* Negative values are sign-extended to 64 bits. */
	int64_t number = (int64_t)value;
	char path[PATH_MAX_BYTES];

	if (number >= INT32_MIN && number <= INT32_MAX &&
	    protobuf_c_enum_descriptor_get_value(field->descriptor, (int)number))
		return;
	path_of_field(scan, field, token, index, path);
	(void)error_add_violation(scan->err, path, "unknown value %" PRId64, number);
}

static void count_elements(Scan *scan, size_t count)
{
	if (count <= SCAN_ELEMENTS_MAX - scan->elements) {
		scan->elements += (unsigned)count;
		return;
	}
	(void)error_add_violation(scan->err, "request", "has more than %d fields and elements",
				  SCAN_ELEMENTS_MAX);
	scan->ended = true;
}

/* Elements of a list of numbers, one after the other in one field. */
static void check_packed(Scan *scan, const Field *field, const Token *token)
{
	const uint8_t *at = token->bytes;
	const uint8_t *end = at + token->size;
	WireType wire = wire_types[field->type];
	unsigned index = 0;
	uint64_t value;

	if (wire != WIRE_VARINT) {
		size_t size = wire == WIRE_64BIT ? 8 : 4;

		if (token->size % size)
			bad_field(scan, field, token, "cannot be decoded: truncated");
		count_elements(scan, token->size / size);
		return;
	}
	for (; at < end && !scan->ended; index++) {
		if (token_read_varint(&value, &at, end, 10)) {
			bad_field(scan, field, token, "cannot be decoded: a malformed number");
			return;
		}
		count_elements(scan, 1);
		if (field->type == PROTOBUF_C_TYPE_ENUM &&
		    scan->err->violation_count < SCAN_VIOLATIONS_MAX)
			check_enum(scan, field, token, index, value);
	}
}

static void check_string(Scan *scan, const Field *field, const Token *token)
{
	if (memchr(token->bytes, '\0', token->size))
		bad_field(scan, field, token, "contains a NUL character");
	else if (!text_is_utf8((const char *)token->bytes, token->size))
		bad_field(scan, field, token, "is not valid UTF-8");
}

static void push(Scan *scan, const Field *field, const Token *token)
{
	Frame *around = top(scan);
	ptrdiff_t place = field - around->type->fields;
	uint64_t bit;

	assert(place < SCAN_FIELDS_MAX);
	bit = UINT64_C(1) << place;
	if (field->label != PROTOBUF_C_LABEL_REPEATED && (around->seen & bit)) {
		bad_field(scan, field, token, "is given twice");
		return;
	}
	around->seen |= bit;
	if (scan->depth == SCAN_DEPTH_MAX) {
		bad_field(scan, field, token, "is nested too deep");
		return;
	}
	scan->frames[scan->depth++] = (Frame){
		.type = field->descriptor,
		.field = field,
		.start = token->bytes,
		.end = token->bytes + token->size,
		.at = token->bytes,
		.first_key = scan->key_count,
		.is_entry = is_map(field),
	};
}

static void check_field(Scan *scan, const Field *field, const Token *token)
{
	Frame *frame = top(scan);
	WireType wire = wire_types[field->type];

	if (token->wire == WIRE_BYTES && wire != WIRE_BYTES &&
	    field->label == PROTOBUF_C_LABEL_REPEATED) {
		check_packed(scan, field, token);
		return;
	}
	if (token->wire != wire) {
		bad_field(scan, field, token, "cannot be decoded: of another type");
		return;
	}
	if (frame->is_entry && field->id == 1) {
		frame->key = token->bytes; /* the last one counts */
		frame->key_size = token->size;
	}
	if (field->type == PROTOBUF_C_TYPE_STRING)
		check_string(scan, field, token);
	else if (field->type == PROTOBUF_C_TYPE_ENUM)
		check_enum(scan, field, token, 0, token->value);
	else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		push(scan, field, token);
}

static void step(Scan *scan)
{
	Frame *frame = top(scan);
	const Field *field;
	const char *wrong;
	Token token;

	wrong = token_read(&token, &frame->at, frame->end);
	if (wrong) {
		malformed(scan, wrong);
		return;
	}
	count_elements(scan, 1);
	if (scan->ended)
		return;
	field = protobuf_c_message_descriptor_get_field(frame->type, token.id);
	if (field)
		check_field(scan, field, &token);
	else
		unknown_field(scan, &token);
}

static int key_compare(const void *left, const void *right)
{
	const Key *a = left;
	const Key *b = right;

	if (a->map != b->map)
		return a->map < b->map ? -1 : 1;
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	return a->size ? memcmp(a->bytes, b->bytes, a->size) : 0;
}

/* The message on top has been read: are the keys of its maps different? */
static void check_keys(Scan *scan)
{
	Key *keys = scan->keys + top(scan)->first_key;
	size_t count = scan->key_count - top(scan)->first_key;
	char path[PATH_MAX_BYTES];

	if (count > 1)
		qsort(keys, count, sizeof *keys, key_compare);
	for (size_t i = 1; i < count; i++) {
		const Key *key = &keys[i];
		size_t shown = key->size < KEY_SHOWN_MAX ? key->size : KEY_SHOWN_MAX;
		char *at;

		if (key_compare(key - 1, key) != 0 ||
		    scan->err->violation_count >= SCAN_VIOLATIONS_MAX)
			continue;
		at = append_path(scan, path, path + sizeof path);
		text_append(at, path + sizeof path, "%s%s", at > path ? "." : "", key->map->name);
		(void)error_add_violation(scan->err, path, "key '%.*s' is given twice", (int)shown,
					  key->size ? (const char *)key->bytes : "");
	}
	scan->key_count = top(scan)->first_key;
}

static void key_add(Scan *scan, const Frame *entry)
{
	if (!scan->keys || scan->key_count == scan->key_room) {
		scan->key_room = scan->key_room ? scan->key_room * 2 : 64;
		scan->keys = must_realloc(scan->keys, scan->key_room, sizeof *scan->keys);
	}
	assert(scan->keys);
	scan->keys[scan->key_count++] = (Key){
		.map = entry->field,
		.bytes = entry->key,
		.size = entry->key_size,
	};
}

static void pop(Scan *scan)
{
	Frame *frame = top(scan);
	const Field *entry = frame->is_entry ? frame->type->fields : NULL; /* key, value */

	if (scan->key_count > frame->first_key)
		check_keys(scan);
	/* protobuf-c would leave NULL where handlers expect a message. */
	if (entry && entry[1].type == PROTOBUF_C_TYPE_MESSAGE && !(frame->seen & 2))
		malformed(scan, "an entry without a value");
	scan->depth--;
	if (entry && entry[0].type == PROTOBUF_C_TYPE_STRING)
		key_add(scan, frame);
}

int scan_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
		 bool strict, Error *err)
{
	Scan scan = {
		.frames = { { .type = type, .start = bytes, .end = bytes + size, .at = bytes } },
		.depth = 1,
		.strict = strict,
		.err = err,
	};

	while (scan.depth && !scan.ended && err->violation_count < SCAN_VIOLATIONS_MAX) {
		if (top(&scan)->at == top(&scan)->end)
			pop(&scan);
		else
			step(&scan);
	}
	free(scan.keys);
	if (!error_is_set(err))
		return 0;
	return scan.depth || scan.ended ? -1 : 1;
}
