// What happens to each message: published, buffered on which rung, kept back, or given back to its caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/degradation/buffer.hpp>
#include <hufu/degradation/circuit_breaker.hpp>
#include <hufu/degradation/ladder_options.hpp>
#include <hufu/degradation/ladder_rung.hpp>

namespace hufu::degradation {

/// Names one call of `accept`.
using Ticket = std::uint64_t;
using LaneId = std::uint64_t;

/// Messages of one key, or some of those without a key, in a batch.
struct LadderPart {
    LaneId lane = 0;
    std::size_t count = 0;
};

/// On its way to a broker. The shell publishes `messages` into `outcomes` and hands the object back.
struct PublishFlight {
    std::size_t broker = 0;
    std::vector<Message> messages = {};
    std::vector<PublishOutcome> outcomes = {};
    // The machine's own.
    std::vector<LadderPart> parts = {};
    BreakerPermit permit = {};
    bool given_up = false;  ///< nobody waits for its outcomes any more
};

/// On its way to a buffer.
struct SpillFlight {
    std::size_t rung = 0;
    SpillWhen when = SpillWhen::always;
    std::vector<Message> messages = {};
    std::vector<SpillOutcome> outcomes = {};
    // The machine's own.
    std::vector<LadderPart> parts = {};
    SteadyTime sent_at = {};
    bool given_up = false;
};

/// A message is dealt with.
struct LadderCompletion {
    Ticket ticket = 0;
    std::size_t index = 0;  ///< in the messages of `accept`
    PublishOutcome outcome = {};
};

/// Something changed that a person may want to know.
struct LadderNotice {
    enum class Kind : std::uint8_t {
        breaker,  ///< `name` is the broker's number, `text` its new state and why
        rung_up,  ///< `name` is the rung, `text` what it may lose
        rung_away,
        rung_changed,  ///< it is there, and its settings allow another loss than before: `text`
        refused,       ///< a message was given back: nothing took it
        shed,          ///< a waiting message was given back to make room
    } kind = Kind::breaker;
    std::string name = {};
    std::string text = {};
};

struct LadderFigures {
    std::uint64_t accepted = 0;
    std::uint64_t confirmed = 0;         ///< by a broker
    std::vector<std::uint64_t> spilled;  ///< by rung
    std::uint64_t rejected = 0;          ///< by a broker, for good
    std::uint64_t refused = 0;           ///< nothing took it
    std::uint64_t shed = 0;
    std::uint64_t held = 0;
    std::uint64_t held_bytes = 0;
    std::uint64_t keys_waiting = 0;  ///< lanes that wait because nothing takes them
};

/// What the end of a batch says of its broker's health; nothing when none of its messages was sent.
[[nodiscard]] std::optional<Answer> answer_of(std::span<const PublishOutcome> outcomes);

/// What to do now.
struct LadderActions {
    std::vector<std::shared_ptr<PublishFlight>> publish = {};
    std::vector<std::shared_ptr<SpillFlight>> spill = {};
    struct EpochRead {
        std::size_t rung = 0;
        std::uint64_t round = 0;  ///< for `epoch_read`
    };
    std::vector<EpochRead> read_epochs = {};
    std::vector<std::size_t> inspect = {};  ///< rungs; answer with `inspected`
    std::vector<LadderCompletion> completed = {};
    std::vector<LadderNotice> notices = {};
    std::optional<SteadyTime> tick_at = {};  ///< call `step` again then, if nothing happens before
};

/// The ladder broker -> second broker -> first buffer -> next buffer, as a machine: owns no thread, socket or clock. Tell it
/// what happened, then call `step(now)` and obey. One thread at a time; time must not go back.
///
/// Delivery: a message is completed `confirmed` when a broker confirmed it or a buffer holds it (`broker_id` is then
/// "buffer:" + the rung's name), else it ends `not_sent`, `in_doubt` or `rejected`, as `Publisher` has it.
///
/// Order: of a (topic, ordering key) one batch is under way at a time. Before a batch goes to a broker or to a rung, every
/// rung behind that was asked, by an epoch read after the batch was taken up, whether anything is buffered, and if so, whether
/// something of the key is; the batch goes behind it. So an entry of a key is always older than those on later rungs, and
/// those at the broker are older than all. Readers must keep to it: an entry of a rung is replayed when no earlier rung
/// holds its key.
class LadderMachine {
public:
    /// Borrows `random` for its life. `brokers` at least 1.
    LadderMachine(LadderOptions options, std::size_t brokers, std::vector<RungOptions> rungs, Random& random);
    ~LadderMachine();
    LadderMachine(const LadderMachine&) = delete;
    LadderMachine& operator=(const LadderMachine&) = delete;

