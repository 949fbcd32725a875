#include "delay.hpp"

#include <algorithm>
#include <charconv>
#include <string>

#include <hufu/broker/dispatcher.hpp>
#include <hufu/remoting/properties.hpp>

namespace hufu::broker {
namespace {

using remoting::ResponseCode;

template <class Number>
bool read_number(std::string_view text, Number& into) {
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
    return fault == std::errc{} && end == text.data() + text.size();
}

/// Properties come from the wire: a bounded, printable part of one.
std::string shown(std::string_view text) {
    std::string result{text.substr(0, 40)};
    std::replace_if(
        result.begin(), result.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
    return result;
}

Refusal not_a_number(std::string_view name, std::string_view value, std::string_view meaning) {
    return {ResponseCode::message_illegal,
            "property " + std::string{name} + "=\"" + shown(value) + "\" is not " + std::string{meaning}};
}

struct Unit {
    std::string_view name;
    std::chrono::milliseconds length;
};

constexpr Unit units[] = {{"ms", std::chrono::milliseconds{1}},
                          {"s", std::chrono::seconds{1}},
                          {"m", std::chrono::minutes{1}},
                          {"h", std::chrono::hours{1}},
                          {"d", std::chrono::days{1}}};

}  // namespace

DelayLevels default_delay_levels() {
    return parse_delay_levels("1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h").value();
}

Result<DelayLevels> parse_delay_levels(std::string_view text) {
    constexpr std::size_t levels_max = 100;
    constexpr std::int64_t year_ms = std::chrono::milliseconds{std::chrono::days{366}}.count();
    DelayLevels levels;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (word.empty()) continue;
        std::int64_t count = 0;
        const auto [rest, fault] = std::from_chars(word.data(), word.data() + word.size(), count);
        const std::string_view name = word.substr(static_cast<std::size_t>(rest - word.data()));
        const auto unit =
            std::find_if(std::begin(units), std::end(units), [&](const Unit& one) { return one.name == name; });
        if (fault != std::errc{} || unit == std::end(units) || count < 1 || count > year_ms / unit->length.count())
            return Error{ErrorCode::invalid_argument, Disposition::reject,
                         "delay level \"" + shown(word) +
                             "\": must be a number with ms, s, m, h or d behind it, above zero and at most a year"};
        levels.push_back(count * unit->length);
    }
    if (levels.empty() || levels.size() > levels_max)
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     std::to_string(levels.size()) + " delay levels: must be 1 to " + std::to_string(levels_max) +
                         ", like \"1s 5s 10s\""};
    return levels;
}

bool asks_for_delay(const Traits& traits) noexcept {
    const bool level = !traits.delay_level.empty() && traits.delay_level != "0";
    return level || !traits.timer_delay_s.empty() || !traits.timer_delay_ms.empty() || !traits.timer_deliver_ms.empty();
}

Delay delay_of_level(const DispatcherOptions& options, std::int64_t level, std::int64_t now_ms) {
    const auto last = static_cast<std::int64_t>(options.delay_levels.size());
    const auto at = static_cast<std::size_t>(std::clamp<std::int64_t>(level, 1, last) - 1);
    return {now_ms + options.delay_levels[at].count(), false};
}

Refusal read_delay(const DispatcherOptions& options, const Traits& traits, std::int64_t now_ms,
                   std::optional<Delay>& delay) {
    using namespace remoting;
    if (!traits.delay_level.empty()) {
        std::int64_t level = 0;
        if (!read_number(traits.delay_level, level))
            return not_a_number(property::delay_level, traits.delay_level, "the number of a delay level");
        if (level > 0) {
            delay = delay_of_level(options, level, now_ms);
            return {};
        }
    }
    std::string_view name = property::timer_deliver_ms;
    std::string_view value = traits.timer_deliver_ms;
    std::int64_t unit_ms = 0;  // 0: a point in time
    if (!traits.timer_delay_s.empty()) {
        name = property::timer_delay_s;
        value = traits.timer_delay_s;
        unit_ms = 1000;
    } else if (!traits.timer_delay_ms.empty()) {
        name = property::timer_delay_ms;
        value = traits.timer_delay_ms;
        unit_ms = 1;
    }
    if (value.empty()) return {};
    std::int64_t number = 0;
    if (!read_number(value, number))
        return not_a_number(name, value, unit_ms == 0 ? "a time in milliseconds since 1970" : "a number");
    const std::int64_t delay_max = options.delay_max.count();
    const bool too_far = unit_ms == 0 ? number > now_ms && number - now_ms > delay_max : number > delay_max / unit_ms;
    if (too_far)
        return {ResponseCode::message_illegal, "property " + std::string{name} + "=\"" + shown(value) +
                                                   "\" lies further ahead than the " +
                                                   std::to_string(options.delay_max / std::chrono::days{1}) +
                                                   " days that this broker keeps delayed messages"};
    const std::int64_t due_ms = unit_ms == 0 ? number : now_ms + std::max<std::int64_t>(number, 0) * unit_ms;
    if (due_ms > now_ms) delay = Delay{due_ms, true};
    return {};
}

}  // namespace hufu::broker
