/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/selector.h"

#include "base/text.h"

#include <string.h>

typedef enum Operator {
	OPERATOR_EXISTS,
	OPERATOR_ABSENT,
	OPERATOR_IN,
	OPERATOR_NOT_IN,
} Operator;

typedef struct Requirement {
	Operator match;
	const char *key;
	const char *values; /* one after the other, each with its NUL */
	size_t count;       /* of values */
} Requirement;

struct Selector {
	Requirement requirements[SELECTOR_REQUIREMENTS_MAX];
	size_t count;
	char words[]; /* keys and values */
};

typedef enum TokenType {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_EQUAL,
	TOKEN_UNEQUAL,
	TOKEN_NOT,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_COMMA,
	TOKEN_BAD,
} TokenType;

typedef struct Parser {
	Selector *selector;
	char *free; /* where in words there is room */
	const char *at;
	TokenType type; /* of the token at start, length */
	const char *start;
	size_t length;
} Parser;

/* Longer ones first: "==" before "=". */
/* clang-format off */
static const struct {
	const char *text;
	TokenType type;
} symbols[] = {
	{ "==", TOKEN_EQUAL },
	{ "!=", TOKEN_UNEQUAL },
	{ "=",  TOKEN_EQUAL },
	{ "!",  TOKEN_NOT },
	{ "(",  TOKEN_OPEN },
	{ ")",  TOKEN_CLOSE },
	{ ",",  TOKEN_COMMA },
	{ "<",  TOKEN_BAD },
	{ ">",  TOKEN_BAD },
};
/* clang-format on */

static void next(Parser *parser)
{
	const char *at = parser->at + strspn(parser->at, " \t\r\n");

	parser->start = at;
	parser->type = *at ? TOKEN_WORD : TOKEN_END;
	parser->length = strcspn(at, " \t\r\n=!(),<>");
	for (size_t i = 0; *at && parser->length == 0 && i < array_size(symbols); i++) {
		if (strncmp(at, symbols[i].text, strlen(symbols[i].text)) != 0)
			continue;
		parser->type = symbols[i].type;
		parser->length = strlen(symbols[i].text);
	}
	parser->at = at + parser->length;
}

static bool is_word(const Parser *parser, const char *word)
{
	return parser->type == TOKEN_WORD && parser->length == strlen(word) &&
	       strncmp(parser->start, word, parser->length) == 0;
}

/* Keeps the first @length bytes of the token. */
static const char *keep(Parser *parser, size_t length)
{
	char *word = parser->free;

	memcpy(word, parser->start, length);
	word[length] = '\0';
	parser->free = word + length + 1;
	return word;
}

/* The value the token is; where another token stands, the empty one before it. */
static void take_value(Parser *parser, Requirement *requirement)
{
	bool present = parser->type == TOKEN_WORD;
	const char *value = keep(parser, present ? parser->length : 0);

	if (!requirement->count++)
		requirement->values = value;
	if (present)
		next(parser);
}

/* These answer what is wrong at the token, or NULL. */
static const char *parse_set(Parser *parser, Requirement *requirement)
{
	if (parser->type != TOKEN_OPEN)
		return "expected '('";
	do {
		next(parser);
		take_value(parser, requirement);
	} while (parser->type == TOKEN_COMMA);
	if (parser->type != TOKEN_CLOSE)
		return "expected ',' or ')'";
	next(parser);
	return NULL;
}

static const char *parse_operator(Parser *parser, Requirement *requirement)
{
	bool is_equality = parser->type == TOKEN_EQUAL || parser->type == TOKEN_UNEQUAL;
	bool is_negated = parser->type == TOKEN_UNEQUAL || is_word(parser, "notin");

	if (parser->type == TOKEN_END || parser->type == TOKEN_COMMA)
		return NULL;
	if (!is_equality && !is_negated && !is_word(parser, "in"))
		return "expected '=', '!=', 'in', 'notin' or ','";
	requirement->match = is_negated ? OPERATOR_NOT_IN : OPERATOR_IN;
	next(parser);
	if (!is_equality)
		return parse_set(parser, requirement);
	take_value(parser, requirement);
	return NULL;
}

static const char *parse_requirement(Parser *parser, Requirement *requirement)
{
	bool is_absent = parser->type == TOKEN_NOT;

	if (is_absent)
		next(parser);
	if (parser->type != TOKEN_WORD)
		return "expected a label's key";
	requirement->key = keep(parser, parser->length);
	if (!field_key_is_good(requirement->key))
		return "keys are 1 to 63 bytes of [A-Za-z0-9._/-]";
	next(parser);
	requirement->match = is_absent ? OPERATOR_ABSENT : OPERATOR_EXISTS;
	return is_absent ? NULL : parse_operator(parser, requirement);
}

static const char *parse_all(Parser *parser)
{
	Selector *selector = parser->selector;

	next(parser);
	if (parser->type == TOKEN_END)
		return NULL;
	for (;;) {
		const char *wrong;

		if (selector->count == SELECTOR_REQUIREMENTS_MAX)
			return "more than 32 requirements";
		wrong = parse_requirement(parser, &selector->requirements[selector->count++]);
		if (wrong)
			return wrong;
		if (parser->type == TOKEN_END)
			return NULL;
		if (parser->type != TOKEN_COMMA)
			return "expected ',' or the end";
		next(parser);
	}
}

static int parse(Selector *selector, const char *text, const char *field, Error *err)
{
	Parser parser = { .selector = selector, .free = selector->words, .at = text };
	const char *wrong = parse_all(&parser);

	if (wrong)
		return error_add_violation(err, field, "at byte %td: %s", parser.start - text,
					   wrong);
	return 0;
}

int selector_parse(Selector **ret, const char *text, const char *field, Error *err)
{
	size_t length = text ? strlen(text) : 0;
	Selector *selector;

	if (length > SELECTOR_BYTES_MAX)
		return error_add_violation(err, field, "must be 0 to %d bytes, is %zu",
					   SELECTOR_BYTES_MAX, length);
	/* Every word costs its bytes and a NUL, and a separator or the end stands behind it. */
	selector = must_calloc(1, sizeof *selector + 2 * length + 2);
	if (parse(selector, text ? text : "", field, err) < 0) {
		selector_free(selector);
		return -1;
	}
	*ret = selector;
	return 0;
}

void selector_free(Selector *selector)
{
	free(selector);
}

static bool has_value(const Requirement *requirement, const char *value)
{
	const char *at = requirement->values;

	for (size_t i = 0; i < requirement->count; i++) {
		if (strcmp(at, value) == 0)
			return true;
		at += strlen(at) + 1;
	}
	return false;
}

static bool is_met(const Requirement *requirement, const FieldMap *labels)
{
	const char *value = field_map_get(labels, requirement->key);

	switch (requirement->match) {
	case OPERATOR_EXISTS:
		return value;
	case OPERATOR_ABSENT:
		return !value;
	case OPERATOR_IN:
		return value && has_value(requirement, value);
	case OPERATOR_NOT_IN:
		break;
	}
	return !value || !has_value(requirement, value);
}

bool selector_match(const Selector *selector, const FieldMap *labels)
{
	for (size_t i = 0; selector && i < selector->count; i++)
		if (!is_met(&selector->requirements[i], labels))
			return false;
	return true;
}
