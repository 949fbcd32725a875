// The log's promises one by one, on a simulated disk.
// long file: one fixture, and every promise is a test of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include <hufu/broker/log.hpp>

#include "log/crc32c.hpp"
#include "log/format.hpp"
#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker {
namespace {

using simulation::DiskCall;
using testing::read_all;
using testing::record_of;
using testing::settle;
using testing::split;

class LogTest : public ::testing::Test {
protected:
    LogTest() {
        options.segment_bytes = 16U << 10U;
        options.first_segment_bytes = 8U << 10U;
        options.record_bytes_max = 4U << 10U;
        options.pending_bytes_max = 64U << 10U;
    }

    std::unique_ptr<Log> open() { return Log::open(disk.directory(), options, clock).value(); }

    Appended append(Log& log, QueueHandle queue, std::string_view text, std::int64_t tags = 0) {
        return log.append(queue, tags, record_of(text)).value();
    }

    /// Enough for several segments: `count` records of about 1 KiB, "0", "1", …
    void fill(Log& log, QueueHandle queue, int count) {
        for (int i = 0; i < count; ++i) {
            append(log, queue, std::to_string(i) + std::string(900, '.'));
            settle(log);
        }
    }

    SeededRandom random{1};
    simulation::SimDisk disk{random};
    testing::StoppedClock clock;
    LogOptions options;
};

TEST(Crc32c, KnowsTheCheckValueAndAgreesWithThePortableWay) {
    EXPECT_EQ(crc32c(0, bytes_of("123456789")), 0xE3069283U);
    SeededRandom random{7};
    std::string text;
    for (int i = 0; i < 5000; ++i) text.push_back(static_cast<char>(random.below(256)));
    for (std::size_t size = 0; size < text.size(); size = size * 3 / 2 + 1) {
        const auto part = bytes_of(std::string_view{text}.substr(text.size() - size));
        EXPECT_EQ(crc32c(0, part), crc32c_portable(0, part)) << size;
        EXPECT_EQ(crc32c(crc32c(0, part.first(size / 3)), part.subspan(size / 3)), crc32c(0, part)) << size;
    }
}

TEST_F(LogTest, GivesOffsetsAndWritesThemIntoTheRecord) {
    auto log = open();
    const auto queue = log->open_queue("orders", 3);
    EXPECT_EQ(log->open_queue("orders", 3), queue);
    const auto first = append(*log, queue, "first");
    clock.now_ms += 5;
    const auto second = append(*log, queue, "second");
    EXPECT_EQ(first.queue_offset, 0U);
    EXPECT_EQ(second.queue_offset, 1U);
    EXPECT_GT(second.ticket, first.ticket);
    settle(*log);

    const auto records = read_all(*log, queue);
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[0].text, "first");
    EXPECT_EQ(records[1].text, "second");
    EXPECT_EQ(records[1].offset, 1U);
    EXPECT_EQ(records[1].log_offset, second.log_offset);
    EXPECT_EQ(records[1].stored_at_ms, 1'000'005U);
}

TEST_F(LogTest, ShowsNothingBeforeItIsSynced) {
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    const auto appended = append(*log, queue, "one");
    std::vector<std::byte> bytes;
    auto* group = log->take_group();
    ASSERT_NE(group, nullptr);
    ASSERT_TRUE(Log::write(*group));
    EXPECT_EQ(log->read(queue, 0, {}, {}, bytes).status, ReadStatus::at_end);
    ASSERT_TRUE(Log::sync(*group));
    const auto outcome = log->completed(group);
    EXPECT_EQ(outcome.through, appended.ticket);
    EXPECT_TRUE(outcome.durable);
    EXPECT_EQ(log->read(queue, 0, {}, {}, bytes).status, ReadStatus::found);
}

TEST_F(LogTest, TakesTwoGroupsAndSettlesThemInOrder) {
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    const auto first = append(*log, queue, "one");
    auto* one = log->take_group();
    const auto second = append(*log, queue, "two");
    auto* two = log->take_group();
    append(*log, queue, "three");
    ASSERT_NE(two, nullptr);
    EXPECT_EQ(log->take_group(), nullptr);
    for (auto* group : {two, one}) {
        ASSERT_TRUE(Log::write(*group));
        ASSERT_TRUE(Log::sync(*group));
    }
    EXPECT_EQ(log->completed(one).through, first.ticket);
    EXPECT_EQ(log->max_offset(queue), 1U);
    EXPECT_EQ(log->completed(two).through, second.ticket);
    EXPECT_EQ(log->max_offset(queue), 2U);
}

