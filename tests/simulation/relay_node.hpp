// A relay process: the machine, its store calls over a network, its link to the broker.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <hufu/outbox/relay_machine.hpp>

#include "outbox_database.hpp"
#include "publisher_link.hpp"

namespace hufu::simulation {

class RelayNode {
public:
    /// Called with a sentence when the relay does what no relay may do.
    using Complain = std::function<void(const std::string&)>;

    RelayNode(std::string name, EventQueue& events, OutboxDatabase& database, BrokerNode& broker, Complain complain)
        : name_{std::move(name)}, events_{events}, database_{database}, broker_{broker}, complain_{std::move(complain)} {}

    void start();
    void kill();
    /// SIGSTOP until then: nothing it is told reaches it, nothing it decides happens.
    void pause(EventQueue::Duration how_long) { paused_until_ = events_.now() + how_long; }
    void reset_connection();
    [[nodiscard]] bool is_up() const { return machine_ != nullptr; }
    /// The database is not there: calls fail until then.
    void set_database_down(bool down) { database_down_ = down; }

private:
    void schedule_step();
    void obey(outbox::RelayActions actions);

    template <class Reply>
    void call(std::function<Result<Reply>()> perform, std::function<void(Result<Reply>)> answer);
    /// Runs `event` if this life goes on, when the process is not paused.
    void awake(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event);

    const std::string name_;
    EventQueue& events_;
    OutboxDatabase& database_;
    BrokerNode& broker_;
    Complain complain_;
    std::unique_ptr<outbox::RelayMachine> machine_;
    std::unique_ptr<SeededRandom> chance_;
    std::shared_ptr<PublisherLink> link_;
    std::unique_ptr<outbox::LaneLease> lease_;
    std::unique_ptr<outbox::LaneReader> reader_;
    std::unique_ptr<outbox::LaneSettler> settler_;
    std::unique_ptr<outbox::ParkingLot> lot_;
    std::unique_ptr<outbox::DelayedRows> delayed_;
    SteadyTime paused_until_{};
    bool step_planned_ = false;
    std::uint64_t tick_ = 0;
    std::uint64_t life_ = 0;
    std::uint64_t claimed_epoch_ = 0;
    bool told_to_stop_ = false;  // a call said that the claim is gone
    bool database_down_ = false;
};

}  // namespace hufu::simulation
