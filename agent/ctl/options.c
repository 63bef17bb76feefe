/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/options.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

static int say(char problem[static OPTION_PROBLEM_MAX], const char *format, ...) printf_like(2, 3);

static int say(char problem[static OPTION_PROBLEM_MAX], const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)text_vappend(problem, problem + OPTION_PROBLEM_MAX, format, ap);
	va_end(ap);
	return -1;
}

int duration_parse(int64_t *ret, const char *text)
{
	static const struct {
		const char *name;
		int64_t usec;
	} units[] = {
		{ "ms", USEC_PER_MSEC },        { "us", 1 },
		{ "s", USEC_PER_SEC },          { "m", 60LL * USEC_PER_SEC },
		{ "h", 3600LL * USEC_PER_SEC }, { "d", 86400LL * USEC_PER_SEC },
	};
	static const double limit = 365250.0 * 86400.0 * 1e6;
	double sum = 0;

	if (strcmp(text, "0") == 0) {
		*ret = 0;
		return 0;
	}
	do {
		size_t i = 0;
		char *end;
		double n;

		if (!isdigit((unsigned char)*text) || strspn(text, "0123456789.") > 15)
			return -EINVAL;
		n = strtod(text, &end);
		while (i < array_size(units) &&
		       strncmp(end, units[i].name, strlen(units[i].name)) != 0)
			i++;
		if (i == array_size(units) || end != text + strspn(text, "0123456789."))
			return -EINVAL;
		sum += n * (double)units[i].usec;
		text = end + strlen(units[i].name);
	} while (*text);
	if (sum > limit)
		return -ERANGE;
	*ret = (int64_t)(sum + 0.5);
	return 0;
}

/* The length of what all names of an enum begin with. */
static size_t enum_prefix(const ProtobufCEnumDescriptor *names)
{
	size_t length = strlen(names->values[0].name);
	size_t unspecified = strlen("UNSPECIFIED");

	return length > unspecified ? length - unspecified : 0;
}

/* As enums of the contract are spelled, and as people write them; ASCII, 32 apart. */
static char to_enum_letter(char c)
{
	if (c == '-')
		return '_';
	return (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
}

static char from_enum_letter(char c)
{
	if (c == '_')
		return '-';
	return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool is_enum_name(const char *name, const char *text, size_t length)
{
	size_t i = 0;

	while (i < length && name[i] && to_enum_letter(text[i]) == name[i])
		i++;
	return i == length && !name[i];
}

int enum_parse(int *ret, const ProtobufCEnumDescriptor *names, const char *text, size_t length)
{
	size_t prefix = enum_prefix(names);

	for (unsigned i = 1; i < names->n_values; i++) {
		if (!is_enum_name(names->values[i].name + prefix, text, length))
			continue;
		*ret = names->values[i].value;
		return 0;
	}
	return -EINVAL;
}

const char *enum_text(const ProtobufCEnumDescriptor *names, int value, char buffer[static 40])
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(names, value);

	if (!known) {
		(void)text_append(buffer, buffer + 40, "%d", value);
		return buffer;
	}
	text_copy(buffer, 40, known->name + enum_prefix(names));
	for (char *at = buffer; *at; at++)
		*at = from_enum_letter(*at);
	return buffer;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);

	while (*choices) {
		size_t n = strcspn(choices, "|");

		if (n == length && strncmp(choices, value, n) == 0)
			return true;
		choices += n + (choices[n] == '|');
	}
	return false;
}

static bool are_enums(const Option *option, const char *value)
{
	int ignored;

	do {
		size_t n = option->many ? strcspn(value, ",") : strlen(value);

		if (enum_parse(&ignored, option->names, value, n) < 0)
			return false;
		value += n;
	} while (*value++ == ',');
	return true;
}

static int refuse_enum(const Option *option, const char *value, char *problem)
{
	char *at = text_append(problem, problem + OPTION_PROBLEM_MAX, "--%s: '%s' is none of",
			       option->name, value);
	char name[40];

	for (unsigned i = 1; i < option->names->n_values; i++)
		at = text_append(at, problem + OPTION_PROBLEM_MAX, "%s %s", i > 1 ? "," : "",
				 enum_text(option->names, option->names->values[i].value, name));
	return -1;
}

static int check_value(const Option *option, const char *value, char *problem)
{
	uint64_t number;
	int64_t usec;

	switch (option->type) {
	case OPTION_NUMBER:
		if (text_to_u64(&number, value) < 0)
			return say(problem, "--%s: '%s' is not a whole number", option->name,
				   value);
		return 0;
	case OPTION_DURATION:
		if (duration_parse(&usec, value) < 0)
			return say(problem,
				   "--%s: '%s' is not a duration such as 10s, 500ms or 1h30m",
				   option->name, value);
		return 0;
	case OPTION_ENUM:
		return are_enums(option, value) ? 0 : refuse_enum(option, value, problem);
	case OPTION_CHOICE:
		if (!is_choice(option->choices, value))
			return say(problem, "--%s: '%s' is none of %s", option->name, value,
				   option->choices);
		return 0;
	case OPTION_FLAG:
	case OPTION_TEXT:
	case OPTION_PATH:
		break;
	}
	return 0;
}

