// A dead letter: a message that was given up, where it lies, and why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/clock.hpp>
#include <hufu/core/message.hpp>

namespace hufu::deadletter {

/// How often a message was taken out of the dead letters and sent again. Rides with it from then on, so that a message that
/// dies every time is seen for what it is.
inline constexpr std::string_view redrives_header = "hufu-redrives";

/// Where a message lies. A queue is named by its broker's words: "broker-a/0", or a partition's number.
struct Place {
    std::string queue = {};
    std::int64_t offset = 0;
    friend auto operator<=>(const Place&, const Place&) = default;
};

/// A message read from a topic by its place, outside of any consumer group.
struct ReadMessage {
    Place place = {};
    Message message = {};  ///< `message.topic` is the topic that was read
    SystemTime stored_at = {};
    std::uint32_t broker_attempts = 0;  ///< deliveries the broker counted before it gave up; 0 where it does not count
    std::string origin_topic = {};      ///< as the broker noted it; empty: it did not
};

struct DeadLetter {
    Place place = {};
    Message message = {};
    SystemTime dead_at = {};
    std::string origin_topic = {};  ///< where it was consumed from; empty: nobody noted it
    std::string reason = {};        ///< as a consumer of Hufu's, or a forwarder, wrote it; otherwise what is known
    std::uint32_t attempts = 0;     ///< 0: not known
    std::uint32_t redrives = 0;
};

/// "%DLQ%" + group, the one place where a group's dead letters lie.
[[nodiscard]] bool is_dead_letter_topic(std::string_view topic) noexcept;

/// What is known of a message of a dead-letter topic. Never fails: what nobody noted stays empty.
[[nodiscard]] DeadLetter letter_of(ReadMessage read);

/// The message to publish: its own id, key, headers and body, to `topic` (empty: to where it came from), counted as sent
/// once more, without the dead letter's own headers.
[[nodiscard]] Message redriven(const DeadLetter& letter, const std::string& topic);

/// Which letters are meant. Every field that is set must fit; an empty filter fits every letter.
struct Filter {
    std::string reason_part = {};  ///< somewhere in the reason
    std::string key = {};          ///< the ordering key, or one of the business keys
    std::string origin_topic = {};
    std::string id = {};                        ///< of the message
    std::optional<SystemTime> dead_since = {};  ///< at or after
    std::optional<SystemTime> dead_until = {};  ///< before

    [[nodiscard]] bool fits(const DeadLetter& letter) const;
    [[nodiscard]] bool fits_all() const noexcept { return *this == Filter{}; }
    friend bool operator==(const Filter&, const Filter&) = default;
};

}  // namespace hufu::deadletter
