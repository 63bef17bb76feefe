/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/iptables_saved.h"

#include <string.h>

enum {
	WORDS = 6, /* of each rule that is ours */
	ROOM = 16,
	PREFIX_LENGTH = 7,
	SUFFIX_LENGTH = 5,
};

static const char prefix[] = "HEARTH-";
static const char digits[] = "0123456789abcdef";

bool iptables_is_chain(const char *name)
{
	const char *rest = name + IPTABLES_ROOT;

	if (strncmp(name, prefix, PREFIX_LENGTH) != 0 ||
	    strspn(name + PREFIX_LENGTH, digits) != IPTABLES_ROOT - PREFIX_LENGTH)
		return false;
	return *rest == '\0' || (*rest == '-' && strspn(rest + 1, digits) == SUFFIX_LENGTH - 1 &&
				 rest[SUFFIX_LENGTH] == '\0');
}

static bool is_root(const char *name)
{
	return iptables_is_chain(name) && name[IPTABLES_ROOT] == '\0';
}

static void add(IptablesSaved *saved, const SavedEntry *entry)
{
	if (saved->count == saved->room) {
		saved->room = saved->room ? 2 * saved->room : ROOM;
		saved->entries = must_realloc(saved->entries, saved->room, sizeof *saved->entries);
	}
	saved->entries[saved->count++] = *entry;
}

/* Cuts @line into words: how many, at most one more than a rule of ours has. */
static size_t split(char *line, const char *words[static WORDS])
{
	size_t count = 0;
	char *word;

	while ((word = strsep(&line, " "))) {
		if (count == WORDS)
			return WORDS + 1;
		words[count++] = word;
	}
	return count;
}

static void read_rule(IptablesSaved *saved, const char *const words[static WORDS])
{
	const char *chain = words[1];

	if (strcmp(words[0], "-A") != 0 || !*words[3] || !*words[5])
		return;
	if ((strcmp(chain, "FORWARD") == 0 || strcmp(chain, "INPUT") == 0) &&
	    strcmp(words[2], "-i") == 0 && strcmp(words[4], "-j") == 0 && is_root(words[5]))
		add(saved, &(SavedEntry){ SAVED_JUMP, words[5], chain, words[3] });
	else if (is_root(chain) && strcmp(words[2], "-m") == 0 &&
		 strcmp(words[3], "comment") == 0 && strcmp(words[4], "--comment") == 0)
		add(saved, &(SavedEntry){ SAVED_OWNER, chain, NULL, words[5] });
}

static void read_line(IptablesSaved *saved, char *line)
{
	const char *words[WORDS];

	if (*line == ':') {
		line[strcspn(line, " ")] = '\0';
		if (iptables_is_chain(line + 1))
			add(saved, &(SavedEntry){ SAVED_CHAIN, line + 1, NULL, NULL });
	} else if (split(line, words) == WORDS) {
		read_rule(saved, words);
	}
}

void iptables_saved_parse(IptablesSaved *ret, char *text)
{
	char *rest = text, *line;

	*ret = (IptablesSaved){ .text = text };
	while ((line = strsep(&rest, "\n")))
		read_line(ret, line);
}

void iptables_saved_clear(IptablesSaved *saved)
{
	free(saved->entries);
	free(saved->text);
	*saved = (IptablesSaved){ 0 };
}
