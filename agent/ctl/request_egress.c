/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/message.h"
#include "agent/ctl/request.h"
#include "agent/ctl/yaml.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

/* Policies of egress from options: a file of JSON or YAML, and --allow
 * CIDR[:PROTOCOL[/PORT[-END]]], or a name in place of CIDR. */

enum {
	PORT_MAX = 65535,
	FILE_MAX = 4 * 1024 * 1024,
};

static const char everywhere[] = "any";

static Hearth__V1__EgressRule *add_rule(Hearth__V1__EgressPolicy *policy)
{
	Hearth__V1__EgressRule *rule = message_new(&hearth__v1__egress_rule__descriptor);

	policy->rules = (Hearth__V1__EgressRule **)must_realloc(
		(void *)policy->rules, policy->n_rules + 1, sizeof(void *));
	policy->rules[policy->n_rules++] = rule;
	return rule;
}

/* One element in a repeated field that has none yet. */
static void *put_only(void ***list, size_t *count, const ProtobufCMessageDescriptor *type)
{
	*list = new0_array(void *, 1);
	*count = 1;
	(*list)[0] = message_new(type);
	return (*list)[0];
}

/* "80" or "80-90", as numbers that a port may have. */
static bool read_ports(Hearth__V1__EgressPort *port, const char *text)
{
	size_t length = strcspn(text, "-");
	cleanup_free char *first = text_printf("%.*s", (int)length, text);
	uint64_t from, to = 0;

	if (text_to_u64(&from, first) < 0 || from < 1 || from > PORT_MAX)
		return false;
	if (text[length] && (text_to_u64(&to, text + length + 1) < 0 || to < from || to > PORT_MAX))
		return false;
	port->port = (uint32_t)from;
	port->end_port = (uint32_t)to;
	return true;
}

/* "tcp", "tcp/80" or "udp/1-1023". */
static bool read_port(Hearth__V1__EgressPort *port, const char *text)
{
	size_t length = strcspn(text, "/");
	int protocol;

	if (enum_parse(&protocol, &hearth__v1__protocol__descriptor, text, length) < 0)
		return false;
	port->protocol = (Hearth__V1__Protocol)protocol;
	return !text[length] || read_ports(port, text + length + 1);
}

/* What a rule is for. */
typedef enum PeerKind {
	PEER_NONE,
	PEER_ANY,
	PEER_NAME,
	PEER_BLOCK,
} PeerKind;

static bool is_protocol(const char *text)
{
	int unused;

	return enum_parse(&unused, &hearth__v1__protocol__descriptor, text, strcspn(text, "/")) ==
	       0;
}

/* Letters and a dot, with a port or none behind them: the first part of an IPv6 address has none,
 * and a name of one label is taken for a slip. */
static bool is_name(const char *text, size_t length)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ*";

	return strcspn(text, letters) < length && strcspn(text, ".") < length &&
	       strcspn(text, "/") >= length && (!text[length] || is_protocol(text + length + 1));
}

/* How much of @text is the peer: a block goes to the colon behind its length. */
static PeerKind read_peer(const char *text, size_t *length)
{
	size_t slash = strcspn(text, "/");

	*length = strcspn(text, ":");
	if (*length == sizeof everywhere - 1 && strncmp(text, everywhere, *length) == 0)
		return PEER_ANY;
	if (is_name(text, *length))
		return PEER_NAME;
	*length = slash + strcspn(text + slash, ":");
	return text[slash] ? PEER_BLOCK : PEER_NONE;
}

static void put_peer(Hearth__V1__EgressRule *rule, PeerKind kind, const char *text, size_t length)
{
	Hearth__V1__EgressPeer *peer;

	if (kind == PEER_NAME) {
		rule->fqdn = new0_array(char *, 1);
		rule->fqdn[0] = text_printf("%.*s", (int)length, text);
		rule->n_fqdn = 1;
	} else if (kind == PEER_BLOCK) {
		peer = put_only((void ***)(void *)&rule->to, &rule->n_to,
				&hearth__v1__egress_peer__descriptor);
		peer->cidr = text_printf("%.*s", (int)length, text);
	}
}

