#include "stream_settings.hpp"

#include <gtest/gtest.h>

namespace hufu::redis {
namespace {

using degradation::Loss;

ServerSettings careful() {
    return {.append_only = true, .append_sync = "always", .eviction_policy = "noeviction", .memory_max = 1 << 20};
}

TEST(StreamSettings, FindsFieldsInInfo) {
    const std::string_view info = "# Persistence\r\naof_enabled:1\r\naof_enabled_no:7\r\nrole:master";
    EXPECT_EQ(info_field(info, "aof_enabled"), "1");
    EXPECT_EQ(info_field(info, "role"), "master");
    EXPECT_EQ(info_field(info, "aof"), "");
}

TEST(StreamSettings, NothingIsLostWhenEveryWriteIsSynced) { EXPECT_EQ(loss_of(careful(), 0, {}).loss, Loss::nothing); }

TEST(StreamSettings, ASecondIsLostWhenItIsSyncedOnceASecond) {
    auto settings = careful();
    settings.append_sync = "everysec";
    EXPECT_EQ(loss_of(settings, 0, {}).loss, Loss::last_second);
}

TEST(StreamSettings, EverythingMayGoWithoutAFileByEvictionOrWhenTheSystemWrites) {
    auto settings = careful();
    settings.append_only = false;
    EXPECT_EQ(loss_of(settings, 0, {}).loss, Loss::everything);
    settings = careful();
    settings.append_sync = "no";
    EXPECT_EQ(loss_of(settings, 0, {}).loss, Loss::everything);
    settings = careful();
    settings.eviction_policy = "allkeys-lru";
    EXPECT_EQ(loss_of(settings, 0, {}).loss, Loss::everything);
    settings.memory_max = 0;  // never full, never evicted
    EXPECT_EQ(loss_of(settings, 0, {}).loss, Loss::nothing);
    settings = careful();
    settings.eviction_policy = "volatile-lru";  // the streams have no time to live
    EXPECT_EQ(loss_of(settings, 0, {}).loss, Loss::nothing);
}

TEST(StreamSettings, AReplicaThatIsNotWaitedForMayTakeOver) {
    auto settings = careful();
    settings.replicas = 2;
    const auto statement = loss_of(settings, 1, {});
    EXPECT_EQ(statement.loss, Loss::everything);
    EXPECT_EQ(statement.why, "2 replicas, 1 waited for: a failover may choose one that is behind; set wait_replicas to 2");
    EXPECT_EQ(loss_of(settings, 2, {}).loss, Loss::nothing);
}

TEST(StreamSettings, WhatIsNotShownIsBelievedOnlyWhenDeclared) {
    ServerSettings silent;
    EXPECT_EQ(loss_of(silent, 0, {}).loss, Loss::everything);
    EXPECT_EQ(loss_of(silent, 0, Loss::last_second).loss, Loss::last_second);
    EXPECT_EQ(loss_of(careful(), 0, Loss::everything).loss, Loss::nothing) << "what the server shows wins";
}

}  // namespace
}  // namespace hufu::redis
