/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"

#include "agent/config_keys.h"
#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/param.h>

static void *member(Config *config, const ConfigKey *key)
{
	return (char *)config + key->offset;
}

static void list_clear(ConfigList *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (ConfigList){ 0 };
}

static void list_add(ConfigList *list, const char *text)
{
	list->items = must_realloc(list->items, list->count + 1, sizeof *list->items);
	list->items[list->count++] = text_dup(text);
}

static bool is_choice(const char *choices, const char *text)
{
	size_t length = strlen(text);

	while (*choices) {
		size_t n = strcspn(choices, "|");

		if (n == length && strncmp(choices, text, n) == 0)
			return true;
		choices += n + (choices[n] == '|');
	}
	return false;
}

static int check_number(uint64_t *ret, const ConfigKey *key, const char *text, Error *err)
{
	if (text_to_u64(ret, text) == -EINVAL)
		return error_add_violation(err, key->name, "'%.64s' is not a whole number", text);
	if (text_to_u64(ret, text) < 0 || *ret < key->min || *ret > key->max)
		return error_add_violation(err, key->name,
					   "%.64s is not in %" PRIu64 " to %" PRIu64, text,
					   key->min, key->max);
	return 0;
}

static int check_text(const ConfigKey *key, const char *text, Error *err)
{
	size_t length = strlen(text);

	if (!text_is_utf8(text, length) || strpbrk(text, "\n\r"))
		return error_add_violation(err, key->name, "is not one line of UTF-8");
	if (key->choices && !is_choice(key->choices, text))
		return error_add_violation(err, key->name, "'%.64s' is not one of %s", text,
					   key->choices);
	if (key->choices)
		return 0;
	if (key->type == CONFIG_PATH && text[0] != '/')
		return error_add_violation(err, key->name, "'%.64s' is not an absolute path", text);
	if (length < MAX(key->min, 1U) || length > key->max)
		return error_add_violation(err, key->name,
					   "has %zu bytes, not %" PRIu64 " to %" PRIu64, length,
					   MAX(key->min, 1U), key->max);
	return 0;
}

/* One element of a list: the server checks an address more closely when it listens. */
static void add_element(ConfigList *list, const ConfigKey *key, const char *text, Error *err)
{
	if (list->count == key->max)
		(void)error_add_violation(err, key->name, "more than %" PRIu64, key->max);
	else if (!*text || strlen(text) > 255 || !text_is_utf8(text, strlen(text)) ||
		 (strncmp(text, "unix:/", 6) != 0 && !strrchr(text, ':')))
		(void)error_add_violation(err, key->name,
					  "'%.64s' is neither unix:/PATH nor HOST:PORT", text);
	else
		list_add(list, text);
}

void config_set(Config *config, const ConfigKey *key, const char *text, Error *err)
{
	void *place = member(config, key);
	uint64_t number = 0;

	switch (key->type) {
	case CONFIG_NUMBER:
		if (check_number(&number, key, text, err) == 0)
			*(uint64_t *)place = number;
		break;
	case CONFIG_LIST:
		add_element(place, key, text, err);
		break;
	case CONFIG_TEXT:
	case CONFIG_PATH:
		if (check_text(key, text, err) < 0)
			break;
		free(*(char **)place);
		*(char **)place = text_dup(text);
		break;
	}
}

void config_reset(Config *config, const ConfigKey *key)
{
	if (key->type == CONFIG_LIST)
		list_clear(member(config, key));
}

static void set_builtin(Config *config)
{
	for (size_t i = 0; i < array_size(config_keys); i++) {
		Error err = { 0 };

		if (!config_keys[i].value)
			continue;
		config_set(config, &config_keys[i], config_keys[i].value, &err);
		assert(!error_is_set(&err));
	}
}

void config_clear(Config *config)
{
	for (size_t i = 0; i < array_size(config_keys); i++) {
		const ConfigKey *key = &config_keys[i];

		if (key->type == CONFIG_LIST)
			list_clear(member(config, key));
		else if (key->type != CONFIG_NUMBER)
			free(*(char **)member(config, key));
	}
	*config = (Config){ 0 };
}

int config_network(const Config *config, NetworkConfig *ret, Error *err)
{
	const NetworkSettings settings = {
		.mode = config->network_mode,
		.pool4 = config->network_pool4,
		.pool6 = config->network_pool6,
		.uplink = config->network_uplink,
		.bridge = config->network_bridge,
		.gateway4 = config->network_gateway4,
		.gateway6 = config->network_gateway6,
		.enforcement = config->network_enforcement,
		.denied = config->network_denied,
		.resolvers = config->network_resolvers,
		.new_flows = config->network_new_flows,
	};

	ret->max_vms = (uint32_t)config->max_vms;
	return network_config_read(ret, &settings, err);
}

