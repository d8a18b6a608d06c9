#include "histogram.h"

#include <math.h>

static int64_t upper_ns[BUCKETS];

void histogram_start(void)
{
    for (int i = 0; i < BUCKETS; i++)
        upper_ns[i] = (int64_t)(1000.0 * exp2((i + 1) / 8.0));
}

void histogram_add(uint32_t *buckets, int64_t late_ns)
{
    int low = 0, high = BUCKETS - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (upper_ns[middle] < late_ns)
            low = middle + 1;
        else
            high = middle;
    }
    buckets[low]++;
}
