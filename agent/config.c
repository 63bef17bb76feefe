/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"

#include "agent/config_keys.h"
#include "base/file.h"
#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/param.h>

/* clang-format off */
#define AT(member) offsetof(Config, member)
const ConfigKey config_keys[] = {
	{ "node_id", CONFIG_TEXT, AT(node_id), .min = 1, .max = 253,
	  .help = "this node's name; default: the host's" },
	{ "state_dir", CONFIG_PATH, AT(state_dir), .max = 256, .value = "/var/lib/hearth",
	  .help = "where VMs are recorded and run" },
	{ "listen", CONFIG_LIST, AT(listen), .min = 1, .max = CONFIG_LISTEN_MAX,
	  .value = "unix:/run/hearth/hearth.sock",
	  .help = "address to serve: unix:PATH or HOST:PORT; repeatable" },
	{ "backend", CONFIG_TEXT, AT(backend), .value = "qemu", .choices = "in_memory|qemu|firecracker",
	  .help = "what runs a VM whose spec does not say" },
	{ "keeper", CONFIG_PATH, AT(keeper), .max = 4095,
	  .help = "the hearth-keeper program; default: beside hearthd" },
	{ "qemu.binary", CONFIG_TEXT, AT(qemu_binary), .min = 1, .max = 4095,
	  .value = "qemu-system-x86_64", .help = "QEMU, a path or looked up on PATH" },
	{ "qemu.accelerator", CONFIG_TEXT, AT(qemu_accelerator), .value = "auto",
	  .choices = "auto|kvm|tcg", .help = "auto: KVM where it truly works, else TCG" },
	{ "firecracker.binary", CONFIG_TEXT, AT(firecracker_binary), .min = 1, .max = 4095,
	  .value = "firecracker", .help = "Firecracker, a path or looked up on PATH" },
	{ "jailer.mode", CONFIG_TEXT, AT(jailer_mode), .value = "on", .choices = "on|off",
	  .help = "run Firecracker in a jail, as a user of its own" },
	{ "jailer.binary", CONFIG_TEXT, AT(jailer_binary), .min = 1, .max = 4095, .value = "jailer",
	  .help = "Firecracker's jailer, a path or looked up on PATH" },
	{ "jailer.dir", CONFIG_PATH, AT(jailer_dir), .max = 256,
	  .help = "where jails are made; default: jail below state_dir" },
	{ "jailer.cgroup", CONFIG_TEXT, AT(jailer_cgroup), .min = 1, .max = 64, .value = "hearth",
	  .help = "control group that jails' groups are made in; another agent needs another" },
	{ "jailer.first_uid", CONFIG_NUMBER, AT(jailer_first_uid), .min = 1, .max = 4294000000,
	  .value = "1900000000", .help = "the first of the users and groups that jails run as" },
	{ "jailer.uid_count", CONFIG_NUMBER, AT(jailer_uid_count), .min = 2, .max = 900000,
	  .value = "65536", .help = "how many of them; one is for probes" },
	{ "network.mode", CONFIG_TEXT, AT(network_mode), .value = "off",
	  .choices = "off|routed|bridge", .help = "what VMs' interfaces are part of" },
	{ "network.pool4", CONFIG_TEXT, AT(network_pool4), .min = 1, .max = 64,
	  .value = "10.200.0.0/16", .help = "IPv4 addresses of VMs; the first is the gateway's; or none" },
	{ "network.pool6", CONFIG_TEXT, AT(network_pool6), .min = 1, .max = 64,
	  .value = "fd68:7468::/64", .help = "IPv6 addresses of VMs; the first is the gateway's; or none" },
	{ "network.uplink", CONFIG_TEXT, AT(network_uplink), .min = 1, .max = 15, .value = "none",
	  .help = "interface that VMs leave the host by, as the host itself; or none" },
	{ "network.enforcement", CONFIG_TEXT, AT(network_enforcement), .value = "auto",
	  .choices = "auto|bpf|iptables", .help = "auto: BPF where there is, else iptables" },
	{ "network.denied", CONFIG_TEXT, AT(network_denied), .min = 1, .max = 4095, .value = "none",
	  .help = "PREFIX,PREFIX..., denied to VMs unless a rule names a block inside; or none" },
	{ "network.new_flows_per_second", CONFIG_NUMBER, AT(network_new_flows), .max = 1000000,
	  .value = "1000", .help = "flows that one VM may begin; 0: no limit" },
	{ "image_dirs", CONFIG_TEXT, AT(image_dirs), .min = 1, .max = 65535, .value = "/",
	  .help = "DIR:DIR..., where kernels, initrds and disks of VMs may lie" },
	{ "limits.max_vms", CONFIG_NUMBER, AT(max_vms), .min = 1, .max = 1000000, .value = "10000",
	  .help = "VMs on this node" },
	{ "limits.max_operations", CONFIG_NUMBER, AT(max_operations), .min = 1, .max = 4096,
	  .value = "64", .help = "operations on VMs at once; more wait" },
	{ "limits.max_connections", CONFIG_NUMBER, AT(max_connections), .min = 1, .max = 1000000,
	  .value = "1024", .help = "connections of clients" },
	{ "limits.max_calls", CONFIG_NUMBER, AT(max_calls), .min = 1, .max = 1000000,
	  .value = "4096", .help = "calls in flight, streams included" },
	{ "limits.max_streams", CONFIG_NUMBER, AT(max_streams), .min = 1, .max = 100000,
	  .value = "1000", .help = "calls in flight on one connection; more wait at the client" },
	{ "limits.pollers", CONFIG_NUMBER, AT(pollers), .min = 1, .max = 16, .value = "2",
	  .help = "threads that serve connections" },
	{ "limits.message_bytes", CONFIG_NUMBER, AT(message_bytes), .min = 4096, .max = 67108864,
	  .value = "1048576", .help = "bytes of a request" },
	{ "history", CONFIG_NUMBER, AT(history), .min = 16, .max = 1048576, .value = "16384",
	  .help = "changes kept for watchers and for ListVmEvents" },
	{ "console.max_bytes", CONFIG_NUMBER, AT(console_max_bytes), .min = 8192,
	  .max = 1073741824, .value = "1048576", .help = "bytes of console output kept per VM" },
	{ "console.rate_bytes", CONFIG_NUMBER, AT(console_rate_bytes), .max = 1073741824,
	  .value = "262144", .help = "bytes of console output a second per VM; 0: no limit" },
	{ "log.format", CONFIG_TEXT, AT(log_format), .value = "text", .choices = "text|json",
	  .help = "text: key=value" },
	{ "log.level", CONFIG_TEXT, AT(log_level), .value = "info",
	  .choices = "error|info|debug", .help = "the least that is logged" },
	{ "drain_timeout", CONFIG_NUMBER, AT(drain_timeout), .max = 3600, .value = "20",
	  .help = "seconds that calls have to end after SIGTERM" },
};
#undef AT
/* clang-format on */
static_assert(array_size(config_keys) == CONFIG_KEY_COUNT, "CONFIG_KEY_COUNT counts the keys");

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

