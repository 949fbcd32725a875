// Retries, dead letters and moved groups under power cuts between any two steps of the log, one seed a run; and the proof
// that the checks see each seeded bug. HUFU_SEEDS sets how many seeds, HUFU_SEED replays one.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>

#include <hufu/core/mutant.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

/// One life story of a broker whose consumers fail and whose operator moves a group.
class Story {
public:
    explicit Story(std::uint64_t seed) : random_{seed}, disk_{random_}, ids_{clock_, random_} {
        log_options_.segment_bytes = 64U << 10U;
        log_options_.first_segment_bytes = 16U << 10U;
        log_options_.record_bytes_max = 4U << 10U;
        log_options_.pending_bytes_max = 32U << 10U;
        options_.default_queues = 1;
        clock_.now_ms = 1'700'000'000'000;
    }

    /// The sentence that names the broken promise, or nothing.
    std::optional<std::string> run(int steps) {
        open();
        for (int i = 0; i < steps && !broken_; ++i) step();
        if (!broken_) finish();
        close();
        return broken_;
    }
    [[nodiscard]] std::size_t retried() const { return retried_.size(); }
    [[nodiscard]] int moves() const { return moves_; }

private:
    void broke(std::string promise) {
        if (!broken_) broken_ = std::move(promise);
    }

    void open() {
        auto opened = Log::open(disk_.directory(), log_options_, clock_);
        if (!opened) return broke("a log can be opened after a crash: " + opened.error().text());
        log_ = std::move(*opened);
        metrics_ = std::make_unique<MetricsRegistry>();
        dispatcher_ = std::make_unique<Dispatcher>(*log_, options_, ids_, *metrics_, clock_);
        client_ = dispatcher_->connected({{10, 0, 0, 2}, 4711});
        if (!moved_to_) return;
        // A consumer that knows nothing of the move goes on where it was.
        commit(sent_);
        check_moved("after a crash");
    }
    void close() {
        dispatcher_.reset();
        log_.reset();
    }
    /// Power fails; what was on its way may have got as far as chance had it.
    void crash() {
        if (random_.below(2) == 0) {
            if (LogGroup* group = log_->take_group(); group != nullptr && random_.below(2) == 0) {
                const bool written = Log::write(*group).has_value();
                if (written && random_.below(2) == 0) static_cast<void>(Log::sync(*group));
            }
        }
        close();
        disk_.crash();
        open();
    }

