/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Loading the programs over maps that are pinned or made. They are loaded
 * twice, over the same maps: once to filter and once to explain.
 */

#include "base/file.h"
#include "netfw/filter_private.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

enum {
	KERNEL_LOG_MAX = 1 << 16,
	PIN_PATH_MAX = FILTER_DIR_MAX + 64,
};

/* A map's entries are @fixed and @each for every VM. */
typedef struct MapRow {
	const char *name;
	uint32_t each, fixed;
} MapRow;

/* clang-format off */
static const MapRow map_rows[] = {
	[FILTER_MAP_POLICIES4]     = { "policies4",     2, 0 },
	[FILTER_MAP_POLICIES6]     = { "policies6",     2, 0 },
	[FILTER_MAP_PORTS]         = { "ports",         0, FILTER_PORTS_MAX },
	[FILTER_MAP_PINS]          = { "pins",          0, FILTER_PINS_MAX },
	[FILTER_MAP_NAMES]         = { "names",         0, FILTER_PINS_MAX },
	[FILTER_MAP_FLOWS]         = { "flows",         1, 0 },
	[FILTER_MAP_COUNTERS]      = { "counters",      2, 2 },
	[FILTER_MAP_FLOW_BUDGETS]  = { "flow_budgets",  1, 0 },
	[FILTER_MAP_EVENT_BUDGETS] = { "event_budgets", 1, 0 },
	[FILTER_MAP_EVENTS]        = { "events",        0, 1 << 20 },
	[FILTER_MAP_VMS]           = { "vms",           1, 0 },
};
/* clang-format on */
static_assert(array_size(map_rows) == FILTER_MAP_COUNT_, "describe every map");

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static void object_close(struct bpf_object **object)
{
	bpf_object__close(*object);
}

static void pin_path(const Filter *filter, FilterMap map, char ret[static PIN_PATH_MAX])
{
	(void)snprintf(ret, PIN_PATH_MAX, "%s/%s", filter->dir, map_rows[map].name);
}

static void unpin(const Filter *filter)
{
	char path[PIN_PATH_MAX];

	for (FilterMap map = 0; map < FILTER_MAP_COUNT_; map++) {
		pin_path(filter, map, path);
		(void)unlink(path);
	}
}

static int make_dir(Filter *filter, const char *pin_dir, Error *err)
{
	bool is_new = access(pin_dir, F_OK) < 0;
	struct statfs fs;
	int r;

	r = snprintf(filter->dir, sizeof filter->dir, "%s/v%d", pin_dir, FILTER_LAYOUT);
	if (r < 0 || (size_t)r >= sizeof filter->dir)
		return error_set(err, ERROR_FIREWALL, "the path of the pins is too long: %s",
				 pin_dir);
	r = file_make_dirs(filter->dir);
	if (r < 0)
		return error_set_errno(err, ERROR_FIREWALL, -r, "make %s", filter->dir);
	if (statfs(filter->dir, &fs) < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "look at %s", filter->dir);
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	(void)rmdir(filter->dir);
	if (is_new)
		(void)rmdir(pin_dir);
	return error_set(err, ERROR_FIREWALL, "%s is not on a BPF file system", pin_dir);
}

/* 1, or 0 if there is none. */
static int open_pin(const Filter *filter, FilterMap map, int *fd, struct bpf_map_info *info,
		    Error *err)
{
	uint32_t size = sizeof *info;
	char path[PIN_PATH_MAX];

	pin_path(filter, map, path);
	memset(info, 0, sizeof *info);
	*fd = bpf_obj_get(path);
	if (*fd < 0 && errno == ENOENT)
		return 0;
	if (*fd < 0 || bpf_obj_get_info_by_fd(*fd, info, &size) < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "open the pinned map %s", path);
	return 1;
}

/* Whose size decides: that of the VMs' map, if it is there and of use. */
static int choose_size(Filter *filter, uint32_t wanted, Error *err)
{
	cleanup_close int fd = -1;
	struct bpf_map_info info;
	uint32_t key;
	int r = open_pin(filter, FILTER_MAP_VMS, &fd, &info, err);

	if (r < 0)
		return -1;
	filter->max_vms = wanted;
	filter->fresh =
		r == 0 || (info.max_entries != wanted && bpf_map_get_next_key(fd, NULL, &key) < 0);
	if (filter->fresh)
		unpin(filter);
	else
		filter->max_vms = info.max_entries;
	return 0;
}

