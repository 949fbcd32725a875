// Links and marks: a message in a second queue without a second copy, and small entries that are no message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/broker/log.hpp>

#include "log/format.hpp"
#include "log/links.hpp"
#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::read_all;
using testing::record_of;
using testing::settle;
using ::testing::SizeIs;
using testing::split;

constexpr std::uint32_t prepared = 4;

/// Records are found by the first letter of their text.
void keys_of(std::span<const std::byte> record, std::vector<std::uint64_t>& keys) {
    keys.push_back(std::to_integer<std::uint64_t>(record[log_record::bytes_min]) * 0x9E3779B97F4A7C15ULL);
}
std::uint64_t key_of(char letter) { return static_cast<std::uint64_t>(letter) * 0x9E3779B97F4A7C15ULL; }

class LogLinksTest : public ::testing::Test {
protected:
    LogLinksTest() {
        options.segment_bytes = 16U << 10U;
        options.first_segment_bytes = 8U << 10U;
        options.record_bytes_max = 4U << 10U;
        options.pending_bytes_max = 64U << 10U;
        options.keys_of = keys_of;
        open();
    }

    void open() {
        log.reset();
        log = Log::open(disk.directory(), options, clock).value();
        halves = log->open_queue("halves", 0);
        orders = log->open_queue("orders", 0);
        marks = log->open_queue("marks", 0);
    }
    void reopen() {
        log.reset();
        disk.kill();
        open();
    }
    LinkTarget half(std::string_view text) {
        auto record = record_of(text);
        log_record::store_u32(record.data() + log_record::sys_flag_at, prepared);
        std::vector<std::uint64_t> keys;
        keys_of(record, keys);
        const auto appended = log->append(halves, 3, record, keys).value();
        return {halves, appended.queue_offset, appended.log_offset};
    }
    void plain(std::string_view text) { log->append(orders, 1, record_of(text)).value(); }
    Appended link(const LinkTarget& target, std::span<const std::uint64_t> keys = {}) {
        return log->append_link(orders, 2, target, keys).value();
    }
    std::vector<std::string> texts(std::uint64_t from = 0) {
        std::vector<std::string> result;
        for (const auto& record : read_all(*log, orders, from)) result.push_back(record.text);
        return result;
    }
    std::size_t sealed() const {
        const auto names = disk.names();
        return static_cast<std::size_t>(
            std::count_if(names.begin(), names.end(), [](const std::string& name) { return name.ends_with(".index"); }));
    }
    /// Goes on until the active segment is a new one.
    void roll() {
        const auto before = sealed();
        while (sealed() == before) {
            log->append(log->open_queue("filler", 0), 0, record_of(std::string(2000, '.'))).value();
            settle(*log);
        }
    }

    SeededRandom random{1};
    simulation::SimDisk disk{random};
    testing::StoppedClock clock;
    LogOptions options;
    std::unique_ptr<Log> log;
    QueueHandle halves;
    QueueHandle orders;
    QueueHandle marks;
};

TEST_F(LogLinksTest, ReadersGetTheTargetAsCommittedAtTheLinksPlace) {
    plain("before");
    const auto target = half("the half");
    settle(*log);
    clock.now_ms += 5'000;
    EXPECT_THAT(texts(), ElementsAre("before"));
    const auto linked = link(target);
    EXPECT_EQ(linked.queue_offset, 1U);
    EXPECT_EQ(linked.stored_at_ms, 1'005'000U);
    EXPECT_THAT(texts(), ElementsAre("before")) << "not durable yet";
    settle(*log);
    plain("after");
    settle(*log);
    for (int life = 0; life < 2; ++life) {
        EXPECT_THAT(texts(), ElementsAre("before", "the half", "after"));
        std::vector<std::byte> bytes;
        const auto result = log->read(orders, 1, {.records_max = 1}, {}, bytes);
        EXPECT_EQ(result.records, 1U);
        EXPECT_EQ(result.next_offset, 2U);
        const auto record = split(bytes).at(0);
        EXPECT_EQ(record.offset, 1U);
        EXPECT_EQ(record.log_offset, target.log_offset);
        EXPECT_EQ(record.stored_at_ms, 1'005'000U);
        EXPECT_EQ(log_record::load_u32(bytes.data() + log_record::sys_flag_at), log_record::transaction_commit);
        EXPECT_EQ(log_record::load_u64(bytes.data() + log_record::prepared_offset_at(bytes)), target.log_offset);
        EXPECT_EQ(log->stored_at_ms(orders, 1).value(), 1'005'000U);
        const SystemTime committed{std::chrono::milliseconds{1'005'000}};
        EXPECT_EQ(log->offset_at(orders, committed, TimeBoundary::lower), 1U);
        // The half itself stays as it was.
        bytes.clear();
        EXPECT_EQ(log->read_at(target.log_offset, bytes).value(), halves);
        EXPECT_EQ(split(bytes).at(0).stored_at_ms, 1'000'000U);
        EXPECT_EQ(log_record::load_u32(bytes.data() + log_record::sys_flag_at), prepared);
        // The link's own place leads to the message in the link's queue.
        bytes.clear();
        EXPECT_EQ(log->read_at(linked.log_offset, bytes).value(), orders);
        EXPECT_EQ(split(bytes).at(0).offset, 1U);
        EXPECT_EQ(split(bytes).at(0).text, "the half");
        reopen();
    }
}

