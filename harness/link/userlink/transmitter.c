#include "transmitter.h"

#include <stdlib.h>

#include "delay.h"

/* A Mahimahi opportunity carries this many bytes of packets, Ethernet header not counted. */
#define OPPORTUNITY_BYTES 1500

static int64_t opportunity_time(const struct way *way, int64_t index)
{
    const struct table *table = way->set.rate_table;
    int64_t count = (int64_t)table->count, period = table->values[count - 1];
    return way->epoch + index / count * period + table->values[index % count];
}

/* The first opportunity at or after `time`. */
static int64_t opportunity_at(const struct way *way, int64_t time)
{
    const struct table *table = way->set.rate_table;
    int64_t count = (int64_t)table->count, period = table->values[count - 1];
    int64_t since = time - way->epoch, cycle = since > 0 ? (since - 1) / period : 0;
    int64_t rest = since - cycle * period, low = 0, high = count - 1;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (table->values[middle] < rest)
            low = middle + 1;
        else
            high = middle;
    }
    return cycle * count + low;
}

static int64_t transmit_by_trace(struct way *way, int64_t start, uint32_t bytes)
{
    uint32_t need = bytes > ETHERNET_HEADER ? bytes - ETHERNET_HEADER : 1;
    if (!way->opportunity_left || opportunity_time(way, way->opportunity) < start) {
        int64_t first = opportunity_at(way, start);
        /* A used-up opportunity must not be used again by a frame that comes at the same instant. */
        if (!way->opportunity_left && first <= way->opportunity)
            first = way->opportunity + 1;
        way->opportunity = first;
        way->opportunity_left = OPPORTUNITY_BYTES;
    }
    while (need > way->opportunity_left) {
        need -= way->opportunity_left;
        way->opportunity++;
        way->opportunity_left = OPPORTUNITY_BYTES;
    }
    way->opportunity_left -= need;
    return opportunity_time(way, way->opportunity);
}

int64_t transmit(struct way *way, int64_t start, uint32_t bytes)
{
    way->free_at = way->set.rate_table ? transmit_by_trace(way, start, bytes)
                                       : start + (int64_t)((uint64_t)bytes * 8000000000u / way->set.rate);
    return way->free_at;
}

bool queue_full(const struct settings *set, uint64_t bytes, uint64_t packets, const struct frame *more)
{
    return (set->limit_bytes && bytes + more->length > set->limit_bytes) ||
           (set->limit_packets && packets + 1 > set->limit_packets);
}

void queue_drop(struct way *way, struct frame *frame)
{
    way->counts.queue_drops++;
    frame_free(frame);
}

static void ring_put(struct way *way, struct served entry)
{
    if (way->ring_count == way->ring_size) {
        size_t size = way->ring_size ? 2 * way->ring_size : 16;
        struct served *ring = malloc(size * sizeof *ring);
        if (!ring)
            abort();
        for (size_t i = 0; i < way->ring_count; i++)
            ring[i] = way->ring[(way->ring_first + i) % way->ring_size];
        free(way->ring);
        way->ring = ring;
        way->ring_size = size;
        way->ring_first = 0;
    }
    way->ring[(way->ring_first + way->ring_count++) % way->ring_size] = entry;
}

void droptail_enter(struct way *way, struct frame *frame)
{
    while (way->ring_count && way->ring[way->ring_first].depart <= frame->arrival) {
        way->held_bytes -= way->ring[way->ring_first].bytes;
        way->ring_first = (way->ring_first + 1) % way->ring_size;
        way->ring_count--;
    }
    if (queue_full(&way->set, way->held_bytes, way->ring_count, frame)) {
        queue_drop(way, frame);
        return;
    }
    int64_t start = way->free_at > frame->arrival ? way->free_at : frame->arrival;
    int64_t depart = transmit(way, start, frame->length);
    way->held_bytes += frame->length;
    ring_put(way, (struct served){depart, frame->length});
    delay_enter(way, frame, depart);
}
