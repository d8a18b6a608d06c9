#include "bundle.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define VLAN_TAG 4
#define IPV6_HEADER 40
#define UDP_HEADER 8
#define UDP_CHECK 6
#define TCP_FLAGS 13
#define TCP_FIN_PSH 0x09
#define TCP_CWR 0x80

/* Where a segment's headers are. */
struct layout {
    uint32_t network, transport, payload;
    bool ipv6, tcp;
};

static uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at) { return get16(at) << 16 | get16(at + 2); }

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

/* The ones' complement sum (RFC 1071), not yet inverted; in the machine's order, whose bytes never matter to it. */
static uint16_t sum(const uint8_t *at, uint32_t length, uint64_t total)
{
    for (; length >= 4; at += 4, length -= 4) {
        uint32_t four;
        memcpy(&four, at, sizeof four);
        total += four;
    }
    uint8_t last[4] = {0};
    memcpy(last, at, length);
    uint32_t four;
    memcpy(&four, last, sizeof four);
    total += four;
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)total;
}

bool is_bundle(const struct frame *frame) { return frame->offload.gso_type != VIRTIO_NET_HDR_GSO_NONE; }

static bool find_layout(const struct frame *frame, struct layout *at)
{
    uint8_t kind = frame->offload.gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
    at->tcp = kind == VIRTIO_NET_HDR_GSO_TCPV4 || kind == VIRTIO_NET_HDR_GSO_TCPV6;
    at->transport = frame->offload.csum_start;
    if ((!at->tcp && kind != VIRTIO_NET_HDR_GSO_UDP_L4) || !(frame->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
        at->transport + 20 > FRAME_BYTES)
        return false;
    at->network = ETH_HLEN;
    uint32_t type = get16(frame->data + 12);
    for (; (type == ETH_P_8021Q || type == ETH_P_8021AD) && at->network < 32; at->network += 4)
        type = get16(frame->data + at->network + 2);
    at->ipv6 = type == ETH_P_IPV6;
    /* Where something lies between the two headers, a tunnel, lengths in it would have to be cut too. */
    if (at->ipv6 ? at->transport < at->network + IPV6_HEADER
                 : type != ETH_P_IP || at->transport != at->network + (frame->data[at->network] & 15u) * 4)
        return false;
    at->payload = at->transport + (at->tcp ? (frame->data[at->transport + 12] >> 4) * 4u : UDP_HEADER);
    return frame->offload.gso_size && at->payload < frame->length &&
           at->transport + frame->offload.csum_offset + 2u <= at->payload &&
           at->payload + frame->offload.gso_size + VLAN_TAG <= FRAME_BYTES;
}

/* Lengths and checksums for so much payload. The transport's own checksum stays half made, as the node made it: the sum
 * of the pseudo-header alone (RFC 9293, section 3.1; RFC 8200, section 8.1). */
static void set_lengths(struct frame *frame, const struct layout *at, uint32_t payload)
{
    uint8_t *network = frame->data + at->network, *transport = frame->data + at->transport;
    uint32_t octets = at->payload - at->transport + payload;
    uint16_t pseudo = htons(at->tcp ? IPPROTO_TCP : IPPROTO_UDP);
    if (at->ipv6) {
        put16(network + 4, at->payload - at->network - IPV6_HEADER + payload);
        pseudo = sum(network + 8, 32, pseudo);
    } else {
        put16(network + 2, at->payload - at->network + payload);
        put16(network + 10, 0);
        uint16_t check = (uint16_t)~sum(network, at->transport - at->network, 0);
        memcpy(network + 10, &check, sizeof check);
        pseudo = sum(network + 12, 8, pseudo);
    }
    if (!at->tcp)
        put16(transport + 4, octets);
    uint16_t length = htons((uint16_t)octets);
    pseudo = sum((uint8_t *)&length, sizeof length, pseudo);
    memcpy(transport + frame->offload.csum_offset, &pseudo, sizeof pseudo);
}

static struct frame *segment(const struct frame *bundle, const uint8_t *rest, const struct layout *at, uint32_t from,
                             uint32_t payload)
{
    struct frame *frame = frame_new();
    if (!frame)
        return NULL;
    memcpy(frame, bundle, sizeof *bundle + at->payload);
    frame->headers = at->payload;
    frame->length = at->payload + payload;
    uint8_t *to = frame->data + at->payload;
    uint32_t near = from >= FRAME_BYTES ? 0 : from + payload > FRAME_BYTES ? FRAME_BYTES - from : payload;
    memcpy(to, bundle->data + from, near);
    if (near < payload)
        memcpy(to + near, rest + (from + near - FRAME_BYTES), payload - near);
    return frame;
}

struct frame *bundle_cut(const struct frame *bundle, const uint8_t *rest)
{
    static uint64_t place;
    struct frame *chain = NULL, **end = &chain;
    struct layout at;
    if (!find_layout(bundle, &at)) {
        errno = EPROTO;
        return NULL;
    }
    uint32_t size = bundle->offload.gso_size, index = 0;
    place++;
    for (uint32_t from = at.payload; from < bundle->length; from += size, index++) {
        bool last = bundle->length - from <= size;
        struct frame *frame = segment(bundle, rest, &at, from, last ? bundle->length - from : size);
        if (!frame) {
            while (chain) {
                frame = chain->next;
                frame_free(chain);
                chain = frame;
            }
            errno = ENOMEM;
            return NULL;
        }
        frame->place = ++place;
        uint8_t *transport = frame->data + at.transport;
        if (!at.ipv6)
            put16(frame->data + at.network + 4, get16(frame->data + at.network + 4) + index);
        if (at.tcp) {
            put32(transport + 4, get32(transport + 4) + index * size);
            transport[TCP_FLAGS] &= (uint8_t)~((last ? 0 : TCP_FIN_PSH) | (index ? TCP_CWR : 0));
        }
        set_lengths(frame, &at, frame->length - at.payload);
        *end = frame;
        end = &frame->next;
    }
    *end = NULL;
    return chain;
}

int bundle_join(struct frame **frames, int count)
{
    struct frame *first = frames[0];
    struct layout at;
    uint32_t payload = first->length - first->headers;
    int joined = 1;
    /* The kernel wants no VLAN tag in front of a bundle that comes from outside. */
    if (!first->place || !find_layout(first, &at) || at.network != ETH_HLEN)
        return 1;
    while (joined < count && frames[joined]->place == frames[joined - 1]->place + 1) {
        payload += frames[joined]->length - at.payload;
        joined++;
    }
    if (joined == 1)
        return 1;
    if (at.tcp)
        first->data[at.transport + TCP_FLAGS] |= frames[joined - 1]->data[at.transport + TCP_FLAGS] & TCP_FIN_PSH;
    set_lengths(first, &at, payload);
    return joined;
}

struct virtio_net_hdr bundle_header(const struct frame *first, int joined)
{
    struct virtio_net_hdr header = first->offload;
    if (joined == 1) {
        header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
        header.gso_size = header.hdr_len = 0;
    } else {
        header.hdr_len = (uint16_t)first->headers;
    }
    return header;
}

void frame_finish(struct frame *frame)
{
    if (frame->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        uint32_t start = frame->offload.csum_start, place = start + frame->offload.csum_offset;
        if (place + 2 <= frame->length) {
            uint16_t check = (uint16_t)~sum(frame->data + start, frame->length - start, 0);
            /* A UDP checksum of 0 would say that there is none (RFC 768). */
            if (!check && frame->offload.csum_offset == UDP_CHECK)
                check = 0xffff;
            memcpy(frame->data + place, &check, sizeof check);
        }
    }
    frame->offload = (struct virtio_net_hdr){0};
    frame->place = 0;
}
