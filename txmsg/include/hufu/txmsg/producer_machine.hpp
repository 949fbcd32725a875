// One transaction message from its halves to its end, decided without a broker, database or thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/txmsg/half_publisher.hpp>
#include <hufu/txmsg/verdict_store.hpp>

namespace hufu::txmsg {

/// What a local transaction may return: its rows stay, or go.
enum class Decision : std::uint8_t { commit, rollback };

/// How it ended, as far as this process knows.
struct TransactionResult {
    enum class State : std::uint8_t {
        committed,    ///< the business rows are committed; the messages are visible, or will be without further doing
        rolled_back,  ///< nothing of the local transaction remains; the messages will never be visible
        in_doubt,     ///< the database's answer to COMMIT was lost and it could not be asked in time; check-back decides
    };
    State state = State::in_doubt;
    TransactionId transaction = {};
    std::vector<MessageId> messages = {};  ///< in the order they were given
    EndOutcome end = {};                   ///< what the broker said last; `unknown` if it was told nothing or is silent
    Error error = {};                      ///< why, unless committed or rolled back by the local function's own decision
};

/// Which halves let the local transaction run. A broker may say "stored, and not as safely as you asked": not flushed in time, or
/// not replicated (FLUSH_DISK_TIMEOUT, FLUSH_SLAVE_TIMEOUT, SLAVE_NOT_AVAILABLE). `stored` goes on then: should that broker die
/// before it has caught up, rows are committed whose message is lost. The bundled broker gives no such answer.
enum class HalfSafety : std::uint8_t { confirmed, stored };

struct ProducerRules {
    HalfSafety half_safety = HalfSafety::confirmed;
    std::chrono::milliseconds self_check_for{5'000};  ///< how long the store is asked after a lost answer to COMMIT
    std::chrono::milliseconds end_for{5'000};         ///< how long END is repeated; check-back takes over afterwards
    std::chrono::milliseconds wait_first{20};         ///< between repetitions; doubles …
    std::chrono::milliseconds wait_most{1'000};       ///< … up to this
};

/// What the shell has to do next.
enum class ProducerAction : std::uint8_t {
    prepare,         ///< HalfPublisher::prepare, then `prepared`
    begin,           ///< the local transaction; `done` or `failed`
    insert_verdict,  ///< as its first statement; `done` or `failed`
    run_local,       ///< the user's function; `returned` or `threw`
    commit,          ///< `done` or `failed`
    roll_back,       ///< `done`
    check,           ///< VerdictStore::check (fenced); `checked`
    wait,            ///< until `wait_until()`, or less when stopping; `waited`
    end,             ///< HalfPublisher::end with `verdict()`, `halves()`, `reason()`; `ended`
    finished,        ///< `result()`
};

/// The steps: halves stored, verdict row first in the local transaction, the user's statements, COMMIT, END.
///
/// The local transaction runs only when every half is certainly stored (see `HalfSafety`). END says commit only when the database said so,
/// or the verdict store after a lost answer. A rollback is said as soon as it is certain; what is not certain is said by
/// nobody here, and check-back settles it. A crash between any two steps leaves what check-back settles as well.
///
/// Not thread-safe; one object per transaction. Borrows nothing.
class ProducerMachine {
public:
    explicit ProducerMachine(HalfContext context, const ProducerRules& rules = {});

    [[nodiscard]] const HalfContext& context() const noexcept { return context_; }
    [[nodiscard]] ProducerAction next() const noexcept { return next_; }
    [[nodiscard]] Verdict verdict() const noexcept { return verdict_; }
    [[nodiscard]] const std::vector<Half>& halves() const noexcept { return halves_; }
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
    [[nodiscard]] SteadyTime wait_until() const noexcept { return wait_until_; }

    void prepared(std::span<const HalfOutcome> outcomes, SteadyTime now);
    void done(SteadyTime now);
    void failed(Error error, SteadyTime now);
    void returned(Decision decision);
    void threw(Error error);
    void checked(const Result<Seen>& seen, SteadyTime now);
    void waited();
    void ended(EndOutcome outcome, SteadyTime now);
    /// The caller wants no more waiting: what is not settled yet is left to check-back.
    void hurry() noexcept { hurry_ = true; }

    [[nodiscard]] const TransactionResult& result() const noexcept { return result_; }

private:
    void roll_back(Error error, std::string reason);
    void say(Verdict verdict, std::string reason, SteadyTime now);
    void wait_or(ProducerAction again, ProducerAction otherwise, SteadyTime now);

    HalfContext context_;
    ProducerRules rules_;
    ProducerAction next_ = ProducerAction::prepare;
    ProducerAction after_wait_ = ProducerAction::finished;
    Verdict verdict_ = Verdict::unknown;
    std::string reason_;
    std::vector<Half> halves_;
    SteadyTime wait_until_{};
    SteadyTime deadline_{};
    std::chrono::milliseconds wait_{};
    bool hurry_ = false;
    TransactionResult result_;
};

}  // namespace hufu::txmsg
