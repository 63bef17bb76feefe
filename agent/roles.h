/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who may call what. A client has the highest role that one of its names was given, and a method
 * needs one. Names are as the log has them: "uid:1000" over a unix socket, of a certificate
 * "uri:spiffe://example.org/x", "dns:planner.example.org", "email:…", "cn:…", and of TCP without
 * one "tcp:127.0.0.1" or, with TLS, "tls:10.0.0.7". Read-only once made.
 */

#include "base/error.h"

#include <stdbool.h>

typedef enum Role {
	ROLE_NONE,
	ROLE_VIEWER,   /* what reads */
	ROLE_OPERATOR, /* and what changes VMs, their snapshots, networks and guests */
	ROLE_ADMIN,    /* and what changes the node: cordons, drains, templates */
	ROLE_COUNT_,
} Role;

const char *role_name(Role role);

/* What a call of the method @path ("/hearth.v1.VmService/GetVm") needs; NONE: nothing. @mutates: it
 * changes something. */
Role role_needed(const char *path, bool mutates);

typedef struct Roles Roles;

/**
 * roles_new() - the roles that names were given
 * @ret:	NULL: no list at all
 * @lists:	by role, "NAME,NAME…", a '*' at a name's end standing for any rest; or NULL
 * @err:	INVALID_REQUEST: a violation of "roles.viewer" and so on
 *
 * Without any list everybody is ADMIN: who can connect at all is what the sockets' modes and
 * certificates decide. With one, user 0 and the agent's own are ADMIN still, for they are over unix
 * sockets what the agent is.
 */
int roles_new(Roles **ret, const char *const lists[static ROLE_COUNT_], Error *err) must_check;
void roles_free(Roles *roles); /* accepts NULL */
DEFINE_CLEANUP(Roles *, roles_free);

Role roles_of(const Roles *roles, const char *name);
