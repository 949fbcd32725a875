// One flipped bit in a half, a link or a mark: found, said, never served. And a store of format 1 goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include <hufu/broker/log.hpp>

#include "log/crc32c.hpp"
#include "log/format.hpp"
#include "log/keys.hpp"
#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::read_all;
using testing::record_of;
using testing::settle;

class LogLinksDamageTest : public ::testing::Test {
protected:
    LogLinksDamageTest() {
        options.segment_bytes = 16U << 10U;
        options.first_segment_bytes = 8U << 10U;
        options.record_bytes_max = 4U << 10U;
        options.pending_bytes_max = 64U << 10U;
    }

    std::unique_ptr<Log> open() { return Log::open(disk.directory(), options, clock).value(); }

    /// Eight groups of half, link and mark; then enough to seal them.
    void fill() {
        auto log = open();
        for (int i = 0; i < 8; ++i) {
            const auto text = std::to_string(i) + std::string(150, '.');
            const auto half = log->append(log->open_queue("halves", 0), 0, record_of(text)).value();
            const auto link = log->append_link(log->open_queue("orders", 0), 0,
                                               {log->open_queue("halves", 0), half.queue_offset, half.log_offset});
            texts[link.value().queue_offset] = text;
            log->append_mark(log->open_queue("marks", 0), i, bytes_of("mark " + std::to_string(i))).value();
            settle(*log);
            end = log->durable_offset();
        }
        for (int i = 0; i < 12; ++i) {
            log->append(log->open_queue("filler", 0), 0, record_of(std::string(2000, '.'))).value();
            settle(*log);
        }
    }

    /// How many links and marks are not served. Those that are, are right; what is missing was reported.
    std::size_t read_and_check(const std::string& what) {
        auto log = open();
        std::size_t served = 0;
        if (const auto orders = log->find_queue("orders", 0)) {
            for (const auto& record : read_all(*log, *orders)) {
                const auto known = texts.find(record.offset);
                EXPECT_TRUE(known != texts.end() && known->second == record.text) << what;
                ++served;
            }
        }
        if (const auto marks = log->find_queue("marks", 0)) {
            log->for_each_entry(*marks, 0, [&](const QueueEntry& entry) {
                const auto mark = log->read_mark(entry.log_offset);
                if (!mark) return true;
                EXPECT_EQ(text_of(mark->payload), "mark " + std::to_string(entry.tags_code)) << what;
                EXPECT_EQ(mark->queue_offset, entry.queue_offset) << what;
                ++served;
                return true;
            });
        }
        const auto missing = 2 * texts.size() - served;
        EXPECT_LE(missing, 2U) << what;
        EXPECT_TRUE(missing == 0 || !log->damages().empty()) << what;
        return missing;
    }

    void sweep(bool without_index, std::uint64_t step) {
        fill();
        disk.kill();
        std::size_t hits = 0;
        for (std::uint64_t at = sector_bytes; at < end; at += step) {
            const auto mask = static_cast<std::uint8_t>(1U << (at % 8));
            if (without_index) static_cast<void>(disk.directory().remove(index_name(0)));
            disk.damage(segment_name(0), at, mask);
            hits += read_and_check("bit in byte " + std::to_string(at)) > 0 ? 1U : 0U;
            disk.damage(segment_name(0), at, mask);  // as it was
        }
        EXPECT_GT(hits, 10U);  // the sweep went through halves and links
        if (without_index) static_cast<void>(disk.directory().remove(index_name(0)));
        EXPECT_EQ(read_and_check("mended"), 0U);
    }

    /// Makes a store without links what version 1 wrote: other numbers, and an index header without its last field.
    void make_version_1() {
        for (const auto& name : disk.names()) {
            auto file = disk.directory().open(name, OpenMode::read_write).value();
            std::vector<std::byte> bytes(file->size().value());
            ASSERT_EQ(file->read_at(0, bytes).value(), bytes.size());
            if (name.ends_with(".log")) {
                downgrade_segment(bytes);
            } else if (name.ends_with(".index")) {
                downgrade_index(bytes);
            } else {
                continue;
            }
            ASSERT_TRUE(disk.directory().remove(name));
            const std::span<const std::byte> part{bytes};
            auto fresh = disk.directory().open(name, OpenMode::create_new).value();
            ASSERT_TRUE(fresh->write_at(0, {&part, 1}));
            ASSERT_TRUE(fresh->sync_data());
        }
        ASSERT_TRUE(disk.directory().sync());
    }
    static void downgrade_segment(std::vector<std::byte>& bytes) {
        for (std::uint64_t at = 0; at + sizeof(GroupHeader) < bytes.size();) {
            GroupHeader header;
            std::memcpy(&header, bytes.data() + at, sizeof header);
            if (header.magic != group_magic) break;
            std::vector<TableEntry> table(header.records);
            std::memcpy(table.data(), bytes.data() + at + sizeof header + header.record_bytes,
                        table.size() * sizeof(TableEntry));
            header.version = 1;
            header.crc = group_crc(header, table);
            std::memcpy(bytes.data() + at, &header, sizeof header);
            at += group_bytes(header.record_bytes, header.records);
        }
    }
    static void downgrade_index(std::vector<std::byte>& bytes) {
        IndexHeader header;
        std::memcpy(&header, bytes.data(), sizeof header);
        header.version = 1;
        std::vector<IndexRun> runs(header.runs);
        std::memcpy(runs.data(), bytes.data() + sizeof header, runs.size() * sizeof(IndexRun));
        for (auto& run : runs) run.position -= sizeof header - index_header_bytes_1;
        const auto head = std::as_bytes(std::span{&header, 1}).first(index_header_bytes_1);
        header.crc = crc32c(crc32c(0, head.subspan(offsetof(IndexHeader, version))), std::as_bytes(std::span{runs}));
        bytes.erase(bytes.begin(), bytes.begin() + (sizeof header - index_header_bytes_1));
        std::memcpy(bytes.data(), &header, index_header_bytes_1);
        std::memcpy(bytes.data() + index_header_bytes_1, runs.data(), runs.size() * sizeof(IndexRun));
    }

