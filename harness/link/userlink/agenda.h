/* Which direction has something to do next: a heap over all directions of all links. */
#ifndef USERLINK_AGENDA_H
#define USERLINK_AGENDA_H

#include "links.h"

void agenda_add(struct carrier *carrier);
/* Call when way_next of the carrier's direction may have changed. */
void agenda_update(struct carrier *carrier);
/* NULL before the first agenda_add. */
struct carrier *agenda_first(void);

#endif
