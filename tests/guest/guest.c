/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A guest that boots in milliseconds, for tests of what is around it.
 *
 * An ELF with a PVH note: entered in 32-bit protected mode, paging off, EBX pointing to the start
 * information. It greets on the serial port with its command line, then does what "exit=" there
 * says:
 *	shutdown	powers off (ACPI's hardware-reduced registers, where microvm has them)
 *	reboot		resets, after Linux's last words
 *	panic		dies as Linux does: words, then a reset
 *	flood		writes without end
 *	button		ticks until the power button is pressed, then powers off
 *	halt		sleeps for ever, at no cost to the host, and without drivers
 *	anything else	ticks for ever
 * "check=N" instead looks at N MiB for ever, a round after the other: each page has to be as the
 * round before left it, and is changed. "touch=N" before that writes to each page of N MiB and
 * reads it back, so that the host must hold them. Wherever it ticks it also answers on its vsock
 * and minds its balloon, if it has them. With "daemon=1" its vsock answers as hearth-guest does,
 * else it is an echo.
 *
 * Firecracker has no ACPI events but a keyboard: its power button is Ctrl-Alt-Del, and all that
 * ends a guest is a reset by the keyboard's controller.
 */

#include "guest.h"

#include "balloon.h"
#include "daemon.h"
#include "vsock.h"

enum {
	SERIAL = 0x3f8,
	SERIAL_READY = 0x20,      /* of its line status: the transmitter is empty */
	GED_EVENTS = 0xfea00000u, /* a read answers what has happened, and forgets it */
	GED_EVENT_POWER = 2,
	GED_SLEEP = 0xfea00200u,
	GED_SLEEP_OFF = 5 << 2 | 1 << 5, /* S5, now */
	GED_RESET = 0xfea00202u,
	GED_RESET_NOW = 0x42,
	KEYBOARD = 0x60,
	KEYBOARD_STATUS = 0x64,
	KEYBOARD_FULL = 1,      /* of its status: there is a byte to read */
	KEYBOARD_ABSENT = 0xff, /* what no device answers */
	KEYBOARD_RESET = 0xfe,  /* a command */
	KEY_DELETE = 0x71,      /* its code's last byte */
	TOUCH_BEGIN = 4 << 20,  /* past the guest and what the VMM tells it */
	MIB = 1 << 20,
	PAGE = 4096,
	TICK_SPINS = 200000,
	TICK_SPINS_SLOW = 2000, /* where KVM itself may be emulated */
};

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, command_line;
};

/* Where to enter: type 18 (XEN_ELFNOTE_PHYS32_ENTRY) of "Xen". */
__asm__(".pushsection .note, \"a\", @note\n"
	".long 4, 4, 18\n"
	".asciz \"Xen\"\n"
	".long start\n"
	".popsection\n"
	".globl start\n"
	"start:\n"
	"	mov $stack_end, %esp\n"
	"	push %ebx\n"
	"	call guest_main\n");

char stack[16384];
__asm__(".globl stack_end\n.set stack_end, stack + 16384\n");

void guest_main(const struct start_info *info);

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

void put(const char *text)
{
	for (; *text; text++) {
		while (!(in8(SERIAL + 5) & SERIAL_READY))
			;
		out8(SERIAL, (uint8_t)*text);
	}
}

void put_number(uint32_t number)
{
	char digits[11];
	char *at = digits + sizeof digits - 1;

	*at = '\0';
	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	put(at);
}

static void write8(uintptr_t address, uint8_t value)
{
	*(volatile uint8_t *)address = value;
}

const char *find(const char *text, const char *key)
{
	for (; *text; text++) {
		const char *a = text;
		const char *b = key;

		while (*b && *a == *b) {
			a++;
			b++;
		}
		if (!*b)
			return a;
	}
	return "";
}

static int is(const char *value, const char *word)
{
	while (*word && *value == *word) {
		value++;
		word++;
	}
	return !*word && (!*value || *value == ' ');
}