    SeededRandom random{1};
    simulation::SimDisk disk{random};
    testing::StoppedClock clock;
    LogOptions options;
    std::map<std::uint64_t, std::string> texts;
    std::uint64_t end = 0;
};

TEST_F(LogLinksDamageTest, AnyBitCostsItsGroupAtMost) { sweep(false, 13); }
TEST_F(LogLinksDamageTest, WithoutTheIndexToo) { sweep(true, 29); }

TEST_F(LogLinksDamageTest, ADamagedTargetIsSaidOnceAndNotServedByAnyWay) {
    auto log = open();
    const auto halves = log->open_queue("halves", 0);
    const auto orders = log->open_queue("orders", 0);
    const auto half = log->append(halves, 0, record_of("the half")).value();
    const auto link = log->append_link(orders, 0, {halves, half.queue_offset, half.log_offset}).value();
    log->append(orders, 0, record_of("after")).value();
    settle(*log);
    disk.damage(segment_name(0), half.log_offset + log_record::bytes_min);
    std::vector<std::byte> bytes;
    const auto result = log->read(orders, 0, {}, {}, bytes);
    EXPECT_EQ(result.damaged, 1U);
    EXPECT_EQ(result.records, 1U);
    EXPECT_EQ(testing::split(bytes).at(0).text, "after");
    EXPECT_EQ(log->read_at(link.log_offset, bytes).error().code(), ErrorCode::corrupt);
    EXPECT_EQ(log->read_at(half.log_offset, bytes).error().code(), ErrorCode::corrupt);
    EXPECT_EQ(log->stored_at_ms(orders, link.queue_offset).value(), link.stored_at_ms) << "the link tells it";
    ASSERT_EQ(log->damages().size(), 1U);
    EXPECT_EQ(log->damages()[0].log_offset, half.log_offset);
}

TEST_F(LogLinksDamageTest, AStoreOfFormat1IsReadAndGoesOnInANewSegment) {
    std::vector<std::string> expected;
    {
        auto log = open();
        const auto orders = log->open_queue("orders", 0);
        for (int i = 0; i < 30; ++i) {
            expected.push_back(std::to_string(i) + std::string(900, '.'));
            log->append(orders, 0, record_of(expected.back())).value();
            log->put_state("at", std::to_string(i)).value();
            settle(*log);
        }
    }
    disk.kill();
    make_version_1();
    const auto segments = disk.names();
    for (int life = 0; life < 3; ++life) {
        auto log = open();
        const auto orders = log->find_queue("orders", 0).value();
        EXPECT_THAT(log->damages(), IsEmpty());
        EXPECT_EQ(log->recovery().rebuilt_indexes, 0U);
        EXPECT_EQ(log->state("at"), "29");
        std::vector<std::string> found;
        for (auto& record : read_all(*log, orders)) found.push_back(std::move(record.text));
        EXPECT_EQ(found, expected);
        // The segment that was written last is linked to, and not written to.
        const auto halves = log->open_queue("halves", 0);
        const auto half = log->append(halves, 0, record_of("half")).value();
        log->append_link(orders, 0, {halves, half.queue_offset, half.log_offset}).value();
        expected.emplace_back("half");
        settle(*log);
        log.reset();
        disk.crash();
    }
    // How the newest segment begins tells an older program that this is not for it.
    std::vector<std::string> names;
    for (const auto& name : disk.names()) {
        if (!name.ends_with(".log")) continue;
        GroupHeader header;
        const auto file = disk.directory().open(name, OpenMode::read_only).value();
        ASSERT_TRUE(file->read_at(0, std::as_writable_bytes(std::span{&header, 1})));
        if (header.magic == group_magic && header.version == format_version) names.push_back(name);
    }
    EXPECT_EQ(names.size(), 1U);
}

}  // namespace
}  // namespace hufu::broker
