// The duplicate storm: every message five times at once, to consumers that are killed, over servers that forget and die.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <hufu/core/random.hpp>

namespace hufu::fault {

struct StormOptions {
    int messages = 300;  ///< of each guarding
    int copies = 5;
    int consumers = 8;
    int kill_every_ms = 150;
    bool without_guard = false;
    std::string program;  ///< this one: consumers are started from it
};

/// What became of the messages of one guarding.
struct Effects {
    int none = 0;     ///< messages without an effect
    int doubles = 0;  ///< effects beyond the first
};

struct StormResult {
    std::map<char, Effects> effects;  ///< by guarding
    int deliveries = 0;
    int kills = 0;
    int redis_flushes = 0;
    int redis_restarts = 0;
    int postgres_kills = 0;
    int retries = 0;
    int rejected = 0;
    double seconds = 0;

    /// One effect each where the database guards; at least one where Redis does; nothing rejected.
    [[nodiscard]] bool held() const;
};

[[nodiscard]] StormResult duplicate_storm(const StormOptions& options, Random& random);

}  // namespace hufu::fault
