/* userlink: carries the frames of a lab's impaired links.
 *
 *   userlink serve FD PARENT SPIN_US   FD: a connected SOCK_SEQPACKET socket; dies when it closes, or with process
 *                                      PARENT (0: do not watch it)
 *   userlink replay                    the model alone, for tests (replay.c)
 *   userlink replay-bundles            cutting and joining alone, for tests (replay_bundles.c) */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon.h"
#include "kicker.h"
#include "priority.h"
#include "replay.h"

static int serve(int control, long parent, long spin_us)
{
    if (parent > 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* It may have died before we asked. In a PID namespace of its own our parent is 0 when it is outside. */
        if (getppid() != parent && getppid() != 0)
            return 0;
    }
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    prctl(PR_SET_TIMERSLACK, 1UL);
    bool realtime = !getenv("OVERLAYBENCH_NO_REALTIME") && priority_raise();
    if (!realtime) {
        priority_lower();
        kicker_start();
    }
    return daemon_run(control, spin_us * 1000, realtime);
}

int main(int count, char **words)
{
    if (count == 5 && !strcmp(words[1], "serve"))
        return serve(atoi(words[2]), atol(words[3]), atol(words[4]));
    if (count == 2 && !strcmp(words[1], "replay"))
        return replay();
    if (count == 2 && !strcmp(words[1], "replay-bundles"))
        return replay_bundles();
    fprintf(stderr, "usage: userlink serve FD PARENT SPIN_US | userlink replay | userlink replay-bundles\n");
    return 2;
}