/* The flag of a key: "limits.max_vms" is --limits-max-vms. */
static void flag_name(char ret[static CONFIG_FLAG_MAX], const ConfigKey *key)
{
	text_copy(ret, CONFIG_FLAG_MAX, key->name);
	for (char *at = ret; (at = strpbrk(at, "._"));)
		*at = '-';
}

static const ConfigKey *find_flag(const char *name, size_t length)
{
	for (size_t i = 0; i < array_size(config_keys); i++) {
		char flag[CONFIG_FLAG_MAX];

		flag_name(flag, &config_keys[i]);
		if (strlen(flag) == length && strncmp(flag, name, length) == 0)
			return &config_keys[i];
	}
	return NULL;
}

/* The arguments, one flag at a time: --name value or --name=value. */
typedef struct FlagWalk {
	int argc;
	char *const *argv;
	int at;
	const char *name;
	size_t name_length;
	const char *value; /* NULL: none given yet */
} FlagWalk;

static int flag_next(FlagWalk *walk, Error *err)
{
	const char *argument = walk->argv[walk->at++];

	if (strncmp(argument, "--", 2) != 0 || !argument[2])
		return error_set_cause(err, ERROR_INVALID_REQUEST, CAUSE_INPUT,
				       "'%.64s' is no flag; see hearthd --help", argument);
	walk->name = argument + 2;
	walk->name_length = strcspn(walk->name, "=");
	walk->value = walk->name[walk->name_length] ? walk->name + walk->name_length + 1 : NULL;
	return 0;
}

static bool flag_is(const FlagWalk *walk, const char *name)
{
	return strlen(name) == walk->name_length &&
	       strncmp(name, walk->name, walk->name_length) == 0;
}

static int flag_value(FlagWalk *walk, Error *err)
{
	if (!walk->value && walk->at < walk->argc)
		walk->value = walk->argv[walk->at++];
	if (!walk->value)
		return error_set_cause(err, ERROR_INVALID_REQUEST, CAUSE_INPUT,
				       "--%.64s needs a value", walk->name);
	return 0;
}

static int read_file(Config *config, const char *path, Error *err)
{
	cleanup_free char *text = NULL;
	size_t length;
	int r = file_read(&text, &length, path, CONFIG_FILE_MAX);

	if (r < 0)
		return error_set_errno(err, ERROR_INVALID_REQUEST, -r, "--config %s", path);
	return config_read_text(config, text, length, path, err);
}

