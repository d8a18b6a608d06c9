/* Cuts and joins bundles read from stdin, without any network: how the tests compare that with segments made by others.
 * Lines in: `HEADER FRAME FROM COUNT`, the virtio header and the frame in hexadecimal. Lines out: how many segments, each
 * of them finished, then segments FROM to FROM + COUNT - 1 as they would be handed over, `HEADER FRAME` each, a blank. */
#include <stdio.h>
#include <string.h>

#include "bundle.h"
#include "replay.h"

static size_t read_hex(const char *text, uint8_t *to, size_t room)
{
    size_t count = 0;
    unsigned octet;
    while (count < room && sscanf(text + 2 * count, "%2x", &octet) == 1)
        to[count++] = (uint8_t)octet;
    return count;
}

static void print_hex(const void *from, size_t count, const char *end)
{
    for (const uint8_t *at = from; count--; at++)
        printf("%02x", *at);
    fputs(end, stdout);
}

static void print_joined(struct frame **frames, int count)
{
    for (int i = 0, joined; i < count; i += joined) {
        joined = bundle_join(frames + i, count - i);
        struct virtio_net_hdr header = bundle_header(frames[i], joined);
        print_hex(&header, sizeof header, " ");
        print_hex(frames[i]->data, frames[i]->headers, "");
        for (int more = i; more < i + joined; more++)
            print_hex(frames[more]->data + frames[more]->headers, frames[more]->length - frames[more]->headers,
                      more == i + joined - 1 ? "\n" : "");
    }
}

int replay_bundles(void)
{
    static char line[3 * BUNDLE_BYTES], header[64], text[2 * BUNDLE_BYTES + 1];
    static uint8_t octets[BUNDLE_BYTES];
    static struct frame *frames[BUNDLE_BYTES];
    while (fgets(line, sizeof line, stdin)) {
        int from, count, all = 0;
        struct frame *bundle = frame_new();
        if (!bundle || sscanf(line, "%63s %131072s %d %d", header, text, &from, &count) != 4)
            return 1;
        read_hex(header, (uint8_t *)&bundle->offload, sizeof bundle->offload);
        bundle->length = (uint32_t)read_hex(text, octets, sizeof octets);
        memcpy(bundle->data, octets, FRAME_BYTES);
        for (struct frame *each = bundle_cut(bundle, octets + FRAME_BYTES); each; each = each->next)
            frames[all++] = each;
        printf("%d\n", all);
        for (int i = 0; i < all; i++) {
            struct frame *alone = frame_copy(frames[i]);
            frame_finish(alone);
            print_hex(alone->data, alone->length, "\n");
        }
        print_joined(frames + from, from + count > all ? all - from : count);
        putchar('\n');
    }
    return 0;
}
