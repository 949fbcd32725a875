#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include <hufu/degradation/packed_message.hpp>

#include "stream_fixture.hpp"

namespace hufu::redis {
namespace {

using degradation::SpillOutcome;
using degradation::SpillWhen;
using test_support::RedisServer;
using testing::ElementsAre;
using testing::IsEmpty;
using Status = SpillOutcome::Status;

std::vector<degradation::Entry> buffer_entries(StreamBuffer& buffer) {
    std::vector<degradation::Entry> found;
    const auto seen = buffer.browse(degradation::Buffer::Shelf::waiting, [&](const degradation::Entry& entry) {
        found.push_back(entry);
        return true;
    });
    EXPECT_TRUE(seen);
    return found;
}

void fill(StreamBuffer& buffer, int keys, int each) {
    std::vector<Message> messages;
    for (int i = 0; i < each; ++i) {
        for (int key = 0; key < keys; ++key) messages.push_back(message_of("k" + std::to_string(key), std::to_string(i)));
    }
    for (const auto& outcome : spill(buffer, messages)) ASSERT_EQ(outcome.status, Status::spilled);
}

TEST(StreamReader, ReadsEachEntryOnceUntilItsShardsAreGivenUp) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client};
    fill(buffer, 3, 2);
    const auto reader = buffer.reader("r");
    EXPECT_EQ(drain(*reader).size(), 6U);
    EXPECT_THAT(reader->read(10, std::chrono::milliseconds{0}).value(), IsEmpty());
    ASSERT_TRUE(reader->release());
    const auto again = drain(*reader);
    EXPECT_EQ(again.size(), 6U);
    EXPECT_EQ(again.front().deliveries, 1U);
}

TEST(StreamReader, ADeadReadersEntriesComeFirstAndItsOwnTrimsCountNoMore) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1, .reader_lease = std::chrono::milliseconds{100}}};
    fill(buffer, 1, 2);
    const auto dead = buffer.reader("dead");
    const auto held = drain(*dead);
    ASSERT_THAT(bodies(held, "k0"), ElementsAre("0", "1"));
    EXPECT_EQ(spill_one(buffer, message_of("k0", "2")).status, Status::spilled);
    const auto next = buffer.reader("next");
    std::vector<degradation::Entry> taken;
    while (taken.size() < 3) {
        for (auto& entry : next->read(1, std::chrono::milliseconds{10}).value()) taken.push_back(std::move(entry));
    }
    EXPECT_THAT(bodies(taken, "k0"), ElementsAre("0", "1", "2"));
    EXPECT_EQ(taken[0].deliveries, 1U);
    EXPECT_EQ(taken[2].deliveries, 0U);
    EXPECT_EQ(dead->trim(ids_of(held)).value(), 0U);
    EXPECT_EQ(buffer.size().value().entries, 3U);
    EXPECT_EQ(next->trim(ids_of(taken)).value(), 3U);
    EXPECT_EQ(next->trim(ids_of(taken)).value(), 0U) << "trimmed already";
}

TEST(StreamReader, TwoReadersShareNoEntry) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 8}};
    fill(buffer, 40, 3);
    const auto one = buffer.reader("one");
    const auto two = buffer.reader("two");
    const auto first = drain(*one);
    EXPECT_EQ(first.size(), 120U) << "the first takes every shard";
    EXPECT_THAT(two->read(100, std::chrono::milliseconds{20}).value(), IsEmpty());
    ASSERT_TRUE(one->release());
    EXPECT_EQ(drain(*two).size(), 120U);
}

TEST(StreamReader, WhatIsParkedBarsItsKeyForThoseBehindAndForLaterReaders) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    fill(buffer, 2, 2);
    auto reader = buffer.reader("r");
    const auto first = reader->read(1, std::chrono::seconds{3}).value();
    ASSERT_EQ(first.size(), 1U);
    ASSERT_TRUE(reader->park(ids_of(first), "the topic is forbidden"));
    EXPECT_THAT(bodies(drain(*reader), "k0"), IsEmpty());
    ASSERT_TRUE(reader->release());
    EXPECT_EQ(spill_one(buffer, message_of("k0", "2"), SpillWhen::if_key_is_buffered).status, Status::spilled);
    reader = buffer.reader("later");
    const auto others = drain(*reader);
    EXPECT_THAT(bodies(others, "k0"), IsEmpty());
    EXPECT_THAT(bodies(others, "k1"), ElementsAre("0", "1"));
    EXPECT_EQ(reader->trim(ids_of(others)).value(), 2U);
    EXPECT_GT(epoch_of(buffer).value(), 0U) << "the key stays barred";

    const auto parked = buffer.parked(10).value();
    ASSERT_EQ(parked.size(), 3U);
    EXPECT_EQ(parked[0].message.body, "0");
    EXPECT_EQ(parked[0].reason, "the topic is forbidden");
    EXPECT_EQ(parked[1].reason, "behind a parked message of its key");
    EXPECT_EQ(buffer.size().value().parked, 3U);

    EXPECT_EQ(buffer.unpark().value(), 3U);
    const auto back = drain(*reader);
    EXPECT_THAT(bodies(back, "k0"), ElementsAre("0", "1", "2"));
    EXPECT_EQ(reader->trim(ids_of(back)).value(), 3U);
    EXPECT_EQ(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(buffer.size().value().bytes, 0U);
}