    // What happened.
    /// Each message must have an id. Tickets are the caller's, each used once.
    void accept(Ticket ticket, std::vector<Message> messages, SteadyTime now);
    void published(const std::shared_ptr<PublishFlight>& flight, SteadyTime now);
    void spilled(const std::shared_ptr<SpillFlight>& flight, SteadyTime now);
    void epoch_read(LadderActions::EpochRead read, const Result<std::uint64_t>& epoch, SteadyTime now);
    void inspected(std::size_t rung, const Result<LossStatement>& statement, SteadyTime now);
    void sized(std::size_t rung, const BufferSize& size);
    /// Everything that is not completed ends: what is under way `in_doubt`, the rest `not_sent`. Accepts nothing more.
    void close();

    [[nodiscard]] LadderActions step(SteadyTime now);

    // The replayer publishes beside it, to the same brokers.
    /// A broker that may be sent to now, with permission; the first one that is well. Give it back to `replayed`.
    [[nodiscard]] std::optional<std::pair<std::size_t, BreakerPermit>> admit_replay(SteadyTime now);
    void replayed(std::size_t broker, const BreakerPermit& permit, std::span<const PublishOutcome> outcomes, SteadyTime now);

    /// Room for more messages in memory; without it, `accept` refuses (or sheds).
    [[nodiscard]] bool has_room() const noexcept;
    [[nodiscard]] const LadderFigures& figures() const noexcept { return figures_; }
    [[nodiscard]] std::span<const CircuitBreaker> breakers() const noexcept { return breakers_; }
    [[nodiscard]] std::span<const LadderRung> rungs() const noexcept { return rungs_; }
    /// The first broker is not well, or something is buffered as far as is known.
    [[nodiscard]] bool degraded() const noexcept;
    /// Where a message of this need would go now, for people: "broker 0", "redis", "nowhere: …".
    [[nodiscard]] std::string describe_way(Loss need, SteadyTime now) const;

private:
    struct Item {
        Message message;
        Ticket ticket = 0;
        std::size_t index = 0;
        std::size_t bytes = 0;
        bool doubtful = false;  // a broker or a buffer that did not answer may have it
        SteadyTime accepted_at = {};
    };
    enum class Phase : std::uint8_t {
        idle,     // nothing to do
        ready,    // to be routed
        epochs,   // waits for a round of epoch reads
        broker,   // waits for room in a batch to `broker`, or is under way there
        spill,    // the same, to rung `rung`, in any case
        behind,   // the same, if its key is there
        waiting,  // nothing takes it
    };
    /// Messages of one key, or some of one call without a key.
    struct Lane {
        std::string key = {};  // topic and ordering key; empty: no order
        Loss need = Loss::nothing;
        std::deque<Item> items = {};
        std::size_t out = 0;  // of the first ones, under way
        Phase phase = Phase::idle;
        std::size_t target = 0;    // broker or rung, by phase
        std::size_t covered = 0;   // of the first ones: were there when the epochs were read
        std::size_t unasked = 0;   // rungs that may hold the key, for all that is known: those below this number
        std::size_t failures = 0;  // calls with a failure of this key that were not reported yet
        std::string reason = {};   // the latest failure, for people
    };
    struct Call {
        std::size_t left = 0;
        std::vector<LaneId> failed = {};  // lanes with a failure of this call
    };
    struct Round {
        std::uint64_t number = 0;
        std::vector<LaneId> lanes = {};
        std::set<std::size_t> pending = {};  // rungs
        SteadyTime sent_at = {};
    };

