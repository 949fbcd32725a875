// Old messages go in time, never unannounced; and a full disk.
#include <gmock/gmock.h>

#include "dispatch_fixture.hpp"

namespace hufu::broker {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RequestCode;
using testing::ResponseCode;
using testing::Sent;

class RetentionTest : public testing::DispatchTest {
protected:
    RetentionTest() {
        log_options.segment_bytes = 128U << 10U;
        log_options.first_segment_bytes = 128U << 10U;
        log_options.record_bytes_max = 64U << 10U;
        options.default_queues = 1;
    }
    /// `count` messages of about 1 KiB, one a second; more than a segment holds are a hundred.
    void fill(int count, std::string_view topic = "orders") {
        for (int i = 0; i < count; ++i) {
            ASSERT_EQ(send(topic, 0, std::string(1000, '.')).response(), ResponseCode::success);
            advance(1s);
        }
        settle_log();
    }
    void pass(std::chrono::milliseconds time) {
        for (; time > 0ms; time -= 10s) {
            advance(10s);
            settle_log();
        }
    }
    [[nodiscard]] std::uint64_t first_kept() const { return log->min_offset(*log->find_queue("orders", 0)); }
    std::vector<std::string> alarms_about(std::string_view what) {
        auto texts = dispatcher->take_alarms();
        std::erase_if(texts, [what](const std::string& text) { return text.find(what) == std::string::npos; });
        return texts;
    }
    void commit(std::string_view group, std::int64_t offset) {
        remoting::UpdateOffsetRequest header;
        header.consumer_group = group;
        header.topic = "orders";
        header.queue_id = 0;
        header.commit_offset = offset;
        EXPECT_EQ(ask(RequestCode::update_consumer_offset, header).response(), ResponseCode::success);
    }
};

TEST_F(RetentionTest, KeepsEverythingWithoutALimit) {
    start();
    fill(300);
    pass(30min);
    EXPECT_EQ(first_kept(), 0U);
    EXPECT_THAT(alarms_about("retention"), IsEmpty());
}

TEST_F(RetentionTest, SaysWhatWillGoAndWhoHasNotReadItBeforeItGoes) {
    options.keep_for = 60min;
    start();
    fill(150);
    commit("slow", 5);
    commit("fast", 149);
    pass(50min);
    EXPECT_THAT(alarms_about("retention"), IsEmpty());
    pass(5min);
    const auto warned = alarms_about("retention will delete");
    ASSERT_EQ(warned.size(), 1U);
    EXPECT_THAT(warned[0],
                HasSubstr("not read yet by group \"slow\" at offset 5 of queue 0 of topic \"orders\", which will begin at"));
    EXPECT_THAT(warned[0], ::testing::Not(HasSubstr("fast")));
    EXPECT_EQ(first_kept(), 0U);
    pass(10min);
    const auto deleted = alarms_about("retention deleted");
    ASSERT_EQ(deleted.size(), 1U);
    EXPECT_GT(first_kept(), 50U);

    // Who stood in what went is told where to go on.
    const Sent pulled = ask(RequestCode::pull_message, pull_header("orders", 0, 5));
    EXPECT_EQ(pulled.response(), ResponseCode::pull_offset_moved);
    EXPECT_EQ(pulled.field("nextBeginOffset"), std::to_string(first_kept()));
    restart();
    EXPECT_GT(first_kept(), 50U);
}

TEST_F(RetentionTest, AClockThatJumpsAheadDeletesNothingUnannounced) {
    options.keep_for = 60min;
    start();
    fill(150);
    clock.wall_shift_ms = std::chrono::milliseconds{24h * 365}.count();
    pass(5min);
    EXPECT_EQ(alarms_about("retention will delete").size(), 1U);
    EXPECT_EQ(first_kept(), 0U);
    pass(2min);
    EXPECT_GT(first_kept(), 50U);
}

TEST_F(RetentionTest, KeepsTheLogBelowItsSize) {
    options.keep_bytes = 512U << 10U;
    start();
    for (int round = 0; round < 10; ++round) {
        fill(100);
        pass(20s);
    }
    EXPECT_LT(log->bytes_on_disk(), (512U + 128U) << 10U);
    EXPECT_GT(first_kept(), 0U);
    EXPECT_EQ(log->max_offset(*log->find_queue("orders", 0)), 1000U);
    const auto texts = dispatcher->take_alarms();
    std::size_t announced = 0;
    for (const auto& text : texts) announced += text.starts_with("retention will delete") ? 1U : 0U;
    EXPECT_GT(announced, 0U);
    EXPECT_TRUE(texts.front().starts_with("retention will delete"));
}

TEST_F(RetentionTest, DelayedMessagesOutliveTheirSegment) {
    options.keep_for = 10min;
    start();
    ASSERT_EQ(send("orders", 0, "due in an hour",
                   "TIMER_DELAY_SEC\x01"
                   "3600\x02")
                  .response(),
              ResponseCode::success);
    fill(150, "filler");
    pass(20min);
    EXPECT_GT(log->start_offset(), 0U);
    EXPECT_EQ(log->min_offset(*log->find_queue("filler", 0)) > 50, true);
    restart();
    pass(40min);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 0, 0))), ElementsAre("due in an hour"));
    pass(10min);
    EXPECT_EQ(log->max_offset(*log->find_queue("orders", 0)), 1U);
}

TEST_F(RetentionTest, AFullDiskRefusesSendsServesReadersAndGoesOnWhenSpaceReturns) {
    start();
    // A send and its answer, which may take until the log has looked for space again.
    const auto send_patiently = [&](std::string_view body) {
        request(client, RequestCode::send_message_v2, 77, send_header("orders", 0), body);
        for (int i = 0; i < 100; ++i) {
            settle_log();
            if (auto answers = take(client); !answers.empty()) return answers.front();
            advance(100ms);
        }
        ADD_FAILURE() << "no answer";
        return Sent{};
    };
    ASSERT_EQ(send_patiently("before").response(), ResponseCode::success);
    commit("readers", 0);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 0, 0))), ElementsAre("before"));
    disk.set_free_bytes(0);
    std::uint64_t taken = 1;
    Sent answer;
    for (int i = 0; i < 400; ++i) {
        answer = send_patiently(std::string(1000, '.'));
        if (answer.response() != ResponseCode::success) break;
        ++taken;
    }
    EXPECT_TRUE(answer.response() == ResponseCode::service_not_available || answer.response() == ResponseCode::system_busy)
        << answer.code;
    EXPECT_FALSE(answer.remark.empty());
    auto pull = pull_header("orders", 0, 0);
    pull.messages_max = 1;
    const Sent pulled = ask(RequestCode::pull_message, pull);
    EXPECT_THAT(bodies(pulled), ElementsAre("before")) << pulled.code << " " << pulled.remark;

    disk.set_free_bytes(~0ULL);
    for (int i = 0; i < 100 && answer.response() != ResponseCode::success; ++i) {
        advance(100ms);
        answer = send_patiently("after");
    }
    ASSERT_EQ(answer.response(), ResponseCode::success) << answer.remark;
    const QueueHandle queue = *log->find_queue("orders", 0);
    EXPECT_EQ(log->max_offset(queue), taken + 1);
    restart();
    EXPECT_EQ(log->max_offset(queue), taken + 1);
}

}  // namespace
}  // namespace hufu::broker
