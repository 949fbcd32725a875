#include "stats.hpp"

#include <algorithm>

namespace hufu::broker {
namespace {

constexpr std::int64_t bucket_seconds = 10;
constexpr std::int64_t buckets_in_ten_minutes = 60;
constexpr std::int64_t buckets_in_an_hour = 360;

std::int64_t bucket_of(SteadyTime now) noexcept {
    return std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count() / bucket_seconds;
}

/// Empties the buckets between the old newest and the new one.
template <std::size_t Size>
void move_on(std::array<Count, Size>& ring, std::int64_t from, std::int64_t to) noexcept {
    const std::int64_t first = std::max(from + 1, to - static_cast<std::int64_t>(Size) + 1);
    for (std::int64_t at = first; at <= to; ++at) ring[static_cast<std::size_t>(at) % Size] = {};
}

}  // namespace

void Meter::advance(SteadyTime now) {
    const std::int64_t bucket = bucket_of(now);
    if (!rings_) {
        rings_ = std::make_unique<Rings>();
        rings_->bucket = bucket;
        rings_->since = now;
        return;
    }
    const std::int64_t before = rings_->bucket;
    if (bucket <= before) return;
    move_on(rings_->minute, before, bucket);
    move_on(rings_->hour, before / buckets_in_ten_minutes, bucket / buckets_in_ten_minutes);
    move_on(rings_->day, before / buckets_in_an_hour, bucket / buckets_in_an_hour);
    rings_->bucket = bucket;
}

void Meter::add(SteadyTime now, const Count& count) {
    total_ += count;
    advance(now);
    const std::int64_t bucket = rings_->bucket;
    rings_->minute[static_cast<std::size_t>(bucket) % rings_->minute.size()] += count;
    rings_->hour[static_cast<std::size_t>(bucket / buckets_in_ten_minutes) % rings_->hour.size()] += count;
    rings_->day[static_cast<std::size_t>(bucket / buckets_in_an_hour) % rings_->day.size()] += count;
}

template <std::size_t Size>
WindowCount Meter::window(SteadyTime now, std::array<Count, Size> Rings::*ring, std::int64_t buckets_each,
                          std::size_t buckets) {
    WindowCount result;
    if (!rings_) return result;
    advance(now);
    const std::int64_t newest = rings_->bucket / buckets_each;
    for (std::size_t back = 0; back <= buckets && back < Size; ++back) {
        const std::int64_t at = newest - static_cast<std::int64_t>(back);
        if (at >= 0) result.count += (rings_.get()->*ring)[static_cast<std::size_t>(at) % Size];
    }
    const std::chrono::seconds each{bucket_seconds * buckets_each};
    const SteadyTime begin = std::max(rings_->since, SteadyTime{(newest - static_cast<std::int64_t>(buckets)) * each});
    result.seconds = std::max(1.0, std::chrono::duration<double>(now - begin).count());
    return result;
}

WindowCount Meter::minute(SteadyTime now) { return window(now, &Rings::minute, 1, 6); }
WindowCount Meter::hour(SteadyTime now) { return window(now, &Rings::hour, buckets_in_ten_minutes, 6); }
WindowCount Meter::day(SteadyTime now) { return window(now, &Rings::day, buckets_in_an_hour, 24); }
WindowCount Meter::ten_seconds(SteadyTime now) { return window(now, &Rings::minute, 1, 1); }
WindowCount Meter::ten_minutes(SteadyTime now) { return window(now, &Rings::hour, buckets_in_ten_minutes, 1); }

BrokerStats::TopicMeters* BrokerStats::find(std::string_view topic) {
    const auto found = topics_.find(topic);
    return found == topics_.end() ? nullptr : found->second.get();
}

BrokerStats::TopicMeters& BrokerStats::of(std::string_view topic) {
    if (TopicMeters* known = find(topic); known != nullptr) return *known;
    return *topics_.emplace(std::string{topic}, std::make_unique<TopicMeters>()).first->second;
}

void BrokerStats::watch_queue(QueueHandle queue, std::string_view topic) {
    if (by_queue_.size() <= queue.value) by_queue_.resize(queue.value + 1, nullptr);
    by_queue_[queue.value] = &of(topic);
}

void BrokerStats::forget_topic(std::string_view topic) {
    const auto found = topics_.find(topic);
    if (found == topics_.end()) return;
    group_meters_ -= found->second->reading.size() + found->second->sent_back.size();
    std::replace(by_queue_.begin(), by_queue_.end(), found->second.get(), static_cast<TopicMeters*>(nullptr));
    topics_.erase(found);
}

void BrokerStats::put(QueueHandle queue, SteadyTime now, const Count& count) {
    if (queue.value >= by_queue_.size() || by_queue_[queue.value] == nullptr) return;
    by_queue_[queue.value]->puts.add(now, count);
    puts_.add(now, count);
}

std::shared_ptr<Meter> BrokerStats::meter_in(Meters& meters, std::string_view group) {
    if (const auto found = meters.find(group); found != meters.end()) return found->second;
    if (group_meters_ >= group_meters_max) return nullptr;
    ++group_meters_;
    return meters.emplace(std::string{group}, std::make_shared<Meter>()).first->second;
}

std::shared_ptr<Meter> BrokerStats::reading(std::string_view group, std::string_view topic) {
    TopicMeters* of_topic = find(topic);
    return of_topic == nullptr ? nullptr : meter_in(of_topic->reading, group);
}

void BrokerStats::got(Meter* reading, SteadyTime now, const Count& count) {
    gets_.add(now, count);
    if (reading != nullptr) reading->add(now, count);
}

void BrokerStats::sent_back(std::string_view group, std::string_view topic, SteadyTime now) {
    TopicMeters* of_topic = find(topic);
    if (of_topic == nullptr) return;
    if (const auto meter = meter_in(of_topic->sent_back, group)) meter->add(now, {1, 0, 1});
}

Meter* BrokerStats::topic_puts(std::string_view topic) {
    TopicMeters* of_topic = find(topic);
    return of_topic == nullptr || of_topic->puts.total().requests == 0 ? nullptr : &of_topic->puts;
}

Meter* BrokerStats::group_gets(std::string_view group, std::string_view topic) {
    TopicMeters* of_topic = find(topic);
    if (of_topic == nullptr) return nullptr;
    const auto meter = of_topic->reading.find(group);
    return meter == of_topic->reading.end() || meter->second->total().requests == 0 ? nullptr : meter->second.get();
}

Meter* BrokerStats::group_sent_back(std::string_view group, std::string_view topic) {
    TopicMeters* of_topic = find(topic);
    if (of_topic == nullptr) return nullptr;
    const auto meter = of_topic->sent_back.find(group);
    return meter == of_topic->sent_back.end() ? nullptr : meter->second.get();
}

void BrokerStats::note_day(SystemTime now) {
    const std::int64_t day = std::chrono::floor<std::chrono::days>(now).time_since_epoch().count();
    if (day == day_) return;
    if (day_ >= 0 && day > day_) {
        // Nothing was counted on days in between.
        mornings_.put_yesterday = day == day_ + 1 ? mornings_.put_today : puts_.total().messages;
        mornings_.got_yesterday = day == day_ + 1 ? mornings_.got_today : gets_.total().messages;
        mornings_.put_today = puts_.total().messages;
        mornings_.got_today = gets_.total().messages;
    }
    day_ = day;
}

const BrokerStats::Mornings& BrokerStats::mornings(SystemTime now) {
    note_day(now);
    return mornings_;
}

}  // namespace hufu::broker
