#include "kicker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


/* An ordinary process that is woken in a moment at which another comes first waits for the next tick, 4 ms at 250 Hz,
 * however little of a processor it wants. Whoever wakes on a processor makes it choose anew: so one process a
 * processor wakes, and does nothing. Of 300 us apart and 500, the latter cost less and helped more. */
#define KICK_NS 500000
#define LOOK_NS 20000000
/* Kicks go on for so many looks after the last at which more than one part in so many of the time had been waited. */
#define GOES_ON 50
#define WAITED_SHARE 200
/* A machine of more processors has an idle one. */
#define MOST_PROCESSORS 16

static int processors, running;
static char why_not[120] = "real-time priority needs none";

/* Nanoseconds for which a process was ready and did not run; -1: the kernel does not say. */
static int64_t run_delay_ns(FILE *schedstat)
{
    long long ran, waited;
    rewind(schedstat);
    return fflush(schedstat) || fscanf(schedstat, "%lld %lld", &ran, &waited) != 2 ? -1 : waited;
}

static void sleep_ns(long ns)
{
    struct timespec time = {.tv_nsec = ns};
    nanosleep(&time, NULL);
}

static void kick(int processor, pid_t whose)
{
    char path[64];
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(processor, &only);
    /* Not in the session of the other: where sessions share the processors, it would want what that has used up. */
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != whose ||
        sched_setaffinity(0, sizeof only, &only) || syscall(SYS_close_range, 3U, ~0U, 0U))
        return;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)whose);
    FILE *schedstat = fopen(path, "re");
    if (!schedstat)
        return;
    setvbuf(schedstat, NULL, _IONBF, 0);
    int64_t before = run_delay_ns(schedstat), waited;
    for (int left = 0; before >= 0; before = waited) {
        if (left > 0)
            for (int kicks = 0; kicks < LOOK_NS / KICK_NS; kicks++)
                sleep_ns(KICK_NS);
        else
            sleep_ns(LOOK_NS);
        waited = run_delay_ns(schedstat);
        left = waited - before > LOOK_NS / WAITED_SHARE ? GOES_ON : left - 1;
    }
}

void kicker_start(void)
{
    cpu_set_t usable;
    if (sched_getaffinity(0, sizeof usable, &usable)) {
        snprintf(why_not, sizeof why_not, "sched_getaffinity: %s", strerror(errno));
        return;
    }
    processors = CPU_COUNT(&usable);
    if (processors > MOST_PROCESSORS) {
        snprintf(why_not, sizeof why_not, "of more than %d processors one is idle", MOST_PROCESSORS);
        return;
    }
    why_not[0] = 0;
    pid_t own = getpid();
    for (int processor = 0; processor < CPU_SETSIZE; processor++) {
        if (!CPU_ISSET(processor, &usable))
            continue;
        pid_t kicker = fork();
        if (!kicker) {
            kick(processor, own);
            _exit(0);
        }
        if (kicker < 0)
            snprintf(why_not, sizeof why_not, "fork: %s", strerror(errno));
        else
            running++;
    }
}

void kicker_describe(char *text, size_t room)
{
    /* They are this process's only children, and end early where they cannot learn how long it waits. */
    while (running && waitpid(-1, NULL, WNOHANG) > 0) {
        running--;
        snprintf(why_not, sizeof why_not, "ended: no processor of its own, or no schedstat in /proc");
    }
    snprintf(text, room, "%d of %d%s%s", running, processors, why_not[0] ? ": " : "", why_not);
}
