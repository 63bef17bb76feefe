/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/oci_blobs.h"

#include "base/text.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/*
 * All names that an OCI layout has fit into the header of a tar entry, and nothing but a blob of
 * 8 GiB needs more for its size than it has: so the long names and attributes that archives have
 * besides are passed over.
 */

enum {
	TAR_BLOCK = 512,
	MEMBERS_MAX = 16384, /* entries of an archive */
	SMALL_MAX = 4 << 20, /* index, manifest, configuration */
};

/* The header of a tar entry, POSIX.1-1988 "ustar". */
typedef struct TarHeader {
	char name[100];
	char mode[8], uid[8], gid[8];
	char size[12];
	char mtime[12];
	char sum[8];
	char type;
	char link[100];
	char magic[6];
	char rest[249];
} TarHeader;
static_assert(sizeof(TarHeader) == TAR_BLOCK, "a header is a block");

/* A regular file of an archive. */
typedef struct Member {
	char name[sizeof(((TarHeader *)NULL)->name) + 1];
	uint64_t at, size;
} Member;

struct OciBlobs {
	const char *path;
	int fd; /* of the archive, or of the directory */
	bool is_archive;
	Member *members; /* of the archive */
	size_t count;
};

static bool is_header(const TarHeader *header)
{
	return memcmp(header->magic, "ustar", strlen("ustar")) == 0;
}

bool oci_blobs_fit(const char *path)
{
	cleanup_close int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	TarHeader header;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	return S_ISDIR(st.st_mode) ||
	       (S_ISREG(st.st_mode) &&
		disk_read(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
		is_header(&header));
}

/* A number as tar has it: octal digits up to a space or a NUL. 0 or -EINVAL. */
static int parse_octal(uint64_t *ret, const char *text, size_t size)
{
	uint64_t value = 0;
	size_t i = 0;

	while (i < size && text[i] == ' ')
		i++;
	if (i == size || text[i] < '0' || text[i] > '7')
		return -EINVAL;
	for (; i < size && text[i] >= '0' && text[i] <= '7'; i++)
		value = value << 3 | (uint64_t)(text[i] - '0');
	if (i < size && text[i] != ' ' && text[i] != '\0')
		return -EINVAL;
	*ret = value;
	return 0;
}

/* Is the sum of the header's bytes what it says, where the sum itself counts as spaces? */
static bool sum_is_right(const TarHeader *header)
{
	const unsigned char *bytes = (const unsigned char *)header;
	uint64_t said, sum = 0;

	for (size_t i = 0; i < sizeof *header; i++) {
		bool in_sum = i >= offsetof(TarHeader, sum) && i < offsetof(TarHeader, type);

		sum += in_sum ? ' ' : bytes[i];
	}
	return parse_octal(&said, header->sum, sizeof header->sum) == 0 && said == sum;
}

static void add_member(OciBlobs *blobs, const TarHeader *header, uint64_t at, uint64_t size)
{
	Member *member;
	size_t length = strnlen(header->name, sizeof header->name);
	size_t idle = length > 2 && header->name[0] == '.' && header->name[1] == '/' ? 2 : 0;

	if (header->type != '0' && header->type != '\0')
		return;
	blobs->members = must_realloc(blobs->members, blobs->count + 1, sizeof *blobs->members);
	member = &blobs->members[blobs->count++];
	*member = (Member){ .at = at, .size = size };
	memcpy(member->name, header->name + idle, length - idle);
}

/* Takes the entry at *@at in; *@at becomes that of the next one. False at the end. */
static int scan_entry(OciBlobs *blobs, uint64_t *at, uint64_t end, bool *more, Error *err)
{
	static const TarHeader zeros;
	TarHeader header;
	uint64_t size, data = *at + TAR_BLOCK;
	ssize_t n = disk_read(blobs->fd, &header, sizeof header, *at);

	if (n < 0)
		return disk_error(err, (int)-n, "read %s", blobs->path);
	*more = false;
	if (n == 0 || (n == TAR_BLOCK && memcmp(&header, &zeros, sizeof header) == 0))
		return 0;
	if (n < TAR_BLOCK || !is_header(&header) || !sum_is_right(&header) ||
	    parse_octal(&size, header.size, sizeof header.size) < 0 || size > end - data)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT,
				       "%s is no whole tar archive: byte %" PRIu64, blobs->path,
				       *at);
	add_member(blobs, &header, data, size);
	*at = data + (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	*more = *at < end;
	return 0;
}

static int scan_archive(OciBlobs *blobs, Error *err)
{
	struct stat st;
	uint64_t at = 0;
	bool more = true;

	if (fstat(blobs->fd, &st) < 0)
		return disk_error(err, errno, "look at %s", blobs->path);
	for (size_t i = 0; more; i++) {
		if (i == MEMBERS_MAX)
			return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
					       "%s has more than %d entries", blobs->path,
					       MEMBERS_MAX);
		if (scan_entry(blobs, &at, (uint64_t)st.st_size, &more, err) < 0)
			return -1;
	}
	return 0;
}

static const Member *find_member(const OciBlobs *blobs, const char *name)
{
	for (size_t i = 0; i < blobs->count; i++)
		if (strcmp(blobs->members[i].name, name) == 0)
			return &blobs->members[i];
	return NULL;
}

