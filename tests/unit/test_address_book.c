/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/address_book.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static AddressBook *book;

/* 10.0.0.254 and three behind it; no IPv6; ten MACs. */
static void setup(void)
{
	static const AddressRange ranges[ADDRESS_KIND_COUNT_] = {
		[ADDRESS_IPV4] = { { 10, 0, 0, 254 }, 4 },
		[ADDRESS_MAC] = { { 2, 0, 0, 0, 0xff, 0xff }, 10 },
	};

	book = address_book_new(ranges);
}

static void teardown(void)
{
	address_book_free(book);
}

TestSuite(address_book, .init = setup, .fini = teardown);

static void take(AddressKind kind, const uint8_t *bytes, size_t count)
{
	uint8_t address[ADDRESS_BYTES];

	cr_assert_eq(address_take(book, kind, address), 0);
	cr_assert_eq(memcmp(address, bytes, count), 0, "%d.%d.%d.%d", address[0], address[1],
		     address[2], address[3]);
	for (size_t i = count; i < sizeof address; i++)
		cr_assert_eq(address[i], 0);
}

Test(address_book, addresses_are_counted_over_the_end_of_a_byte)
{
	take(ADDRESS_IPV4, (uint8_t[]){ 10, 0, 0, 254 }, 4);
	take(ADDRESS_IPV4, (uint8_t[]){ 10, 0, 0, 255 }, 4);
	take(ADDRESS_IPV4, (uint8_t[]){ 10, 0, 1, 0 }, 4);
	take(ADDRESS_MAC, (uint8_t[]){ 2, 0, 0, 0, 0xff, 0xff }, 6);
	take(ADDRESS_MAC, (uint8_t[]){ 2, 0, 0, 1, 0, 0 }, 6);
}

Test(address_book, one_that_comes_back_rests_until_the_others_are_out)
{
	const uint8_t first[ADDRESS_BYTES] = { 10, 0, 0, 254 };
	uint8_t address[ADDRESS_BYTES];

	take(ADDRESS_IPV4, first, 4);
	address_return(book, ADDRESS_IPV4, first);
	take(ADDRESS_IPV4, (uint8_t[]){ 10, 0, 0, 255 }, 4);
	take(ADDRESS_IPV4, (uint8_t[]){ 10, 0, 1, 0 }, 4);
	take(ADDRESS_IPV4, (uint8_t[]){ 10, 0, 1, 1 }, 4);
	take(ADDRESS_IPV4, first, 4);

	cr_assert_eq(address_take(book, ADDRESS_IPV4, address), -ENOSPC);
}

static uint64_t count_out(AddressKind kind)
{
	uint64_t most, out;

	address_book_count(book, kind, &most, &out);
	return out;
}

Test(address_book, counted_are_those_that_it_would_give)
{
	const uint8_t below[ADDRESS_BYTES] = { 10, 0, 0, 253 },
		      last[ADDRESS_BYTES] = { 10, 0, 1, 1 };
	const uint8_t above[ADDRESS_BYTES] = { 10, 0, 1, 2 };

	cr_assert_eq(address_claim(book, ADDRESS_IPV4, below), 0);
	cr_assert_eq(address_claim(book, ADDRESS_IPV4, above), 0);
	cr_assert_eq(address_claim(book, ADDRESS_IPV6, below), 0);
	cr_assert_eq(count_out(ADDRESS_IPV4), 0);
	cr_assert_eq(address_claim(book, ADDRESS_IPV4, last), 0);
	cr_assert_eq(count_out(ADDRESS_IPV4), 1);
	address_return(book, ADDRESS_IPV4, above);
	cr_assert_eq(count_out(ADDRESS_IPV4), 1);
	address_return(book, ADDRESS_IPV4, last);

	cr_assert_eq(count_out(ADDRESS_IPV4), 0);
	cr_assert_eq(count_out(ADDRESS_IPV6), 0);
}

Test(address_book, one_that_is_claimed_is_passed_over_and_not_claimed_twice)
{
	const uint8_t first[ADDRESS_BYTES] = { 10, 0, 0, 254 };
	const uint8_t outside[ADDRESS_BYTES] = { 192, 0, 2, 1 };

	cr_assert_eq(address_claim(book, ADDRESS_IPV4, first), 0);
	cr_assert_eq(address_claim(book, ADDRESS_IPV4, first), -EEXIST);
	cr_assert_eq(address_claim(book, ADDRESS_IPV4, outside), 0);
	cr_assert_eq(address_claim(book, ADDRESS_IPV4, outside), -EEXIST);

	take(ADDRESS_IPV4, (uint8_t[]){ 10, 0, 0, 255 }, 4);
}

Test(address_book, kinds_do_not_stand_in_each_others_way)
{
	const uint8_t same[ADDRESS_BYTES] = { 10, 0, 0, 254 };

	cr_assert_eq(address_claim(book, ADDRESS_IPV4, same), 0);
	cr_assert_eq(address_claim(book, ADDRESS_IPV6, same), 0);
}

Test(address_book, a_kind_without_addresses_gives_none)
{
	uint8_t address[ADDRESS_BYTES];

	cr_assert(address_book_gives(book, ADDRESS_IPV4));
	cr_assert_not(address_book_gives(book, ADDRESS_IPV6));
	cr_assert_eq(address_take(book, ADDRESS_IPV6, address), -ENOSPC);
}

Test(address_book, what_is_not_out_can_be_returned)
{
	const uint8_t first[ADDRESS_BYTES] = { 10, 0, 0, 254 };

	address_return(book, ADDRESS_IPV4, first);

	take(ADDRESS_IPV4, first, 4);
}
