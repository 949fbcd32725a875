// A forwarding machine whose brokers are the test.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>
#include <hufu/forward/forward_machine.hpp>
#include <hufu/testing/fake_clock.hpp>

namespace hufu::forward {

constexpr auto confirmed = PublishStatus::confirmed;
constexpr auto in_doubt = PublishStatus::in_doubt;
constexpr auto not_sent = PublishStatus::not_sent;
constexpr auto rejected = PublishStatus::rejected;

class Rig {
public:
    explicit Rig(ForwardOptions options) : options_{std::move(options)} { restart(); }

    /// The process dies and another begins; what is under way is forgotten.
    void restart() {
        out.clear();
        machine = std::make_unique<ForwardMachine>(options_, system_random());
    }

    /// What the source holds: delivered once more by `redeliver` until it is acknowledged.
    void add(const std::string& key, const std::string& body, std::uint64_t queue = 0) {
        Delivery delivery;
        delivery.message = {.id = ids_.next(), .topic = "orders", .ordering_key = key, .body = body};
        delivery.tag = {.queue = queue, .position = ++position_, .session = session};
        stored.push_back(delivery);
        machine->deliver({std::move(delivery)});
    }
    void redeliver() {
        ++session;
        std::vector<Delivery> again;
        for (Delivery& delivery : stored) {
            delivery.tag.session = session;
            again.push_back(delivery);
        }
        machine->deliver(std::move(again));
    }

    ForwardActions step() {
        ForwardActions actions = machine->step(clock.steady_now());
        for (const auto& tag : actions.acknowledge) {
            acknowledged.push_back(tag);
            std::erase_if(stored, [&](const Delivery& delivery) { return delivery.tag == tag; });
        }
        for (auto& batch : actions.publish) out.push_back(std::move(batch));
        for (const auto& notice : actions.notices) notices.push_back(notice);
        tick_at = actions.tick_at;
        return actions;
    }

    /// Bodies of the batches under way, dead letters with a '!' in front.
    [[nodiscard]] std::vector<std::vector<std::string>> under_way() const {
        std::vector<std::vector<std::string>> all;
        for (const auto& batch : out) {
            auto& bodies = all.emplace_back();
            for (const auto& message : batch->messages) bodies.push_back((batch->dead_letters ? "!" : "") + message.body);
        }
        return all;
    }

    /// The oldest batch is answered: confirmed but for those named, and what of their keys stands behind them.
    void answer(const std::map<std::string, PublishStatus>& failures = {}) {
        ASSERT_FALSE(out.empty());
        auto batch = std::move(out.front());
        out.pop_front();
        std::set<std::string> failed_keys;
        for (std::size_t i = 0; i < batch->messages.size(); ++i) {
            const Message& message = batch->messages[i];
            const auto failure = failures.find(message.body);
            PublishStatus status = failure == failures.end() ? confirmed : failure->second;
            if (!message.ordering_key.empty() && failed_keys.contains(message.ordering_key)) status = not_sent;
            if (status != confirmed) failed_keys.insert(message.ordering_key);
            if (status == confirmed) (batch->dead_letters ? letters : arrived).push_back(message);
            batch->outcomes[i] = {.status = status,
                                  .error = Error{status == rejected ? ErrorCode::too_large : ErrorCode::unavailable,
                                                 status == rejected ? Disposition::reject : Disposition::retry, "why"}};
        }
        machine->published(std::move(batch), clock.steady_now());
        step();
    }
    void answer_all() {
        while (!out.empty()) answer();
    }
    void wait() {
        ASSERT_TRUE(tick_at.has_value());
        clock.advance(*tick_at - clock.steady_now());
        step();
    }

    [[nodiscard]] static std::vector<std::string> bodies(const std::vector<Message>& messages) {
        std::vector<std::string> all;
        for (const auto& message : messages) all.push_back(message.body);
        return all;
    }
    [[nodiscard]] std::vector<std::string> arrived_bodies() const { return bodies(arrived); }
    [[nodiscard]] std::vector<std::string> letter_bodies() const { return bodies(letters); }

    hufu::testing::FakeClock clock;
    std::uint64_t session = 1;
    std::vector<Delivery> stored;
    std::unique_ptr<ForwardMachine> machine;
    std::deque<std::unique_ptr<ForwardBatch>> out;
    std::vector<Message> arrived;  // at the target
    std::vector<Message> letters;
    std::vector<DeliveryTag> acknowledged;
    std::vector<ForwardActions::Notice> notices;
    std::optional<SteadyTime> tick_at;

private:
    ForwardOptions options_;
    MessageIdGenerator ids_{clock, system_random()};
    std::uint64_t position_ = 0;
};

inline ForwardOptions rig_options() {
    return {.group = "g", .retry = RetrySchedule::capped(std::chrono::milliseconds{100}, std::chrono::seconds{2})};
}

}  // namespace hufu::forward
