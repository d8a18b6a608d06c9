/* CoDel (RFC 8289) in virtual time. Inner to way.c. */
#ifndef USERLINK_CODEL_H
#define USERLINK_CODEL_H

#include "state.h"

void codel_enter(struct way *way, struct frame *frame);
/* Gives every frame its turn whose turn comes at or before `now`. */
void codel_serve(struct way *way, int64_t now);
/* When the next turn comes; only with frames waiting. */
int64_t codel_next(const struct way *way);

#endif
