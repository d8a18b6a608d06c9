#include "frame.h"

#include <stdlib.h>
#include <string.h>

/* A link that holds more than this has a delay times rate beyond what one machine emulates; refusing beats swapping. */
#define POOL_LIMIT_BYTES ((size_t)512 << 20)

static struct frame *spare[2];
static size_t pool_bytes;

struct frame *frame_new(uint32_t large)
{
    struct frame *frame = spare[large];
    if (frame) {
        spare[large] = frame->next;
        return frame;
    }
    size_t bytes = sizeof *frame + (large ? LARGE_BYTES : SMALL_BYTES);
    if (pool_bytes + bytes > POOL_LIMIT_BYTES || !(frame = malloc(bytes)))
        return NULL;
    pool_bytes += bytes;
    frame->large = large;
    return frame;
}

struct frame *frame_copy(const struct frame *from)
{
    struct frame *copy = frame_new(from->large);
    if (copy)
        memcpy(copy, from, sizeof *from + from->length);
    return copy;
}

void frame_free(struct frame *frame)
{
    frame->next = spare[frame->large];
    spare[frame->large] = frame;
}

size_t frame_pool_bytes(void) { return pool_bytes; }
