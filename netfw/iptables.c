/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/iptables.h"

#include "base/process.h"
#include "base/text.h"
#include "base/words.h"
#include "netfw/iptables_rules.h"
#include "netfw/iptables_saved.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	TIMEOUT = 60 * 1000000,
	OUTPUT_MAX = 64 * 1024,
	SAVED_MAX = 32 * 1024 * 1024,
};

typedef struct Family {
	uint8_t family;
	const char *save, *restore;
	const char *proof; /* rules with each match that is used */
} Family;

#define PROOF(icmp)                                                                            \
	"-A HEARTH-probe -m comment --comment hearth\n"                                        \
	"-A HEARTH-probe -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT\n" \
	"-A HEARTH-probe -p sctp -m multiport --dports 1,2:3 -j ACCEPT\n"                      \
	"-A HEARTH-probe -p " icmp " -j DROP\n"

static const Family families[] = {
	{ 4, "iptables-save", "iptables-restore", PROOF("icmp") },
	{ 6, "ip6tables-save", "ip6tables-restore",
	  PROOF("ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255") },
};

/* A VM's change, for each family. */
typedef struct Change {
	char root[IPTABLES_CHAIN_MAX];
	IptablesRules rules[array_size(families)];
	IptablesSaved saved[array_size(families)];
} Change;

/* Which entries are to go? */
typedef bool (*Select)(const SavedEntry *entry, const void *context);

static void change_clear(Change *change)
{
	for (size_t i = 0; i < array_size(families); i++) {
		iptables_rules_clear(&change->rules[i]);
		iptables_saved_clear(&change->saved[i]);
	}
}

const char *iptables_chain(const char *id, char ret[static IPTABLES_CHAIN_MAX])
{
	(void)snprintf(ret, IPTABLES_CHAIN_MAX, "HEARTH-%016" PRIx64, text_hash(id, strlen(id)));
	return ret;
}

/* As one line, for an error. */
static void flatten(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++)
		if ((unsigned char)*at > ' ')
			*to++ = *at;
		else if (to > text && to[-1] != ' ')
			*to++ = ' ';
	while (to > text && to[-1] == ' ')
		to--;
	*to = '\0';
}

/* @output: to free; NULL: not wanted. */
static int run(char *const argv[], const char *input, size_t output_max, char **output, Error *err)
{
	ProcessResult result = { 0 };
	int r = process_run_with(&result, argv, input, output_max, TIMEOUT);
	cleanup_free char *said = result.output;

	if (r < 0)
		return error_set_errno(err, ERROR_FIREWALL, -r, "run %s", argv[0]);
	if (result.code != 0) {
		flatten(said);
		return error_set(err, ERROR_FIREWALL, "%s ended with %d: %.400s", argv[0],
				 result.code, said);
	}
	if (output)
		*output = take_ptr(said);
	return 0;
}

static int restore(const Family *family, const char *script, Error *err)
{
	cleanup_free char *name = text_dup(family->restore);
	char noflush[] = "--noflush", wait[] = "-w", seconds[] = "30";
	char *argv[] = { name, noflush, wait, seconds, NULL };

	return run(argv, script, OUTPUT_MAX, NULL, err);
}

static int save(const Family *family, IptablesSaved *ret, Error *err)
{
	cleanup_free char *name = text_dup(family->save), *output = NULL;
	char option[] = "-t", table[] = "filter";
	char *argv[] = { name, option, table, NULL };

	if (run(argv, NULL, SAVED_MAX, &output, err) < 0)
		return -1;
	if (strlen(output) == SAVED_MAX)
		return error_set(err, ERROR_FIREWALL, "%s says more than %d bytes", name,
				 SAVED_MAX);
	iptables_saved_parse(ret, take_ptr(output));
	return 0;
}

static bool is_of(const SavedEntry *entry, const char *root)
{
	return strncmp(entry->chain, root, IPTABLES_ROOT) == 0;
}

