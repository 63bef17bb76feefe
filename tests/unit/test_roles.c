/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/roles.h"

#include <criterion/criterion.h>
#include <string.h>

static Roles *made(const char *viewer, const char *operator, const char * admin)
{
	const char *const lists[ROLE_COUNT_] = { NULL, viewer, operator, admin };
	Roles *roles;
	Error err = { 0 };

	cr_assert_eq(roles_new(&roles, lists, &err), 0, "%s", err.what);
	return roles;
}

Test(roles, without_any_list_everybody_may_do_everything)
{
	Roles *roles = made(NULL, NULL, NULL);

	cr_assert_null(roles);
	cr_assert_eq(roles_of(roles, "tcp:10.0.0.1"), ROLE_ADMIN);
}

Test(roles, a_name_has_the_highest_role_it_was_given)
{
	cleanup_(roles_freep) Roles *roles =
		made("dns:see.org,uri:spiffe://a/*,uid:1000", "uri:spiffe://a/ops,dns:do.org",
		     "cn:root,uri:spiffe://a/ops/chief");
	static const struct {
		const char *name;
		Role role;
	} rows[] = {
		{ "dns:see.org", ROLE_VIEWER },
		{ "dns:see.org.", ROLE_NONE },
		{ "dns:see", ROLE_NONE },
		{ "cn:see.org", ROLE_NONE },
		{ "uri:spiffe://a/x/y", ROLE_VIEWER },
		{ "uri:spiffe://a/", ROLE_VIEWER },
		{ "uri:spiffe://b/", ROLE_NONE },
		{ "uri:spiffe://a/ops", ROLE_OPERATOR },
		{ "uri:spiffe://a/ops/chief", ROLE_ADMIN },
		{ "dns:do.org", ROLE_OPERATOR },
		{ "cn:root", ROLE_ADMIN },
		{ "uid:1000", ROLE_VIEWER },
		{ "uid:10000", ROLE_NONE },
		{ "uid:0", ROLE_ADMIN },
		{ "unknown", ROLE_NONE },
		{ "", ROLE_NONE },
	};

	for (size_t i = 0; i < array_size(rows); i++)
		cr_expect_eq(roles_of(roles, rows[i].name), rows[i].role, "%s", rows[i].name);
}

Test(roles, what_is_no_name_is_refused_with_its_key)
{
	static const char *const bad[] = { "root",         "dns:",         ",dns:a",
					   "dns:a,,dns:b", "dns:a b",      "dns:*.a.org",
					   "x509:a",       "uid:1, uid:2", "dns:a\tdns" };

	for (size_t i = 0; i < array_size(bad); i++) {
		const char *const lists[ROLE_COUNT_] = { NULL, NULL, bad[i], NULL };
		Roles *roles;
		Error err = { 0 };

		cr_expect_eq(roles_new(&roles, lists, &err), -1, "%s", bad[i]);
		cr_expect_not_null(strstr(err.what, "roles.operator"), "%s: %s", bad[i], err.what);
	}
}

Test(roles, a_method_needs_what_it_does)
{
	static const struct {
		const char *path;
		bool mutates;
		Role role;
	} rows[] = {
		{ "/hearth.v1.VmService/GetVm", false, ROLE_VIEWER },
		{ "/hearth.v1.VmService/StopVm", true, ROLE_OPERATOR },
		{ "/hearth.v1.VmService/NobodyKnows", true, ROLE_OPERATOR },
		{ "/hearth.v1.GuestService/Ping", true, ROLE_OPERATOR },
		{ "/hearth.v1.NodeService/Drain", true, ROLE_ADMIN },
		{ "/hearth.v1.NodeService/Cordon", true, ROLE_ADMIN },
		{ "/hearth.v1.NodeService/GetNode", false, ROLE_VIEWER },
		{ "/hearth.v1.ImageService/ImportTemplate", true, ROLE_ADMIN },
		{ "/hearth.v1.ImageService/VerifyTemplate", true, ROLE_OPERATOR },
		{ "/grpc.health.v1.Health/Check", false, ROLE_NONE },
		{ "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", false, ROLE_VIEWER },
	};

	for (size_t i = 0; i < array_size(rows); i++)
		cr_expect_eq(role_needed(rows[i].path, rows[i].mutates), rows[i].role, "%s",
			     rows[i].path);
}
