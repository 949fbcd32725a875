#include <hufu/core/subscription.hpp>

#include <algorithm>
#include <charconv>

namespace hufu {
namespace {

/// The time in a header; the epoch when there is none or it is no time.
SystemTime time_in(const Message& message, std::string_view name) {
    const auto text = message.headers.get(name);
    std::int64_t us = 0;
    if (!text) return {};
    const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), us);
    if (problem != std::errc{} || end != text->data() + text->size() || us <= 0) return {};
    return SystemTime{std::chrono::microseconds{us}};
}

SystemTime earlier(SystemTime one, SystemTime other) {
    if (one == SystemTime{}) return other;
    return other == SystemTime{} ? one : std::min(one, other);
}

}  // namespace

SystemTime first_stored_at(const Delivery& delivery) {
    const auto known = earlier(delivery.stored_at, time_in(delivery.message, header::committed_at));
    return earlier(known, time_in(delivery.message, header::first_stored_at));
}

void keep_first_stored_at(Message& message, SystemTime stored_at) {
    const auto first = earlier(stored_at, time_in(message, header::first_stored_at));
    if (first != SystemTime{}) {
        message.headers.set(header::first_stored_at, std::to_string(first.time_since_epoch().count()));
    }
}

}  // namespace hufu
