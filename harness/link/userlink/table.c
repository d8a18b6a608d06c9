#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const struct table *table_load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    struct table *table = calloc(1, sizeof *table);
    long bytes = -1;
    if (table && !fseek(file, 0, SEEK_END) && (bytes = ftell(file)) >= 8 && !fseek(file, 0, SEEK_SET)) {
        table->count = (size_t)bytes / sizeof *table->values;
        table->values = malloc(table->count * sizeof *table->values);
        if (table->values && fread(table->values, sizeof *table->values, table->count, file) == table->count) {
            fclose(file);
            return table;
        }
        free(table->values);
    }
    free(table);
    fclose(file);
    errno = EINVAL;
    return NULL;
}
