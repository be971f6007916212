/*
 * A power cut for one directory tree, as a library to be preloaded.
 *
 * The strictest reading of POSIX: a file holds after the cut what it held at its last fsync, and a
 * directory names after the cut what it named at its own last fsync. So for each successful fsync or
 * fdatasync below POWERCUT_SOURCE this writes, into POWERCUT_IMAGE,
 *
 *   i/<inode>   the content of the file
 *   d/<inode>   the directory: lines of "<f|d> <inode> <name>"
 *   k/<inode>   a hard link to the file, so that no inode number is used twice
 *
 * The test kills the process and builds the tree that the cut would have left from these.
 *
 * POWERCUT_FAIL_AFTER=<n>: after n of them, every further one fails with EIO.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int (*sync_call)(int);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long synced;

static int is_watched(int fd)
{
    const char *source = getenv("POWERCUT_SOURCE");
    char link[64], path[PATH_MAX];
    ssize_t length;
    size_t prefix;

    if (!source || !getenv("POWERCUT_IMAGE"))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    prefix = strlen(source);
    return strncmp(path, source, prefix) == 0 && (path[prefix] == '/' || path[prefix] == 0);
}

/* Opens the draft of an image; publish() gives it its name, so that a kill leaves old or new. */
static int draft(char kind, ino_t inode, char *path)
{
    snprintf(path, PATH_MAX, "%s/%c/%lu.draft", getenv("POWERCUT_IMAGE"), kind, (unsigned long)inode);
    return open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
}

static void publish(int out, const char *path)
{
    char name[PATH_MAX];

    close(out);
    snprintf(name, sizeof name, "%.*s", (int)(strlen(path) - strlen(".draft")), path);
    rename(path, name);
}

static void put(int out, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(out, bytes, length);
        if (written <= 0)
            abort();
        bytes += written;
        length -= written;
    }
}

static void keep_file(int fd, ino_t inode)
{
    char link_path[64], path[PATH_MAX], kept[PATH_MAX], buffer[1 << 16];
    int in, out;
    ssize_t got;

    snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
    snprintf(kept, sizeof kept, "%s/k/%lu", getenv("POWERCUT_IMAGE"), (unsigned long)inode);
    if (linkat(AT_FDCWD, link_path, AT_FDCWD, kept, AT_SYMLINK_FOLLOW) && errno != EEXIST && errno != ENOENT)
        abort();
    in = open(link_path, O_RDONLY);
    out = draft('i', inode, path);
    if (in < 0 || out < 0)
        abort();
    while ((got = read(in, buffer, sizeof buffer)) > 0)
        put(out, buffer, got);
    close(in);
    publish(out, path);
}

static void keep_directory(int fd, ino_t inode)
{
    char path[PATH_MAX], line[PATH_MAX + 64];
    struct dirent *entry;
    int out = draft('d', inode, path), again = openat(fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *dir = again < 0 ? NULL : fdopendir(again);

    if (out < 0 || !dir)
        abort();
    while ((entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(line, sizeof line, "%c %lu %s\n", entry->d_type == DT_DIR ? 'd' : 'f',
                 (unsigned long)entry->d_ino, entry->d_name);
        put(out, line, strlen(line));
    }
    closedir(dir);
    publish(out, path);
}

static int sync_and_keep(const char *name, int fd)
{
    sync_call real = (sync_call)dlsym(RTLD_NEXT, name);
    const char *limit = getenv("POWERCUT_FAIL_AFTER");
    struct stat status;
    int result;

    if (!is_watched(fd) || fstat(fd, &status))
        return real(fd);
    pthread_mutex_lock(&lock);
    if (limit && synced >= atol(limit)) {
        pthread_mutex_unlock(&lock);
        errno = EIO;
        return -1;
    }
    result = real(fd);
    if (result == 0) {
        synced++;
        if (S_ISREG(status.st_mode))
            keep_file(fd, status.st_ino);
        else if (S_ISDIR(status.st_mode))
            keep_directory(fd, status.st_ino);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd)
{
    return sync_and_keep("fsync", fd);
}

int fdatasync(int fd)
{
    return sync_and_keep("fdatasync", fd);
}
