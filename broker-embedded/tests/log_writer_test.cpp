// The log's threads, on a real folder.
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include <hufu/broker/log_writer.hpp>

#include "log_fixture.hpp"

namespace hufu::broker {
namespace {

using testing::read_all;
using testing::record_of;

class LogWriterTest : public ::testing::Test {
protected:
    LogWriterTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "hufu-log-XXXXXX").string();
        folder = mkdtemp(pattern.data());
        directory = open_directory(folder).value();
        options.first_segment_bytes = 256U << 10U;
        options.segment_bytes = 1U << 20U;
        options.record_bytes_max = 64U << 10U;
    }
    ~LogWriterTest() override { std::filesystem::remove_all(folder); }
    LogWriterTest(const LogWriterTest&) = delete;
    LogWriterTest& operator=(const LogWriterTest&) = delete;

    std::string folder;
    std::unique_ptr<Directory> directory;
    LogOptions options;
};

TEST_F(LogWriterTest, SettlesEveryTicketInOrderAndFindsItAgain) {
    constexpr std::uint64_t count = 5000;  // several segments of 1 MiB
    {
        auto log = Log::open(*directory, options, system_clock()).value();
        std::mutex mutex;
        std::condition_variable wake;
        bool notified = false;
        LogWriter writer{*log, system_clock(), {}, [&] {
                             const std::scoped_lock lock{mutex};
                             notified = true;
                             wake.notify_one();
                         }};
        const auto queue = log->open_queue("orders", 0);
        std::uint64_t settled = 0;
        const auto note = [&](const Outcome& outcome) {
            ASSERT_TRUE(outcome.durable) << outcome.error.text();
            ASSERT_GE(outcome.through, settled);
            settled = outcome.through;
        };
        std::uint64_t last = 0;
        for (std::uint64_t i = 0; i < count;) {
            const auto appended = log->append(queue, 0, record_of(std::to_string(i) + std::string(900, '.')));
            if (appended) {
                last = appended->ticket;
                ++i;
                if (i % 64 != 0) continue;
                writer.pump(note);
            } else {
                ASSERT_EQ(appended.error().code(), ErrorCode::busy);
                writer.pump(note);
                std::unique_lock lock{mutex};
                wake.wait(lock, [&] { return notified; });
                notified = false;
            }
        }
        writer.drain(note);
        EXPECT_EQ(settled, last);
        EXPECT_EQ(log->max_offset(queue), count);
        EXPECT_EQ(read_all(*log, queue, count - 10).size(), 10U);
    }
    auto log = Log::open(*directory, options, system_clock()).value();
    const auto records = read_all(*log, log->find_queue("orders", 0).value());
    ASSERT_EQ(records.size(), count);
    EXPECT_TRUE(records.back().text.starts_with("4999."));
    EXPECT_TRUE(log->damages().empty());
}

TEST_F(LogWriterTest, TheOwnerCarriesSmallGroupsItselfUntilTheyGrow) {
    auto log = Log::open(*directory, options, system_clock()).value();
    LogWriter writer{*log, system_clock(), {.own_records_max = 4, .own_sync_most = std::chrono::seconds{10}}, [] {}};
    const auto queue = log->open_queue("orders", 0);
    std::uint64_t settled = 0;
    const auto note = [&](const Outcome& outcome) {
        ASSERT_TRUE(outcome.durable) << outcome.error.text();
        settled = outcome.through;
    };
    const auto append = [&] { return log->append(queue, 0, record_of("one")).value().ticket; };
    writer.drain(note);
    for (int i = 0; i < 32; ++i) {
        append();
        writer.drain(note);
    }
    for (int i = 0; i < 32; ++i) {
        const auto ticket = append();
        writer.pump(note);
        ASSERT_EQ(settled, ticket) << "not carried within the call";
    }
    for (int i = 0; i < 8; ++i) append();
    const auto ticket = append();
    writer.pump(note);
    const auto behind = append();  // a group that is small again, behind one that the writer has
    writer.drain(note);
    EXPECT_EQ(settled, behind);
    EXPECT_GT(behind, ticket);
    EXPECT_EQ(read_all(*log, queue).size(), 32U + 32U + 10U);
}

TEST_F(LogWriterTest, TheFolderBelongsToOneInstance) {
    auto log = Log::open(*directory, options, system_clock()).value();
    auto other = open_directory(folder).value();
    const auto second = Log::open(*other, options, system_clock());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), ErrorCode::busy);
}

}  // namespace
}  // namespace hufu::broker
