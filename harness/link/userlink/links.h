/* The links that one process carries, and the sockets on which it waits for them. */
#ifndef USERLINK_LINKS_H
#define USERLINK_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "port.h"
#include "way.h"

struct carrier {
    struct way way;
    struct port *out;
    size_t place; /* in the agenda */
    int64_t next;
    int64_t latest_arrival;
    uint32_t lateness[BUCKETS];
};

struct link {
    struct port near, far;
    struct carrier up, down;
};

struct links {
    struct link **all;
    size_t count;
    int epoll, control;
    int64_t started;
    bool realtime, carrying;
};

/* Both return an error text or NULL. */
const char *links_add(struct links *links, const char *near, const char *far);
/* From now on frames are carried. */
const char *links_go(struct links *links);

#endif
