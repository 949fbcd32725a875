#include "src/moment.hpp"

#include <gtest/gtest.h>

namespace hufu::cli {
namespace {

using namespace std::chrono_literals;

const SystemTime now{1'767'225'600s};  // 2026-01-01T00:00:00Z

TEST(Moment, IsATimeOrHowLongAgo) {
    EXPECT_EQ(parse_moment("2026-01-01T00:00:00Z", {}).value(), now);
    EXPECT_EQ(parse_moment("2026-01-01", {}).value(), now);
    EXPECT_EQ(parse_moment("2026-01-01 00:00:01", {}).value(), now + 1s);
    EXPECT_EQ(parse_moment("2026-01-01T01:02:03.25Z", {}).value(), now + 1h + 2min + 3s + 250ms);
    EXPECT_EQ(parse_moment("2h", now).value(), now - 2h);
    EXPECT_EQ(parse_moment("1m30s", now).value(), now - 90s);
}

TEST(Moment, RefusesWhatIsNeither) {
    for (const auto* text : {"", "yesterday", "2026", "2026-13-01", "2026-02-30", "2026-01-01T25:00:00Z", "2026-01-01T00:00",
                             "2026-01-01T00:00:00+01:00", "2026-01-01x", "-3h"}) {
        const auto parsed = parse_moment(text, now);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code(), ErrorCode::invalid_argument);
    }
}

}  // namespace
}  // namespace hufu::cli