TEST(StreamReader, AParkedKeyIsNotPutBackWhileNewerEntriesOfItWaitUnread) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    fill(buffer, 1, 1);
    const auto reader = buffer.reader("r");
    ASSERT_TRUE(reader->park(ids_of(drain(*reader)), "no"));
    EXPECT_EQ(spill_one(buffer, message_of("k0", "1")).status, Status::spilled);
    EXPECT_EQ(buffer.unpark().value(), 0U) << "it would be overtaken by what waits";
    EXPECT_THAT(drain(*reader), IsEmpty()) << "parked behind it";
    EXPECT_EQ(buffer.unpark().value(), 2U);
    EXPECT_THAT(bodies(drain(*reader), "k0"), ElementsAre("0", "1"));
}

TEST(StreamReader, ParksWhatCannotBeRead) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    server.command({"XADD", "hufu:buffer:{default:0}:entries", "*", "k", "", "m", "foreign"});
    const auto reader = buffer.reader("r");
    EXPECT_THAT(reader->read(10, std::chrono::milliseconds{50}).value(), IsEmpty());
    ASSERT_EQ(buffer.parked(10).value().size(), 1U);
    EXPECT_THAT(buffer.parked(10).value()[0].reason, testing::HasSubstr("is not known here"));
}

TEST(StreamReader, ParksWhatSomebodyElseHasPutThere) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    const std::string base = "hufu:buffer:{default:0}:";
    server.command({"XADD", base + "entries", "*", "temperature", "21"});
    server.command({"XADD", base + "entries", "*", "key", "k0", "message", "0"});
    server.command({"XADD", base + "parked", "*", "temperature", "22"});
    fill(buffer, 1, 1);
    ASSERT_TRUE(buffer.inspect()) << buffer.inspect().error().text();
    const auto reader = buffer.reader("r");
    const auto entries = drain(*reader);
    EXPECT_THAT(bodies(entries, "k0"), ElementsAre("0"));
    EXPECT_EQ(reader->trim(ids_of(entries)).value(), 1U);
    const auto parked = buffer.parked(10).value();
    ASSERT_EQ(parked.size(), 3U);
    for (const auto& one : parked) EXPECT_THAT(one.reason, testing::HasSubstr("no entry of a buffer"));
    EXPECT_EQ(buffer.size().value().entries, 0U);
    EXPECT_EQ(buffer.size().value().bytes, 0U);
    EXPECT_EQ(epoch_of(buffer).value(), 0U) << "it bars no key";
    EXPECT_EQ(buffer.unpark().value(), 3U);
    EXPECT_THAT(drain(*reader), IsEmpty());
    EXPECT_EQ(buffer.size().value().parked, 3U);
    ASSERT_TRUE(buffer.inspect());
}

TEST(StreamReader, EmptiesAServerThatIsFull) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    fill(buffer, 4, 2);
    server.config_set("maxmemory", "1");
    server.command({"SCRIPT", "FLUSH"});
    EXPECT_EQ(spill_one(buffer, message_of("k0", "2")).error.code(), ErrorCode::out_of_space);

    Client newcomer{server.url()};
    StreamBuffer full{newcomer, {.shards = 1}};
    EXPECT_TRUE(full.inspect());
    auto reader = full.reader("r");
    const auto first = reader->read(1, std::chrono::seconds{3}).value();
    ASSERT_EQ(first.size(), 1U);
    const std::string key = first[0].message.ordering_key;
    ASSERT_TRUE(reader->park(ids_of(first), "the topic is forbidden"));
    const auto others = drain(*reader);
    EXPECT_EQ(others.size(), 6U) << "the second of the key is parked behind the first";
    EXPECT_EQ(reader->trim(ids_of(others)).value(), 6U);
    EXPECT_EQ(full.unpark().value(), 2U);
    const auto back = drain(*reader);
    EXPECT_THAT(bodies(back, key), ElementsAre("0", "1"));
    EXPECT_EQ(reader->trim(ids_of(back)).value(), 2U);
    ASSERT_TRUE(reader->release());
    EXPECT_EQ(epoch_of(full).value(), 0U);
    server.config_set("maxmemory", "0");
    EXPECT_EQ(spill_one(buffer, message_of("k0", "3")).status, Status::spilled);
}