/* The other VM whose chain it is, if two ids have one hash. */
static const char *other_owner(const IptablesSaved *saved, const char *root, const char *id)
{
	for (size_t i = 0; i < saved->count; i++) {
		const SavedEntry *entry = &saved->entries[i];

		if (entry->kind == SAVED_OWNER && is_of(entry, root) &&
		    strcmp(entry->text, id) != 0)
			return entry->text;
	}
	return NULL;
}

/* Empties chains and removes jumps, then the chains: none is in use by then. How many entries. */
static size_t write_removal(FILE *to, const IptablesSaved *saved, Select select,
			    const void *context)
{
	size_t count = 0;

	for (size_t i = 0; i < saved->count; i++) {
		const SavedEntry *entry = &saved->entries[i];

		if (entry->kind == SAVED_OWNER || !select(entry, context))
			continue;
		count++;
		if (entry->kind == SAVED_CHAIN)
			(void)fprintf(to, ":%s - [0:0]\n", entry->chain);
		else
			(void)fprintf(to, "-D %s -i %s -j %s\n", entry->hook, entry->text,
				      entry->chain);
	}
	for (size_t i = 0; i < saved->count; i++)
		if (saved->entries[i].kind == SAVED_CHAIN && select(&saved->entries[i], context))
			(void)fprintf(to, "-X %s\n", saved->entries[i].chain);
	return count;
}

static FILE *open_script(char **ret, size_t *size)
{
	FILE *to = open_memstream(ret, size);

	assert(to);
	(void)fputs("*filter\n", to);
	return to;
}

static int close_script(FILE *to, Error *err)
{
	(void)fputs("COMMIT\n", to);
	return fclose(to) == 0 ? 0 : error_set_errno(err, ERROR_FIREWALL, errno, "write rules");
}

/* One transaction without what @select says; nothing is run if that is nothing. */
static int remove_selected(const Family *family, const IptablesSaved *saved, Select select,
			   const void *context, Error *err)
{
	cleanup_free char *script = NULL;
	size_t size, count;
	FILE *to = open_script(&script, &size);

	count = write_removal(to, saved, select, context);
	if (close_script(to, err) < 0)
		return -1;
	return count ? restore(family, script, err) : 0;
}

int iptables_probe(Error *err)
{
	for (size_t i = 0; i < array_size(families); i++) {
		const Family *family = &families[i];
		cleanup_(iptables_saved_clear) IptablesSaved saved = { 0 };
		cleanup_free char *script =
			text_printf("*filter\n:HEARTH-probe - [0:0]\n%sCOMMIT\n", family->proof);

		if (save(family, &saved, err) < 0 || restore(family, script, err) < 0 ||
		    restore(family, "*filter\n:HEARTH-probe - [0:0]\n-X HEARTH-probe\nCOMMIT\n",
			    err) < 0)
			return -1;
	}
	return 0;
}

typedef struct Stale {
	const char *root;
	size_t chains;
} Stale;

/* All jumps, and chains that the new rules do not have. */
static bool is_stale(const SavedEntry *entry, const void *context)
{
	const Stale *stale = context;

	if (!is_of(entry, stale->root))
		return false;
	if (entry->kind == SAVED_JUMP)
		return true;
	return entry->chain[IPTABLES_ROOT] &&
	       strtoul(entry->chain + IPTABLES_ROOT + 1, NULL, 16) >= stale->chains;
}

static int apply_family(const Change *change, size_t at, const char *tap, Error *err)
{
	const IptablesRules *rules = &change->rules[at];
	const Stale stale = { change->root, rules->chains };
	char chain[IPTABLES_CHAIN_MAX];
	cleanup_free char *script = NULL;
	size_t size;
	FILE *to = open_script(&script, &size);

	(void)fprintf(to, ":%s - [0:0]\n", change->root);
	for (size_t i = 0; i < rules->chains; i++)
		(void)fprintf(to, ":%s - [0:0]\n", iptables_rules_chain(change->root, i, chain));
	(void)write_removal(to, &change->saved[at], is_stale, &stale);
	(void)fprintf(to, "%s-I FORWARD 1 -i %s -j %s\n-I INPUT 1 -i %s -j %s\n", rules->text, tap,
		      change->root, tap, change->root);
	if (close_script(to, err) < 0)
		return -1;
	return restore(&families[at], script, err);
}

