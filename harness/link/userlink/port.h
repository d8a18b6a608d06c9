/* A packet socket on one of a link's two middle interfaces. */
#ifndef USERLINK_PORT_H
#define USERLINK_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

struct way;

struct port {
    int socket;
    bool bundles;        /* frames carry a virtio header and may be bundles of segments */
    struct way *towards; /* the direction that frames received here travel */
    uint64_t send_errors;
    char name[16];
};

/* Opens the port on interface `name`; 0, or -1 with errno. Sets the interface's offloads unless it carries bundles. */
int port_open(struct port *port, const char *name, bool bundles);
/* Receives up to a batch of frames; their count, 0 where none waits, or -1 with errno. */
int port_receive(struct port *port, struct frame **frames, int64_t now);
/* Sends a batch; how many went. */
int port_send(struct port *port, struct frame **frames, int count);
/* Frames that the kernel could not hand to us since the last call. */
uint64_t port_ingress_drops(struct port *port);

#define BATCH 64

#endif
