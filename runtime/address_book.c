/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/address_book.h"

#include "base/lock.h"

#include <assert.h>
#include <string.h>
#include <uthash.h>

enum {
	NUMBER_BYTES = 8, /* of an address, counted in */
};

typedef struct AddressKey {
	uint8_t kind;
	uint8_t address[ADDRESS_BYTES];
} AddressKey;

typedef struct Leased {
	AddressKey key;
	UT_hash_handle hh;
} Leased;

struct AddressBook {
	AddressRange ranges[ADDRESS_KIND_COUNT_];
	Lock lock;
	Leased *out;                         /* under lock */
	uint64_t next[ADDRESS_KIND_COUNT_];  /* under lock: where to look first */
	uint64_t count[ADDRESS_KIND_COUNT_]; /* under lock: how many of its range are out */
};

static const size_t sizes[] = {
	[ADDRESS_IPV4] = 4,
	[ADDRESS_IPV6] = 16,
	[ADDRESS_MAC] = 6,
};
static_assert(array_size(sizes) == ADDRESS_KIND_COUNT_, "a size for every kind");

AddressBook *address_book_new(const AddressRange ranges[static ADDRESS_KIND_COUNT_])
{
	AddressBook *book = new0(AddressBook);

	memcpy(book->ranges, ranges, sizeof book->ranges);
	lock_init(&book->lock);
	return book;
}

/* The bytes of @address that addresses of its kind are counted in. */
static uint64_t number_of(AddressKind kind, const uint8_t *address)
{
	size_t size = sizes[kind], counted = size < NUMBER_BYTES ? size : NUMBER_BYTES;
	uint64_t number = 0;

	for (size_t i = size - counted; i < size; i++)
		number = number << 8 | address[i];
	return number;
}

/* Is it one that the book gives by itself? */
static bool is_given(const AddressBook *book, const AddressKey *key)
{
	const AddressRange *range = &book->ranges[key->kind];
	size_t size = sizes[key->kind];

	if (size > NUMBER_BYTES && memcmp(key->address, range->first, size - NUMBER_BYTES) != 0)
		return false;
	return number_of(key->kind, key->address) - number_of(key->kind, range->first) <
	       range->count;
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
void address_book_free(AddressBook *book)
{
	Leased *leased, *following;

	if (!book)
		return;
	HASH_ITER(hh, book->out, leased, following)
	{
		HASH_DEL(book->out, leased);
		free(leased);
	}
	free(book);
}

static Leased *find(AddressBook *book, const AddressKey *key) lock_requires(book->lock)
{
	Leased *leased;

	HASH_FIND(hh, book->out, key, sizeof *key, leased);
	return leased;
}

static void add(AddressBook *book, const AddressKey *key) lock_requires(book->lock)
{
	Leased *leased = new0(Leased);

	leased->key = *key;
	HASH_ADD(hh, book->out, key, sizeof leased->key, leased);
	book->count[key->kind] += is_given(book, key);
}

static void drop(AddressBook *book, Leased *leased) lock_requires(book->lock)
{
	if (!leased)
		return;
	HASH_DEL(book->out, leased);
	book->count[leased->key.kind] -= is_given(book, &leased->key);
}
/* NOLINTEND(readability-function-*) */

/* The @number-th address of @kind. */
static AddressKey key_at(const AddressBook *book, AddressKind kind, uint64_t number)
{
	AddressKey key = { .kind = (uint8_t)kind };
	size_t size = sizes[kind], counted = size < NUMBER_BYTES ? size : NUMBER_BYTES;

	memcpy(key.address, book->ranges[kind].first, sizeof key.address);
	for (size_t i = 0; i < counted && number; i++) {
		uint8_t *at = &key.address[size - 1 - i];

		number += *at;
		*at = (uint8_t)number;
		number >>= 8;
	}
	return key;
}

bool address_book_gives(const AddressBook *book, AddressKind kind)
{
	return book->ranges[kind].count > 0;
}

void address_book_count(AddressBook *book, AddressKind kind, uint64_t *most, uint64_t *out)
{
	*most = book->ranges[kind].count;
	lock_take(&book->lock);
	*out = book->count[kind];
	lock_drop(&book->lock);
}

int address_take(AddressBook *book, AddressKind kind, uint8_t ret[static ADDRESS_BYTES])
{
	uint64_t count = book->ranges[kind].count;
	int r = -ENOSPC;

	lock_take(&book->lock);
	for (uint64_t tried = 0; tried < count && r < 0; tried++) {
		AddressKey key = key_at(book, kind, book->next[kind]);

		book->next[kind] = book->next[kind] + 1 == count ? 0 : book->next[kind] + 1;
		if (find(book, &key))
			continue;
		add(book, &key);
		memcpy(ret, key.address, sizeof key.address);
		r = 0;
	}
	lock_drop(&book->lock);
	return r;
}

static AddressKey key_of(AddressKind kind, const uint8_t *address)
{
	AddressKey key = { .kind = (uint8_t)kind };

	memcpy(key.address, address, sizeof key.address);
	return key;
}

int address_claim(AddressBook *book, AddressKind kind, const uint8_t address[static ADDRESS_BYTES])
{
	AddressKey key = key_of(kind, address);
	int r = -EEXIST;

	lock_take(&book->lock);
	if (!find(book, &key)) {
		add(book, &key);
		r = 0;
	}
	lock_drop(&book->lock);
	return r;
}

void address_return(AddressBook *book, AddressKind kind,
		    const uint8_t address[static ADDRESS_BYTES])
{
	AddressKey key = key_of(kind, address);
	Leased *leased;

	lock_take(&book->lock);
	leased = find(book, &key);
	drop(book, leased);
	lock_drop(&book->lock);
	free(leased);
}