static const Option *find(const Options *options, const char *name, size_t length, char letter)
{
	for (size_t t = 0; t < OPTION_TABLES; t++) {
		for (const Option *row = options->tables[t]; row && row->name; row++) {
			if (letter ? row->letter == letter
				   : strlen(row->name) == length &&
					     !strncmp(row->name, name, length))
				return row;
		}
	}
	return NULL;
}

static void add_given(Options *options, const Option *option, const char *value)
{
	options->given = must_realloc(options->given, options->n_given + 1, sizeof *options->given);
	options->given[options->n_given++] = (GivenOption){ option, value };
}

static void add_argument(Options *options, const char *word)
{
	options->arguments = (const char **)must_realloc(
		options->arguments, options->n_arguments + 1, sizeof *options->arguments);
	options->arguments[options->n_arguments++] = word;
}

/* Adds @option, whose value is @attached to it or the @next word: how many words that was, or -1.
 */
static int take_option(Options *options, const Option *option, const char *attached,
		       const char *next, char *problem)
{
	const char *value = attached ? attached : next;

	if (option->type == OPTION_FLAG) {
		if (attached)
			return say(problem, "--%s takes no value", option->name);
		add_given(options, option, NULL);
		return 1;
	}
	if (!value)
		return say(problem, "--%s needs a value (%s)", option->name, option->value);
	if (check_value(option, value, problem) < 0)
		return -1;
	add_given(options, option, value);
	return attached ? 1 : 2;
}

static int parse_long(Options *options, const char *const *words, char *problem)
{
	const char *name = words[0] + 2;
	size_t length = strcspn(name, "=");
	const Option *option = find(options, name, length, '\0');

	if (!option)
		return say(problem, "unknown option '--%.*s'", (int)length, name);
	return take_option(options, option, name[length] ? name + length + 1 : NULL, words[1],
			   problem);
}

/* "-f", "-ojson", "-o=json", and several at once: "-it". */
static int parse_letters(Options *options, const char *const *words, char *problem)
{
	const char *letter = words[0] + 1;
	int used;

	do {
		const Option *option = find(options, letter, 1, *letter);
		const char *rest = letter + 1;
		bool more = option && option->type == OPTION_FLAG && *rest && *rest != '=';
		const char *attached = *rest && !more ? rest + (*rest == '=') : NULL;

		if (!option)
			return say(problem, "unknown option '-%c'", *letter);
		used = take_option(options, option, attached, words[1], problem);
		letter = more ? rest : "";
	} while (used > 0 && *letter);
	return used;
}

int options_parse(Options *options, const char *const *words, bool stop_at_argument,
		  char problem[static OPTION_PROBLEM_MAX])
{
	bool only_arguments = false;
	int at = 0;

	while (words[at]) {
		int used = 1;

		if (only_arguments || words[at][0] != '-' || !words[at][1]) {
			if (stop_at_argument)
				return at;
			add_argument(options, words[at]);
		} else if (strcmp(words[at], "--") == 0) {
			only_arguments = true;
		} else {
			used = words[at][1] == '-' ? parse_long(options, words + at, problem)
						   : parse_letters(options, words + at, problem);
		}
		if (used < 0)
			return -1;
		at += used;
	}
	return at;
}

void options_release(Options *options)
{
	free(options->given);
	free(options->arguments);
	*options = (Options){ 0 };
}

/* The last time option @name was given, or NULL. Asking for one that does not exist is a bug. */
static const GivenOption *last_given(const Options *options, const char *name)
{
	assert(find(options, name, strlen(name), '\0'));
	for (size_t i = options->n_given; i > 0; i--)
		if (strcmp(options->given[i - 1].option->name, name) == 0)
			return &options->given[i - 1];
	return NULL;
}

bool options_has(const Options *options, const char *name)
{
	return last_given(options, name) != NULL;
}

bool options_has_any(const Options *options, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (options_has(options, names[i]))
			return true;
	return false;
}

const char *options_text(const Options *options, const char *name)
{
	const GivenOption *given = last_given(options, name);

	return given ? given->value : NULL;
}

uint64_t options_number(const Options *options, const char *name, uint64_t otherwise)
{
	const char *text = options_text(options, name);
	uint64_t number;

	return text && text_to_u64(&number, text) == 0 ? number : otherwise;
}

int64_t options_duration(const Options *options, const char *name, int64_t otherwise)
{
	const char *text = options_text(options, name);
	int64_t usec;

	return text && duration_parse(&usec, text) == 0 ? usec : otherwise;
}

int options_enum(const Options *options, const char *name, int otherwise)
{
	const GivenOption *given = last_given(options, name);
	int value;

	if (given &&
	    enum_parse(&value, given->option->names, given->value, strlen(given->value)) == 0)
		return value;
	return otherwise;
}

size_t options_enums(const Options *options, const char *name, int *ret, size_t max)
{
	const char *text;
	size_t n = 0;
	size_t at = 0;

	while ((text = options_next(options, name, &at))) {
		const ProtobufCEnumDescriptor *names = options->given[at - 1].option->names;

		while (*text && n < max) {
			size_t length = strcspn(text, ",");

			if (enum_parse(&ret[n], names, text, length) == 0)
				n++;
			text += length + (text[length] == ',');
		}
	}
	return n;
}

const char *options_next(const Options *options, const char *name, size_t *at)
{
	while (*at < options->n_given) {
		const GivenOption *given = &options->given[(*at)++];

		if (strcmp(given->option->name, name) == 0)
			return given->value;
	}
	return NULL;
}
