// What every round sends: known to the service that sends it and to the judge.
#pragma once

#include <string>
#include <vector>

namespace hufu::fault {

inline constexpr int transactions_per_round = 4;
inline constexpr const char* one_queue = "judge";  ///< the ordering key of everything: one queue per topic

/// Both topics of a scene, which no other scene uses.
inline std::vector<std::string> both_topics(const std::string& scene) { return {scene + "-a", scene + "-b"}; }

/// By the number's rest of a division by 4. 0: one message; 1 and 2: one in each topic; 3: one in each topic, rolled back by
/// the local function.
inline std::vector<std::string> topics_of(const std::string& scene, int number) {
    if (number % 4 == 0) return {scene + "-a"};
    return both_topics(scene);
}
inline bool wants_rollback(int number) { return number % 4 == 3; }

/// The number in an id, "round7-2".
inline int number_of(const std::string& id) { return std::stoi(id.substr(id.rfind('-') + 1)); }

}  // namespace hufu::fault
