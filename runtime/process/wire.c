#include "process/wire.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

bool wire_add(wire_message *message, const char *text) {
  const char *from = text ? text : "";
  size_t size = strlen(from) + 1;
  if (size > sizeof message->text - message->text_size) return false;
  memcpy(message->text + message->text_size, from, size);
  message->text_size += size;
  return true;
}

const char *wire_next(const wire_message *message, size_t *at) {
  if (*at >= message->text_size) return NULL;
  const char *text = message->text + *at;
  *at += strlen(text) + 1;
  return text;
}

typedef union wire_control {
  struct cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * WIRE_MOST_FILES)];
} wire_control;

wire_result wire_send(int socket, const wire_message *message, bool wait) {
  wire_control control = {.bytes = {0}};
  struct iovec parts[] = {{(void *)(uintptr_t)&message->head, sizeof message->head},
                          {(void *)(uintptr_t)message->text, message->text_size}};
  struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 2};
  if (message->file_count > 0) {
    size_t bytes = sizeof(int) * message->file_count;
    packet.msg_control = control.bytes;
    packet.msg_controllen = CMSG_SPACE(bytes);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&packet);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(rights), message->files, bytes);
  }
  for (;;) {
    if (sendmsg(socket, &packet, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)) >= 0) return WIRE_OK;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? WIRE_AGAIN : WIRE_GONE;
  }
}

static void take_files(wire_message *message, struct msghdr *packet) {
  for (struct cmsghdr *at = CMSG_FIRSTHDR(packet); at; at = CMSG_NXTHDR(packet, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (count > WIRE_MOST_FILES) count = WIRE_MOST_FILES; /* the room for control data holds no more */
    memcpy(message->files, CMSG_DATA(at), count * sizeof(int));
    message->file_count = count;
  }
}

wire_result wire_receive(int socket, wire_message *message, bool wait) {
  wire_control control = {.bytes = {0}};
  struct iovec parts[] = {{&message->head, sizeof message->head}, {message->text, sizeof message->text}};
  struct msghdr packet = {
      .msg_iov = parts, .msg_iovlen = 2, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  memset(&message->head, 0, sizeof message->head);
  message->file_count = 0;
  ssize_t size;
  do size = recvmsg(socket, &packet, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
  while (size < 0 && errno == EINTR);
  if (size < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? WIRE_AGAIN : WIRE_GONE;
  take_files(message, &packet);
  message->text_size = (size_t)size > sizeof message->head ? (size_t)size - sizeof message->head : 0;
  /* Every text of ours ends with a NUL; a packet that does not is none of ours. */
  bool ours =
      (size_t)size >= sizeof message->head && (message->text_size == 0 || message->text[message->text_size - 1] == '\0');
  if (ours) return WIRE_OK;
  wire_close(message);
  return WIRE_GONE;
}

void wire_close(wire_message *message) {
  for (size_t i = 0; i < message->file_count; i++) (void)close(message->files[i]);
  message->file_count = 0;
}
