/* purlin.h: the whole SDK in one include. */
#ifndef PURLIN_PURLIN_H
#define PURLIN_PURLIN_H

#include <purlin/base.h>
#include <purlin/context.h>
#include <purlin/schema.h>
#include <purlin/operation.h>
#include <purlin/route.h>
#include <purlin/database.h>
#include <purlin/access.h>
#include <purlin/audit.h>
#include <purlin/http.h>
#include <purlin/job.h>
#include <purlin/event.h>
#include <purlin/policy.h>
#include <purlin/metric.h>
#include <purlin/secret.h>
#include <purlin/plugin.h>
#include <purlin/process.h>
#include <purlin/quota.h>

#endif
