// Transaction messages under power cuts, process deaths, failing syncs, retention and producers that contradict themselves, one seed
// a run; and the proof that the checks see each seeded bug. HUFU_SEEDS sets how many seeds, HUFU_SEED replays one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include <hufu/core/mutant.hpp>

#include "transactions_fixture.hpp"

namespace hufu::broker::testing {
namespace {

constexpr std::int32_t commit = remoting::sys_flag::transaction_commit;
constexpr std::int32_t rollback = remoting::sys_flag::transaction_rollback;
constexpr std::int32_t unknown = remoting::sys_flag::transaction_none;

struct KnownHalf {
    std::string id;
    std::int32_t queue = 0;
    bool acknowledged = false;
    std::int64_t queue_offset = -1;
    std::int64_t log_offset = -1;
};

/// What is known of one transaction.
struct KnownTransaction {
    std::vector<KnownHalf> halves;
    std::int32_t accepted = unknown;  ///< the verdict that was answered with success
    int unknown_answers = 0;          ///< to checks
    bool asked_for_verdict = false;   ///< one was given, answered or not
    bool seen = false;                ///< by consumers
};

/// One life story of a broker with transactions: steps by chance, and what must be true after each.
class Story {
public:
    explicit Story(std::uint64_t seed) : retains_{seed % 3 == 0}, random_{seed}, disk_{random_}, ids_{clock_, random_} {
        log_options_.segment_bytes = 24U << 10U;
        log_options_.first_segment_bytes = 8U << 10U;
        log_options_.record_bytes_max = 4U << 10U;
        log_options_.pending_bytes_max = 64U << 10U;
        log_options_.chore_retry = std::chrono::milliseconds{20};
        log_options_.keys_of = keys_of_record;
        options_.default_queues = queues;
        options_.transactions.first_check = std::chrono::milliseconds{30};
        options_.transactions.check_interval = std::chrono::milliseconds{100};
        options_.transactions.check_interval_max = std::chrono::milliseconds{200};
        options_.transactions.answer_within = std::chrono::milliseconds{100};
        options_.transactions.checks_max = checks_max;
        if (retains_) options_.keep_bytes = 96U << 10U;
        clock_.now_ms = 1'800'000'000'000;
    }

    /// The sentence that names the broken promise, or nothing.
    std::optional<std::string> run(int steps) {
        open();
        for (int i = 0; i < steps && !broken_; ++i) {
            step();
            if (random_.below(150) == 0) {
                end_life();
                open();
            }
        }
        if (!broken_) finish();
        close();
        return broken_;
    }