static int read_allow(const Ctl *ctl, Hearth__V1__EgressPolicy *policy, const char *text)
{
	Hearth__V1__EgressRule *rule = add_rule(policy);
	size_t length;
	PeerKind kind = read_peer(text, &length);
	Hearth__V1__EgressPort *port;

	if (kind == PEER_NONE)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--allow: '%s' begins with no CIDR such as 10.0.0.0/8, "
					    "no name such as example.org, nor with any",
					    text);
	put_peer(rule, kind, text, length);
	if (!text[length])
		return 0;
	port = put_only((void ***)(void *)&rule->ports, &rule->n_ports,
			&hearth__v1__egress_port__descriptor);
	if (!read_port(port, text + length + 1))
		return failure_report_local(
			ctl_json(ctl), EXIT_USAGE,
			"--allow: '%s' is not CIDR[:PROTOCOL[/PORT[-END]]] with "
			"tcp, udp, sctp or icmp",
			text);
	return 0;
}

/* All of @file, up to FILE_MAX; NULL with errno. The caller's to free. */
static char *read_all(FILE *file, size_t *length)
{
	cleanup_free char *text = new0_array(char, FILE_MAX + 1);

	*length = fread(text, 1, FILE_MAX + 1, file);
	if (*length <= FILE_MAX && !ferror(file))
		return take_ptr(text);
	if (*length > FILE_MAX)
		errno = EFBIG;
	return NULL;
}

/* What begins with a brace is JSON, all else YAML; as load_json(). */
static json_t *load_policy(const char *path, json_error_t *problem)
{
	bool is_input = strcmp(path, "-") == 0;
	FILE *file = is_input ? stdin : fopen(path, "re");
	size_t length = 0;
	cleanup_free char *text = file ? read_all(file, &length) : NULL;
	int error = errno;

	if (file && !is_input)
		(void)fclose(file);
	if (!text) {
		*problem = (json_error_t){ .line = -1 };
		(void)snprintf(problem->text, sizeof problem->text, "%.80s: %s", path,
			       strerrordesc_np(error));
		return NULL;
	}
	if (text[strspn(text, " \t\r\n")] == '{')
		return json_loadb(text, length, JSON_REJECT_DUPLICATES, problem);
	return yaml_load(text, length, problem);
}

static int read_policy(const Ctl *ctl, const char *path, Hearth__V1__EgressPolicy **ret)
{
	json_error_t problem;
	cleanup_(json_freep) json_t *json = load_policy(path, &problem);
	ProtobufCMessage *message = NULL;
	Error err = { 0 };

	if (!json)
		return report_json(ctl, path, &problem);
	if (json_to_message(&message, &hearth__v1__egress_policy__descriptor, json, &err) < 0)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "%s does not describe a policy: %s", path, err.what);
	*ret = (Hearth__V1__EgressPolicy *)(void *)message;
	return 0;
}

int request_egress(const Ctl *ctl, const char *file, Hearth__V1__EgressPolicy **policy)
{
	const Options *given = &ctl->options;
	cleanup_(message_freep) Hearth__V1__EgressPolicy *made = NULL;
	const char *text;
	size_t at = 0;
	int status = 0;

	if (!options_has(given, file) && !options_has(given, "allow"))
		return 0;
	if (options_has(given, file))
		status = read_policy(ctl, options_text(given, file), &made);
	if (status == 0 && !made)
		made = message_new(&hearth__v1__egress_policy__descriptor);
	while (status == 0 && (text = options_next(given, "allow", &at)))
		status = read_allow(ctl, made, text);
	if (status)
		return status;
	if (*policy)
		message_free(*policy);
	*policy = take_ptr(made);
	return 0;
}
