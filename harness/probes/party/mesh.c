#include "mesh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* A greeting goes both ways: whoever carries streams may accept a connection that nothing answers at the other end. */
struct greeting {
    char magic[4];
    uint32_t index;
};

static const char MAGIC[4] = {'R', 'N', 'D', '1'};
static const int64_t ATTEMPT_NS = 3000000000, PAUSE_NS = 100000000;

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void control(struct mesh *mesh, int what, int fd, enum source source, uint32_t number, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)source << 32 | number};
    if (epoll_ctl(mesh->epoll, what, fd, &event) < 0) {
        perror("epoll_ctl");
        exit(1);
    }
}

void watch(struct mesh *mesh, int fd, enum source source, uint32_t number, uint32_t events) {
    control(mesh, EPOLL_CTL_ADD, fd, source, number, events);
}

void rewatch(struct mesh *mesh, int fd, enum source source, uint32_t number, uint32_t events) {
    control(mesh, EPOLL_CTL_MOD, fd, source, number, events);
}

bool parse_address(const char *address, const char *port, struct sockaddr_storage *into, socklen_t *size) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(address, port, &hints, &found) != 0)
        return false;
    memcpy(into, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

bool listen_at(struct mesh *mesh, const struct sockaddr_storage *address, socklen_t size) {
    int one = 1, fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || mesh->listener_count == MOST_LISTENERS)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)address, size) < 0 || listen(fd, MOST_PARTIES) < 0)
        return false;
    mesh->listeners[mesh->listener_count++] = fd;
    watch(mesh, fd, FROM_LISTENER, (uint32_t)fd, EPOLLIN);
    return true;
}

static void begin_attempt(struct mesh *mesh, struct peer *peer, uint32_t index) {
    peer->fd = socket(peer->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    peer->retry_ns = now_ns() + (peer->fd < 0 ? PAUSE_NS : ATTEMPT_NS);
    if (peer->fd < 0)
        return;
    if (connect(peer->fd, (struct sockaddr *)&peer->address, peer->address_size) < 0 && errno != EINPROGRESS) {
        close(peer->fd);
        peer->fd = -1;
        peer->retry_ns = now_ns() + PAUSE_NS;
        return;
    }
    watch(mesh, peer->fd, FROM_PEER, index, EPOLLOUT);
    peer->wants_out = true;
}

static void fail_attempt(struct peer *peer) {
    close(peer->fd);
    peer->fd = -1;
    peer->retry_ns = now_ns() + PAUSE_NS;
}

void keep_connecting(struct mesh *mesh) {
    for (uint32_t index = 0; index < mesh->parties; index++) {
        struct peer *peer = &mesh->peers[index];
        if (!peer->connects || peer->up || peer->lost || now_ns() < peer->retry_ns)
            continue;
        if (peer->fd >= 0)
            close(peer->fd);
        begin_attempt(mesh, peer, index);
    }
}

static void settle(struct mesh *mesh, struct peer *peer, uint32_t index) {
    int one = 1;
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    rewatch(mesh, peer->fd, FROM_PEER, index, EPOLLIN);
    peer->wants_out = false;
    peer->up = true;
}

static bool greet(const struct mesh *mesh, int fd) {
    struct greeting greeting = {.index = htonl(mesh->own)};
    memcpy(greeting.magic, MAGIC, sizeof MAGIC);
    return send(fd, &greeting, sizeof greeting, MSG_NOSIGNAL) == sizeof greeting;
}

/* 1: a greeting, 0: not yet, -1: another's, or none. */
static int read_greeting(int fd, uint32_t *index) {
    struct greeting greeting;
    ssize_t size = recv(fd, &greeting, sizeof greeting, MSG_PEEK);
    if (size < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (size == 0)
        return -1;
    if ((size_t)size < sizeof greeting)
        return 0;
    size = recv(fd, &greeting, sizeof greeting, 0);
    *index = ntohl(greeting.index);
    return size == sizeof greeting && memcmp(greeting.magic, MAGIC, sizeof MAGIC) == 0 ? 1 : -1;
}

void hear_newcomer(struct mesh *mesh, struct peer *peer) {
    uint32_t index = (uint32_t)(peer - mesh->peers), said;
    if (peer->wants_out) {
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0 || !greet(mesh, peer->fd)) {
            fail_attempt(peer);
            return;
        }
        peer->wants_out = false;
        rewatch(mesh, peer->fd, FROM_PEER, index, EPOLLIN);
        return;
    }
    int found = read_greeting(peer->fd, &said);
    if (found < 0 || (found > 0 && said != index))
        fail_attempt(peer);
    else if (found > 0)
        settle(mesh, peer, index);
}

void accept_stranger(struct mesh *mesh, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (mesh->stranger_count == MOST_PARTIES) {
        close(fd);
        return;
    }
    mesh->strangers[mesh->stranger_count++] = fd;
    watch(mesh, fd, FROM_STRANGER, (uint32_t)fd, EPOLLIN);
}

void hear_stranger(struct mesh *mesh, int fd) {
    uint32_t index;
    int found = read_greeting(fd, &index);
    if (found == 0)
        return;
    for (int place = 0; place < mesh->stranger_count; place++)
        if (mesh->strangers[place] == fd)
            mesh->strangers[place--] = mesh->strangers[--mesh->stranger_count];
    struct peer *peer = found > 0 && index < mesh->parties ? &mesh->peers[index] : NULL;
    if (peer == NULL || !peer->expected || peer->connects || peer->received || !greet(mesh, fd)) {
        close(fd);
        return;
    }
    if (peer->fd >= 0) /* an attempt on which the other has given up */
        close(peer->fd);
    peer->fd = fd;
    settle(mesh, peer, index);
}

bool all_up(const struct mesh *mesh) {
    for (uint32_t index = 0; index < mesh->parties; index++)
        if (mesh->peers[index].expected && !mesh->peers[index].up)
            return false;
    return true;
}
