// Delayed messages under power cuts, process deaths, failing syncs and steps of the clock between any two steps of the log, one
// seed a run; and the proof that the checks see each seeded bug. HUFU_SEEDS sets how many seeds, HUFU_SEED replays one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>

#include <hufu/core/mutant.hpp>

#include "dispatch/timers.hpp"
#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

/// What is known of one message.
struct Sending {
    bool acknowledged = false;
    std::string handle;
    bool recall_asked = false;
    bool recalled = false;  ///< and answered so
};

/// One life story of a broker with delayed messages: steps by chance, and what must be true after each.
class Story {
public:
    explicit Story(std::uint64_t seed) : random_{seed}, disk_{random_}, ids_{clock_, random_} {
        log_options_.segment_bytes = 24U << 10U;
        log_options_.first_segment_bytes = 8U << 10U;
        log_options_.record_bytes_max = 4U << 10U;
        log_options_.pending_bytes_max = 32U << 10U;
        log_options_.chore_retry = std::chrono::milliseconds{20};
        options_.default_queues = queues;
        clock_.now_ms = 1'700'000'000'000;
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

    [[nodiscard]] std::uint64_t delivered() const { return delivered_; }
    [[nodiscard]] std::uint64_t recalled() const { return recalled_; }

private:
    static constexpr std::int32_t queues = 3;
    enum class Stage { taken, written, synced };
    struct Carried {
        LogGroup* group = nullptr;
        Stage stage = Stage::taken;
        std::optional<Error> error;
    };
    struct RecallRequest {
        std::string_view handle;
        void write(remoting::CommandWriter& writer) const {
            writer.field("producerGroup", "p");
            writer.field("topic", "orders");
            writer.field("recallHandle", handle);
        }
    };

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
        check();
        if (random_.below(3) > 0) disk_.set_faults({.sync = 10'000, .sync_directory = 5'000});
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
        switch (random_.below(13)) {
            case 0:
            case 1:
            case 2: send(); break;
            case 3: recall(); break;
            case 4:
            case 5:
            case 6: dispatcher_->tick(clock_.steady_now()); break;
            case 7:
                if (auto* group = log_->take_group()) carried_.push_back({group, Stage::taken, std::nullopt});
                break;
            case 8:
                if (chore_) {
                    chore_->run();
                    settle(log_->finished(std::move(chore_)));
                } else {
                    chore_ = log_->take_chore();
                }
                break;
            default: carry();
        }
        read_answers();
    }

    void send() {
        const std::string name = std::to_string(sendings_.size());
        const auto delay = static_cast<std::int64_t>(random_.below(random_.below(4) == 0 ? 2'000 : 40));
        std::string properties;
        remoting::append_property(properties, "TIMER_DELAY_MS", std::to_string(delay));
        remoting::SendRequest header;
        header.producer_group = "p";
        header.topic = "orders";
        header.default_topic_queues = queues;
        header.queue_id = static_cast<std::int32_t>(random_.below(queues));
        header.properties = properties;
        Sending sending;
        asked_[++opaque_] = {sendings_.size(), false};
        sendings_.push_back(std::move(sending));
        ask(RequestCode::send_message_v2, header, name + std::string(random_.below(400), ' '));
    }

    void recall() {
        if (sendings_.empty()) return;
        const std::size_t at = sendings_.size() - 1 - random_.below(std::min<std::uint64_t>(sendings_.size(), 40));
        if (sendings_[at].handle.empty()) return;
        sendings_[at].recall_asked = true;
        asked_[++opaque_] = {at, true};
        ask(RequestCode::recall_message, RecallRequest{sendings_[at].handle}, {});
    }

    template <class Header>
    void ask(RequestCode code, const Header& header, std::string_view body) {
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::json, code, opaque_, header, body);
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
            const auto asked = asked_.find(answer.opaque);
            if (asked == asked_.end()) continue;
            Sending& sending = sendings_[asked->second.first];
            const bool success = answer.response() == ResponseCode::success;
            if (asked->second.second) {
                sending.recalled = sending.recalled || success;
                if (success) ++recalled_;
            } else if (success) {
                sending.acknowledged = true;
                if (answer.field("recallHandle") != "(absent)") sending.handle = answer.field("recallHandle");
            }
            asked_.erase(asked);
        }
    }

