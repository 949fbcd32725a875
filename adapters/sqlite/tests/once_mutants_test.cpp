// What an effect sends has the same id however often the effect runs; else its consumers' guards would not know it again.
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>
#include <hufu/sqlite/once.hpp>
#include <hufu/sqlite/outbox_store.hpp>
#include <hufu/sqlite/schema.hpp>

#include "tests/temporary_folder.hpp"

namespace hufu::sqlite {
namespace {

/// The effect runs to its end in a file; then that file is gone, an older copy is put in its place, and the broker delivers again.
std::vector<MessageId> sent_by_one_message_before_and_after_a_restored_backup() {
    const Delivery incoming{.message = {.id = MessageId{{1, 2, 3}}, .topic = "orders", .ordering_key = "42"}};
    std::vector<MessageId> sent;
    for (int run = 0; run < 2; ++run) {
        TemporaryFolder folder;
        auto database = std::make_shared<Database>(folder.file("stock.db"));
        migrate(*database).value();
        const auto handler =
            once(*database, "stock", [](Transaction&, const Message& order, idempotency::Outgoing& outgoing) {
                outgoing.add({.topic = "reservations", .ordering_key = order.ordering_key});
                return Handled::done;
            });
        EXPECT_EQ(handler(incoming).handled, Handled::done);
        const auto page = outbox_store(database)->reader()->read({.after = 0, .limit = 10}).value();
        EXPECT_EQ(page.rows.size(), 1u);
        sent.push_back(page.rows.at(0).message.id);
    }
    return sent;
}

TEST(SqliteMutants, OutgoingIdsByChanceMakeOneMessageTwo) {
    const auto sent = sent_by_one_message_before_and_after_a_restored_backup();
    EXPECT_EQ(sent[0], sent[1]);
    activate_mutant("outgoing_ids_by_chance");
    const auto by_chance = sent_by_one_message_before_and_after_a_restored_backup();
    activate_mutant("");
    EXPECT_NE(by_chance[0], by_chance[1]);
}

}  // namespace
}  // namespace hufu::sqlite
