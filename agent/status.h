/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How an Error looks on the wire: gRPC code, message, and google.rpc.Status
 * with its details.
 */

#include "base/error.h"

#include <google/rpc/status.pb-c.h>
#include <grpc/slice.h>
#include <grpc/status.h>

/* The code of the cause, or else of the kind. */
grpc_status_code status_code_of(ErrorKind kind, ErrorCause cause);
grpc_status_code status_code(const Error *err);
/* "NOT_FOUND"; of none of gRPC's codes "UNKNOWN". */
const char *status_code_name(int code);

/* google.rpc.Status of @err, packed: the value of grpc-status-details-bin. */
grpc_slice status_pack(const Error *err);

/**
 * status_new() - google.rpc.Status of a recorded failure
 * @kind, @cause:	names, as error_kind_name() and error_cause_name() give them
 * @message:		as error_message() gave it
 * @vm_id:		which VM; may be empty
 *
 * Return: the caller's, to be freed by google__rpc__status__free_unpacked(status, NULL).
 */
Google__Rpc__Status *status_new(const char *kind, const char *cause, const char *message,
				const char *vm_id);
