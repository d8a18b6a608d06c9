#include "daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agenda.h"
#include "clock.h"
#include "control.h"
#include "histogram.h"
#include "links.h"
#include "priority.h"

#define EVENTS 64
/* One part in so many of the time may be spun away, and so much may be saved up for a busy moment. */
#define SPIN_SHARE 20
#define SPIN_SAVINGS_NS 20000000
#define LOAD_WINDOW_NS 100000000
/* Percent of a processor above and below which a helper works in rounds, and out of them again. */
#define ROUNDS_ABOVE 25
#define ROUNDS_BELOW 8
#define ROUND_NS 200000

/* When to wake, and how. */
struct daemon {
    struct links links;
    int timer;
    int64_t armed;
    int64_t spin_ns, wake_ns, spin_budget, budget_at;
    int64_t load_at, load_used, round_at;
    bool stepped_down, rounds;
};

static struct carrier *carrier_of(struct way *way)
{
    return (struct carrier *)((char *)way - offsetof(struct carrier, way));
}

static void receive(struct port *port)
{
    struct carrier *carrier = carrier_of(port->towards);
    int64_t now = now_ns();
    struct frame *frame, *following;
    if (port_receive(port, &frame, now) < 0) {
        fprintf(stderr, "userlink: %s: %s\n", port->name, strerror(errno));
        return;
    }
    if (!frame)
        return;
    for (; frame; frame = following) {
        following = frame->next;
        /* The wall clock may be stepped between a stamp and its conversion: time goes on in any case. */
        if (frame->arrival > now)
            frame->arrival = now;
        if (frame->arrival < carrier->latest_arrival)
            frame->arrival = carrier->latest_arrival;
        carrier->latest_arrival = frame->arrival;
        way_arrive(&carrier->way, frame);
    }
    agenda_update(carrier);
}

static void send_due(struct carrier *carrier, int64_t until)
{
    struct frame *frames[SEND_BATCH];
    struct way *way = &carrier->way;
    int count = 0;
    way_advance(way, until);
    for (struct frame *head; count < SEND_BATCH && (head = line_head(&way->line)) && head->deliver <= until;)
        frames[count++] = line_take(&way->line);
    for (int gone = 0; gone < count;) {
        int64_t now = now_ns();
        for (int end = gone + port_send(carrier->out, frames + gone, count - gone, &way->counts); gone < end; gone++) {
            histogram_add(carrier->lateness, now - frames[gone]->deliver);
            frame_free(frames[gone]);
        }
    }
    agenda_update(carrier);
}

/* How long until the next thing is due; sends what is due already. What comes due meanwhile is sent too, but not by a
 * helper that works in rounds: on a fast link something always is, and alone, where the next round finds a bundle. */
static int64_t work_off(bool rounds)
{
    for (int64_t until = now_ns();; until = rounds ? until : now_ns()) {
        struct carrier *first = agenda_first();
        if (!first || first->next > until)
            return first ? first->next : NEVER;
        send_due(first, until);
    }
}

static void arm(struct daemon *daemon, int64_t at)
{
    if (at == daemon->armed)
        return;
    struct itimerspec when = {.it_value = {at == NEVER ? 0 : at / 1000000000, at == NEVER ? 0 : at % 1000000000}};
    timerfd_settime(daemon->timer, TFD_TIMER_ABSTIME, &when, NULL);
    daemon->armed = at;
}

/* A timer wakes us later than asked, by an amount that depends on the machine: aim earlier by what was seen lately, at
 * most by spin_ns, and spin the rest. */
static void learn_wake(struct daemon *daemon, int64_t asked, int64_t woken)
{
    int64_t late = woken - asked;
    if (late > daemon->spin_ns)
        late = daemon->spin_ns;
    /* Up at once, down slowly: a percentile rather than a mean. */
    daemon->wake_ns += late > daemon->wake_ns ? (late - daemon->wake_ns) / 2 : (late - daemon->wake_ns) / 64;
}

