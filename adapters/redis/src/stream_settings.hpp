// What a server's settings mean for what it may lose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/degradation/buffer.hpp>

namespace hufu::redis {

/// As INFO and CONFIG GET tell; what the server does not tell is empty.
struct ServerSettings {
    std::optional<bool> append_only = {};
    std::string append_sync = {};      ///< "always", "everysec", "no"
    std::string eviction_policy = {};  ///< "noeviction", "allkeys-lru", …
    std::uint64_t memory_max = 0;
    std::uint32_t replicas = 0;  ///< connected now
    bool is_replica = false;
    std::string run_id = {};
};

/// The value of `field:` in what INFO says, or empty.
[[nodiscard]] std::string_view info_field(std::string_view info, std::string_view field);

/// The worst that these settings allow. `declared` counts where the server keeps its settings to itself.
[[nodiscard]] degradation::LossStatement loss_of(const ServerSettings& settings, std::uint32_t wait_replicas,
                                                 std::optional<degradation::Loss> declared);

}  // namespace hufu::redis
