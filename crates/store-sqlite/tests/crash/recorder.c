/*
 * Records, in one global order, every call by which a process changes the
 * durable state of the files below one directory. Loaded with LD_PRELOAD.
 *
 *   CRASH_RECORD_DIRECTORY  only files below this directory are recorded
 *   CRASH_RECORD_FILE       where the records go (must lie outside of it)
 *
 * Each call and its record happen under one lock, so the order of the records
 * is an order in which the calls really took effect; a sync therefore covers
 * exactly the writes recorded before it.
 *
 * The real work is done with raw system calls, which needs no symbol look-up
 * and so works however early a call arrives. A call that could change a
 * recorded file but has no record kind stops the process: a recording with a
 * silent gap would produce crash images that never could have existed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Shared with recording.rs: magic, then records of header, name, data. */
static const char MAGIC[8] = {'C', 'R', 'A', 'S', 'H', 'R', '0', '1'};
enum kind { CREATE = 1, WRITE = 2, TRUNCATE = 3, SYNC = 4, UNLINK = 5, RENAME = 6 };
struct header {
    uint32_t kind;
    uint32_t name_length;
    uint64_t offset; /* WRITE: file offset; TRUNCATE: new length */
    uint64_t data_length;
};

#define DESCRIPTORS 4096
static char *names[DESCRIPTORS]; /* name of each recorded descriptor, or NULL */
static char directory[PATH_MAX];
static size_t directory_length;
static int recording = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void stop(const char *why, const char *what) {
    fprintf(stderr, "crash recorder: %s: %s\n", why, what);
    abort();
}

static void put(const void *data, size_t length) {
    const char *next = data;
    while (length > 0) {
        long written = syscall(SYS_write, recording, next, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) stop("cannot write the recording", strerror(errno));
        next += written;
        length -= (size_t)written;
    }
}

static void append(enum kind kind, const char *name, uint64_t offset, const void *data,
                   size_t length) {
    int saved = errno;
    struct header header = {kind, (uint32_t)strlen(name), offset, length};
    put(&header, sizeof header);
    put(name, header.name_length);
    put(data, length);
    errno = saved;
}

__attribute__((constructor)) static void start(void) {
    const char *below = getenv("CRASH_RECORD_DIRECTORY");
    const char *file = getenv("CRASH_RECORD_FILE");
    if (!below || !file) return;
    if (!realpath(below, directory)) stop("cannot resolve", below);
    directory_length = strlen(directory);
    recording = (int)syscall(SYS_openat, AT_FDCWD, file,
                             O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (recording < 0) stop("cannot create", file);
    put(MAGIC, sizeof MAGIC);
    unsetenv("LD_PRELOAD"); /* a child must not truncate this recording */
}

/* The name below the directory, "." for itself, NULL if it is not recorded. */
static const char *name_below(const char *path) {
    if (strncmp(path, directory, directory_length) != 0) return NULL;
    path += directory_length;
    if (*path == '\0') return ".";
    if (*path++ != '/') return NULL;
    size_t length = strlen(path);
    /* Shared memory of SQLite: rebuilt by every recovery, never durable. */
    if (length >= 4 && strcmp(path + length - 4, "-shm") == 0) return NULL;
    return path;
}

/* As name_below, for a path whose last component need not exist. */
static const char *name_of(const char *path, char *resolved) {
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (recording < 0 || length + 1 >= sizeof parent) return NULL;
    memcpy(parent, path, length);
    strcpy(parent + length, slash ? "/" : ".");
    if (!realpath(parent, resolved)) return NULL;
    const char *base = slash ? slash + 1 : path;
    if (strlen(resolved) + strlen(base) + 2 > PATH_MAX) return NULL;
    strcat(strcat(resolved, "/"), base);
    return name_below(resolved);
}

static const char *recorded(int fd) {
    return fd >= 0 && fd < DESCRIPTORS ? names[fd] : NULL;
}

static void track(int fd, int flags, int existed) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) stop("cannot read", link);
    path[length] = '\0';
    const char *name = name_below(path);
    if (!name) return;
    if (fd >= DESCRIPTORS) stop("descriptor out of range for", name);
    if (flags & (O_DSYNC | O_DIRECT)) stop("O_SYNC, O_DSYNC, O_DIRECT are not modelled", name);
    free(names[fd]);
    names[fd] = strdup(name);
    if ((flags & O_CREAT) && !existed) append(CREATE, name, 0, NULL, 0);
    else if (flags & O_TRUNC) append(TRUNCATE, name, 0, NULL, 0);
}

