/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/firecracker_probe.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/firecracker_features.h"
#include "runtime/probe_cache.h"

#include <assert.h>
#include <elf.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

enum {
	VERSION_TIMEOUT = 10 * USEC_PER_SEC, /* the first run reads it from a slow disk */
	PROOF_TIMEOUT = 10 * USEC_PER_SEC,
	LOAD_AT = 0x100000,
	LAST_WORDS_MAX = 160,
};

#define PROOF "hearth ran here"

/* clang-format off */
/* 64-bit code: the proof to the serial port byte by byte, then a reset by the keyboard's controller. */
static const unsigned char program[] = {
	0x48, 0x8d, 0x35, 0x13, 0, 0, 0, /*    lea rsi, [rip + proof] */
	0x66, 0xba, 0xf8, 0x03,          /*    mov dx, 0x3f8 */
	0xac,                            /* 1: lodsb */
	0x84, 0xc0,                      /*    test al, al */
	0x74, 0x03,                      /*    jz 2f */
	0xee,                            /*    out dx, al */
	0xeb, 0xf8,                      /*    jmp 1b */
	0xb0, 0xfe,                      /* 2: mov al, 0xfe */
	0xe6, 0x64,                      /*    out 0x64, al */
	0xf4,                            /* 3: hlt */
	0xeb, 0xfd,                      /*    jmp 3b */
};
/* clang-format on */
static_assert(sizeof program == 7 + 0x13, "the proof follows the program");
static const char proof[] = PROOF "\n";

typedef struct Image {
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	unsigned char code[sizeof program + sizeof proof];
} Image;

static int make_guest(int *ret)
{
	Image image = {
		.header = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				     EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = LOAD_AT,
			.e_phoff = offsetof(Image, segment),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1,
		},
		.segment = {
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W | PF_X,
			.p_offset = offsetof(Image, code),
			.p_vaddr = LOAD_AT,
			.p_paddr = LOAD_AT,
			.p_filesz = sizeof image.code,
			.p_memsz = sizeof image.code,
		},
	};

	memcpy(image.code, program, sizeof program);
	memcpy(image.code + sizeof program, proof, sizeof proof);
	return file_in_memory(ret, &image, sizeof image);
}

static int make_config(int *ret, const char *guest)
{
	json_t *root = json_pack("{s:{s:s, s:s}, s:{s:i, s:i}, s:[]}", "boot-source",
				 "kernel_image_path", guest, "boot_args", "console=ttyS0",
				 "machine-config", "vcpu_count", 1, "mem_size_mib", 16, "drives");
	cleanup_free char *text = root ? json_dumps(root, 0) : NULL;

	json_decref(root);
	return text ? file_in_memory(ret, text, strlen(text)) : -ENOMEM;
}

/* 0, and @ret->version is set unless there is no Firecracker; -errno of a shortage. */
static int find_version(BackendInfo *ret, FirecrackerVersion *version, const char *path)
{
	static const char name[] = "Firecracker v";
	char *argv[] = { text_dup(path), text_dup("--version"), NULL };
	ProcessResult result = { 0 };
	int r = process_run(&result, argv, VERSION_TIMEOUT);
	const char *at = r == 0 ? strstr(result.output, name) : NULL;

	if (at && firecracker_version_parse(version, at)) {
		text_copy(ret->version, sizeof ret->version, at + sizeof name - 1);
		ret->version[strcspn(ret->version, " \r\n")] = '\0';
	} else if (r == -ENOENT) {
		(void)snprintf(ret->message, sizeof ret->message, "%s is not installed", path);
	} else if (r < 0) {
		(void)snprintf(ret->message, sizeof ret->message, "%s --version: %s", path,
			       strerrordesc_np(-r));
	} else {
		(void)snprintf(ret->message, sizeof ret->message,
			       "%s --version does not say which Firecracker it is", path);
	}
	free(result.output);
	free(argv[0]);
	free(argv[1]);
	return probe_is_shortage(-r) ? r : 0;
}

/* The last line of @output that is not empty. */
static void last_line(char *ret, size_t size, char *output)
{
	size_t length = strlen(output);
	const char *begin;

	while (length && strchr("\r\n", output[length - 1]))
		output[--length] = '\0';
	begin = strrchr(output, '\n');
	text_copy(ret, size, begin ? begin + 1 : output);
}

/* Did the guest run? In @ret; -errno of a shortage. */
static int prove(BackendInfo *ret, const BackendConfig *config, const char *guest, int cancel_fd)
{
	const char *const words[] = {
		config->firecracker_path, "--no-api", "--config-file", guest, "--level", "Error",
	};
	char *argv[array_size(words) + 1] = { NULL };
	char line[LAST_WORDS_MAX] = "";
	ProcessResult result = { 0 };
	int r;

	for (size_t i = 0; i < array_size(words); i++)
		argv[i] = text_dup(words[i]);
	r = probe_run(&result, config, argv, cancel_fd, PROOF_TIMEOUT);
	for (size_t i = 0; i < array_size(words); i++)
		free(argv[i]);
	ret->available = r == 0 && result.code == 0 && strstr(result.output, PROOF);
	if (r == -ETIMEDOUT)
		text_copy(ret->message, sizeof ret->message,
			  "a guest of 12 instructions did not end");
	else if (r < 0)
		text_copy(ret->message, sizeof ret->message, strerrordesc_np(-r));
	else if (!ret->available) {
		last_line(line, sizeof line, result.output);
		(void)snprintf(ret->message, sizeof ret->message,
			       "no guest runs (code %d, signal %d): %s", result.code, result.signal,
			       line);
	}
	free(result.output);
	return probe_is_shortage(-r) ? r : 0;
}

/* Firecracker inherits no descriptor: it opens ours. */
static char *path_of(int fd)
{
	return text_printf("/proc/%d/fd/%d", (int)getpid(), fd);
}

/* Files in memory, since a probe must also work on a host whose disk is full. */
static int run_guest(BackendInfo *ret, const BackendConfig *config, int cancel_fd)
{
	cleanup_close int guest = -1, wanted = -1;
	cleanup_free char *guest_path = NULL, *wanted_path = NULL;
	int r = make_guest(&guest);

	if (r == 0) {
		guest_path = path_of(guest);
		r = make_config(&wanted, guest_path);
	}
	if (r < 0) {
		(void)snprintf(ret->message, sizeof ret->message, "make the probe's guest: %s",
			       strerrordesc_np(-r));
		return r;
	}
	wanted_path = path_of(wanted);
	return prove(ret, config, wanted_path, cancel_fd);
}

int firecracker_probe(BackendInfo *ret, const BackendConfig *config, int cancel_fd)
{
	FirecrackerVersion version;
	Error err = { 0 };
	int r;

	ret->available = false;
	ret->message[0] = ret->version[0] = ret->accelerator[0] = '\0';
	r = find_version(ret, &version, config->firecracker_path);
	if (r < 0 || !ret->version[0])
		return r;
	if (firecracker_features_check(&version, NULL, &err) < 0) {
		text_copy(ret->message, sizeof ret->message, err.what);
		return 0;
	}
	r = run_guest(ret, config, cancel_fd);
	if (ret->available)
		text_copy(ret->accelerator, sizeof ret->accelerator, "kvm");
	return r;
}
