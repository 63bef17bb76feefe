/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of libraries among the crash points; see points.c. */

#include "tests/crash/points.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <curl/curl.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*): these are the linker's names */

/* What tells of a message's type: rtnetlink has four to each kind of thing, and the third asks. */
enum {
	RTM_KINDS = 4,
	RTM_ASKS = 2
};

static const char *kind_of_message(uint16_t type)
{
	static const struct {
		uint16_t first;
		const char *kind;
	} rows[] = {
		{ RTM_NEWLINK, "link" },       { RTM_NEWADDR, "address" },
		{ RTM_NEWROUTE, "route" },     { RTM_NEWNEIGH, "neighbour" },
		{ RTM_NEWQDISC, "tc-filter" }, { RTM_NEWTFILTER, "tc-filter" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (type - (type - RTM_BASE) % RTM_KINDS == rows[i].first)
			return rows[i].kind;
	return "unknown";
}

ssize_t __real_mnl_socket_sendto(const struct mnl_socket *socket, const void *bytes, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *socket, const void *bytes, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *socket, const void *bytes, size_t size)
{
	ssize_t n = __real_mnl_socket_sendto(socket, bytes, size);
	uint16_t type = ((const struct nlmsghdr *)bytes)->nlmsg_type;

	/* The kernel has worked on it when the call returns. */
	if (n >= 0 && (type - RTM_BASE) % RTM_KINDS != RTM_ASKS)
		crash_point(kind_of_message(type), "mnl_socket_sendto", "");
	return n;
}

/* clang-format off */
WRAP("map-entry", bpf_map_update_elem, "", (int map, const void *key, const void *value, __u64 flags),
     (map, key, value, flags))
WRAP("map-entry", bpf_map_delete_elem, "", (int map, const void *key), (map, key))
WRAP("map-entry", bpf_map_update_batch, "", (int map, const void *keys, const void *values, __u32 *count,
     const struct bpf_map_batch_opts *options), (map, keys, values, count, options))
WRAP("pin", bpf_obj_pin, path, (int fd, const char *path), (fd, path))
/* clang-format on */

/*
 * A transaction is there or it is not; what SQLite does in between is its own to prove. A change
 * outside of any is one of its own.
 */
int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement)
{
	int r = __real_sqlite3_step(statement);
	bool commits = strcmp(sqlite3_sql(statement), "COMMIT") == 0;

	if (r == SQLITE_DONE && sqlite3_get_autocommit(sqlite3_db_handle(statement)) &&
	    (commits || !sqlite3_stmt_readonly(statement)))
		crash_point("record", "sqlite3_step", commits ? "COMMIT" : "");
	return r;
}

int __real_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
			void *user, char **message);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
			void *user, char **message);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
			void *user, char **message)
{
	int r = __real_sqlite3_exec(db, sql, each, user, message);

	if (r == SQLITE_OK)
		crash_point("record", "sqlite3_exec", "");
	return r;
}

/* A request of a VMM, when it has been answered. */
CURLMsg *__real_curl_multi_info_read(CURLM *multi, int *left);
CURLMsg *__wrap_curl_multi_info_read(CURLM *multi, int *left);
CURLMsg *__wrap_curl_multi_info_read(CURLM *multi, int *left)
{
	CURLMsg *message = __real_curl_multi_info_read(multi, left);

	if (message && message->msg == CURLMSG_DONE)
		crash_point("vmm", "curl_multi_info_read", "");
	return message;
}

/* NOLINTEND(bugprone-reserved-identifier,cert-dcl*) */
