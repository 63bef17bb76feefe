/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who is at the other end of each connection, and how many there are.
 *
 * gRPC core owns an accepted descriptor and does not say when it closes it. A
 * row is overwritten when its descriptor is accepted anew, and only when the
 * table seems full are all rows held against what their descriptors are now.
 * A call keeps its connection's descriptor open, so its row is its peer's.
 */

#include "agent/roles.h"
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	PEER_NAME_MAX = 256
};

typedef struct Peers Peers;

/* @max_streams: of one connection; @max_calls: of all. */
Peers *peers_new(unsigned max_connections, unsigned max_streams, unsigned max_calls);
void peers_free(Peers *peers);
DEFINE_CLEANUP(Peers *, peers_free);

/* Who the kernel says is at the accepted socket @fd: "uid:0", "tcp:127.0.0.1"; or "unknown". */
void peers_describe(int fd, char ret[static PEER_NAME_MAX]);

/* Any thread. Notes that @name, who has @role, is at the socket @fd; false if there are too many.
 */
bool peers_add(Peers *peers, int fd, const char *name, Role role);
/*
 * Any thread: a call came over @fd, or one is over (while it still keeps @fd
 * open). A connection with twice as many calls as it may have streams is cut
 * off, or with an eighth of them while all connections together have twice as
 * many as may be in flight: its client takes calls back as fast as it makes
 * them. gRPC core goes on reading, and so beginning calls, for as long as
 * there is anything to read, and ends them only afterwards.
 */
void peers_call_begins(Peers *peers, int fd);
void peers_call_ends(Peers *peers, int fd);
/* Any thread. As it was added; "unknown" and NONE for a descriptor not in the table. */
Role peers_name(Peers *peers, int fd, char ret[static PEER_NAME_MAX]);
