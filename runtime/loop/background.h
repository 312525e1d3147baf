/* background.h: the inside of purlin_background: work of a plugin that comes round on every loop. */
#ifndef PURLIN_LOOP_BACKGROUND_H
#define PURLIN_LOOP_BACKGROUND_H

#include <purlin/context.h>

/* Gives such work its identity: access/ sets it. */
typedef void background_identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project);
void background_set_identify(background_identify *identify);
/* After loops_destroy: frees. */
void backgrounds_free(void);

#endif