/* Spinning buys punctuality with processor time that the lab's nodes may need: it gets a twentieth of one processor. */
static bool may_spin(struct daemon *daemon, int64_t now)
{
    daemon->spin_budget += (now - daemon->budget_at) / SPIN_SHARE;
    daemon->budget_at = now;
    if (daemon->spin_budget > SPIN_SAVINGS_NS)
        daemon->spin_budget = SPIN_SAVINGS_NS;
    return daemon->spin_budget > 0;
}

/* The kernel suspends a real-time process that leaves others less than a twentieth of a processor, for 50 ms at a time.
 * A helper that busy is better off as an ordinary process. */
static void step_down_or_up(struct daemon *daemon, int64_t percent)
{
    bool busy = percent > (daemon->stepped_down ? 70 : 90);
    if (!daemon->links.realtime || busy == daemon->stepped_down)
        return;
    if (busy)
        priority_lower();
    daemon->stepped_down = busy || !priority_raise();
}

static void watch_load(struct daemon *daemon, int64_t now)
{
    if (now - daemon->load_at < LOAD_WINDOW_NS)
        return;
    int64_t used = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    int64_t percent = 100 * (used - daemon->load_used) / (now - daemon->load_at);
    daemon->load_at = now;
    daemon->load_used = used;
    daemon->rounds = percent > (daemon->rounds ? ROUNDS_BELOW : ROUNDS_ABOVE);
    step_down_or_up(daemon, percent);
}

/* What network cards call interrupt moderation: to wake for every frame costs several times what a frame costs, and a
 * helper that uses more than its share of a processor is made to wait for it. So a busy one sleeps out its round, then
 * does all that has come up. */
static void sleep_out_round(struct daemon *daemon, int64_t now)
{
    int64_t end = daemon->round_at + ROUND_NS;
    if (end <= now) {
        daemon->round_at = now;
        return;
    }
    struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    daemon->round_at = end;
}

int daemon_run(int control, int64_t spin_ns, bool realtime)
{
    struct daemon daemon = {
        .links = {.control = control, .realtime = realtime}, .spin_ns = spin_ns, .wake_ns = spin_ns, .armed = NEVER};
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = &daemon.links.control};
    daemon.links.epoll = epoll_create1(EPOLL_CLOEXEC);
    daemon.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (daemon.links.epoll < 0 || daemon.timer < 0 || epoll_ctl(daemon.links.epoll, EPOLL_CTL_ADD, control, &event) < 0)
        return perror("userlink"), 1;
    /* Edge-triggered: an expiry wakes once and its count need not be read. */
    event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.ptr = &daemon.timer};
    if (epoll_ctl(daemon.links.epoll, EPOLL_CTL_ADD, daemon.timer, &event) < 0)
        return perror("userlink"), 1;
    daemon.links.started = now_ns();
    histogram_start();

    for (int count = 0;;) {
        int64_t due = work_off(daemon.rounds), now = now_ns(), wake = due == NEVER ? NEVER : due - daemon.wake_ns - 2000;
        bool close = spin_ns && due != NEVER && wake <= now, spin = close && may_spin(&daemon, now);
        bool round = daemon.rounds && (count > 0 || due < now + ROUND_NS);
        if (round) {
            spin = false;
            sleep_out_round(&daemon, now);
        } else if (!spin) {
            arm(&daemon, spin_ns && !close ? wake : due);
        }
        count = epoll_wait(daemon.links.epoll, events, EVENTS, spin || round ? 0 : -1);
        if (spin)
            daemon.spin_budget -= now_ns() - now;
        watch_load(&daemon, now);
        if (count < 0 && errno != EINTR)
            return perror("userlink: epoll_wait"), 1;
        for (int i = 0; i < count; i++) {
            void *source = events[i].data.ptr;
            if (source == &daemon.timer) {
                /* After a round the timer has waited for us, not we for it. */
                if (!spin && !round && daemon.armed != NEVER)
                    learn_wake(&daemon, daemon.armed, now_ns());
                daemon.armed = NEVER;
            } else if (source == &daemon.links.control) {
                if (!control_serve(&daemon.links))
                    return 0;
            } else {
                receive(source);
            }
        }
    }
}
