/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/parts.h"

#include "agent/ctl/message.h"
#include "agent/ctl/rate.h"
#include "agent/ctl/request.h"
#include "base/text.h"

#include <stdarg.h>
#include <string.h>

static int say(char *problem, const char *format, ...) printf_like(2, 3);

static int say(char *problem, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)text_vappend(problem, problem + OPTION_PROBLEM_MAX, format, ap);
	va_end(ap);
	return -1;
}

static bool takes_value(const Part *part)
{
	return part->type != PART_TRUE && part->type != PART_FALSE;
}

static int refuse_name(const Part *parts, const char *name, char *problem)
{
	const char *end = problem + OPTION_PROBLEM_MAX;
	char *at = text_append(problem, end, "'%s' is none of", name);

	for (const Part *row = parts; row->name; row++)
		at = text_append(at, end, "%s %s%s", row == parts ? "" : ",", row->name,
				 takes_value(row) ? "=" : "");
	return -1;
}

static int refuse_enum(const Part *part, const char *value, char *problem)
{
	const char *end = problem + OPTION_PROBLEM_MAX;
	char *at = text_append(problem, end, "%s: '%s' is none of", part->name, value);
	char name[40];

	for (unsigned i = 1; i < part->names->n_values; i++)
		at = text_append(at, end, "%s %s", i > 1 ? "," : "",
				 enum_text(part->names, part->names->values[i].value, name));
	return -1;
}

static int set_number(const Part *part, uint32_t *field, const char *value, char *problem)
{
	uint64_t number;

	if (text_to_u64(&number, value) < 0 || number > UINT32_MAX)
		return say(problem, "%s: '%s' is not a whole number up to %u", part->name, value,
			   UINT32_MAX);
	*field = (uint32_t)number;
	return 0;
}

static int set_rate(const Part *part, Hearth__V1__RateLimiter **field, const char *value,
		    char *problem)
{
	bool bytes = part->type == PART_BANDWIDTH;
	Hearth__V1__TokenBucket bucket;
	Hearth__V1__TokenBucket **at;

	hearth__v1__token_bucket__init(&bucket);
	if (rate_parse(&bucket, bytes ? RATE_BYTES : RATE_OPERATIONS, value) < 0)
		return say(problem, "%s: '%s' is not %s", part->name, value,
			   bytes ? "SIZE/DURATION[+BURST] such as 10m/1s"
				 : "N/DURATION[+BURST] such as 1000/1s");
	if (!*field)
		*field = message_new(&hearth__v1__rate_limiter__descriptor);
	at = bytes ? &(*field)->bandwidth : &(*field)->ops;
	if (!*at)
		*at = message_new(&hearth__v1__token_bucket__descriptor);
	**at = bucket;
	return 0;
}

static int set_part(void *message, const Part *part, const char *value, char *problem)
{
	void *field = (char *)message + part->offset;

	switch (part->type) {
	case PART_TEXT:
		set_text(field, value);
		break;
	case PART_TRUE:
	case PART_FALSE:
		*(protobuf_c_boolean *)field = part->type == PART_TRUE;
		break;
	case PART_NUMBER:
		return set_number(part, field, value, problem);
	case PART_ENUM:
		if (enum_parse(field, part->names, value, strlen(value)) < 0)
			return refuse_enum(part, value, problem);
		break;
	case PART_BANDWIDTH:
	case PART_OPS:
		return set_rate(part, field, value, problem);
	}
	return 0;
}

/* @text is one part, "NAME" or "NAME=VALUE", and is cut up. */
static int parse_part(void *message, const Part *parts, char *text, char *problem)
{
	char *value = text + strcspn(text, "=");
	bool has_value = *value;
	const Part *part = parts;

	if (has_value)
		*value++ = '\0';
	while (part->name && strcmp(part->name, text) != 0)
		part++;
	if (!part->name)
		return refuse_name(parts, text, problem);
	if (has_value && !takes_value(part))
		return say(problem, "%s takes no value", part->name);
	if (!*value && takes_value(part))
		return say(problem, "%s needs a value", part->name);
	return set_part(message, part, value, problem);
}

int parts_parse(void *message, const Part *parts, const char *text,
		char problem[static OPTION_PROBLEM_MAX])
{
	cleanup_free char *copy = text_dup(text);
	char *rest = copy;

	for (char *part; (part = strsep(&rest, ","));)
		if (parse_part(message, parts, part, problem) < 0)
			return -1;
	return 0;
}
