#include "delay.h"

static int64_t jitter(struct way *way)
{
    const struct settings *set = &way->set;
    if (!set->jitter_table)
        return 0;
    if (set->jitter_played)
        return set->jitter_table->values[way->jitter_index++ % set->jitter_table->count];
    if (set->jitter_repeat && way->jitter_drawn && chance(&way->jitter_stream, set->jitter_repeat))
        return way->jitter_last;
    way->jitter_drawn = true;
    /* 4096 quantiles: the top 12 bits choose one. The shift rounds down, as Python's does. */
    int64_t quantile = set->jitter_table->values[draw(&way->jitter_stream) >> 52];
    return way->jitter_last = (quantile * set->jitter) >> QUANTILE_SHIFT;
}

static bool goes_ahead(struct way *way)
{
    const struct settings *set = &way->set;
    if (!set->reorder)
        return false;
    if (set->reorder_repeat && way->reorder_drawn && chance(&way->reorder_stream, set->reorder_repeat))
        return way->reorder_last;
    way->reorder_drawn = true;
    return way->reorder_last = chance(&way->reorder_stream, set->reorder);
}

void delay_enter(struct way *way, struct frame *frame, int64_t depart)
{
    const struct settings *set = &way->set;
    int64_t delay = set->delay + jitter(way);
    if (goes_ahead(way)) {
        way->counts.reordered++;
        delay = 0;
    }
    frame->deliver = depart + (delay > 0 ? delay : 0);
    if (!set->reorder && frame->deliver < way->last_deliver)
        frame->deliver = way->last_deliver;
    if (frame->deliver > way->last_deliver)
        way->last_deliver = frame->deliver;
    line_put(&way->line, frame);
}