int iptables_apply(const IptablesVm *vm, const EgressPolicy *policy, const Prefix *denied,
		   size_t denied_count, Error *err)
{
	const IptablesInput input = { vm, policy, denied, denied_count };
	cleanup_(change_clear) Change change = { 0 };

	if (iptables_rules_check(&input, err) < 0)
		return -1;
	iptables_chain(vm->id, change.root);
	for (size_t i = 0; i < array_size(families); i++)
		if (iptables_rules_write(&change.rules[i], families[i].family, &input, err) < 0)
			return -1;
	for (size_t i = 0; i < array_size(families); i++) {
		const char *other;

		if (save(&families[i], &change.saved[i], err) < 0)
			return -1;
		other = other_owner(&change.saved[i], change.root, vm->id);
		if (other)
			return error_set(err, ERROR_FIREWALL, "chain %s is that of VM \"%.63s\"",
					 change.root, other);
	}
	for (size_t i = 0; i < array_size(families); i++)
		if (apply_family(&change, i, vm->tap, err) < 0)
			return -1;
	return 0;
}

static bool is_of_root(const SavedEntry *entry, const void *context)
{
	return is_of(entry, context);
}

int iptables_remove(const char *id, Error *err)
{
	char root[IPTABLES_CHAIN_MAX];

	iptables_chain(id, root);
	for (size_t i = 0; i < array_size(families); i++) {
		cleanup_(iptables_saved_clear) IptablesSaved saved = { 0 };

		if (save(&families[i], &saved, err) < 0)
			return -1;
		/* Another VM's chain: so this one has none. */
		if (other_owner(&saved, root, id))
			continue;
		if (remove_selected(&families[i], &saved, is_of_root, root, err) < 0)
			return -1;
	}
	return 0;
}

int iptables_each(void (*each)(void *user, const char *id), void *user, Error *err)
{
	for (size_t i = 0; i < array_size(families); i++) {
		cleanup_(iptables_saved_clear) IptablesSaved saved = { 0 };

		if (save(&families[i], &saved, err) < 0)
			return -1;
		for (size_t k = 0; k < saved.count; k++)
			if (saved.entries[k].kind == SAVED_OWNER)
				each(user, saved.entries[k].text);
	}
	return 0;
}

typedef struct Known {
	char (*roots)[IPTABLES_CHAIN_MAX]; /* sorted */
	size_t count;
} Known;

static int compare_roots(const void *a, const void *b)
{
	return strncmp(a, b, IPTABLES_ROOT);
}

static bool is_orphan(const SavedEntry *entry, const void *context)
{
	const Known *known = context;

	return !bsearch(entry->chain, known->roots, known->count, sizeof *known->roots,
			compare_roots);
}

static bool has_word(const Words *words, const char *word)
{
	for (size_t i = 0; i < words->count; i++)
		if (strncmp(words->items[i], word, IPTABLES_ROOT) == 0)
			return true;
	return false;
}

static int collect_family(const Family *family, const Known *known, Words *gone, Error *err)
{
	cleanup_(iptables_saved_clear) IptablesSaved saved = { 0 };

	if (save(family, &saved, err) < 0 ||
	    remove_selected(family, &saved, is_orphan, known, err) < 0)
		return -1;
	for (size_t i = 0; i < saved.count; i++)
		if (is_orphan(&saved.entries[i], known) && !has_word(gone, saved.entries[i].chain))
			words_add(gone, saved.entries[i].chain);
	return 0;
}

int iptables_collect(const char *const *ids, size_t count, size_t *removed, Error *err)
{
	cleanup_free char(*roots)[IPTABLES_CHAIN_MAX] = must_calloc(count, sizeof *roots);
	const Known known = { roots, count };
	cleanup_(words_clear) Words gone = { 0 };

	for (size_t i = 0; i < count; i++)
		iptables_chain(ids[i], roots[i]);
	qsort(roots, count, sizeof *roots, compare_roots);
	for (size_t i = 0; i < array_size(families); i++)
		if (collect_family(&families[i], &known, &gone, err) < 0)
			return -1;
	*removed = gone.count;
	return 0;
}
