/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who a certificate says its holder is. */

#include <openssl/x509.h>
#include <stddef.h>

enum {
	TLS_NAME_MAX = 256,
	TLS_NAMES_MAX = 16,
};

/* "uri:spiffe://example.org/x", "dns:agent.example.org", "email:ops@example.org", in this order;
 * or, of a certificate that has none of these, "cn:NAME". */
typedef struct TlsNames {
	char items[TLS_NAMES_MAX][TLS_NAME_MAX];
	size_t count;
} TlsNames;

/* What has unprintable bytes, is longer or is one too many is left out. @certificate may be NULL.
 */
void tls_names(TlsNames *ret, const X509 *certificate);