TEST_F(LogLinksTest, ATargetMayBePendingInTheSameGroup) {
    ASSERT_TRUE(log->reserve(record_of("x").size() + Log::link_bytes(0) + Log::mark_bytes(3, 1), 3));
    const auto target = half("x");
    link(target);
    const std::uint64_t key = key_of('m');
    log->append_mark(marks, 77, bytes_of("yes"), {&key, 1}).value();
    auto* group = log->take_group();
    ASSERT_NE(group, nullptr);
    ASSERT_TRUE(Log::write(*group));
    ASSERT_TRUE(Log::sync(*group));
    log->completed(group);
    EXPECT_FALSE(log->busy()) << "all of it was one group";
    EXPECT_THAT(texts(), ElementsAre("x"));
}

TEST_F(LogLinksTest, RefusesATargetThatIsNoMessageOrNotTheOneMeant) {
    const auto target = half("x");
    const auto linked = link(target);
    const auto mark = log->append_mark(marks, 0, {}, {}).value();
    settle(*log);
    const auto refused = [&](const LinkTarget& wrong) {
        const auto result = log->append_link(orders, 0, wrong);
        return !result && result.error().code() == ErrorCode::not_found &&
               result.error().disposition() == Disposition::reject;
    };
    EXPECT_TRUE(refused({halves, 0, target.log_offset + 1}));
    EXPECT_TRUE(refused({halves, 1, target.log_offset}));
    EXPECT_TRUE(refused({halves, ~0ULL, target.log_offset}));
    EXPECT_TRUE(refused({orders, linked.queue_offset, linked.log_offset})) << "a link to a link";
    EXPECT_TRUE(refused({marks, mark.queue_offset, mark.log_offset}));
    EXPECT_THAT(texts(), ElementsAre("x"));
}

TEST_F(LogLinksTest, ATargetThatWasRefusedCannotBeLinkedEvenWhenItsOffsetIsGivenAgain) {
    half("kept");
    settle(*log);
    const auto lost = half("lost");
    auto* group = log->take_group();
    log->failed(group, Error{ErrorCode::io, Disposition::retry, "the disk said no"});
    for (int i = 0; i < 10; ++i) settle(*log);
    const auto other = half("other");
    ASSERT_EQ(other.queue_offset, lost.queue_offset);
    EXPECT_EQ(log->append_link(orders, 0, lost).error().code(), ErrorCode::not_found);
    link(other);
    settle(*log);
    EXPECT_THAT(texts(), ElementsAre("other"));
}

TEST_F(LogLinksTest, FiltersSeeTheTagOfTheLinkAndThePatchedRecord) {
    plain("plain");
    link(half("a"));
    link(half("b"));
    settle(*log);
    std::vector<std::byte> bytes;
    ReadFilter filter;
    filter.by_code = [](std::int64_t code) { return code == 2; };
    filter.by_record = [](std::span<const std::byte> record) {
        return log_record::load_u32(record.data() + log_record::sys_flag_at) == log_record::transaction_commit &&
               log_record::load_u64(record.data() + log_record::queue_offset_at) == 2;
    };
    const auto result = log->read(orders, 0, {}, filter, bytes);
    EXPECT_EQ(result.next_offset, 3U);
    ASSERT_THAT(split(bytes), SizeIs(1));
    EXPECT_EQ(split(bytes)[0].text, "b");
}

