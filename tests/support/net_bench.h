/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Three network namespaces of the calling process: a guest, the host it is
 * routed by, and a world behind the host. The process stays in the host's.
 *
 *   guest eth0 192.168.7.2 .3 fc07::2 ::3 -- tap0 192.168.7.1 fc07::1 host up0 -- world
 *
 * Of the world, all of 10.0.0.0/8 and fd00::/8 are addresses of its own.
 */

#include "base/cleanup.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

typedef enum NetPlace {
	NET_HOST,
	NET_GUEST,
	NET_WORLD,
	NET_PLACE_COUNT_,
} NetPlace;

/* Skips the test where it cannot be. */
void net_bench_set_up(void);

/* What the shell command says, the caller's to free; it succeeds. */
char *net_bench_ask(NetPlace place, const char *command);
void net_bench_run(NetPlace place, const char *command);

int net_bench_socket(NetPlace place, int family, int type, int protocol);
socklen_t net_bench_address(struct sockaddr_storage *ret, const char *address, uint16_t port);
/* Bound, and listening if it is one of TCP. */
int net_bench_server(NetPlace place, int type, const char *address, uint16_t port);

/* Something to read within @wait_ms? */
bool net_bench_readable(int fd, int wait_ms);

/*
 * Does what the guest sends reach @to, which is at @place? @from: its source,
 * or NULL. @wanted says how long to wait for it.
 */
bool net_bench_udp(const char *from, NetPlace place, const char *to, uint16_t port, bool wanted);
bool net_bench_ping(const char *to, bool wanted);
/* The guest's end of a connection, -1 if there is none. */
int net_bench_tcp(NetPlace place, const char *to, uint16_t port, int *server, bool wanted);
