// Appends that belong together, and what the index tells without reading a record.
#include <gtest/gtest.h>

#include <hufu/broker/log.hpp>

#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker {
namespace {

using testing::record_of;
using testing::settle;

class LogEntriesTest : public ::testing::Test {
protected:
    LogEntriesTest() {
        options.segment_bytes = 16U << 10U;
        options.first_segment_bytes = 8U << 10U;
        options.record_bytes_max = 4U << 10U;
        options.pending_bytes_max = 64U << 10U;
        log = Log::open(disk.directory(), options, clock).value();
        queue = log->open_queue("orders", 0);
    }

    Appended append(std::string_view text, std::int64_t tags = 0) {
        return log->append(queue, tags, record_of(text)).value();
    }

    std::vector<QueueEntry> entries(std::uint64_t from = 0) {
        std::vector<QueueEntry> found;
        log->for_each_entry(queue, from, [&](const QueueEntry& entry) {
            found.push_back(entry);
            return true;
        });
        return found;
    }

    SeededRandom random{1};
    simulation::SimDisk disk{random};
    testing::StoppedClock clock;
    LogOptions options;
    std::unique_ptr<Log> log;
    QueueHandle queue;
};

TEST_F(LogEntriesTest, ReservedAppendsShareOneGroup) {
    const std::string text(1400, '.');
    const std::uint64_t bytes = record_of(text).size();
    for (int round = 0; round < 20; ++round) {  // over several segments
        ASSERT_TRUE(log->reserve(3 * bytes, 3)) << round;
        const auto first = append(text);
        const auto second = append(text);
        const auto third = append(text);
        // Records of one group stand back to back; another group would begin on a sector of its own.
        EXPECT_EQ(second.log_offset, first.log_offset + bytes) << round;
        EXPECT_EQ(third.log_offset, second.log_offset + bytes) << round;
        settle(*log);
    }
}

TEST_F(LogEntriesTest, AGroupLargerThanTheNextSegmentGetsALargerOne) {
    // Segments are 16 KiB at most; what may wait for the disk is 64.
    for (int round = 0; round < 3; ++round) {
        const std::string text(1900, '.');
        const std::uint64_t bytes = record_of(text).size();
        ASSERT_TRUE(log->reserve(20 * bytes, 20)) << round;
        const auto first = append(text);
        for (std::uint64_t i = 1; i < 20; ++i) EXPECT_EQ(append(text).log_offset, first.log_offset + i * bytes);
        settle(*log);
    }
    EXPECT_EQ(entries().size(), 60U);
    log.reset();
    disk.crash();
    log = Log::open(disk.directory(), options, clock).value();
    EXPECT_EQ(entries().size(), 60U);
}

TEST_F(LogEntriesTest, RefusesToReserveMoreThanMayWaitAndLeavesTheSegmentAlone) {
    settle(*log);
    const auto bytes = log->bytes_on_disk();
    for (int i = 0; i < 10; ++i) {
        const auto reserved = log->reserve(1U << 20U, 4);
        ASSERT_FALSE(reserved);
        EXPECT_EQ(reserved.error().code(), ErrorCode::too_large);
        EXPECT_EQ(reserved.error().disposition(), Disposition::reject);
        EXPECT_NE(reserved.error().text().find("split them"), std::string::npos) << reserved.error().text();
    }
    EXPECT_EQ(log->bytes_on_disk(), bytes);
    EXPECT_TRUE(log->append(queue, 0, record_of("still taken")));
}

TEST_F(LogEntriesTest, TellsEveryReadableEntryInOrderAcrossSegments) {
    std::vector<Appended> appended;
    for (int i = 0; i < 60; ++i) {
        appended.push_back(append(std::string(900, '.'), i * 10));
        settle(*log);
    }
    append("not durable yet");
    const auto found = entries();
    ASSERT_EQ(found.size(), 60U);
    for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].queue_offset, i);
        EXPECT_EQ(found[i].log_offset, appended[i].log_offset);
        EXPECT_EQ(found[i].tags_code, static_cast<std::int64_t>(i) * 10);
    }
    EXPECT_EQ(entries(57).size(), 3U);
    EXPECT_TRUE(entries(60).empty());
}

TEST_F(LogEntriesTest, StopsWhenTheVisitorHasSeenEnough) {
    for (int i = 0; i < 5; ++i) append("x");
    settle(*log);
    int seen = 0;
    log->for_each_entry(queue, 1, [&](const QueueEntry&) { return ++seen < 2; });
    EXPECT_EQ(seen, 2);
}

TEST_F(LogEntriesTest, HidesWhatIsOlderThanALogOffset) {
    const std::string text(1400, '.');
    for (int round = 0; round < 20; ++round) {  // over several segments
        append(text);
        settle(*log);
    }
    const std::uint64_t end = log->end_offset();
    EXPECT_GE(append("new").log_offset, end);
    settle(*log);
    log->hide_before(queue, end);
    EXPECT_EQ(log->min_offset(queue), 20U);
    EXPECT_EQ(log->max_offset(queue), 21U);
    std::vector<std::byte> out;
    EXPECT_EQ(log->read(queue, 3, {}, {}, out).status, ReadStatus::below);
    EXPECT_EQ(log->read(queue, 20, {}, {}, out).records, 1U);
    EXPECT_EQ(entries().size(), 1U);
    EXPECT_FALSE(log->stored_at_ms(queue, 19));
    EXPECT_EQ(log->offset_at(queue, SystemTime{}, TimeBoundary::lower), 20U);
    log->hide_before(queue, 0);  // never shows what was hidden
    EXPECT_EQ(log->min_offset(queue), 20U);
}

TEST_F(LogEntriesTest, HiddenRecordsStayHiddenWhenTheLogIsOpenedAnew) {
    append("old");
    settle(*log);
    const std::uint64_t end = log->end_offset();
    append("new");
    settle(*log);
    log.reset();
    log = Log::open(disk.directory(), options, clock).value();
    queue = *log->find_queue("orders", 0);
    EXPECT_EQ(log->min_offset(queue), 0U);
    log->hide_before(queue, end);
    EXPECT_EQ(log->min_offset(queue), 1U);
}

TEST_F(LogEntriesTest, NothingIsHiddenThatComesAfterARefusal) {
    append("kept");
    settle(*log);
    append("lost with its group");
    log->hide_before(queue, log->end_offset());
    LogGroup* group = log->take_group();
    log->failed(group, Error{ErrorCode::io, Disposition::retry, "the disk said no"});
    for (int step = 0; step < 10; ++step) settle(*log);
    append("new");
    settle(*log);
    EXPECT_EQ(log->min_offset(queue), 1U);
    EXPECT_EQ(log->max_offset(queue), 2U);
    EXPECT_EQ(entries().size(), 1U);
}

}  // namespace
}  // namespace hufu::broker
