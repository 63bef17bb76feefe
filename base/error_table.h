/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one table of everything a caller of hearth can be told went wrong.
 *
 * X(KIND, GRPC_CODE, RETRY, "message")
 *
 * KIND becomes ERROR_<KIND> and is sent to clients verbatim as the reason.
 * GRPC_CODE is pasted behind GRPC_STATUS_ by agent/status.c; it is only a
 * token here, so this folder needs no gRPC header. RETRY is the client's next
 * move. In the message {vm}, {snapshot}, {from}, {to}, {what}, {resource},
 * {requested} and {available} stand for the particulars of one error.
 *
 * An error also has a cause. CAUSE_TABLE's X(CAUSE, GRPC_CODE, RETRY)
 * overrides code and retry for every kind alike; HOST, the default, does not.
 */
/* clang-format off */
#define ERROR_TABLE(X)                                                                                   \
	X(VM_ALREADY_EXISTS,       ALREADY_EXISTS,      FIX_REQUEST, "vm '{vm}' already exists")                  \
	X(VM_NOT_FOUND,            NOT_FOUND,           AFTER_READ,  "vm '{vm}' not found")                       \
	X(INVALID_TRANSITION,      FAILED_PRECONDITION, AFTER_READ,  "invalid vm transition for '{vm}': {from} -> {to}") \
	X(SNAPSHOT_ALREADY_EXISTS, ALREADY_EXISTS,      FIX_REQUEST, "snapshot '{snapshot}' already exists for vm '{vm}'") \
	X(SNAPSHOT_NOT_FOUND,      NOT_FOUND,           AFTER_READ,  "snapshot '{snapshot}' not found for vm '{vm}'")      \
	X(STATE_POISONED,          INTERNAL,            OPERATOR,    "provider state lock poisoned")              \
	X(UNSUPPORTED,             UNIMPLEMENTED,       ELSEWHERE,   "backend unsupported: {what}")               \
	X(METRICS,                 UNAVAILABLE,         HERE,        "metrics: {what}")                           \
	X(SHUTDOWN,                INTERNAL,            OPERATOR,    "shutdown failed: {what}")                   \
	X(FIREWALL,                INTERNAL,            ELSEWHERE,   "firewall error: {what}")                    \
	X(JAILER,                  INTERNAL,            ELSEWHERE,   "jailer error: {what}")                      \
	X(NETWORK_CONFIG,          INVALID_ARGUMENT,    FIX_REQUEST, "network config invalid: {what}")            \
	X(NETWORK_SETUP,           INTERNAL,            ELSEWHERE,   "network setup failed: {what}")              \
	X(ROOTFS,                  INTERNAL,            ELSEWHERE,   "rootfs: {what}")                            \
	X(UFFD,                    INTERNAL,            ELSEWHERE,   "uffd error: {what}")                        \
	X(GUEST_METADATA,          UNAVAILABLE,         HERE,        "guest metadata: {what}")                    \
	/* of the runtime */                                                                                     \
	X(VMM_FAILED,              INTERNAL,            ELSEWHERE,   "vmm failed: {what}")                        \
	X(STORE,                   UNAVAILABLE,         HERE,        "store: {what}")                             \
	X(SNAPSHOT_FAILED,         INTERNAL,            ELSEWHERE,   "snapshot failed: {what}")                   \
	X(CAPACITY,                RESOURCE_EXHAUSTED,  ELSEWHERE,   "insufficient {resource}: requested {requested}, available {available}{what}") \
	/* of the request */                                                                                     \
	X(INVALID_REQUEST,         INVALID_ARGUMENT,    FIX_REQUEST, "invalid request: {what}")                   \
	X(UNKNOWN_FIELD,           INVALID_ARGUMENT,    ELSEWHERE,   "unknown field: {what}")                     \
	X(CONFLICT,                ABORTED,             AFTER_READ,  "conflict: {what}")                          \
	X(IN_USE,                  FAILED_PRECONDITION, AFTER_READ,  "in use: {what}")                            \
	X(COMPACTED,               OUT_OF_RANGE,        AFTER_READ,  "revision out of range: {what}")             \
	X(STORE_CHANGED,           OUT_OF_RANGE,        AFTER_READ,  "store changed: {what}")                     \
	X(PAGE_TOKEN,              OUT_OF_RANGE,        AFTER_READ,  "page token: {what}")                        \
	X(CORDONED,                UNAVAILABLE,         ELSEWHERE,   "node cordoned: {what}")                     \
	X(DRAINING,                UNAVAILABLE,         ELSEWHERE,   "node draining: {what}")                     \
	X(QUEUE_FULL,              RESOURCE_EXHAUSTED,  HERE,        "queue full: {what}")                        \
	X(WATCH_SLOW,              UNAVAILABLE,         HERE,        "watcher too slow: {what}")                  \
	X(UNAUTHENTICATED,         UNAUTHENTICATED,     FIX_REQUEST, "unauthenticated: {what}")                   \
	X(FORBIDDEN,               PERMISSION_DENIED,   OPERATOR,    "forbidden: {what}")

#define CAUSE_TABLE(X)                                      \
	X(INPUT,     INVALID_ARGUMENT,   FIX_REQUEST)       \
	X(MISSING,   NOT_FOUND,          AFTER_READ)        \
	X(EXHAUSTED, RESOURCE_EXHAUSTED, ELSEWHERE)         \
	X(TIMEOUT,   DEADLINE_EXCEEDED,  HERE)              \
	X(EXISTS,    ALREADY_EXISTS,     FIX_REQUEST)       \
	X(CORRUPT,   DATA_LOSS,          OPERATOR)

#define RETRY_TABLE(X) X(HERE) X(ELSEWHERE) X(AFTER_READ) X(FIX_REQUEST) X(OPERATOR)
/* clang-format on */
