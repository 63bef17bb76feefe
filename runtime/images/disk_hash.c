/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_hash.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

enum {
	PIECE = 256 << 10,        /* stays in the second-level cache between read and hash */
	PROGRESS_EVERY = 8 << 20, /* bytes */
};

struct DiskHasher {
	EVP_MD_CTX *context;
};

bool disk_digest_is_valid(const char *text)
{
	return strlen(text) == DISK_DIGEST_SIZE - 1 &&
	       strspn(text, "0123456789abcdef") == DISK_DIGEST_SIZE - 1;
}

DiskHasher *disk_hasher_new(void)
{
	DiskHasher *hasher = new0(DiskHasher);

	/* It has SHA-256 or no memory; as without memory anywhere, the agent ends. */
	hasher->context = EVP_MD_CTX_new();
	if (!hasher->context || !EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL))
		abort();
	return hasher;
}

void disk_hasher_free(DiskHasher *hasher)
{
	if (!hasher)
		return;
	EVP_MD_CTX_free(hasher->context);
	free(hasher);
}

void disk_hasher_add(DiskHasher *hasher, const void *bytes, size_t size)
{
	int ok = EVP_DigestUpdate(hasher->context, bytes, size);

	assert(ok);
	(void)ok;
}

void disk_hasher_add_zeros(DiskHasher *hasher, uint64_t size)
{
	static const char zeros[64 << 10];

	while (size) {
		size_t n = size < sizeof zeros ? (size_t)size : sizeof zeros;

		disk_hasher_add(hasher, zeros, n);
		size -= n;
	}
}

void disk_hasher_end(DiskHasher *hasher, char ret[static DISK_DIGEST_SIZE])
{
	unsigned char sum[(DISK_DIGEST_SIZE - 1) / 2];
	unsigned length = sizeof sum;
	int ok = EVP_DigestFinal_ex(hasher->context, sum, &length);

	assert(ok && length == sizeof sum);
	(void)ok;
	for (size_t i = 0; i < sizeof sum; i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", sum[i]);
}

typedef struct Reading {
	DiskHasher *hasher;
	char *piece;
	int fd;
	uint64_t done, total, told;
	const DiskProgress *progress;
} Reading;

static int tell(Reading *reading)
{
	if (reading->done - reading->told < PROGRESS_EVERY)
		return 0;
	reading->told = reading->done;
	return disk_progress(reading->progress, reading->done, reading->total);
}

static int add_hole(Reading *reading, uint64_t until)
{
	int r = 0;

	while (r == 0 && reading->done < until) {
		uint64_t left = until - reading->done;
		uint64_t n = left < PROGRESS_EVERY ? left : PROGRESS_EVERY;

		disk_hasher_add_zeros(reading->hasher, n);
		reading->done += n;
		r = tell(reading);
	}
	return r;
}

static int add_data(Reading *reading, uint64_t until)
{
	int r = 0;

	while (r == 0 && reading->done < until) {
		uint64_t left = until - reading->done;
		ssize_t n = disk_read(reading->fd, reading->piece, left < PIECE ? left : PIECE,
				      reading->done);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		disk_hasher_add(reading->hasher, reading->piece, (size_t)n);
		reading->done += (uint64_t)n;
		r = tell(reading);
	}
	return r;
}

static int read_all(Reading *reading)
{
	int r = 0;

	while (r == 0 && reading->done < reading->total) {
		uint64_t data[2] = { 0 };

		r = disk_next_data(data, reading->fd, reading->done, reading->total);
		if (r == 0)
			r = add_hole(reading, data[0]);
		if (r == 0)
			r = add_data(reading, data[1]);
	}
	return r;
}

int disk_hash(char ret[static DISK_DIGEST_SIZE], int fd, const char *path,
	      const DiskProgress *progress, Error *err)
{
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	cleanup_free char *piece = must_realloc(NULL, PIECE, 1);
	Reading reading = { .hasher = hasher, .piece = piece, .fd = fd, .progress = progress };
	struct stat st;
	int r = fstat(fd, &st) < 0 ? -errno : 0;

	if (r == 0) {
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		reading.total = (uint64_t)st.st_size;
		r = read_all(&reading);
	}
	if (r < 0)
		return disk_error(err, -r, "read %s", path);
	disk_hasher_end(hasher, ret);
	return 0;
}
