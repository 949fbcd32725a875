#include <hufu/degradation/replay_machine.hpp>

#include <algorithm>
#include <functional>
#include <utility>

#include <hufu/core/mutant.hpp>
#include <hufu/core/subscription.hpp>

namespace hufu::degradation {
namespace {

/// With a rate, messages go in batches worth this time each, so that live traffic meets no bursts; a little more where the
/// machine is late, until it has caught up, but what was missed longer ago is not made up for.
constexpr std::chrono::milliseconds slice{1};
constexpr int slices_at_once = 2;
constexpr int slices_behind = 20;
/// They are small: so many may be under way.
constexpr std::size_t rated_batches = 32;
constexpr std::chrono::milliseconds least_wait{10};
/// A trim waits so long for more.
constexpr std::chrono::milliseconds trim_wait{50};
constexpr std::chrono::milliseconds note_wait{200};
/// Of `per_second`, at the beginning of the warm-up.
constexpr double cold_part = 0.1;

/// What will never be taken, as opposed to what was not taken now.
bool is_rejected(const PublishOutcome& outcome) { return outcome.status == PublishStatus::rejected; }

}  // namespace

bool ReplayFilter::matches(const Entry& entry) const {
    const auto among = [](const std::vector<std::string>& wanted, const std::string& value) {
        return std::find(wanted.begin(), wanted.end(), value) != wanted.end();
    };
    const Message& message = entry.message;
    if (!topics.empty() && !among(topics, message.topic)) return false;
    if (!keys.empty() && !among(keys, message.ordering_key) &&
        std::none_of(message.keys.begin(), message.keys.end(), [&](const auto& key) { return among(keys, key); })) {
        return false;
    }
    return !(since && entry.spilled_at < *since) && !(until && entry.spilled_at >= *until);
}

Result<void> validate(const ReplayOptions& options) {
    const auto refuse = [](const std::string& text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, text};
    };
    if (options.per_second < 0) return refuse("per_second must not be negative; 0 means no limit");
    if (options.warm_up.count() < 0) return refuse("warm_up must not be negative");
    if (options.warm_up.count() > 0 && options.per_second <= 0)
        return refuse("warm_up needs a rate (per_second) to rise to");
    if (options.batch_messages == 0 || options.batches_max == 0) {
        return refuse("batch_messages and batches_max must be at least 1");
    }
    if (options.held_max < options.batch_messages) return refuse("held_max must hold one batch at least");
    if (options.filter.since && options.filter.until && *options.filter.since >= *options.filter.until) {
        return refuse("since must be before until: nothing could match");
    }
    return {};
}

ReplayMachine::ReplayMachine(ReplayOptions options, Random& random) : options_{std::move(options)}, random_{random} {}

std::size_t ReplayMachine::held() const noexcept {
    return fresh_.size() + waiting_ + out_messages_ + trim_.size() + trimming_ + park_.size();
}

std::size_t ReplayMachine::room() const noexcept {
    // What a buffer is to set aside must be there before anything of the key comes after it.
    return stopping_ || !park_.empty() || held() >= options_.held_max ? 0 : options_.held_max - held();
}

ReplayFigures ReplayMachine::figures() const {
    ReplayFigures now = figures_;
    now.held = held();
    return now;
}

std::uint64_t ReplayMachine::key_of(const Message& message) const {
    if (message.ordering_key.empty()) return 0;
    const std::uint64_t hash = std::hash<std::string_view>{}(message.ordering_key);
    const std::uint64_t mixed =
        (hash ^ (std::hash<std::string_view>{}(message.topic) + 0x9E3779B97F4A7C15ULL + (hash << 6U)));
    return mixed == 0 ? 1 : mixed;
}

void ReplayMachine::bar(const Message& parked) {
    if (const auto key = key_of(parked); key != 0) {
        parked_keys_.emplace(key, "behind " + parked.id.to_string() + ", which was set aside");
    }
}

