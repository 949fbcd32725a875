// What facts mean, without a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/doctor_facts.hpp"

namespace hufu::cli {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const Finding& find(const Findings& findings, const std::string& check) {
    for (const auto& each : findings) {
        if (each.check == check) return each;
    }
    static const Finding none{Grade::fail, "", "no such check", "", ""};
    ADD_FAILURE() << "no check is called " << check;
    return none;
}

TEST(DoctorJudge, ARelayThatIsThereAndIdleIsWell) {
    outbox::Status status{.owner = outbox::LaneOwner{"relay-1", 3, 5s}, .schema_version = 5};
    for (const auto& each : judge(status, {})) EXPECT_EQ(each.grade, Grade::ok) << each.check;
    status.owner->lease_left = -90s;
    EXPECT_EQ(find(judge(status, {}), "owner").grade, Grade::warn) << "nothing waits for it";
    status.pending = 7;
    status.oldest_age = 3min;
    EXPECT_EQ(find(judge(status, {}), "owner").grade, Grade::fail);
    EXPECT_THAT(find(judge(status, {}), "owner").way_out, HasSubstr("hufu relay"));
    EXPECT_EQ(find(judge(status, {}), "lag").grade, Grade::fail);
    EXPECT_EQ(find(judge(status, {.lag_max = 1h}), "lag").grade, Grade::ok);
    status.parked_rows = 2;
    EXPECT_EQ(find(judge(status, {}), "parked rows").grade, Grade::warn);
}

TEST(DoctorJudge, ADatabaseThatForgetsOrIsOldFails) {
    postgres::Health health{.peer = "db:5432/shop",
                            .server_version = "15.8",
                            .schema_version = 5,
                            .schema_wanted = 5,
                            .synchronous_commit = "on",
                            .connections = 10,
                            .connections_max = 100};
    for (const auto& each : judge(health, {})) EXPECT_EQ(each.grade, Grade::ok) << each.check;
    health.synchronous_commit = "off";
    EXPECT_EQ(find(judge(health, {}), "durability").grade, Grade::fail);
    health.synchronous_commit = "remote_apply";
    EXPECT_EQ(find(judge(health, {}), "durability").grade, Grade::ok);
    health.fsync = false;
    EXPECT_EQ(find(judge(health, {}), "durability").grade, Grade::fail);
    health.schema_version = 3;
    EXPECT_THAT(find(judge(health, {}), "schema version").way_out, HasSubstr("hufu outbox migrate"));
    health.schema_version = 9;
    EXPECT_THAT(find(judge(health, {}), "schema version").way_out, HasSubstr("update this program"));
    health.oldest_transaction = postgres::Health::Open{10min, 4711, "psql", "idle in transaction"};
    EXPECT_EQ(find(judge(health, {}), "long transactions").grade, Grade::warn);
    EXPECT_THAT(find(judge(health, {}), "long transactions").text, HasSubstr("4711"));
    health.oldest_snapshot_age = 20'000'000;
    health.oldest_snapshot_holder = "replication slot old";
    EXPECT_THAT(find(judge(health, {}), "oldest snapshot").text, HasSubstr("replication slot old"));
    EXPECT_EQ(find(judge(health, {}), "oldest snapshot").grade, Grade::warn);
    health.connections = 95;
    EXPECT_EQ(find(judge(health, {}), "connections").grade, Grade::warn);
    health.standby = true;
    EXPECT_EQ(find(judge(health, {}), "primary").grade, Grade::fail);
}

TEST(DoctorJudge, ABrokerByItsOwnWords) {
    rocketmq::BrokerHealth broker{.name = "a", .address = "h:1", .version = "hufu", .taking = true, .disk_used = 0.5};
    for (const auto& each : judge({broker}, Limits{})) EXPECT_EQ(each.grade, Grade::ok);
    broker.disk_used = 0.9;
    EXPECT_EQ(find(judge({broker}, Limits{}), "disk").grade, Grade::warn);
    broker.disk_used = 0.99;
    EXPECT_EQ(find(judge({broker}, Limits{}), "disk").grade, Grade::fail);
    broker.taking = false;
    EXPECT_EQ(find(judge({broker}, Limits{}), "takes messages").grade, Grade::fail);
    EXPECT_EQ(find(judge({rocketmq::BrokerHealth{.name = "b"}}, Limits{}), "reachable").grade, Grade::fail);
    EXPECT_EQ(find(judge({DeadLetterDepth{"%DLQ%a", 0}}), "dead letters").grade, Grade::ok);
    EXPECT_THAT(find(judge({DeadLetterDepth{"%DLQ%a", 3}}), "dead letters").text, HasSubstr("3 in %DLQ%a"));
}

TEST(DoctorJudge, OpenTransactionsAndTheStoreThatAnswers) {
    OpenTransactions open{.stores = {{"store-1", 2}, {"", 1}}, .own_store = "store-1"};
    for (const auto& each : judge(open, {})) EXPECT_EQ(each.grade, Grade::ok) << each.check;
    open.stores["store-2"] = 4;
    EXPECT_EQ(find(judge(open, {}), "store matches").grade, Grade::warn);
    EXPECT_THAT(find(judge(open, {}), "store matches").text, HasSubstr("4 open transactions name other stores: store-2"));
    open.conflicts = 1;
    EXPECT_EQ(find(judge(open, {}), "transactions in conflict").grade, Grade::fail);
    open.parked = 1;
    EXPECT_THAT(find(judge(open, {}), "parked transactions").way_out, HasSubstr("hufu tx"));
    open.overdue = 1;
    EXPECT_EQ(find(judge(open, {}), "transactions without a verdict").grade, Grade::warn);
}

TEST(DoctorJudge, MetricsOfABroker) {
    auto metrics = parse_metrics(
        "# HELP x y\n# TYPE x gauge\nhufu_broker_log_refusing 0\nhufu_broker_log_damages 0\n"
        "hufu_broker_alarms_total 0\nhufu_broker_group_lag_messages{group=\"a b\",topic=\"t\"} 7\n");
    EXPECT_EQ(metrics.at("hufu_broker_group_lag_messages{group=\"a b\",topic=\"t\"}"), 7);
    for (const auto& each : judge_metrics(metrics)) EXPECT_EQ(each.grade, Grade::ok) << each.check;
    metrics["hufu_broker_log_refusing"] = 1;
    EXPECT_EQ(find(judge_metrics(metrics), "log").grade, Grade::fail);
    metrics["hufu_broker_log_damages"] = 2;
    EXPECT_EQ(find(judge_metrics(metrics), "damage").grade, Grade::fail);
    metrics["hufu_broker_alarms_total"] = 2;
    EXPECT_EQ(find(judge_metrics(metrics), "alarms").grade, Grade::warn);
    EXPECT_EQ(judge_metrics(parse_metrics("<html>hello</html>")).at(0).grade, Grade::warn);
}

TEST(DoctorJudge, ARedisThatMayLoseWhatIsBuffered) {
    RedisFacts facts{
        .info = parse_info("# Server\r\nredis_version:7.0.15\r\nrole:master\r\nused_memory:100\r\n"
                           "used_memory_human:100B\r\nmaxmemory:0\r\naof_enabled:1\r\naof_last_write_status:ok\r\n"),
        .settings = {{"appendonly", "yes"}, {"appendfsync", "always"}, {"maxmemory-policy", "noeviction"}}};
    for (const auto& each : judge(facts)) EXPECT_EQ(each.grade, Grade::ok) << each.check;
    facts.settings["appendfsync"] = "everysec";
    EXPECT_THAT(find(judge(facts), "persistence").way_out, HasSubstr("up to a second"));
    facts.settings["appendonly"] = "no";
    EXPECT_THAT(find(judge(facts), "persistence").way_out, HasSubstr("everything"));
    facts.settings["maxmemory-policy"] = "allkeys-lru";
    EXPECT_EQ(find(judge(facts), "eviction").grade, Grade::fail);
    facts.info["maxmemory"] = "110";
    EXPECT_EQ(find(judge(facts), "memory").grade, Grade::warn);
    facts.info["maxmemory"] = "101";
    EXPECT_EQ(find(judge(facts), "memory").grade, Grade::fail);
    facts.info["role"] = "slave";
    EXPECT_EQ(find(judge(facts), "primary").grade, Grade::fail);
    facts.info["aof_last_write_status"] = "err";
    EXPECT_EQ(find(judge(facts), "last write of the append-only file").grade, Grade::fail);
    facts.settings.clear();
    EXPECT_EQ(find(judge(facts), "settings").grade, Grade::warn);
}

TEST(DoctorJudge, ABufferWithMessagesThatNobodyDrains) {
    BufferFacts facts{.url = "redis://cache:6379", .size = {}, .statement = {degradation::Loss::nothing, "always"}};
    for (const auto& each : judge(facts, {})) EXPECT_EQ(each.grade, Grade::ok) << each.check;
    facts.size = {.entries = 7, .bytes = 700, .parked = 0, .oldest_age = std::chrono::seconds{5}};
    EXPECT_EQ(find(judge(facts, {}), "waiting").grade, Grade::warn) << "the broker may be away for a moment";
    facts.size.oldest_age = std::chrono::minutes{5};
    const auto waiting = find(judge(facts, {}), "waiting");
    EXPECT_EQ(waiting.grade, Grade::fail);
    EXPECT_THAT(waiting.text, HasSubstr("7 messages, 700 bytes, the oldest for"));
    EXPECT_THAT(waiting.way_out, HasSubstr("hufu replay --from redis://cache:6379 --to"));
    facts.size.parked = 2;
    EXPECT_THAT(find(judge(facts, {}), "parked").way_out, HasSubstr("--retry-parked"));
    facts.statement = {degradation::Loss::last_second, "appendfsync everysec"};
    EXPECT_THAT(find(judge(facts, {}), "may lose").text, HasSubstr("appendfsync everysec"));
}

}  // namespace
}  // namespace hufu::cli
