#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* Room for the frames of a burst at full speed while we are busy; an unprivileged process gets less (rmem_max). */
#define RECEIVE_BUFFER (32 << 20)

static int set_offload(int socket, const char *name, uint32_t command)
{
    struct ethtool_value off = {.cmd = command};
    struct ifreq request = {.ifr_data = (char *)&off};
    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    return ioctl(socket, SIOCETHTOOL, &request);
}

/* veth hands frames over with half-made checksums and in bundles; a frame must be whole to be delayed or lost alone. */
static int make_frames_whole(int socket, const char *name)
{
    static const uint32_t off[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_STXCSUM};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (set_offload(socket, name, off[i]) < 0 && errno != EOPNOTSUPP)
            return -1;
    return 0;
}

int port_open(struct port *port, const char *name, bool bundles)
{
    int one = 1, buffer = RECEIVE_BUFFER;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};

    /* Protocol 0: nothing is queued before the socket is bound to the one interface. */
    int socket_ = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0)
        return -1;
    strncpy(port->name, name, sizeof port->name - 1);
    port->bundles = bundles;
    port->socket = socket_;
    address.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
    if (!address.sll_ifindex || (!bundles && make_frames_whole(socket_, name) < 0))
        return -1;
    if (setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    /* Frames count as ours until whoever is behind the link has taken them, which may be another link's helper. */
    if (setsockopt(socket_, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(socket_, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (setsockopt(socket_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) < 0 ||
        setsockopt(socket_, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) < 0 ||
        (bundles && setsockopt(socket_, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0) ||
        bind(socket_, (struct sockaddr *)&address, sizeof address) < 0 ||
        setsockopt(socket_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0)
        return -1;
    return 0;
}

/* Bytes in front of a bundle's payload; the header's own hdr_len is only a hint. 0 where there is no bundle. */
static uint32_t headers_of_bundle(const struct virtio_net_hdr *header, const uint8_t *packet, uint32_t length)
{
    switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return header->csum_start + 12u < length ? header->csum_start + (packet[header->csum_start + 12] >> 4) * 4u : 0;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return header->csum_start + 8u;
    default:
        return 0;
    }
}

static void measure(struct frame *frame, bool bundles)
{
    frame->wire = frame->length;
    frame->packets = 1;
    if (!bundles)
        return;
    struct virtio_net_hdr header;
    memcpy(&header, frame->data, sizeof header);
    frame->wire -= (uint32_t)sizeof header;
    uint32_t headers = headers_of_bundle(&header, frame->data + sizeof header, frame->wire);
    if (!headers || !header.gso_size || frame->wire <= headers)
        return;
    /* On a real wire every segment would have had headers of its own. */
    frame->packets = (frame->wire - headers + header.gso_size - 1) / header.gso_size;
    frame->wire += (frame->packets - 1) * headers;
}

int port_receive(struct port *port, struct frame **frames, int64_t now)
{
    static struct frame *room[2][BATCH];
    static char control[BATCH][CMSG_SPACE(sizeof(struct timespec))];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct frame **slots = room[port->bundles];
    uint32_t size = port->bundles ? LARGE_BYTES : SMALL_BYTES;
    int ready = 0;

    while (ready < BATCH && (slots[ready] || (slots[ready] = frame_new(port->bundles)))) {
        parts[ready] = (struct iovec){slots[ready]->data, size};
        messages[ready].msg_hdr = (struct msghdr){.msg_iov = &parts[ready],
                                                  .msg_iovlen = 1,
                                                  .msg_control = control[ready],
                                                  .msg_controllen = sizeof control[ready]};
        ready++;
    }
    if (!ready) {
        errno = ENOMEM;
        return -1;
    }
    int count = recvmmsg(port->socket, messages, (unsigned)ready, 0, NULL);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR || errno == ENETDOWN ? 0 : -1;

    /* Stamps are of the wall clock; its distance is taken anew each time because it may be stepped. */
    int64_t wall_ahead = clock_ns(CLOCK_REALTIME) - now_ns();
    for (int i = 0; i < count; i++) {
        struct frame *frame = slots[i];
        const struct cmsghdr *stamp = CMSG_FIRSTHDR(&messages[i].msg_hdr);
        frame->arrival = now;
        if (stamp && stamp->cmsg_level == SOL_SOCKET && stamp->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(stamp), sizeof t);
            frame->arrival = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec - wall_ahead;
        }
        frame->length = messages[i].msg_len;
        measure(frame, port->bundles);
        frames[i] = frame;
    }
    /* Slots given away leave a gap at the front; close it so that the unused ones are found next time. */
    for (int i = 0; i + count < ready; i++)
        slots[i] = slots[i + count];
    for (int i = ready - count; i < ready; i++)
        slots[i] = NULL;
    return count;
}

int port_send(struct port *port, struct frame **frames, int count)
{
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    int done = 0, good = 0;
    for (int i = 0; i < count; i++) {
        parts[i] = (struct iovec){frames[i]->data, frames[i]->length};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    while (done < count) {
        int sent = sendmmsg(port->socket, messages + done, (unsigned)(count - done), 0);
        if (sent > 0) {
            done += sent;
            good += sent;
        } else if (errno != EINTR) {
            /* The first one left cannot go; the ones behind it may. */
            port->send_errors++;
            done++;
        }
    }
    return good;
}

uint64_t port_ingress_drops(struct port *port)
{
    struct tpacket_stats stats;
    socklen_t length = sizeof stats;
    /* Reading resets the kernel's counter. */
    return getsockopt(port->socket, SOL_PACKET, PACKET_STATISTICS, &stats, &length) < 0 ? 0 : stats.tp_drops;
}
