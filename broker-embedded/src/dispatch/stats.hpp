// How much came in and went out: of the broker, by topic, by group; over the last minute, hour and day.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/broker/log.hpp>
#include <hufu/core/clock.hpp>

namespace hufu::broker {

struct Count {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t requests = 0;
    Count& operator+=(const Count& other) noexcept {
        messages += other.messages;
        bytes += other.bytes;
        requests += other.requests;
        return *this;
    }
};

/// What a window saw, and how many seconds of it there were.
struct WindowCount {
    Count count;
    double seconds = 0;
    [[nodiscard]] double messages_per_second() const noexcept {
        return seconds > 0 ? static_cast<double>(count.messages) / seconds : 0;
    }
    [[nodiscard]] double bytes_per_second() const noexcept {
        return seconds > 0 ? static_cast<double>(count.bytes) / seconds : 0;
    }
};

/// Counts in buckets of 10 s, 10 min and 1 h. Needs no timer: stale buckets are emptied when it is next touched.
class Meter {
public:
    void add(SteadyTime now, const Count& count);

    [[nodiscard]] const Count& total() const noexcept { return total_; }
    /// The last 60 to 70 s, 60 to 70 min, 24 to 25 h; less when the meter is younger.
    [[nodiscard]] WindowCount minute(SteadyTime now);
    [[nodiscard]] WindowCount hour(SteadyTime now);
    [[nodiscard]] WindowCount day(SteadyTime now);
    /// The last 10 to 20 s, and the last 10 to 20 min.
    [[nodiscard]] WindowCount ten_seconds(SteadyTime now);
    [[nodiscard]] WindowCount ten_minutes(SteadyTime now);

private:
    struct Rings {
        std::array<Count, 7> minute;
        std::array<Count, 7> hour;
        std::array<Count, 25> day;
        std::int64_t bucket = 0;  // of 10 s, the newest touched
        SteadyTime since;
    };
    void advance(SteadyTime now);
    template <std::size_t Size>
    [[nodiscard]] WindowCount window(SteadyTime now, std::array<Count, Size> Rings::*ring, std::int64_t buckets_each,
                                     std::size_t buckets);

    Count total_;
    std::unique_ptr<Rings> rings_;  // made by the first count
};

/// The meters of one broker. A topic's meter is found by queue handle, a group's is handed out once and kept by who
/// counts; so counting looks nothing up by name.
class BrokerStats {
public:
    static constexpr std::size_t group_meters_max = 100'000;

    /// The queue belongs to this topic from now on.
    void watch_queue(QueueHandle queue, std::string_view topic);
    /// The topic and what groups read of it are forgotten.
    void forget_topic(std::string_view topic);

    void put(QueueHandle queue, SteadyTime now, const Count& count);
    /// What `group` reads of `topic`. Null when there are too many meters.
    [[nodiscard]] std::shared_ptr<Meter> reading(std::string_view group, std::string_view topic);
    void got(Meter* reading, SteadyTime now, const Count& count);
    /// A message of `topic` that `group` could not process came back.
    void sent_back(std::string_view group, std::string_view topic, SteadyTime now);

    [[nodiscard]] Meter& puts() noexcept { return puts_; }
    [[nodiscard]] Meter& gets() noexcept { return gets_; }
    /// Null when nothing was counted.
    [[nodiscard]] Meter* topic_puts(std::string_view topic);
    [[nodiscard]] Meter* group_gets(std::string_view group, std::string_view topic);
    [[nodiscard]] Meter* group_sent_back(std::string_view group, std::string_view topic);

    /// Totals at the last two midnights (UTC); zero before the broker saw one.
    struct Mornings {
        std::uint64_t put_yesterday = 0;
        std::uint64_t put_today = 0;
        std::uint64_t got_yesterday = 0;
        std::uint64_t got_today = 0;
    };
    [[nodiscard]] const Mornings& mornings(SystemTime now);
    /// Call before counting; cheap.
    void note_day(SystemTime now);

private:
    using Meters = std::map<std::string, std::shared_ptr<Meter>, std::less<>>;
    struct TopicMeters {
        Meter puts;
        Meters reading;    // by group
        Meters sent_back;  // by group
    };
    [[nodiscard]] TopicMeters* find(std::string_view topic);
    [[nodiscard]] TopicMeters& of(std::string_view topic);
    [[nodiscard]] std::shared_ptr<Meter> meter_in(Meters& meters, std::string_view group);

    Meter puts_;
    Meter gets_;
    std::map<std::string, std::unique_ptr<TopicMeters>, std::less<>> topics_;
    std::vector<TopicMeters*> by_queue_;  // by QueueHandle; null: a queue of no topic
    std::size_t group_meters_ = 0;
    Mornings mornings_;
    std::int64_t day_ = -1;
};

}  // namespace hufu::broker
