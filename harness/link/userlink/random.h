/* Seeded streams, one for each effect of each direction, so that changing one effect leaves the others' draws alone.
 * SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). harness/link/spec.py draws the very same numbers. */
#ifndef USERLINK_RANDOM_H
#define USERLINK_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct stream {
    uint64_t state;
};

static inline uint64_t draw(struct stream *s)
{
    uint64_t z = (s->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A probability is a threshold from 0 (never) to 2^63 (always), so that both ends are exact. */
static inline bool chance(struct stream *s, uint64_t threshold) { return (draw(s) >> 1) < threshold; }

#endif
