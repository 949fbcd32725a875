// The broker of the ladder's world: goes away, keeps silent, dies within a batch, refuses a key; and its one consumer.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include <hufu/core/publisher.hpp>

#include "effect_database.hpp"
#include "ladder_ledger.hpp"
#include "sim_process.hpp"

namespace hufu::simulation {

class LadderBroker {
public:
    using Told = std::function<void(std::vector<PublishOutcome>)>;
    /// A client gives up on an answer after this.
    static constexpr std::chrono::milliseconds patience{900};

    LadderBroker(EventQueue& events, LadderLedger& ledger) : events_{events}, ledger_{ledger} {}

    /// Of one key's messages those that are confirmed are a prefix. `told` is called once, unless `from` dies before.
    void publish(SimProcess& from, std::vector<Message> messages, Told told);

    // Harm.
    void refuse_connections(EventQueue::Duration how_long) { refuses_until_ = events_.now() + how_long; }
    void keep_silent(EventQueue::Duration how_long) { silent_until_ = events_.now() + how_long; }
    /// Takes a part of the next batch and is gone.
    void die_in_next_batch() { dies_ = true; }
    /// Nothing of this ordering key will be taken, until it is empty again.
    void reject(std::string key) { rejected_key_ = std::move(key); }
    /// The network is as good as the broker is.
    void heal();

    [[nodiscard]] const std::vector<Effect>& effects() const { return database_.effects(); }
    [[nodiscard]] std::uint64_t arrivals() const { return arrivals_; }

private:
    std::vector<PublishOutcome> take(const std::vector<Message>& messages);
    void consume(const Message& message);

    EventQueue& events_;
    LadderLedger& ledger_;
    EffectDatabase database_;
    SteadyTime refuses_until_{};
    SteadyTime silent_until_{};
    std::string rejected_key_;
    bool dies_ = false;
    bool healed_ = false;
    std::uint64_t arrivals_ = 0;
};

}  // namespace hufu::simulation
