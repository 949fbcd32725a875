#include <hufu/core/threads.hpp>

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace hufu {
namespace {

// struct sched_attr of linux/sched/types.h, whose header and the C library's exclude one another.
struct SchedulingAttributes {
    std::uint32_t size = 48;
    std::uint32_t policy = 0;
    std::uint64_t flags = 0;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime_ns = 0;
    std::uint64_t deadline_ns = 0;
    std::uint64_t period_ns = 0;
};
static_assert(sizeof(SchedulingAttributes) == 48);

constexpr std::uint64_t shortest_turn_ns = 100'000;  // the least that the system takes
constexpr std::uint64_t usual_turn_ns = 0;           // asks for the default
constexpr int steps_behind = 5;                      // of niceness: about a third of the share
constexpr int nicest = 19;
constexpr int io_best_effort_last = 2 << 13 | 7;  // class best-effort, lowest level
constexpr int io_this_thread = 1;

/// Of a thread under the usual policy; another one was an operator's choice and stays.
void change(std::uint64_t turn_ns, int nicer) noexcept {
    SchedulingAttributes attributes;
    if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0 || attributes.policy != SCHED_OTHER) return;
    attributes.nice = std::min(attributes.nice + nicer, nicest);
    attributes.runtime_ns = turn_ns;
    ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

void work_in_short_turns() noexcept { change(shortest_turn_ns, 0); }

void work_behind_others() noexcept {
    change(usual_turn_ns, steps_behind);
    ::syscall(SYS_ioprio_set, io_this_thread, 0, io_best_effort_last);
}

}  // namespace hufu
