#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "stream_fixture.hpp"

namespace hufu::redis {
namespace {

using degradation::Loss;
using degradation::SpillOutcome;
using degradation::SpillWhen;
using test_support::RedisServer;
using testing::ElementsAre;
using testing::HasSubstr;
using Status = SpillOutcome::Status;

const std::chrono::milliseconds quick{300};

struct Losses {
    std::mutex mutex;
    std::uint64_t entries = 0;
    std::string why;
    std::function<void(const BufferLoss&)> note() {
        return [this](const BufferLoss& loss) {
            const std::scoped_lock lock{mutex};
            entries += loss.entries_max;
            why = loss.why;
        };
    }
};

TEST(StreamBuffer, KeepsAMessageWholeAndCountsIt) {
    const RedisServer server{{.durable = true}};
    Client client{server.url()};
    StreamBuffer buffer{client};
    Message message = message_of("o-1", std::string{"a\0\r\n", 4});
    message.headers.set("traceparent", "00-1");
    message.deliver_at = SystemTime{std::chrono::microseconds{1'900'000'000'000'001}};
    EXPECT_EQ(spill_one(buffer, message).status, Status::spilled);
    const auto size = buffer.size().value();
    EXPECT_EQ(size.entries, 1U);
    EXPECT_GT(size.bytes, 50U);
    EXPECT_TRUE(size.oldest_age.has_value());
    const auto reader = buffer.reader("r");
    const auto entries = drain(*reader);
    ASSERT_EQ(entries.size(), 1U);
    EXPECT_EQ(entries[0].message, message);
    EXPECT_EQ(entries[0].deliveries, 0U);
    EXPECT_EQ(reader->trim(ids_of(entries)).value(), 1U);
    EXPECT_EQ(buffer.size().value().entries, 0U);
    EXPECT_EQ(buffer.size().value().bytes, 0U);
}

TEST(StreamBuffer, TheBarrierOfAKeyStandsUntilItsLastEntryIsTrimmed) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client};
    EXPECT_EQ(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(spill_one(buffer, message_of("a", "0"), SpillWhen::if_key_is_buffered).status, Status::not_buffered);
    EXPECT_EQ(spill_one(buffer, message_of("a", "1")).status, Status::spilled);
    EXPECT_GT(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(spill_one(buffer, message_of("a", "2"), SpillWhen::if_key_is_buffered).status, Status::spilled);
    EXPECT_EQ(spill_one(buffer, message_of("b", "1"), SpillWhen::if_key_is_buffered).status, Status::not_buffered);
    const ConsumerKey keys[] = {{"orders", "a"}, {"orders", "b"}, {"payments", "a"}};
    EXPECT_THAT(buffer.holds(keys).value(), ElementsAre(true, false, false));

    const auto reader = buffer.reader("r");
    const auto entries = drain(*reader);
    EXPECT_THAT(bodies(entries, "a"), ElementsAre("1", "2"));
    EXPECT_EQ(reader->trim(std::span{&entries[0].id, 1}).value(), 1U);
    EXPECT_GT(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(reader->trim(std::span{&entries[1].id, 1}).value(), 1U);
    EXPECT_EQ(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(spill_one(buffer, message_of("a", "3"), SpillWhen::if_key_is_buffered).status, Status::not_buffered);
}

TEST(StreamBuffer, AMessageWithoutAKeyRaisesNoBarrier) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client};
    EXPECT_EQ(spill_one(buffer, message_of("", "1")).status, Status::spilled);
    EXPECT_EQ(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(spill_one(buffer, message_of("", "2"), SpillWhen::if_key_is_buffered).status, Status::not_buffered);
}

TEST(StreamBuffer, OtherProcessesSeeTheBarrierAndSoDoesARestartedOne) {
    const RedisServer server;
    Client one{server.url()};
    Client other{server.url()};
    StreamBuffer mine{one};
    StreamBuffer theirs{other};
    EXPECT_EQ(spill_one(mine, message_of("a", "1")).status, Status::spilled);
    EXPECT_GT(epoch_of(theirs).value(), 0U);
    EXPECT_EQ(spill_one(theirs, message_of("a", "2"), SpillWhen::if_key_is_buffered).status, Status::spilled);
    StreamBuffer restarted{one};
    EXPECT_EQ(spill_one(restarted, message_of("a", "3"), SpillWhen::if_key_is_buffered).status, Status::spilled);
    EXPECT_THAT(bodies(drain(*mine.reader("r")), "a"), ElementsAre("1", "2", "3"));
}

TEST(StreamBuffer, ConcurrentCallsKeepEachKeysOrder) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client};
    std::vector<std::vector<Message>> calls;
    std::vector<std::vector<SpillOutcome>> outcomes(40);
    for (int call = 0; call < 40; ++call) {
        auto& messages = calls.emplace_back();
        for (int key = 0; key < 5; ++key) messages.push_back(message_of("k" + std::to_string(key), std::to_string(call)));
        outcomes[static_cast<std::size_t>(call)].resize(5);
    }
    std::atomic<int> left{40};
    std::promise<void> all;
    for (std::size_t call = 0; call < 40; ++call) {
        buffer.spill(calls[call], SpillWhen::always, outcomes[call], [&] {
            if (--left == 0) all.set_value();
        });
    }
    all.get_future().wait();
    const auto entries = drain(*buffer.reader("r"));
    std::vector<std::string> expected;
    for (int call = 0; call < 40; ++call) expected.push_back(std::to_string(call));
    for (int key = 0; key < 5; ++key) EXPECT_EQ(bodies(entries, "k" + std::to_string(key)), expected);
}

TEST(StreamBuffer, RefusesWhatItHasNoRoomFor) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1, .bytes_max = 2000}};
    EXPECT_EQ(spill_one(buffer, message_of("a", std::string(1500, 'x'))).status, Status::spilled);
    const auto full = spill_one(buffer, message_of("a", std::string(1500, 'x')));
    EXPECT_EQ(full.status, Status::refused);
    EXPECT_EQ(full.error.code(), ErrorCode::out_of_space);
    EXPECT_THAT(full.error.text(), HasSubstr("raise bytes_max"));
    StreamBuffer narrow{client, {.name = "narrow", .queued_bytes_max = 1}};
    std::vector<Message> many(70'000);
    EXPECT_EQ(spill(narrow, many).front().error.code(), ErrorCode::too_large);
}

TEST(StreamBuffer, SaysWhatEachSettingMayLose) {
    const RedisServer server{{.durable = true}};
    Client client{server.url()};
    StreamBuffer buffer{client};
    EXPECT_EQ(buffer.inspect().value().loss, Loss::nothing);
    server.config_set("appendfsync", "everysec");
    EXPECT_EQ(buffer.inspect().value().loss, Loss::last_second);
    server.config_set("maxmemory", "100mb");
    server.config_set("maxmemory-policy", "allkeys-lru");
    EXPECT_EQ(buffer.inspect().value().loss, Loss::everything);
    EXPECT_THAT(buffer.inspect().value().why, HasSubstr("set noeviction"));
}

TEST(StreamBuffer, RefusesInAFullOrReadOnlyServerAndTellsTheWayOut) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client};
    server.config_set("maxmemory", "1");
    const auto full = spill_one(buffer, message_of("a", "1"));
    EXPECT_EQ(full.status, Status::refused);
    EXPECT_EQ(full.error.code(), ErrorCode::out_of_space);
    server.config_set("maxmemory", "0");
    server.command({"REPLICAOF", "127.0.0.1", "1"});
    const auto replica = spill_one(buffer, message_of("a", "1"));
    EXPECT_EQ(replica.status, Status::refused);
    EXPECT_THAT(replica.error.text(), HasSubstr("primary"));
    EXPECT_THAT(buffer.inspect().error().text(), HasSubstr("replica"));
}

