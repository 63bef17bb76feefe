/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tls/tls_names.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <ctype.h>
#include <openssl/x509v3.h>
#include <string.h>

static bool is_plain(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isgraph((unsigned char)text[i]))
			return false;
	return length > 0;
}

static void add(TlsNames *ret, const char *kind, const ASN1_STRING *value)
{
	const char *text = (const char *)ASN1_STRING_get0_data(value);
	size_t length = (size_t)ASN1_STRING_length(value);

	if (ret->count == TLS_NAMES_MAX || !is_plain(text, length) ||
	    strlen(kind) + length + 2 > TLS_NAME_MAX)
		return;
	(void)text_append(ret->items[ret->count], ret->items[ret->count] + TLS_NAME_MAX, "%s:%.*s",
			  kind, (int)length, text);
	ret->count++;
}

static void add_alternatives(TlsNames *ret, const GENERAL_NAMES *names)
{
	static const struct {
		int type;
		const char *kind;
	} kinds[] = { { GEN_URI, "uri" }, { GEN_DNS, "dns" }, { GEN_EMAIL, "email" } };

	for (size_t i = 0; i < array_size(kinds); i++)
		for (int k = 0; k < sk_GENERAL_NAME_num(names); k++) {
			const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, k);
			int type;
			const void *value = GENERAL_NAME_get0_value(name, &type);

			if (type == kinds[i].type)
				add(ret, kinds[i].kind, value);
		}
}

static void add_common_name(TlsNames *ret, const X509 *certificate)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	if (at >= 0)
		add(ret, "cn", X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

void tls_names(TlsNames *ret, const X509 *certificate)
{
	GENERAL_NAMES *names;
	int critical;

	*ret = (TlsNames){ .count = 0 };
	if (!certificate)
		return;
	names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
	if (names) {
		add_alternatives(ret, names);
		GENERAL_NAMES_free(names);
	} else if (critical == -1) { /* it has none, rather than one that cannot be read */
		add_common_name(ret, certificate);
	}
}