    // Taking in and giving back (ladder_machine.cpp).
    Lane& lane_of(std::string_view key, Loss need, LaneId& id);
    void make_room(std::size_t bytes);
    void complete(LaneId id, Lane& lane, Item item, PublishOutcome outcome);
    void complete_front(LaneId id, Lane& lane, PublishOutcome outcome);
    void fail_lane(LaneId id, Lane& lane, PublishOutcome outcome);
    void conclude(Ticket ticket);
    void go_on(LaneId id, Lane& lane);
    void watch_time(SteadyTime now);
    void expire(SteadyTime now);
    void wake_waiting();
    void note_changes();
    void sweep();
    [[nodiscard]] std::optional<SteadyTime> next_tick(SteadyTime now) const;

    // Deciding (ladder_route.cpp).
    void route(LaneId id, Lane& lane, SteadyTime now);
    void ask_epochs(SteadyTime now);
    void end_round(SteadyTime now);
    void pass_barriers(LaneId id, Lane& lane, SteadyTime now);
    void to_broker(LaneId id, Lane& lane, std::size_t first, SteadyTime now);
    void to_rung(LaneId id, Lane& lane, std::size_t first, SteadyTime now);
    void nowhere(LaneId id, Lane& lane, SteadyTime now);
    void enqueue(LaneId id, Lane& lane, Phase phase, std::size_t target);
    [[nodiscard]] bool takes_live(std::size_t broker, SteadyTime now) const;
    [[nodiscard]] std::optional<std::size_t> broker_for(std::size_t first, SteadyTime now) const;
    [[nodiscard]] std::optional<std::size_t> rung_for(Loss need, std::size_t first, SteadyTime now) const;
    void fill_publishes(std::size_t broker, SteadyTime now);
    void fill_spills(std::size_t rung, Phase phase, SteadyTime now);
    void load(LaneId id, Lane& lane, std::vector<Message>& messages, std::vector<LadderPart>& parts, std::size_t most);

    // What came back (ladder_settle.cpp).
    void settle(PublishFlight& flight, LadderPart part, std::size_t first, SteadyTime now);
    void settle(SpillFlight& flight, LadderPart part, std::size_t first, SteadyTime now);
    void give_up(PublishFlight& flight, SteadyTime now);
    void give_up(SpillFlight& flight, SteadyTime now);
    void give_up_late_flights(SteadyTime now);
    [[nodiscard]] std::optional<SteadyTime> oldest_unanswered(std::size_t broker) const;

    const LadderOptions options_;
    std::vector<CircuitBreaker> breakers_;
    std::vector<LadderRung> rungs_;
    std::unordered_map<LaneId, Lane> lanes_;
    std::unordered_map<std::string, LaneId> by_key_;
    std::unordered_map<Ticket, Call> calls_;
    LaneId last_lane_ = 0;
    // These may name lanes that are gone, or elsewhere by now.
    std::deque<LaneId> ready_;
    std::vector<LaneId> maybe_done_;
    std::vector<LaneId> wants_epochs_;
    std::vector<std::deque<LaneId>> to_broker_;
    std::vector<std::deque<LaneId>> to_rung_;
    std::vector<std::deque<LaneId>> behind_;
    std::set<LaneId> waiting_;  // ascending: those that came first
    SteadyTime wake_at_{};      // while some wait
    std::optional<Round> round_;
    std::uint64_t rounds_ = 0;
    SteadyTime round_at_{};  // the next one, if nobody needs one before
    bool round_wanted_ = false;
    std::vector<std::vector<std::shared_ptr<PublishFlight>>> publishing_;  // by broker
    std::vector<std::vector<std::shared_ptr<SpillFlight>>> spilling_;      // by rung
    std::vector<std::multiset<SteadyTime>> replaying_;                     // by broker: when each batch was sent
    std::vector<BreakerState> shown_breakers_;
    std::vector<LadderRung::State> shown_rungs_;
    std::vector<std::optional<Loss>> shown_losses_;
    bool moved_ = false;  // a lane went to a queue
    bool closed_ = false;
    LadderActions actions_;
    LadderFigures figures_;
};

}  // namespace hufu::degradation
