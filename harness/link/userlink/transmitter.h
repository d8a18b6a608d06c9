/* The sender behind a rate, and the drop-tail queue in front of it. Inner to way.c. */
#ifndef USERLINK_TRANSMITTER_H
#define USERLINK_TRANSMITTER_H

#include "state.h"

/* When a frame whose turn comes at `start` has left; the transmitter is busy until then. */
int64_t transmit(struct way *way, int64_t start, uint32_t bytes);
/* Whether one more frame would exceed the queue's limit, with so much in it already. */
bool queue_full(const struct settings *set, uint64_t bytes, uint64_t packets, const struct frame *more);
void droptail_enter(struct way *way, struct frame *frame);
/* A frame for which the queue has no room. */
void queue_drop(struct way *way, struct frame *frame);

#endif
