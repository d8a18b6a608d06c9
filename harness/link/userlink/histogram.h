/* Lateness: eight buckets to each doubling from 1 us to 2 s, as harness/link/accounting.py reads them. */
#ifndef USERLINK_HISTOGRAM_H
#define USERLINK_HISTOGRAM_H

#include <stdint.h>

#define BUCKETS (8 * 21)

void histogram_start(void);
void histogram_add(uint32_t *buckets, int64_t late_ns);

#endif
