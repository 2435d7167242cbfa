/*
 * fan-out, in C: one send() per socket and frame, with nothing around it. Answers the same lines as peer-server.ts.
 * Arguments: bytes of a frame. Owns the comparison line below which no server that writes to sockets gets.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long cpu(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000L + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

int main(int argc, char **argv) {
  int size = argc > 1 ? atoi(argv[1]) : 100, count = 0, on = 1;
  static int sockets[4096];
  char *frame = calloc(1, size), line[256], command[32];
  int server = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  bind(server, (struct sockaddr *)&at, sizeof at);
  listen(server, 1024);
  getsockname(server, (struct sockaddr *)&at, &length);
  fcntl(server, F_SETFL, O_NONBLOCK);
  printf("listening on http://127.0.0.1:%d\n", ntohs(at.sin_port));
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    long number, turns = 0, pieces = 0, every = 0, sent = 0, before;
    sscanf(line, "%ld %31s %ld %ld %ld", &number, command, &turns, &pieces, &every);
    for (int one; count < 4096 && (one = accept(server, 0, 0)) >= 0; sockets[count++] = one)
      setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    before = cpu();
    if (strcmp(command, "fan") == 0) {
      for (long turn = 0; turn < turns; turn++) {
        for (long piece = 0; piece < pieces; piece++)
          for (int i = 0; i < count; i++) sent += send(sockets[i], frame, size, MSG_NOSIGNAL) == size;
        nanosleep(&(struct timespec){.tv_nsec = every * 1000000L}, 0);
      }
      printf("%ld %ld %ld\n", number, sent, cpu() - before);
    } else {
      printf("%ld all\n", number);
    }
    fflush(stdout);
  }
}