static int adopt_map(const Filter *filter, FilterMap map, struct bpf_map *to, Error *err)
{
	cleanup_close int fd = -1;
	struct bpf_map_info info;
	int r = open_pin(filter, map, &fd, &info, err);

	if (r <= 0)
		return r;
	if (info.type != bpf_map__type(to) || info.key_size != bpf_map__key_size(to) ||
	    info.value_size != bpf_map__value_size(to) ||
	    info.max_entries != bpf_map__max_entries(to))
		return error_set(err, ERROR_FIREWALL, "the pinned map %s/%s is not hearth's",
				 filter->dir, map_rows[map].name);
	r = bpf_map__reuse_fd(to, fd);
	if (r < 0)
		return error_set_errno(err, ERROR_FIREWALL, -r, "adopt the map %s",
				       map_rows[map].name);
	return 0;
}

static int prepare_map(const Filter *filter, FilterMap map, struct bpf_object *object, Error *err)
{
	const MapRow *row = &map_rows[map];
	struct bpf_map *to = bpf_object__find_map_by_name(object, row->name);
	int r;

	if (!to)
		return error_set(err, ERROR_FIREWALL, "the programs have no map %s", row->name);
	if (filter->maps[map] >= 0) { /* the explainer */
		r = bpf_map__reuse_fd(to, filter->maps[map]);
		return r < 0 ? error_set_errno(err, ERROR_FIREWALL, -r, "share the map %s",
					       row->name)
			     : 0;
	}
	r = bpf_map__set_max_entries(to, row->fixed + row->each * filter->max_vms);
	if (r < 0)
		return error_set_errno(err, ERROR_FIREWALL, -r, "size the map %s", row->name);
	return adopt_map(filter, map, to, err);
}

static int set_settings(struct bpf_object *object, const struct filter_settings *settings,
			Error *err)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		size_t size;

		if (bpf_map__initial_value(map, &size) && size == sizeof *settings)
			return bpf_map__set_initial_value(map, settings, sizeof *settings) < 0
				       ? error_set(err, ERROR_FIREWALL, "set up the programs")
				       : 0;
	}
	return error_set(err, ERROR_FIREWALL, "the programs have no settings");
}

/* The last line but one says what the verifier minds. */
static const char *last_line(char *log)
{
	char *line = log, *saved = NULL;

	for (char *at = strtok_r(log, "\n", &saved); at; at = strtok_r(NULL, "\n", &saved))
		if (strncmp(at, "processed ", strlen("processed ")) != 0)
			line = at;
	return *line ? line : "nothing more is known";
}

static int load_object(const Filter *filter, struct bpf_object **ret, bool explain, Error *err)
{
	cleanup_free char *log = new0_array(char, KERNEL_LOG_MAX);
	cleanup_(object_close) struct bpf_object *object = NULL;
	const struct filter_settings settings = { explain, filter->max_vms };
	struct bpf_object_open_opts options = { .sz = FILTER_OPTIONS_SIZE(bpf_object_open_opts),
						.object_name = "hearth",
						.kernel_log_buf = log,
						.kernel_log_size = KERNEL_LOG_MAX };
	int r;

	object = bpf_object__open_mem(filter_object, filter_object_size, &options);
	if (!object)
		return error_set_errno(err, ERROR_FIREWALL, errno, "read the programs");
	for (FilterMap map = 0; map < FILTER_MAP_COUNT_; map++)
		if (prepare_map(filter, map, object, err) < 0)
			return -1;
	if (set_settings(object, &settings, err) < 0)
		return -1;
	r = bpf_object__load(object);
	if (r < 0)
		return error_set_errno(err, ERROR_FIREWALL, -r,
				       "the kernel refuses the programs (%.200s)", last_line(log));
	*ret = take_ptr(object);
	return 0;
}

static int pin_maps(Filter *filter, Error *err)
{
	char path[PIN_PATH_MAX];

	for (FilterMap map = 0; map < FILTER_MAP_COUNT_; map++) {
		pin_path(filter, map, path);
		if (bpf_obj_pin(filter->maps[map], path) < 0 && errno != EEXIST)
			return error_set_errno(err, ERROR_FIREWALL, errno, "pin %s", path);
	}
	return 0;
}

int filter_load(Filter *filter, const FilterConfig *config, Error *err)
{
	libbpf_set_print(quiet);
	if (make_dir(filter, config->pin_dir, err) < 0 ||
	    choose_size(filter, config->max_vms, err) < 0 ||
	    load_object(filter, &filter->object, false, err) < 0)
		return -1;
	for (FilterMap map = 0; map < FILTER_MAP_COUNT_; map++)
		filter->maps[map] =
			bpf_object__find_map_fd_by_name(filter->object, map_rows[map].name);
	return pin_maps(filter, err);
}

int filter_load_explainer(Filter *filter, Error *err)
{
	return filter->explainer ? 0 : load_object(filter, &filter->explainer, true, err);
}
