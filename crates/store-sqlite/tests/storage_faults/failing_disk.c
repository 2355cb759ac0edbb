/*
 * A disk that fails on demand: the files below one directory can be read, but not written any
 * more. Loaded with LD_PRELOAD. Works for every user, root included, and needs no privileges.
 *
 *   FAILING_DIRECTORY  only files below this directory are concerned
 *   FAILING_CONTROL    a file (outside of it) with four numbers, read before each call:
 *                      generation, errno of failing writes (0: none fail), bytes that may still
 *                      be written in this generation, errno of failing syncs (0: none fail)
 *
 * A write that exceeds what is left is cut short, as file systems do, and the next one fails.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static const char *control;
static long generation, bytes_left;

struct orders {
    int write_error;
    int sync_error;
};

__attribute__((constructor)) static void start(void) {
    const char *below = getenv("FAILING_DIRECTORY");
    control = getenv("FAILING_CONTROL");
    if (!below || !control || !realpath(below, directory)) {
        fprintf(stderr, "failing disk: FAILING_DIRECTORY and FAILING_CONTROL are needed\n");
        abort();
    }
    unsetenv("LD_PRELOAD");
}

static struct orders read_orders(void) {
    struct orders orders = {0, 0};
    char text[128];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return orders;
    ssize_t length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (length <= 0) return orders;
    text[length] = '\0';
    long number, bytes;
    if (sscanf(text, "%ld %d %ld %d", &number, &orders.write_error, &bytes, &orders.sync_error) != 4)
        return orders;
    if (number != generation) {
        generation = number;
        bytes_left = bytes;
    }
    return orders;
}

static int is_below(const char *path) {
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

static int concerned(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return is_below(path);
}

/* How many of these bytes may be written; -1 and errno if none. */
static ssize_t allowed(int fd, size_t length) {
    int saved = errno;
    if (!concerned(fd)) {
        errno = saved;
        return (ssize_t)length;
    }
    pthread_mutex_lock(&lock);
    struct orders orders = read_orders();
    ssize_t result = (ssize_t)length;
    if (orders.write_error) {
        if (bytes_left <= 0 && length > 0) result = -1;
        else if ((long)length > bytes_left) result = bytes_left;
        if (result > 0) bytes_left -= result;
    }
    pthread_mutex_unlock(&lock);
    errno = result < 0 ? orders.write_error : saved;
    return result;
}

ssize_t write(int fd, const void *data, size_t length) {
    ssize_t now = allowed(fd, length);
    return now < 0 ? -1 : syscall(SYS_write, fd, data, now);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    ssize_t now = allowed(fd, length);
    return now < 0 ? -1 : syscall(SYS_pwrite64, fd, data, now, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    return pwrite(fd, data, length, offset);
}

static int sync_file(int fd, long call) {
    int saved = errno;
    if (concerned(fd)) {
        pthread_mutex_lock(&lock);
        struct orders orders = read_orders();
        pthread_mutex_unlock(&lock);
        if (orders.sync_error) {
            errno = orders.sync_error;
            return -1;
        }
    }
    errno = saved;
    return (int)syscall(call, fd);
}
int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

/* On a read-only file system, what is to be written can't even be opened. */
static int open_file(int at, const char *path, int flags, mode_t mode) {
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
    if (writes && control && is_below(path)) {
        pthread_mutex_lock(&lock);
        struct orders orders = read_orders();
        pthread_mutex_unlock(&lock);
        if (orders.write_error == EROFS) {
            errno = EROFS;
            return -1;
        }
    }
    return (int)syscall(SYS_openat, at, path, flags, mode);
}
