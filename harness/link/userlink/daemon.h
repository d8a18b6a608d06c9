/* The process that carries a lab's links. */
#ifndef USERLINK_DAEMON_H
#define USERLINK_DAEMON_H

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

struct daemon {
    struct link **links;
    size_t link_count;
    int epoll, timer, control;
    int64_t started, armed;
    int64_t spin_ns, wake_ns, spin_budget, budget_at;
    int64_t load_at, load_used, round_at;
    bool realtime, stepped_down, carrying, rounds;
};

/* Serves the control socket and carries frames until the socket closes; the exit status. */
int daemon_run(int control, int64_t spin_ns, bool realtime);

/* For control.c. Each returns an error text or NULL. */
const char *daemon_add_link(struct daemon *daemon, const char *near, const char *far);
const char *daemon_go(struct daemon *daemon);

#endif