TEST_F(LogTest, ASmallGroupGrowsOnWhileAnotherOneIsOnItsWay) {
    options.next_group_bytes_min = 2048;
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    append(*log, queue, "one");
    auto* one = log->take_group();
    ASSERT_NE(one, nullptr);
    append(*log, queue, "two");
    EXPECT_EQ(log->take_group(), nullptr);
    const auto grown = append(*log, queue, std::string(3000, '.'));
    auto* two = log->take_group();
    ASSERT_NE(two, nullptr) << "large enough to be written behind the first at once";
    append(*log, queue, "four");
    for (auto* group : {one, two}) {
        ASSERT_TRUE(Log::write(*group));
        ASSERT_TRUE(Log::sync(*group));
    }
    log->completed(one);
    EXPECT_EQ(log->completed(two).through, grown.ticket);
    EXPECT_NE(log->take_group(), nullptr) << "nothing is on its way: any size will do";
}

TEST_F(LogTest, FindsEverythingAgainAfterManySegments) {
    std::vector<std::string> expected;
    {
        auto log = open();
        const auto orders = log->open_queue("orders", 0);
        const auto stock = log->open_queue("stock", 1);
        ASSERT_TRUE(log->put_state("topic/orders", "8"));
        fill(*log, orders, 60);
        append(*log, stock, "lonely");
        settle(*log);
        EXPECT_EQ(read_all(*log, orders).size(), 60U);
    }
    disk.crash();
    auto log = open();
    EXPECT_GT(log->recovery().segments, 3U);
    EXPECT_EQ(log->recovery().rebuilt_indexes, 0U);
    EXPECT_TRUE(log->damages().empty());
    const auto records = read_all(*log, log->find_queue("orders", 0).value());
    ASSERT_EQ(records.size(), 60U);
    for (std::size_t i = 0; i < records.size(); ++i) {
        EXPECT_EQ(records[i].offset, i);
        EXPECT_TRUE(records[i].text.starts_with(std::to_string(i) + "."));
    }
    EXPECT_EQ(read_all(*log, log->find_queue("stock", 1).value())[0].text, "lonely");
    EXPECT_EQ(log->state("topic/orders"), "8");
    EXPECT_FALSE(log->find_queue("stock", 2));
}

TEST_F(LogTest, ReadsWhatIsCachedNoMore) {
    options.cached_past_bytes = 0;
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    fill(*log, queue, 200);
    const auto records = read_all(*log, queue);
    ASSERT_EQ(records.size(), 200U);
    for (std::size_t i = 0; i < records.size(); ++i) EXPECT_TRUE(records[i].text.starts_with(std::to_string(i) + ".")) << i;
}

TEST_F(LogTest, RebuildsAMissingOrDamagedIndex) {
    {
        auto log = open();
        fill(*log, log->open_queue("orders", 0), 60);
    }
    disk.kill();
    ASSERT_TRUE(disk.directory().remove("00000000000000000000.index"));
    disk.damage("00000000000000008192.index", 40);  // header: seen when opening
    const auto last_entries = disk.size_of("00000000000000024576.index") - 5;
    disk.damage("00000000000000024576.index", last_entries);  // entry: seen when reading
    auto log = open();
    EXPECT_EQ(log->recovery().rebuilt_indexes, 2U);
    EXPECT_EQ(read_all(*log, log->find_queue("orders", 0).value()).size(), 60U);
    EXPECT_EQ(log->recovery().rebuilt_indexes, 3U);
    EXPECT_TRUE(log->damages().empty());
    settle(*log);
    log.reset();
    log = open();
    EXPECT_EQ(log->recovery().rebuilt_indexes, 0U);
}

TEST_F(LogTest, KeepsStateThroughSegmentsAndErasure) {
    {
        auto log = open();
        ASSERT_TRUE(log->put_state("offset/g1", "5"));
        ASSERT_TRUE(log->put_state("offset/g2", "6"));
        fill(*log, log->open_queue("orders", 0), 30);
        ASSERT_TRUE(log->erase_state("offset/g2"));
        ASSERT_TRUE(log->put_state("offset/g1", "7"));
        settle(*log);
    }
    disk.crash();
    auto log = open();
    EXPECT_EQ(log->state("offset/g1"), "7");
    EXPECT_EQ(log->state("offset/g2"), std::nullopt);
    int seen = 0;
    log->for_each_state("offset/", [&](std::string_view, std::string_view) { ++seen; });
    EXPECT_EQ(seen, 1);
}

