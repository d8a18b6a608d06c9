/* Runs one direction's model over arrivals read from stdin, without any network: how the tests compare it with the
 * specification in Python. Lines in: `table N PATH`, `seeds A B C D E`, `set key=value...` (at time `at`), `at T`,
 * `frame T LENGTH`. Lines out, in order of delivery: `number deliver first-changed-byte`. Then `counts ...`. */
#include "replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "settings.h"
#include "way.h"

static void deliver_until(struct way *way, int64_t until)
{
    for (;;) {
        struct frame *head = line_head(&way->line);
        int64_t turn = way_next_turn(way);
        if (head && head->deliver <= until && head->deliver <= turn) {
            line_take(&way->line);
            way->counts.sent++;
            uint32_t changed = 0;
            while (changed < head->length && !head->data[changed])
                changed++;
            printf("%" PRIu64 " %" PRId64 " %d\n", head->number, head->deliver,
                   changed < head->length ? (int)changed : -1);
            frame_free(head);
        } else if (turn <= until && turn != NEVER) {
            way_advance(way, turn);
        } else {
            return;
        }
    }
}

int replay(void)
{
    static struct way way;
    static char line[65536];
    int64_t at = 0;
    way_start(&way, 0);
    while (fgets(line, sizeof line, stdin)) {
        const char *error = NULL;
        struct settings set;
        uint32_t length;
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "table ", 6)) {
            error = settings_table(line + 6);
        } else if (!strncmp(line, "seeds ", 6)) {
            error = settings_seeds(line + 6, &way);
        } else if (!strncmp(line, "set ", 4)) {
            if (!(error = settings_parse(line + 4, &set)))
                way_change(&way, &set, at);
        } else if (sscanf(line, "at %" SCNd64, &at) == 1) {
            deliver_until(&way, at);
        } else if (sscanf(line, "frame %" SCNd64 " %" SCNu32, &at, &length) == 2 && length <= FRAME_BYTES) {
            struct frame *frame = frame_new();
            if (!frame)
                return 1;
            deliver_until(&way, at);
            memset(frame->data, 0, length);
            frame->arrival = at;
            frame->length = length;
            frame->place = 0;
            frame->offload = (struct virtio_net_hdr){0};
            way_arrive(&way, frame);
        } else {
            error = "not understood";
        }
        if (error) {
            fprintf(stderr, "userlink: %s\n", error);
            return 1;
        }
    }
    deliver_until(&way, NEVER);
    const struct counts *c = &way.counts;
    printf("counts %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           c->received, c->sent, c->lost, c->queue_drops, c->oversize_drops, c->duplicated, c->corrupted, c->reordered);
    return 0;
}
