/* SPDX-License-Identifier: Apache-2.0 */

/* Threads that take, claim and give back addresses: no two ever hold the same one. */

#include "runtime/address_book.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
	THREADS = 8,
	HELD = 6,       /* by a thread, at most */
	ADDRESSES = 40, /* fewer than all would hold */
	ROUNDS = 20000,
	LAST_BYTE = 3, /* of an address of IPv4 */
};

static AddressBook *book;
static atomic_uint holders[ADDRESSES];
static atomic_uint shared, refused;

static void hold(const uint8_t *address)
{
	if (atomic_fetch_add(&holders[address[LAST_BYTE]], 1))
		atomic_fetch_add(&shared, 1);
}

static void let_go(const uint8_t *address)
{
	atomic_fetch_sub(&holders[address[LAST_BYTE]], 1);
	address_return(book, ADDRESS_IPV4, address);
}

/* The next one, or, as often, one that is asked for. */
static int get(unsigned *seed, uint8_t *ret)
{
	const uint8_t asked[ADDRESS_BYTES] = { 10, 0, 0, (uint8_t)(rand_r(seed) % ADDRESSES) };

	if (rand_r(seed) % 2)
		return address_take(book, ADDRESS_IPV4, ret);
	for (size_t i = 0; i < ADDRESS_BYTES; i++)
		ret[i] = asked[i];
	return address_claim(book, ADDRESS_IPV4, asked);
}

static void *work(void *user)
{
	unsigned *seed = user;
	uint8_t held[HELD][ADDRESS_BYTES];
	size_t count = 0;

	for (int i = 0; i < ROUNDS; i++) {
		if (count == HELD || (count && rand_r(seed) % 3 == 0))
			let_go(held[--count]);
		else if (get(seed, held[count]) == 0)
			hold(held[count++]);
		else
			atomic_fetch_add(&refused, 1);
	}
	while (count)
		let_go(held[--count]);
	return NULL;
}

int main(void)
{
	static const AddressRange ranges[ADDRESS_KIND_COUNT_] = {
		[ADDRESS_IPV4] = { { 10 }, ADDRESSES },
	};
	pthread_t threads[THREADS];
	unsigned seeds[THREADS], left = 0;
	uint8_t address[ADDRESS_BYTES];

	book = address_book_new(ranges);
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i + 1;
		if (pthread_create(&threads[i], NULL, work, &seeds[i]))
			abort();
	}
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	while (address_take(book, ADDRESS_IPV4, address) == 0)
		left++;
	address_book_free(book);

	printf("%u shared, %u of %u left, %u times none\n", shared, left, (unsigned)ADDRESSES,
	       refused);
	return shared || left != ADDRESSES || !refused;
}
