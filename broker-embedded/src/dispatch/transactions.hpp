// Transaction messages: halves that nobody sees until their verdict, and how the verdict is come by.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <hufu/broker/connection_id.hpp>
#include <hufu/broker/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/token_bucket.hpp>
#include <hufu/remoting/record.hpp>

#include "delay.hpp"
#include "recent_halves.hpp"
#include "recent_ids.hpp"
#include "transaction_book.hpp"
#include "transaction_records.hpp"

namespace hufu::broker {

class DispatchState;
struct Topic;

enum class Verdict : std::uint8_t { unknown, commit, rollback };

/// A verdict that somebody gives. Owns its texts.
struct VerdictRequest {
    std::optional<std::uint64_t> home;        ///< the half, by its offset in the queue of halves …
    std::optional<std::uint64_t> log_offset;  ///< … which must stand there in the log
    std::string transaction;                  ///< or the transaction, where `home` says nothing
    std::string group;                        ///< must be that of the half; empty: an administrator's verdict
    Verdict verdict = Verdict::unknown;
    bool from_check = false;
    std::optional<remoting::Host> peer;  ///< of the producer that says so …
    std::string administrator;           ///< … or the administrator
    std::string reason;
};
/// Who gives it: "producer 10.0.0.2:4711", "check of producer …", "admin alice".
[[nodiscard]] std::string who_says(const VerdictRequest& request);

/// Where the transaction stands after that.
struct VerdictAnswer {
    enum class State : std::uint8_t { pending, committed, rolled_back, parked };
    State state = State::pending;
    bool decided_before = false;
    Refusal refusal = {};
};
[[nodiscard]] std::string_view to_string(VerdictAnswer::State state) noexcept;

/// A half that was taken.
struct StoredHalf {
    HalfHome home;
    std::uint64_t ticket = 0;  ///< the answer waits for it; 0: it is durable
    bool repeated = false;     ///< the very message was stored before: this is where
    std::string transaction;
    std::string unique_key;
};

/// A half read from the log, or remembered: valid until the next half is taken, for then another one may be forgotten. `record`
/// and the names point into `bytes`.
struct LoadedHalf {
    Half half;
    HalfHome home;
    std::vector<std::byte> own_bytes = {};  ///< when it was read
    std::span<const std::byte> bytes;
    remoting::Record record;
    std::string_view group;
    std::string_view transaction;
};

/// Hidden queues of the log hold everything:
/// - halves: the messages, whole, naming the topic and queue they are for; tag code = when they are first looked at, and a hash;
/// - moved: halves copied away from what retention gives up;
/// - decisions: what became of each half (HalfEvent); tag code = which half, and what;
/// - book: now and then all that is undecided, so that a restart need not read the queues from their beginning.
/// A verdict is one group of the log: the messages in their queues and the events that say so. After a crash all of it is there,
/// or nothing. The first verdict on a transaction counts; it holds for all its halves.
///
/// There is one such machine, and one queue of halves, because the broker has one thread that appends to one log: every step here
/// is a few memory accesses in tables that do not slow down with their size, or an append, and both would only wait for that
/// thread if there were more. What the original's single queue and thread suffer from, reading it all over and over to find what
/// is due, does not happen here.
class Transactions {
public:
    Transactions(Log& log, MetricsRegistry& metrics, const TransactionOptions& options, SteadyTime start);

    /// At start: the newest book, then the indexes of the queues from there on.
    void load(DispatchState& state);

    /// Takes a half. `record` names its real topic and queue and holds the sender's properties (with a UNIQ_KEY afterwards).
    [[nodiscard]] Refusal store(DispatchState& state, remoting::Record& record, const Traits& traits, StoredHalf& stored);

    using Then = std::function<void(DispatchState&, const VerdictAnswer&)>;
    /// Gives a verdict, or asks where a transaction stands (Verdict::unknown). `then` runs once, when the answer is as durable
    /// as the topic wants.
    void decide(DispatchState& state, VerdictRequest request, Then then);
    /// The topic of the half that is meant, as far as it is known without waiting.
    [[nodiscard]] std::optional<std::string> topic_of(DispatchState& state, const VerdictRequest& request);

    /// Checks what is due and parks what nobody knows, a bounded slice a call.
    void tick(DispatchState& state, SteadyTime now);
    [[nodiscard]] SteadyTime next_at() const noexcept { return next_at_; }
    /// The log's verdict on what was appended.
    void settled(DispatchState& state, const Outcome& outcome, SteadyTime now);
    /// A producer of the group has come.
    void producer_joined(std::string_view group, SteadyTime now);
    /// See move_transactions_out_of.
    Result<bool> move_out_of(DispatchState& state, std::uint64_t log_offset);

    // For administrators.