TEST(StreamBuffer, IsInDoubtWhenTheServerHangsAndNothingHangsWithIt) {
    const RedisServer server;
    Client client{server.url(), {.connect_timeout = quick, .command_timeout = quick}};
    StreamBuffer buffer{client};
    EXPECT_EQ(spill_one(buffer, message_of("a", "1")).status, Status::spilled);
    server.pause();
    const Message message = message_of("a", "2");
    const auto late = spill_one(buffer, message);
    server.resume();
    EXPECT_EQ(late.status, Status::in_doubt);
    // Spilled again under its id: there twice at most, in order.
    while (spill_one(buffer, message).status != Status::spilled) {
    }
    const auto found = bodies(drain(*buffer.reader("r")), "a");
    EXPECT_GE(found.size(), 2U);
    EXPECT_EQ(found.front(), "1");
    EXPECT_EQ(found.back(), "2");
}

TEST(StreamBuffer, LoadsItsScriptsAgainWhenTheServerForgotThem) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client};
    EXPECT_EQ(spill_one(buffer, message_of("a", "1")).status, Status::spilled);
    server.command({"SCRIPT", "FLUSH"});
    EXPECT_EQ(spill_one(buffer, message_of("a", "2")).status, Status::spilled);
    EXPECT_THAT(bodies(drain(*buffer.reader("r")), "a"), ElementsAre("1", "2"));
}

