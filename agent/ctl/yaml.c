/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/yaml.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <string.h>
#include <yaml.h>

enum {
	DEPTH_MAX = 64,
	NODES_MAX = 1 << 20, /* counted anew wherever an alias repeats them */
};

typedef struct Reading {
	yaml_document_t document;
	json_error_t *problem;
	size_t nodes;
} Reading;

static json_t *complain(const Reading *reading, const yaml_mark_t *mark, const char *words)
{
	reading->problem->line = (int)mark->line + 1;
	reading->problem->column = (int)mark->column + 1;
	text_copy(reading->problem->text, sizeof reading->problem->text, words);
	return NULL;
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], text) == 0)
			return true;
	return false;
}

/* A scalar without quotes. */
static json_t *plain(const char *text)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
	static const char *const trues[] = { "true", "True", "TRUE" };
	static const char *const falses[] = { "false", "False", "FALSE" };
	bool negative = text[0] == '-';
	uint64_t number;

	if (is_one_of(text, nulls, array_size(nulls)))
		return json_null();
	if (is_one_of(text, trues, array_size(trues)))
		return json_true();
	if (is_one_of(text, falses, array_size(falses)))
		return json_false();
	if (text_to_u64(&number, text + negative) == 0 && number <= INT64_MAX)
		return json_integer(negative ? -(json_int_t)number : (json_int_t)number);
	return json_string(text);
}

static json_t *scalar(const Reading *reading, const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;
	json_t *json;

	if (strlen(text) != node->data.scalar.length)
		return complain(reading, &node->start_mark, "a text has a NUL byte");
	json = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain(text) : json_string(text);
	return json ? json : complain(reading, &node->start_mark, "a text is not UTF-8");
}

static json_t *convert(Reading *reading, int index, unsigned depth);

/* NOLINTBEGIN(misc-no-recursion): as deep as DEPTH_MAX */
static json_t *sequence(Reading *reading, const yaml_node_t *node, unsigned depth)
{
	json_t *list = json_array();

	for (const yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++) {
		json_t *one = convert(reading, *item, depth + 1);

		if (!one) {
			json_decref(list);
			return NULL;
		}
		(void)json_array_append_new(list, one);
	}
	return list;
}

/* Adds one pair of @node's to @object: 0 or -1. */
static int add_pair(Reading *reading, json_t *object, const yaml_node_pair_t *pair, unsigned depth)
{
	const yaml_node_t *key = yaml_document_get_node(&reading->document, pair->key);
	const char *name;
	json_t *value;

	if (key->type != YAML_SCALAR_NODE) {
		(void)complain(reading, &key->start_mark, "a key is no text");
		return -1;
	}
	name = (const char *)key->data.scalar.value;
	if (json_object_get(object, name)) {
		(void)complain(reading, &key->start_mark, "a key is there twice");
		return -1;
	}
	value = convert(reading, pair->value, depth + 1);
	if (!value)
		return -1;
	if (json_object_set_new(object, name, value) == 0)
		return 0;
	(void)complain(reading, &key->start_mark, "a key is not UTF-8");
	return -1;
}

static json_t *mapping(Reading *reading, const yaml_node_t *node, unsigned depth)
{
	json_t *object = json_object();

	for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		if (add_pair(reading, object, pair, depth) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *convert(Reading *reading, int index, unsigned depth)
{
	const yaml_node_t *node = yaml_document_get_node(&reading->document, index);

	if (depth > DEPTH_MAX || ++reading->nodes > NODES_MAX)
		return complain(reading, &node->start_mark, "too deep, or too much");
	switch (node->type) {
	case YAML_SCALAR_NODE:
		return scalar(reading, node);
	case YAML_SEQUENCE_NODE:
		return sequence(reading, node, depth);
	case YAML_MAPPING_NODE:
		return mapping(reading, node, depth);
	default:
		return complain(reading, &node->start_mark, "nothing");
	}
}
/* NOLINTEND(misc-no-recursion) */

/* The first document, which must be the only one. */
static json_t *only_document(yaml_parser_t *parser, Reading *reading)
{
	const yaml_node_t *root = yaml_document_get_root_node(&reading->document);
	json_t *json = root ? convert(reading, 1, 0)
			    : complain(reading, &parser->mark, "there is nothing in it");
	yaml_document_t more;

	if (!json)
		return NULL;
	if (!yaml_parser_load(parser, &more)) {
		json_decref(json);
		return complain(reading, &parser->problem_mark,
				parser->problem ? parser->problem : "not YAML");
	}
	if (yaml_document_get_root_node(&more)) {
		(void)complain(reading, &more.start_mark, "more than one document");
		json_decref(take_ptr(json));
	}
	yaml_document_delete(&more);
	return json;
}

json_t *yaml_load(const char *text, size_t length, json_error_t *problem)
{
	Reading reading = { .problem = problem };
	yaml_parser_t parser;
	json_t *json = NULL;

	*problem = (json_error_t){ .line = 1 };
	if (!yaml_parser_initialize(&parser))
		abort();
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	if (yaml_parser_load(&parser, &reading.document)) {
		json = only_document(&parser, &reading);
		yaml_document_delete(&reading.document);
	} else {
		(void)complain(&reading, &parser.problem_mark,
			       parser.problem ? parser.problem : "not YAML");
	}
	yaml_parser_delete(&parser);
	return json;
}
