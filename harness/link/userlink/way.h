/* One direction of one link: the virtual-time model. No I/O and no clock here: arrivals come with their stamps, and the
 * times at which frames are due are computed, so that a late process shifts nothing but its own lateness.
 * harness/link/spec.py says the same in Python; a test holds the two together. */
#ifndef USERLINK_WAY_H
#define USERLINK_WAY_H

#include "state.h"

void way_start(struct way *way, int64_t epoch);
/* New settings from `now` on. Frames that have left the transmitter keep their times. */
void way_change(struct way *way, const struct settings *set, int64_t now);
/* Takes the frame over. Stamps must not go backwards. */
void way_arrive(struct way *way, struct frame *frame);
/* Moves virtual time on to `now`; needed with CoDel, where a frame's fate is known only when its turn comes. */
void way_advance(struct way *way, int64_t now);
/* When way_advance has something to do again, or NEVER. */
int64_t way_next_turn(const struct way *way);
/* When the next frame is due or the next turn comes, whichever is sooner, or NEVER. */
int64_t way_next(const struct way *way);

#endif