void ReplayMachine::deliver(std::vector<Entry> entries) {
    for (Entry& entry : entries) {
        ++figures_.read;
        const auto key = key_of(entry.message);
        if (!options_.filter.matches(entry)) {
            ++figures_.filtered;
            if (key != 0) left_keys_.insert(key);
        } else if (key != 0 && !left_keys_.empty() && left_keys_.contains(key)) {
            ++figures_.behind;
        } else if (stopping_) {
            ++figures_.given_back;
        } else if (const auto parked = parked_keys_.find(key); key != 0 && parked != parked_keys_.end()) {
            park(std::move(entry.message), std::move(entry.id), key, parked->second);
        } else {
            keep_first_stored_at(entry.message, entry.spilled_at);
            fresh_.push_back({std::move(entry.message), std::move(entry.id), key});
        }
    }
}

std::unique_ptr<ReplayBatch> ReplayMachine::published(std::unique_ptr<ReplayBatch> batch, SteadyTime now) {
    --out_;
    out_messages_ -= batch->messages.size();
    const std::uint64_t confirmed_before_us = figures_.confirmed;
    std::map<std::uint64_t, std::deque<Item>> failed;
    std::unordered_set<std::uint64_t> rejected;
    for (std::size_t index = 0; index < batch->messages.size(); ++index) settle(*batch, index, failed, rejected);
    if (!rejected.empty()) park_behind(rejected);
    const bool any = figures_.confirmed > batch->confirmed_before;
    if (figures_.confirmed > confirmed_before_us && outage_ > 0) {
        outage_ = 0;
        pause_until_ = now;
        warm_from_ = now;
    }
    const bool outage = !any && !failed.empty();
    if (outage) {
        ++outage_;
        pause_until_ = now + options_.retry.wait_after(outage_, random_).value_or(least_wait);
    }
    for (auto& [key, items] : failed) back_off(key, std::move(items), outage, now);
    for (const auto& origin : batch->origins) {
        if (origin.key != 0) release(origin.key, batch->number);
    }
    if (!trim_.empty() && !trim_since_) trim_since_ = now;
    return batch;
}

void ReplayMachine::settle(ReplayBatch& batch, std::size_t index, std::map<std::uint64_t, std::deque<Item>>& failed,
                           std::unordered_set<std::uint64_t>& rejected) {
    Message& message = batch.messages[index];
    auto& [id, key] = batch.origins[index];
    PublishOutcome& outcome = batch.outcomes[index];
    if (outcome.status == PublishStatus::confirmed) {
        ++figures_.confirmed;
        figures_.bytes += message.body.size();
        if (options_.record_outcomes) {
            records_.push_back({message.id, message.topic, message.ordering_key, true, std::move(outcome.broker_id)});
        }
        if (!mutant_active("trim_before_confirm")) trim_.push_back(std::move(id));
        return;
    }
    figures_.last_error = outcome.error;
    if (key != 0 && parked_keys_.contains(key)) {
        park(std::move(message), std::move(id), key, parked_keys_[key]);
    } else if (is_rejected(outcome)) {
        if (key != 0) {
            parked_keys_[key] = "behind " + message.id.to_string() + ", which the broker rejected";
            rejected.insert(key);
        }
        park(std::move(message), std::move(id), key, outcome.error.text());
    } else {
        ++figures_.retried;
        failed[key].push_back({std::move(message), std::move(id), key});
    }
}

void ReplayMachine::park(Message message, EntryId id, std::uint64_t, const std::string& reason) {
    ++figures_.parked;
    if (options_.record_outcomes) records_.push_back({message.id, message.topic, message.ordering_key, false, reason});
    if (park_.empty() || park_.back().reason != reason) park_.push_back({{}, reason});
    park_.back().entries.push_back(std::move(id));
}

/// Everything of these keys that is held is set aside, in order, behind what came back: a buffer that has parked one of a key
/// sets aside at once what it reads of it later.
void ReplayMachine::park_behind(const std::unordered_set<std::uint64_t>& keys) {
    for (const auto key : keys) {
        const auto lane = lanes_.find(key);
        if (lane == lanes_.end() || lane->second.empty()) continue;
        auto items = std::exchange(lane->second.items(), {});
        waiting_ -= items.size();
        for (Item& item : items) park(std::move(item.message), std::move(item.id), key, parked_keys_[key]);
    }
    for (Item& item : std::exchange(fresh_, {})) {
        if (keys.contains(item.key)) {
            park(std::move(item.message), std::move(item.id), item.key, parked_keys_[item.key]);
        } else {
            fresh_.push_back(std::move(item));
        }
    }
}