TEST_F(LogTest, ReadsWithinLimitsAndByTag) {
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    for (int i = 0; i < 40; ++i) append(*log, queue, std::string(100, 'x'), i % 4);
    settle(*log);
    std::vector<std::byte> bytes;
    auto result = log->read(queue, 0, {.records_max = 7}, {}, bytes);
    EXPECT_EQ(result.records, 7U);
    EXPECT_EQ(result.next_offset, 7U);
    EXPECT_EQ(result.max_offset, 40U);

    bytes.clear();
    result = log->read(queue, 0, {.records_max = 32, .bytes_max = 400}, {}, bytes);
    EXPECT_EQ(result.records, 2U);
    EXPECT_EQ(result.next_offset, 2U);

    bytes.clear();
    result = log->read(queue, 0, {.records_max = 32, .bytes_max = 1}, {}, bytes);
    EXPECT_EQ(result.records, 1U);

    bytes.clear();
    result = log->read(queue, 0, {}, {.by_code = [](std::int64_t tags) { return tags == 3; }, .by_record = {}}, bytes);
    EXPECT_EQ(result.records, 10U);
    EXPECT_EQ(split(bytes)[1].offset, 7U);
    EXPECT_EQ(result.next_offset, 40U);

    bytes.clear();
    const ReadFilter none{.by_code = [](std::int64_t) { return false; }, .by_record = {}};
    result = log->read(queue, 5, {.scan_max = 10}, none, bytes);
    EXPECT_EQ(result.status, ReadStatus::no_match);
    EXPECT_EQ(result.next_offset, 15U);
    EXPECT_EQ(log->read(queue, 41, {}, {}, bytes).status, ReadStatus::beyond);
}

TEST_F(LogTest, FindsOffsetsByTime) {
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    for (int i = 0; i < 50; ++i) {
        clock.now_ms = 1'000'000 + 10 * (i / 2);  // pairs
        append(*log, queue, std::string(700, 'x'));
        settle(*log);
    }
    const auto at = [](std::int64_t ms) { return SystemTime{} + std::chrono::milliseconds{ms}; };
    EXPECT_EQ(log->offset_at(queue, at(1'000'100), TimeBoundary::lower), 20U);
    EXPECT_EQ(log->offset_at(queue, at(1'000'100), TimeBoundary::upper), 21U);
    EXPECT_EQ(log->offset_at(queue, at(1'000'101), TimeBoundary::lower), 22U);
    EXPECT_EQ(log->offset_at(queue, at(0), TimeBoundary::lower), 0U);
    EXPECT_EQ(log->offset_at(queue, at(9'000'000), TimeBoundary::lower), 50U);
    EXPECT_EQ(log->stored_at_ms(queue, 20).value(), 1'000'100U);
    EXPECT_EQ(log->stored_at_ms(queue, 50).error().code(), ErrorCode::not_found);
}

TEST_F(LogTest, RefusesASecondInstanceOnTheFolder) {
    auto log = open();
    const auto second = Log::open(disk.directory(), options, clock);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), ErrorCode::busy);
    EXPECT_THAT(second.error().text(), ::testing::HasSubstr("another broker is running in \"/simulated\""));
}

TEST_F(LogTest, RefusesWhatDoesNotFit) {
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    EXPECT_EQ(log->append(queue, 0, record_of(std::string(5000, 'x'))).error().code(), ErrorCode::too_large);
    EXPECT_EQ(log->append(queue, 0, std::vector<std::byte>(20)).error().code(), ErrorCode::invalid_argument);
    std::optional<Error> busy;
    for (int i = 0; i < 100 && !busy; ++i) {
        const auto appended = log->append(queue, 0, record_of(std::string(3900, 'x')));
        if (!appended) busy = appended.error();
    }
    ASSERT_TRUE(busy);
    EXPECT_EQ(busy->code(), ErrorCode::busy);
    EXPECT_EQ(busy->disposition(), Disposition::retry);
    EXPECT_TRUE(log->congested());
    settle(*log);
    EXPECT_TRUE(log->append(queue, 0, record_of("again")));
}

