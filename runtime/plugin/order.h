/* order.h: the order in which plugins start. */
#ifndef PURLIN_PLUGIN_ORDER_H
#define PURLIN_PLUGIN_ORDER_H

#include "plugin/host.h"

#define PLUGIN_MOST 256

/* Puts what is needed before what needs it; otherwise keeps the order. A circle and something missing are explained in `why`. */
PURLIN_CHECKED purlin_status plugins_order(plugin **plugins, size_t count, buffer *why);

#endif
