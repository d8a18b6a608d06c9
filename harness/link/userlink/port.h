/* A packet socket on one of a link's two middle interfaces. */
#ifndef USERLINK_PORT_H
#define USERLINK_PORT_H

#include <stdint.h>

#include "frame.h"

struct counts;
struct way;

struct port {
    int socket;
    struct way *towards; /* the direction that frames received here travel */
    uint64_t ingress_drops, send_errors;
    char name[16];
};

/* Opens the port on interface `name`; 0, or -1 with errno. */
int port_open(struct port *port, const char *name);
/* Receives a batch of what waits, bundles cut, linked by `next`: NULL where nothing waits. 0, or -1 with errno. */
int port_receive(struct port *port, struct frame **frames, int64_t now);
/* Sends the first of the frames, joining what can be joined; counts what went. How many it has dealt with, at least 1. */
int port_send(struct port *port, struct frame **frames, int count, struct counts *counts);
/* Frames so far that we could not take in, for want of room or because we do not know their kind. */
uint64_t port_ingress_drops(struct port *port);

/* Frames at most that port_send deals with, and what they may be as messages: a message costs some microseconds. */
#define SEND_BATCH 256
#define SEND_MESSAGES 64

#endif
