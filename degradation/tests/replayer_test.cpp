// The replayer's shell on a journal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <future>

#include <hufu/degradation/journal.hpp>
#include <hufu/degradation/replayer.hpp>
#include <hufu/testing/recording_publisher.hpp>

namespace hufu::degradation {
namespace {

using Ended = ReplayReport::Ended;
using std::chrono::milliseconds;

class ReplayerTest : public ::testing::Test {
protected:
    ReplayerTest() {
        std::string name = (std::filesystem::temp_directory_path() / "hufu-replayer-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error{"no folder " + name};
        folder = name;
        journal = Journal::open(open_directory(folder).value(), {}).value();
    }
    ~ReplayerTest() override {
        journal.reset();
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
    }

    void spill(int first, int count, int keys = 3, const std::string& topic = "orders") {
        std::vector<Message> messages;
        for (int i = first; i < first + count; ++i) {
            messages.push_back({.topic = topic, .ordering_key = "k" + std::to_string(i % keys), .body = std::to_string(i)});
        }
        std::vector<SpillOutcome> outcomes(messages.size());
        std::promise<void> done;
        journal->spill(messages, SpillWhen::always, outcomes, [&] { done.set_value(); });
        done.get_future().wait();
        for (const auto& outcome : outcomes) ASSERT_EQ(outcome.status, SpillOutcome::Status::spilled);
    }
    Result<ReplayReport> replay(const ReplayOptions& options = {}, ReplayEnd end = {}, ReplayEnvironment around = {}) {
        Replayer replayer{*journal, publisher, options, "test", around};
        return replayer.run({}, end);
    }

    std::string folder;
    std::unique_ptr<Journal> journal;
    testing::RecordingPublisher publisher;
};

TEST_F(ReplayerTest, EmptiesTheBufferInOrderAndCounts) {
    spill(0, 5'000);
    const auto report = replay().value();
    EXPECT_EQ(report.ended, Ended::drained);
    EXPECT_EQ(report.figures.confirmed, 5'000U);
    EXPECT_EQ(report.figures.trimmed, 5'000U);
    EXPECT_TRUE(report.figures.adds_up());
    EXPECT_EQ(report.left->entries, 0U);
    std::map<std::string, int> last;
    for (const auto& message : publisher.confirmed()) {
        const int number = std::stoi(message.body);
        EXPECT_LE(last[message.ordering_key], number);
        last[message.ordering_key] = number;
    }
    EXPECT_EQ(publisher.confirmed().size(), 5'000U);
}

TEST_F(ReplayerTest, AnEmptyBufferIsDrained) { EXPECT_EQ(replay().value().ended, Ended::drained); }

TEST_F(ReplayerTest, SetsAsideWhatTheBrokerRejects) {
    spill(0, 9);
    publisher.answer_next({PublishStatus::rejected, {ErrorCode::too_large, Disposition::reject, "too large"}});
    const auto report = replay().value();
    EXPECT_EQ(report.ended, Ended::drained);
    EXPECT_GE(report.left->parked, 1U);
    EXPECT_EQ(report.left->entries, 0U);
    EXPECT_TRUE(report.figures.adds_up());
    ASSERT_GE(journal->unpark().value(), 1U);
    EXPECT_EQ(replay().value().left->parked, 0U);
}

TEST_F(ReplayerTest, NothingIsTrimmedWhoseOutcomeCannotBeKept) {
    spill(0, 9);
    ReplayEnvironment around;
    around.keep = [](std::span<const ReplayRecord>) -> Result<void> {
        return Error{ErrorCode::io, Disposition::reject, "no space for outcomes"};
    };
    const auto report = replay({}, {}, around);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().text(), "no space for outcomes");
    EXPECT_EQ(journal->size()->entries, 9U);
}

TEST_F(ReplayerTest, GivesUpOnABrokerThatStaysAwayAndLosesNothing) {
    spill(0, 4);
    for (int i = 0; i < 1'000; ++i) {
        publisher.answer_next({PublishStatus::not_sent, {ErrorCode::unavailable, Disposition::retry, "refused"}});
    }
    const auto report = replay({}, {.when_empty = true, .patience = milliseconds{300}}).value();
    EXPECT_EQ(report.ended, Ended::target_away);
    EXPECT_EQ(report.figures.last_error.text(), "refused");
    EXPECT_EQ(report.figures.given_back, 4U);
    EXPECT_TRUE(report.figures.adds_up());
    EXPECT_EQ(report.left->entries, 4U);
}

TEST_F(ReplayerTest, LeavesWhatTheFilterExcludes) {
    spill(0, 10);
    spill(10, 5, 3, "stock");
    const auto seen = preview(*journal, {.topics = {"stock"}}).value();
    EXPECT_EQ(seen.matching, 5U);
    EXPECT_EQ(seen.filtered, 10U);
    EXPECT_EQ(journal->size()->entries, 15U);
    const auto report = replay({.filter = {.topics = {"stock"}}}).value();
    EXPECT_EQ(report.ended, Ended::drained);
    EXPECT_EQ(report.figures.confirmed, 5U);
    EXPECT_EQ(report.left->entries, 10U);
}

TEST_F(ReplayerTest, TwoAtOnceDeliverEverything) {
    spill(0, 3'000);
    auto other = std::async(std::launch::async, [&] { return replay().value(); });
    const auto report = replay().value();
    const auto others = other.get();
    EXPECT_EQ(report.figures.confirmed + others.figures.confirmed, 3'000U);
    EXPECT_EQ(journal->size()->entries, 0U);
}

}  // namespace
}  // namespace hufu::degradation
