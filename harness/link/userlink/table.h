/* Numbers too many for a control message: quantiles of a distribution, traces. A file of int64, machine's order. */
#ifndef USERLINK_TABLE_H
#define USERLINK_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table {
    size_t count;
    int64_t *values;
};

/* Quantiles are scaled by 2^QUANTILE_SHIFT. */
#define QUANTILE_SHIFT 20

/* NULL with errno set. Tables live as long as the process: a changed link may still use them. */
const struct table *table_load(const char *path);

#endif