/* Flags that are not keys; true if @walk's is one of them. */
static bool is_action(const FlagWalk *walk, ConfigAction *action)
{
	static const struct {
		const char *name;
		ConfigAction action;
	} rows[] = {
		{ "help", CONFIG_HELP },
		{ "version", CONFIG_VERSION },
		{ "check", CONFIG_CHECK },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		if (walk->value || !flag_is(walk, rows[i].name))
			continue;
		if (*action == CONFIG_RUN || *action == CONFIG_CHECK)
			*action = rows[i].action;
		return true;
	}
	return false;
}

/* First pass: the actions and the file, so that flags win wherever they stand. */
static int read_actions(Config *config, ConfigAction *action, int argc, char *const argv[],
			Error *err)
{
	FlagWalk walk = { argc, argv, 1, NULL, 0, NULL };
	const char *path = NULL;

	while (walk.at < argc) {
		bool is_config;

		if (flag_next(&walk, err) < 0)
			return -1;
		if (is_action(&walk, action))
			continue;
		is_config = flag_is(&walk, "config");
		if (!is_config && !find_flag(walk.name, walk.name_length))
			return error_set_cause(err, ERROR_INVALID_REQUEST, CAUSE_INPUT,
					       "unknown flag --%.64s; see hearthd --help",
					       walk.name);
		if (flag_value(&walk, err) < 0)
			return -1;
		if (is_config)
			path = walk.value;
	}
	if (*action == CONFIG_HELP || *action == CONFIG_VERSION || !path)
		return 0;
	return read_file(config, path, err);
}

static int read_flags(Config *config, int argc, char *const argv[], Error *err)
{
	FlagWalk walk = { argc, argv, 1, NULL, 0, NULL };
	bool seen[CONFIG_KEY_COUNT] = { false };
	ConfigAction ignored = CONFIG_RUN;

	while (walk.at < argc) {
		const ConfigKey *key;

		if (flag_next(&walk, err) < 0)
			return -1;
		if (is_action(&walk, &ignored))
			continue;
		key = find_flag(walk.name, walk.name_length);
		if (flag_value(&walk, err) < 0)
			return -1;
		if (!key)
			continue;
		if (!seen[key - config_keys])
			config_reset(config, key);
		seen[key - config_keys] = true;
		config_set(config, key, walk.value, err);
	}
	return error_is_set(err) ? -1 : 0;
}

int config_network(const Config *config, NetworkConfig *ret, Error *err)
{
	const NetworkSettings settings = {
		.mode = config->network_mode,
		.pool4 = config->network_pool4,
		.pool6 = config->network_pool6,
		.uplink = config->network_uplink,
		.enforcement = config->network_enforcement,
		.denied = config->network_denied,
		.new_flows = config->network_new_flows,
	};

	ret->max_vms = (uint32_t)config->max_vms;
	return network_config_read(ret, &settings, err);
}

/* What a key's own row cannot say. */
static int check_more(const Config *config, Error *err)
{
	cleanup_free char *dirs = text_dup(config->image_dirs);
	char *rest = dirs;
	const char *dir;
	NetworkConfig network = { .max_vms = 0 };

	(void)!config_network(config, &network, err);
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
	if (read_actions(config, action, argc, argv, err) < 0)
		return -1;
	if (*action == CONFIG_HELP || *action == CONFIG_VERSION)
		return 0;
	if (read_flags(config, argc, argv, err) < 0 || check_more(config, err) < 0)
		return -1;
	return set_from_host(config, err);
}

void config_print_help(FILE *to)
{
	(void)fputs(
		"Usage: hearthd [--config FILE] [--check] [--FLAG VALUE]...\n\n"
		"The node agent: runs microVMs and serves hearth's API.\n\n"
		"  --config FILE   YAML; every flag below is a key of it (in brackets); flags win\n"
		"  --check         validate the configuration and exit\n"
		"  --version       say which version this is\n"
		"  --help          say this\n\n",
		to);
	for (size_t i = 0; i < array_size(config_keys); i++) {
		const ConfigKey *key = &config_keys[i];
		char flag[CONFIG_FLAG_MAX];

		flag_name(flag, key);
		(void)fprintf(to, "  --%s %s   [%s]\n      %s", flag,
			      key->type == CONFIG_NUMBER ? "N"
			      : key->choices             ? key->choices
			      : key->type == CONFIG_PATH ? "PATH"
							 : "TEXT",
			      key->name, key->help);
		if (key->type == CONFIG_NUMBER)
			(void)fprintf(to, "; %" PRIu64 " to %" PRIu64, key->min, key->max);
		if (key->value)
			(void)fprintf(to, " (default: %s)", key->value);
		(void)fputc('\n', to);
	}
}
