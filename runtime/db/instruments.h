/* instruments.h: what the database's part counts, at /metrics. */
#ifndef PURLIN_DB_INSTRUMENTS_H
#define PURLIN_DB_INSTRUMENTS_H

#include <purlin/base.h>

void db_instruments_start(void); /* after metrics_register_own */
void db_instruments_query(purlin_status outcome, uint64_t duration_ns);
void db_instruments_connections(int idle, int busy); /* changes */
void db_instruments_wait(void);
void db_instruments_retry(void);

#endif
