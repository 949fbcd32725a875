// What a thread may ask of the system about when it runs. Requests, not promises: where the system cannot, nothing happens.
#pragma once

#include <thread>

namespace hufu {

/// One turn of a short loop that waits for another thread: tells the processor so.
inline void spin_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#else
    std::this_thread::yield();
#endif
}

/// The calling thread, and those it starts, work in short turns: when woken, one of them runs soon though others keep the
/// processor busy. Costs them nothing of their share. Linux 6.12 and above.
void work_in_short_turns() noexcept;

/// The calling thread goes behind the others of this process, at the processor and at the disk, without starving.
void work_behind_others() noexcept;

}  // namespace hufu
