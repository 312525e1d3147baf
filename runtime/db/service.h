/* service.h: what the loops share: the options, whether the database is there, and a connection of its own to it.
 *
 * A checker thread pings once a second, and when the database is away tries to reach it, slowly. The pools ask db_service_up()
 * before they connect, so a database that is away is not stormed, and tell when a connection breaks or cannot be made. */
#ifndef PURLIN_DB_SERVICE_H
#define PURLIN_DB_SERVICE_H

#include "db/db.h"

const db_options *db_service_options(void);
bool db_service_up(void);
/* A connection broke: check now. Any thread. */
void db_service_suspect(void);
/* A connection could not be made: away until the checker says otherwise. Any thread. */
void db_service_lost(const char *why);
/* KILL QUERY for this connection of ours, on a thread of the blocking pool. False: it could not be sent. May park. */
bool db_service_kill_query(unsigned long thread_id);

#endif
