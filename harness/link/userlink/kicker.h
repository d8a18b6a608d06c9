/* Being looked at by the scheduler more often than at its ticks. */
#ifndef USERLINK_KICKER_H
#define USERLINK_KICKER_H

#include <stddef.h>

/* Starts processes that make each processor choose anew while this process is made to wait; they end with it. */
void kicker_start(void);
/* Writes how many of them run on how many processors, and why not on all. */
void kicker_describe(char *text, size_t room);

#endif
