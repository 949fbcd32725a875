// Every order of up to six events around one half message, on the simulated disk: there is exactly 0 or 1 visible copy, the first
// verdict counts, and every verdict is answered the same whenever it comes.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "transactions_fixture.hpp"

namespace hufu::broker::testing {
namespace {

enum class Event : std::uint8_t { half, commit, rollback, check_commit, time, restart };
constexpr std::array<Event, 6> all_events{Event::half,         Event::commit, Event::rollback,
                                          Event::check_commit, Event::time,   Event::restart};

std::string_view name_of(Event event) {
    constexpr std::array<std::string_view, 6> names{"half", "commit", "rollback", "check", "time", "restart"};
    return names[static_cast<std::size_t>(event)];
}

/// One broker that lives through a sequence of events, and what must be true of it.
class Life : public TransactionsTest {
public:
    explicit Life(bool settles) : settles_{settles} {
        log_options.first_segment_bytes = log_options.segment_bytes = 64U << 10U;
        log_options.record_bytes_max = 8U << 10U;
    }
    void TestBody() override {}

    std::string run(const std::vector<Event>& events) {
        start();
        join(client);
        for (const Event event : events) {
            step(event);
            if (settles_ || event == Event::half) settle_log();
            read_answers();
            if (!broken_.empty()) return broken_;
        }
        settle_log();
        read_answers();
        restart();
        check();
        return broken_;
    }

private:
    void step(Event event) {
        switch (event) {
            case Event::half:
                request(client, RequestCode::send_message_v2, ++opaque_, half_header("orders", half_properties("id-1")),
                        "paid");
                break;
            case Event::commit: ask_end(commit, false); break;
            case Event::rollback: ask_end(rollback, false); break;
            case Event::check_commit: ask_end(commit, true); break;
            case Event::time: advance(std::chrono::seconds{8}); break;
            case Event::restart:
                restart();
                join(client);
                opens_.clear();
                break;
        }
    }

    void ask_end(std::int32_t verdict, bool from_check) {
        HalfSent half = half_;
        if (half.queue_offset < 0)
            half.queue_offset = half.log_offset = 0;  // nothing is known yet: the half that comes first
        opens_[++opaque_] = verdict;
        request(client, RequestCode::end_transaction, opaque_, end_header(half, verdict, from_check));
    }

    void read_answers() {
        for (Sent& answer : take(client)) {
            if ((answer.flag & remoting::flag_bit::response) == 0) continue;
            const auto open = opens_.find(answer.opaque);
            if (open == opens_.end()) {
                if (answer.response() == ResponseCode::success && answer.field("msgId") != "(absent)")
                    half_ = half_of(answer);
                continue;
            }
            note(open->second, answer);
            opens_.erase(open);
        }
        check();
    }

    void note(std::int32_t verdict, const Sent& answer) {
        if (answer.response() == ResponseCode::success) {
            if (first_ == 0) first_ = verdict;
            if (first_ != verdict) broke("a verdict was accepted after the other one");
            if (answer.field("transactionState") != (verdict == commit ? "committed" : "rolled_back"))
                broke("an accepted verdict is told");
        } else if (answer.response() == ResponseCode::illegal_operation) {
            if (first_ == verdict) broke("the verdict that counts was refused: " + answer.remark);
            refused_ = verdict;
        } else if (first_ != 0) {
            broke("a decided half is known: " + answer.remark);
        }
    }

    void check() {
        const auto copies = visible();
        if (copies.size() > 1) broke("there are " + std::to_string(copies.size()) + " visible copies");
        if (first_ == rollback && !copies.empty()) broke("a rolled back half is visible");
        if (first_ == commit && copies.empty()) broke("a half whose commit was answered is visible");
    }

    void broke(std::string promise) {
        if (broken_.empty()) broken_ = std::move(promise);
    }

    const bool settles_;  ///< each event is durable before the next; otherwise only the half, and what a restart finds
    std::int32_t opaque_ = 100;
    HalfSent half_;
    std::int32_t first_ = 0;
    std::int32_t refused_ = 0;
    std::map<std::int32_t, std::int32_t> opens_;
    std::string broken_;
};

std::string text_of(const std::vector<Event>& events) {
    std::string text;
    for (const Event event : events) text.append(text.empty() ? "" : ", ").append(name_of(event));
    return text;
}

void tell(const std::vector<Event>& story) {
    for (const bool settles : {true, false}) {
        Life life{settles};
        const std::string broken = life.run(story);
        ASSERT_EQ(broken, "") << text_of(story) << (settles ? ", each durable" : ", durable when it must be");
    }
}

/// The half may come at any time, and a verdict before it.
TEST(TransactionInterleavings, EveryOrderOfSixDifferentEvents) {
    std::vector<Event> events{Event::half,     Event::commit,       Event::commit,
                              Event::rollback, Event::check_commit, Event::restart};
    std::sort(events.begin(), events.end());
    std::size_t orders = 0;
    do {
        tell(events);
        ++orders;
    } while (!HasFatalFailure() && std::next_permutation(events.begin(), events.end()));
    EXPECT_EQ(orders, 360U) << "720, but the two commits are alike";
}

/// Behind the half, with repetition. HUFU_EVENTS=5 for all stories of six events (fifteen thousand).
TEST(TransactionInterleavings, EveryStoryOfFourEvents) {
    const char* const wanted = std::getenv("HUFU_EVENTS");
    const std::size_t length = wanted == nullptr ? 3 : std::strtoull(wanted, nullptr, 10);
    std::vector<std::size_t> at(length, 0);
    std::size_t stories = 0;
    for (std::size_t digit = 0; digit < length && !HasFatalFailure();) {
        std::vector<Event> story{Event::half};
        for (const std::size_t index : at) story.push_back(all_events[index]);
        tell(story);
        ++stories;
        for (digit = 0; digit < length && ++at[digit] == all_events.size(); ++digit) at[digit] = 0;
    }
    EXPECT_TRUE(wanted != nullptr || stories == 216U) << stories;
}

}  // namespace
}  // namespace hufu::broker::testing
