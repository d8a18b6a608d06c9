/* What one direction of one link knows: its settings, its streams of chance, what it holds. */
#ifndef USERLINK_STATE_H
#define USERLINK_STATE_H

#include "frame.h"
#include "line.h"
#include "random.h"
#include "table.h"

#define ETHERNET_HEADER 14

enum loss_kind { LOSS_NONE, LOSS_BERNOULLI, LOSS_GILBERT_ELLIOTT, LOSS_TRACE };
enum queue_kind { QUEUE_NONE, QUEUE_DROPTAIL, QUEUE_CODEL };

/* What can be changed while frames flow. Probabilities are thresholds (random.h), times ns. */
struct settings {
    uint32_t mtu;
    int64_t delay, jitter;
    const struct table *jitter_table; /* standardised quantiles, or offsets in ns where jitter_played */
    uint64_t jitter_repeat;
    uint32_t jitter_played;
    enum loss_kind loss_kind;
    uint64_t loss, loss_repeat;           /* Bernoulli */
    uint64_t worsen, recover, loss_in_bad; /* Gilbert-Elliott; `loss` is the one in the good state */
    const struct table *loss_table;
    uint64_t duplicate, corrupt, reorder, reorder_repeat;
    enum queue_kind queue_kind;
    uint64_t rate; /* bits per second; 0 with a rate_table */
    const struct table *rate_table;
    uint64_t limit_bytes, limit_packets; /* 0: none */
    int64_t codel_target, codel_interval;
};

struct counts {
    uint64_t received, sent, sent_bytes, lost, queue_drops, oversize_drops, duplicated, corrupted, reordered;
    uint64_t ingress_drops, send_errors;
};

struct served {
    int64_t depart;
    uint32_t bytes;
};

struct way {
    struct settings set;
    struct stream loss_stream, duplicate_stream, corrupt_stream, jitter_stream, reorder_stream;
    struct counts counts;
    struct line line; /* frames with a time to deliver */

    uint64_t number;
    uint64_t loss_index, jitter_index;
    bool loss_drawn, loss_last, jitter_drawn, reorder_drawn, reorder_last, bad_state;
    int64_t jitter_last;

    /* The transmitter: free from this time on. */
    int64_t free_at, epoch, last_deliver;
    int64_t opportunity; /* the one in use, -1 before the first */
    uint32_t opportunity_left;
    /* What the transmitter still holds, oldest first: drop-tail keeps times only, CoDel the frames themselves. */
    struct served *ring;
    size_t ring_first, ring_count, ring_size;
    uint64_t held_bytes;
    struct frame *waiting, **waiting_end;
    uint64_t waiting_bytes, waiting_packets;
    int64_t first_above, drop_next;
    uint32_t drop_count, last_drop_count;
    bool dropping;
};

#endif
