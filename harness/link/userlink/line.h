/* Frames that wait for their time. Those in order (nearly all) sit in a list; a heap holds the ones that overtake. */
#ifndef USERLINK_LINE_H
#define USERLINK_LINE_H

#include "frame.h"

struct line {
    struct frame *first, *last;
    struct frame **early;
    size_t early_count, early_size;
};

void line_put(struct line *line, struct frame *frame);
struct frame *line_head(const struct line *line);
struct frame *line_take(struct line *line);

#endif