TEST(StreamBuffer, AKeyOfAnotherKindIsMetBeforeAnythingIsWritten) {
    const RedisServer server;
    Client client{server.url()};
    server.command({"SET", "hufu:buffer:{default:0}:keys", "foreign"});
    StreamBuffer buffer{client, {.shards = 1}};
    const auto refused = spill_one(buffer, message_of("a", "1"));
    EXPECT_EQ(refused.status, Status::refused);
    server.command({"DEL", "hufu:buffer:{default:0}:keys"});
    EXPECT_EQ(buffer.size().value().entries, 0U);
}

TEST(StreamBuffer, ReportsWhatAServerForgotThatKeepsNothing) {
    RedisServer server;
    Client client{server.url(), {.reconnect_pause_max = std::chrono::milliseconds{1}}};
    Losses losses;
    StreamBuffer buffer{client, {.shards = 2, .on_loss = losses.note()}};
    EXPECT_EQ(buffer.inspect().value().loss, Loss::everything);
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(spill_one(buffer, message_of("k" + std::to_string(i), "x")).status, Status::spilled);
    server.kill();
    server.start();
    while (!buffer.inspect()) {
    }
    EXPECT_EQ(losses.entries, 20U);
    EXPECT_THAT(losses.why, HasSubstr("than it confirmed"));
    EXPECT_EQ(epoch_of(buffer).value(), 0U) << "no key waits behind what is gone";
}

TEST(StreamBuffer, ReportsWhatWasEvictedOrDeletedAndLiftsItsBarriers) {
    const RedisServer server;
    Client client{server.url()};
    Losses losses;
    StreamBuffer buffer{client, {.shards = 1, .on_loss = losses.note()}};
    for (int i = 0; i < 5; ++i) EXPECT_EQ(spill_one(buffer, message_of("a", "x")).status, Status::spilled);
    server.command({"DEL", "hufu:buffer:{default:0}:entries"});
    EXPECT_TRUE(buffer.inspect());
    EXPECT_EQ(losses.entries, 5U);
    EXPECT_EQ(epoch_of(buffer).value(), 0U);
    EXPECT_TRUE(buffer.inspect());
    EXPECT_EQ(losses.entries, 5U) << "told once";
    EXPECT_EQ(spill_one(buffer, message_of("a", "y"), SpillWhen::if_key_is_buffered).status, Status::not_buffered);
}

TEST(StreamBuffer, LosesNoMoreThanItStatesWhenTheServerIsKilled) {
    for (const bool each : {true, false}) {
        RedisServer server{{.durable = true, .settings = {each ? "appendfsync always" : "appendfsync everysec"}}};
        Client client{server.url(), {.reconnect_pause_max = std::chrono::milliseconds{1}}};
        Losses losses;
        StreamBuffer buffer{client, {.on_loss = losses.note()}};
        ASSERT_EQ(buffer.inspect().value().loss, each ? Loss::nothing : Loss::last_second);
        std::uint64_t accepted = 0;
        for (int i = 0; i < 200; ++i) {
            accepted += spill_one(buffer, message_of("k" + std::to_string(i % 7), "x")).status == Status::spilled ? 1 : 0;
        }
        server.kill();  // the system lives: what was written and not synced is still there. Page loss is the shim's matter
        server.start();
        while (!buffer.inspect()) {
        }
        const auto there = buffer.size().value().entries;
        EXPECT_EQ(accepted, 200U);
        EXPECT_LE(accepted - there, losses.entries) << "what is missing is reported";
        if (each) {
            EXPECT_EQ(there, 200U);
        }
    }
}