static int find_in_archive(const OciBlobs *blobs, const char *name, OciBlob *ret, Error *err)
{
	const Member *member = find_member(blobs, name);
	int fd;

	if (!member)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT, "%s has no %s",
				       blobs->path, name);
	fd = fcntl(blobs->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return disk_error(err, errno, "open %s", blobs->path);
	*ret = (OciBlob){ .fd = fd, .at = member->at, .size = member->size };
	return 0;
}

static int find_in_dir(const OciBlobs *blobs, const char *name, OciBlob *ret, Error *err)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (disk_open(&fd, blobs->fd, name, err) < 0) {
		if (err->cause == CAUSE_MISSING)
			err->cause = CAUSE_CORRUPT;
		return -1;
	}
	if (fstat(fd, &st) < 0)
		return disk_error(err, errno, "look at %s/%s", blobs->path, name);
	*ret = (OciBlob){ .size = (uint64_t)st.st_size };
	ret->fd = take_fd(fd);
	return 0;
}

static int find(const OciBlobs *blobs, const char *name, OciBlob *ret, Error *err)
{
	return blobs->is_archive ? find_in_archive(blobs, name, ret, err)
				 : find_in_dir(blobs, name, ret, err);
}

/* What was meant to be a layout, and lacks what makes it one. */
static int check_kind(const OciBlobs *blobs, Error *err)
{
	OciBlob blob;
	Error none = { 0 };

	if (find(blobs, "index.json", &blob, &none) == 0) {
		(void)close(blob.fd);
		return 0;
	}
	error_clear(&none);
	if (find(blobs, "manifest.json", &blob, &none) == 0) {
		(void)close(blob.fd);
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s is what an old `docker save` makes: have an OCI layout "
				       "made of it, by `skopeo copy docker-archive:... "
				       "oci-archive:...`",
				       blobs->path);
	}
	return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
			       "%s is neither a raw image nor an OCI image: it has no index.json",
			       blobs->path);
}

int oci_blobs_open(OciBlobs **ret, const char *path, Error *err)
{
	cleanup_(oci_blobs_closep) OciBlobs *blobs = new0(OciBlobs);
	struct stat st;

	blobs->path = path;
	blobs->fd = -1;
	if (lstat(path, &st) < 0)
		return disk_error(err, errno, "open %s", path);
	blobs->is_archive = !S_ISDIR(st.st_mode);
	if ((blobs->is_archive ? disk_open(&blobs->fd, AT_FDCWD, path, err)
			       : disk_open_dir(&blobs->fd, path, err)) < 0)
		return -1;
	if (blobs->is_archive && scan_archive(blobs, err) < 0)
		return -1;
	if (check_kind(blobs, err) < 0)
		return -1;
	*ret = take_ptr(blobs);
	return 0;
}

void oci_blobs_close(OciBlobs *blobs)
{
	if (!blobs)
		return;
	if (blobs->fd >= 0)
		(void)close(blobs->fd);
	free(blobs->members);
	free(blobs);
}

const char *oci_blobs_path(const OciBlobs *blobs)
{
	return blobs->path;
}

int oci_blobs_find(OciBlobs *blobs, const char *digest, OciBlob *ret, Error *err)
{
	cleanup_free char *name = text_printf("blobs/sha256/%s", digest);

	assert(disk_digest_is_valid(digest));
	return find(blobs, name, ret, err);
}

static int verify(const OciBlobs *blobs, const char *digest, const char *bytes, size_t size,
		  Error *err)
{
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	char is[DISK_DIGEST_SIZE];

	disk_hasher_add(hasher, bytes, size);
	disk_hasher_end(hasher, is);
	if (strcmp(is, digest) != 0)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT,
				       "blob %s of %s has SHA-256 %s", digest, blobs->path, is);
	return 0;
}

static int read_blob(const OciBlobs *blobs, const char *name, const OciBlob *blob, char **ret,
		     Error *err)
{
	cleanup_free char *bytes = NULL;
	ssize_t n;

	if (blob->size > SMALL_MAX)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s of %s has %" PRIu64 " bytes, and may have %d", name,
				       blobs->path, blob->size, SMALL_MAX);
	bytes = must_calloc(blob->size + 1, 1);
	n = disk_read(blob->fd, bytes, blob->size, blob->at);
	if (n < 0 || (uint64_t)n != blob->size)
		return disk_error(err, n < 0 ? (int)-n : EIO, "read %s of %s", name, blobs->path);
	*ret = take_ptr(bytes);
	return 0;
}

int oci_blobs_read(OciBlobs *blobs, const char *digest, char **ret, size_t *length, Error *err)
{
	cleanup_free char *name =
		digest ? text_printf("blobs/sha256/%s", digest) : text_dup("index.json");
	cleanup_free char *bytes = NULL;
	OciBlob blob;
	int r;

	if (find(blobs, name, &blob, err) < 0)
		return -1;
	r = read_blob(blobs, name, &blob, &bytes, err);
	(void)close(blob.fd);
	if (r < 0 || (digest && verify(blobs, digest, bytes, blob.size, err) < 0))
		return -1;
	*length = blob.size;
	*ret = take_ptr(bytes);
	return 0;
}
