/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/qemu_probe.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/probe_cache.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum {
	PROOF_TIMEOUT = 5 * USEC_PER_SEC,
	VERSION_TIMEOUT = 10 * USEC_PER_SEC, /* the first run reads QEMU from a slow disk */
	IMAGE_SIZE = 64 * 1024,
	PROGRAM_AT = 0xff00,
	RESET_AT = 0xfff0, /* where an x86 processor begins, 16 bytes below the image's end */
	PROOF_PORT = 0x4f4,
	PROOF_VALUE = 0x2a,
	PROOF_LOOPS = 25000000,
	/* isa-debug-exit makes it odd, so that it is no ordinary success. */
	PROOF_CODE = PROOF_VALUE << 1 | 1,
	TSC_WINDOW = 20 * USEC_PER_MSEC,
};

/* clang-format off */
/*
 * 16-bit code: counts down, the proof's port is told its value, then a halt for ever. The count is
 * there because KVM on an emulated host runs programs, and a kernel in an hour: what takes a
 * processor, and TCG, a tenth of a second takes such a KVM longer than PROOF_TIMEOUT.
 */
static const unsigned char program[] = {
	0x66, 0xb9, PROOF_LOOPS & 0xff,           /* mov ecx, loops */
	PROOF_LOOPS >> 8 & 0xff, PROOF_LOOPS >> 16 & 0xff, PROOF_LOOPS >> 24,
	0x66, 0x49,                               /* dec ecx */
	0x75, 0xfc,                               /* jnz to the dec */
	0xb8, PROOF_VALUE, 0x00,                  /* mov ax, value */
	0xba, PROOF_PORT & 0xff, PROOF_PORT >> 8, /* mov dx, port */
	0xee,                                     /* out dx, al */
	0xf4,                                     /* hlt */
	0xeb, 0xfd,                               /* jmp to the hlt */
};

static const unsigned char reset[] = {
	0xe9,                                     /* jmp back to the program */
	(PROGRAM_AT - RESET_AT - 3) & 0xff,
	((PROGRAM_AT - RESET_AT - 3) >> 8) & 0xff,
};
/* clang-format on */

/* The first line of @output, without its end. */
static void first_line(char *ret, size_t size, const char *output)
{
	output += strspn(output, "\r\n");
	text_copy(ret, size, output);
	ret[strcspn(ret, "\r\n")] = '\0';
}

bool qemu_version(char *ret, size_t size, const char *output)
{
	static const char before[] = "QEMU emulator version ";
	const char *at = strstr(output, before);
	size_t length;

	if (!at)
		return false;
	at += sizeof before - 1;
	length = strspn(at, "0123456789.");
	if (!length || length >= size)
		return false;
	memcpy(ret, at, length);
	ret[length] = '\0';
	return true;
}

/* 0, and @ret->version is set unless there is no QEMU; -errno of a shortage. */
static int find_version(BackendInfo *ret, const char *qemu_path)
{
	char *argv[] = { text_dup(qemu_path), text_dup("--version"), NULL };
	ProcessResult result = { 0 };
	int r = process_run(&result, argv, VERSION_TIMEOUT);

	if (r == -ENOENT)
		(void)snprintf(ret->message, sizeof ret->message,
			       "%s is not installed (Debian: qemu-system-x86)", qemu_path);
	else if (r < 0)
		(void)snprintf(ret->message, sizeof ret->message, "%s --version: %s", qemu_path,
			       strerrordesc_np(-r));
	else if (!qemu_version(ret->version, sizeof ret->version, result.output))
		(void)snprintf(ret->message, sizeof ret->message,
			       "%s --version does not say which QEMU it is", qemu_path);
	free(result.output);
	free(argv[0]);
	free(argv[1]);
	return probe_is_shortage(-r) ? r : 0;
}

static int make_image(int *ret)
{
	cleanup_free char *image = new0_array(char, IMAGE_SIZE);

	memcpy(image + PROGRAM_AT, program, sizeof program);
	memcpy(image + RESET_AT, reset, sizeof reset);
	return file_in_memory(ret, image, IMAGE_SIZE);
}

typedef struct Proof {
	const BackendConfig *config;
	const char *image;
	int cancel_fd;
} Proof;

/*
 * Did the image's program run under @accelerator? 1, or 0 and @why gets QEMU's words, or -errno of
 * a shortage.
 */
