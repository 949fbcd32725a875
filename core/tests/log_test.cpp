#include <gtest/gtest.h>

#include <hufu/core/log.hpp>
#include <hufu/testing/fake_clock.hpp>

namespace hufu {
namespace {

const SystemTime time_of_lines{std::chrono::microseconds{1'767'323'045'678'901}};

TEST(Log, WritesTextThatOneCanGrep) {
    EXPECT_EQ(format_log_line(LogFormat::text, time_of_lines, LogLevel::info, "relay", "lane taken over",
                              {{"lane", "default"}, {"epoch", 7}, {"reason", "a \"b\"\nc"}, {"empty", ""}, {"again", true}}),
              "2026-01-02T03:04:05.678901Z info relay: lane taken over lane=default epoch=7 reason=\"a \\\"b\\\"\\nc\" "
              "empty=\"\" again=true");
}

TEST(Log, WritesJsonLines) {
    EXPECT_EQ(
        format_log_line(LogFormat::json, time_of_lines, LogLevel::error, "relay", "stopped", {{"why", "tab\there \x01"}}),
        "{\"time\":\"2026-01-02T03:04:05.678901Z\",\"level\":\"error\",\"program\":\"relay\",\"event\":\"stopped\","
        "\"why\":\"tab\\there \\u0001\"}");
}

TEST(Log, DropsLinesBelowItsLevel) {
    testing::FakeClock clock;
    const auto log = stderr_log("relay", LogLevel::warning, LogFormat::text, clock);
    EXPECT_FALSE(log->enabled(LogLevel::info));
    EXPECT_TRUE(log->enabled(LogLevel::warning));
    ::testing::internal::CaptureStderr();
    log->info("quiet");
    log->error("loud", {{"count", std::uint64_t{3}}});
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "2026-01-01T00:00:00.000000Z error relay: loud count=3\n");
    EXPECT_FALSE(no_log().enabled(LogLevel::error));
}

TEST(Log, ReadsLevelsByName) {
    EXPECT_EQ(parse_log_level("warning").value(), LogLevel::warning);
    const auto unknown = parse_log_level("loud");
    ASSERT_TRUE(unknown.has_error());
    EXPECT_EQ(unknown.error().text(), "log level \"loud\" is unknown: debug, info, warning or error");
}

}  // namespace
}  // namespace hufu
