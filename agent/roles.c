/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/roles.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum {
	NAME_BYTES_MAX = 255,
	FIELD_BYTES = 32,
};

static const char *const role_names[ROLE_COUNT_] = {
	[ROLE_NONE] = "none",
	[ROLE_VIEWER] = "viewer",
	[ROLE_OPERATOR] = "operator",
	[ROLE_ADMIN] = "admin",
};

typedef struct Given {
	char *name; /* without the star */
	bool is_start;
	Role role;
} Given;

struct Roles {
	Given *items;
	size_t count;
	char own[2][FIELD_BYTES]; /* "uid:0", and the agent's */
};

const char *role_name(Role role)
{
	return role_names[role];
}

/* Those that differ from what all others need: a path, or how several begin. */
static const struct {
	const char *path;
	Role role;
} needs[] = {
	{ "/grpc.health.v1.Health/", ROLE_NONE },
	{ "/hearth.v1.GuestService/", ROLE_OPERATOR },
	{ "/hearth.v1.NodeService/Cordon", ROLE_ADMIN },
	{ "/hearth.v1.NodeService/Uncordon", ROLE_ADMIN },
	{ "/hearth.v1.NodeService/Drain", ROLE_ADMIN },
	{ "/hearth.v1.ImageService/ImportTemplate", ROLE_ADMIN },
	{ "/hearth.v1.ImageService/DeleteTemplate", ROLE_ADMIN },
};

Role role_needed(const char *path, bool mutates)
{
	for (size_t i = 0; i < array_size(needs); i++) {
		size_t length = strlen(needs[i].path);
		bool is_prefix = needs[i].path[length - 1] == '/';

		if (strncmp(path, needs[i].path, length) == 0 && (is_prefix || !path[length]))
			return needs[i].role;
	}
	return mutates ? ROLE_OPERATOR : ROLE_VIEWER;
}

static bool is_name(const char *name, size_t length)
{
	static const char *const kinds[] = {
		"uid:", "tcp:", "tls:", "uri:", "dns:", "email:", "cn:"
	};

	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] == 0x7f || (name[i] == '*' && i + 1 < length))
			return false;
	for (size_t i = 0; i < array_size(kinds); i++) {
		size_t kind = strlen(kinds[i]);

		if (length > kind && length <= NAME_BYTES_MAX && strncmp(name, kinds[i], kind) == 0)
			return true;
	}
	return false;
}

static void add(Roles *roles, const char *name, size_t length, Role role)
{
	Given *given;

	roles->items = must_realloc(roles->items, roles->count + 1, sizeof *roles->items);
	given = &roles->items[roles->count++];
	*given = (Given){ .role = role, .is_start = name[length - 1] == '*' };
	given->name = text_printf("%.*s", (int)length - given->is_start, name);
}

static void add_list(Roles *roles, const char *list, Role role, Error *err)
{
	char field[FIELD_BYTES];

	(void)snprintf(field, sizeof field, "roles.%s", role_name(role));
	while (*list) {
		size_t length = strcspn(list, ",");

		if (is_name(list, length))
			add(roles, list, length, role);
		else
			(void)error_add_violation(err, field,
						  "'%.*s' is not KIND:NAME, of uid, tcp, tls, uri, "
						  "dns, email and cn",
						  (int)length, list);
		list += length + (list[length] == ',');
	}
}

int roles_new(Roles **ret, const char *const lists[static ROLE_COUNT_], Error *err)
{
	cleanup_(roles_freep) Roles *roles = new0(Roles);
	bool any = false;

	for (Role role = ROLE_VIEWER; role < ROLE_COUNT_; role++) {
		any = any || lists[role];
		if (lists[role])
			add_list(roles, lists[role], role, err);
	}
	if (error_is_set(err))
		return -1;
	if (!any) {
		*ret = NULL;
		return 0;
	}
	(void)snprintf(roles->own[0], sizeof roles->own[0], "uid:0");
	(void)snprintf(roles->own[1], sizeof roles->own[1], "uid:%u", (unsigned)geteuid());
	*ret = take_ptr(roles);
	return 0;
}

void roles_free(Roles *roles)
{
	if (!roles)
		return;
	for (size_t i = 0; i < roles->count; i++)
		free(roles->items[i].name);
	free(roles->items);
	free(roles);
}

static bool is_given(const Given *given, const char *name)
{
	return given->is_start ? strncmp(name, given->name, strlen(given->name)) == 0
			       : strcmp(name, given->name) == 0;
}

Role roles_of(const Roles *roles, const char *name)
{
	Role role = ROLE_NONE;

	if (!roles || strcmp(name, roles->own[0]) == 0 || strcmp(name, roles->own[1]) == 0)
		return ROLE_ADMIN;
	for (size_t i = 0; i < roles->count; i++)
		if (roles->items[i].role > role && is_given(&roles->items[i], name))
			role = roles->items[i].role;
	return role;
}
