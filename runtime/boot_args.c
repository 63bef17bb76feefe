/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/boot_args.h"

#include "base/text.h"

#include <string.h>

bool boot_args_have(const char *args, const char *word, bool whole)
{
	size_t length = strlen(word);

	for (const char *at = args; *at; at += strcspn(at, " \t\n")) {
		size_t size;

		at += strspn(at, " \t\n");
		size = strcspn(at, " \t\n");
		/* What follows "--" is for init, not for the kernel. */
		if (size == 2 && strncmp(at, "--", 2) == 0)
			return false;
		if (strncmp(at, word, length) == 0 && (!whole || size == length))
			return true;
	}
	return false;
}

char *boot_args_root(const VmSpec *spec, const char *args)
{
	size_t i;

	for (i = 0; i < spec->drives.count && !spec_drive(spec, i)->is_root; i++)
		;
	if (i == spec->drives.count || boot_args_have(args, "root=", false))
		return text_dup("");
	if (boot_args_have(args, "ro", true) || boot_args_have(args, "rw", true))
		return text_printf("root=/dev/vd%c ", (char)('a' + i));
	return text_printf("root=/dev/vd%c %s ", (char)('a' + i),
			   spec_drive(spec, i)->read_only ? "ro" : "rw");
}
