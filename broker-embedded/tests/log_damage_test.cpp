// One flipped bit anywhere in a sealed segment or its indexes: found, said, never served; everything else lives on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include <hufu/broker/log.hpp>

#include "log/format.hpp"
#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker {
namespace {

using testing::record_of;
using testing::settle;
using testing::split;

constexpr const char* segment = "00000000000000000000.log";
constexpr const char* index = "00000000000000000000.index";

class LogDamageTest : public ::testing::Test {
protected:
    LogDamageTest() {
        options.segment_bytes = 16U << 10U;
        options.first_segment_bytes = 8U << 10U;
        options.record_bytes_max = 4U << 10U;
        options.pending_bytes_max = 64U << 10U;
    }

    /// Two queues by turns, two records of each in a group, over several segments.
    void fill() {
        auto log = Log::open(disk.directory(), options, clock).value();
        for (int group = 0; group < 16; ++group) {
            for (const char* topic : {"orders", "payments", "orders", "payments"}) {
                const auto queue = log->open_queue(topic, 0);
                const std::string text = std::string{topic} + std::to_string(group) + std::string(300, '.');
                const auto appended = log->append(queue, 7, record_of(text)).value();
                stored[topic][appended.queue_offset] = {appended.log_offset, text};
            }
            settle(*log);
        }
    }

    struct Stored {
        std::uint64_t log_offset = 0;
        std::string text;
    };

    /// Opens the log and reads both queues. Every record served is one that was stored, at its place; what is missing was
    /// reported, and is at most what shares the damaged group. Returns how many are missing.
    std::size_t read_and_check(const std::string& what) {
        auto log = Log::open(disk.directory(), options, clock).value();
        std::size_t missing = 0;
        for (const auto& [topic, records] : stored) {
            const auto queue = log->find_queue(topic, 0).value();
            std::size_t served = 0;
            for (const auto& record : testing::read_all(*log, queue)) {
                const auto known = records.find(record.offset);
                EXPECT_TRUE(known != records.end()) << what;
                if (known == records.end()) continue;
                EXPECT_EQ(record.text, known->second.text) << what;
                EXPECT_EQ(record.log_offset, known->second.log_offset) << what;
                ++served;
            }
            missing += records.size() - served;
        }
        EXPECT_LE(missing, 4U) << what;
        if (missing > 0) {
            EXPECT_FALSE(log->damages().empty()) << what;
        }
        return missing;
    }

    SeededRandom random{1};
    simulation::SimDisk disk{random};
    testing::StoppedClock clock;
    LogOptions options;
    std::map<std::string, std::map<std::uint64_t, Stored>> stored;
};

TEST_F(LogDamageTest, AnyBitOfASealedSegmentIsFoundAndCostsItsGroupAtMost) {
    fill();
    disk.kill();
    const std::uint64_t end =
        stored.at("payments").at(3).log_offset + 600;  // three groups: headers, records, tables, padding
    std::size_t hits = 0;
    for (std::uint64_t at = 0; at < end; at += 41) {
        const std::string what = "bit in byte " + std::to_string(at);
        const auto mask = static_cast<std::uint8_t>(1U << (at % 8));
        disk.damage(segment, at, mask);
        hits += read_and_check(what) > 0 ? 1 : 0;
        disk.damage(segment, at, mask);  // as it was
    }
    EXPECT_GT(hits, 20U);  // the sweep went through records
    EXPECT_EQ(read_and_check("mended"), 0U);
}

TEST_F(LogDamageTest, WithoutItsIndexToo) {
    fill();
    disk.kill();
    const std::uint64_t end = stored.at("payments").at(3).log_offset + 600;
    for (std::uint64_t at = sector_bytes; at < end; at += 127) {
        const auto mask = static_cast<std::uint8_t>(1U << (at % 8));
        static_cast<void>(disk.directory().remove(index));  // rebuilt from the damaged segment
        disk.damage(segment, at, mask);
        read_and_check("bit in byte " + std::to_string(at) + ", index lost");
        disk.damage(segment, at, mask);
    }
}

TEST_F(LogDamageTest, AnyBitOfAnIndexCostsNothing) {
    fill();
    disk.kill();
    const auto size = disk.directory().open(index, OpenMode::read_only).value()->size().value();
    for (std::uint64_t at = 0; at < size; at += 17) {
        const auto mask = static_cast<std::uint8_t>(1U << (at % 8));
        disk.damage(index, at, mask);
        EXPECT_EQ(read_and_check("bit in byte " + std::to_string(at) + " of the index"), 0U);
        const auto now = disk.directory().open(index, OpenMode::read_only);
        if (now && (*now)->size().value() == size) disk.damage(index, at, mask);
    }
}

}  // namespace
}  // namespace hufu::broker