TEST_F(LogTest, AFailedSyncIsNeverAcknowledgedNorRepeated) {
    // Every sync call of a run fails once, in turn; whatever was called durable must be there after a power cut.
    for (std::uint64_t nth = 1; nth < 60; ++nth) {
        SeededRandom chance{nth};
        simulation::SimDisk one{chance};
        std::vector<std::string> acknowledged;
        {
            auto log = Log::open(one.directory(), options, clock).value();
            const auto queue = log->open_queue("orders", 0);
            one.fail_nth(DiskCall::sync, nth);
            for (int i = 0; i < 40; ++i) {
                const auto text = std::to_string(i) + std::string(600, '.');
                const auto appended = log->append(queue, 0, record_of(text));
                auto outcomes = settle(*log);
                if (appended && outcomes.empty()) {  // waits for a segment that is prepared again later
                    clock.now_ms += 1000;
                    outcomes = settle(*log);
                }
                if (!appended) {
                    clock.now_ms += 1000;
                    continue;
                }
                const auto fate = std::find_if(outcomes.begin(), outcomes.end(),
                                               [&](const Outcome& outcome) { return outcome.through >= appended->ticket; });
                ASSERT_NE(fate, outcomes.end());
                if (fate->durable) acknowledged.push_back(text);
            }
            EXPECT_GE(acknowledged.size(), 37U) << "the log must go on in a new segment";
            EXPECT_FALSE(log->refusing());
            EXPECT_TRUE(log->damages().empty());
        }
        one.heal();
        one.crash();
        auto log = Log::open(one.directory(), options, clock).value();
        const auto records = read_all(*log, log->find_queue("orders", 0).value());
        std::size_t at = 0;
        for (const auto& record : records) {
            if (at < acknowledged.size() && record.text == acknowledged[at]) ++at;
        }
        ASSERT_EQ(at, acknowledged.size()) << "sync call " << nth;
    }
}

