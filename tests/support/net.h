/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A network namespace of a test's own, with taps that the test itself is the
 * VM of. What goes wrong here ends the test's process.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

/* Are there root's rights and taps? */
bool net_available(void);

/* A network namespace for this process, which has one thread; lo is up. It ends with the process.
 */
void net_enter(void);

/* Runs a shell's command, which succeeds; what it says, to be freed. */
char *net_says(const char *format, ...) printf_like(1, 2);
/* The same, for what it does. */
void net_run(const char *format, ...) printf_like(1, 2);

/* Attaches to the tap @name, as a VMM does; net_tap() makes it first. */
int net_attach(const char *name);
int net_tap(const char *name);

enum {
	NET_ADDRESS_MAX = 46 /* INET6_ADDRSTRLEN */
};

/* A datagram in a frame. */
typedef struct NetUdp {
	const char *from, *to; /* IPv4 addresses, or both IPv6 */
	uint16_t port;
	const uint8_t *to_mac; /* six bytes; NULL: broadcast */
} NetUdp;

/* Writes it into the tap whose descriptor is @tap, as the VM @from does. */
void net_send(int tap, const NetUdp *udp);

/* How many datagrams to @port the VM behind @tap has got since the last call; others are lost.
 * @from: where the last one came from */
unsigned net_received(int tap, uint16_t port, char from[static NET_ADDRESS_MAX]);

/* A program for tc that gives every packet @mark (0: leaves it) and @verdict (TC_ACT_*). */
int net_program(uint32_t mark, int verdict);
