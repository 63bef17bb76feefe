/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The YAML file. libcyaml checks its shape against a schema made from the
 * table of keys: every scalar is taken as text, and config_set() judges it,
 * exactly as it judges a flag's.
 */

#include "agent/config_keys.h"
#include "base/text.h"

#include <cyaml/cyaml.h>
#include <string.h>

/* What libcyaml fills in: one text a key, in the table's order; the list apart. */
typedef struct FileValues {
	char *texts[CONFIG_KEY_COUNT];
	char **list;
	uint32_t list_count;
} FileValues;

enum {
	GROUPS_MAX = 16,
	GROUP_NAME_MAX = 32,
};

typedef struct FileSchema {
	char group_names[GROUPS_MAX][GROUP_NAME_MAX];
	cyaml_schema_field_t group_fields[GROUPS_MAX][CONFIG_KEY_COUNT + 1];
	cyaml_schema_field_t fields[CONFIG_KEY_COUNT + 1];
	cyaml_schema_value_t top;
	size_t group_count;
	size_t field_count;
} FileSchema;

static const cyaml_schema_value_t list_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CONFIG_FILE_MAX),
};

static cyaml_schema_field_t scalar_field(const char *name, size_t index)
{
	return (cyaml_schema_field_t){
		.key = name,
		.data_offset = (uint32_t)(offsetof(FileValues, texts) + index * sizeof(char *)),
		.value = { CYAML_VALUE_STRING(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *, 0,
					      CONFIG_FILE_MAX) },
	};
}

static cyaml_schema_field_t list_field(const char *name, size_t max)
{
	return (cyaml_schema_field_t){
		.key = name,
		.data_offset = offsetof(FileValues, list),
		.count_offset = offsetof(FileValues, list_count),
		.count_size = sizeof(uint32_t),
		.value = { CYAML_VALUE_SEQUENCE(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *,
						&list_entry, 1, (uint32_t)max) },
	};
}

/* The schema's fields of the group that @name begins with, made when first met. */
static cyaml_schema_field_t *group_of(FileSchema *schema, const char *name, size_t length)
{
	size_t i = 0;

	while (i < schema->group_count && (strlen(schema->group_names[i]) != length ||
					   strncmp(schema->group_names[i], name, length) != 0))
		i++;
	if (i == schema->group_count) {
		text_copy(schema->group_names[i], length + 1, name);
		schema->fields[schema->field_count++] = (cyaml_schema_field_t){
			.key = schema->group_names[i],
			.value = { CYAML_VALUE_MAPPING(CYAML_FLAG_OPTIONAL, FileValues,
						       schema->group_fields[i]) },
		};
		schema->group_count++;
	}
	return schema->group_fields[i];
}

static void schema_make(FileSchema *schema)
{
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const char *name = config_keys[i].name;
		const char *dot = strchr(name, '.');
		cyaml_schema_field_t *at;

		if (!dot) {
			schema->fields[schema->field_count++] =
				config_keys[i].type == CONFIG_LIST
					? list_field(name, config_keys[i].max)
					: scalar_field(name, i);
			continue;
		}
		at = group_of(schema, name, (size_t)(dot - name));
		while (at->key)
			at++;
		*at = scalar_field(dot + 1, i);
	}
	schema->top = (cyaml_schema_value_t){ CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, FileValues,
								  schema->fields) };
}

/* libcyaml's own words, on one line. */
typedef struct Complaint {
	char text[ERROR_WHAT_MAX / 2];
	char *at;
} Complaint;

static void complain(cyaml_log_t level, void *user, const char *format, va_list args)
	printf_like(3, 0);

static void complain(cyaml_log_t level, void *user, const char *format, va_list args)
{
	static const char noise[] = "Load: ";
	Complaint *complaint = user;
	const char *end = complaint->text + sizeof complaint->text;
	char line[256];
	char *from = line;

	if (level < CYAML_LOG_ERROR)
		return;
	(void)text_vappend(line, line + sizeof line, format, args);
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, noise, sizeof noise - 1) == 0)
		from += sizeof noise - 1;
	from += strspn(from, " ");
	if (strcmp(from, "Backtrace:") == 0)
		return;
	complaint->at = text_append(complaint->at, end, "%s%s",
				    complaint->at == complaint->text ? "" : ", ", from);
}

static int set_all(Config *config, const FileValues *values, Error *err)
{
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const ConfigKey *key = &config_keys[i];

		if (key->type == CONFIG_LIST && values->list_count > 0) {
			config_reset(config, key);
			for (size_t k = 0; k < values->list_count; k++)
				config_set(config, key, values->list[k], err);
		}
		if (key->type != CONFIG_LIST && values->texts[i])
			config_set(config, key, values->texts[i], err);
	}
	return error_is_set(err) ? -1 : 0;
}

/* Nothing but comments and blank lines? libcyaml has no word for that. */
static bool is_blank(const char *text)
{
	while (*text) {
		text += strspn(text, " \t\r\n");
		if (*text && *text != '#')
			return false;
		text += strcspn(text, "\n");
	}
	return true;
}

int config_read_text(Config *config, const char *text, size_t length, const char *name, Error *err)
{
	cleanup_free FileSchema *schema = NULL;
	Complaint complaint = { .at = complaint.text };
	const cyaml_config_t options = {
		.log_fn = complain,
		.log_ctx = &complaint,
		.log_level = CYAML_LOG_ERROR,
		.mem_fn = cyaml_mem,
		.flags = CYAML_CFG_NO_ALIAS,
	};
	FileValues *values = NULL;
	cyaml_err_t result;
	int r = 0;

	if (strlen(text) != length)
		return error_set_cause(err, ERROR_INVALID_REQUEST, CAUSE_INPUT,
				       "%s: has a NUL byte", name);
	if (is_blank(text))
		return 0;
	schema = new0(FileSchema);
	schema_make(schema);
	result = cyaml_load_data((const uint8_t *)text, length, &options, &schema->top,
				 (cyaml_data_t **)&values, NULL);
	if (result != CYAML_OK)
		return error_set_cause(err, ERROR_INVALID_REQUEST, CAUSE_INPUT, "%s: %s", name,
				       complaint.text[0] ? complaint.text : cyaml_strerror(result));
	if (values)
		r = set_all(config, values, err);
	(void)cyaml_free(&options, &schema->top, values, 0);
	return r;
}
