/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/json.h"

#include "runtime/guest/utf8.h"

#include <assert.h>
#include <string.h>

static_assert(GUEST_LINE_MAX <= UINT16_MAX, "a place in a line fits 16 bits");

typedef struct Reader {
	GuestJson *json;
	char *line;
	size_t at, length;
	size_t count;                     /* of the values */
	size_t parents[GUEST_JSON_DEPTH]; /* arrays and objects that are open */
	size_t last[GUEST_JSON_DEPTH];    /* the last value in each */
	size_t depth;
} Reader;

static char peek(const Reader *reader)
{
	if (reader->at == reader->length)
		return '\0';
	return reader->line[reader->at];
}

static void skip_space(Reader *reader)
{
	while (reader->at < reader->length && strchr(" \t\r\n", peek(reader)) && peek(reader))
		reader->at++;
}

static bool accept(Reader *reader, char c)
{
	if (peek(reader) != c)
		return false;
	reader->at++;
	return true;
}

/* Return: the value of four hexadecimal digits, or -1. */
static int read_hex(Reader *reader)
{
	int value = 0;

	for (int i = 0; i < 4; i++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		char c = peek(reader);
		const char *digit = c ? strchr(digits, c) : NULL;

		if (!digit)
			return -1;
		value = value << 4 | (int)((digit - digits) & 15);
		reader->at++;
	}
	return value;
}

/* After "\u": a surrogate must have its other half. */
static int read_point(Reader *reader, uint32_t *ret)
{
	int high = read_hex(reader), low;

	if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
		return -EBADMSG;
	*ret = (uint32_t)high;
	if (high < 0xd800 || high > 0xdfff)
		return 0;
	if (!accept(reader, '\\') || !accept(reader, 'u'))
		return -EBADMSG;
	low = read_hex(reader);
	if (low < 0xdc00 || low > 0xdfff)
		return -EBADMSG;
	*ret = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
	return 0;
}

/* After the backslash. Never writes more than it has read. */
static int read_escape(Reader *reader, char **to)
{
	static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	char c = peek(reader);
	const char *escape = c ? strchr(escapes, c) : NULL;
	uint32_t point;

	if (escape) {
		*(*to)++ = meanings[escape - escapes];
		reader->at++;
		return 0;
	}
	if (!accept(reader, 'u') || read_point(reader, &point) < 0)
		return -EBADMSG;
	*to += guest_utf8_put(*to, point);
	return 0;
}

static int read_sequence(Reader *reader, char **to)
{
	char *at = reader->line + reader->at;
	size_t length = guest_utf8_length(at, reader->length - reader->at);

	if (!length || (unsigned char)*at < 0x20)
		return -EBADMSG;
	memmove(*to, at, length);
	*to += length;
	reader->at += length;
	return 0;
}

/* Puts a zero byte behind the text, at the latest where its closing quote was. */
static int read_text(Reader *reader, uint16_t *ret, int64_t *length)
{
	char *to = reader->line + reader->at + 1, *start = to;
	int r = 0;

	if (!accept(reader, '"'))
		return -EBADMSG;
	while (r == 0 && !accept(reader, '"'))
		r = accept(reader, '\\') ? read_escape(reader, &to) : read_sequence(reader, &to);
	if (r < 0)
		return r;
	*to = '\0';
	*ret = (uint16_t)(start - reader->line);
	*length = to - start;
	return 0;
}

static size_t skip_digits(Reader *reader)
{
	size_t start = reader->at;

	while (peek(reader) >= '0' && peek(reader) <= '9')
		reader->at++;
	return reader->at - start;
}

/* Return: 1 if there is a fraction or an exponent, 0 if not. */
static int skip_fraction(Reader *reader)
{
	bool fraction = accept(reader, '.'), exponent;

	if (fraction && !skip_digits(reader))
		return -EBADMSG;
	exponent = accept(reader, 'e') || accept(reader, 'E');
	if (exponent) {
		if (!accept(reader, '+'))
			(void)accept(reader, '-');
		if (!skip_digits(reader))
			return -EBADMSG;
	}
	return fraction || exponent;
}

static bool to_number(int64_t *ret, const char *digits, size_t count, bool negative)
{
	int64_t number = 0;

	/* From below zero, as there is one number more. */
	for (size_t i = 0; i < count; i++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_sub_overflow(number, digits[i] - '0', &number))
			return false;
	if (!negative && number == INT64_MIN)
		return false;
	*ret = negative ? number : -number;
	return true;
}

static int read_number(Reader *reader, GuestJsonValue *value)
{
	bool negative = accept(reader, '-');
	const char *digits = reader->line + reader->at;
	size_t count = skip_digits(reader);
	int fraction;

	if (!count || (digits[0] == '0' && count > 1))
		return -EBADMSG;
	fraction = skip_fraction(reader);
	if (fraction < 0)
		return fraction;
	value->type = !fraction && to_number(&value->number, digits, count, negative)
			      ? GUEST_JSON_NUMBER
			      : GUEST_JSON_FRACTION;
	return 0;
}