void ReplayMachine::back_off(std::uint64_t key, std::deque<Item> items, bool outage, SteadyTime now) {
    if (stopping_) {
        figures_.given_back += items.size();
        return;
    }
    Lane& lane = lanes_[key];
    auto& waiting = lane.items();
    waiting_ += items.size();
    waiting.insert(waiting.begin(), std::make_move_iterator(items.begin()), std::make_move_iterator(items.end()));
    lane.out = 0;
    if (outage) {
        ready_.push_back(key);  // the pause holds everything
        return;
    }
    waits_.emplace(now + options_.retry.wait_after(++lane.failures, random_).value_or(least_wait), key);
}

/// Nothing of the key is under way any more.
void ReplayMachine::release(std::uint64_t key, std::uint64_t batch) {
    const auto found = lanes_.find(key);
    if (found == lanes_.end() || found->second.out != batch) return;  // seen already, or it backs off
    found->second.out = 0;
    if (found->second.empty()) {
        lanes_.erase(found);
    } else {
        found->second.failures = 0;
        ready_.push_back(key);
    }
}

void ReplayMachine::trimmed(std::size_t asked, std::size_t removed) {
    trimming_ -= asked;
    figures_.trimmed += removed;
    figures_.taken_over += asked - std::min(asked, removed);
}

