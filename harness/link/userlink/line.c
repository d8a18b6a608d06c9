#include "line.h"

#include <stdbool.h>
#include <stdlib.h>

static bool before(const struct frame *a, const struct frame *b)
{
    return a->deliver != b->deliver ? a->deliver < b->deliver : a->number < b->number;
}

static void put_early(struct line *line, struct frame *frame)
{
    if (line->early_count == line->early_size) {
        line->early_size = line->early_size ? 2 * line->early_size : 16;
        line->early = realloc(line->early, line->early_size * sizeof *line->early);
        if (!line->early)
            abort();
    }
    size_t at = line->early_count++;
    for (; at && before(frame, line->early[(at - 1) / 2]); at = (at - 1) / 2)
        line->early[at] = line->early[(at - 1) / 2];
    line->early[at] = frame;
}

static struct frame *take_early(struct line *line)
{
    struct frame *top = line->early[0], *moved = line->early[--line->early_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < line->early_count; at = child) {
        if (child + 1 < line->early_count && before(line->early[child + 1], line->early[child]))
            child++;
        if (!before(line->early[child], moved))
            break;
        line->early[at] = line->early[child];
    }
    line->early[at] = moved;
    return top;
}

void line_put(struct line *line, struct frame *frame)
{
    if (line->first && frame->deliver < line->last->deliver) {
        put_early(line, frame);
        return;
    }
    frame->next = NULL;
    if (line->first)
        line->last->next = frame;
    else
        line->first = frame;
    line->last = frame;
}

struct frame *line_head(const struct line *line)
{
    struct frame *early = line->early_count ? line->early[0] : NULL;
    return early && (!line->first || before(early, line->first)) ? early : line->first;
}

struct frame *line_take(struct line *line)
{
    struct frame *head = line_head(line);
    if (head && head != line->first)
        return take_early(line);
    if (head)
        line->first = head->next;
    return head;
}