static int read_word(Reader *reader, GuestJsonValue *value)
{
	static const struct {
		const char *word;
		uint8_t length, type, number;
	} words[] = {
		{ "true", 4, GUEST_JSON_BOOL, 1 },
		{ "false", 5, GUEST_JSON_BOOL, 0 },
		{ "null", 4, GUEST_JSON_NULL, 0 },
	};

	for (size_t i = 0; i < array_size(words); i++) {
		if (reader->length - reader->at < words[i].length ||
		    memcmp(reader->line + reader->at, words[i].word, words[i].length) != 0)
			continue;
		reader->at += words[i].length;
		value->type = words[i].type;
		value->number = words[i].number;
		return 0;
	}
	return -EBADMSG;
}

static int open_parent(Reader *reader, GuestJsonValue *value, char c)
{
	if (reader->depth == GUEST_JSON_DEPTH)
		return -EBADMSG;
	reader->at++;
	value->type = c == '{' ? GUEST_JSON_OBJECT : GUEST_JSON_ARRAY;
	reader->parents[reader->depth++] = reader->count - 1;
	return 0;
}

/* Adds a value to the innermost array or object. */
static GuestJsonValue *add_value(Reader *reader, uint16_t name)
{
	GuestJsonValue *value = &reader->json->values[reader->count];

	*value = (GuestJsonValue){ .name = name };
	if (reader->depth) {
		size_t inner = reader->depth - 1;
		GuestJsonValue *parent = &reader->json->values[reader->parents[inner]];

		if (parent->number++)
			reader->json->values[reader->last[inner]].next = (uint16_t)reader->count;
		reader->last[inner] = reader->count;
	}
	reader->count++;
	return value;
}

static int read_value(Reader *reader)
{
	uint16_t name = 0;
	GuestJsonValue *value;
	int64_t length;
	char c;

	if (reader->count == GUEST_JSON_VALUES)
		return -EBADMSG;
	if (reader->depth &&
	    reader->json->values[reader->parents[reader->depth - 1]].type == GUEST_JSON_OBJECT) {
		if (read_text(reader, &name, &length) < 0)
			return -EBADMSG;
		skip_space(reader);
		if (!accept(reader, ':'))
			return -EBADMSG;
		skip_space(reader);
	}
	value = add_value(reader, name);
	c = peek(reader);
	if (c == '{' || c == '[')
		return open_parent(reader, value, c);
	if (c == '"') {
		value->type = GUEST_JSON_TEXT;
		return read_text(reader, &value->text, &value->number);
	}
	if (c == '-' || (c >= '0' && c <= '9'))
		return read_number(reader, value);
	return read_word(reader, value);
}

/* Closes what ends here. Return: 1 when another value follows, 0 when none is open any more. */
static int close_parents(Reader *reader)
{
	while (reader->depth) {
		const GuestJsonValue *parent =
			&reader->json->values[reader->parents[reader->depth - 1]];

		skip_space(reader);
		if (!accept(reader, parent->type == GUEST_JSON_OBJECT ? '}' : ']')) {
			if (!parent->number)
				return 1;
			if (!accept(reader, ','))
				return -EBADMSG;
			skip_space(reader);
			return 1;
		}
		reader->depth--;
	}
	return 0;
}

int guest_json_read(GuestJson *json, char *line, size_t length)
{
	Reader reader = { .json = json, .line = line, .length = length };
	int r = 1;

	json->line = line;
	skip_space(&reader);
	if (length >= GUEST_LINE_MAX || peek(&reader) != '{')
		return -EBADMSG;
	while (r > 0) {
		r = read_value(&reader);
		if (r == 0)
			r = close_parents(&reader);
	}
	skip_space(&reader);
	return r < 0 || reader.at != length ? -EBADMSG : 0;
}

const GuestJsonValue *guest_json_root(const GuestJson *json)
{
	return &json->values[0];
}

const GuestJsonValue *guest_json_first(const GuestJson *json, const GuestJsonValue *parent)
{
	if ((parent->type != GUEST_JSON_ARRAY && parent->type != GUEST_JSON_OBJECT) ||
	    !parent->number)
		return NULL;
	(void)json;
	return parent + 1;
}

const GuestJsonValue *guest_json_next(const GuestJson *json, const GuestJsonValue *value)
{
	return value->next ? &json->values[value->next] : NULL;
}

const GuestJsonValue *guest_json_member(const GuestJson *json, const GuestJsonValue *object,
					const char *name)
{
	const GuestJsonValue *found = NULL;

	if (object->type != GUEST_JSON_OBJECT)
		return NULL;
	for (const GuestJsonValue *at = guest_json_first(json, object); at;
	     at = guest_json_next(json, at))
		if (strcmp(guest_json_name(json, at), name) == 0)
			found = at;
	return found && found->type != GUEST_JSON_NULL ? found : NULL;
}

const char *guest_json_name(const GuestJson *json, const GuestJsonValue *value)
{
	return json->line + value->name;
}

const char *guest_json_text(const GuestJson *json, const GuestJsonValue *value)
{
	const char *text = json->line + value->text;

	if (value->type != GUEST_JSON_TEXT || memchr(text, '\0', (size_t)value->number))
		return NULL;
	return text;
}
