// A process that publishes through a ladder: does with events what `BufferingPublisher` does with threads.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hufu/degradation/ladder_machine.hpp>

#include "drain_machine.hpp"
#include "journal_link.hpp"
#include "ladder_broker.hpp"
#include "stream_link.hpp"

namespace hufu::simulation {

/// On a broker, the shared buffer and a journal of its own, which outlives it.
class LadderNode {
public:
    using Ended = std::function<void(std::vector<PublishOutcome>)>;

    LadderNode(std::string name, EventQueue& events, LadderBroker& broker, StreamServer& server, LadderLedger& ledger,
               degradation::LadderOptions options, bool good_network);

    /// `retry_parked`: what was set aside in the journal is put back first.
    void start(bool retry_parked = false);
    /// The process dies; with `power_cut` the machine goes with it. Callers hear no outcome: an empty list.
    void kill(bool power_cut);
    /// The machine dies while the journal writes; if it does not write soon, nothing happens.
    void fail_power_in_next_write();
    /// The next sync of the journal's disk fails.
    void fail_next_sync() { disk_.fail_nth(DiskCall::sync, 1); }
    void stand_still(EventQueue::Duration how_long);
    /// Its disk and its power are well from now on.
    void heal();

    [[nodiscard]] bool is_up() const { return process_.is_up(); }
    /// Up, and it knows its buffers' settings, as after the constructor of a publisher.
    [[nodiscard]] bool takes_calls() const;
    void publish(std::vector<Message> messages, Ended ended);

    [[nodiscard]] bool journal_is_empty() const { return journal_.empty(); }
    [[nodiscard]] bool has_parked() const { return journal_.has_parked(); }

private:
    static constexpr std::size_t rungs = 2;  // the shared buffer, the journal
    struct Call {
        std::vector<PublishOutcome> outcomes;
        std::size_t left = 0;
        SteadyTime since{};
        Ended ended;
    };
    /// Replays one rung: one batch at a time.
    struct Drain {
        degradation::DrainMachine machine;
        bool some_parked = true;  // for all that is known
        std::size_t batch = 1;
    };

    void unpark_journal();
    void turn_soon();
    void turn();
    void obey(const degradation::LadderActions& actions);
    void complete(const degradation::LadderCompletion& completion);
    void judge_call(const Call& call);
    void look_at_size(std::size_t rung);

    void drain(std::size_t rung);
    void drain_later(std::size_t rung, EventQueue::Duration wait);
    void look_before_draining(std::size_t rung, std::vector<degradation::Entry> entries);
    void publish_drained(std::size_t rung, std::vector<degradation::Entry> entries, const std::vector<bool>& held,
                         std::set<ConsumerKey> parked);
    void settle(std::size_t rung, std::vector<PublishOutcome> outcomes);
    void park(std::size_t rung, std::shared_ptr<degradation::DrainMachine::Settled> settled, std::size_t next);
    void end_drain(std::size_t rung, const degradation::DrainMachine::Settled& settled, bool kept);

    const std::string name_;
    EventQueue& events_;
    LadderBroker& broker_;
    StreamServer& server_;
    LadderLedger& ledger_;
    const degradation::LadderOptions options_;
    const bool good_network_;
    SimProcess process_{events_};
    SimDisk disk_{events_.random()};
    JournalLink journal_{events_, process_, disk_, ledger_};
    std::vector<std::unique_ptr<StreamLink>> streams_;  // one a life: requests of earlier ones may be on their way
    std::array<BufferLink*, rungs> links_{};
    std::unique_ptr<degradation::LadderMachine> machine_;
    std::array<Drain, rungs> drains_;
    std::map<degradation::Ticket, Call> calls_;
    degradation::Ticket last_ticket_ = 0;
    bool turn_planned_ = false;
    std::optional<SteadyTime> tick_at_;
    SteadyTime still_until_{};
};

}  // namespace hufu::simulation
