/* The process that carries a lab's links. */
#ifndef USERLINK_DAEMON_H
#define USERLINK_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

/* Serves the control socket and carries frames until the socket closes; the exit status. */
int daemon_run(int control, int64_t spin_ns, bool realtime);

#endif
