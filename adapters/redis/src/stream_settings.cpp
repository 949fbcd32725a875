#include "stream_settings.hpp"

namespace hufu::redis {

using degradation::Loss;
using degradation::LossStatement;

std::string_view info_field(std::string_view info, std::string_view field) {
    for (std::size_t at = 0; at < info.size();) {
        const auto end = std::min(info.find_first_of("\r\n", at), info.size());
        const auto line = info.substr(at, end - at);
        if (line.size() > field.size() && line.starts_with(field) && line[field.size()] == ':') {
            return line.substr(field.size() + 1);
        }
        at = end + 1;
    }
    return {};
}

namespace {

/// What a crash and a restart of this one server may take.
LossStatement of_a_restart(const ServerSettings& settings) {
    if (!*settings.append_only) {
        return {Loss::everything, "appendonly no: what came after the last snapshot; set appendonly yes"};
    }
    if (settings.append_sync == "always") {
        return {Loss::nothing, "appendonly yes, appendfsync always"};
    }
    if (settings.append_sync == "everysec") {
        return {Loss::last_second,
                "appendfsync everysec: up to a second, two when the disk is slow; set appendfsync always"};
    }
    return {Loss::everything,
            "appendfsync " + settings.append_sync + ": what the system has not written yet; set appendfsync always"};
}

}  // namespace

LossStatement loss_of(const ServerSettings& settings, std::uint32_t wait_replicas, std::optional<Loss> declared) {
    if (!settings.append_only || settings.append_sync.empty() || settings.eviction_policy.empty()) {
        if (declared) {
            return {*declared, "declared: the server does not show its settings"};
        }
        return {Loss::everything, "the server does not show its settings (CONFIG GET): allow it, or declare the loss"};
    }
    // The streams have no time to live, so the volatile policies pass them over.
    if (settings.memory_max > 0 && settings.eviction_policy.starts_with("allkeys-")) {
        return {Loss::everything,
                "maxmemory-policy " + settings.eviction_policy + ": any key may be evicted; set noeviction"};
    }
    if (settings.replicas > 0 && wait_replicas < settings.replicas) {
        return {Loss::everything, std::to_string(settings.replicas) + " replicas, " + std::to_string(wait_replicas) +
                                      " waited for: a failover may choose one that is behind; set wait_replicas to " +
                                      std::to_string(settings.replicas)};
    }
    return of_a_restart(settings);
}

}  // namespace hufu::redis
