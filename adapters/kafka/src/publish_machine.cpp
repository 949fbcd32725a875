#include "publish_machine.hpp"

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

#include "record_codec.hpp"

namespace hufu::kafka {
namespace {

constexpr std::chrono::minutes ahead_max{1};  // clocks of two machines differ

Error successor_error(const Message& message) {
    return Error{ErrorCode::cancelled, Disposition::retry,
                 "not sent: an earlier message of ordering key \"" + message.ordering_key + "\" of topic \"" +
                     message.topic + "\" was not confirmed; publish again from that one"};
}

Error closing_error() { return Error{ErrorCode::cancelled, Disposition::retry, "not sent: the publisher is closing"}; }

Error full_error(const PublisherOptions& options) {
    return Error{ErrorCode::busy, Disposition::retry,
                 "not sent: the publisher holds its most (" + std::to_string(options.queue_messages_max) + " messages, " +
                     std::to_string(options.queue_bytes_max) + " bytes); publish again later"};
}

}  // namespace

PublishMachine::PublishMachine(PublisherOptions options, Clock& clock, MessageIdGenerator& ids)
    : options_{options}, clock_{clock}, ids_{ids} {}

PublishMachine::~PublishMachine() = default;

void PublishMachine::accept(std::shared_ptr<Job> job) {
    job->open = job->batch.size();
    if (job->batch.empty()) {
        finished_.push_back(std::move(job));
        return;
    }
    for (std::size_t i = 0; i < job->batch.size(); ++i) {
        const Message& message = job->batch[i];
        auto item = std::make_unique<Item>(Item{.job = job, .index = i});
        ++held_messages_;
        if (closed_) {
            finish(*item, PublishStatus::not_sent, closing_error());
        } else if (!message.ordering_key.empty() && !blocked_.empty() && refused_by_block(message)) {
            finish(*item, PublishStatus::not_sent, successor_error(message));
        } else if (auto checked = check(message); !checked) {
            finish(*item, PublishStatus::rejected, checked.error());
        } else {
            item->bytes = record_bytes(message);
            item->id = message.id.is_nil() ? ids_.next() : message.id;
            held_bytes_ += item->bytes;
            if (!has_room(*item)) {
                finish(*item, PublishStatus::not_sent, full_error(options_));
            } else if (message.ordering_key.empty() || mutant_active("kafka_pipelines_a_key")) {
                hand_over(std::move(item));
            } else if (Line& line = lines_[key_of(message)]; line.out) {
                line.waiting.push_back(std::move(item));
            } else {
                line.out = true;
                hand_over(std::move(item));
            }
        }
    }
}

/// A message larger than the whole queue may be the only one.
bool PublishMachine::has_room(const Item& item) const noexcept {
    return held_messages_ <= options_.queue_messages_max &&
           (held_bytes_ <= options_.queue_bytes_max || held_bytes_ == item.bytes);
}

void PublishMachine::hand_over(Owned item) {
    Item* bare = item.get();
    ready_.push_back(bare);
    out_.emplace(bare, std::move(item));
}

void PublishMachine::landed(Item* item, PublishOutcome outcome) {
    const auto found = out_.find(item);
    HUFU_ASSERT(found != out_.end());
    const Owned owned = std::move(found->second);
    out_.erase(found);
    const Message& message = owned->message();
    const bool confirmed = outcome.status == PublishStatus::confirmed;
    if (message.ordering_key.empty()) {
        finish(*owned, std::move(outcome));
        return;
    }
    const auto line = lines_.find(key_of(message));
    finish(*owned, std::move(outcome));
    if (line == lines_.end()) {
        return;
    }
    line->second.out = false;
    auto& waiting = line->second.waiting;
    if (confirmed && !waiting.empty()) {
        line->second.out = true;
        Owned next = std::move(waiting.front());
        waiting.pop_front();
        hand_over(std::move(next));
        return;
    }
    const auto successors = std::move(waiting);
    lines_.erase(line);
    for (const Owned& successor : successors) {
        finish(*successor, PublishStatus::not_sent, successor_error(successor->message()));
    }
}

bool PublishMachine::refused_by_block(const Message& message) {
    const auto found = blocked_.find(key_of(message));
    if (found == blocked_.end() || found->second.resumed) {
        return false;
    }
    Blocked& blocked = found->second;
    if (blocked.unreported == 0 && !message.id.is_nil() && message.id == blocked.first) {
        blocked.resumed = true;  // from inside `done`, or before it returned
        return false;
    }
    return true;
}

void PublishMachine::reporting(const Job& job) {
    for (const std::string& key : job.failed_keys) {
        Blocked& blocked = blocked_.at(key);
        --blocked.unreported;
        ++blocked.reporting;
    }
}

void PublishMachine::reported(const Job& job) {
    for (const std::string& key : job.failed_keys) {
        const auto found = blocked_.find(key);
        HUFU_ASSERT(found != blocked_.end());
        if (--found->second.reporting == 0 && found->second.unreported == 0) {
            blocked_.erase(found);
        }
    }
}

void PublishMachine::finish(const Item& item, PublishStatus status, Error error) {
    finish(item, PublishOutcome{.status = status, .error = std::move(error)});
}

void PublishMachine::finish(const Item& item, PublishOutcome outcome) {
    const Message& message = item.message();
    --held_messages_;
    held_bytes_ -= item.bytes;
    if (outcome.status != PublishStatus::confirmed && !message.ordering_key.empty()) {
        std::string key = key_of(message);
        if (item.job->failed_keys.insert(key).second) {
            Blocked& blocked = blocked_[std::move(key)];
            if (blocked.unreported == 0) {
                blocked.first = message.id;
                blocked.resumed = false;
            }
            ++blocked.unreported;
        }
    }
    item.job->outcomes[item.index] = std::move(outcome);
    if (--item.job->open == 0) {
        finished_.push_back(item.job);
    }
}

void PublishMachine::close() {
    closed_ = true;
    std::deque<Owned> refused;
    for (auto& [key, line] : lines_) {
        while (!line.waiting.empty()) {
            refused.push_back(std::move(line.waiting.front()));
            line.waiting.pop_front();
        }
    }
    for (const Owned& item : refused) {
        finish(*item, PublishStatus::not_sent, closing_error());
    }
}

Result<void> PublishMachine::check(const Message& message) const {
    if (const auto valid = validate(message); !valid) {
        return valid.error();
    }
    if (message.deliver_at && *message.deliver_at > clock_.system_now() + ahead_max) {
        return Error{ErrorCode::unsupported, Disposition::reject,
                     "message for topic \"" + message.topic +
                         "\" has deliver_at in the future: Kafka does not delay; append it to an outbox, or send it through "
                         "the bundled broker, which keep it until it is due"};
    }
    return check_limits(message, options_.record_bytes_max);
}

}  // namespace hufu::kafka
