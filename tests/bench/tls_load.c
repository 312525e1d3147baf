/* Connections as fast as they can be made: bench_tls_load PORT 1.2|1.3 full|resumed SECONDS. Each makes one request. Prints how many
 * there were, and how many of them resumed a session. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static SSL_SESSION *kept;

static int keep(SSL *ssl, SSL_SESSION *session) {
  (void)ssl;
  SSL_SESSION_free(kept);
  kept = session;
  return 1;
}

static double now_s(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int dial(uint16_t port) {
  const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  const int yes = 1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0 ||
      connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
    perror("connect");
    exit(1);
  }
  return fd;
}

static bool ask(SSL *ssl) {
  static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  char answer[4096];
  bool good = SSL_connect(ssl) == 1 && SSL_write(ssl, request, sizeof request - 1) > 0 &&
              SSL_read(ssl, answer, sizeof answer) > 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0;
  while (good && SSL_read(ssl, answer, sizeof answer) > 0) {}
  return good;
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  bool resume = strcmp(arguments[3], "resumed") == 0;
  uint16_t port = (uint16_t)strtoul(arguments[1], NULL, 10);
  int version = strcmp(arguments[2], "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  if (!context || SSL_CTX_set_min_proto_version(context, version) != 1 ||
      SSL_CTX_set_max_proto_version(context, version) != 1)
    return 1;
  if (SSL_CTX_set1_groups_list(context, "X25519:P-256") != 1) return 1;
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  SSL_CTX_sess_set_new_cb(context, keep);
  size_t made = 0, resumed = 0;
  double end = now_s() + strtod(arguments[4], NULL);
  for (; now_s() < end; made++) {
    int fd = dial(port);
    SSL *ssl = SSL_new(context);
    if (!ssl || SSL_set_fd(ssl, fd) != 1 || (resume && kept && SSL_set_session(ssl, kept) != 1) || !ask(ssl)) {
      (void)fprintf(stderr, "connection %zu failed\n", made);
      ERR_print_errors_fp(stderr);
      return 1;
    }
    resumed += (size_t)SSL_session_reused(ssl);
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
    (void)close(fd);
  }
  (void)printf("%zu %zu\n", made, resumed);
  SSL_SESSION_free(kept);
  SSL_CTX_free(context);
  return 0;
}
