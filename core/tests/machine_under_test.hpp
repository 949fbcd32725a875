// The consumer machine with a clock in hand, and messages that are known by their position.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/consumer_machine.hpp>
#include <hufu/core/random.hpp>

namespace hufu {

using namespace std::chrono_literals;

inline Delivery delivery(std::uint64_t position, std::string ordering_key, std::uint64_t queue = 1,
                         std::uint64_t session = 1) {
    MessageId id{{static_cast<std::uint8_t>(position), static_cast<std::uint8_t>(queue), 1}};
    return {.message = {.id = id, .topic = "orders", .tag = "paid", .ordering_key = std::move(ordering_key), .body = "x"},
            .tag = {.queue = queue, .position = position, .session = session}};
}

class Machine {
public:
    explicit Machine(ConsumerOptions options = {}, ConsumerFacilities facilities = {})
        : machine_{named(std::move(options)), random_, facilities} {}

    ConsumerActions deliver(std::vector<Delivery> deliveries) { return keep(machine_.deliver(std::move(deliveries), now)); }
    ConsumerActions handled(std::uint64_t position, HandlerResult result) {
        const auto job = running.at(position);
        running.erase(position);
        return keep(machine_.handled(job, std::move(result), now));
    }
    /// One handler call for these, in the order of the batch.
    ConsumerActions handled_together(std::vector<std::pair<std::uint64_t, HandlerResult>> results) {
        std::vector<ConsumerMachine::Answer> answers;
        for (auto& [position, result] : results) {
            answers.push_back({running.at(position), std::move(result)});
            running.erase(position);
        }
        return keep(machine_.handled(std::move(answers), now));
    }
    /// How often the process ended under these before.
    ConsumerActions seen(std::vector<std::pair<std::uint64_t, std::uint32_t>> unanswered) {
        std::vector<ConsumerMachine::AttemptsSeen> all;
        for (const auto& [position, count] : unanswered) {
            all.push_back({asking.at(position), count});
            asking.erase(position);
        }
        return keep(machine_.attempts_seen(all, now));
    }
    ConsumerActions settled(std::uint64_t position, bool confirmed) {
        const auto job = publishing.at(position);
        publishing.erase(position);
        return keep(machine_.dead_letter_settled(job, confirmed, confirmed ? "" : "broker away", now));
    }
    ConsumerActions lose(std::uint64_t queue) { return keep(machine_.lose({&queue, 1}, now)); }
    ConsumerActions stop() { return keep(machine_.stop(now)); }
    ConsumerActions pass(std::chrono::milliseconds time) {
        now += time;
        return keep(machine_.tick(now));
    }
    ConsumerMachine* operator->() { return &machine_; }

    SteadyTime now{1h};
    std::map<std::uint64_t, ConsumerJob> running;     // by position
    std::map<std::uint64_t, ConsumerJob> publishing;  // by position
    std::map<std::uint64_t, ConsumerJob> asking;      // by position
    std::map<std::uint64_t, Message> letters;

private:
    static ConsumerOptions named(ConsumerOptions options) {
        options.group = "stock";
        return options;
    }
    ConsumerActions keep(ConsumerActions actions) {
        for (const auto& start : actions.start) running[start.delivery->tag.position] = start.job;
        for (const auto& attempt : actions.attempts) asking[attempt.id.bytes()[0]] = attempt.job;
        for (const auto& letter : actions.dead_letters) {
            const std::uint64_t position = letter.message->id.bytes()[0];
            publishing[position] = letter.job;
            letters[position] = *letter.message;
        }
        return actions;
    }

    SeededRandom random_{1};
    ConsumerMachine machine_;
};

inline std::vector<std::uint64_t> started(const ConsumerActions& actions) {
    std::vector<std::uint64_t> positions;
    for (const auto& start : actions.start) positions.push_back(start.delivery->tag.position);
    return positions;
}

inline std::vector<std::uint64_t> acknowledged(const ConsumerActions& actions) {
    std::vector<std::uint64_t> positions;
    for (const auto& tag : actions.acknowledge) positions.push_back(tag.position);
    return positions;
}

}  // namespace hufu
