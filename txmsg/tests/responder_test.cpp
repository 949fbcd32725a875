#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>

#include <hufu/txmsg/responder.hpp>

namespace hufu::txmsg {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// Hands checks to whoever serves them.
class Asker final : public HalfPublisher {
public:
    struct Answered {
        Verdict verdict = Verdict::unknown;
        std::string reason;
    };
    void prepare(const HalfContext&, std::span<const Message>, std::span<HalfOutcome>, Done done) override { done(); }
    void end(const HalfContext&, std::span<const Half>, Verdict, std::string_view, EndOutcome&, Done done) override {
        done();
    }
    Result<void> serve_checks(std::string group, std::vector<std::string> names, OnCheck on_check) override {
        if (refusal) {
            return *refusal;
        }
        served_group = std::move(group);
        handlers = std::move(names);
        on_check_ = std::move(on_check);
        return {};
    }
    /// Broken when the responder keeps silent.
    std::future<Answered> ask(std::string handler, std::string store = "here") {
        auto promise = std::make_shared<std::promise<Answered>>();
        auto future = promise->get_future();
        Check check;
        check.context = {.transaction = TransactionId{{++asked_}}, .group = "pay", .handler = handler, .store = store};
        on_check_(std::move(check), [promise](Verdict verdict, std::string reason) {
            promise->set_value({verdict, std::move(reason)});
        });
        return future;
    }
    [[nodiscard]] bool serves() const { return static_cast<bool>(on_check_); }

    std::optional<Error> refusal;
    std::string served_group;
    std::vector<std::string> handlers;

private:
    OnCheck on_check_;
    std::uint8_t asked_ = 0;
};

class FixedStore final : public VerdictStore {
public:
    Result<std::string> uuid() override { return std::string{"here"}; }
    Result<Seen> check(const TransactionId&) override { return says; }
    Result<std::optional<Seen>> look(const TransactionId&) override { return std::optional<Seen>{}; }
    Result<Purged> purge(std::chrono::hours) override { return Purged{}; }

    Result<Seen> says = Seen::committed;
};

class ResponderTest : public testing::Test {
protected:
    ResponderOptions options() {
        ResponderOptions made;
        made.group = "pay";
        made.metrics = &metrics_;
        return made;
    }
    std::uint64_t count(const char* name, const char* label, const char* value) {
        return metrics_.counter(name, "", {{"group", "pay"}, {label, value}}).value();
    }

