#include <hufu/degradation/ladder_options.hpp>

#include <set>
#include <utility>

namespace hufu::degradation {
namespace {

Error refuse(std::string text) { return {ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

Result<void> validate(const RungOptions& rung, std::set<std::string>& names) {
    if (rung.name.empty() || rung.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") != std::string::npos) {
        return refuse("ladder: \"" + rung.name + "\" cannot name a buffer: use a-z, 0-9, '_' and '-'");
    }
    if (!names.insert(rung.name).second) {
        return refuse("ladder: two buffers are named \"" + rung.name + "\"");
    }
    if (rung.silence_max <= std::chrono::milliseconds{0} || rung.ask_again_after <= std::chrono::milliseconds{0} ||
        rung.inspect_every <= std::chrono::milliseconds{0}) {
        return refuse("ladder: silence_max, inspect_every and ask_again_after of buffer \"" + rung.name +
                      "\" must be above 0");
    }
    if (rung.look_after.attempts_max() != 0) {
        return refuse("ladder: look_after of buffer \"" + rung.name +
                      "\" ends: a buffer must be looked for until it is back");
    }
    return {};
}

}  // namespace

std::string_view to_string(LadderOptions::Overload overload) noexcept {
    switch (overload) {
        case LadderOptions::Overload::error: return "error";
        case LadderOptions::Overload::block: return "block";
        case LadderOptions::Overload::shed: return "shed";
    }
    return "error";
}

Result<LadderOptions::Overload> parse_overload(std::string_view text) {
    using Overload = LadderOptions::Overload;
    for (const Overload overload : {Overload::error, Overload::block, Overload::shed}) {
        if (to_string(overload) == text) {
            return overload;
        }
    }
    return refuse("\"" + std::string{text} + "\" is not a policy: error, block and shed are known");
}

Loss need_of(const LadderOptions& options, std::string_view topic) {
    const auto declared = options.needs.find(topic);
    return declared == options.needs.end() ? options.need : declared->second;
}

Result<void> validate(const LadderOptions& options, std::span<const RungOptions> rungs) {
    if (options.batch_messages == 0 || options.publishes_max == 0 || options.spills_max == 0) {
        return refuse("ladder: batch_messages, publishes_max and spills_max must be at least 1");
    }
    if (options.held_messages_max < options.batch_messages) {
        return refuse("ladder: held_messages_max is " + std::to_string(options.held_messages_max) +
                      ": it must not be below batch_messages, " + std::to_string(options.batch_messages));
    }
    if (options.held_bytes_max == 0 || options.wait_max <= std::chrono::milliseconds{0} ||
        options.spill_after <= std::chrono::milliseconds{0}) {
        return refuse("ladder: held_bytes_max, wait_max and spill_after must be above 0");
    }
    std::set<std::string> names;
    for (const RungOptions& rung : rungs) {
        if (auto checked = validate(rung, names); !checked) {
            return checked;
        }
    }
    return validate(options.breaker);
}

}  // namespace hufu::degradation