TEST(StreamBuffer, ReportsWhatAStaleReplicaDoesNotHave) {
    const RedisServer primary{{.durable = true, .settings = {"repl-diskless-sync-delay 0"}}};
    const RedisServer replica{{.settings = {"repl-diskless-sync-delay 0"}}};
    replica.command({"REPLICAOF", "127.0.0.1", std::to_string(primary.port())});
    Client client{primary.url()};
    Losses losses;
    StreamBuffer careless{client, {.shards = 1, .on_loss = losses.note()}};
    while (careless.inspect().value().loss != Loss::everything) {
    }
    EXPECT_THAT(careless.inspect().value().why, HasSubstr("1 replicas, 0 waited for"));
    StreamBuffer careful{client, {.shards = 1, .wait_replicas = 1, .wait_timeout = std::chrono::seconds{4}}};
    EXPECT_EQ(careful.inspect().value().loss, Loss::nothing);
    EXPECT_EQ(spill_one(careful, message_of("a", "1")).status, Status::spilled);

    replica.command({"REPLICAOF", "NO", "ONE"});  // cut off: from here on it is behind
    StreamBuffer impatient{client, {.shards = 1, .wait_replicas = 1, .wait_timeout = std::chrono::milliseconds{50}}};
    const auto behind = spill_one(impatient, message_of("a", "2"));
    EXPECT_EQ(behind.status, Status::in_doubt);
    EXPECT_THAT(behind.error.text(), HasSubstr("0 of 1 replicas"));
    EXPECT_EQ(spill_one(careless, message_of("a", "3")).status, Status::spilled);

    // The stale one's data takes over.
    primary.command({"REPLICAOF", "127.0.0.1", std::to_string(replica.port())});
    while (!careless.size() || careless.size().value().entries != 1) {
    }
    primary.command({"REPLICAOF", "NO", "ONE"});
    EXPECT_TRUE(careless.inspect());
    EXPECT_EQ(losses.entries, 2U) << "the two that only the old primary had";
}

TEST(StreamBuffer, SaysThatANodeOfAClusterIsNothingForIt) {
    const test_support::SplitRedisCluster cluster;
    Client client{cluster.one.url()};
    for (const std::uint32_t shards : {1U, 4U}) {
        StreamBuffer buffer{client, {.shards = shards}};
        auto spilled = spill_one(buffer, message_of("a", "1"));
        while (spilled.error.code() == ErrorCode::unavailable) spilled = spill_one(buffer, message_of("a", "1"));
        EXPECT_EQ(spilled.status, Status::refused);
        const auto reader = buffer.reader("r");
        for (const Error& error : {spilled.error, reader->read(10, quick).error(), epoch_of(buffer).error(),
                                   buffer.inspect().error(), buffer.size().error()}) {
            EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.text();
            EXPECT_EQ(error.disposition(), Disposition::fatal);
            EXPECT_THAT(error.text(), HasSubstr("cluster mode is not offered"));
        }
    }
}

TEST(StreamBuffer, RefusesNamesAndShardsThatCannotBe) {
    const RedisServer server;
    Client client{server.url()};
    EXPECT_THROW(StreamBuffer(client, {.name = "a b"}), Exception);
    EXPECT_THROW(StreamBuffer(client, {.shards = 0}), Exception);
    EXPECT_THROW(StreamBuffer(client, {.shards = 2000}), Exception);
    Client wrong{"redis://:wrong@127.0.0.1:" + std::to_string(server.port())};
    StreamBuffer refused{wrong};
    const auto outcome = spill_one(refused, message_of("a", "1"));
    EXPECT_EQ(outcome.status, Status::refused);
    EXPECT_EQ(outcome.error.code(), ErrorCode::permission);
    EXPECT_EQ(epoch_of(refused).error().code(), ErrorCode::permission);
}

}  // namespace
}  // namespace hufu::redis
