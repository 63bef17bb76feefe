/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/rules.h"

#include "base/process.h"
#include "base/text.h"
#include "base/words.h"
#include "netfw/filter_maps.h"

#include <jansson.h>
#include <net/if.h>
#include <string.h>

enum {
	NFT_TIMEOUT = 30 * 1000000,
	TEXT_MAX = 4096,
	COMMENT_MAX = 128, /* nft's */
	BODY_MAX = 256,
	TABLE_MAX = 64,
	RULES_MAX = 8,
	OUTPUT_MAX = 64 * 1024, /* of nft's that is kept */
};

/* A chain that is hooked into the kernel. */
typedef struct Chain {
	const char *family, *name, *type, *hook;
	int priority;
} Chain;

/* A rule is known again by its comment, which says all that may differ. */
typedef struct Rule {
	const Chain *chain;
	char body[BODY_MAX], comment[COMMENT_MAX];
} Rule;

typedef struct RuleSet {
	Rule rules[RULES_MAX];
	size_t count;
} RuleSet;

/* Before what others have at the usual priorities; nft's names for those differ by family. */
static const Chain interlocks[] = {
	{ "inet", "forward", "filter", "forward", -150 },
	{ "inet", "input", "filter", "input", -150 },
	{ "bridge", "prerouting", "filter", "prerouting", -150 },
	{ "bridge", "input", "filter", "input", -150 },
};
static const Chain postrouting = { "inet", "postrouting", "nat", "postrouting", 100 };

static const char *const families[] = { "inet", "bridge" };

static const char table_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
static const char tap_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
static const char interlock_word[] = "interlock ";

static bool consists_of(const char *text, const char *bytes, size_t max)
{
	size_t length = strlen(text);

	return length >= 1 && length <= max && strspn(text, bytes) == length;
}

/* All goes into nft's language, so that nothing may be there that means something in it. */
static int check_config(const RulesConfig *config, Error *err)
{
	const char *uplink = config->uplink ? config->uplink : "";

	if (!consists_of(config->table, table_bytes, TABLE_MAX))
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
				       "'%.64s' is no name of a table: 1 to %d of [a-z0-9_]",
				       config->table, TABLE_MAX);
	if (!consists_of(config->tap_prefix, tap_bytes, IFNAMSIZ - 2))
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
				       "'%.32s' begins no names of taps: 1 to %d of [a-z0-9-]",
				       config->tap_prefix, IFNAMSIZ - 2);
	if (strlen(uplink) >= IFNAMSIZ || strpbrk(uplink, "\"\\*/ \t\n\r\v\f"))
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
				       "'%.32s' is no name of an uplink", uplink);
	return 0;
}

static Rule *add_rule(RuleSet *set, const Chain *chain)
{
	Rule *rule = &set->rules[set->count++];

	rule->chain = chain;
	return rule;
}

static void add_masquerade(RuleSet *set, const RulesConfig *config, const Prefix *sources)
{
	char text[PREFIX_TEXT_MAX];
	Rule *rule;

	if (!sources->length || text_equal(config->uplink, NULL))
		return;
	rule = add_rule(set, &postrouting);
	(void)prefix_format(sources, text);
	(void)snprintf(rule->body, sizeof rule->body,
		       "oifname \"%s\" meta mark & %#x == %#x %s saddr %s counter masquerade",
		       config->uplink, FILTER_MARK_MASK, FILTER_MARK,
		       sources->family == 4 ? "ip" : "ip6", text);
	(void)snprintf(rule->comment, sizeof rule->comment, "masquerade %s by %s", text,
		       config->uplink);
}

static void make_rules(RuleSet *ret, const RulesConfig *config)
{
	*ret = (RuleSet){ 0 };
	for (size_t i = 0; i < array_size(interlocks); i++) {
		Rule *rule = add_rule(ret, &interlocks[i]);

		(void)snprintf(rule->body, sizeof rule->body,
			       "meta mark & %#x != %#x iifname \"%s*\" counter drop",
			       FILTER_MARK_MASK, FILTER_MARK, config->tap_prefix);
		(void)snprintf(rule->comment, sizeof rule->comment, "%s%s* %#x", interlock_word,
			       config->tap_prefix, FILTER_MARK);
	}
	add_masquerade(ret, config, &config->masquerade4);
	add_masquerade(ret, config, &config->masquerade6);
}

/* Runs nft. The first line of what it says if it fails is what it is about. */
static int run_nft(char **ret, const char *step, const char *const *arguments, const char *input,
		   Error *err)
{
	cleanup_(words_clear) Words words = { 0 };
	cleanup_free char *output = NULL;
	ProcessResult result = { 0 };
	int r;

	words_add(&words, "nft");
	for (; *arguments; arguments++)
		words_add(&words, *arguments);
	r = process_run_with(&result, words.items, input, OUTPUT_MAX, NFT_TIMEOUT);
	if (r < 0)
		return error_set_errno(err, ERROR_FIREWALL, -r, "%s: run nft", step);
	output = result.output;
	if (result.code != 0) {
		output[strcspn(output, "\n")] = '\0';
		return error_set(err, ERROR_FIREWALL, "%s: nft: %s", step,
				 *output ? output : "it ended without a word");
	}
	*ret = take_ptr(output);
	return 0;
}

