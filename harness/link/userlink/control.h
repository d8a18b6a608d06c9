/* Commands from the harness: one datagram a command, one datagram an answer. */
#ifndef USERLINK_CONTROL_H
#define USERLINK_CONTROL_H

#include <stdbool.h>

#include "links.h"

/* Answers one command; false when the other side has gone. */
bool control_serve(struct links *links);

#endif