void ReplayMachine::not_trimmed(std::vector<EntryId> entries, SteadyTime now) {
    trimming_ -= entries.size();
    trim_.insert(trim_.begin(), std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
    trim_since_ = now;
    retry_notes_at_ = now + note_wait;
}

void ReplayMachine::not_parked(std::vector<ReplayActions::Park> park, SteadyTime now) {
    park_.insert(park_.begin(), std::make_move_iterator(park.begin()), std::make_move_iterator(park.end()));
    retry_notes_at_ = now + note_wait;
}

void ReplayMachine::stop() {
    stopping_ = true;
    figures_.given_back += fresh_.size() + waiting_;
    fresh_.clear();
    lanes_.clear();
    ready_.clear();
    waits_.clear();
    waiting_ = 0;
}

double ReplayMachine::rate_at(SteadyTime now) const {
    if (options_.warm_up.count() == 0 || !warm_from_) return options_.per_second;
    const double part = std::chrono::duration<double>{now - *warm_from_} / options_.warm_up;
    return options_.per_second * std::min(1.0, cold_part + (1 - cold_part) * part);
}

/// How many messages may go now.
std::size_t ReplayMachine::allowance(SteadyTime now) {
    if (options_.per_second <= 0) return options_.batch_messages;
    if (!warm_from_) warm_from_ = now;
    const double rate = rate_at(now);
    const double most = std::max(1.0, rate * std::chrono::duration<double>{slice}.count());
    if (credit_at_) credit_ += rate * std::chrono::duration<double>{now - *credit_at_}.count();
    credit_at_ = now;
    credit_ = std::min(credit_, slices_behind * most);
    if (credit_ < std::min(most, static_cast<double>(options_.batch_messages))) return 0;
    return static_cast<std::size_t>(std::min(credit_, slices_at_once * most));
}

ReplayActions ReplayMachine::step(SteadyTime now) {
    ReplayActions actions;
    wake(now);
    const bool rated = options_.per_second > 0;
    const std::size_t at_most = rated ? std::max(options_.batches_max, rated_batches) : options_.batches_max;
    const std::size_t batches = outage_ > 0 ? 1 : at_most;
    while (!stopping_ && now >= pause_until_ && out_ < batches && has_work()) {
        const std::size_t most = std::min(allowance(now), options_.batch_messages);
        auto batch = most > 0 ? next_batch(most) : nullptr;
        if (!batch) break;
        const std::size_t size = batch->messages.size();
        actions.publish.push_back(std::move(batch));
        if (!rated) continue;
        credit_ -= static_cast<double>(size);
        break;
    }
    hand_out_trims(now, actions);
    actions.records = std::exchange(records_, {});
    const auto soonest = [&](SteadyTime at) { actions.tick_at = std::min(actions.tick_at.value_or(at), at); };
    if (!waits_.empty()) soonest(waits_.begin()->first);
    if (has_work() && !stopping_ && out_ < batches) {
        if (now < pause_until_) {
            soonest(pause_until_);
        } else if (rated) {
            soonest(now + std::chrono::duration_cast<SteadyTime::duration>(slice) / 2);
        }
    }
    if (trim_since_ && !trim_.empty() && trimming_ == 0) soonest(std::max(*trim_since_ + trim_wait, retry_notes_at_));
    if (!park_.empty()) soonest(retry_notes_at_);
    return actions;
}

void ReplayMachine::wake(SteadyTime now) {
    while (!waits_.empty() && waits_.begin()->first <= now) {
        ready_.push_back(waits_.begin()->second);
        waits_.erase(waits_.begin());
    }
}

std::unique_ptr<ReplayBatch> ReplayMachine::next_batch(std::size_t most) {
    auto batch = std::make_unique<ReplayBatch>();
    batch->number = last_batch_ + 1;
    batch->confirmed_before = figures_.confirmed;
    fill_from_lanes(*batch, most);
    fill_from_fresh(*batch, most);
    if (batch->messages.empty()) return nullptr;
    ++last_batch_;
    ++out_;
    out_messages_ += batch->messages.size();
    batch->outcomes.resize(batch->messages.size());
    return batch;
}

void ReplayMachine::fill_from_lanes(ReplayBatch& batch, std::size_t most) {
    while (batch.messages.size() < most && !ready_.empty()) {
        const auto key = ready_.front();
        ready_.pop_front();
        const auto lane = lanes_.find(key);
        if (lane == lanes_.end() || lane->second.out != 0 || lane->second.empty()) continue;
        auto& items = lane->second.items();
        while (batch.messages.size() < most && !items.empty()) {
            add(batch, std::move(items.front()));
            items.pop_front();
            --waiting_;
        }
        if (key != 0) {
            lane->second.out = batch.number;
        } else if (!items.empty()) {
            ready_.push_back(key);
        } else {
            lanes_.erase(lane);
        }
    }
}

void ReplayMachine::fill_from_fresh(ReplayBatch& batch, std::size_t most) {
    while (batch.messages.size() < most && !fresh_.empty()) {
        Item item = std::move(fresh_.front());
        fresh_.pop_front();
        if (item.key == 0) {
            add(batch, std::move(item));
            continue;
        }
        const auto [at, is_new] = lanes_.try_emplace(item.key);
        Lane& lane = at->second;
        if (is_new) lane.out = batch.number;
        if (lane.out == batch.number && lane.empty()) {
            add(batch, std::move(item));
        } else {
            lane.items().push_back(std::move(item));
            ++waiting_;
        }
    }
}

void ReplayMachine::add(ReplayBatch& batch, Item item) {
    if (mutant_active("trim_before_confirm")) trim_.push_back(item.id);
    batch.messages.push_back(std::move(item.message));
    batch.origins.push_back({std::move(item.id), item.key});
}

void ReplayMachine::hand_out_trims(SteadyTime now, ReplayActions& actions) {
    if (now < retry_notes_at_) return;
    // One at a time: meanwhile more gathers, and what a trim costs the buffer is shared by more entries.
    const bool many = trim_.size() >= std::min(8 * options_.batch_messages, options_.held_max / 4);
    const bool waited = trim_since_ && now - *trim_since_ >= trim_wait;
    if (!trim_.empty() && trimming_ == 0 &&
        (many || waited || out_ == 0 || stopping_ || room() == 0 || mutant_active("trim_before_confirm"))) {
        trimming_ += trim_.size();
        actions.trim = std::exchange(trim_, {});
        trim_since_.reset();
    }
    actions.park = std::exchange(park_, {});
}

}  // namespace hufu::degradation
