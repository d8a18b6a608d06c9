/* Being on time next to a busy lab. */
#ifndef USERLINK_PRIORITY_H
#define USERLINK_PRIORITY_H

#include <stdbool.h>

/* Real-time priority, above every ordinary process; false where we may not have it. */
bool priority_raise(void);
/* An ordinary process again, but one that the scheduler runs soon after it wakes. */
void priority_lower(void);

#endif
