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

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	PEER_NAME_MAX = 64
};

typedef struct Peers Peers;

Peers *peers_new(unsigned max_connections);
void peers_free(Peers *peers);
DEFINE_CLEANUP(Peers *, peers_free);

/* Any thread. Notes who is at the accepted socket @fd; false if there are too many. */
bool peers_add(Peers *peers, int fd);
/* Any thread. "uid:0", "tcp:127.0.0.1"; "unknown" for a descriptor not in the table. */
void peers_name(Peers *peers, int fd, char ret[static PEER_NAME_MAX]);
