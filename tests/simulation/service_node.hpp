// A process of a service: sends transaction messages and answers the broker's checks, step by step.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <hufu/txmsg/fenced_check.hpp>
#include <hufu/txmsg/producer_machine.hpp>
#include <hufu/txmsg/responder_machine.hpp>

#include "dispatch_node.hpp"
#include "event_queue.hpp"
#include "service_link.hpp"
#include "transaction_ledger.hpp"
#include "verdict_database.hpp"

namespace hufu::simulation {

/// What one business transaction does.
struct BusinessPlan {
    txmsg::HalfContext context;
    std::vector<Message> messages;
    EventQueue::Duration takes{};  ///< the local function
    bool roll_back = false;
    bool fails = false;        ///< the local function throws
    bool end_one_way = false;  ///< END as a stock client sends it
};

/// The process. The database outlives it and ends what it left open; what it had sent may still arrive.
class ServiceNode {
public:
    ServiceNode(std::string name, EventQueue& events, DispatchNode& broker, VerdictDatabase& database,
                TransactionLedger& ledger)
        : name_{std::move(name)}, events_{events}, broker_{broker}, database_{database}, ledger_{ledger} {}

    void start();
    void kill();
    /// Stopped and continued later: timers, answers and its database sessions wait.
    void pause(EventQueue::Duration for_how_long);
    void reset_connection();
    [[nodiscard]] bool is_up() const { return link_ != nullptr; }
    [[nodiscard]] bool is_idle() const { return runs_ == 0; }

    void send(BusinessPlan plan);

    static const std::vector<std::string>& handlers();
    static constexpr const char* group = "orders";

private:
    struct Run {
        BusinessPlan plan;
        txmsg::ProducerMachine machine;
        std::vector<txmsg::HalfOutcome> outcomes;
        std::size_t open_halves = 0;
        VerdictDatabase::Handle handle = 0;
        SteadyTime lock_until = {};
        SteadyTime end_until = {};
    };
    struct CheckRun {
        txmsg::FencedCheck check;
        std::function<void(const Result<txmsg::Seen>&)> done;
        VerdictDatabase::Handle handle = 0;
        SteadyTime lock_until = {};
    };
    using RunPointer = std::shared_ptr<Run>;

    /// Runs `event` after a wait, unless the process died meanwhile; later if it is stopped.
    void later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event);
    void advance(const RunPointer& run);
    void prepare(const RunPointer& run);
    void send_half(const RunPointer& run, std::size_t at, int tries);
    void insert_verdict(const RunPointer& run);
    void run_local(const RunPointer& run);
    void commit(const RunPointer& run);
    void end(const RunPointer& run);
    void end_answered(const RunPointer& run, const std::optional<WireCommand>& answer);
    void lost_session(VerdictDatabase::Handle handle);

    void check(const txmsg::TransactionId& transaction, std::function<void(const Result<txmsg::Seen>&)> done);
    void advance(const std::shared_ptr<CheckRun>& run);
    void asked(const WireCommand& request);
    void obey_responder();
    void say(const txmsg::ResponderAction& action);
    void note_answer(const std::optional<WireCommand>& answer, const txmsg::TransactionId& transaction);

    const std::string name_;
    EventQueue& events_;
    DispatchNode& broker_;
    VerdictDatabase& database_;
    TransactionLedger& ledger_;
    std::unique_ptr<ServiceLink> link_;
    std::unique_ptr<txmsg::ResponderMachine> responder_;
    std::map<txmsg::CheckNumber, EndWords> questions_;
    txmsg::CheckNumber last_question_ = 0;
    std::set<VerdictDatabase::Handle> sessions_;
    std::uint64_t life_ = 0;
    std::uint64_t tick_ = 0;
    SteadyTime paused_until_{};
    std::size_t runs_ = 0;
};

}  // namespace hufu::simulation
