// What operators decided about consumer groups. Lives in the log's state.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include <hufu/remoting/bodies_groups.hpp>

#include "store.hpp"

namespace hufu::broker {

class DispatchState;
struct Topic;

/// The configurations by group name.
struct GroupConfigs {
    std::map<std::string, remoting::GroupConfig, std::less<>> groups;
    std::int64_t changes = 0;        ///< since the start
    std::int64_t changed_at_ms = 0;  ///< since 1970 UTC
    const remoting::GroupConfig defaults = {};
};

/// Null when the group was never made.
[[nodiscard]] const remoting::GroupConfig* find_group_config(const DispatchState& state, std::string_view name);
/// The group's configuration; makes the group when it is missing and groups are made by themselves. Null with a refusal.
/// Valid until the group changes.
[[nodiscard]] const remoting::GroupConfig* require_group(DispatchState& state, std::string_view name, Refusal& refusal);
/// As `require_group`, for reading: while the log takes nothing, a new group reads with the defaults and is made later.
[[nodiscard]] const remoting::GroupConfig* group_to_read_with(DispatchState& state, std::string_view name, Refusal& refusal);
/// Checks and stores a configuration, here and in the log.
[[nodiscard]] Refusal put_group_config(DispatchState& state, remoting::GroupConfig config);
/// Removes the group's configuration. A group that is missing is fine.
[[nodiscard]] Refusal erase_group_config(DispatchState& state, std::string_view name);
/// The group's retry topic, made when it is missing. Null with a refusal.
[[nodiscard]] Topic* retry_topic(DispatchState& state, const remoting::GroupConfig& config, Refusal& refusal);
/// The group's dead letters, made when they are missing. Null with a refusal.
[[nodiscard]] Topic* dead_letter_topic(DispatchState& state, std::string_view group, Refusal& refusal);
void load_group_configs(DispatchState& state);

}  // namespace hufu::broker
