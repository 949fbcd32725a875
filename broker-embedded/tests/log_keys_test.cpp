// Finding records by key and by their place in the log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "log/format.hpp"
#include "log/keys.hpp"
#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::record_of;
using testing::settle;
using testing::split;

/// A record "key:rest" is found by its key.
std::uint64_t key_of(std::string_view key) {
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    for (const char letter : key) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3ULL;
    return hash * 0x9E3779B97F4A7C15ULL;
}

void keys_of(std::span<const std::byte> record, std::vector<std::uint64_t>& keys) {
    const std::string_view text = text_of(record.subspan(log_record::bytes_min));
    keys.push_back(key_of(text.substr(0, text.find(':'))));
}

class LogKeysTest : public ::testing::Test {
protected:
    LogKeysTest() {
        options.segment_bytes = 256U << 10U;
        options.first_segment_bytes = 256U << 10U;
        options.record_bytes_max = 16U << 10U;
        options.pending_bytes_max = 1U << 20U;
        options.keys_of = keys_of;
    }

    void open() { log = Log::open(disk.directory(), options, clock).value(); }
    void reopen() {
        log.reset();
        disk.kill();
        open();
    }
    Appended append(std::string_view text, std::string_view topic = "orders") {
        const auto record = record_of(text);
        std::vector<std::uint64_t> keys;
        keys_of(record, keys);
        return log->append(log->open_queue(topic, 0), 0, record, keys).value();
    }
    /// Makes `count` records "<i>:…" of about 1 KiB, one second apart, several in a group.
    void fill(int count) {
        for (int i = 0; i < count; ++i) {
            const auto appended = append(std::to_string(i) + ":" + std::string(900, '.'));
            log_offsets.push_back(appended.log_offset);
            clock.now_ms += 1000;
            if (i % 5 == 4) settle(*log);
        }
        settle(*log);
    }
    std::string text_at(std::uint64_t log_offset) {
        std::vector<std::byte> bytes;
        if (const auto queue = log->read_at(log_offset, bytes); !queue) return "(" + queue.error().text() + ")";
        const auto records = split(bytes);
        return records.size() == 1 && records[0].log_offset == log_offset ? records[0].text : "(garbage)";
    }
    std::vector<std::string> found(std::string_view key, std::uint64_t from_ms = 0, std::uint64_t to_ms = ~0ULL,
                                   std::size_t hits_max = 100) {
        std::vector<std::string> texts;
        for (const auto log_offset : log->find_key({key_of(key), from_ms, to_ms, hits_max}).log_offsets)
            texts.push_back(text_at(log_offset));
        return texts;
    }
    std::vector<std::string> key_files() const {
        auto names = disk.names();
        std::erase_if(names, [](const std::string& name) { return !name.ends_with(".keys"); });
        return names;
    }

    SeededRandom random{1};
    simulation::SimDisk disk{random};
    testing::StoppedClock clock;
    LogOptions options;
    std::unique_ptr<Log> log;
    std::vector<std::uint64_t> log_offsets;
};

TEST_F(LogKeysTest, FindsWhatIsDurableNewestFirst) {
    open();
    append("a:1");
    append("b:2");
    append("a:3");
    EXPECT_THAT(found("a"), IsEmpty());
    settle(*log);
    append("a:pending");
    EXPECT_THAT(found("a"), ElementsAre("a:3", "a:1"));
    EXPECT_THAT(found("a", 0, ~0ULL, 1), ElementsAre("a:3"));
    EXPECT_THAT(found("b"), ElementsAre("b:2"));
    EXPECT_THAT(found("c"), IsEmpty());
}

TEST_F(LogKeysTest, FindsEveryRecordOfManySegmentsBeforeAndAfterARestart) {
    open();
    fill(900);
    EXPECT_GE(key_files().size(), 3U);
    for (int life = 0; life < 2; ++life) {
        for (int i = 0; i < 900; ++i) {
            const auto hits = log->find_key({.key = key_of(std::to_string(i))});
            ASSERT_THAT(hits.log_offsets, ElementsAre(log_offsets[static_cast<std::size_t>(i)])) << i;
            ASSERT_EQ(hits.segments_missing, 0U);
            ASSERT_EQ(text_at(hits.log_offsets[0]).substr(0, 5), (std::to_string(i) + ":....").substr(0, 5));
        }
        reopen();
    }
}

