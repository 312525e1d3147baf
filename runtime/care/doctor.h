/* doctor.h: whether an installation is well: a table of checks, each of which tells what it found, why it matters and what mends it.
 *
 * care/doctor.c           the table, and `purlin doctor`
 * care/doctor_files.c     permissions, disks, certificates, what was left behind
 * care/doctor_programs.c  the configuration and the plugins, asked of the programs themselves
 * care/doctor_service.c   units, the port, the server that answers on it, the clock
 * care/doctor_database.c  MariaDB: reachable as the service, its settings, what is in it */
#ifndef PURLIN_CARE_DOCTOR_H
#define PURLIN_CARE_DOCTOR_H

#include "care/care.h"

/* One thing that was found. REPORT_SKIPPED: it could not be looked at. `remedy`: a command, or what to write where; NULL. Borrowed. */
typedef void doctor_found(void *to, const char *check, report_outcome outcome, const char *detail, const char *remedy);

/* What the checks share. */
typedef struct doctor {
  const installation *here;
  const char *check; /* the one that runs */
  doctor_found *found;
  void *to;
  size_t problems, told; /* `told`: by the one that runs */
} doctor;

PURLIN_PRINTF(4, 5) void doctor_tell(doctor *d, report_outcome outcome, const char *remedy, const char *format, ...);

typedef enum doctor_when {
  DOCTOR_ALWAYS,
  DOCTOR_AT_REST /* left out before an upgrade, which looks after it itself */
} doctor_when;

/* Runs all checks, or those of before an upgrade. The number of problems. */
size_t doctor_examine(const installation *here, bool before_upgrade, doctor_found *found, void *to);

void doctor_configuration(doctor *d);
void doctor_plugins(doctor *d);
void doctor_permissions(doctor *d);
void doctor_disk(doctor *d);
void doctor_certificates(doctor *d);
void doctor_leftovers(doctor *d);
void doctor_units(doctor *d);
void doctor_server(doctor *d);
void doctor_clock(doctor *d);
void doctor_database(doctor *d);

#endif
