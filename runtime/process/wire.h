/* wire.h: what the daemon and the spawner say to each other: one packet a message, a head and texts, and descriptors beside it.
 *
 * A spawner that was forked is of the same program as its daemon. One that is a unit of its own may be older or newer: both say hello first. Within
 * a WIRE_VERSION the head's layout and what is written here stay as they are; kinds that are unknown are passed over. */
#ifndef PURLIN_PROCESS_WIRE_H
#define PURLIN_PROCESS_WIRE_H

#include <purlin/base.h>

typedef enum wire_kind {
  WIRE_START =
      1, /* daemon: id, flags, memory_limit; texts: runs, log file, directory, then the arguments; descriptors by flags */
  WIRE_SIGNAL,  /* daemon: pid, started, number (the signal); to the whole group, on SIGKILL to the whole session */
  WIRE_SWEEP,   /* daemon: texts: runs; removes private directories whose process has gone */
  WIRE_STARTED, /* spawner: id, pid, started; or number (errno) and a text that says what failed */
  WIRE_ENDED,   /* spawner: id, number (the exit code) */
  WIRE_HELLO,   /* both: number (WIRE_VERSION); text: PURLIN_VERSION; the spawner's ends its list of children, with flags */
  WIRE_CHILD, /* spawner, before its hello: id, pid, started of a detached child; WIRE_OVER in flags: number is its exit code */
  WIRE_LEAVE /* daemon: end, if no detached child runs */
} wire_kind;

enum { WIRE_DETACHED = 1, WIRE_STDIN = 2, WIRE_STDOUT = 4, WIRE_STDERR = 8 };
enum {
  WIRE_OVER = 16,
  WIRE_OUTDATED = 32, /* the spawner's own program has been replaced since it started */
  WIRE_BUSY = 64      /* another daemon (pid) is connected: the spawner hangs up */
};
enum { WIRE_VERSION = 1 };
enum { WIRE_MOST_TEXT = 32 * 1024, WIRE_MOST_FILES = 3, WIRE_MOST_ARGUMENTS = 16 };

typedef struct wire_head {
  uint32_t kind, flags;
  uint64_t id;
  int64_t pid, started, number;
  uint64_t memory_limit;
} wire_head;

typedef struct wire_message {
  wire_head head;
  size_t text_size;           /* texts, each with its NUL */
  int files[WIRE_MOST_FILES]; /* borrowed when sent, owned by the receiver: wire_close */
  size_t file_count;
  char text[WIRE_MOST_TEXT];
} wire_message;

/* Appends a text with its NUL; NULL is "". False when the message is full. */
bool wire_add(wire_message *message, const char *text);
/* The next text: *at starts at 0; NULL when there are no more. */
const char *wire_next(const wire_message *message, size_t *at);

typedef enum wire_result { WIRE_OK, WIRE_AGAIN, WIRE_GONE } wire_result;
/* Never blocks when `wait` is false. WIRE_GONE: the other end has closed. */
wire_result wire_send(int socket, const wire_message *message, bool wait);
wire_result wire_receive(int socket, wire_message *message, bool wait);
void wire_close(wire_message *message);

#endif
