#include "priority.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The lowest is 1; any of them is above all ordinary processes, which is all it takes. */
#define REALTIME_PRIORITY 2
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

bool priority_raise(void)
{
    struct sched_param parameters = {.sched_priority = REALTIME_PRIORITY};
    return sched_setscheduler(0, SCHED_FIFO, &parameters) == 0;
}

void priority_lower(void)
{
    /* Since Linux 6.12 an ordinary process may ask for short slices: it gets no more of the processor, but sooner. No
     * privilege is needed; older kernels ignore it, and without privilege they ignore the nice value too. */
    struct attributes attributes = {.size = sizeof attributes, .policy = SCHED_OTHER, .runtime = SLICE_NS};
    syscall(SYS_sched_setattr, 0, &attributes, 0);
    setpriority(PRIO_PROCESS, 0, -20);
}
