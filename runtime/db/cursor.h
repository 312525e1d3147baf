/* cursor.h: rows one by one. */
#ifndef PURLIN_DB_CURSOR_H
#define PURLIN_DB_CURSOR_H

#include "db/call.h"

/* The rows come off the socket as they are asked for; nothing is stored on either side. */
struct purlin_rows {
  db_call call;
  const db_plan *plan;
  arena memory; /* of the current row's texts */
  size_t count;
  bool running; /* the statement holds the connection */
};

#endif