    [[nodiscard]] std::uint64_t committed() const { return count(commit); }
    [[nodiscard]] std::uint64_t rolled_back() const { return count(rollback); }
    [[nodiscard]] std::uint64_t checks() const { return checks_; }
    [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

private:
    static constexpr std::int32_t queues = 3;
    static constexpr int checks_max = 3;
    enum class Stage { taken, written, synced };
    struct Carried {
        LogGroup* group = nullptr;
        Stage stage = Stage::taken;
        std::optional<Error> error;
    };
    /// A request without an answer yet.
    struct Asked {
        std::size_t transaction = 0;
        std::size_t half = 0;
        bool is_half = false;
        std::int32_t verdict = unknown;
    };

    [[nodiscard]] std::uint64_t count(std::int32_t verdict) const {
        std::uint64_t found = 0;
        for (const KnownTransaction& known : known_) found += known.accepted == verdict ? 1 : 0;
        return found;
    }

    void broke(std::string promise) {
        if (!broken_) broken_ = std::move(promise);
    }

    void open() {
        disk_.heal();
        auto opened = Log::open(disk_.directory(), log_options_, clock_);
        if (!opened) return broke("a log can be opened after a crash: " + opened.error().text());
        log_ = std::move(*opened);
        metrics_ = std::make_unique<MetricsRegistry>();
        dispatcher_ = std::make_unique<Dispatcher>(*log_, options_, ids_, *metrics_, clock_);
        client_ = dispatcher_->connected({{10, 0, 0, 2}, 4711});
        join();
        check();
        if (random_.below(3) > 0) disk_.set_faults({.sync = 10'000, .sync_directory = 5'000});
    }

    void join() {
        remoting::Heartbeat heartbeat;
        heartbeat.client_id = "c1";
        heartbeat.producer_groups.push_back("payments");
        ask(RequestCode::heartbeat, remoting::NoFields{}, heartbeat.to_json(), 1);
    }

    void close() {
        carried_.clear();
        chore_.reset();
        dispatcher_.reset();
        log_.reset();
    }

    void end_life() {
        close();
        if (random_.below(4) == 0) {
            disk_.kill();
        } else {
            disk_.crash();
        }
        // Whoever has no answer yet never gets one.
        asked_.clear();
    }

    void step() {
        clock_.now_ms += static_cast<std::int64_t>(random_.below(4));
        if (random_.below(400) == 0) clock_.wall_shift_ms -= static_cast<std::int64_t>(random_.below(3'000));
        if (random_.below(400) == 0) clock_.wall_shift_ms += static_cast<std::int64_t>(random_.below(3'000));
        switch (random_.below(14)) {
            case 0:
            case 1:
            case 2: send(); break;
            case 3:
            case 4: verdict(); break;
            case 5:
            case 6:
            case 7: dispatcher_->tick(clock_.steady_now()); break;
            case 8:
                if (auto* group = log_->take_group()) carried_.push_back({group, Stage::taken, std::nullopt});
                break;
            case 9:
                if (chore_) {
                    chore_->run();
                    settle(log_->finished(std::move(chore_)));
                } else {
                    chore_ = log_->take_chore();
                }
                break;
            default: carry();
        }
        if (random_.below(500) == 0) join();
        read_answers();
    }

    /// A new half, of a new transaction or of the last one, or one that was sent before.
    void send() {
        const bool fresh = known_.empty() || random_.below(3) > 0;
        if (fresh) known_.emplace_back();
        std::size_t at = known_.size() - 1;
        if (!fresh && random_.below(4) == 0) at -= random_.below(std::min<std::uint64_t>(known_.size(), 20));
        KnownTransaction& transaction = known_[at];
        std::size_t half = transaction.halves.size();
        if (half > 0 && random_.below(3) == 0) half = random_.below(half);
        if (half == transaction.halves.size())
            transaction.halves.push_back(
                {std::to_string(at) + "." + std::to_string(half), static_cast<std::int32_t>(random_.below(queues))});
        const KnownHalf& sent = transaction.halves[half];
        std::string properties;
        remoting::append_property(properties, "TRAN_MSG", "true");
        remoting::append_property(properties, "PGROUP", "payments");
        remoting::append_property(properties, "UNIQ_KEY", "id-" + sent.id);
        remoting::append_property(properties, "HUFU_TX_ID", "tx-" + std::to_string(at));
        remoting::SendRequest header;
        header.producer_group = "payments";
        header.topic = "orders";
        header.default_topic_queues = queues;
        header.queue_id = sent.queue;
        header.sys_flag = remoting::sys_flag::transaction_prepared;
        header.properties = properties;
        asked_[++opaque_] = {at, half, true, unknown};
        ask(RequestCode::send_message_v2, header, sent.id + " " + std::string(random_.below(400), ' '), opaque_);
    }

    void verdict() {
        if (known_.empty()) return;
        const std::size_t at = known_.size() - 1 - random_.below(std::min<std::uint64_t>(known_.size(), 60));
        const std::size_t half = random_.below(known_[at].halves.size());
        const std::int32_t wanted = random_.below(3) == 0 ? rollback : random_.below(8) == 0 ? unknown : commit;
        end(at, half, wanted, false);
    }

    void end(std::size_t at, std::size_t half, std::int32_t wanted, bool from_check) {
        const KnownHalf& known = known_[at].halves[half];
        if (!known.acknowledged) return;
        known_[at].asked_for_verdict = known_[at].asked_for_verdict || wanted != unknown;
        remoting::EndTransactionRequest header;
        header.producer_group = "payments";
        header.half_queue_offset = known.queue_offset;
        header.half_log_offset = known.log_offset;
        header.verdict = wanted;
        header.from_check = from_check;
        asked_[++opaque_] = {at, half, false, wanted};
        ask(RequestCode::end_transaction, header, {}, opaque_);
    }

    void answer_check(const Sent& command) {
        ++checks_;
        const std::string id = command.field("transactionId");
        const std::size_t at = std::stoull(id.substr(3));
        if (at >= known_.size()) return broke("only what was sent is asked about");
        for (std::size_t half = 0; half < known_[at].halves.size(); ++half) {
            KnownHalf& known = known_[at].halves[half];
            if ("id-" + known.id != command.field("msgId")) continue;
            const std::int64_t offset = std::stoll(command.field("tranStateTableOffset"));
            if (known.acknowledged && offset != known.queue_offset && known_[at].accepted == unknown)
                return broke("half " + known.id + " is stored once");
            known.acknowledged = true;
            known.queue_offset = offset;
            known.log_offset = std::stoll(command.field("commitLogOffset"));
            const auto chance = random_.below(6);
            if (chance > 3) return;  // the question is lost
            const std::int32_t wanted = chance == 0 ? commit : chance == 1 ? rollback : unknown;
            if (wanted == unknown) ++known_[at].unknown_answers;
            end(at, half, wanted, true);
            return;
        }
        broke("a half that was sent is asked about");
    }

    template <class Header>
    void ask(RequestCode code, const Header& header, std::string_view body, std::int32_t opaque) {
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::json, code, opaque, header, body);
        remoting::FrameDecoder decoder;
        const auto room = decoder.prepare(frame.size());
        std::copy(frame.begin(), frame.end(), room.begin());
        decoder.commit(frame.size());
        const auto cut = decoder.next();
        static_cast<void>(dispatcher_->receive(client_, **cut, clock_.steady_now()));
    }

    void carry() {
        if (carried_.empty()) return;
        auto& one = carried_[random_.below(carried_.size())];
        if (!one.error && one.stage != Stage::synced) {
            auto done = one.stage == Stage::taken ? Log::write(*one.group) : Log::sync(*one.group);
            if (!done) one.error = done.error();
            one.stage = one.stage == Stage::taken ? Stage::written : Stage::synced;
        }
        auto& first = carried_.front();
        if (random_.below(2) == 0 || (!first.error && first.stage != Stage::synced)) return;
        const auto done = first;
        carried_.erase(carried_.begin());
        settle(done.error ? log_->failed(done.group, *done.error) : log_->completed(done.group));
    }

    void settle(const Outcome& outcome) {
        if (outcome.through > 0) dispatcher_->settled(outcome, clock_.steady_now());
    }

    void read_answers() {
        std::vector<ConnectionId> ready;
        dispatcher_->take_ready(ready);
        std::string bytes;
        dispatcher_->take_output(client_, bytes);
        dispatcher_->written(client_, bytes.size());
        for (const Sent& answer : decode_all(bytes)) {
            if (answer.code == static_cast<std::int32_t>(RequestCode::check_transaction_state)) {
                answer_check(answer);
                continue;
            }
            const auto asked = asked_.find(answer.opaque);
            if (asked == asked_.end()) continue;
            const Asked what = asked->second;
            asked_.erase(asked);
            what.is_half ? note_half(what, answer) : note_verdict(what, answer);
        }
    }

    void note_half(const Asked& what, const Sent& answer) {
        KnownTransaction& transaction = known_[what.transaction];
        KnownHalf& half = transaction.halves[what.half];
        if (answer.response() != ResponseCode::success) return;
        const auto id = remoting::OffsetMessageId::parse(answer.field("msgId"));
        const std::int64_t offset = std::stoll(answer.field("queueOffset"));
        if (half.acknowledged && half.queue_offset != offset) broke("half " + half.id + " is stored once");
        half.acknowledged = true;
        half.queue_offset = offset;
        half.log_offset = id ? id->offset : -1;
    }

    void note_verdict(const Asked& what, const Sent& answer) {
        KnownTransaction& transaction = known_[what.transaction];
        const std::string name = "transaction " + std::to_string(what.transaction);
        if (answer.response() == ResponseCode::query_not_found) {
            if (!retains_ || !transaction.asked_for_verdict) broke(name + " is known: " + answer.remark);
            return;
        }
        if (answer.response() == ResponseCode::illegal_operation) {
            if (transaction.accepted == what.verdict) broke(name + ": the verdict that counts is accepted again");
            return;
        }
        if (answer.response() != ResponseCode::success) {
            if (answer.response() == ResponseCode::system_error) broke(name + " can be read: " + answer.remark);
            if (answer.response() == ResponseCode::no_permission) broke(name + " is its group's: " + answer.remark);
            return;
        }
        const std::string state = answer.field("transactionState");
        if (state == "parked" && transaction.unknown_answers < checks_max && !was_parked_.contains(what.transaction))
            broke(name + " is parked after " + std::to_string(transaction.unknown_answers) + " answers");
        if (state == "parked") was_parked_.insert(what.transaction);
        const std::int32_t said = state == "committed" ? commit : state == "rolled_back" ? rollback : unknown;
        if (said == unknown && what.verdict != unknown) broke(name + " is decided, not " + state);
        if (said == unknown) {
            if (transaction.accepted != unknown) broke(name + " was decided and is " + state);
            return;
        }
        if (transaction.accepted != unknown && transaction.accepted != said) broke(name + " has one verdict");
        transaction.accepted = said;
    }

    /// Everything calms down: what was promised is there.
    void finish() {
        end_life();
        open();
        disk_.heal();
        options_.keep_bytes = 0;
        calm();
        check();
        // Whatever has no verdict still takes one.
        for (std::size_t at = 0; at < known_.size() && !broken_; ++at) {
            if (known_[at].accepted != unknown) continue;
            for (std::size_t half = 0; half < known_[at].halves.size(); ++half) {
                end(at, half, commit, false);
                for (const Outcome& outcome : testing::settle(*log_)) settle(outcome);
                read_answers();
            }
        }
        calm();
        check();
        for (std::size_t at = 0; at < known_.size() && !broken_; ++at) {
            if (known_[at].accepted == commit && !known_[at].seen && !retains_)
                broke("transaction " + std::to_string(at) + " is committed and visible");
        }
    }

    void calm() {
        for (int i = 0; i < 20 && !broken_; ++i) {
            clock_.now_ms += 10;
            dispatcher_->tick(clock_.steady_now());
            for (const Outcome& outcome : testing::settle(*log_)) settle(outcome);
            read_answers();
        }
    }

    /// Holds at any time.
    void check() {
        std::map<std::string, int> counts;
        for (std::int32_t queue = 0; queue < queues; ++queue) {
            const auto handle = log_->find_queue("orders", queue);
            if (!handle) continue;
            if (log_->min_offset(*handle) > 0) dropped_ = std::max(dropped_, log_->min_offset(*handle));
            for (std::uint64_t offset = log_->min_offset(*handle);;) {
                std::vector<std::byte> bytes;
                const auto result = log_->read(*handle, offset, {}, {}, bytes);
                if (result.status == ReadStatus::at_end || result.status == ReadStatus::beyond) break;
                for (std::span<const std::byte> rest{bytes}; !rest.empty();) {
                    const auto record = remoting::decode_record(rest);
                    if (!record) return broke("what is visible can be read");
                    note(*record, queue, counts);
                    rest = rest.subspan(remoting::record_size(*record));
                }
                offset = result.next_offset;
            }
        }
        for (std::size_t at = 0; at < known_.size(); ++at) {
            KnownTransaction& transaction = known_[at];
            const std::string name = "transaction " + std::to_string(at);
            std::size_t seen = 0;
            std::size_t acknowledged = 0;
            for (const KnownHalf& half : transaction.halves) {
                const int count = counts[half.id];
                if (count > 1) return broke("half " + half.id + " is visible once, not " + std::to_string(count) + " times");
                seen += static_cast<std::size_t>(count);
                if (half.acknowledged && count == 0) ++acknowledged;
            }
            if (seen > 0 && transaction.accepted == rollback) return broke(name + " was rolled back and is invisible");
            if (seen > 0 && acknowledged > 0 && !retains_) return broke(name + " is visible whole, or not at all");
            if (seen == 0 && transaction.accepted == commit && !retains_) return broke(name + " is committed and visible");
            transaction.seen = transaction.seen || seen > 0;
        }
    }

    void note(const remoting::Record& record, std::int32_t queue, std::map<std::string, int>& counts) {
        ++counts[std::string{record.body.substr(0, record.body.find(' '))}];
        if (record.topic != "orders" || record.queue_id != queue) broke("a message comes to its topic and queue");
        if ((record.sys_flag & remoting::sys_flag::transaction_mask) != commit)
            broke("what is visible says that it is committed");
    }

    const bool retains_;
    SeededRandom random_;
    simulation::SimDisk disk_;
    StoppedClock clock_;
    MessageIdGenerator ids_;
    LogOptions log_options_;
    DispatcherOptions options_;
    std::unique_ptr<MetricsRegistry> metrics_;
    std::unique_ptr<Log> log_;
    std::unique_ptr<Dispatcher> dispatcher_;
    ConnectionId client_;
    std::vector<Carried> carried_;
    std::unique_ptr<LogChore> chore_;
    std::int32_t opaque_ = 10;
    std::vector<KnownTransaction> known_;
    std::map<std::int32_t, Asked> asked_;  ///< by opaque
    std::set<std::size_t> was_parked_;
    std::uint64_t checks_ = 0;
    std::uint64_t dropped_ = 0;
    std::optional<std::string> broken_;
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

constexpr int steps = 2000;

TEST(TransactionsCrash, EveryTransactionHasOneVerdictAndOneCopyOfEachMessage) {
    const auto only = number_from("HUFU_SEED", 0);
    const auto seeds = only != 0 ? 1 : number_from("HUFU_SEEDS", 60);
    std::uint64_t committed = 0;
    std::uint64_t rolled_back = 0;
    std::uint64_t checks = 0;
    std::uint64_t dropped = 0;
    for (std::uint64_t i = 0; i < seeds; ++i) {
        const auto seed = only != 0 ? only : i + 1;
        Story story{seed};
        const auto broken = story.run(steps);
        committed += story.committed();
        rolled_back += story.rolled_back();
        checks += story.checks();
        dropped += story.dropped();
        ASSERT_FALSE(broken) << "seed " << seed << ": " << *broken;
    }
    std::printf("%llu committed, %llu rolled back, %llu checks, %llu dropped by retention\n",
                static_cast<unsigned long long>(committed), static_cast<unsigned long long>(rolled_back),
                static_cast<unsigned long long>(checks), static_cast<unsigned long long>(dropped));
    EXPECT_GT(committed, seeds * 10) << "a run that commits nothing proves nothing";
    EXPECT_GT(rolled_back, seeds * 2);
    EXPECT_GT(checks, seeds * 2);
}

class TransactionsMutant : public ::testing::TestWithParam<const char*> {
protected:
    void TearDown() override { activate_mutant(""); }
};

TEST_P(TransactionsMutant, IsSeenByTheChecks) {
    activate_mutant(GetParam());
    std::optional<std::string> broken;
    std::uint64_t seed = 0;
    while (!broken && seed < 200) broken = Story{++seed}.run(steps);
    ASSERT_TRUE(broken) << GetParam() << " was not seen in " << seed << " seeds";
    std::printf("%s: seed %llu, %s\n", GetParam(), static_cast<unsigned long long>(seed), broken->c_str());
}

INSTANTIATE_TEST_SUITE_P(All, TransactionsMutant,
                         ::testing::Values("late_commit_accepted", "verdict_not_durable", "undelivered_check_counted",
                                           "discard_after_n_checks", "decisions_forgotten_at_start", "refused_verdict_kept",
                                           "verdict_answered_before_durable", "half_sent_again_stored_again",
                                           "pending_half_left_to_retention", "halves_decided_one_by_one",
                                           "moving_half_not_waited_for"),
                         [](const auto& mutant) { return std::string{mutant.param}; });

}  // namespace
}  // namespace hufu::broker::testing
