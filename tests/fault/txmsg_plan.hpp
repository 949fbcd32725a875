// What every round sends: known to the service that sends it and to the judge.
#pragma once

#include <string>
#include <vector>

namespace hufu::fault {

inline constexpr int transactions_per_round = 4;
inline constexpr const char* one_queue = "judge";  ///< the ordering key of everything: one queue per topic

/// 0: one message; 1 and 2: one in each topic; 3: one in each topic, rolled back by the local function.
inline std::vector<std::string> topics_of(int number) {
    if (number == 0) return {"fault-a"};
    return {"fault-a", "fault-b"};
}
inline bool wants_rollback(int number) { return number == 3; }

}  // namespace hufu::fault
