#include "links.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "agenda.h"
#include "clock.h"

static char problem[256];

const char *links_add(struct links *links, const char *near, const char *far)
{
    struct link *link = calloc(1, sizeof *link);
    struct link **all = realloc(links->all, (links->count + 1) * sizeof *all);
    if (all)
        links->all = all;
    if (!link || !all)
        return "out of memory";
    const char *failed = port_open(&link->near, near) < 0 ? near
                         : port_open(&link->far, far) < 0 ? far
                                                                   : NULL;
    if (failed) {
        snprintf(problem, sizeof problem, "interface %s: %s", failed, strerror(errno));
        return problem;
    }
    link->near.towards = &link->up.way;
    link->far.towards = &link->down.way;
    link->up.out = &link->far;
    link->down.out = &link->near;
    struct carrier *both[] = {&link->up, &link->down};
    for (int i = 0; i < 2; i++) {
        way_start(&both[i]->way, now_ns());
        agenda_add(both[i]);
    }
    links->all[links->count++] = link;
    return NULL;
}

const char *links_go(struct links *links)
{
    int64_t now = now_ns();
    for (size_t i = 0; i < links->count; i++) {
        struct link *link = links->all[i];
        struct port *ports[] = {&link->near, &link->far};
        for (int side = 0; side < 2; side++) {
            struct epoll_event event = {.events = EPOLLIN, .data.ptr = ports[side]};
            if (epoll_ctl(links->epoll, EPOLL_CTL_ADD, ports[side]->socket, &event) < 0)
                return strerror(errno);
        }
        link->up.way.epoch = link->down.way.epoch = now;
        /* What came before we were asked to carry anything has not waited for us. */
        link->up.latest_arrival = link->down.latest_arrival = now;
    }
    links->carrying = true;
    links->started = now;
    return NULL;
}