TEST_F(LogKeysTest, KeepsToTheTimeRange) {
    open();
    for (int i = 0; i < 600; ++i) {
        append("hot:" + std::to_string(i) + std::string(900, '.'));
        clock.now_ms += 1000;
        settle(*log);
    }
    ASSERT_GE(key_files().size(), 2U);
    const auto hot = found("hot", 1'000'000 + 100'000, 1'000'000 + 102'000);
    ASSERT_EQ(hot.size(), 3U);
    EXPECT_EQ(hot[0].substr(0, 7), "hot:102");
    EXPECT_EQ(hot[2].substr(0, 7), "hot:100");
    EXPECT_THAT(found("hot", 0, 999'000), IsEmpty());
    EXPECT_THAT(found("hot", 9'000'000), IsEmpty());
    EXPECT_THAT(found("hot", 2'000'000, 1'000'000), IsEmpty());
    EXPECT_EQ(found("hot", 0, ~0ULL, 1000).size(), 600U);
}

TEST_F(LogKeysTest, GivesNothingWhereNoRecordBegins) {
    open();
    // A body that holds the image of a record at the very offset it claims, and one that holds the image of a group.
    const auto probe = append("a:probe");
    auto image = record_of("forged");
    const auto at = probe.log_offset + record_of("a:probe").size() + log_record::bytes_min + 2;
    log_record::store_u64(image.data() + log_record::log_offset_at, at);
    append("b:" + std::string{text_of(image)});
    settle(*log);
    EXPECT_EQ(text_at(probe.log_offset), "a:probe");
    const auto nothing = [](std::uint64_t offset) {
        return "(no message begins at offset " + std::to_string(offset) + " of the log)";
    };
    EXPECT_EQ(text_at(at), nothing(at));
    const auto end = log->durable_offset();
    for (const std::uint64_t offset : std::initializer_list<std::uint64_t>{0, 1, probe.log_offset + 1, end - 1, end, ~0ULL})
        EXPECT_EQ(text_at(offset), nothing(offset));
    std::size_t records = 0;
    for (std::uint64_t offset = 0; offset < end; ++offset) records += text_at(offset) == nothing(offset) ? 0U : 1U;
    EXPECT_EQ(records, 2U);
}

TEST_F(LogKeysTest, RebuildsWhatIsMissingOrDamaged) {
    open();
    fill(900);
    const auto files = key_files();
    ASSERT_GE(files.size(), 3U);
    log.reset();
    disk.kill();
    // One is missing, as in a store of an older version; one has a bad header; one a bad page.
    ASSERT_TRUE(disk.directory().remove(files[0]));
    disk.damage(files[1], 20);
    disk.damage(files[2], key_page_bytes + 100);
    open();
    std::size_t missing = 0;
    for (int i = 0; i < 900; ++i)
        missing = std::max(missing, log->find_key({.key = key_of(std::to_string(i))}).segments_missing);
    EXPECT_EQ(missing, 3U);
    EXPECT_EQ(log->damages().size(), 2U);
    settle(*log);
    for (int i = 0; i < 900; ++i) {
        const auto hits = log->find_key({.key = key_of(std::to_string(i))});
        ASSERT_EQ(hits.segments_missing, 0U);
        ASSERT_THAT(hits.log_offsets, ElementsAre(log_offsets[static_cast<std::size_t>(i)])) << i;
    }
    EXPECT_EQ(key_files(), files);
}

TEST_F(LogKeysTest, ADamagedRecordIsNotServedByItsPlace) {
    open();
    fill(900);
    disk.damage(segment_name(0), log_offsets[10] + log_record::bytes_min + 5);
    EXPECT_EQ(text_at(log_offsets[10]),
              "(the message at offset " + std::to_string(log_offsets[10]) + " of the log is damaged)");
    EXPECT_EQ(text_at(log_offsets[11]).substr(0, 3), "11:");
    ASSERT_EQ(log->damages().size(), 1U);
    EXPECT_EQ(log->damages()[0].log_offset, log_offsets[10]);
}

TEST_F(LogKeysTest, AKeyOfMoreRecordsThanAPageHoldsIsFoundWhole) {
    options.segment_bytes = options.first_segment_bytes = 4U << 20U;
    options.pending_bytes_max = 8U << 20U;
    open();
    for (int i = 0; i < 4'000; ++i) {
        append(i % 2 == 0 ? "even:" + std::to_string(i) : std::to_string(i) + ":odd");
        if (i % 100 == 99) settle(*log);
    }
    // Into a file of its own: the rest does not fit the segment.
    for (int i = 0; i < 300; ++i) append("filler:" + std::string(15'000, '.'));
    settle(*log);
    ASSERT_FALSE(key_files().empty());
    EXPECT_EQ(found("even", 0, ~0ULL, 50'000).size(), 2'000U);
    EXPECT_EQ(found("even", 0, ~0ULL, 3), (std::vector<std::string>{"even:3998", "even:3996", "even:3994"}));
    EXPECT_THAT(found("777"), ElementsAre("777:odd"));
}

TEST_F(LogKeysTest, RemovesTheKeysOfDroppedSegments) {
    open();
    fill(900);
    ASSERT_GE(key_files().size(), 3U);
    EXPECT_GT(log->drop_segments(1, std::nullopt), 0U);
    settle(*log);
    EXPECT_THAT(key_files(), IsEmpty());
    EXPECT_THAT(found("1"), IsEmpty());
    EXPECT_EQ(text_at(log_offsets[1]).substr(0, 8), "(no mess");
}

}  // namespace
}  // namespace hufu::broker
