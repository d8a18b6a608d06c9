/* The delay line: from leaving the transmitter to being delivered. Inner to way.c. */
#ifndef USERLINK_DELAY_H
#define USERLINK_DELAY_H

#include "state.h"

/* Takes a frame that has left the transmitter at `depart`. */
void delay_enter(struct way *way, struct frame *frame, int64_t depart);

#endif