TEST(StreamReader, WhatWasReadBesideAFailedParkComesAgain) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 2}};
    fill(buffer, 8, 1);
    const auto reader = buffer.reader("r");
    const auto first = drain(*reader);
    std::map<std::uint32_t, std::vector<degradation::Entry>> by_shard;
    for (const auto& entry : first) by_shard[entry.id.shard].push_back(entry);
    ASSERT_GE(by_shard[0].size(), 2U);
    ASSERT_GE(by_shard[1].size(), 1U);
    const std::string barred = by_shard[0][0].message.ordering_key;
    const std::string beside = by_shard[0][1].message.ordering_key;
    const std::string elsewhere = by_shard[1][0].message.ordering_key;
    ASSERT_TRUE(reader->park(std::span{&by_shard[0][0].id, 1}, "no"));
    ASSERT_TRUE(reader->trim(ids_of(first)));

    const std::string base = "hufu:buffer:{default:0}:";
    server.command({"RENAME", base + "parked", base + "aside"});
    server.command({"SET", base + "parked", "foreign"});
    for (const auto& key : {beside, barred, elsewhere}) {
        ASSERT_EQ(spill_one(buffer, message_of(key, "1")).status, Status::spilled);
    }
    EXPECT_EQ(reader->read(10, std::chrono::milliseconds{50}).error().code(), ErrorCode::conflict);
    server.command({"RENAME", base + "aside", base + "parked"});
    for (const auto& key : {beside, elsewhere}) {
        ASSERT_EQ(spill_one(buffer, message_of(key, "2")).status, Status::spilled);
    }
    const auto again = drain(*reader);
    EXPECT_THAT(bodies(again, beside), ElementsAre("1", "2"));
    EXPECT_THAT(bodies(again, elsewhere), ElementsAre("1", "2"));
    EXPECT_THAT(bodies(again, barred), IsEmpty());
    EXPECT_EQ(buffer.size().value().parked, 2U);
}

TEST(StreamReader, GoesOnAfterTheServerForgotEverything) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 2}};
    fill(buffer, 4, 1);
    const auto reader = buffer.reader("r");
    EXPECT_EQ(drain(*reader).size(), 4U);
    server.flush();
    fill(buffer, 4, 1);
    std::vector<degradation::Entry> entries;
    for (int tries = 0; entries.size() < 4 && tries < 100; ++tries) {
        if (auto page = reader->read(10, std::chrono::milliseconds{20})) {
            for (auto& entry : *page) entries.push_back(std::move(entry));
        }
    }
    EXPECT_EQ(entries.size(), 4U);
    EXPECT_EQ(reader->trim(ids_of(entries)).value(), 4U);
}

TEST(StreamReader, ATrimMayNameAnEntryTwice) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    fill(buffer, 3, 700);
    const auto reader = buffer.reader("r");
    // As after a read that failed while entries were under way: they come again, and both are confirmed.
    auto ids = ids_of(drain(*reader));
    ASSERT_EQ(ids.size(), 2100U);
    const std::vector again(ids.begin(), ids.begin() + 1500);
    ids.insert(ids.begin(), again.begin(), again.end());
    EXPECT_EQ(reader->trim(ids).value(), 2100U);
    EXPECT_EQ(buffer.size().value().entries, 0U);
    EXPECT_EQ(buffer.size().value().bytes, 0U);
    EXPECT_EQ(epoch_of(buffer).value(), 0U);
}

TEST(StreamReader, ALostAnswerToATrimMayBeRepeated) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    fill(buffer, 2, 2);
    const auto reader = buffer.reader("r");
    const auto entries = drain(*reader);
    // As if the first trim had removed two and its answer were lost.
    server.command({"XDEL", "hufu:buffer:{default:0}:entries", entries[0].id.position, entries[1].id.position});
    server.command({"INCRBY", "hufu:buffer:{default:0}:trimmed", "2"});
    EXPECT_EQ(reader->trim(ids_of(entries)).value(), 2U);
    EXPECT_EQ(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(buffer.size().value().bytes, 0U);
}