/* What nft -f is given is one transaction. */
static int run_script(const char *step, const char *text, Error *err)
{
	cleanup_free char *output = NULL;

	return run_nft(&output, step, (const char *const[]){ "-f", "-", NULL }, text, err);
}

/* Added, so that there is one to be deleted. */
static char *put_removal(char *at, const char *end, const RulesConfig *config)
{
	for (size_t i = 0; i < array_size(families); i++)
		at = text_append(at, end, "add table %s %s\ndelete table %s %s\n", families[i],
				 config->table, families[i], config->table);
	return at;
}

int rules_load(const RulesConfig *config, Error *err)
{
	char text[TEXT_MAX], *at = text;
	const char *end = text + sizeof text;
	RuleSet set;

	if (check_config(config, err) < 0)
		return -1;
	make_rules(&set, config);
	at = put_removal(at, end, config);
	for (size_t i = 0; i < set.count; i++) {
		const Rule *rule = &set.rules[i];
		const Chain *chain = rule->chain;

		at = text_append(at, end,
				 "table %s %s { chain %s {\n"
				 "type %s hook %s priority %d; policy accept;\n"
				 "%s comment \"%s\"\n}\n}\n",
				 chain->family, config->table, chain->name, chain->type,
				 chain->hook, chain->priority, rule->body, rule->comment);
	}
	return run_script("load the rules", text, err);
}

/* What nft tells of our table of @family: a list of objects; to be released. */
static int list_table(json_t **ret, const RulesConfig *config, const char *family, Error *err)
{
	const char *const arguments[] = { "-j", "list", "table", family, config->table, NULL };
	cleanup_free char *step = text_printf("list table %s %s", family, config->table);
	cleanup_free char *output = NULL;
	json_t *root;

	if (run_nft(&output, step, arguments, NULL, err) < 0)
		return -1;
	root = json_loads(output, 0, NULL);
	*ret = json_incref(json_object_get(root, "nftables"));
	json_decref(root);
	if (!json_is_array(*ret)) {
		json_decref(*ret);
		return error_set(err, ERROR_FIREWALL, "%s: nft's answer is no list", step);
	}
	return 0;
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool is_chain(const json_t *object, const Chain *chain)
{
	return text_equal(text_of(object, "name"), chain->name) &&
	       text_equal(text_of(object, "type"), chain->type) &&
	       text_equal(text_of(object, "hook"), chain->hook) &&
	       json_integer_value(json_object_get(object, "prio")) == chain->priority;
}

static bool is_rule(const json_t *object, const Rule *rule)
{
	return text_equal(text_of(object, "chain"), rule->chain->name) &&
	       text_equal(text_of(object, "comment"), rule->comment);
}

static bool has_rule(const json_t *list, const Rule *rule)
{
	bool chain = false, itself = false;
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		chain = chain || is_chain(json_object_get(entry, "chain"), rule->chain);
		itself = itself || is_rule(json_object_get(entry, "rule"), rule);
	}
	return chain && itself;
}

static int check_family(const RulesConfig *config, const RuleSet *set, const char *family,
			Error *err)
{
	json_t *list = NULL;
	int r = list_table(&list, config, family, err);

	for (size_t i = 0; r == 0 && i < set->count; i++) {
		const Rule *rule = &set->rules[i];

		if (strcmp(rule->chain->family, family) == 0 && !has_rule(list, rule))
			r = error_set(err, ERROR_FIREWALL,
				      "table %s %s, chain %s: no rule '%s' at its place", family,
				      config->table, rule->chain->name, rule->comment);
	}
	json_decref(list);
	return r;
}

int rules_check(const RulesConfig *config, Error *err)
{
	RuleSet set;

	if (check_config(config, err) < 0)
		return -1;
	make_rules(&set, config);
	for (size_t i = 0; i < array_size(families); i++)
		if (check_family(config, &set, families[i], err) < 0)
			return -1;
	return 0;
}

/* Of one rule, if it is the interlock's. */
static uint64_t packets_of(const json_t *rule)
{
	const char *comment = text_of(rule, "comment");
	const json_t *expression;
	uint64_t sum = 0;
	size_t i;

	if (!comment || strncmp(comment, interlock_word, strlen(interlock_word)) != 0)
		return 0;
	json_array_foreach(json_object_get(rule, "expr"), i, expression)
	{
		const json_t *counter = json_object_get(expression, "counter");

		sum += (uint64_t)json_integer_value(json_object_get(counter, "packets"));
	}
	return sum;
}

int rules_dropped(const RulesConfig *config, uint64_t *ret, Error *err)
{
	uint64_t sum = 0;

	if (check_config(config, err) < 0)
		return -1;
	for (size_t i = 0; i < array_size(families); i++) {
		const json_t *entry;
		json_t *list;
		size_t at;

		if (list_table(&list, config, families[i], err) < 0)
			return -1;
		json_array_foreach(list, at, entry) sum +=
			packets_of(json_object_get(entry, "rule"));
		json_decref(list);
	}
	*ret = sum;
	return 0;
}

/* What cannot be removed goes on dropping, which is the safe side. */
void rules_remove(const RulesConfig *config)
{
	char text[TEXT_MAX];
	Error err = { 0 };

	if (check_config(config, &err) < 0)
		return;
	(void)put_removal(text, text + sizeof text, config);
	if (run_script("remove the rules", text, &err) < 0)
		error_clear(&err);
}
