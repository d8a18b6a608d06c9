/* One party of a computation in rounds: sends BYTES to every other party and goes on when all of theirs have come.

   overlaybench-party INDEX PARTIES LOG BYTES ROUNDS [listen ADDRESS PORT]... [connect INDEX ADDRESS PORT]...

   Says `connected` once it has a connection to every other party, waits for SIGUSR1, and runs ROUNDS rounds, with 0
   until SIGTERM. LOG takes a record a round, in the machine's byte order: int64 Unix time in ns at which it was
   finished, int64 index of the party whose data came last, its own where none was waited for. It lies in memory that is
   the file's, so that it is there however the process ends. A party that loses a connection says so and waits: what it
   waits for never comes, and it is not for it to decide that this is the end. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "mesh.h"

enum { PIECE = 1 << 18, MOST_EVENTS = 64, POLL_MS = 50 };

/* Of a party that runs until it is told to end: a quarter of an hour of rounds of a millisecond, 16 MiB of holes. */
static const uint64_t MOST_ROUNDS = 1 << 20;

struct record {
    int64_t finished_ns, last;
};

struct party {
    struct mesh mesh;
    uint64_t bytes, rounds, round;
    uint32_t last;
    bool begun, over;
    struct record *log;
    int log_fd;
};

static unsigned char payload[PIECE], scratch[PIECE];

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Bytes that no middle box can make fewer. */
static void fill_payload(uint32_t seed) {
    uint64_t state = 0x9e3779b97f4a7c15u * (seed + 1u);
    for (size_t place = 0; place < sizeof payload; place++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        payload[place] = (unsigned char)(state >> 32);
    }
}

static void lose(struct party *party, struct peer *peer) {
    close(peer->fd);
    peer->fd = -1;
    peer->lost = true;
    printf("lost %u %" PRId64 "\n", (unsigned)(peer - party->mesh.peers), now_ns());
    fflush(stdout);
}

static void send_due(struct party *party, uint32_t index) {
    struct peer *peer = &party->mesh.peers[index];
    uint64_t due = party->bytes * (party->round + 1);
    if (party->rounds && due > party->bytes * party->rounds)
        due = party->bytes * party->rounds;
    while (peer->fd >= 0 && peer->sent < due) {
        uint64_t left = due - peer->sent;
        ssize_t size = send(peer->fd, payload, left < PIECE ? left : PIECE, MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno != EAGAIN) {
            lose(party, peer);
            return;
        }
        if (size < 0) {
            if (!peer->wants_out)
                rewatch(&party->mesh, peer->fd, FROM_PEER, index, EPOLLIN | EPOLLOUT);
            peer->wants_out = true;
            return;
        }
        peer->sent += (uint64_t)size;
    }
    if (peer->fd >= 0 && peer->wants_out) {
        rewatch(&party->mesh, peer->fd, FROM_PEER, index, EPOLLIN);
        peer->wants_out = false;
    }
}

static void send_to_all(struct party *party) {
    /* Each begins with the next: or else all would send to the first at once. */
    for (uint32_t step = 1; step < party->mesh.parties; step++)
        send_due(party, (party->mesh.own + step) % party->mesh.parties);
}

static bool round_is_complete(const struct party *party) {
    const uint64_t due = party->bytes * (party->round + 1);
    for (uint32_t index = 0; index < party->mesh.parties; index++)
        if (party->mesh.peers[index].expected && party->mesh.peers[index].received < due)
            return false;
    return true;
}

static bool all_is_sent(const struct party *party) {
    for (uint32_t index = 0; index < party->mesh.parties; index++)
        if (party->mesh.peers[index].expected && party->mesh.peers[index].sent < party->bytes * party->rounds)
            return false;
    return true;
}

static void go_on(struct party *party) {
    while (party->begun && party->round < (party->rounds ? party->rounds : MOST_ROUNDS) && round_is_complete(party)) {
        party->log[party->round] = (struct record){now_ns(), party->last};
        party->round++;
        party->last = party->mesh.own; /* a party whose data are there already is not waited for */
        send_to_all(party);
    }
    party->over = party->begun && party->rounds && party->round == party->rounds && all_is_sent(party);
}

static void hear_peer(struct party *party, uint32_t index, uint32_t events) {
    struct peer *peer = &party->mesh.peers[index];
    if (peer->fd < 0)
        return;
    if (!peer->up) {
        hear_newcomer(&party->mesh, peer);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t size = recv(peer->fd, scratch, sizeof scratch, 0);
        if (size > 0) {
            const uint64_t due = party->bytes * (party->round + 1), before = peer->received;
            peer->received += (uint64_t)size;
            if (before < due && peer->received >= due)
                party->last = index;
        } else if (size == 0 && party->rounds && peer->received == party->bytes * party->rounds) {
            epoll_ctl(party->mesh.epoll, EPOLL_CTL_DEL, peer->fd, NULL); /* it is done; we still send */
        } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
            lose(party, peer);
            return;
        }
    }
    if (events & EPOLLOUT)
        send_due(party, index);
}

