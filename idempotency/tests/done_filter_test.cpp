#include <hufu/idempotency/done_filter.hpp>

#include <gtest/gtest.h>

#include <map>

#include <hufu/testing/fake_clock.hpp>

#include "tests/memory_guards.hpp"

namespace hufu::idempotency {
namespace {

using namespace std::chrono_literals;

class MemoryMarks final : public DoneMarks {
public:
    Result<std::optional<std::string>> find(const GuardKey& key) override {
        ++asked;
        if (down) return Error{ErrorCode::unavailable, Disposition::retry, "down"};
        const auto mark = marks.find(key.id);
        return mark == marks.end() ? std::optional<std::string>{} : std::optional{mark->second};
    }
    Result<void> mark(const GuardKey& key, std::string_view result, std::chrono::milliseconds) override {
        ++asked;
        if (down) return Error{ErrorCode::unavailable, Disposition::retry, "down"};
        marks[key.id] = result;
        return {};
    }
    std::map<MessageId, std::string> marks;
    bool down = false;
    int asked = 0;
};

class Filter : public ::testing::Test {
protected:
    OnceOutcome deliver() {
        return guard_.run(some_key, [&] {
            ++transactions_;
            MemoryTransaction transaction{disk_};
            return run_once(OnceMachine{some_key, SystemTime{}}, transaction, transaction,
                            [&] { return transaction.effect(); });
        });
    }

    hufu::testing::FakeClock clock_;
    MemoryMarks marks_;
    FilteredGuard guard_{marks_, {}, clock_};
    MemoryDisk disk_;
    int transactions_ = 0;
};

TEST_F(Filter, SparesTheDatabaseADuplicate) {
    EXPECT_EQ(deliver().handled, Handled::done);
    const auto again = deliver();
    EXPECT_EQ(again.handled, Handled::already_done);
    EXPECT_EQ(again.result, "kept");
    EXPECT_EQ(transactions_, 1);
    EXPECT_EQ(disk_.effects, 1);
}

TEST_F(Filter, IsStillRightWhenItHasForgottenEverything) {
    EXPECT_EQ(deliver().handled, Handled::done);
    marks_.marks.clear();
    EXPECT_EQ(deliver().handled, Handled::already_done);
    EXPECT_EQ(disk_.effects, 1);
    EXPECT_EQ(marks_.marks.size(), 1U);  // learnt again from the database's answer
    EXPECT_EQ(deliver().result, "kept");
    EXPECT_EQ(transactions_, 2);
}

TEST_F(Filter, IsLeftAloneWhileItIsDown) {
    marks_.down = true;
    EXPECT_EQ(deliver().handled, Handled::done);
    EXPECT_EQ(deliver().handled, Handled::already_done);
    EXPECT_EQ(marks_.asked, 1);
    EXPECT_EQ(disk_.effects, 1);
    marks_.down = false;
    clock_.advance(1s);
    EXPECT_EQ(deliver().handled, Handled::already_done);
    EXPECT_EQ(marks_.marks.size(), 1U);
}

TEST_F(Filter, MarksNothingThatWasNotCommitted) {
    const auto outcome = guard_.run(some_key, [] { return OnceOutcome{Handled::retry, {}, "closed"}; });
    EXPECT_EQ(outcome.handled, Handled::retry);
    EXPECT_TRUE(marks_.marks.empty());
}

TEST_F(Filter, WrapsAHandler) {
    int handled = 0;
    const Handler handler = filtered(guard_, "stock", [&](const Delivery&) -> HandlerResult {
        ++handled;
        return Handled::done;
    });
    Delivery delivery;
    delivery.message.id = MessageId{{9}};
    EXPECT_EQ(handler(delivery).handled, Handled::done);
    EXPECT_EQ(handler(delivery).handled, Handled::already_done);
    EXPECT_EQ(handled, 1);
}

}  // namespace
}  // namespace hufu::idempotency
