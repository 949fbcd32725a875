#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drain_machine.hpp"

namespace hufu::degradation {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Entry entry(const std::string& position, const std::string& key) {
    return {.id = {0, position}, .message = {.topic = "orders", .ordering_key = key, .body = position}};
}
const PublishOutcome confirmed{.status = PublishStatus::confirmed};
const PublishOutcome in_doubt{};
const PublishOutcome rejected{.status = PublishStatus::rejected,
                              .error = Error{ErrorCode::too_large, Disposition::reject, "too large"}};

std::vector<std::string> bodies(std::span<const Message> messages) {
    std::vector<std::string> all;
    for (const auto& message : messages) all.push_back(message.body);
    return all;
}
std::vector<std::string> positions(const std::vector<EntryId>& ids) {
    std::vector<std::string> all;
    for (const auto& id : ids) all.push_back(id.position);
    return all;
}
std::vector<std::string> parked(const DrainMachine::Settled& settled) {
    std::vector<std::string> all;
    for (const auto& park : settled.park) all.push_back(park.entry.position + ": " + park.reason);
    return all;
}

TEST(DrainMachine, TrimsWhatWasConfirmedAndReadsTheRestAgain) {
    DrainMachine drain;
    EXPECT_THAT(bodies(drain.take({entry("1", "a"), entry("2", "a"), entry("3", "b")}, {}, {})), ElementsAre("1", "2", "3"));
    const auto settled = drain.settle(std::vector{in_doubt, confirmed, confirmed});
    EXPECT_THAT(positions(settled.trim), ElementsAre("3")) << "2 stands behind 1, which was not confirmed";
    EXPECT_TRUE(settled.again);
    EXPECT_EQ(settled.confirmed, 1u);
}

TEST(DrainMachine, TellsGuardsHowOldAMessageIs) {
    DrainMachine drain;
    Entry old = entry("1", "a");
    old.spilled_at = SystemTime{std::chrono::seconds{5}};
    EXPECT_EQ(drain.take({old}, {}, {})[0].headers.get(header::first_stored_at), "5000000");
}

TEST(DrainMachine, ParksWhatIsRejectedWithItsSuccessors) {
    DrainMachine drain;
    (void)drain.take({entry("1", "a"), entry("2", "a"), entry("3", "b")}, {}, {});
    const auto settled = drain.settle(std::vector{rejected, confirmed, confirmed});
    EXPECT_THAT(parked(settled), ElementsAre("1: too large", "2: behind a rejected message of its key"));
    EXPECT_FALSE(settled.again);
}

TEST(DrainMachine, LetsNothingOvertakeWhatIsParkedUntilItIsPutBack) {
    DrainMachine drain;
    EXPECT_THAT(
        bodies(drain.take({entry("4", "a"), entry("5", "c")}, {}, std::set<ConsumerKey>{ConsumerKey{"orders", "a"}})),
        ElementsAre("5"));
    EXPECT_THAT(parked(drain.settle(std::vector{confirmed})), ElementsAre("4: behind a rejected message of its key"));
    EXPECT_THAT(bodies(drain.take({entry("1", "a"), entry("4", "a")}, {}, {})), ElementsAre("1", "4"))
        << "a person has put them back";
}

TEST(DrainMachine, RejectedMessagesWithoutAKeyHoldNobodyUp) {
    DrainMachine drain;
    (void)drain.take({entry("1", ""), entry("2", "")}, {}, {});
    const auto settled = drain.settle(std::vector{rejected, confirmed});
    EXPECT_THAT(parked(settled), ElementsAre("1: too large"));
    EXPECT_THAT(positions(settled.trim), ElementsAre("2"));
}

TEST(DrainMachine, LeavesWhatWaitsForAnEarlierRung) {
    DrainMachine drain;
    const std::vector<bool> held{true, false, false};
    EXPECT_THAT(bodies(drain.take({entry("1", "a"), entry("2", "b"), entry("3", "a")}, held, {})), ElementsAre("2"))
        << "3 stands behind 1 though the earlier rung was emptied between the two looks";
    const auto settled = drain.settle(std::vector{confirmed});
    EXPECT_THAT(positions(settled.trim), ElementsAre("2"));
    EXPECT_TRUE(settled.again);
}

TEST(DrainMachine, KeepsEverythingWhenNothingWasSent) {
    DrainMachine drain;
    (void)drain.take({entry("1", "a")}, {}, {});
    const auto settled = drain.settle(std::vector{PublishOutcome{.status = PublishStatus::not_sent}});
    EXPECT_THAT(settled.trim, IsEmpty());
    EXPECT_TRUE(settled.again);
}

}  // namespace
}  // namespace hufu::degradation
