// A broker in memory: topics with one queue each, readable by place, writable until told otherwise.
#pragma once

#include <deque>
#include <functional>
#include <map>

#include <hufu/core/publisher.hpp>
#include <hufu/deadletter/redriver.hpp>
#include <hufu/testing/fake_clock.hpp>

namespace hufu::deadletter {

class Shelf final : public TopicReader, public Publisher {
public:
    explicit Shelf(Clock& clock) : clock_{clock} {}

    Result<std::vector<std::string>> topics() override {
        std::vector<std::string> names;
        for (const auto& [name, queue] : queues_) names.push_back(name);
        return names;
    }
    Result<std::vector<QueueRange>> ranges(const std::string& topic) override {
        const auto found = queues_.find(topic);
        if (found == queues_.end()) return Error{ErrorCode::not_found, Disposition::retry, "no topic " + topic};
        return std::vector<QueueRange>{{"0", 0, static_cast<std::int64_t>(found->second.size())}};
    }
    Result<Page> read(const std::string& topic, const std::string& queue, std::int64_t offset, std::size_t max) override {
        Page page{{}, offset};
        const auto& all = queues_[topic];
        while (page.next < static_cast<std::int64_t>(all.size()) && page.messages.size() < max) {
            ReadMessage read = all[static_cast<std::size_t>(page.next)];
            read.place = {queue, page.next++};
            page.messages.push_back(std::move(read));
        }
        return page;
    }

    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        std::map<std::string, bool> failed;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const std::string lane = batch[i].ordering_key.empty() ? std::string{} : batch[i].topic + batch[i].ordering_key;
            if (!lane.empty() && failed[lane]) {
                outcomes[i].status = PublishStatus::not_sent;
                continue;
            }
            outcomes[i] = on_publish ? on_publish(batch[i]) : PublishOutcome{.status = PublishStatus::confirmed};
            if (outcomes[i].status == PublishStatus::confirmed) {
                put(batch[i]);
            } else if (!lane.empty()) {
                failed[lane] = true;
            }
        }
        done();
    }

    void put(Message message) {
        auto& queue = queues_[message.topic];
        queue.push_back({.message = std::move(message), .stored_at = clock_.system_now()});
    }
    [[nodiscard]] const std::deque<ReadMessage>& queue(const std::string& topic) { return queues_[topic]; }
    void remove(const std::string& topic) { queues_.erase(topic); }
    [[nodiscard]] std::vector<std::string> bodies(const std::string& topic) {
        std::vector<std::string> bodies;
        for (const auto& read : queues_[topic]) bodies.push_back(read.message.body);
        return bodies;
    }

    std::function<PublishOutcome(const Message&)> on_publish;

private:
    Clock& clock_;
    std::map<std::string, std::deque<ReadMessage>> queues_;
};

/// A dead letter of group "stock" as a consumer makes it.
inline Message dead(const std::string& body, const std::string& key = {}, const std::string& reason = "out of stock") {
    static std::uint8_t last = 0;
    Message message{.id = MessageId{{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 0, 0, 0, 0, 0, 0, ++last}},
                    .topic = "%DLQ%stock",
                    .ordering_key = key,
                    .body = body};
    message.headers.set(header::dead_reason, reason);
    message.headers.set(header::dead_topic, "orders");
    message.headers.set(header::attempts, "16");
    message.headers.set("tenant", "7");
    return message;
}

}  // namespace hufu::deadletter
