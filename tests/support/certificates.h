/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Certificates and keys of the tests' own, as files in PEM. */

#include "base/cleanup.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

typedef struct Issued {
	char *certificate, *key; /* paths */
	X509 *x509;
	EVP_PKEY *secret;
} Issued;

static inline void issued_clear(Issued *issued)
{
	free(issued->certificate);
	free(issued->key);
	X509_free(issued->x509);
	EVP_PKEY_free(issued->secret);
}

static inline void certificate_extend(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	cr_assert_not_null(extension, "%s", value);
	cr_assert_eq(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static inline void issued_write(Issued *issued, const char *dir, const char *name)
{
	FILE *file;

	issued->certificate = text_printf("%s/%s.crt", dir, name);
	issued->key = text_printf("%s/%s.key", dir, name);
	file = fopen(issued->certificate, "w");
	cr_assert(file && PEM_write_X509(file, issued->x509) == 1 && fclose(file) == 0);
	file = fopen(issued->key, "w");
	cr_assert(file &&
		  PEM_write_PrivateKey(file, issued->secret, NULL, NULL, 0, NULL, NULL) == 1 &&
		  fclose(file) == 0);
}

/* @by NULL: it vouches for itself, and may for others. @alternatives: as openssl has them, or NULL.
 */
static inline Issued issue(const char *dir, const char *name, const char *alternatives,
			   const Issued *by)
{
	Issued issued = { .x509 = X509_new(), .secret = EVP_EC_gen("P-256") };
	X509_NAME *subject = X509_get_subject_name(issued.x509);

	(void)X509_set_version(issued.x509, X509_VERSION_3);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(issued.x509), by ? 2 : 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(issued.x509), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(issued.x509), 3600);
	(void)X509_set_pubkey(issued.x509, issued.secret);
	(void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name,
					 -1, -1, 0);
	(void)X509_set_issuer_name(issued.x509, by ? X509_get_subject_name(by->x509) : subject);
	if (!by)
		certificate_extend(issued.x509, NID_basic_constraints, "critical,CA:TRUE");
	if (alternatives)
		certificate_extend(issued.x509, NID_subject_alt_name, alternatives);
	cr_assert_gt(X509_sign(issued.x509, by ? by->secret : issued.secret, EVP_sha256()), 0);
	issued_write(&issued, dir, name);
	return issued;
}
