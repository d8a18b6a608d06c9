/* Being looked at by the scheduler more often than at its ticks. */
#ifndef USERLINK_KICKER_H
#define USERLINK_KICKER_H

/* Starts processes that make each processor choose anew while this process is made to wait; they end with it. */
void kicker_start(void);

#endif
