/*
 * LD_PRELOAD: a disk that stops keeping what it is given. While the file HAULOUT_FAIL_WHILE exists, fsync and fdatasync
 * of a file whose path ends with ".log" fail with EIO, as a dying disk does, without doing anything.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_failing(int fd) {
  const char *flag = getenv("HAULOUT_FAIL_WHILE");
  char link[64], path[4096];
  if (flag == NULL || access(flag, F_OK) != 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  return length >= 4 && memcmp(path + length - 4, ".log", 4) == 0;
}

static int sync_with(const char *name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  if (!is_failing(fd)) return real(fd);
  errno = EIO;
  return -1;
}

int fsync(int fd) { return sync_with("fsync", fd); }
int fdatasync(int fd) { return sync_with("fdatasync", fd); }
