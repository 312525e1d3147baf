#include "timed.h"
#include <errno.h>
#include <poll.h>
#include <purlin/context.h>

static int setup(Sockbuf_IO_Desc *layer, void *deadline_ms) {
  layer->sbiod_pvt = deadline_ms;
  return 0;
}

static int nothing_left(Sockbuf_IO_Desc *layer) {
  layer->sbiod_pvt = NULL;
  return 0;
}

static int control(Sockbuf_IO_Desc *layer, int option, void *argument) {
  return LBER_SBIOD_CTRL_NEXT(layer, option, argument);
}

/* Until the socket is ready. */
static bool wait_until_ready(const Sockbuf_IO_Desc *layer, short what) {
  const uint64_t *deadline_ms = layer->sbiod_pvt;
  struct pollfd ready = {.fd = -1, .events = what};
  if (ber_sockbuf_ctrl(layer->sbiod_sb, LBER_SB_OPT_GET_FD, &ready.fd) != 1)
    return true; /* the next layer says what is wrong */
  for (;;) {
    uint64_t now = purlin_ticks_ns() / 1000000, left = *deadline_ms > now ? *deadline_ms - now : 0;
    int count =
        left || what == POLLOUT ? poll(&ready, 1, (int)(left < 60000 ? left : 60000)) : 0; /* a goodbye may still go */
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) return true;
    if (count == 0) break;
  }
  errno = ETIMEDOUT;
  return false;
}

static ber_slen_t read_in_time(Sockbuf_IO_Desc *layer, void *bytes, ber_len_t size) {
  return wait_until_ready(layer, POLLIN) ? LBER_SBIOD_READ_NEXT(layer, bytes, size) : -1;
}

static ber_slen_t write_in_time(Sockbuf_IO_Desc *layer, void *bytes, ber_len_t size) {
  return wait_until_ready(layer, POLLOUT) ? LBER_SBIOD_WRITE_NEXT(layer, bytes, size) : -1;
}

bool timed_begin(Sockbuf *socket_buffer, const uint64_t *deadline_ms) {
  static Sockbuf_IO functions = {setup, nothing_left, control, read_in_time, write_in_time, nothing_left};
  /* Above the socket, below TLS. */
  return ber_sockbuf_add_io(socket_buffer, &functions, LBER_SBIOD_LEVEL_PROVIDER + 5, (void *)(uintptr_t)deadline_ms) == 0;
}
