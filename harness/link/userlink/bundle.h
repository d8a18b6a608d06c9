/* Bundles of segments, which a node hands over as to a network card with segmentation offload: cut into the frames that
 * the card would have sent, so that each is delayed and lost alone, and joined again as far as neighbours are due
 * together, as a receiving card with offload does (virtio 1.2, section 5.1.6, has the header that tells of them). */
#ifndef USERLINK_BUNDLE_H
#define USERLINK_BUNDLE_H

#include <stdbool.h>
#include <sys/uio.h>

#include "frame.h"

#define BUNDLE_BYTES 65536

/* Whether the frame's header says that it is a bundle. */
bool is_bundle(const struct frame *frame);
/* The segments of a bundle, linked by `next`, each with a header of its own and the bundle's stamp. The bundle's first
 * FRAME_BYTES lie in `bundle`, what is beyond in `rest`. NULL with errno EPROTO for a bundle that is none of TCP or UDP
 * over IP, or ENOMEM. */
struct frame *bundle_cut(const struct frame *bundle, const uint8_t *rest);
/* How many of the frames, in order, make one bundle again, at least 1; the first one's headers become the bundle's. */
int bundle_join(struct frame **frames, int count);
/* The header that goes to the kernel with so many frames, joined. */
struct virtio_net_hdr bundle_header(const struct frame *first, int joined);
/* Makes the checksum that the node left to its card, and the frame one for itself. */
void frame_finish(struct frame *frame);

#endif
