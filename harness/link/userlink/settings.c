#include "settings.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct table *tables[MAX_TABLES];

static char problem[256];

static bool number(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return end != text && !*end && !errno && text[0] != '-';
}

const char *settings_table(char *words)
{
    char *space = strchr(words, ' ');
    uint64_t index;
    if (!space)
        return "table: needs a number and a path";
    *space = 0;
    if (!number(words, &index) || index >= MAX_TABLES)
        return "table: not a table number";
    if (!(tables[index] = table_load(space + 1))) {
        snprintf(problem, sizeof problem, "table %s: %s", space + 1, strerror(errno));
        return problem;
    }
    return NULL;
}

static const struct table *table_number(uint64_t index) { return index < MAX_TABLES ? tables[index] : NULL; }

static bool assign(struct settings *set, const char *key, uint64_t value)
{
    struct {
        const char *key;
        int64_t *time;
        uint64_t *plain;
    } numbers[] = {
        {"delay", &set->delay, NULL},
        {"jitter", &set->jitter, NULL},
        {"jitter_repeat", NULL, &set->jitter_repeat},
        {"loss", NULL, &set->loss},
        {"loss_repeat", NULL, &set->loss_repeat},
        {"worsen", NULL, &set->worsen},
        {"recover", NULL, &set->recover},
        {"loss_in_bad", NULL, &set->loss_in_bad},
        {"duplicate", NULL, &set->duplicate},
        {"corrupt", NULL, &set->corrupt},
        {"reorder", NULL, &set->reorder},
        {"reorder_repeat", NULL, &set->reorder_repeat},
        {"rate", NULL, &set->rate},
        {"limit_bytes", NULL, &set->limit_bytes},
        {"limit_packets", NULL, &set->limit_packets},
        {"codel_target", &set->codel_target, NULL},
        {"codel_interval", &set->codel_interval, NULL},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(key, numbers[i].key)) {
            if (numbers[i].time)
                *numbers[i].time = (int64_t)value;
            else
                *numbers[i].plain = value;
            return true;
        }
    if (!strcmp(key, "mtu"))
        set->mtu = (uint32_t)value;
    else if (!strcmp(key, "jitter_played"))
        set->jitter_played = value != 0;
    else if (!strcmp(key, "loss_kind") && value <= LOSS_TRACE)
        set->loss_kind = (enum loss_kind)value;
    else if (!strcmp(key, "queue_kind") && value <= QUEUE_CODEL)
        set->queue_kind = (enum queue_kind)value;
    else if (!strcmp(key, "jitter_table"))
        return (set->jitter_table = table_number(value)) != NULL;
    else if (!strcmp(key, "loss_table"))
        return (set->loss_table = table_number(value)) != NULL;
    else if (!strcmp(key, "rate_table"))
        return (set->rate_table = table_number(value)) != NULL;
    else
        return false;
    return true;
}

const char *settings_parse(char *words, struct settings *set)
{
    struct settings fresh = {.mtu = 1500};
    char *rest;
    for (char *word = strtok_r(words, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        char *equals = strchr(word, '=');
        uint64_t value;
        if (equals)
            *equals = 0;
        if (!equals || !number(equals + 1, &value) || !assign(&fresh, word, value)) {
            snprintf(problem, sizeof problem, "not a setting: %s=%s", word, equals ? equals + 1 : "");
            return problem;
        }
    }
    if (fresh.queue_kind != QUEUE_NONE && !fresh.rate && !fresh.rate_table)
        return "a queue without a rate";
    if (fresh.loss_kind == LOSS_TRACE && !fresh.loss_table)
        return "loss by trace without a table";
    /* Any of the 4096 quantiles may be drawn. */
    if (fresh.jitter_table && !fresh.jitter_played && fresh.jitter_table->count != 4096)
        return "a jitter distribution needs 4096 quantiles";
    if (fresh.rate_table && fresh.rate_table->values[fresh.rate_table->count - 1] <= 0)
        return "a rate trace must last longer than 0";
    *set = fresh;
    return NULL;
}

const char *settings_seeds(char *words, struct way *way)
{
    struct stream *streams[] = {&way->loss_stream, &way->duplicate_stream, &way->corrupt_stream, &way->jitter_stream,
                                &way->reorder_stream};
    char *rest = words;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        char *word = strtok_r(i ? NULL : words, " \n", &rest);
        if (!word || !number(word, &streams[i]->state))
            return "seeds: five numbers, please";
    }
    return NULL;
}
