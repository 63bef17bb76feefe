/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/systemd.h"

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "base/words.h"

#include <string.h>

enum {
	TIMEOUT = 10 * USEC_PER_SEC,
};

bool systemd_is_init(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

int systemd_make_service(const char *name, const char *slice, char *why, size_t size)
{
	/* Without a process systemd would remove the group. Whoever ends that one, or stops the
	 * service, ends no VM; one VM's lack of memory is not all others' end; and there may be
	 * any number of them. */
	static const char *const properties[] = {
		"Type=exec",          "Delegate=yes",      "KillMode=process",
		"OOMPolicy=continue", "TasksMax=infinity", "Description=Virtual machines of hearth",
	};
	cleanup_(words_clear) Words words = { 0 };
	ProcessResult result = { 0 };
	int r;

	words_add(&words, "systemd-run");
	words_add(&words, "--quiet");
	words_add(&words, "--collect");
	words_add_option(&words, "--unit", name);
	words_add_option(&words, "--slice", slice);
	for (size_t i = 0; i < array_size(properties); i++)
		words_add_option(&words, "--property", properties[i]);
	words_add(&words, "/bin/sleep");
	words_add(&words, "infinity");
	r = process_run(&result, words.items, TIMEOUT);
	if (r < 0)
		(void)snprintf(why, size, "run systemd-run: %s", strerrordesc_np(-r));
	else if (result.code != 0)
		(void)snprintf(why, size, "systemd-run: %.*s", (int)strcspn(result.output, "\n"),
			       result.output);
	free(result.output);
	return r < 0 ? r : result.code == 0 ? 0 : -EIO;
}
