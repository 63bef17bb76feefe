/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How a VMM hands its memory over: Firecracker connects to a unix socket and
 * sends, once, a JSON array of regions with the userfaultfd beside it
 * (SCM_RIGHTS). Nothing is answered; it keeps the connection and its own copy
 * of the descriptor.
 *
 * Whoever reaches the socket may send anything: only @vmm is listened to, and
 * what it sends is bounded in size and time.
 */

#include "base/process.h"
#include "runtime/pager/regions.h"

enum {
	HANDSHAKE_MAX = 64 * 1024 /* bytes of JSON */
};

/**
 * handshake_listen() - a socket at @path, in place of one that is there
 * @ret:	close-on-exec, the caller's to close
 * @owner:	who may connect to it, as user and group; (uid_t)-1: this process's
 * @err:	UFFD
 */
int handshake_listen(int *ret, const char *path, uid_t owner, Error *err) must_check;

typedef struct Handshake {
	int uffd;
	int connection; /* kept, as the VMM keeps its end */
	Regions regions;
} Handshake;

/* Who is to connect. */
typedef struct HandshakePeer {
	ProcessId id;
	int pidfd;        /* of it: its end is the end of waiting */
	int64_t deadline; /* for its connecting, monotonic usec; negative: none */
} HandshakePeer;

/**
 * handshake_accept() - wait for @vmm to hand its memory over
 * @ret:	its descriptors are the caller's to close
 * @listener:	of handshake_listen()
 * @file_size:	of the memory file
 * @err:	UFFD; cause TIMEOUT if it does not connect, or does and then stays silent, INPUT
 *		for nonsense
 *
 * Others that connect are turned away.
 */
int handshake_accept(Handshake *ret, int listener, const HandshakePeer *vmm, uint64_t file_size,
		     Error *err) must_check;

/**
 * handshake_parse() - the regions of @text, checked
 * @length:	any: @text need not be terminated
 * @err:	UFFD, cause INPUT
 */
int handshake_parse(Regions *ret, const char *text, size_t length, uint64_t file_size, Error *err)
	must_check;
