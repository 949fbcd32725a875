#include <hufu/connect/ladder.hpp>

#include <string_view>
#include <utility>

#include "url.hpp"

namespace hufu::connect {
namespace {

Error refuse(std::string_view what, const std::string& value, const std::string& why) {
    return Error{ErrorCode::invalid_argument, Disposition::reject,
                 "ladder: " + std::string{what} + " \"" + without_password(value) + "\" " + why};
}

/// The same error, saying which rung it is about.
Error of_rung(std::string_view rung, const Error& error) {
    return Error{error.code(), error.disposition(), "ladder: " + std::string{rung} + ": " + error.text()};
}

Result<void> check(const LadderAddresses& addresses) {
    if (addresses.broker.empty()) {
        return refuse("broker", "", "is empty: give the address of the broker that the ladder leads to");
    }
    if (addresses.second_broker == addresses.broker) {
        return refuse("second_broker", addresses.second_broker, "is the first one again: give another, or none");
    }
    if (addresses.second_broker.empty() && addresses.redis.empty() && addresses.journal.empty()) {
        return refuse("broker", addresses.broker,
                      "is the only rung, and nothing takes its place while it is away: give a redis, a journal or a "
                      "second_broker too");
    }
    const auto& redis = addresses.redis;
    if (!redis.empty() && !redis.starts_with("redis://") && !redis.starts_with("redis+unix://")) {
        return refuse("redis", redis, "is redis://HOST[:PORT][/DATABASE][?buffer=NAME] or redis+unix:///PATH");
    }
    if (!addresses.journal.empty() && !addresses.journal.starts_with("journal:")) {
        return refuse("journal", addresses.journal, "is journal:DIR, such as journal:/var/lib/orders/journal");
    }
    return {};
}

Result<void> read_needs(const std::vector<std::string>& needs, degradation::LadderOptions& options) {
    std::vector<std::string> seen;
    for (const auto& need : needs) {
        const auto equals = need.rfind('=');
        if (equals == std::string::npos || equals == 0) {
            return refuse("need", need, "is TOPIC=nothing, TOPIC=last_second or TOPIC=everything");
        }
        const auto topic = need.substr(0, equals);
        const auto loss = degradation::parse_loss(std::string_view{need}.substr(equals + 1));
        if (!loss) return refuse("need", need, "says what may be lost as nothing, last_second or everything");
        for (const auto& other : seen) {
            if (other == topic) return refuse("need", need, "is the second one of topic \"" + topic + "\": keep one");
        }
        seen.push_back(topic);
        options.needs.insert_or_assign(topic, *loss);
    }
    return {};
}

Result<void> add_broker(degradation::Ladder& ladder, std::string_view rung, const std::string& url,
                        const Surroundings& surroundings) {
    auto opened = publisher(url, surroundings);
    if (!opened) return of_rung(rung, opened.error());
    ladder.brokers.push_back(std::move(*opened));
    return {};
}

Result<void> add_buffer(degradation::Ladder& ladder, std::string_view rung, const std::string& url,
                        const Surroundings& surroundings) {
    auto opened = buffer(url, surroundings);
    if (!opened) return of_rung(rung, opened.error());
    ladder.rungs.push_back({std::move(*opened), {.name = std::string{rung}}});
    return {};
}

Result<degradation::Ladder> ladder_of(const LadderAddresses& addresses, degradation::LadderOptions options,
                                      const Surroundings& surroundings) {
    if (auto checked = check(addresses); !checked) return checked.error();
    if (auto read = read_needs(addresses.needs, options); !read) return read.error();
    degradation::Ladder ladder;
    ladder.options = std::move(options);
    const auto add = [&](auto adding, std::string_view rung, const std::string& url) -> Result<void> {
        return url.empty() ? Result<void>{} : adding(ladder, rung, url, surroundings);
    };
    if (auto added = add(add_broker, "broker", addresses.broker); !added) return added.error();
    if (auto added = add(add_broker, "second_broker", addresses.second_broker); !added) return added.error();
    if (auto added = add(add_buffer, "redis", addresses.redis); !added) return added.error();
    if (auto added = add(add_buffer, "journal", addresses.journal); !added) return added.error();
    return ladder;
}

}  // namespace

Result<std::unique_ptr<degradation::BufferingPublisher>> buffering_publisher(const LadderAddresses& addresses,
                                                                             degradation::LadderOptions options,
                                                                             const Surroundings& surroundings) {
    auto ladder = ladder_of(addresses, std::move(options), surroundings);
    if (!ladder) return ladder.error();
    try {
        return std::make_unique<degradation::BufferingPublisher>(
            std::move(*ladder),
            degradation::LadderEnvironment{.clock = surroundings.clock != nullptr ? *surroundings.clock : system_clock(),
                                           .random = surroundings.random != nullptr ? *surroundings.random : system_random(),
                                           .log = surroundings.log != nullptr ? *surroundings.log : no_log(),
                                           .metrics = surroundings.metrics});
    } catch (const Exception& refused) {
        return refused.error();
    }
}

}  // namespace hufu::connect
