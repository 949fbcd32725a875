// A consumer process of the duplicate storm: takes deliveries from its parent, one at a time.
#pragma once

#include <string>

namespace hufu::fault {

/// How a message's effect is guarded.
enum class Guarding : char {
    database = 'd',     ///< postgres::once
    flight = 'f',       ///< postgres::once_in_flight
    filtered = 'r',     ///< postgres::once behind marks in Redis
    best_effort = 'b',  ///< a lease in Redis; the effect is a line in a file
};
inline constexpr char all_guardings[] = {'d', 'f', 'r', 'b'};

struct ConsumerSettings {
    std::string database;
    std::string redis;
    std::string effects_file;
    bool without_guard = false;  ///< the seeded fault: `database` has none
};

/// Reads "KIND NUMBER" lines from standard input, a socket, and answers each there by "done", "duplicate", "retry" or
/// "reject". Returns at its end.
int run_consumer(const ConsumerSettings& settings);

}  // namespace hufu::fault