static int prove(const Proof *proof, const char *accelerator, char *why, size_t size)
{
	/* clang-format off */
	const char *const words[] = {
		proof->config->qemu_path, "-M", "microvm", "-accel", accelerator,
		"-cpu", strcmp(accelerator, "kvm") == 0 ? "host" : "max", "-m", "16M",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-device", "isa-debug-exit,iobase=0x4f4", "-bios", proof->image,
	};
	/* clang-format on */
	char *argv[array_size(words) + 1] = { NULL };
	ProcessResult result = { 0 };
	char line[160] = "";
	int r;

	for (size_t i = 0; i < array_size(words); i++)
		argv[i] = text_dup(words[i]);
	r = probe_run(&result, proof->config, argv, proof->cancel_fd, PROOF_TIMEOUT);
	for (size_t i = 0; i < array_size(words); i++)
		free(argv[i]);
	if (r == 0)
		first_line(line, sizeof line, result.output);
	free(result.output);

	if (r == -ETIMEDOUT)
		(void)snprintf(why, size, "%s: a short program did not end", accelerator);
	else if (r < 0)
		(void)snprintf(why, size, "%s: %s", accelerator, strerrordesc_np(-r));
	else if (*line)
		(void)snprintf(why, size, "%s: %s", accelerator, line);
	else
		(void)snprintf(why, size, "%s: qemu ended with code %d, signal %d", accelerator,
			       result.code, result.signal);
	if (probe_is_shortage(-r))
		return r;
	return r == 0 && result.code == PROOF_CODE;
}

/* 0, or -errno of a shortage. */
static int choose_accelerator(BackendInfo *ret, const Proof *proof)
{
	const char *wanted = proof->config->accelerator;
	static const char *const accelerators[] = { "kvm", "tcg" };
	char *at = ret->message;

	for (size_t i = 0; i < array_size(accelerators) && !ret->available; i++) {
		char why[200];
		int r;

		if (strcmp(wanted, "auto") != 0 && strcmp(wanted, accelerators[i]) != 0)
			continue;
		r = prove(proof, accelerators[i], why, sizeof why);
		ret->available = r > 0;
		if (ret->available)
			text_copy(ret->accelerator, sizeof ret->accelerator, accelerators[i]);
		else
			at = text_append(at, ret->message + sizeof ret->message, "%s%s",
					 at == ret->message ? "" : "; ", why);
		if (r < 0)
			return r;
	}
	if (!ret->available && !*ret->message)
		(void)snprintf(ret->message, sizeof ret->message, "no accelerator '%s'", wanted);
	return 0;
}

int qemu_probe(BackendInfo *ret, const BackendConfig *config, int cancel_fd)
{
	cleanup_close int fd = -1;
	cleanup_free char *image = NULL;
	Proof proof;
	int r;

	ret->available = false;
	ret->message[0] = ret->version[0] = ret->accelerator[0] = '\0';
	r = find_version(ret, config->qemu_path);
	if (r < 0 || !ret->version[0])
		return r;
	r = make_image(&fd);
	if (r < 0) {
		(void)snprintf(ret->message, sizeof ret->message, "make the probe's image: %s",
			       strerrordesc_np(-r));
		return r;
	}
	/* QEMU inherits no descriptor: it opens ours. */
	image = text_printf("/proc/%d/fd/%d", (int)getpid(), fd);
	proof = (Proof){ .config = config, .image = image, .cancel_fd = cancel_fd };
	return choose_accelerator(ret, &proof);
}

#if defined(__x86_64__)
static uint64_t tsc_khz;

static uint64_t raw_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* A reading of both clocks, the TSC's error halved by reading it on both sides. */
static void read_clocks(uint64_t *tsc, uint64_t *ns)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 16; i++) {
		uint64_t before = __rdtsc();
		uint64_t now = raw_ns();
		uint64_t after = __rdtsc();

		if (after - before >= best)
			continue;
		best = after - before;
		*tsc = before + (after - before) / 2;
		*ns = now;
	}
}

static void measure_tsc(void)
{
	uint64_t tsc = 0, ns = 0, tsc_end = 0, ns_end = 0;

	read_clocks(&tsc, &ns);
	clock_sleep_us(TSC_WINDOW);
	read_clocks(&tsc_end, &ns_end);
	tsc_khz = (tsc_end - tsc) * 1000000 / (ns_end - ns);
}

uint64_t qemu_tsc_khz(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, measure_tsc);
	return tsc_khz;
}
#else
uint64_t qemu_tsc_khz(void)
{
	return 0;
}
#endif