TEST(StreamReader, TrimsExactlyWhatItIsTold) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    fill(buffer, 1, 8);
    const auto reader = buffer.reader("r");
    const auto entries = drain(*reader);
    const auto ids = ids_of(entries);
    ASSERT_EQ(ids.size(), 8U);
    const auto left = [&] {
        std::vector<std::string> found;
        for (const auto& entry : buffer_entries(buffer)) found.push_back(entry.message.body);
        return found;
    };
    EXPECT_EQ(reader->trim(std::vector{ids[1], ids[5]}).value(), 2U);
    EXPECT_THAT(left(), ElementsAre("0", "2", "3", "4", "6", "7"));
    EXPECT_EQ(reader->trim(std::vector{ids[4], ids[2], ids[0]}).value(), 3U) << "3 stays in front of 4";
    EXPECT_THAT(left(), ElementsAre("3", "6", "7"));
    EXPECT_EQ(spill_one(buffer, message_of("k0", "8")).status, Status::spilled);
    EXPECT_EQ(reader->trim(std::vector{ids[3], ids[6], ids[7]}).value(), 3U);
    EXPECT_THAT(left(), ElementsAre("8")) << "not read yet";
    EXPECT_GT(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(reader->trim(ids_of(drain(*reader))).value(), 1U);
    EXPECT_EQ(epoch_of(buffer).value(), 0U);
    EXPECT_EQ(buffer.size().value().bytes, 0U);
    EXPECT_EQ(server.command({"EXISTS", "hufu:buffer:{default:0}:keys"}), "0");
}

TEST(StreamReader, AServerThatBeganAnewIsNotTrimmedByOldNumbers) {
    RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 1}};
    fill(buffer, 1, 3);
    const auto reader = buffer.reader("r");
    const auto old = drain(*reader);
    ASSERT_EQ(old.size(), 3U);
    const std::string token = server.command({"GET", "hufu:buffer:{default:0}:owner"});
    server.restart();
    // As after a failover to a replica that was behind and has a slower clock: the lease is there, and a new entry has a number
    // below those that the reader knows.
    std::string packed;
    degradation::pack(message_of("k0", "new"), packed);
    server.command({"SET", "hufu:buffer:{default:0}:owner", token});
    server.command({"XADD", "hufu:buffer:{default:0}:entries", "5-0", "k", std::string_view{"orders\0k0", 9}, "m", packed});
    server.command({"INCR", "hufu:buffer:{default:0}:spilled"});
    for (int tries = 0; !client.run(Command{"PING"}) && tries < 100; ++tries) {
    }
    EXPECT_EQ(reader->trim(ids_of(old)).value(), 0U);
    EXPECT_EQ(buffer.size().value().entries, 1U);
    std::vector<degradation::Entry> entries;
    for (int tries = 0; entries.empty() && tries < 100; ++tries) {
        if (auto page = reader->read(10, std::chrono::milliseconds{20})) entries = std::move(*page);
    }
    EXPECT_THAT(bodies(entries, "k0"), ElementsAre("new"));
}

TEST(StreamReader, ReadsWhileAnotherThreadTrims) {
    const RedisServer server;
    Client client{server.url()};
    StreamBuffer buffer{client, {.shards = 3}};
    constexpr int keys = 20;
    constexpr int each = 200;
    fill(buffer, keys, each);
    const auto reader = buffer.reader("r");
    std::vector<degradation::Entry> all;
    std::future<std::size_t> trimming;
    std::size_t trimmed = 0;
    while (all.size() < std::size_t{keys} * each) {
        auto page = reader->read(64, std::chrono::milliseconds{500}).value();
        ASSERT_FALSE(page.empty());
        if (trimming.valid()) trimmed += trimming.get();
        trimming = std::async(std::launch::async, [&reader, ids = ids_of(page)] { return reader->trim(ids).value(); });
        all.insert(all.end(), std::make_move_iterator(page.begin()), std::make_move_iterator(page.end()));
    }
    trimmed += trimming.get();
    EXPECT_EQ(trimmed, std::size_t{keys} * each);
    EXPECT_EQ(buffer.size().value().entries, 0U);
    for (int key = 0; key < keys; ++key) {
        const auto seen = bodies(all, "k" + std::to_string(key));
        ASSERT_EQ(seen.size(), std::size_t{each});
        for (int i = 0; i < each; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], std::to_string(i));
    }
}

}  // namespace
}  // namespace hufu::redis
