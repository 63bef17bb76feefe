/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What went wrong with a call, and how a person or a program is told.
 *
 * A call that fails fills a Failure from gRPC's status and, where the agent
 * sent them, google.rpc's details. Reporting it also picks the exit status:
 * EXIT_RPC plus the gRPC code.
 */

#include "base/cleanup.h"
#include "google/rpc/status.pb-c.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

enum {
	EXIT_LOCAL = 1, /* this machine's doing, or an answer that is bad news (doctor, health) */
	EXIT_USAGE = 2,
	EXIT_RPC = 16, /* and the gRPC code */
};

typedef struct Failure {
	int code; /* gRPC's; 0: none */
	char *message;
	Google__Rpc__Status *status; /* NULL where the agent sent no details */
	const char *address;         /* borrowed */
	bool unreachable;            /* nobody answered there */
	bool interrupted;            /* by the user, not by the agent */
} Failure;

void failure_release(Failure *failure);

/* The kind of the agent's error, such as "VM_NOT_FOUND"; "" if it said none. */
bool failure_is(const Failure *failure, const char *reason);

/* The upper-case name of a gRPC code, such as "NOT_FOUND". */
const char *code_name(int code);

/**
 * failure_report() - tell the user on stderr
 * @json:	as one line of JSON, for programs
 *
 * Return: the exit status.
 */
int failure_report(const Failure *failure, bool json);

/* The same for what is not the agent's doing; returns @exit_status. */
int failure_report_local(bool json, int exit_status, const char *format, ...) printf_like(3, 4);