    /// What is parked is asked about again, with a new budget; what is committed and waits for its topic is tried again. Not
    /// empty: all halves of one transaction. `then` runs once it is durable.
    void resume(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request, Then then);
    /// The halves of one transaction that are in the book.
    [[nodiscard]] std::vector<LoadedHalf> load_transaction(DispatchState& state, std::string_view group,
                                                           std::string_view transaction);
    [[nodiscard]] std::optional<LoadedHalf> load_half(const Half& half);
    /// What was stored there, decided or not, as far as the index of the queue of halves still knows it.
    [[nodiscard]] std::optional<Half> half_at_home(std::uint64_t home);
    [[nodiscard]] const TransactionBook& book() const noexcept { return book_; }
    [[nodiscard]] QueueHandle halves() const noexcept { return halves_; }
    [[nodiscard]] QueueHandle decisions() const noexcept { return decisions_; }
    /// Makes a half's record what somebody sees who looks for it: sysFlag says prepared (4), committed (8) or rolled back (12), and
    /// a committed one stands where consumers find it. False: it is found elsewhere (its delivered copy, or a newer copy of it).
    [[nodiscard]] bool show_half(DispatchState& state, std::vector<std::byte>& bytes);
    /// Whether the queue is one of those that hold halves.
    [[nodiscard]] bool holds_halves(QueueHandle queue) const noexcept { return queue == halves_ || queue == moved_; }
    /// How long the oldest half that is asked about has waited.
    [[nodiscard]] double oldest_pending_s(const DispatchState& state);

private:
    /// Nearly every transaction is one message.
    template <class T>
    using Few = boost::container::small_vector<T, 1>;
    /// Appends of one group of the log that are not settled.
    struct Flight {
        std::uint64_t ticket = 0;
        Few<std::pair<std::uint64_t, std::optional<Half>>> before = {};  ///< what the book said, if the log refuses
        std::optional<std::uint64_t> stored = {};
        Few<std::uint64_t> decided = {};
        Few<QueueHandle> grown = {};
        std::uint64_t hash = 0;          ///< of the transaction that was decided
        std::uint64_t bytes = 0;         ///< of the messages
        std::int64_t pending_bytes = 0;  ///< by which the halves in the book grew
        EventKind kind = EventKind::resumed;
        std::function<void(DispatchState&, const Refusal&)> then = {};
    };
    /// A half on its way to the disk: it cannot be read yet.
    struct Fresh {
        std::uint64_t ticket = 0;
        HalfHome home;
        std::uint64_t bytes = 0;
        std::string group;
        std::string transaction;
        std::string unique_key;
        std::string topic;
    };
    /// A verdict that waits for what is on its way.
    struct Waiting {
        std::uint64_t ticket = 0;
        VerdictRequest request;
        Then then;
    };
    /// Where a message of a commit goes.
    struct Destination {
        const Topic* topic = nullptr;
        QueueHandle queue = {};
        std::int32_t queue_id = 0;
        std::optional<Delay> delay = {};
    };

    // transaction_halves.cpp
    Refusal room_for_half(const DispatchState& state, const remoting::Record& record) const;
    Refusal look_for_mates(DispatchState& state, const remoting::Record& record, const HalfTraits& traits,
                           StoredHalf& stored);
    Refusal look_for_verdict(DispatchState& state, const HalfTraits& traits);
    std::uint16_t number_of_group(std::string_view group);
    Refusal append_half(DispatchState& state, remoting::Record& record, const Traits& traits, const HalfTraits& half_traits,
                        StoredHalf& stored);

    // transaction_end.cpp
    [[nodiscard]] std::uint64_t must_wait(const VerdictRequest& request) const;
    void wait(DispatchState& state, std::uint64_t ticket, VerdictRequest request, Then then);
    std::vector<LoadedHalf> find_halves(DispatchState& state, const VerdictRequest& request, Refusal& refusal);
    void answer_of_past(DispatchState& state, const VerdictRequest& request, const Then& then);
    void note_conflict(DispatchState& state, const VerdictRequest& request, const HalfEvent& event, Refusal refusal,
                       Then then);
    void decide_loaded(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request, Then then);
    void note_check_answer(const VerdictRequest& request);
    void dismiss(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request, Then then);

    // transaction_decide.cpp
    void apply(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request, Then then);
    [[nodiscard]] std::string address(DispatchState& state, const std::vector<LoadedHalf>& halves,
                                      std::vector<Destination>& destinations);
    void keep_undelivered(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request,
                          const std::string& topic, Then then);
    Result<void> append_group(DispatchState& state, const std::vector<LoadedHalf>& halves,
                              const std::vector<Destination>& destinations, const VerdictRequest& request, Flight& flight);
    Result<Appended> deliver(DispatchState& state, const LoadedHalf& half, const Destination& destination);
    [[nodiscard]] bool links_to(const LoadedHalf& half, const Destination& destination) const;
    Result<Appended> append_verdict(DispatchState& state, const LoadedHalf& half, const VerdictRequest& request,
                                    std::uint64_t delivered_at);
    /// One group: an event for each half, and the state that follows from it.
    Result<void> change(DispatchState& state, std::span<const LoadedHalf> halves, EventKind kind, HalfState to,
                        std::string_view by, std::string_view reason,
                        std::function<void(DispatchState&, const Refusal&)> then);

