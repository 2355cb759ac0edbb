/*
 * A disk that is full on demand: files below one directory can be read and written where they
 * have space already, as on a real one, but do not grow. Loaded with LD_PRELOAD into the server.
 * Works for every user, and needs no privileges.
 *
 *   FULL_DISK_CONTROL  a file that names the directory as long as it is full, and is not there
 *                      otherwise
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Whether the disk is full that a file stands on. */
static int stands_on_full_disk(int fd) {
    const char *control = getenv("FULL_DISK_CONTROL");
    char directory[PATH_MAX], path[PATH_MAX], link[64];
    if (!control) return 0;
    int orders = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    if (orders < 0) return 0;
    ssize_t length = syscall(SYS_read, orders, directory, sizeof directory - 1);
    syscall(SYS_close, orders);
    if (length <= 0) return 0;
    directory[length] = '\0';
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t found = readlink(link, path, sizeof path - 1);
    if (found < 0) return 0;
    path[found] = '\0';
    return strncmp(path, directory, (size_t)length) == 0 && path[length] == '/';
}

/* Whether there is no space for this file to reach so far; errno is as before if there is. */
static int refuses(int fd, off_t end) {
    int saved = errno;
    struct stat file;
    int full = stands_on_full_disk(fd) && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
               end > file.st_size;
    errno = full ? ENOSPC : saved;
    return full;
}

static off_t total(const struct iovec *parts, int count) {
    off_t bytes = 0;
    for (int part = 0; part < count; part++) bytes += (off_t)parts[part].iov_len;
    return bytes;
}

ssize_t write(int fd, const void *data, size_t length) {
    off_t from = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (from >= 0 && refuses(fd, from + (off_t)length)) return -1;
    return syscall(SYS_write, fd, data, length);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    if (refuses(fd, offset + (off_t)length)) return -1;
    return syscall(SYS_pwrite64, fd, data, length, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    return pwrite(fd, data, length, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    if (refuses(fd, offset + total(parts, count))) return -1;
    return syscall(SYS_pwritev, fd, parts, count, offset, 0);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return pwritev(fd, parts, count, offset);
}

/* These answer the number of the error. */
int posix_fallocate(int fd, off_t offset, off_t length) {
    if (refuses(fd, offset + length)) return ENOSPC;
    return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    return posix_fallocate(fd, offset, length);
}
