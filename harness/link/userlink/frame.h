/* A frame on its way, and the pool that frames come from. */
#ifndef USERLINK_FRAME_H
#define USERLINK_FRAME_H

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

struct frame {
    struct frame *next;
    int64_t arrival;
    int64_t deliver;
    uint64_t number; /* of its direction, from 0 */
    uint64_t place;  /* of a bundle's segment: the one behind it has the next; 0 where it is none, or no longer (bundle.h) */
    uint32_t length; /* bytes in data */
    uint32_t headers; /* of a segment: bytes in front of its payload */
    struct virtio_net_hdr offload; /* what the sending node left to its network card; of a segment: of its bundle */
    uint8_t data[];
};

/* The longest frame, with room for the VLAN tags that may be in it. */
#define FRAME_BYTES 1600

/* NULL when the pool has reached its bound. */
struct frame *frame_new(void);
struct frame *frame_copy(const struct frame *from);
void frame_free(struct frame *frame);
size_t frame_pool_bytes(void);

#endif