TEST_F(LogTest, FencesAndGoesOnInANewSegment) {
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    fill(*log, queue, 2);
    const auto appended = append(*log, queue, "doubtful");
    auto* group = log->take_group();
    ASSERT_TRUE(Log::write(*group));
    disk.fail_nth(DiskCall::sync, 1);
    const auto synced = Log::sync(*group);
    ASSERT_FALSE(synced);
    const auto outcome = log->failed(group, synced.error());
    EXPECT_FALSE(outcome.durable);
    EXPECT_EQ(outcome.through, appended.ticket);
    EXPECT_EQ(outcome.error.code(), ErrorCode::fenced);
    const auto refused = log->append(queue, 0, record_of("no"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::fenced);
    EXPECT_EQ(refused.error().disposition(), Disposition::retry);
    EXPECT_EQ(read_all(*log, queue).size(), 2U);

    settle(*log);
    EXPECT_EQ(append(*log, queue, "next").queue_offset, 2U);
    settle(*log);
    log.reset();
    disk.crash();
    log = open();
    const auto records = read_all(*log, queue);
    ASSERT_EQ(records.size(), 3U);
    EXPECT_EQ(records[2].text, "next");
}

TEST_F(LogTest, AFullDiskRefusesAndHealsWhenSpaceReturns) {
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    disk.set_free_bytes(20'000);
    std::optional<Error> full;
    int taken = 0;
    for (int i = 0; i < 100 && !full; ++i) {
        const auto appended = log->append(queue, 0, record_of(std::string(900, 'x')));
        if (!appended) {
            full = appended.error();
            break;
        }
        for (const auto& outcome : settle(*log)) {
            if (!outcome.durable) full = outcome.error;
        }
        if (!full) ++taken;
        clock.now_ms += 1000;
    }
    ASSERT_TRUE(full);
    EXPECT_EQ(full->code(), ErrorCode::out_of_space);
    EXPECT_EQ(full->disposition(), Disposition::retry);
    EXPECT_EQ(read_all(*log, queue).size(), static_cast<std::size_t>(taken));
    EXPECT_EQ(log->append(queue, 0, record_of("no")).error().code(), ErrorCode::out_of_space);

    disk.set_free_bytes(1U << 20U);
    clock.now_ms += 1000;
    settle(*log);
    EXPECT_TRUE(log->append(queue, 0, record_of("again")));
    settle(*log);
    EXPECT_EQ(read_all(*log, queue).size(), static_cast<std::size_t>(taken) + 1);
}

TEST_F(LogTest, ADamagedRecordIsReportedAndTheOthersLiveOn) {
    std::uint64_t log_offset = 0;
    {
        auto log = open();
        const auto queue = log->open_queue("orders", 0);
        append(*log, queue, "first");
        settle(*log);
        log_offset = append(*log, queue, "victim").log_offset;
        settle(*log);
        fill(*log, queue, 40);
    }
    disk.kill();
    disk.damage("00000000000000000000.log", log_offset + log_record::bytes_min);
    for (const bool index_lost : {false, true}) {
        if (index_lost) {
            ASSERT_TRUE(disk.directory().remove("00000000000000000000.index"));
        }
        auto log = open();
        const auto records = read_all(*log, log->find_queue("orders", 0).value());
        ASSERT_EQ(records.size(), 41U);
        EXPECT_EQ(records[0].text, "first");
        EXPECT_EQ(records[1].offset, 2U);
        ASSERT_FALSE(log->damages().empty());
        EXPECT_THAT(log->damages().back().text, ::testing::HasSubstr("not served"));
        log.reset();
    }
}

TEST_F(LogTest, DamageInTheNewestSegmentIsNotMistakenForATornTail) {
    std::uint64_t log_offset = 0;
    {
        auto log = open();
        const auto queue = log->open_queue("orders", 0);
        append(*log, queue, "first");
        settle(*log);
        log_offset = append(*log, queue, "victim").log_offset;
        settle(*log);
        append(*log, queue, "third");
        settle(*log);
    }
    disk.kill();
    disk.damage("00000000000000000000.log", log_offset - sizeof(GroupHeader) + 20);
    auto log = open();
    const auto queue = log->find_queue("orders", 0).value();
    const auto records = read_all(*log, queue);
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[1].text, "third");
    EXPECT_EQ(records[1].offset, 2U);
    EXPECT_EQ(append(*log, queue, "fourth").queue_offset, 3U);
    EXPECT_FALSE(log->damages().empty());
}

TEST_F(LogTest, SaysWhenTheNewestStateIsDamaged) {
    {
        auto log = open();
        fill(*log, log->open_queue("orders", 0), 3);
    }
    disk.kill();
    disk.damage("00000000000000000000.log", 70);
    const auto log = Log::open(disk.directory(), options, clock);
    ASSERT_FALSE(log);
    EXPECT_EQ(log.error().code(), ErrorCode::corrupt);
    EXPECT_THAT(log.error().text(), ::testing::HasSubstr("restore the folder from a copy"));
}

TEST_F(LogTest, ATruncatedOrMissingSegmentLosesOnlyItself) {
    {
        auto log = open();
        fill(*log, log->open_queue("orders", 0), 60);
    }
    disk.kill();
    disk.cut("00000000000000008192.log", 3000);
    ASSERT_TRUE(disk.directory().remove("00000000000000024576.log"));
    auto log = open();
    const auto queue = log->find_queue("orders", 0).value();
    EXPECT_EQ(log->damages().size(), 1U);
    const auto records = read_all(*log, queue);
    EXPECT_GT(records.size(), 20U);
    EXPECT_LT(records.size(), 50U);
    EXPECT_EQ(records.back().offset, 59U);
    EXPECT_GT(log->damages().size(), 1U);
}

TEST_F(LogTest, DropsOldSegmentsAndForgetsTheirFiles) {
    auto log = open();
    const auto queue = log->open_queue("orders", 0);
    for (int i = 0; i < 60; ++i) {
        append(*log, queue, std::string(900, 'x'));
        settle(*log);
        clock.now_ms += 1000;
    }
    const auto files = disk.names().size();
    const auto before = log->bytes_on_disk();
    EXPECT_EQ(log->drop_segments(0, SystemTime{}), 0U);
    EXPECT_EQ(log->drop_segments(before - 20'000, std::nullopt), 2U);
    EXPECT_GT(log->min_offset(queue), 0U);
    const auto kept_from = log->min_offset(queue);
    settle(*log);
    EXPECT_EQ(disk.names().size(), files - 4);
    std::vector<std::byte> bytes;
    EXPECT_EQ(log->read(queue, 0, {}, {}, bytes).status, ReadStatus::below);
    log.reset();
    disk.crash();
    log = open();
    EXPECT_EQ(log->min_offset(queue), kept_from);
    EXPECT_EQ(read_all(*log, queue, kept_from).size(), 60U - kept_from);
    EXPECT_TRUE(log->damages().empty());
    EXPECT_GT(log->drop_segments(0, clock.system_now() + std::chrono::hours{1}), 0U);
    settle(*log);
    EXPECT_EQ(log->max_offset(queue), 60U);
}

TEST_F(LogTest, RefusesANewerFormat) {
    { auto log = open(); }
    disk.kill();
    disk.damage("00000000000000000000.log", offsetof(GroupHeader, version), 0x01);
    const auto log = Log::open(disk.directory(), options, clock);
    ASSERT_FALSE(log);
    EXPECT_EQ(log.error().code(), ErrorCode::wrong_version);
}

}  // namespace
}  // namespace hufu::broker