static int open_file(int at, const char *path, int flags, mode_t mode) {
    if (recording < 0) return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat status;
    int existed = fstatat(at, path, &status, 0) == 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    int saved = errno;
    if (fd >= 0) track(fd, flags, existed);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return fd;
}

int creat(const char *path, mode_t mode) {
    return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    if (recorded(fd)) {
        free(names[fd]);
        names[fd] = NULL;
    }
    return (int)syscall(SYS_close, fd);
}

/* Runs the call; under the lock and with a record if fd is a recorded file. */
#define RECORDED_CALL(type, fd, call, succeeded, record)  \
    const char *name = recorded(fd);                      \
    if (!name) return (type)(call);                       \
    pthread_mutex_lock(&lock);                            \
    type result = (type)(call);                           \
    if (succeeded) record;                                \
    pthread_mutex_unlock(&lock);                          \
    return result;

ssize_t write(int fd, const void *data, size_t length) {
    /* The position afterwards is right with and without O_APPEND. */
    RECORDED_CALL(ssize_t, fd, syscall(SYS_write, fd, data, length), result > 0,
                  append(WRITE, name, (uint64_t)(lseek(fd, 0, SEEK_CUR) - result), data,
                         (size_t)result))
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    RECORDED_CALL(ssize_t, fd, syscall(SYS_pwrite64, fd, data, length, offset), result > 0,
                  append(WRITE, name, (uint64_t)offset, data, (size_t)result))
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    return pwrite(fd, data, length, offset);
}
int ftruncate(int fd, off_t length) {
    RECORDED_CALL(int, fd, syscall(SYS_ftruncate, fd, length), result == 0,
                  append(TRUNCATE, name, (uint64_t)length, NULL, 0))
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }
int fsync(int fd) {
    RECORDED_CALL(int, fd, syscall(SYS_fsync, fd), result == 0, append(SYNC, name, 0, NULL, 0))
}
int fdatasync(int fd) {
    RECORDED_CALL(int, fd, syscall(SYS_fdatasync, fd), result == 0, append(SYNC, name, 0, NULL, 0))
}

int unlink(const char *path) {
    char resolved[PATH_MAX];
    const char *name = name_of(path, resolved);
    if (!name) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (result == 0) append(UNLINK, name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) {
    char resolved_from[PATH_MAX], resolved_to[PATH_MAX];
    const char *name = name_of(from, resolved_from);
    const char *target = name_of(to, resolved_to);
    if (!name != !target) stop("rename across the edge of the recorded directory", from);
    if (!name) return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0) append(RENAME, name, 0, target, strlen(target));
    pthread_mutex_unlock(&lock);
    return result;
}

/* Calls that change a file in ways the records cannot express. */
#define REFUSED(type, function, parameters, fd, condition, call)               \
    type function parameters {                                                 \
        if (recorded(fd) && (condition)) stop(#function " is not modelled", names[fd]); \
        return (type)(call);                                                   \
    }

REFUSED(ssize_t, writev, (int fd, const struct iovec *parts, int count), fd, 1,
        syscall(SYS_writev, fd, parts, count))
REFUSED(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t offset), fd, 1,
        syscall(SYS_pwritev, fd, parts, count, offset, 0))
REFUSED(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t offset), fd, 1,
        syscall(SYS_pwritev, fd, parts, count, offset, 0))
REFUSED(int, fallocate, (int fd, int mode, off_t offset, off_t length), fd, 1,
        syscall(SYS_fallocate, fd, mode, offset, length))
REFUSED(int, fallocate64, (int fd, int mode, off64_t offset, off64_t length), fd, 1,
        syscall(SYS_fallocate, fd, mode, offset, length))
REFUSED(int, posix_fallocate, (int fd, off_t offset, off_t length), fd, 1,
        syscall(SYS_fallocate, fd, 0, offset, length) ? errno : 0)
REFUSED(int, posix_fallocate64, (int fd, off64_t offset, off64_t length), fd, 1,
        syscall(SYS_fallocate, fd, 0, offset, length) ? errno : 0)
REFUSED(void *, mmap, (void *at, size_t length, int access, int flags, int fd, off_t offset), fd,
        (access & PROT_WRITE) && (flags & MAP_SHARED),
        syscall(SYS_mmap, at, length, access, flags, fd, offset))
REFUSED(void *, mmap64, (void *at, size_t length, int access, int flags, int fd, off64_t offset),
        fd, (access & PROT_WRITE) && (flags & MAP_SHARED),
        syscall(SYS_mmap, at, length, access, flags, fd, offset))
