/* A frame on its way, and the pool that frames come from. */
#ifndef USERLINK_FRAME_H
#define USERLINK_FRAME_H

#include <stddef.h>
#include <stdint.h>

struct frame {
    struct frame *next;
    int64_t arrival;
    int64_t deliver;
    uint64_t number;  /* of its direction, from 0 */
    uint32_t length;  /* bytes in data */
    uint32_t wire;    /* bytes that count for the rate: more than length where data is a bundle of segments */
    uint32_t packets; /* segments in a bundle, else 1 */
    uint32_t large;   /* which size class the frame goes back to */
    uint8_t data[];
};

#define SMALL_BYTES 1600
#define LARGE_BYTES (65536 + 256)

/* NULL when the pool has reached its bound. */
struct frame *frame_new(uint32_t large);
struct frame *frame_copy(const struct frame *from);
void frame_free(struct frame *frame);
size_t frame_pool_bytes(void);

#endif
