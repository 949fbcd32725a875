// The replayer's shell on a journal, and on a buffer that another replayer shares.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <future>
#include <mutex>

#include <hufu/degradation/journal.hpp>
#include <hufu/degradation/replayer.hpp>
#include <hufu/testing/memory_buffer.hpp>
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

/// What happened to a reader while it was used.
struct ReaderStory {
    std::mutex mutex;
    std::condition_variable changed;
    int reading = 0;
    bool read_beside_park = false;
    std::vector<std::string> parked;
};

/// Does not answer the first time when something is to be set aside, and then takes its time, for somebody to read meanwhile.
class RarelyParks final : public BufferReader {
public:
    RarelyParks(std::unique_ptr<BufferReader> reader, ReaderStory& story) : reader_{std::move(reader)}, story_{story} {}
    Result<std::vector<Entry>> read(std::size_t max, milliseconds timeout) override {
        {
            const std::lock_guard lock{story_.mutex};
            ++story_.reading;
            story_.changed.notify_all();
        }
        auto entries = reader_->read(max, timeout);
        const std::lock_guard lock{story_.mutex};
        --story_.reading;
        return entries;
    }
    Result<std::size_t> trim(std::span<const EntryId> entries) override { return reader_->trim(entries); }
    Result<void> park(std::span<const EntryId> entries, std::string_view reason) override {
        if (!std::exchange(failed_, true)) return Error{ErrorCode::timeout, Disposition::in_doubt, "no answer"};
        std::unique_lock lock{story_.mutex};
        const auto somebody_reads = [this] { return story_.reading > 0; };
        if (story_.changed.wait_for(lock, milliseconds{100}, somebody_reads)) story_.read_beside_park = true;
        for (const auto& id : entries) story_.parked.push_back(id.position);
        return reader_->park(entries, reason);
    }
    Result<void> release() override { return reader_->release(); }

private:
    std::unique_ptr<BufferReader> reader_;
    ReaderStory& story_;
    bool failed_ = false;
};
class RarelyParking final : public Buffer {
public:
    std::string describe() const override { return memory.describe(); }
    Result<LossStatement> inspect() override { return memory.inspect(); }
    void spill(std::span<const Message> messages, SpillWhen when, std::span<SpillOutcome> outcomes, Done done) override {
        memory.spill(messages, when, outcomes, std::move(done));
    }
    void epoch(OnEpoch on_epoch) override { memory.epoch(std::move(on_epoch)); }
    Result<BufferSize> size() override { return memory.size(); }
    Result<std::vector<bool>> holds(std::span<const ConsumerKey> keys) override { return memory.holds(keys); }
    std::unique_ptr<BufferReader> reader(std::string name) override {
        return std::make_unique<RarelyParks>(memory.reader(std::move(name)), story);
    }
    testing::MemoryBuffer memory{system_clock()};
    ReaderStory story;
};