static void hear_signal(struct party *party, int fd) {
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM) {
            party->over = true;
            return;
        }
        if (!party->begun) {
            party->begun = true;
            printf("began %" PRId64 "\n", now_ns());
            fflush(stdout);
            send_to_all(party);
        }
    }
}

static int open_signals(void) {
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    sigaddset(&wanted, SIGTERM);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    int fd = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        die("signalfd");
    return fd;
}

static void usage(void) {
    fputs("overlaybench-party INDEX PARTIES LOG BYTES ROUNDS [listen ADDRESS PORT]... [connect INDEX ADDRESS PORT]...\n",
          stderr);
    exit(2);
}

static void read_words(struct party *party, int count, char **words) {
    struct mesh *mesh = &party->mesh;
    for (uint32_t index = 0; index < mesh->parties; index++) {
        mesh->peers[index].fd = -1;
        mesh->peers[index].expected = index != mesh->own;
    }
    for (int place = 0; place < count;) {
        struct sockaddr_storage address;
        socklen_t size;
        if (place + 3 <= count && strcmp(words[place], "listen") == 0) {
            if (!parse_address(words[place + 1], words[place + 2], &address, &size))
                usage();
            if (!listen_at(mesh, &address, size))
                die("listen");
            place += 3;
        } else if (place + 4 <= count && strcmp(words[place], "connect") == 0) {
            unsigned long index = strtoul(words[place + 1], NULL, 10);
            if (index >= mesh->parties || !parse_address(words[place + 2], words[place + 3], &address, &size))
                usage();
            mesh->peers[index].address = address;
            mesh->peers[index].address_size = size;
            mesh->peers[index].connects = true;
            place += 4;
        } else {
            usage();
        }
    }
}

static void open_log(struct party *party, const char *path) {
    const uint64_t rounds = party->rounds ? party->rounds : MOST_ROUNDS;
    party->log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (party->log_fd < 0 || ftruncate(party->log_fd, (off_t)(rounds * sizeof(struct record))) < 0)
        die(path);
    party->log = mmap(NULL, rounds * sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, party->log_fd, 0);
    if (party->log == MAP_FAILED)
        die(path);
}

static void say_end(const struct party *party) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    if (party->rounds == 0 || party->round < party->rounds) {
        printf("waits");
        for (uint32_t index = 0; index < party->mesh.parties; index++)
            if (party->mesh.peers[index].expected && party->mesh.peers[index].received < party->bytes * (party->round + 1))
                printf(" %u", index);
        printf("\n");
    }
    printf("rounds %" PRIu64 " user_us %ld system_us %ld\n", party->round,
           used.ru_utime.tv_sec * 1000000L + used.ru_utime.tv_usec,
           used.ru_stime.tv_sec * 1000000L + used.ru_stime.tv_usec);
}

int main(int argc, char **argv) {
    static struct party party;
    struct mesh *mesh = &party.mesh;
    struct epoll_event events[MOST_EVENTS];
    if (argc < 6)
        usage();
    mesh->own = (uint32_t)strtoul(argv[1], NULL, 10);
    mesh->parties = (uint32_t)strtoul(argv[2], NULL, 10);
    party.bytes = strtoull(argv[4], NULL, 10);
    party.rounds = strtoull(argv[5], NULL, 10);
    if (mesh->parties < 2 || mesh->parties > MOST_PARTIES || mesh->own >= mesh->parties || party.bytes == 0)
        usage();
    party.last = mesh->own;
    fill_payload(mesh->own);
    mesh->epoll = epoll_create1(EPOLL_CLOEXEC);
    int signals = open_signals();
    watch(mesh, signals, FROM_SIGNALS, 0, EPOLLIN);
    open_log(&party, argv[3]);
    read_words(&party, argc - 6, argv + 6);
    bool connected = false;
    while (!party.over) {
        if (!connected) {
            keep_connecting(mesh);
            if ((connected = all_up(mesh))) {
                puts("connected");
                fflush(stdout);
            }
        }
        int count = epoll_wait(mesh->epoll, events, MOST_EVENTS, connected ? -1 : POLL_MS);
        for (int place = 0; place < count; place++) {
            uint32_t number = (uint32_t)events[place].data.u64;
            switch ((enum source)(events[place].data.u64 >> 32)) {
            case FROM_PEER:
                hear_peer(&party, number, events[place].events);
                break;
            case FROM_LISTENER:
                accept_stranger(mesh, (int)number);
                break;
            case FROM_STRANGER:
                hear_stranger(mesh, (int)number);
                break;
            case FROM_SIGNALS:
                hear_signal(&party, signals);
                break;
            }
        }
        /* Also when told to end: what has arrived counts, so that the end names whose data are missing. */
        const bool told = party.over;
        go_on(&party);
        party.over |= told;
    }
    say_end(&party);
    return 0;
}
