#include <hufu/idempotency/lock.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace hufu::idempotency {
namespace {

using namespace std::chrono_literals;

struct Story {
    std::vector<std::string> steps;
    bool busy = false;
    bool held = true;
    bool lost = false;
    std::int64_t newest = 0;
};

class ToldLock final : public Lock {
public:
    ToldLock(Story& story, std::string name) : story_{story}, name_{std::move(name)} {}
    ~ToldLock() override { story_.steps.emplace_back("unlock"); }
    [[nodiscard]] const std::string& name() const noexcept override { return name_; }
    [[nodiscard]] FencingToken token() const noexcept override { return {7}; }
    [[nodiscard]] bool held() const override { return story_.held; }
    Result<void> confirm() override {
        story_.steps.emplace_back("confirm");
        if (story_.lost) return lock_lost(name_);
        return {};
    }

private:
    Story& story_;
    std::string name_;
};

class Told final : public LockProvider, public EffectTransaction {
public:
    explicit Told(Story& story) : story_{story} {}
    Result<std::unique_ptr<Lock>> acquire(const std::string& name, std::chrono::milliseconds wait) override {
        story_.steps.emplace_back("lock");
        if (story_.busy) return lock_busy(name, wait);
        return std::unique_ptr<Lock>{std::make_unique<ToldLock>(story_, name)};
    }
    Result<void> begin() override {
        story_.steps.emplace_back("begin");
        return {};
    }
    Result<void> commit() override {
        story_.steps.emplace_back("commit");
        return {};
    }
    void roll_back() noexcept override { story_.steps.emplace_back("roll back"); }
    Result<void> carry(FencingToken token) {
        story_.steps.emplace_back("carry");
        if (token.value < story_.newest) return older_token("order-1", token, {story_.newest});
        return {};
    }

private:
    Story& story_;
};

class LockCheckUpdate : public testing::Test {
protected:
    OnceOutcome run(const EffectResult& result = Handled::done) {
        Told told{story_};
        return lock_check_update(
            told, "order-1", 1s, told, [&](FencingToken token) { return told.carry(token); },
            [&] {
                story_.steps.emplace_back("effect");
                return result;
            });
    }
    Story story_;
};

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(LockCheckUpdate, CarriesTheTokenBeforeTheEffectAndUnlocksAfterTheCommit) {
    EXPECT_EQ(run().handled, Handled::done);
    EXPECT_THAT(story_.steps, ElementsAre("lock", "begin", "carry", "effect", "commit", "unlock"));
}

TEST_F(LockCheckUpdate, ChangesNothingWithoutTheLock) {
    story_.busy = true;
    const auto outcome = run();
    EXPECT_EQ(outcome.handled, Handled::retry);
    EXPECT_THAT(outcome.reason, HasSubstr("lock \"order-1\" was not free within 1 s"));
    EXPECT_THAT(story_.steps, ElementsAre("lock"));
}

TEST_F(LockCheckUpdate, IsRefusedWithAnOlderToken) {
    story_.newest = 8;
    const auto outcome = run();
    EXPECT_EQ(outcome.handled, Handled::retry);
    EXPECT_THAT(outcome.reason, HasSubstr("token 7 is older than 8"));
    EXPECT_THAT(story_.steps, ElementsAre("lock", "begin", "carry", "roll back", "unlock"));
}

TEST_F(LockCheckUpdate, RollsBackWhenTheLockWasLostMeanwhile) {
    story_.held = false;
    EXPECT_EQ(run().handled, Handled::done);  // it was only late: confirmed
    EXPECT_THAT(story_.steps, ElementsAre("lock", "begin", "carry", "effect", "confirm", "commit", "unlock"));
    story_ = {};
    story_.held = false;
    story_.lost = true;
    const auto outcome = run();
    EXPECT_EQ(outcome.handled, Handled::retry);
    EXPECT_THAT(story_.steps, ElementsAre("lock", "begin", "carry", "effect", "confirm", "roll back", "unlock"));
}

TEST_F(LockCheckUpdate, RollsBackWhatTheCheckRefuses) {
    EXPECT_EQ(run({Handled::reject, {}, "sold out"}).reason, "sold out");
    EXPECT_THAT(story_.steps, ElementsAre("lock", "begin", "carry", "effect", "roll back", "unlock"));
}

TEST_F(LockCheckUpdate, RollsBackWhenTheEffectThrows) {
    Told told{story_};
    EXPECT_THROW(static_cast<void>(lock_check_update(
                     told, "order-1", 1s, told, [&](FencingToken token) { return told.carry(token); },
                     []() -> EffectResult { throw std::runtime_error{"no"}; })),
                 std::runtime_error);
    EXPECT_THAT(story_.steps, ElementsAre("lock", "begin", "carry", "roll back", "unlock"));
}

}  // namespace
}  // namespace hufu::idempotency