TEST_F(ReplayerTest, SetsAsideInOrderThoughTheBufferDoesNotAnswerAtOnce) {
    RarelyParking buffer;
    std::vector<Message> messages;
    for (int i = 1; i <= 3; ++i) messages.push_back({.topic = "orders", .ordering_key = "a", .body = std::to_string(i)});
    std::vector<SpillOutcome> outcomes(messages.size());
    buffer.spill(messages, SpillWhen::always, outcomes, [] {});
    publisher.answer_next({PublishStatus::rejected, {ErrorCode::too_large, Disposition::reject, "too large"}});
    for (int behind = 0; behind < 2; ++behind) {
        publisher.answer_next({PublishStatus::not_sent, {ErrorCode::cancelled, Disposition::retry, "behind another one"}});
    }
    Replayer replayer{buffer, publisher, {}, "test"};
    EXPECT_EQ(replayer.run({}, {}).value().ended, Ended::drained);
    EXPECT_EQ(buffer.story.parked, (std::vector<std::string>{"1", "2", "3"}));
    EXPECT_FALSE(buffer.story.read_beside_park) << "a buffer sets aside at once what it reads of a barred key";
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

/// A buffer shared with another replayer: each read gives what the test says, and the buffer holds what the test says.
class SharedBuffer final : public Buffer {
public:
    struct Story {
        std::deque<std::vector<Entry>> reads = {};  ///< then nothing more comes: the other one has the shards
        std::vector<Entry> waiting = {};
        std::vector<Entry> parked = {};
        int browses_that_fail = 0;  ///< of the parked ones
    };
    explicit SharedBuffer(Story story) : story_{std::move(story)} {}

    [[nodiscard]] std::string describe() const override { return "shared:"; }
    [[nodiscard]] Result<LossStatement> inspect() override { return LossStatement{}; }
    void spill(std::span<const Message>, SpillWhen, std::span<SpillOutcome>, Done done) override { done(); }
    void epoch(OnEpoch on_epoch) override { on_epoch(std::uint64_t{1}); }
    [[nodiscard]] Result<BufferSize> size() override {
        return BufferSize{.entries = story_.waiting.size(), .parked = story_.parked.size()};
    }
    [[nodiscard]] Result<std::vector<bool>> holds(std::span<const ConsumerKey> keys) override {
        return std::vector<bool>(keys.size());
    }
    [[nodiscard]] Result<void> browse(Shelf shelf, const std::function<bool(const Entry&)>& see) override {
        if (shelf == Shelf::parked && story_.browses_that_fail > 0) {
            --story_.browses_that_fail;
            return Error{ErrorCode::timeout, Disposition::retry, "shared: does not answer in time"};
        }
        for (const Entry& entry : shelf == Shelf::parked ? story_.parked : story_.waiting) {
            if (!see(entry)) break;
        }
        return {};
    }
    [[nodiscard]] std::unique_ptr<BufferReader> reader(std::string) override { return std::make_unique<Reader>(*this); }
    [[nodiscard]] const Story& story() const { return story_; }

private:
    class Reader final : public BufferReader {
    public:
        explicit Reader(SharedBuffer& buffer) : story_{buffer.story_} {}
        [[nodiscard]] Result<std::vector<Entry>> read(std::size_t, milliseconds) override {
            if (story_.reads.empty()) return std::vector<Entry>{};
            auto entries = std::move(story_.reads.front());
            story_.reads.pop_front();
            return entries;
        }
        [[nodiscard]] Result<std::size_t> trim(std::span<const EntryId> ids) override {
            for (const EntryId& id : ids) take(id);
            return ids.size();
        }
        [[nodiscard]] Result<void> park(std::span<const EntryId> ids, std::string_view) override {
            for (const EntryId& id : ids) story_.parked.push_back(take(id));
            return {};
        }
        Result<void> release() override { return {}; }

    private:
        Entry take(const EntryId& id) {
            const auto at = std::find_if(story_.waiting.begin(), story_.waiting.end(),
                                         [&](const Entry& entry) { return entry.id == id; });
            Entry entry = at == story_.waiting.end() ? Entry{} : *at;
            if (at != story_.waiting.end()) story_.waiting.erase(at);
            return entry;
        }
        Story& story_;
    };
    Story story_;
};

std::vector<Entry> entries(int first, int count, const std::string& topic) {
    std::vector<Entry> made;
    for (int number = first; number < first + count; ++number) {
        made.push_back({.id = {0, std::to_string(number)},
                        .message = {.topic = topic, .ordering_key = "k", .body = std::to_string(number)}});
    }
    return made;
}
std::vector<Entry> operator+(std::vector<Entry> left, const std::vector<Entry>& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

struct ReplayOfSharedBuffer : ::testing::Test {
    ReplayReport replay(SharedBuffer& buffer, const ReplayFilter& filter = {}) {
        Replayer replayer{buffer, publisher, {.filter = filter}, "test"};
        return replayer.run({}, {.when_empty = true, .patience = milliseconds{300}}).value();
    }
    testing::RecordingPublisher publisher;
};

TEST_F(ReplayOfSharedBuffer, IsNotDrainedWhenWhatItLeavesWasReadTwice) {
    // The shard was lost after the first read; the other replayer holds the orders.
    const auto stock = entries(0, 6, "stock");
    SharedBuffer buffer{{.reads = {stock, stock}, .waiting = stock + entries(6, 4, "orders")}};
    const auto report = replay(buffer, {.topics = {"orders"}});
    EXPECT_EQ(report.ended, Ended::others_have);
    EXPECT_EQ(report.figures.filtered, 12U);
}

TEST_F(ReplayOfSharedBuffer, IsNotDrainedWhenWhatItLeftIsGoneAndAnotherHoldsAsMuch) {
    SharedBuffer buffer{{.reads = {entries(0, 6, "stock")}, .waiting = entries(6, 4, "orders")}};
    EXPECT_EQ(replay(buffer, {.topics = {"orders"}}).ended, Ended::others_have);
}

TEST_F(ReplayOfSharedBuffer, IsDrainedWhenOnlyWhatItLeavesIsThere) {
    const auto stock = entries(0, 6, "stock");
    SharedBuffer buffer{{.reads = {stock, stock}, .waiting = stock}};
    EXPECT_EQ(replay(buffer, {.topics = {"orders"}}).ended, Ended::drained);
}

TEST_F(ReplayOfSharedBuffer, ReadsNothingBeforeItKnowsWhatIsParked) {
    const auto later = entries(1, 2, "orders");
    SharedBuffer buffer{{.reads = {later}, .waiting = later, .parked = entries(0, 1, "orders"), .browses_that_fail = 1}};
    const auto report = replay(buffer);
    EXPECT_EQ(report.ended, Ended::drained);
    EXPECT_TRUE(publisher.tried().empty()) << "they overtook what was set aside";
    EXPECT_EQ(report.left->parked, 3U);
}

TEST_F(ReplayOfSharedBuffer, GivesUpWhenItNeverLearnsWhatIsParked) {
    const auto waiting = entries(0, 2, "orders");
    SharedBuffer buffer{{.reads = {waiting}, .waiting = waiting, .browses_that_fail = 1'000}};
    const auto report = replay(buffer);
    EXPECT_EQ(report.ended, Ended::source_away);
    EXPECT_EQ(report.figures.last_error.text(), "shared: does not answer in time");
    EXPECT_EQ(buffer.story().reads.size(), 1U);
}

}  // namespace
}  // namespace hufu::degradation
