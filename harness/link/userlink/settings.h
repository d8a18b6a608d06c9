/* Settings as text, `key=value` words: what the control socket and the replay mode read. */
#ifndef USERLINK_SETTINGS_H
#define USERLINK_SETTINGS_H

#include "state.h"

#define MAX_TABLES 4096

extern const struct table *tables[MAX_TABLES];

/* Loads table `number` from a file; an error text or NULL. */
const char *settings_table(char *words);
/* Replaces all settings; an error text or NULL. Writes into `words`. */
const char *settings_parse(char *words, struct settings *set);
/* The seeds of a direction's streams, five numbers; an error text or NULL. */
const char *settings_seeds(char *words, struct way *way);

#endif