    /// Everything calms down: what was promised is there.
    void finish() {
        end_life();
        open();
        disk_.heal();
        clock_.wall_shift_ms = std::max<std::int64_t>(clock_.wall_shift_ms, 0);
        for (int i = 0; i < 100 && !broken_; ++i) {
            clock_.now_ms += 1'000;
            for (int turns = 0; turns < 200; ++turns) {
                dispatcher_->tick(clock_.steady_now());
                for (const Outcome& outcome : testing::settle(*log_)) settle(outcome);
            }
        }
        read_answers();
        check();
        for (std::size_t at = 0; at < sendings_.size(); ++at) {
            const Sending& sending = sendings_[at];
            if (sending.acknowledged && !sending.recall_asked && counts_[at] != 1)
                broke("message " + std::to_string(at) + " was acknowledged and is delivered");
        }
    }

    /// Holds at any time.
    void check() {
        std::map<std::size_t, int> counts;
        for (std::int32_t queue = 0; queue < queues; ++queue) {
            const auto handle = log_->find_queue("orders", queue);
            if (!handle) continue;
            std::uint64_t offset = 0;
            for (;;) {
                std::vector<std::byte> bytes;
                const auto result = log_->read(*handle, offset, {}, {}, bytes);
                if (result.status == ReadStatus::at_end || result.status == ReadStatus::beyond) break;
                for (std::span<const std::byte> rest{bytes}; !rest.empty();) {
                    const auto record = remoting::decode_record(rest);
                    if (!record) return broke("what is delivered can be read");
                    note(*record, counts);
                    rest = rest.subspan(remoting::record_size(*record));
                }
                offset = result.next_offset;
            }
        }
        counts_ = std::move(counts);
        for (const auto& [at, count] : counts_) {
            const Sending& sending = sendings_[at];
            if (count > 1) return broke("message " + std::to_string(at) + " is delivered once");
            if (sending.recalled) return broke("message " + std::to_string(at) + " was recalled and is not delivered");
        }
        delivered_ = counts_.size();
    }

    void note(const remoting::Record& record, std::map<std::size_t, int>& counts) {
        const std::size_t at = std::stoull(std::string{record.body});
        if (at >= sendings_.size()) return broke("nothing is delivered that was not sent");
        ++counts[at];
        if (record.topic != "orders") broke("a message comes to its topic");
    }

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
    std::int32_t opaque_ = 0;
    std::vector<Sending> sendings_;
    std::map<std::int32_t, std::pair<std::size_t, bool>> asked_;  ///< by opaque: which message; true: its recall
    std::map<std::size_t, int> counts_;
    std::uint64_t delivered_ = 0;
    std::uint64_t recalled_ = 0;
    std::optional<std::string> broken_;
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

constexpr int steps = 2000;

TEST(TimersCrash, EveryAcknowledgedMessageIsDeliveredOnceAndNoRecalledOne) {
    const auto only = number_from("HUFU_SEED", 0);
    const auto seeds = only != 0 ? 1 : number_from("HUFU_SEEDS", 100);
    std::uint64_t delivered = 0;
    std::uint64_t recalled = 0;
    for (std::uint64_t i = 0; i < seeds; ++i) {
        const auto seed = only != 0 ? only : i + 1;
        Story story{seed};
        const auto broken = story.run(steps);
        delivered += story.delivered();
        recalled += story.recalled();
        ASSERT_FALSE(broken) << "seed " << seed << ": " << *broken;
    }
    EXPECT_GT(delivered, seeds * 50) << "a run that delivers nothing proves nothing";
    EXPECT_GT(recalled, seeds) << "a run that recalls nothing proves nothing of recalls";
}

class TimersMutant : public ::testing::TestWithParam<const char*> {
protected:
    void TearDown() override { activate_mutant(""); }
};

TEST_P(TimersMutant, IsSeenByTheChecks) {
    activate_mutant(GetParam());
    std::optional<std::string> broken;
    std::uint64_t seed = 0;
    while (!broken && seed < 300) broken = Story{++seed}.run(steps);
    ASSERT_TRUE(broken) << GetParam() << " was not seen in " << seed << " seeds";
    std::printf("%s: seed %llu, %s\n", GetParam(), static_cast<unsigned long long>(seed), broken->c_str());
}

INSTANTIATE_TEST_SUITE_P(All, TimersMutant,
                         ::testing::Values("timer_progress_before_copies", "timer_delivered_without_progress",
                                           "timer_passes_what_is_not_durable", "timer_progress_kept_after_refusal",
                                           "timer_recall_answered_before_durable", "timer_recall_forgotten"),
                         [](const auto& mutant) { return std::string{mutant.param}; });

}  // namespace
}  // namespace hufu::broker::testing
