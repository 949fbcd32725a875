// Who answers a check, and with what, decided without a broker, database or thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/txmsg/half_publisher.hpp>
#include <hufu/txmsg/verdict_store.hpp>

namespace hufu::txmsg {

struct ResponderRules {
    std::string store = {};                           ///< uuid of this process's verdict store; empty: there is none
    std::set<std::string> handlers = {""};            ///< who is answered for; "" is checks without a handler
    std::set<std::string> checkers = {};              ///< of those, the ones with a checker of the user's
    std::chrono::milliseconds answer_within{10'000};  ///< then the answer is `unknown`, whatever comes later
    std::size_t running_per_handler = 4;  ///< asked at once; a handler that hangs holds up itself, not the others
    std::size_t waiting_max = 10'000;     ///< more are answered `unknown` at once, and the broker asks again later
};

/// Identifies a check between its arrival and its last event.
using CheckNumber = std::uint64_t;

/// What the shell has to do.
struct ResponderAction {
    enum class Kind : std::uint8_t {
        ask_store,    ///< VerdictStore::check, then `store_said`
        ask_checker,  ///< the user's checker of `handler`, then `checker_said` or `checker_failed`
        answer,       ///< the broker gets `verdict` with `reason`
        stay_silent,  ///< the broker gets nothing: this process has no say in this transaction
    };
    Kind kind = Kind::answer;
    CheckNumber number = 0;
    TransactionId transaction = {};
    std::string handler = {};
    Verdict verdict = Verdict::unknown;
    std::string reason = {};
};

/// Counts since the start; what the metrics show.
struct ResponderFigures {
    std::uint64_t committed = 0;
    std::uint64_t rolled_back = 0;
    std::uint64_t unknown = 0;          ///< answered `unknown`, of which:
    std::uint64_t timed_out = 0;        ///< … nothing came in time
    std::uint64_t failed = 0;           ///< … the checker threw, or the store reported an error
    std::uint64_t nonsense = 0;         ///< … the checker answered with what is no verdict
    std::uint64_t overloaded = 0;       ///< … too many were waiting
    std::uint64_t late = 0;             ///< came after the answer and was dropped
    std::uint64_t foreign = 0;          ///< silent: another store's, or a database that must not answer
    std::uint64_t unknown_handler = 0;  ///< silent: nobody here is registered for it
};

/// Turns checks into answers: the half names its verdict store, and only a process with that very store may look there; a
/// handler with a checker of the user's asks that. Each check that is taken is answered exactly once, in time, or silence
/// is kept for a reason that is counted. Memory is bounded by `waiting_max` and what runs.
///
/// Not thread-safe. Borrows nothing.
class ResponderMachine {
public:
    explicit ResponderMachine(ResponderRules rules);

    void arrived(CheckNumber number, const HalfContext& context, SteadyTime now);
    void store_said(CheckNumber number, const Result<Seen>& seen, SteadyTime now);
    void checker_said(CheckNumber number, Verdict verdict, std::string reason, SteadyTime now);
    void checker_failed(CheckNumber number, std::string what, SteadyTime now);
    /// Answers what was not answered in time.
    void tick(SteadyTime now);
    /// Everything that waits or runs is left unanswered (silence); later events of it are dropped.
    void stop();

    /// Actions since the last call, in order.
    [[nodiscard]] std::vector<ResponderAction> take();
    /// When `tick` has something to do; none: not before another event.
    [[nodiscard]] std::optional<SteadyTime> next_deadline() const;
    [[nodiscard]] const ResponderFigures& figures() const noexcept { return figures_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
    [[nodiscard]] std::size_t running() const noexcept { return running_; }

private:
    struct Pending {
        std::string handler;
        TransactionId transaction;
        SteadyTime deadline{};
        bool running = false;
        bool answered = false;
    };
    struct Lane {  // of one handler
        std::size_t running = 0;
        std::deque<CheckNumber> waiting;
    };
    void start_more(const std::string& handler);
    void answer(CheckNumber number, Verdict verdict, std::string reason);
    void silence(CheckNumber number, const TransactionId& transaction, std::string reason);
    /// Frees the place of what has ended; null: nobody waits for its word any more.
    Pending* end_of_run(CheckNumber number);
    void forget(CheckNumber number);

    ResponderRules rules_;
    std::map<CheckNumber, Pending> pending_;  // numbers ascend, and so do deadlines
    std::map<std::string, Lane> lanes_;       // one per registered handler at most
    std::set<CheckNumber> unanswered_;
    std::size_t waiting_ = 0;
    std::size_t running_ = 0;
    std::vector<ResponderAction> actions_;
    ResponderFigures figures_;
};

}  // namespace hufu::txmsg