    template <class Header>
    void request(RequestCode code, const Header& header, std::string_view body = {}) {
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::json, code, ++opaque_, header, body);
        remoting::FrameDecoder decoder;
        const auto room = decoder.prepare(frame.size());
        std::copy(frame.begin(), frame.end(), room.begin());
        decoder.commit(frame.size());
        const auto cut = decoder.next();
        if (!dispatcher_->receive(client_, **cut, clock_.steady_now())) broke("a request is a command");
    }
    void settle_all() {
        for (const Outcome& outcome : testing::settle(*log_)) dispatcher_->settled(outcome, clock_.steady_now());
    }
    /// The answer to the last request, if it has come.
    std::optional<Sent> answer() {
        std::vector<ConnectionId> ready;
        dispatcher_->take_ready(ready);
        std::string bytes;
        dispatcher_->take_output(client_, bytes);
        dispatcher_->written(client_, bytes.size());
        for (Sent& sent : decode_all(bytes))
            if (sent.opaque == opaque_ && (sent.flag & remoting::flag_bit::response) != 0) return std::move(sent);
        return std::nullopt;
    }
    /// Chance decides between an answer and a power cut; an answer may come before the log has settled anything.
    template <class Header>
    std::optional<Sent> ask(RequestCode code, const Header& header, std::string_view body = {}) {
        request(code, header, body);
        auto early = answer();
        if (random_.below(4) == 0) {
            if (early) note_answer_ = std::move(early);
            return std::nullopt;
        }
        settle_all();
        return early ? early : answer();
    }

    void step() {
        clock_.now_ms += static_cast<std::int64_t>(random_.below(300));
        dispatcher_->tick(clock_.steady_now());
        switch (random_.below(6)) {
            case 0: send(); break;
            case 1:
            case 2: fail_one(); break;
            case 3: move(); break;
            case 4: commit(random_.below(sent_ + 1)); break;
            default: pull();
        }
        if (!broken_ && random_.below(12) == 0) crash();
        if (!broken_ && random_.below(2) == 0) settle_all();
    }

    void send() {
        remoting::SendRequest header;
        header.producer_group = "p";
        header.topic = "orders";
        header.queue_id = 0;
        request(RequestCode::send_message_v2, header, std::to_string(sent_));
        settle_all();
        const auto stored = answer();
        if (!stored || stored->response() != ResponseCode::success) return broke("a send is answered");
        places_.push_back(remoting::OffsetMessageId::parse(stored->field("msgId")).value().offset);
        ++sent_;
    }

    void fail_one() {
        if (places_.empty()) return;
        const std::size_t which = random_.below(places_.size());
        RawFields header{{{"offset", std::to_string(places_[which])},
                          {"group", "failing"},
                          {"delayLevel", random_.below(2) == 0 ? "-1" : "1"}}};
        auto sent = ask(RequestCode::consumer_send_message_back, header);
        if (!sent) sent = std::exchange(note_answer_, std::nullopt);
        ++asked_[which];
        if (!sent) return crash();
        if (sent->response() == ResponseCode::success) {
            ++retried_[which];
        } else {
            broke("a message is found where its send said: " + sent->remark);
        }
    }

    void move() {
        if (sent_ == 0) return;
        const std::uint64_t target = random_.below(sent_);
        request(RequestCode::update_and_create_subscription_group, remoting::NoFields{}, R"({"groupName":"moved"})");
        settle_all();
        static_cast<void>(answer());
        RawFields header{{{"group", "moved"},
                          {"topic", "orders"},
                          {"timestamp", "0"},
                          {"isForce", "true"},
                          {"queueId", "0"},
                          {"offset", std::to_string(target)}}};
        auto moved = ask(RequestCode::invoke_broker_to_reset_offset, header);
        if (!moved) moved = std::exchange(note_answer_, std::nullopt);
        if (!moved) {
            // Whether the group was moved is not known: the next pull of its consumer finds out.
            moved_to_.reset();
            crash();
            return pull();
        }
        if (moved->response() != ResponseCode::success) return broke("a group is moved: " + moved->remark);
        moved_to_ = target;
        ++moves_;
        if (random_.below(3) == 0) crash();
    }

    void commit(std::uint64_t offset) {
        if (sent_ == 0) return;
        request(RequestCode::update_consumer_offset,
                remoting::UpdateOffsetRequest{"moved", "orders", 0, static_cast<std::int64_t>(offset)});
        static_cast<void>(answer());
    }

    void check_moved(const std::string& when) {
        request(RequestCode::query_consumer_offset, remoting::QueryOffsetRequest{"moved", "orders", 0, false});
        const auto position = answer();
        if (!position || position->field("offset") != std::to_string(*moved_to_))
            broke("a moved group stands where it was moved to until a consumer took that (" + when +
                  "): " + std::to_string(*moved_to_) + ", not " + (position ? position->field("offset") : "(no answer)"));
    }

    void pull() {
        if (sent_ == 0) return;
        auto header = DispatchFixtureAccess::pull_header("orders", 0, static_cast<std::int64_t>(sent_));
        header.consumer_group = "moved";
        header.sys_flag = remoting::pull_flag::subscription;
        request(RequestCode::pull_message, header);
        const auto pulled = answer();
        if (!pulled) return broke("a pull is answered");
        if (moved_to_ && (pulled->response() != ResponseCode::pull_offset_moved ||
                          pulled->field("nextBeginOffset") != std::to_string(*moved_to_)))
            broke("the first pull of a moved group is told where to go");
        moved_to_.reset();
    }

    struct DispatchFixtureAccess : DispatchTest {
        using DispatchTest::bodies;
        using DispatchTest::pull_header;
    };

    void count(std::string_view topic, std::map<std::string, int>& copies) {
        for (std::int64_t offset = 0;;) {
            auto header = DispatchFixtureAccess::pull_header(topic, 0, offset);
            header.consumer_group = "reader";
            header.sys_flag = remoting::pull_flag::subscription;
            request(RequestCode::pull_message, header);
            settle_all();
            const auto pulled = answer();
            if (!pulled || pulled->response() != ResponseCode::success) return;
            for (const std::string& body : DispatchFixtureAccess::bodies(*pulled)) ++copies[body];
            offset = std::stoll(pulled->field("nextBeginOffset"));
        }
    }

    void finish() {
        for (int i = 0; i < 20; ++i) {
            settle_all();
            clock_.now_ms += 2000;
            dispatcher_->tick(clock_.steady_now());
        }
        settle_all();
        std::map<std::string, int> copies;
        count("%RETRY%failing", copies);
        count("%DLQ%failing", copies);
        for (const auto& [which, times] : retried_)
            if (copies[std::to_string(which)] < times)
                broke("what a consumer gave back and was told is kept comes again: message " + std::to_string(which) + " " +
                      std::to_string(times) + " times, found " + std::to_string(copies[std::to_string(which)]));
        for (const auto& [body, times] : copies)
            if (times > asked_[static_cast<std::size_t>(std::stoul(body))])
                broke("nothing comes again oftener than it was given back: message " + body);
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
    std::int32_t opaque_ = 0;
    std::uint64_t sent_ = 0;
    std::vector<std::int64_t> places_;
    std::map<std::size_t, int> asked_;       ///< how often each message was given back
    std::map<std::size_t, int> retried_;     ///< and how often that was answered with success
    std::optional<std::uint64_t> moved_to_;  ///< by a move that was answered and that no consumer took
    std::optional<Sent> note_answer_;        ///< came before the power failed
    int moves_ = 0;
    std::optional<std::string> broken_;
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

constexpr int steps = 300;

TEST(GroupsCrash, WhatWasAnsweredSurvivesEveryPowerCut) {
    const auto only = number_from("HUFU_SEED", 0);
    const auto seeds = only != 0 ? 1 : number_from("HUFU_SEEDS", 60);
    std::size_t retried = 0;
    int moves = 0;
    for (std::uint64_t i = 0; i < seeds; ++i) {
        const auto seed = only != 0 ? only : i + 1;
        Story story{seed};
        const auto broken = story.run(steps);
        retried += story.retried();
        moves += story.moves();
        ASSERT_FALSE(broken) << "seed " << seed << ": " << *broken;
    }
    EXPECT_GT(retried, seeds * 5) << "a run that retries nothing proves nothing";
    EXPECT_GT(moves, static_cast<int>(seeds) * 5) << "a run that moves nothing proves nothing";
}

class GroupsMutant : public ::testing::TestWithParam<const char*> {
protected:
    void TearDown() override { activate_mutant(""); }
};

TEST_P(GroupsMutant, IsSeenByTheChecks) {
    activate_mutant(GetParam());
    std::optional<std::string> broken;
    std::uint64_t seed = 0;
    while (!broken && seed < 300) broken = Story{++seed}.run(steps);
    ASSERT_TRUE(broken) << GetParam() << " was not seen in " << seed << " seeds";
    std::printf("%s: seed %llu, %s\n", GetParam(), static_cast<unsigned long long>(seed), broken->c_str());
}

INSTANTIATE_TEST_SUITE_P(All, GroupsMutant,
                         ::testing::Values("send_back_answered_before_durable", "reset_forgotten_by_a_restart",
                                           "commit_undoes_reset"),
                         [](const auto& mutant) { return std::string{mutant.param}; });

}  // namespace
}  // namespace hufu::broker::testing
