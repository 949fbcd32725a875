// A process that updates a row under a lock, and may be stopped in the middle.
#pragma once

#include <string>

namespace hufu::fault {

/// Where a holder stops itself (SIGSTOP) until somebody lets it go on.
enum class StopPoint : char {
    nowhere = 'n',
    after_lock = 'l',   ///< holds the lock; its transaction has not begun
    after_check = 'c',  ///< its transaction carries the token, and has read what it decides on
};

struct HolderSettings {
    std::string database;
    std::string redis;
    StopPoint stop = StopPoint::nowhere;
    bool without_token = false;  ///< the seeded fault: trusts the lock alone
};

/// Adds one to the balance of account 1, as lock, check and update. Says "at" to standard input, a socket, right before it
/// stops, and at the end "done", or "refused" with the reason.
int run_holder(const HolderSettings& settings);

}  // namespace hufu::fault
