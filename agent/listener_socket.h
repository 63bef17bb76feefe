/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One listening socket, from an address as people write it.
 */

#include "base/error.h"

#include <sys/types.h>

typedef struct ListenerSocket {
	int fd;
	char *path;    /* of a unix socket; NULL: TCP */
	ino_t inode;   /* of that path */
	unsigned port; /* TCP */
} ListenerSocket;

/**
 * listener_socket_open() - listen on @address
 * @address:	"unix:/path", "host:port" or "[::1]:port"
 * @err:	INVALID_REQUEST, or QUEUE_FULL when out of descriptors
 */
int listener_socket_open(ListenerSocket *ret, const char *address, Error *err) must_check;
/* Also removes the unix socket, if the path is still ours. */
void listener_socket_close(ListenerSocket *socket);
