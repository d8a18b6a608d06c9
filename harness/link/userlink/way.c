#include "way.h"

#include <stdlib.h>

#include "bundle.h"
#include "clock.h"
#include "codel.h"
#include "delay.h"
#include "transmitter.h"

static bool lost(struct way *way)
{
    const struct settings *set = &way->set;
    switch (set->loss_kind) {
    case LOSS_NONE:
        return false;
    case LOSS_BERNOULLI:
        /* With correlation a frame repeats the fate of the one before it: the DAR(1) process. */
        if (set->loss_repeat && way->loss_drawn && chance(&way->loss_stream, set->loss_repeat))
            return way->loss_last;
        way->loss_drawn = true;
        return way->loss_last = chance(&way->loss_stream, set->loss);
    case LOSS_GILBERT_ELLIOTT:
        if (chance(&way->loss_stream, way->bad_state ? set->recover : set->worsen))
            way->bad_state = !way->bad_state;
        return chance(&way->loss_stream, way->bad_state ? set->loss_in_bad : set->loss);
    case LOSS_TRACE:
        return set->loss_table->values[way->loss_index++ % set->loss_table->count] != 0;
    }
    return false;
}

static void enter(struct way *way, struct frame *frame)
{
    switch (way->set.queue_kind) {
    case QUEUE_NONE:
        delay_enter(way, frame, frame->arrival);
        break;
    case QUEUE_DROPTAIL:
        droptail_enter(way, frame);
        break;
    case QUEUE_CODEL:
        codel_enter(way, frame);
        break;
    }
}

void way_start(struct way *way, int64_t epoch)
{
    way->epoch = epoch;
    way->waiting_end = &way->waiting;
    way->opportunity = -1;
}

void way_change(struct way *way, const struct settings *set, int64_t now)
{
    way_advance(way, now);
    /* Who waits under CoDel has no turn any more without it: send them off at the old rate. */
    if (way->waiting && set->queue_kind != QUEUE_CODEL)
        codel_serve(way, NEVER);
    if (set->rate_table != way->set.rate_table) {
        way->opportunity = -1;
        way->opportunity_left = 0;
    }
    if (set->loss_table != way->set.loss_table)
        way->loss_index = 0;
    if (set->jitter_table != way->set.jitter_table)
        way->jitter_index = 0;
    way->loss_drawn = way->jitter_drawn = way->reorder_drawn = false;
    way->set = *set;
}

/* A VLAN tag is no part of the packet that the MTU limits (IEEE 802.3, clause 3.2.7: a tagged frame may be longer). */
static uint32_t tag_bytes(const struct frame *frame)
{
    uint32_t tags = 0;
    for (const uint8_t *type = frame->data + 12; tags < 8 && frame->length >= tags + 18; type += 4, tags += 4)
        if (!(type[0] == 0x81 && type[1] == 0x00) && !(type[0] == 0x88 && type[1] == 0xa8))
            break;
    return tags;
}

void way_arrive(struct way *way, struct frame *frame)
{
    const struct settings *set = &way->set;
    way_advance(way, frame->arrival);
    frame->number = way->number++;
    way->counts.received++;
    if (frame->length - tag_bytes(frame) > set->mtu + ETHERNET_HEADER) {
        way->counts.oversize_drops++;
        frame_free(frame);
        return;
    }
    if (lost(way)) {
        way->counts.lost++;
        frame_free(frame);
        return;
    }
    bool twice = set->duplicate && chance(&way->duplicate_stream, set->duplicate);
    if (set->corrupt && chance(&way->corrupt_stream, set->corrupt) && frame->length > ETHERNET_HEADER) {
        /* The wire corrupts what the card has made whole; else it could not be noticed. */
        frame_finish(frame);
        uint64_t bit = draw(&way->corrupt_stream) % ((uint64_t)(frame->length - ETHERNET_HEADER) * 8);
        frame->data[ETHERNET_HEADER + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        way->counts.corrupted++;
    }
    struct frame *copy = twice ? frame_copy(frame) : NULL;
    enter(way, frame);
    if (copy) {
        way->counts.duplicated++;
        enter(way, copy);
    }
}

void way_advance(struct way *way, int64_t now)
{
    if (way->waiting)
        codel_serve(way, now);
}

int64_t way_next_turn(const struct way *way) { return way->waiting ? codel_next(way) : NEVER; }

int64_t way_next(const struct way *way)
{
    const struct frame *head = line_head(&way->line);
    int64_t turn = way_next_turn(way);
    return head && head->deliver < turn ? head->deliver : turn;
}