    // transaction_checks.cpp
    /// Bytes that were read for it.
    std::uint64_t look_at(DispatchState& state, Half half, SteadyTime now);
    /// Whether the half's time for questions is over, and that was so before it was last asked about.
    [[nodiscard]] std::string why_park(DispatchState& state, const LoadedHalf& loaded, Half& half);
    bool ask(DispatchState& state, const LoadedHalf& half);
    void park(DispatchState& state, LoadedHalf& half, const std::string& reason);
    void expire_checks(SteadyTime now);
    void forget_check(const Half& half);

    // transaction_moves.cpp
    Result<void> move_one(DispatchState& state, const Half& half);
    [[nodiscard]] bool book_is_due() const;
    Result<void> write_book(DispatchState& state);

    // transactions.cpp
    void load_book(DispatchState& state);
    bool restore_book(const DispatchState& state, std::string_view text);
    struct HalvesRead {
        std::uint64_t count = 0;
        std::uint64_t bytes = 0;
    };
    HalvesRead load_halves(const std::vector<bool>& decided, std::int64_t now_ms, SteadyTime now);
    [[nodiscard]] std::vector<bool> decided_since_book();
    void load_events(DispatchState& state, const std::vector<bool>& left_out);
    void restore_half(const Half& half);
    void fly(Flight flight);
    void land(DispatchState& state, Flight& flight, SteadyTime now);
    void refuse_all(DispatchState& state, const Refusal& refusal);
    void run_waiting(DispatchState& state, std::uint64_t through);
    void note_counts();
    [[nodiscard]] HalfEvent event_of(const LoadedHalf& half, EventKind kind, std::string_view by,
                                     std::string_view reason) const;

    Log& log_;
    const QueueHandle halves_;
    const QueueHandle moved_;
    const QueueHandle decisions_;
    const QueueHandle books_;
    TransactionBook book_;
    RecentHalves recent_;
    RecentIds decided_lately_;
    std::vector<std::uint32_t> early_hashes_;  ///< of the last halves before the start, sorted
    std::deque<Flight> flights_;
    std::unordered_map<std::uint64_t, Fresh> fresh_;             ///< by home
    std::unordered_map<std::uint64_t, std::uint64_t> deciding_;  ///< home → ticket of its verdict, or of its move
    std::unordered_map<std::uint64_t, std::uint64_t> deciding_transactions_;  ///< hash → ticket of its verdict
    std::deque<Waiting> waiting_;

    std::unordered_map<std::string, std::uint16_t> group_numbers_;
    std::vector<std::string> groups_{std::string{}};  ///< by number; 0: not known
    std::unordered_set<std::uint16_t> unreachable_groups_;

    struct CheckOut {
        std::uint64_t home;
        SteadyTime until;
    };
    std::deque<CheckOut> checks_out_;
    std::size_t checks_out_count_ = 0;
    TokenBucket check_rate_;
    std::uint64_t producer_turn_ = 0;

    std::uint64_t next_home_ = 0;  ///< what is appended next
    std::uint64_t next_moved_ = 0;
    std::uint64_t next_event_ = 0;
    std::uint64_t events_since_book_ = 0;
    std::uint64_t book_log_offset_ = 0;  ///< where the newest book stands in the log
    std::uint64_t pending_bytes_ = 0;
    std::uint64_t moved_ticket_ = 0;  ///< of the last move
    std::uint64_t settled_ticket_ = 0;
    SteadyTime next_at_ = SteadyTime::max();
    std::string properties_;  // scratch

    Gauge& pending_gauge_;
    Gauge& parked_gauge_;
    Gauge& conflicts_gauge_;
    Counter& halves_count_;
    Counter& busy_count_;
    Counter& commits_count_;
    Counter& rollbacks_count_;
    Counter& refused_count_;
    Counter& conflicts_count_;
    Counter& parked_count_;
    Counter& checks_sent_count_;
    Counter& checks_answered_count_;
    Counter& checks_unreachable_count_;
    Histogram& finish_;
};

/// For retention, before the log gives up what stands below `log_offset`: halves without a verdict are copied behind it, a bounded
/// number a call. True once none stands below and all copies are durable; false: call again after the next settled group.
/// Errors: those of Log::append, all to be retried.
Result<bool> move_transactions_out_of(DispatchState& state, std::uint64_t log_offset);

}  // namespace hufu::broker
