#include "frame.h"

#include <stdlib.h>
#include <string.h>

/* A link that holds more than this has a delay times rate beyond what one machine emulates; refusing beats swapping. */
#define POOL_LIMIT_BYTES ((size_t)512 << 20)

static struct frame *spare;
static size_t pool_bytes;

struct frame *frame_new(void)
{
    struct frame *frame = spare;
    if (frame) {
        spare = frame->next;
        return frame;
    }
    size_t bytes = sizeof *frame + FRAME_BYTES;
    if (pool_bytes + bytes > POOL_LIMIT_BYTES || !(frame = malloc(bytes)))
        return NULL;
    pool_bytes += bytes;
    return frame;
}

struct frame *frame_copy(const struct frame *from)
{
    struct frame *copy = frame_new();
    if (copy)
        memcpy(copy, from, sizeof *from + from->length);
    return copy;
}

void frame_free(struct frame *frame)
{
    frame->next = spare;
    spare = frame;
}

size_t frame_pool_bytes(void) { return pool_bytes; }
