// A ladder machine whose brokers are the test, on buffers in memory.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <hufu/core/mutant.hpp>
#include <hufu/degradation/ladder_machine.hpp>
#include <hufu/testing/fake_clock.hpp>
#include <hufu/testing/memory_buffer.hpp>

namespace hufu::degradation {

using namespace std::chrono_literals;

inline Error gone() { return {ErrorCode::unavailable, Disposition::in_doubt, "connection reset"}; }

/// Obeys the machine at once, but for publishes: those wait for `answer`.
class LadderRig {
public:
    explicit LadderRig(LadderOptions options = rig_options(), std::size_t brokers = 1,
                       std::vector<std::shared_ptr<testing::MemoryBuffer>> shared = {})
        : redis{shared.empty() ? std::make_shared<testing::MemoryBuffer>(clock, Loss::last_second) : shared[0]},
          journal{shared.size() < 2 ? std::make_shared<testing::MemoryBuffer>(clock) : shared[1]},
          machine{std::make_unique<LadderMachine>(std::move(options), brokers, rungs(), random)} {
        step();
        step();  // with the settings read
    }

    static LadderOptions rig_options() {
        LadderOptions options;
        options.need = Loss::last_second;
        options.breaker.probe_after = RetrySchedule::capped(250ms, 1s);
        return options;
    }
    static std::vector<RungOptions> rungs() { return {{.name = "redis"}, {.name = "journal"}}; }

    Ticket add(const std::string& key, const std::string& body, const std::string& topic = "orders") {
        Message message{.topic = topic, .ordering_key = key, .body = body};
        message.id = ids_.next();
        return add({message});
    }
    Ticket add(std::vector<Message> messages) {
        bodies_[++last_].clear();
        for (const auto& message : messages) bodies_[last_].push_back(message.body);
        machine->accept(last_, std::move(messages), clock.steady_now());
        step();
        return last_;
    }

    void step() {
        for (int turn = 0; turn < 100; ++turn) {
            LadderActions actions = machine->step(clock.steady_now());
            tick_at = actions.tick_at;
            for (auto& done : actions.completed) {
                outcomes[bodies_.at(done.ticket)[done.index]] = done.outcome;
                ended.push_back(bodies_.at(done.ticket)[done.index]);
            }
            for (auto& notice : actions.notices) notices.push_back(notice);
            for (auto& flight : actions.publish) out.push_back(std::move(flight));
            if (actions.inspect.empty() && actions.read_epochs.empty() && actions.spill.empty() && returned.empty()) return;
            for (const std::size_t rung : actions.inspect)
                machine->inspected(rung, buffer(rung).inspect(), clock.steady_now());
            for (const auto read : actions.read_epochs) {
                buffer(read.rung).epoch(
                    [this, read](const auto& epoch) { machine->epoch_read(read, epoch, clock.steady_now()); });
            }
            for (const auto& flight : actions.spill) {
                buffer(flight->rung).spill(flight->messages, flight->when, flight->outcomes, [this, flight] {
                    returned.push_back(flight);
                });
            }
            for (const auto& flight : std::exchange(returned, {})) machine->spilled(flight, clock.steady_now());
        }
        FAIL() << "the machine does not come to rest";
    }
    testing::MemoryBuffer& buffer(std::size_t rung) { return rung == 0 ? *redis : *journal; }

    /// The oldest publish is answered: confirmed, or all of it like this.
    void answer(std::optional<PublishOutcome> how = {}) {
        ASSERT_FALSE(out.empty());
        const auto flight = out.front();
        out.pop_front();
        for (std::size_t index = 0; index < flight->messages.size(); ++index) {
            flight->outcomes[index] =
                how.value_or(PublishOutcome{.status = PublishStatus::confirmed, .broker_id = "at-broker"});
            if (flight->outcomes[index].status == PublishStatus::confirmed) arrived.push_back(flight->messages[index].body);
        }
        machine->published(flight, clock.steady_now());
        step();
    }
    void answer_all() {
        while (!out.empty()) answer();
    }
    void lose_connection() {
        while (!out.empty()) answer(PublishOutcome{.status = PublishStatus::in_doubt, .error = gone()});
    }
    /// The broker is known to be away.
    void open_breaker() {
        add("", "opens");
        lose_connection();
        ASSERT_EQ(machine->breakers()[0].state(), BreakerState::open);
    }
    void pass(std::chrono::milliseconds time) {
        clock.advance(time);
        step();
    }
    /// One message leaves a buffer for the broker, as the replayer does it.
    void replay(testing::MemoryBuffer& from) {
        const auto reader = from.reader("r");
        const auto read = reader->read(1, 0ms);
        ASSERT_TRUE(read);
        ASSERT_FALSE(read->empty());
        arrived.push_back(read->front().message.body);
        ASSERT_EQ(*reader->trim(std::vector{read->front().id}), 1u);
    }

    [[nodiscard]] std::vector<std::string> under_way() const {
        std::vector<std::string> all;
        for (const auto& flight : out) {
            for (const auto& message : flight->messages) all.push_back(message.body);
        }
        return all;
    }
    static std::vector<std::string> bodies(const std::vector<Message>& messages) {
        std::vector<std::string> all;
        for (const auto& message : messages) all.push_back(message.body);
        return all;
    }
    [[nodiscard]] std::string place(const std::string& body) const {
        const auto found = outcomes.find(body);
        if (found == outcomes.end()) return "open";
        switch (found->second.status) {
            case PublishStatus::confirmed: return found->second.broker_id;
            case PublishStatus::in_doubt: return "in doubt";
            case PublishStatus::not_sent: return "not sent";
            case PublishStatus::rejected: return "rejected";
        }
        return "";
    }

    testing::FakeClock clock;
    SeededRandom random{7};
    std::shared_ptr<testing::MemoryBuffer> redis;    // loses its last second
    std::shared_ptr<testing::MemoryBuffer> journal;  // loses nothing
    std::unique_ptr<LadderMachine> machine;
    std::deque<std::shared_ptr<PublishFlight>> out;
    std::vector<std::shared_ptr<SpillFlight>> returned;
    std::map<std::string, PublishOutcome> outcomes;
    std::vector<std::string> ended;
    std::vector<std::string> arrived;  // at the broker
    std::vector<LadderNotice> notices;
    std::optional<SteadyTime> tick_at;

private:
    MessageIdGenerator ids_{clock, random};
    Ticket last_ = 0;
    std::map<Ticket, std::vector<std::string>> bodies_;
};

}  // namespace hufu::degradation
