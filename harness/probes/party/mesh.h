/* A TCP connection to every other party: the lower index connects, the higher listens, as in MPyC. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { MOST_PARTIES = 256, MOST_LISTENERS = 256 };

struct peer {
    struct sockaddr_storage address; /* where to connect; unused for those that connect to us */
    socklen_t address_size;
    bool expected, connects; /* whether there is such a peer, and whether it is ours to connect */
    bool up, lost, wants_out;
    int fd;               /* -1: none */
    int64_t retry_ns;     /* when to give up on an attempt, or to begin another */
    uint64_t received, sent;
};

struct mesh {
    struct peer peers[MOST_PARTIES];
    uint32_t own, parties;
    int epoll, listeners[MOST_LISTENERS], listener_count;
    int strangers[MOST_PARTIES], stranger_count; /* accepted, not yet greeted */
};

/* What an epoll event is about, in its upper 32 bits; the number below is a peer's index or a file descriptor. */
enum source { FROM_PEER, FROM_LISTENER, FROM_STRANGER, FROM_SIGNALS };

int64_t now_ns(void);
void watch(struct mesh *mesh, int fd, enum source source, uint32_t number, uint32_t events);
void rewatch(struct mesh *mesh, int fd, enum source source, uint32_t number, uint32_t events);

bool parse_address(const char *address, const char *port, struct sockaddr_storage *into, socklen_t *size);
bool listen_at(struct mesh *mesh, const struct sockaddr_storage *address, socklen_t size);

/* Begin and renew attempts to connect; to be called now and then until all are up. */
void keep_connecting(struct mesh *mesh);
void accept_stranger(struct mesh *mesh, int listener);
/* Read a greeting, and make a peer of whoever sent it. */
void hear_stranger(struct mesh *mesh, int fd);
/* An event of a peer that is not up yet. */
void hear_newcomer(struct mesh *mesh, struct peer *peer);
bool all_up(const struct mesh *mesh);