    MetricsRegistry metrics_;
    Asker asker_;
    FixedStore store_;
};

TEST_F(ResponderTest, RegistersItsHandlersAtOnceAndLeavesAtItsEnd) {
    auto with = options();
    with.handlers = {"paid"};
    with.checkers["refund"] = [](const Check&, const std::stop_token&) { return Verdict::commit; };
    {
        const Responder responder{asker_, &store_, with};
        EXPECT_EQ(asker_.served_group, "pay");
        EXPECT_THAT(asker_.handlers, testing::UnorderedElementsAre("paid", "refund"));
        EXPECT_TRUE(asker_.serves());
    }
    EXPECT_FALSE(asker_.serves());
}

TEST_F(ResponderTest, ThrowsWhenTheBrokerSideRefusesTheGroup) {
    asker_.refusal = Error{ErrorCode::invalid_argument, Disposition::reject, "group name"};
    EXPECT_THROW((Responder{asker_, &store_, options()}), Exception);
}

TEST_F(ResponderTest, AnswersFromTheStore) {
    const Responder responder{asker_, &store_, options()};
    EXPECT_EQ(asker_.ask("").get().verdict, Verdict::commit);
    store_.says = Seen::rolled_back;
    EXPECT_EQ(asker_.ask("").get().verdict, Verdict::rollback);
    EXPECT_EQ(count("hufu_tx_checks_total", "outcome", "committed"), 1u);
    EXPECT_EQ(count("hufu_tx_checks_total", "outcome", "rolled_back"), 1u);
}

TEST_F(ResponderTest, KeepsSilentAboutOthers) {
    const Responder responder{asker_, &store_, options()};
    EXPECT_THROW(asker_.ask("", "elsewhere").get(), std::future_error);
    EXPECT_THROW(asker_.ask("nobody").get(), std::future_error);
    EXPECT_EQ(count("hufu_tx_checks_total", "outcome", "foreign"), 1u);
    EXPECT_EQ(count("hufu_tx_checks_total", "outcome", "unknown_handler"), 1u);
}

TEST_F(ResponderTest, AnswersUnknownWhenACheckerThrows) {
    auto with = options();
    with.checkers["paid"] = [](const Check&, const std::stop_token&) -> Verdict {
        throw std::runtime_error{"no such order"};
    };
    with.checkers["odd"] = [](const Check&, const std::stop_token&) -> Verdict { throw 7; };
    with.checkers["wild"] = [](const Check&, const std::stop_token&) { return static_cast<Verdict>(99); };
    const Responder responder{asker_, &store_, with};
    const auto answered = asker_.ask("paid").get();
    EXPECT_EQ(answered.verdict, Verdict::unknown);
    EXPECT_THAT(answered.reason, HasSubstr("no such order"));
    EXPECT_EQ(asker_.ask("odd").get().verdict, Verdict::unknown);
    EXPECT_EQ(asker_.ask("wild").get().verdict, Verdict::unknown);
    EXPECT_EQ(count("hufu_tx_check_troubles_total", "kind", "failed"), 2u);
    EXPECT_EQ(count("hufu_tx_check_troubles_total", "kind", "nonsense"), 1u);
}

TEST_F(ResponderTest, AnswersInTimeForACheckerThatHangsAndOthersGoOn) {
    auto with = options();
    with.answer_within = 100ms;
    with.running_per_handler = 1;
    std::promise<void> go_on;
    std::shared_future<void> gone_on = go_on.get_future().share();
    std::promise<void> late_is_over;
    std::atomic<int> calls{0};
    with.checkers["hangs"] = [&](const Check&, const std::stop_token&) {
        if (++calls == 1) {
            gone_on.wait();
        } else {
            late_is_over.set_value();
        }
        return Verdict::commit;
    };
    const Responder responder{asker_, &store_, with};
    auto hung = asker_.ask("hangs");
    auto behind = asker_.ask("hangs");
    EXPECT_EQ(asker_.ask("").get().verdict, Verdict::commit) << "another handler is not held up";
    const auto answered = hung.get();
    EXPECT_EQ(answered.verdict, Verdict::unknown);
    EXPECT_THAT(answered.reason, HasSubstr("100 ms"));
    EXPECT_EQ(behind.get().verdict, Verdict::unknown);
    EXPECT_EQ(count("hufu_tx_check_troubles_total", "kind", "timed_out"), 2u);
    go_on.set_value();  // what it says now is dropped; then the handler is free again
    Verdict next = Verdict::unknown;
    while (next == Verdict::unknown) {
        next = asker_.ask("hangs").get().verdict;
    }
    EXPECT_EQ(next, Verdict::commit);
    late_is_over.get_future().wait();
    EXPECT_EQ(count("hufu_tx_check_troubles_total", "kind", "late"), 1u);
}

TEST_F(ResponderTest, StopsACheckerThatListens) {
    auto with = options();
    std::promise<void> inside;
    with.checkers["waits"] = [&](const Check&, const std::stop_token& stop) {
        inside.set_value();
        system_clock().sleep_until(system_clock().steady_now() + 1h, stop);
        return Verdict::commit;
    };
    auto responder = std::make_unique<Responder>(asker_, &store_, with);
    auto unanswered = asker_.ask("waits");
    inside.get_future().wait();
    responder.reset();
    EXPECT_THROW(unanswered.get(), std::future_error);
}

TEST_F(ResponderTest, ManyChecksAtOnceAreAllAnswered) {
    const Responder responder{asker_, &store_, options()};
    std::vector<std::future<Asker::Answered>> all;
    for (int i = 0; i < 200; ++i) {
        all.push_back(asker_.ask(""));
    }
    for (auto& one : all) {
        EXPECT_EQ(one.get().verdict, Verdict::commit);
    }
    EXPECT_EQ(count("hufu_tx_checks_total", "outcome", "committed"), 200u);
}

}  // namespace
}  // namespace hufu::txmsg
