#include "control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agenda.h"
#include "clock.h"
#include "kicker.h"
#include "settings.h"

/* table N PATH | link NEAR FAR | seeds LINK WAY five numbers | set LINK WAY key=value... | go | account LINK
 * | usage. Answers begin with `ok` or `error`. Links count from 0 in the order of their `link` commands; WAY is up or
 * down. */

static struct carrier *find(struct links *links, char *words, char **rest)
{
    char *way;
    unsigned long index = strtoul(words, &way, 10);
    if (index >= links->count || *way++ != ' ')
        return NULL;
    struct link *link = links->all[index];
    bool up = !strncmp(way, "up ", 3);
    if (!up && strncmp(way, "down ", 5))
        return NULL;
    *rest = strchr(way, ' ') + 1;
    return up ? &link->up : &link->down;
}

static const char *change(struct links *links, char *words)
{
    char *rest;
    struct settings set;
    struct carrier *carrier = find(links, words, &rest);
    if (!carrier)
        return "no such link";
    const char *error = settings_parse(rest, &set);
    if (error)
        return error;
    way_change(&carrier->way, &set, now_ns());
    agenda_update(carrier);
    return NULL;
}

static size_t describe(char *text, size_t room, struct carrier *carrier, struct port *in)
{
    struct counts *c = &carrier->way.counts;
    c->ingress_drops = port_ingress_drops(in);
    c->send_errors = carrier->out->send_errors;
    size_t used = (size_t)snprintf(text, room,
                                   " | received=%" PRIu64 " sent=%" PRIu64 " sent_bytes=%" PRIu64 " lost=%" PRIu64 " queue_drops=%" PRIu64
                                   " oversize_drops=%" PRIu64 " duplicated=%" PRIu64 " corrupted=%" PRIu64
                                   " reordered=%" PRIu64 " ingress_drops=%" PRIu64 " send_errors=%" PRIu64,
                                   c->received, c->sent, c->sent_bytes, c->lost, c->queue_drops, c->oversize_drops, c->duplicated,
                                   c->corrupted, c->reordered, c->ingress_drops, c->send_errors);
    for (int i = 0; i < BUCKETS && used < room; i++)
        if (carrier->lateness[i])
            used += (size_t)snprintf(text + used, room - used, " %d=%" PRIu32, i, carrier->lateness[i]);
    return used;
}

static void account(struct links *links, const char *words, char *answer, size_t room)
{
    unsigned long index = strtoul(words, NULL, 10);
    if (index >= links->count) {
        snprintf(answer, room, "error no such link");
        return;
    }
    struct link *link = links->all[index];
    size_t used = (size_t)snprintf(answer, room, "ok");
    used += describe(answer + used, room - used, &link->up, &link->near);
    describe(answer + used, room - used, &link->down, &link->far);
}

static void usage(const struct links *links, char *answer, size_t room)
{
    /* Not ru_maxrss: that one remembers the process that started us. */
    long total_pages = 0, resident_pages = 0;
    FILE *memory = fopen("/proc/self/statm", "r");
    if (memory) {
        if (fscanf(memory, "%ld %ld", &total_pages, &resident_pages) != 2)
            resident_pages = 0;
        fclose(memory);
    }
    snprintf(answer, room, "ok cpu_ns=%" PRId64 " wall_ns=%" PRId64 " realtime=%d resident_kb=%ld pool_bytes=%zu",
             clock_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns() - links->started, links->realtime,
             resident_pages * sysconf(_SC_PAGESIZE) / 1024, frame_pool_bytes());
}

static void kickers(char *answer, size_t room)
{
    size_t used = (size_t)snprintf(answer, room, "ok ");
    kicker_describe(answer + used, room - used);
}

static const char *add_link(struct links *links, const char *words)
{
    char near[16], far[16];
    if (links->carrying)
        return "links are added before `go`";
    if (sscanf(words, "%15s %15s", near, far) != 2)
        return "link: NEAR FAR";
    return links_add(links, near, far);
}

static const char *obey(struct links *links, char *command)
{
    char *rest;
    struct carrier *carrier;
    if (!strncmp(command, "table ", 6))
        return settings_table(command + 6);
    if (!strncmp(command, "link ", 5))
        return add_link(links, command + 5);
    if (!strncmp(command, "seeds ", 6))
        return (carrier = find(links, command + 6, &rest)) ? settings_seeds(rest, &carrier->way)
                                                                  : "no such link";
    if (!strncmp(command, "set ", 4))
        return change(links, command + 4);
    if (!strcmp(command, "go"))
        return links_go(links);
    return "unknown command";
}

bool control_serve(struct links *links)
{
    static char command[65536], answer[65536];
    ssize_t length = recv(links->control, command, sizeof command - 1, 0);
    if (length <= 0)
        return false;
    command[length] = 0;
    if (!strncmp(command, "account ", 8)) {
        account(links, command + 8, answer, sizeof answer);
    } else if (!strcmp(command, "usage")) {
        usage(links, answer, sizeof answer);
    } else if (!strcmp(command, "kickers")) {
        kickers(answer, sizeof answer);
    } else {
        const char *error = obey(links, command);
        snprintf(answer, sizeof answer, error ? "error %s" : "ok", error);
    }
    return send(links->control, answer, strlen(answer), MSG_NOSIGNAL) >= 0;
}
