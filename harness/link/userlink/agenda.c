#include "agenda.h"

#include <stdlib.h>

static struct carrier **heap;
static size_t count, size;

static void place(struct carrier *carrier, size_t at)
{
    heap[at] = carrier;
    carrier->place = at;
}

void agenda_add(struct carrier *carrier)
{
    if (count == size) {
        size = size ? 2 * size : 16;
        heap = realloc(heap, size * sizeof *heap);
        if (!heap)
            abort();
    }
    place(carrier, count++);
    agenda_update(carrier);
}

void agenda_update(struct carrier *carrier)
{
    size_t at = carrier->place;
    carrier->next = way_next(&carrier->way);
    for (; at && carrier->next < heap[(at - 1) / 2]->next; at = (at - 1) / 2)
        place(heap[(at - 1) / 2], at);
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1]->next < heap[child]->next)
            child++;
        if (heap[child]->next >= carrier->next)
            break;
        place(heap[child], at);
    }
    place(carrier, at);
}

struct carrier *agenda_first(void) { return count ? heap[0] : NULL; }
