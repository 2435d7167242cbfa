/*
 * LD_PRELOAD: writes down how much of each file is surely on the disk, so that a test can play a power cut by cutting
 * files back to that. A line "<inode> <size>" goes to HAULOUT_SYNC_JOURNAL when fsync or fdatasync has succeeded (the
 * size before the call), and with size 0 when a file is made. It suffices for LevelDB, whose files only ever grow;
 * making, renaming and removing files is taken for durable. Syncing a file whose path ends with HAULOUT_SYNC_IGNORE does
 * nothing: the disk that lies, to prove that the test can fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int journal = -1;
static const char *ignore;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("HAULOUT_SYNC_JOURNAL");
  if (path != NULL) journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  ignore = getenv("HAULOUT_SYNC_IGNORE");
}

static void note(unsigned long long inode, long long size) {
  char line[64];
  int length = snprintf(line, sizeof line, "%llu %lld\n", inode, size);
  if (journal >= 0 && write(journal, line, length) != length) abort();
}

static int is_ignored(int fd) {
  char link[64], path[4096];
  if (ignore == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  size_t end = strlen(ignore);
  return length >= (ssize_t)end && memcmp(path + length - end, ignore, end) == 0;
}

static int sync_with(const char *name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  struct stat before;
  if (is_ignored(fd)) return 0;
  int known = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
  int result = real(fd);
  if (result == 0 && known) note(before.st_ino, before.st_size);
  return result;
}

int fsync(int fd) { return sync_with("fsync", fd); }
int fdatasync(int fd) { return sync_with("fdatasync", fd); }

static FILE *open_with(const char *name, const char *path, const char *mode) {
  FILE *(*real)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, name);
  FILE *file = real(path, mode);
  struct stat made;
  if (file != NULL && mode[0] == 'w' && fstat(fileno(file), &made) == 0) note(made.st_ino, 0);
  return file;
}

FILE *fopen(const char *path, const char *mode) { return open_with("fopen", path, mode); }
FILE *fopen64(const char *path, const char *mode) { return open_with("fopen64", path, mode); }
