/*
 * The ways to open a file, all of which end in open_file(). Compiled together with each shim.
 */
#define MODE_AFTER(flags)                                 \
    mode_t mode = 0;                                      \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                \
        va_list arguments;                                \
        va_start(arguments, flags);                       \
        mode = (mode_t)va_arg(arguments, unsigned);       \
        va_end(arguments);                                \
    }

int open(const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return open_file(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return open_file(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return open_file(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return open_file(at, path, flags, mode);
}