static int value_of(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

uint32_t number_at(const char *text)
{
	int base = text[0] == '0' && text[1] == 'x' ? 16 : 10;
	uint32_t number = 0;
	int value;

	for (text += base == 16 ? 2 : 0; (value = value_of(*text)) >= 0 && value < base; text++)
		number = number * (uint32_t)base + (uint32_t)value;
	return number;
}

/* A page holds its own address, which no other does. */
static void touch(uint32_t mib)
{
	uintptr_t end = TOUCH_BEGIN + (uintptr_t)mib * MIB;

	for (uintptr_t at = TOUCH_BEGIN; at < end; at += PAGE)
		*(volatile uint32_t *)at = (uint32_t)at;
	for (uintptr_t at = TOUCH_BEGIN; at < end; at += PAGE) {
		if (*(volatile uint32_t *)at != (uint32_t)at) {
			put("guest: memory is wrong\r\n");
			return;
		}
	}
	put("guest: touched ");
	put_number(mib);
	put(" MiB\r\n");
}

/* What the first and the last word of the page at @at are after round @round. */
static uint32_t left_by(uint32_t round, uintptr_t at)
{
	return (uint32_t)at * 2654435761u + round;
}

static uint32_t check_page(uintptr_t at, uint32_t round, int given)
{
	volatile uint32_t *first = (volatile uint32_t *)at;
	volatile uint32_t *last = (volatile uint32_t *)(at + PAGE) - 1;
	uint32_t wanted = given ? 0 : left_by(round - 1, at);
	uint32_t bad = *first != wanted || *last != wanted;

	*first = left_by(round, at);
	*last = left_by(round, at);
	return round ? bad : 0;
}

/* What has gone to the balloon since the round before is zeros, and used again, as nobody minds. */
static void check(uint32_t mib)
{
	uintptr_t end = TOUCH_BEGIN + (uintptr_t)mib * MIB;

	for (uint32_t round = 0;; round++) {
		uintptr_t gone = balloon_end(), bad = 0;

		balloon_poll();
		for (uintptr_t at = TOUCH_BEGIN; at < end; at += PAGE)
			bad += check_page(at, round, at >= gone && at < balloon_end());
		put("guest: round ");
		put_number(round);
		put(" bad ");
		put_number(bad);
		put("\r\n");
	}
}

static int has_keyboard(void)
{
	return in8(KEYBOARD_STATUS) != KEYBOARD_ABSENT;
}

static int is_pressed(void)
{
	if (!has_keyboard())
		return (*(volatile uint32_t *)GED_EVENTS & GED_EVENT_POWER) != 0;
	while (in8(KEYBOARD_STATUS) & KEYBOARD_FULL)
		if (in8(KEYBOARD) == KEY_DELETE)
			return 1;
	return 0;
}

static void end(uintptr_t address, uint8_t value)
{
	if (has_keyboard())
		out8(KEYBOARD_STATUS, KEYBOARD_RESET);
	else
		write8(address, value);
}

static void tick_until(int by_button)
{
	uint32_t spins = has_keyboard() ? TICK_SPINS_SLOW : TICK_SPINS;

	for (uint32_t n = 0;; n++) {
		put("tick ");
		put_number(n);
		put("\r\n");
		for (volatile uint32_t i = 0; i < spins; i++)
			;
		vsock_poll();
		balloon_poll();
		if (by_button && is_pressed())
			return;
	}
}

static void flood(void)
{
	for (;;)
		put("All work and no play makes Jack a dull boy.\r\n");
}

static void halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

void guest_main(const struct start_info *info)
{
	const char *args = (const char *)(uintptr_t)info->command_line;
	const char *what = find(args, "exit=");

	put("guest: ");
	put(args);
	put("\r\n");
	if (number_at(find(args, "touch=")))
		touch(number_at(find(args, "touch=")));
	if (is(what, "flood"))
		flood();
	if (is(what, "halt"))
		halt();
	daemon_start(args);
	vsock_start(args);
	balloon_start(args);
	if (number_at(find(args, "check=")))
		check(number_at(find(args, "check=")));
	if (is(what, "panic"))
		put("[    0.000000] Kernel panic - not syncing: as told\r\n");
	if (is(what, "reboot"))
		put("[    0.000000] reboot: Restarting system\r\n");
	if (is(what, "panic") || is(what, "reboot"))
		end(GED_RESET, GED_RESET_NOW);
	if (is(what, "button"))
		tick_until(1);
	if (is(what, "button") || is(what, "shutdown")) {
		put("guest: off\r\n");
		end(GED_SLEEP, GED_SLEEP_OFF);
	}
	tick_until(0);
}
