/* Time is int64 nanoseconds of CLOCK_MONOTONIC everywhere; kernel receive stamps are converted on arrival. */
#ifndef USERLINK_CLOCK_H
#define USERLINK_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NEVER INT64_MAX

static inline int64_t clock_ns(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

#endif
