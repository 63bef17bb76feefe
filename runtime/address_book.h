/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Addresses leased to VMs: which are out, and the next that is free.
 *
 * As with lease.h, the lease itself is in the VM's record. Kinds differ in size
 * only; one that comes back rests until all others have been given. Addresses
 * outside of what the book gives by itself can be claimed as well. Safe from
 * any thread.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	ADDRESS_BYTES = 16,
};

typedef enum AddressKind {
	ADDRESS_IPV4, /* in the first four bytes */
	ADDRESS_IPV6,
	ADDRESS_MAC, /* in the first six */
	ADDRESS_KIND_COUNT_,
} AddressKind;

/* The addresses @first to @first + @count - 1, counted in the last eight bytes of their kind. */
typedef struct AddressRange {
	uint8_t first[ADDRESS_BYTES];
	uint64_t count;
} AddressRange;

typedef struct AddressBook AddressBook;

AddressBook *address_book_new(const AddressRange ranges[static ADDRESS_KIND_COUNT_]);
void address_book_free(AddressBook *book); /* accepts NULL */
DEFINE_CLEANUP(AddressBook *, address_book_free);

/* Are there any of @kind to be taken, free or not? */
bool address_book_gives(const AddressBook *book, AddressKind kind);
/* How many of @kind the book gives by itself, and how many of those are out. */
void address_book_count(AddressBook *book, AddressKind kind, uint64_t *most, uint64_t *out);

/* The next free one: 0, or -ENOSPC. */
int address_take(AddressBook *book, AddressKind kind, uint8_t ret[static ADDRESS_BYTES]) must_check;

/* This one: 0, or -EEXIST. Bytes that its kind has not are to be 0, as with all. */
int address_claim(AddressBook *book, AddressKind kind, const uint8_t address[static ADDRESS_BYTES])
	must_check;

/* Gives it back; one that is not out is passed over. */
void address_return(AddressBook *book, AddressKind kind,
		    const uint8_t address[static ADDRESS_BYTES]);
