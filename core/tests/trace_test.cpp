#include <gtest/gtest.h>

#include <hufu/core/trace.hpp>

namespace hufu {
namespace {

constexpr const char* example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContext, ReadsAndWritesTheStandardsExample) {
    const auto context = TraceContext::parse(example).value();
    EXPECT_EQ(context.trace_id[0], 0x4b);
    EXPECT_EQ(context.span_id[7], 0xb7);
    EXPECT_TRUE(context.sampled);
    EXPECT_EQ(context.to_string(), example);
}

TEST(TraceContext, RefusesWhatTheStandardCallsInvalid) {
    for (const std::string_view bad : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                                       "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                       "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                                       "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                                       "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                                       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
                                       "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                       "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
                                       "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x"}) {
        const auto context = TraceContext::parse(bad);
        ASSERT_TRUE(context.has_error()) << bad;
        EXPECT_EQ(context.error().code(), ErrorCode::invalid_argument);
    }
}

TEST(TraceContext, ReadsALaterVersionAsFarAsItIsKnown) {
    const auto context = TraceContext::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more").value();
    EXPECT_FALSE(context.sampled);
    EXPECT_EQ(context.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
}

TEST(TraceContext, AChildKeepsTheTraceAndIsAnotherSpan) {
    SeededRandom random{7};
    const auto parent = TraceContext::make(random);
    const auto child = parent.child(random);
    EXPECT_EQ(child.trace_id, parent.trace_id);
    EXPECT_NE(child.span_id, parent.span_id);
    EXPECT_EQ(TraceContext::parse(child.to_string()).value(), child);
    EXPECT_NE(TraceContext::make(random).trace_id, parent.trace_id);
}

TEST(TraceContext, IsReadFromAMessageAndIgnoredWhenMalformed) {
    Message message{.topic = "orders"};
    EXPECT_EQ(trace_of(message), std::nullopt);
    message.headers.set(header::trace_parent, "nonsense");
    EXPECT_EQ(trace_of(message), std::nullopt);
    message.headers.set(header::trace_parent, example);
    EXPECT_EQ(trace_of(message)->to_string(), example);
}

}  // namespace
}  // namespace hufu
