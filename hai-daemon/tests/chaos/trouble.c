/* What a machine may do to a program: a clock that somebody sets, and a disk without room.
 *
 * Loaded before libc. TROUBLE_FILE names a file that is looked at anew each time: a 64-bit number, by how many seconds the
 * clock is wrong; another, whether files under a directory can not become longer; and that directory's path in 1024 bytes.
 * As on a real disk what is written over goes well, and so does what goes into room that was set aside. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *trouble(void) {
    static const volatile int64_t *mapped;
    static int tried;
    if (!tried) {
        const char *path = getenv("TROUBLE_FILE");
        int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
        if (fd >= 0) {
            void *at = mmap(NULL, 16 + 1024, PROT_READ, MAP_SHARED, fd, 0);
            mapped = at == MAP_FAILED ? NULL : at;
            close(fd);
        }
        tried = 1;
    }
    return mapped;
}

static int64_t shift(void) {
    const volatile int64_t *known = trouble();
    return known ? known[0] : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = (int)syscall(SYS_clock_gettime, clock, time);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += shift();
    return done;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}

/* Whether a file of ours would have to become longer to end at `end`, and can not. */
static int no_room(int fd, off_t end) {
    const volatile int64_t *known = trouble();
    if (!known || !known[1]) return 0;
    struct stat file;
    if (fstat(fd, &file) || !S_ISREG(file.st_mode)) return 0;
    off_t room = file.st_size > file.st_blocks * 512 ? file.st_size : file.st_blocks * 512;
    if (end <= room) return 0;
    char link[64], path[PATH_MAX];
    strcpy(link, "/proc/self/fd/");
    char digits[16];
    int count = 0;
    for (int rest = fd; rest || !count; rest /= 10) digits[count++] = (char)('0' + rest % 10);
    size_t at = strlen(link);
    while (count) link[at++] = digits[--count];
    link[at] = 0;
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    const char *dir = (const char *)(uintptr_t)(known + 2);
    return *dir && !strncmp(path, dir, strlen(dir));
}

static off_t next_end(int fd, size_t size) {
    struct stat file;
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    if (flags >= 0 && flags & O_APPEND && !fstat(fd, &file)) return file.st_size + (off_t)size;
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : at + (off_t)size;
}

static int full(void) {
    errno = ENOSPC;
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    if (no_room(fd, next_end(fd, size))) return full();
    return syscall(SYS_write, fd, bytes, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    size_t size = 0;
    for (int at = 0; at < count; at++) size += parts[at].iov_len;
    if (no_room(fd, next_end(fd, size))) return full();
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    if (no_room(fd, at + (off_t)size)) return full();
    return syscall(SYS_pwrite64, fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at) {
    return pwrite(fd, bytes, size, at);
}

int fallocate(int fd, int mode, off_t at, off_t size) {
    if (no_room(fd, at + size)) return full();
    return (int)syscall(SYS_fallocate, fd, mode, at, size);
}

int fallocate64(int fd, int mode, off_t at, off_t size) {
    return fallocate(fd, mode, at, size);
}

int posix_fallocate(int fd, off_t at, off_t size) {
    return fallocate(fd, 0, at, size) ? errno : 0;
}

int posix_fallocate64(int fd, off_t at, off_t size) {
    return posix_fallocate(fd, at, size);
}