TEST_F(LogLinksTest, KeepsToTheLimitsOfARead) {
    for (int i = 0; i < 3; ++i) link(half(std::string(1000, 'h')));
    settle(*log);
    std::vector<std::byte> bytes;
    EXPECT_EQ(log->read(orders, 0, {.bytes_max = 2'300}, {}, bytes).records, 2U);
    bytes.clear();
    EXPECT_EQ(log->read(orders, 0, {.bytes_max = 10}, {}, bytes).records, 1U) << "one at least, however large";
    bytes.clear();
    EXPECT_EQ(log->read(orders, 0, {.records_max = 2}, {}, bytes).next_offset, 2U);
}

TEST_F(LogLinksTest, MarksAreToldByTheIndexAndFoundByTheirKeys) {
    std::vector<Appended> stored;
    for (int i = 0; i < 5; ++i) {
        const std::uint64_t keys[] = {key_of('m'), key_of(static_cast<char>('0' + i))};
        stored.push_back(log->append_mark(marks, i * 10, bytes_of("verdict " + std::to_string(i)), keys).value());
        clock.now_ms += 1000;
    }
    settle(*log);
    roll();
    for (int life = 0; life < 3; ++life) {
        std::vector<std::int64_t> codes;
        log->for_each_entry(marks, 0, [&](const QueueEntry& entry) {
            EXPECT_EQ(entry.kind, EntryKind::mark);
            codes.push_back(entry.tags_code);
            return true;
        });
        EXPECT_THAT(codes, ElementsAre(0, 10, 20, 30, 40));
        const auto hits = log->find_key({.key = key_of('3')});
        EXPECT_THAT(hits.log_offsets, ElementsAre(stored[3].log_offset));
        EXPECT_THAT(log->find_key({.key = key_of('m')}).log_offsets, SizeIs(5));
        const auto mark = log->read_mark(hits.log_offsets.at(0)).value();
        EXPECT_EQ(mark.queue, marks);
        EXPECT_EQ(mark.queue_offset, 3U);
        EXPECT_EQ(mark.stored_at_ms, 1'003'000U);
        EXPECT_EQ(text_of(mark.payload), "verdict 3");
        EXPECT_EQ(log->stored_at_ms(marks, 3).value(), 1'003'000U);
        EXPECT_EQ(log->read_mark(stored[3].log_offset + 1).error().code(), ErrorCode::not_found);
        std::vector<std::byte> bytes;
        EXPECT_EQ(log->read_at(stored[3].log_offset, bytes).error().code(), ErrorCode::not_found);
        EXPECT_EQ(log->read(marks, 0, {}, {}, bytes).next_offset, 5U);
        EXPECT_THAT(bytes, IsEmpty());
        log.reset();
        disk.kill();
        if (life == 1) {  // both are derived
            ASSERT_TRUE(disk.directory().remove(index_name(0)));
            ASSERT_TRUE(disk.directory().remove(keys_name(0)));
        }
        open();
        settle(*log);
    }
}

TEST_F(LogLinksTest, RefusesWhatIsTooLargeForAMark) {
    const std::string payload(Log::mark_payload_max + 1, 'x');
    const auto refused = log->append_mark(marks, 0, bytes_of(payload));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::invalid_argument);
    const std::vector<std::uint64_t> keys(Log::link_keys_max + 1);
    EXPECT_EQ(log->append_mark(marks, 0, {}, keys).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(log->append_link(orders, 0, half("x"), keys).error().code(), ErrorCode::invalid_argument);
}

TEST_F(LogLinksTest, LinksSurviveSealingRestartAndTheLossOfTheIndexes) {
    const auto target = half("far");
    settle(*log);
    roll();
    const std::uint64_t key = key_of('k');
    const auto linked = link(target, {&key, 1});
    plain("near");
    settle(*log);
    roll();
    roll();
    for (int life = 0; life < 4; ++life) {
        EXPECT_THAT(texts(), ElementsAre("far", "near")) << life;
        EXPECT_THAT(log->find_key({.key = key}).log_offsets, ElementsAre(linked.log_offset)) << life;
        log->for_each_entry(orders, 0, [&](const QueueEntry& entry) {
            if (entry.queue_offset != 0) return true;
            EXPECT_EQ(entry.kind, EntryKind::link);
            EXPECT_EQ(entry.log_offset, linked.log_offset);
            EXPECT_EQ(entry.size, record_of("far").size());
            EXPECT_EQ(entry.tags_code, 2);
            return true;
        });
        log.reset();
        disk.kill();
        for (const auto& name : disk.names()) {
            const bool derived = name.ends_with(".index") || name.ends_with(".keys");
            EXPECT_TRUE(life != 2 || !derived || disk.directory().remove(name));
        }
        open();
        settle(*log);
    }
    EXPECT_TRUE(log->damages().empty());
}

TEST_F(LogLinksTest, SaysWhenATargetIsTooFarBack) {
    options.link_segments_max = 2;
    open();
    const auto target = half("x");
    settle(*log);
    for (int back = 0; back <= 2; ++back) {
        EXPECT_TRUE(log->link_reaches(target.log_offset)) << back;
        link(target);
        settle(*log);
        roll();
    }
    EXPECT_FALSE(log->link_reaches(target.log_offset));
    const auto refused = log->append_link(orders, 0, target);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::invalid_argument);
    EXPECT_NE(refused.error().text().find("copy it"), std::string::npos);
    EXPECT_THAT(texts(), ElementsAre("x", "x", "x"));
}

// Retention.

TEST_F(LogLinksTest, RetentionKeepsWhatLiveLinksLeadToAndNoMore) {
    plain("old");
    roll();
    const auto target = half("wanted");
    settle(*log);
    const auto behind_target = sealed();
    roll();
    roll();
    clock.now_ms += 100'000;
    const auto now = clock.system_now();
    link(target);
    settle(*log);
    roll();
    const auto start = log->start_offset();
    const auto end = log->end_of_expired(0, now);
    EXPECT_GT(end, start);
    EXPECT_LE(end, target.log_offset);
    EXPECT_EQ(log->drop_before(end), behind_target);
    settle(*log);
    for (int life = 0; life < 2; ++life) {
        EXPECT_THAT(texts(log->min_offset(orders)), ElementsAre("wanted"));
        EXPECT_EQ(log->end_of_expired(0, now), log->start_offset()) << "the link still holds it";
        reopen();
    }
    // Once the link has expired itself, its target goes, and nothing is reported as damage.
    clock.now_ms += 100'000;
    roll();
    clock.now_ms += 1;
    EXPECT_GT(log->drop_segments(0, clock.system_now()), 2U);
    settle(*log);
    EXPECT_THAT(texts(log->min_offset(orders)), IsEmpty());
    EXPECT_TRUE(log->damages().empty());
}

TEST_F(LogLinksTest, AChainOfLinksDoesNotHoldTheLogForEver) {
    // Every segment links into the one before it.
    for (int i = 0; i < 10; ++i) {
        const auto target = half(std::to_string(i));
        roll();
        link(target);
        clock.now_ms += 1'000;
        settle(*log);
    }
    roll();
    const auto segments = sealed();
    EXPECT_GE(log->drop_segments(log->bytes_on_disk() / 4, std::nullopt), segments / 2);
    settle(*log);
    // What is left reads in order; the first of them may have lost its target with its segment, and is passed over.
    const auto left = texts(log->min_offset(orders));
    ASSERT_FALSE(left.empty());
    EXPECT_EQ(left.back(), "9");
    EXPECT_GE(left.size() + 1, log->max_offset(orders) - log->min_offset(orders));
    EXPECT_TRUE(log->damages().empty());
}

TEST_F(LogLinksTest, WithoutLinksRetentionIsWhatItWas) {
    for (int i = 0; i < 6; ++i) {
        half(std::to_string(i));
        roll();
    }
    clock.now_ms += 1'000;
    EXPECT_EQ(log->drop_segments(0, clock.system_now()), sealed());
}

}  // namespace
}  // namespace hufu::broker
