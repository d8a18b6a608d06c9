#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "bundle.h"
#include "clock.h"
#include "state.h"

/* Room for the frames of a burst at full speed while we are busy; an unprivileged process gets less (rmem_max). */
#define RECEIVE_BUFFER (32 << 20)
#define RECEIVE_BATCH 64
#define ADDRESSES (2 * ETH_ALEN)
#define VLAN_TAG 4
/* Reading the clocks takes a tenth of that. */
#define READING_NS 5000

int port_open(struct port *port, const char *name)
{
    int one = 1, buffer = RECEIVE_BUFFER;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};

    /* Protocol 0: nothing is queued before the socket is bound to the one interface. */
    int socket_ = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0)
        return -1;
    strncpy(port->name, name, sizeof port->name - 1);
    port->socket = socket_;
    address.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
    if (!address.sll_ifindex)
        return -1;
    if (setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    /* Frames count as ours until the receiver behind the link has taken them, which may be another link's helper. */
    if (setsockopt(socket_, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(socket_, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (setsockopt(socket_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) < 0 ||
        setsockopt(socket_, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) < 0 ||
        setsockopt(socket_, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0 ||
        setsockopt(socket_, SOL_PACKET, PACKET_AUXDATA, &one, sizeof one) < 0 ||
        bind(socket_, (struct sockaddr *)&address, sizeof address) < 0 ||
        setsockopt(socket_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0)
        return -1;
    return 0;
}

/* What came with a frame. */
struct aside {
    int64_t wall; /* the kernel's stamp; 0: none */
    bool tagged;
    uint8_t tag[VLAN_TAG];
};

static struct aside read_aside(struct msghdr *message)
{
    struct aside aside = {0};
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(part), sizeof t);
            aside.wall = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
        } else if (part->cmsg_level == SOL_PACKET && part->cmsg_type == PACKET_AUXDATA) {
            struct tpacket_auxdata data;
            memcpy(&data, CMSG_DATA(part), sizeof data);
            aside.tagged = data.tp_status & TP_STATUS_VLAN_VALID;
            uint16_t tag[2] = {htons(data.tp_status & TP_STATUS_VLAN_TPID_VALID ? data.tp_vlan_tpid : ETH_P_8021Q),
                               htons(data.tp_vlan_tci)};
            memcpy(aside.tag, tag, sizeof tag);
        }
    }
    return aside;
}

/* The kernel takes the outermost VLAN tag off; on the wire it is behind the addresses. */
static void put_tag_back(struct frame *frame, const uint8_t tag[VLAN_TAG])
{
    memmove(frame->data + ADDRESSES + VLAN_TAG, frame->data + ADDRESSES, frame->length - ADDRESSES);
    memcpy(frame->data + ADDRESSES, tag, VLAN_TAG);
    frame->length += VLAN_TAG;
    frame->headers += VLAN_TAG;
    frame->offload.csum_start += VLAN_TAG;
}

/* The frames that came as one message. NULL: there is no room for them, or they are of no kind that we know. */
static struct frame *unpack(struct frame **slot, const uint8_t *rest, const struct aside *aside)
{
    struct frame *frame = *slot;
    if (is_bundle(frame)) {
        frame = bundle_cut(frame, rest);
    } else if (frame->length > FRAME_BYTES - VLAN_TAG) {
        return NULL;
    } else {
        frame->place = 0;
        frame->next = NULL;
        *slot = NULL;
    }
    for (struct frame *each = frame; each && aside->tagged; each = each->next)
        put_tag_back(each, aside->tag);
    return frame;
}

/* How far the wall clock, of which stamps are, is ahead of ours; measured each time because it may be stepped. Who is
 * interrupted between the two readings tries again, and is wrong towards frames that came later: none leaves early. */
static int64_t wall_ahead_ns(void)
{
    for (int tries_left = 3;; tries_left--) {
        int64_t before = now_ns();
        int64_t wall = clock_ns(CLOCK_REALTIME);
        int64_t after = now_ns();
        if (after - before < READING_NS || !tries_left)
            return wall - after;
    }
}

int port_receive(struct port *port, struct frame **frames, int64_t now)
{
    static struct frame *slots[RECEIVE_BATCH];
    static uint8_t rest[RECEIVE_BATCH][BUNDLE_BYTES];
    static char control[RECEIVE_BATCH]
                       [CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    struct mmsghdr messages[RECEIVE_BATCH];
    struct iovec parts[RECEIVE_BATCH][3];
    int ready = 0;

    *frames = NULL;
    for (; ready < RECEIVE_BATCH && (slots[ready] || (slots[ready] = frame_new())); ready++) {
        parts[ready][0] = (struct iovec){&slots[ready]->offload, sizeof slots[ready]->offload};
        parts[ready][1] = (struct iovec){slots[ready]->data, FRAME_BYTES};
        parts[ready][2] = (struct iovec){rest[ready], BUNDLE_BYTES};
        messages[ready].msg_hdr = (struct msghdr){.msg_iov = parts[ready],
                                                  .msg_iovlen = 3,
                                                  .msg_control = control[ready],
                                                  .msg_controllen = sizeof control[ready]};
    }
    if (!ready) {
        errno = ENOMEM;
        return -1;
    }
    int count = recvmmsg(port->socket, messages, (unsigned)ready, 0, NULL);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR || errno == ENETDOWN ? 0 : -1;

    int64_t wall_ahead = wall_ahead_ns();
    struct frame **end = frames;
    for (int i = 0; i < count; i++) {
        struct aside aside = read_aside(&messages[i].msg_hdr);
        slots[i]->length = messages[i].msg_len - (uint32_t)sizeof slots[i]->offload;
        slots[i]->arrival = aside.wall ? aside.wall - wall_ahead : now;
        *end = unpack(&slots[i], rest[i], &aside);
        port->ingress_drops += !*end;
        while (*end)
            end = &(*end)->next;
    }
    return 0;
}

static void count_sent(struct frame **frames, int count, struct counts *counts)
{
    counts->sent += (uint64_t)count;
    for (int i = 0; i < count; i++)
        counts->sent_bytes += frames[i]->length;
}

int port_send(struct port *port, struct frame **frames, int count, struct counts *counts)
{
    struct virtio_net_hdr headers[SEND_MESSAGES];
    struct mmsghdr messages[SEND_MESSAGES];
    struct iovec parts[SEND_BATCH + SEND_MESSAGES], *part = parts;
    int bundles = 0, done = 0, gone = 0, joined[SEND_MESSAGES];
    for (int i = 0; i < count && bundles < SEND_MESSAGES; i += joined[bundles++]) {
        joined[bundles] = bundle_join(frames + i, count - i);
        headers[bundles] = bundle_header(frames[i], joined[bundles]);
        messages[bundles].msg_hdr = (struct msghdr){.msg_iov = part, .msg_iovlen = (size_t)joined[bundles] + 1};
        *part++ = (struct iovec){&headers[bundles], sizeof headers[bundles]};
        *part++ = (struct iovec){frames[i]->data, frames[i]->length};
        for (int more = i + 1; more < i + joined[bundles]; more++) {
            uint32_t from = frames[more]->headers;
            *part++ = (struct iovec){frames[more]->data + from, frames[more]->length - from};
        }
    }
    while (done < bundles) {
        int sent = sendmmsg(port->socket, messages + done, (unsigned)(bundles - done), 0);
        if (sent > 0) {
            for (int end = done + sent; done < end; gone += joined[done++])
                count_sent(frames + gone, joined[done], counts);
        } else if (errno != EINTR) {
            /* The first one left cannot go; the ones behind it may. */
            port->send_errors += (uint64_t)joined[done];
            gone += joined[done++];
        }
    }
    return gone;
}

uint64_t port_ingress_drops(struct port *port)
{
    struct tpacket_stats stats;
    socklen_t length = sizeof stats;
    /* Reading resets the kernel's counter. */
    if (getsockopt(port->socket, SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0)
        port->ingress_drops += stats.tp_drops;
    return port->ingress_drops;
}
