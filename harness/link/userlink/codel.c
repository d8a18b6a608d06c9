#include "codel.h"

#include <math.h>

#include "delay.h"
#include "transmitter.h"

/* RFC 8289, section 5: variable names follow its pseudocode where they can. */
static int64_t control_law(const struct way *way, int64_t time)
{
    return time + (int64_t)((double)way->set.codel_interval / sqrt((double)way->drop_count));
}

static struct frame *pop(struct way *way)
{
    struct frame *frame = way->waiting;
    if (!frame)
        return NULL;
    way->waiting = frame->next;
    if (!way->waiting)
        way->waiting_end = &way->waiting;
    way->waiting_bytes -= frame->length;
    way->waiting_packets--;
    return frame;
}

static struct frame *dodequeue(struct way *way, int64_t now, bool *ok_to_drop)
{
    struct frame *frame = pop(way);
    *ok_to_drop = false;
    if (!frame) {
        way->first_above = 0;
    } else if (now - frame->arrival < way->set.codel_target || way->waiting_bytes <= way->set.mtu + ETHERNET_HEADER) {
        way->first_above = 0;
    } else if (!way->first_above) {
        way->first_above = now + way->set.codel_interval;
    } else {
        *ok_to_drop = now >= way->first_above;
    }
    return frame;
}

static struct frame *dequeue(struct way *way, int64_t now)
{
    bool ok_to_drop;
    struct frame *frame = dodequeue(way, now, &ok_to_drop);
    if (way->dropping) {
        if (!ok_to_drop)
            way->dropping = false;
        while (way->dropping && now >= way->drop_next) {
            queue_drop(way, frame);
            way->drop_count++;
            frame = dodequeue(way, now, &ok_to_drop);
            if (!ok_to_drop)
                way->dropping = false;
            else
                way->drop_next = control_law(way, way->drop_next);
        }
    } else if (ok_to_drop) {
        queue_drop(way, frame);
        frame = dodequeue(way, now, &ok_to_drop);
        way->dropping = true;
        uint32_t delta = way->drop_count - way->last_drop_count;
        way->drop_count = delta > 1 && now - way->drop_next < 16 * way->set.codel_interval ? delta : 1;
        way->drop_next = control_law(way, now);
        way->last_drop_count = way->drop_count;
    }
    return frame;
}

int64_t codel_next(const struct way *way)
{
    return way->free_at > way->waiting->arrival ? way->free_at : way->waiting->arrival;
}

void codel_serve(struct way *way, int64_t now)
{
    while (way->waiting && codel_next(way) <= now) {
        int64_t turn = codel_next(way);
        struct frame *frame = dequeue(way, turn);
        if (frame)
            delay_enter(way, frame, transmit(way, turn, frame->length));
    }
}

void codel_enter(struct way *way, struct frame *frame)
{
    /* The frame in service left the list already; the limit speaks of what waits. */
    if (queue_full(&way->set, way->waiting_bytes, way->waiting_packets, frame)) {
        queue_drop(way, frame);
        return;
    }
    frame->next = NULL;
    *way->waiting_end = frame;
    way->waiting_end = &frame->next;
    way->waiting_bytes += frame->length;
    way->waiting_packets++;
    codel_serve(way, frame->arrival);
}