static bool is_given(const char *text)
{
	return strcmp(text, "none") != 0;
}

static void check_tls(const Config *config, Error *err)
{
	const struct {
		const char *key, *path;
	} rows[] = {
		{ "tls.certificate", config->tls_certificate },
		{ "tls.key", config->tls_key },
		{ "tls.client_ca", config->tls_client_ca },
	};

	for (size_t i = 0; i < array_size(rows); i++)
		if (is_given(rows[i].path) && rows[i].path[0] != '/')
			(void)error_add_violation(err, rows[i].key,
						  "'%.64s' is not an absolute path", rows[i].path);
	if (is_given(config->tls_certificate) != is_given(config->tls_key))
		(void)error_add_violation(err, "tls.key", "goes together with tls.certificate");
	if (is_given(config->tls_client_ca) && !is_given(config->tls_certificate))
		(void)error_add_violation(err, "tls.client_ca", "needs tls.certificate");
}

TlsFiles config_tls(const Config *config)
{
	return (TlsFiles){
		.certificate = is_given(config->tls_certificate) ? config->tls_certificate : NULL,
		.key = config->tls_key,
		.client_ca = is_given(config->tls_client_ca) ? config->tls_client_ca : NULL,
	};
}

int config_roles(const Config *config, Roles **ret, Error *err)
{
	const char *const given[] = { config->roles_viewer, config->roles_operator,
				      config->roles_admin };
	const char *lists[ROLE_COUNT_] = { NULL };

	for (size_t i = 0; i < array_size(given); i++)
		if (is_given(given[i]))
			lists[ROLE_VIEWER + i] = given[i];
	return roles_new(ret, lists, err);
}

static void check_roles(const Config *config, Error *err)
{
	cleanup_(roles_freep) Roles *roles = NULL;

	(void)!config_roles(config, &roles, err);
	if (is_given(config->audit_file) && config->audit_file[0] != '/')
		(void)error_add_violation(err, "audit.file", "'%.64s' is not an absolute path",
					  config->audit_file);
}

/* What a key's own row cannot say. */
static int check_more(const Config *config, Error *err)
{
	cleanup_free char *dirs = text_dup(config->image_dirs);
	char *rest = dirs;
	const char *dir;
	NetworkConfig network = { .max_vms = 0 };

	(void)!config_network(config, &network, err);
	check_tls(config, err);
	check_roles(config, err);
	if (strchr(config->jailer_cgroup, '/') || config->jailer_cgroup[0] == '.')
		(void)error_add_violation(err, "jailer.cgroup", "must be one name without '/'");
	while ((dir = strsep(&rest, ":")))
		if (dir[0] != '/')
			(void)error_add_violation(err, "image_dirs",
						  "'%.64s' is not an absolute path", dir);
	return error_is_set(err) ? -1 : 0;
}

static int set_from_host(Config *config, Error *err)
{
	char buffer[4096];
	ssize_t n;
	char *slash;

	if (!config->node_id) {
		if (gethostname(buffer, 254) < 0 || !buffer[0])
			return error_add_violation(err, "node_id",
						   "not given, and the host has no name");
		buffer[253] = '\0';
		config->node_id = text_dup(buffer);
	}
	if (!config->jailer_dir)
		config->jailer_dir = text_printf("%s/jail", config->state_dir);
	if (config->keeper)
		return 0;
	n = readlink("/proc/self/exe", buffer, sizeof buffer - 1);
	if (n < 0)
		return error_set_errno(err, ERROR_INVALID_REQUEST, errno, "keeper: /proc/self/exe");
	buffer[n] = '\0';
	slash = strrchr(buffer, '/');
	config->keeper = text_printf("%.*s/hearth-keeper", (int)(slash - buffer), buffer);
	return 0;
}

int config_read(Config *config, ConfigAction *action, int argc, char *const argv[], Error *err)
{
	*action = CONFIG_RUN;
	set_builtin(config);
	if (config_read_actions(config, action, argc, argv, err) < 0)
		return -1;
	if (*action == CONFIG_HELP || *action == CONFIG_VERSION)
		return 0;
	if (config_read_flags(config, argc, argv, err) < 0 || check_more(config, err) < 0)
		return -1;
	return set_from_host(config, err);
}
