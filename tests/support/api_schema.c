/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/api_schema.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct Check {
	json_t *schema;
	char *why;
	size_t size;
} Check;

static json_t *scalar(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;
	char *end;
	long long number;

	if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return json_string(text);
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		return json_boolean(text[0] == 't');
	number = strtoll(text, &end, 10);
	return *text && !*end ? json_integer(number) : json_string(text);
}

/* NOLINTBEGIN(misc-no-recursion): as deep as the description */
static json_t *convert(yaml_document_t *document, yaml_node_t *node)
{
	json_t *result;

	if (node->type == YAML_SCALAR_NODE)
		return scalar(node);
	if (node->type == YAML_SEQUENCE_NODE) {
		result = json_array();
		for (yaml_node_item_t *item = node->data.sequence.items.start;
		     item < node->data.sequence.items.top; item++)
			(void)json_array_append_new(
				result, convert(document, yaml_document_get_node(document, *item)));
		return result;
	}
	result = json_object();
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(document, pair->key);

		(void)json_object_set_new(
			result, (const char *)key->data.scalar.value,
			convert(document, yaml_document_get_node(document, pair->value)));
	}
	return result;
}

json_t *api_schema_load(const char *path)
{
	cleanup_fclose FILE *file = fopen(path, "re");
	yaml_parser_t parser;
	yaml_document_t document;
	json_t *schema = NULL;

	if (!file || !yaml_parser_initialize(&parser))
		return NULL;
	yaml_parser_set_input_file(&parser, file);
	if (yaml_parser_load(&parser, &document)) {
		yaml_node_t *root = yaml_document_get_root_node(&document);

		schema = root ? convert(&document, root) : NULL;
		yaml_document_delete(&document);
	}
	yaml_parser_delete(&parser);
	return schema;
}

static int unfit(Check *check, const char *where, const char *why)
{
	(void)snprintf(check->why, check->size, "%s: %s", where, why);
	return -1;
}

/* What a "$ref" to a definition stands for. */
static json_t *resolve(const Check *check, json_t *schema)
{
	static const char before[] = "#/definitions/";
	const char *ref = json_string_value(json_object_get(schema, "$ref"));

	if (!ref || strncmp(ref, before, sizeof before - 1) != 0)
		return schema;
	return json_object_get(json_object_get(check->schema, "definitions"),
			       ref + sizeof before - 1);
}

static bool has_type(const char *type, const json_t *value)
{
	if (strcmp(type, "integer") == 0)
		return json_is_integer(value);
	if (strcmp(type, "string") == 0)
		return json_is_string(value);
	if (strcmp(type, "boolean") == 0)
		return json_is_boolean(value);
	if (strcmp(type, "array") == 0)
		return json_is_array(value);
	return strcmp(type, "object") == 0 && json_is_object(value);
}

/* Is all of @text what the extended regular expression @pattern says? */
static bool matches(const char *text, const char *pattern)
{
	cleanup_free char *whole = text_printf("^(%s)$", pattern);
	regex_t regex;
	bool result;

	if (regcomp(&regex, whole, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	result = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	return result;
}

/* Formats are an integer's width or, in this description, a text's pattern. */
static bool has_format(const char *format, const json_t *value)
{
	if (strcmp(format, "int64") == 0)
		return json_is_integer(value);
	if (strcmp(format, "int32") == 0)
		return json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
		       json_integer_value(value) <= INT32_MAX;
	return json_is_string(value) && matches(json_string_value(value), format);
}

static int check_plain(Check *check, json_t *schema, json_t *value, const char *where)
{
	const char *format = json_string_value(json_object_get(schema, "format"));
	json_t *choices = json_object_get(schema, "enum"), *choice;
	json_t *least = json_object_get(schema, "minimum");
	json_t *most = json_object_get(schema, "maximum");
	bool chosen = !choices;
	size_t i;

	json_array_foreach(choices, i, choice) chosen = chosen || json_equal(choice, value);
	if (!chosen)
		return unfit(check, where, "none of its values");
	if (json_is_integer(value) &&
	    ((least && json_integer_value(value) < json_integer_value(least)) ||
	     (most && json_integer_value(value) > json_integer_value(most))))
		return unfit(check, where, "beyond its limits");
	return !format || has_format(format, value) ? 0 : unfit(check, where, "of another format");
}

static int check_value(Check *check, json_t *schema, json_t *value, const char *where);

static int check_object(Check *check, json_t *schema, json_t *value, const char *where)
{
	json_t *properties = json_object_get(schema, "properties"), *member, *name;
	const char *key;
	size_t i;

	json_array_foreach(
		json_object_get(schema, "required"), i,
		name) if (!json_object_get(value,
					   json_string_value(
						   name))) return unfit(check,
									json_string_value(name),
									"required and not there");
	json_object_foreach(value, key, member)
	{
		cleanup_free char *inner = text_printf("%s.%s", where, key);
		json_t *property = json_object_get(properties, key);

		if (!property && json_is_true(json_object_get(schema, "additionalProperties")))
			continue;
		if (!property)
			return unfit(check, inner, "no such property");
		if (check_value(check, property, member, inner) < 0)
			return -1;
	}
	return 0;
}

static int check_items(Check *check, json_t *schema, json_t *array, const char *where)
{
	json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		cleanup_free char *inner = text_printf("%s[%zu]", where, i);

		if (check_value(check, schema, item, inner) < 0)
			return -1;
	}
	return 0;
}

static int check_value(Check *check, json_t *schema, json_t *value, const char *where)
{
	const char *type;

	schema = resolve(check, schema);
	type = json_string_value(json_object_get(schema, "type"));
	if (!schema || !type)
		return unfit(check, where, "not described");
	if (!has_type(type, value))
		return unfit(check, where, "of another type");
	if (json_is_object(value))
		return check_object(check, schema, value, where);
	if (json_is_array(value))
		return check_items(check, json_object_get(schema, "items"), value, where);
	return check_plain(check, schema, value, where);
}

/* NOLINTEND(misc-no-recursion) */

/* Is @path one of those that @pattern stands for? */
static bool path_matches(const char *pattern, const char *path)
{
	for (; *pattern && *path; pattern++, path++) {
		if (*pattern == '{') {
			pattern += strcspn(pattern, "}");
			path += strcspn(path, "/") - 1;
		} else if (*pattern != *path) {
			return false;
		}
	}
	return !*pattern && !*path;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): @why is written through Check */
int api_schema_check(json_t *schema, const char *method, const char *path, json_t *body, char *why,
		     size_t size)
{
	Check check = { schema, why, size };
	json_t *operations, *parameter;
	const char *pattern;
	size_t i;

	json_object_foreach(json_object_get(schema, "paths"), pattern, operations)
	{
		json_t *operation = json_object_get(operations, method);

		if (!operation || !path_matches(pattern, path))
			continue;
		json_array_foreach(json_object_get(operation, "parameters"), i, parameter)
		{
			const char *in = json_string_value(json_object_get(parameter, "in"));

			if (in && strcmp(in, "body") == 0)
				return check_value(&check, json_object_get(parameter, "schema"),
						   body, "body");
		}
		return unfit(&check, path, "takes no body");
	}
	return unfit(&check, path, "no such request");
}
