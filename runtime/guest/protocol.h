/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the host and hearth-guest, the daemon within a guest, say to each other.
 *
 * Each line is a JSON object in UTF-8 and ends with a newline; members that are not
 * known are ignored, lines that are too long or no objects are skipped. That, and that
 * bytes go as base64 (RFC 4648, padded), is what lets either side find its way again
 * after any line was cut off: a serial port does not say where one host ends and the
 * next begins. It goes over vsock port GUEST_PORT, or the virtio-serial port
 * GUEST_SERIAL.
 *
 * The host begins with {"hello": NONCE, "version": 1} and ignores all before the
 * guest's {"hello": NONCE, "version": 1, "agent": VERSION, "boot_id": ID}. The guest
 * ignores all before the first hello; with another one the session before is over: it
 * answers no more of that one's requests, and its commands go on with nobody to read
 * what they say. A hello comes at any time.
 *
 * Requests of the host are {"id": N, "op": NAME, ...}, N from 1 and unique in the
 * session; many may be in flight. The answer is {"id": N, ...}, or
 * {"id": N, "error": CODE, "message": TEXT}. The codes:
 *	UNKNOWN_OP	no such request
 *	BAD_REQUEST	a member is missing or wrong; the message names it
 *	NOT_FOUND	a program, directory, user, interface or file is not there
 *	EXHAUSTED	too many at once, no memory, no room
 *	FAILED		what the kernel said
 *
 * Requests, "->" their answers:
 *	ping -> uptime_ms
 *	set_env {env: {NAME: TEXT}, replace: bool}	of every later command, and, for whom
 *		it starts otherwise, lines NAME='TEXT' in GUEST_DIR/env (0600); with replace
 *		nothing else stays
 *	set_secret {name, data} | {name, remove: true}	the file GUEST_DIR/secrets/NAME (0600) on
 *		tmpfs, replaced as a whole; never said to anybody; at most 16 KiB; what is
 *		not there is removed
 *	ready -> ready: bool	has somebody called "hearth-guest ready" in this boot, or is
 *		that not waited for
 *	exec -> pid		see below
 *	shutdown, reboot	answered first, then done as by hand
 *	reseed {data}		mixed into the kernel's random numbers, which are drawn anew
 *	set_clock {time_ns}	since the epoch
 *	set_network {interface, mac, mtu, ipv4: CIDR, gateway4, ipv6: CIDR, gateway6}
 *		all but interface may be missing; addresses replace those of their family
 *	freeze {timeout_ms} -> frozen: COUNT	file systems that can be, until thaw or the
 *		time-out (1 to 60000, default 10000)
 *	thaw -> thawed: COUNT
 *	stats -> uptime_ms, load1_milli, memory_total, memory_available, processes,
 *		disk_total, disk_free (bytes; the root's)
 *
 * On its own the guest says {"event": "ready"} once it is, and after a hello if it is by then; and
 * {"event": "started"}, before any hello, when its daemon opens a serial port, which does not
 * tell the host that the daemon before it has ended: of that one's session nothing is left.
 *
 * exec {argv: [TEXT], env: {NAME: TEXT}, cwd, user, tty: bool, rows, cols, stdin: bool,
 * timeout_ms} runs a program by PATH: its environment is that of set_env and then env, with
 * a PATH if neither has one; cwd is by default "/". user is a name or number, by default
 * root; without stdin it reads /dev/null. The eof of a terminal's input is its character. Once it
 * is executed it is answered, and is a stream with the request's id:
 *	to the guest
 *	{stream: N, data}		its standard input
 *	{stream: N, eof: true}		which ends
 *	{stream: N, credit: BYTES}	so much more output may come
 *	{stream: N, rows, cols}		the terminal's size
 *	{stream: N, kill: SIGNAL}	to its process group
 *	to the host
 *	{stream: N, fd: 1 or 2, data}	its output; with a terminal all is fd 1
 *	{stream: N, credit: BYTES}	so much more input may come
 *	{stream: N, exit: CODE} or {stream: N, signal: SIGNAL, timed_out: bool}
 *		it has ended, and what it wrote has been said: the last of the stream
 * Each way begins with a credit of GUEST_CREDIT bytes (before base64), and data beyond
 * it ends the stream: the guest kills the command; a line for a stream that is none is
 * ignored. A program that outlives the command and keeps its output open is waited for
 * no longer than a second. At the time-out its process group gets SIGKILL.
 */

enum {
	GUEST_VERSION = 1,
	GUEST_PORT = 5555,
	GUEST_LINE_MAX = 32 * 1024, /* with the newline */
	GUEST_DATA_MAX = 16 * 1024, /* bytes of one line's data, before base64 */
	GUEST_CREDIT = 64 * 1024,
	GUEST_COMMANDS_MAX = 64,  /* at once */
	GUEST_REQUESTS_MAX = 128, /* in flight */
	GUEST_NONCE_MAX = 64,
	GUEST_CELLS_MAX = 10000, /* rows or columns of a terminal */
};

#define GUEST_SERIAL "hearth.guest.0"
#define GUEST_DIR "/run/hearth"
