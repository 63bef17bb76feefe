/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/peers.h"

#include "base/lock.h"
#include "base/text.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

typedef struct Peer {
	ino_t inode; /* of the socket; 0: no connection */
	unsigned calls;
	Role role;
	char name[PEER_NAME_MAX];
} Peer;

struct Peers {
	Lock adding; /* one at a time, before lock: so nobody else makes the table longer */
	Lock lock;
	Peer *rows; /* by descriptor */
	size_t size;
	unsigned count; /* at least as many as there are */
	unsigned max;
	unsigned max_streams, max_calls;
	unsigned calls;
};

Peers *peers_new(unsigned max_connections, unsigned max_streams, unsigned max_calls)
{
	Peers *peers = new0(Peers);

	lock_init(&peers->adding);
	lock_init(&peers->lock);
	peers->max = max_connections;
	peers->max_streams = max_streams;
	peers->max_calls = max_calls;
	return peers;
}

void peers_free(Peers *peers)
{
	free(peers->rows);
	free(peers);
}

static ino_t inode_of(int fd)
{
	struct stat info;

	return fstat(fd, &info) == 0 ? info.st_ino : 0;
}

void peers_describe(int fd, char ret[static PEER_NAME_MAX])
{
	char *end = ret + PEER_NAME_MAX;
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof address;
	struct ucred credentials;
	socklen_t credentials_size = sizeof credentials;
	char host[INET6_ADDRSTRLEN + 17]; /* with a scope */

	text_copy(ret, PEER_NAME_MAX, "unknown");
	if (getpeername(fd, (struct sockaddr *)&address, &size) < 0)
		return;
	if (address.ss_family == AF_UNIX) {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &credentials_size) == 0)
			text_append(ret, end, "uid:%u", (unsigned)credentials.uid);
	} else if (getnameinfo((struct sockaddr *)&address, size, host, sizeof host, NULL, 0,
			       NI_NUMERICHOST) == 0) {
		text_append(ret, end, "tcp:%s", host);
	}
}

/* Forgets connections whose descriptors were closed, or are something else by now. */
static void sweep(Peers *peers) lock_requires(peers->adding)
{
	cleanup_free ino_t *inodes = NULL;
	size_t size;

	lock_take(&peers->lock);
	size = peers->size;
	lock_drop(&peers->lock);

	inodes = new0_array(ino_t, size);
	for (size_t fd = 0; fd < size; fd++)
		inodes[fd] = inode_of((int)fd);

	lock_take(&peers->lock);
	for (size_t fd = 0; fd < size; fd++) {
		if (peers->rows[fd].inode && peers->rows[fd].inode != inodes[fd]) {
			peers->rows[fd].inode = 0;
			peers->count--;
		}
	}
	lock_drop(&peers->lock);
}

/* False if that makes too many. */
static bool row_set(Peers *peers, int fd, const Peer *peer)
{
	size_t need = (size_t)fd + 1;
	bool room;

	lock_take(&peers->lock);
	if (need > peers->size) {
		peers->rows = must_realloc(peers->rows, need, sizeof *peers->rows);
		memset(peers->rows + peers->size, 0, (need - peers->size) * sizeof *peers->rows);
		peers->size = need;
	}
	if (peers->rows[fd].inode) {
		peers->rows[fd].inode = 0;
		peers->count--;
	}
	room = peers->count < peers->max;
	if (room) {
		peers->rows[fd] = *peer;
		peers->count++;
	}
	lock_drop(&peers->lock);
	return room;
}

bool peers_add(Peers *peers, int fd, const char *name, Role role)
{
	Peer peer = { .inode = inode_of(fd), .role = role };
	bool room;

	text_copy(peer.name, sizeof peer.name, name);
	lock_take(&peers->adding);
	room = row_set(peers, fd, &peer);
	if (!room) {
		sweep(peers);
		room = row_set(peers, fd, &peer);
	}
	lock_drop(&peers->adding);
	return room;
}

void peers_call_begins(Peers *peers, int fd)
{
	ino_t inode = 0;

	if (fd < 0)
		return;
	lock_take(&peers->lock);
	peers->calls++;
	peers->rows[fd].calls++;
	if (peers->rows[fd].calls > 2 * peers->max_streams || peers->calls > 2 * peers->max_calls)
		inode = peers->rows[fd].inode;
	lock_drop(&peers->lock);

	if (inode && inode_of(fd) == inode)
		(void)shutdown(fd, SHUT_RDWR);
}

void peers_call_ends(Peers *peers, int fd)
{
	if (fd < 0)
		return;
	lock_take(&peers->lock);
	peers->calls--;
	peers->rows[fd].calls--;
	lock_drop(&peers->lock);
}

Role peers_name(Peers *peers, int fd, char ret[static PEER_NAME_MAX])
{
	Role role = ROLE_NONE;

	text_copy(ret, PEER_NAME_MAX, "unknown");
	lock_take(&peers->lock);
	if (fd >= 0 && (size_t)fd < peers->size && peers->rows[fd].inode) {
		text_copy(ret, PEER_NAME_MAX, peers->rows[fd].name);
		role = peers->rows[fd].role;
	}
	lock_drop(&peers->lock);
	return role;
}
