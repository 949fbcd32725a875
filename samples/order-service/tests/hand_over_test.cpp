// The order service that hands its events over after the commit, over a real SQLite file and a publisher of the test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <hufu/core/publisher.hpp>
#include <hufu/outbox/store.hpp>

#include "roles/hand_over.hpp"
#include "roles/role.hpp"

namespace shop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Takes everything, or nothing.
class Lane final : public hufu::Publisher {
public:
    void publish(std::span<const hufu::Message> batch, std::span<hufu::PublishOutcome> outcomes, Done done) override {
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const bool takes = taken.size() < takes_until;
            outcomes[i].status = takes ? hufu::PublishStatus::confirmed : hufu::PublishStatus::not_sent;
            if (takes) {
                taken.push_back(batch[i]);
            } else {
                outcomes[i].error = {hufu::ErrorCode::unavailable, hufu::Disposition::retry, "no rung takes it"};
                refused.push_back(batch[i].id);
            }
        }
        done();
    }
    [[nodiscard]] std::vector<std::string> tags() const {
        std::vector<std::string> tags;
        for (const auto& message : taken) tags.push_back(message.tag);
        return tags;
    }

    std::size_t takes_until = 1'000;
    std::vector<hufu::Message> taken;
    std::vector<hufu::MessageId> refused;
};

constexpr const char* order_body = R"({"id":"o-1","amount":500,"sku":"tea","quantity":2})";

class HandingOver : public testing::Test {
protected:
    HandingOver() { store->prepare(role.tables); }

    HttpResponse ask(std::string method, std::string target, std::string body = "") const {
        return role.application({std::move(method), std::move(target), std::move(body)});
    }
    std::string refusal_of(const std::string& method, const std::string& target, const std::string& body = "") const {
        try {
            ask(method, target, body);
        } catch (const hufu::Exception& exception) {
            EXPECT_EQ(exception.error().disposition(), hufu::Disposition::retry);
            return exception.error().text();
        }
        return "nothing was refused";
    }
    std::int64_t count(std::string_view sql) const {
        std::int64_t result = 0;
        store->read([&](Transaction& tx) { result = tx.run(sql).front().integer(0); });
        return result;
    }
    static std::string fresh() {
        const auto path = testing::TempDir() + "hand_over.db";
        for (const auto* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
        return path;
    }

    Lane lane;
    HandOver hand_over{lane};
    std::unique_ptr<Store> store = open_store("sqlite:" + fresh());
    Role role = order_role(*store, {.telling = Telling::hand_over, .hand_over = &hand_over});
};

TEST_F(HandingOver, TellsOfAnOrderAndItsStepsInTheirOrder) {
    EXPECT_EQ(ask("POST", "/orders", order_body).status, 201U);
    EXPECT_EQ(ask("POST", "/orders/o-1/pay").status, 200U);
    EXPECT_EQ(ask("POST", "/orders/o-1/pay").status, 200U) << "a repetition has nothing to tell";
    EXPECT_THAT(lane.tags(), ElementsAre("order.created", "order.payment_requested"));
    EXPECT_EQ(lane.taken[0].ordering_key, "o-1");
    EXPECT_NE(lane.taken[0].id, lane.taken[1].id);
    EXPECT_EQ(count("select count(*) from hufu_outbox"), 0);
    EXPECT_EQ(count("select count(*) from hufu_delayed where topic = 'order-deadlines'"), 1)
        << "the outbox keeps what is not due";
}

TEST_F(HandingOver, OwesWhatNobodyTookAndHandsItOverWithTheRepetition) {
    lane.takes_until = 0;
    EXPECT_THAT(refusal_of("POST", "/orders", order_body), HasSubstr("order o-1 is changed, but nobody takes its messages"));
    EXPECT_EQ(count("select count(*) from orders"), 1);
    EXPECT_THAT(refusal_of("POST", "/orders/o-1/pay"), HasSubstr("no rung takes it"));
    EXPECT_EQ(count("select count(*) from orders where state = 'paying'"), 0) << "no step before the one before is told";
    lane.takes_until = 1'000;
    const auto again = ask("POST", "/orders", order_body);
    EXPECT_EQ(again.status, 201U);
    EXPECT_TRUE(again.replayed);
    EXPECT_THAT(lane.tags(), ElementsAre("order.created"));
    EXPECT_EQ(lane.taken[0].id, lane.refused.front()) << "under its first id: a copy is known by it";
    EXPECT_EQ(ask("POST", "/orders/o-1/pay").status, 200U);
    EXPECT_THAT(lane.tags(), ElementsAre("order.created", "order.payment_requested"));
}

TEST_F(HandingOver, LetsNoMessageChangeAnOrderThatOwes) {
    const auto handled = [&](const std::string& order) {
        int runs = 0;
        const auto handler = role.around([&runs](const hufu::Delivery&) -> hufu::HandlerResult {
            ++runs;
            return hufu::Handled::done;
        });
        hufu::Message message;
        message.ordering_key = order;
        const auto result = handler({.message = message, .tag = {}});
        EXPECT_EQ(runs, result.handled == hufu::Handled::done ? 1 : 0);
        return result.handled;
    };
    lane.takes_until = 0;
    EXPECT_NE(refusal_of("POST", "/orders", order_body), "nothing was refused");
    EXPECT_EQ(handled("o-1"), hufu::Handled::retry);
    EXPECT_EQ(handled("o-2"), hufu::Handled::done) << "others owe nothing";
    lane.takes_until = 1'000;
    EXPECT_EQ(handled("o-1"), hufu::Handled::done);
    EXPECT_THAT(lane.tags(), ElementsAre("order.created")) << "what is owed goes first";
}

TEST_F(HandingOver, TellsNothingOfWhatItRefuses) {
    EXPECT_EQ(ask("POST", "/orders/nobody/pay").status, 404U);
    EXPECT_EQ(ask("POST", "/orders", order_body).status, 201U);
    EXPECT_EQ(ask("POST", "/orders/o-1/cancel").status, 200U);
    EXPECT_EQ(ask("POST", "/orders/o-1/pay").status, 409U);
    EXPECT_THAT(lane.tags(), ElementsAre("order.created", "order.cancelled"));
}

}  // namespace
}  // namespace shop
