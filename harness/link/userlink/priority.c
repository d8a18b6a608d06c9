#include "priority.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Any real-time priority is above all ordinary processes, which is all it takes; a limit may allow the lowest alone. */
#define HIGHEST_PRIORITY 2
/* The shortest slice that the kernel grants. */
#define SLICE_NS 100000

/* linux/sched/types.h and sched.h of some libraries do not get on; this is the first version of the structure. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/* What an administrator allows (limits.conf, systemd's LimitRTPRIO and LimitNICE) may have to be asked for. */
static rlim_t take_all(int resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(resource, &limit);
    return limit.rlim_cur;
}

bool priority_raise(void)
{
    take_all(RLIMIT_RTPRIO);
    for (int priority = HIGHEST_PRIORITY; priority > 0; priority--) {
        struct sched_param parameters = {.sched_priority = priority};
        if (!sched_setscheduler(0, SCHED_FIFO, &parameters))
            return true;
    }
    return false;
}

void priority_lower(void)
{
    /* Since Linux 6.12 an ordinary process may ask for short slices: it gets no more of the processor, but sooner. No
     * privilege is needed; older kernels ignore it. */
    struct attributes attributes = {.size = sizeof attributes,
                                    .policy = SCHED_OTHER,
                                    .nice = getpriority(PRIO_PROCESS, 0),
                                    .runtime = SLICE_NS};
    syscall(SYS_sched_setattr, 0, &attributes, 0);
    if (!setpriority(PRIO_PROCESS, 0, -20))
        return;
    /* RLIMIT_NICE counts from 20 for the lowest niceness that it allows to 1 for the highest. */
    rlim_t limit = take_all(RLIMIT_NICE);
    if (limit > 20)
        setpriority(PRIO_PROCESS, 0, 20 - (int)(limit < 40 ? limit : 40));
}
