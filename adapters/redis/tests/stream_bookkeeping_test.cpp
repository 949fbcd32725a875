// What the server has lost of a stream buffer's own keys, and what an answer that came late leaves of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "stream_fixture.hpp"

namespace hufu::redis {
namespace {

using degradation::SpillOutcome;
using degradation::SpillWhen;
using test_support::RedisServer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Status = SpillOutcome::Status;

const std::string base = "hufu:buffer:{default:0}:";

class StreamBookkeeping : public testing::Test {
protected:
    void spilled(const std::string& key, const std::string& body = "x") {
        EXPECT_EQ(spill_one(buffer_, message_of(key, body)).status, Status::spilled);
    }
    Status behind(const std::string& key) {
        return spill_one(buffer_, message_of(key, "y"), SpillWhen::if_key_is_buffered).status;
    }
    std::string said() {
        const std::lock_guard lock{mutex_};
        return std::exchange(why_, {});
    }

    RedisServer server_;
    Client client_{server_.url()};
    std::mutex mutex_;
    std::string why_;            // guarded by mutex_
    std::uint64_t entries_ = 0;  // guarded by mutex_
    StreamBuffer buffer_{client_, {.shards = 1, .on_loss = [this](const BufferLoss& loss) {
                                       const std::lock_guard lock{mutex_};
                                       entries_ += loss.entries_max;
                                       why_ += loss.why;
                                   }}};
};

TEST_F(StreamBookkeeping, ABarrierThatIsGoneIsRaisedAgainAndReported) {
    spilled("a");
    spilled("b");
    for (const std::string name : {":keys", ":epoch"}) {
        server_.command({"DEL", base + name.substr(1)});
        ASSERT_TRUE(buffer_.inspect());
        EXPECT_THAT(said(), HasSubstr("had no " + name));
        EXPECT_GT(epoch_of(buffer_).value(), 0U) << name;
        EXPECT_EQ(behind("a"), Status::spilled) << name;
        EXPECT_EQ(behind("c"), Status::not_buffered) << name;
        ASSERT_TRUE(buffer_.inspect());
        EXPECT_EQ(said(), "") << "told once";
    }
    EXPECT_EQ(entries_, 0U) << "no entry is gone";
    const auto reader = buffer_.reader("r");
    EXPECT_EQ(reader->trim(ids_of(drain(*reader))).value(), 4U);
    EXPECT_EQ(epoch_of(buffer_).value(), 0U);
}

TEST_F(StreamBookkeeping, ASpillBehindKeysThatAreGoneKeepsTheOthersBarred) {
    spilled("a");
    server_.command({"DEL", base + "keys"});
    spilled("b");
    EXPECT_EQ(behind("a"), Status::spilled);
}

TEST_F(StreamBookkeeping, TheBarOfAParkedKeyIsMadeAnew) {
    spilled("a");
    auto reader = buffer_.reader("r");
    ASSERT_TRUE(reader->park(ids_of(drain(*reader)), "no"));
    ASSERT_TRUE(reader->release());
    server_.command({"DEL", base + "barred"});
    ASSERT_TRUE(buffer_.inspect());
    EXPECT_THAT(said(), HasSubstr("had no :barred"));
    spilled("a", "2");
    EXPECT_THAT(drain(*reader), IsEmpty()) << "it waits behind the parked one";
}

TEST_F(StreamBookkeeping, CountersThatAreGoneAreReported) {
    spilled("a");
    spilled("a");
    server_.command({"DEL", base + "bytes"});
    ASSERT_TRUE(buffer_.inspect());
    EXPECT_GT(buffer_.size().value().bytes, 0U);
    const auto reader = buffer_.reader("r");
    const auto entries = drain(*reader);
    EXPECT_EQ(reader->trim(std::span{&entries[0].id, 1}).value(), 1U);
    EXPECT_EQ(said(), "");
    server_.command({"DEL", base + "trimmed"});
    ASSERT_TRUE(buffer_.inspect());
    EXPECT_THAT(said(), HasSubstr("fewer than it counted"));
    server_.command({"DEL", base + "spilled"});
    ASSERT_TRUE(buffer_.inspect());
    EXPECT_THAT(said(), HasSubstr("had no :spilled"));
    EXPECT_EQ(behind("a"), Status::spilled);
}

TEST_F(StreamBookkeeping, MessagesWithoutAKeyMissNothing) {
    spilled("");
    spilled("");
    ASSERT_TRUE(buffer_.inspect());
    const auto reader = buffer_.reader("r");
    const auto entries = drain(*reader);
    ASSERT_TRUE(reader->park(std::span{&entries[0].id, 1}, "no"));
    ASSERT_TRUE(buffer_.inspect());
    ASSERT_TRUE(reader->release());
    EXPECT_EQ(drain(*reader).size(), 1U) << "a parked one without a key bars no other";
    EXPECT_EQ(epoch_of(buffer_).value(), 0U);
    const ConsumerKey keys[] = {{"orders", ""}, {"orders", "a"}};
    EXPECT_THAT(buffer_.holds(keys).value(), ElementsAre(false, false));
    const auto mixed = spill(buffer_, std::vector{message_of("", "1"), message_of("", "2")}, SpillWhen::if_key_is_buffered);
    EXPECT_EQ(mixed[1].status, Status::not_buffered);
    EXPECT_EQ(buffer_.unpark().value(), 1U);
    EXPECT_EQ(reader->trim(ids_of(drain(*reader))).value(), 2U);
    ASSERT_TRUE(buffer_.inspect());
    EXPECT_EQ(said(), "");
    EXPECT_EQ(server_.command({"EXISTS", base + "keys", base + "barred"}), "0");
}

TEST_F(StreamBookkeeping, ATrimThatWasAnsweredLateIsNotCountedAnew) {
    for (const auto* key : {"a", "a", "b", ""}) spilled(key);
    Client hasty{server_.url(), {.command_timeout = std::chrono::milliseconds{200}}};
    StreamBuffer same{hasty, {.shards = 1}};
    const auto reader = same.reader("r");
    const auto entries = drain(*reader);
    ASSERT_EQ(entries.size(), 4U);
    const auto ids = ids_of(entries);
    ASSERT_EQ(reader->trim(std::span{ids}.first(1)).value(), 1U);
    server_.command({"HSET", base + "keys", "witness", "1"});  // gone as soon as somebody counts anew
    server_.pause();
    EXPECT_FALSE(reader->trim(std::span{ids}.subspan(1, 2)));
    server_.resume();
    while (buffer_.size().value().entries != 1) {
    }
    EXPECT_EQ(reader->trim(ids_of(std::vector(entries.begin() + 1, entries.end()))).value(), 1U);
    EXPECT_EQ(server_.command({"HGETALL", base + "keys"}), "2") << "the witness and its count";
    EXPECT_EQ(server_.command({"HGET", base + "keys", "witness"}), "1");
    EXPECT_EQ(buffer_.size().value().bytes, 0U);
    EXPECT_EQ(server_.command({"GET", base + "trimmed"}), "4");
}

TEST_F(StreamBookkeeping, ALateTrimTakesOnlyWhatIsThereFromTheCount) {
    for (const auto* key : {"a", "a", "b"}) spilled(key);
    const auto reader = buffer_.reader("r");
    const auto entries = drain(*reader);
    const auto& first = entries[0].id.position;
    // The first trim took one of two away, and its answer was lost.
    server_.command({"XDEL", base + "entries", first});
    server_.command({"INCRBY", base + "trimmed", "1"});
    server_.command({"HINCRBY", base + "keys", std::string{"orders\0a", 8}, "-1"});
    EXPECT_EQ(reader->trim(ids_of(std::vector(entries.begin(), entries.begin() + 2))).value(), 1U);
    EXPECT_EQ(behind("a"), Status::not_buffered);
    EXPECT_EQ(behind("b"), Status::spilled);
}

/// Real eviction: what is reported is at least what is missing, and the keys of what is left are barred.
TEST(StreamEviction, ReportsAtLeastWhatWasEvicted) {
    for (int round = 0; round < 5; ++round) {
        const RedisServer server;
        Client client{server.url()};
        std::uint64_t reported = 0;
        bool told = false;
        StreamBuffer buffer{client, {.shards = 8, .on_loss = [&](const BufferLoss& loss) {
                                         reported += loss.entries_max;
                                         told = true;
                                     }}};
        std::vector<Message> messages;
        for (int i = 0; i < 400; ++i) messages.push_back(message_of("k" + std::to_string(i % 40), std::string(200, 'x')));
        for (const auto& outcome : spill(buffer, messages)) ASSERT_EQ(outcome.status, Status::spilled);
        const int before = std::stoi(server.command({"DBSIZE"}));
        server.command({"CONFIG", "SET", "maxmemory-policy", "allkeys-random"});
        server.config_set("maxmemory", "3mb");
        int fillers = 0;
        const std::string filler(10'000, 'f');
        const auto buffer_keys = [&] {
            return std::stoi(server.command({"EVAL", "return #redis.call('KEYS', 'hufu:buffer:*')", "0"}));
        };
        while (buffer_keys() > before - 6 && fillers < 5'000) {
            server.command({"SET", "filler:" + std::to_string(fillers++), filler});
        }
        server.config_set("maxmemory", "0");
        ASSERT_LE(buffer_keys(), before - 6);
        ASSERT_TRUE(buffer.inspect());
        const auto left = buffer.size().value().entries;
        EXPECT_GE(reported, 400 - left);
        EXPECT_TRUE(told);
        std::set<std::string> waiting;
        ASSERT_TRUE(buffer.browse(degradation::Buffer::Shelf::waiting, [&](const degradation::Entry& entry) {
            waiting.insert(entry.message.ordering_key);
            return true;
        }));
        for (const auto& key : waiting) {
            EXPECT_TRUE(buffer.holds(std::vector<ConsumerKey>{{"orders", key}}).value()[0]) << key;
        }
        EXPECT_EQ(epoch_of(buffer).value() > 0, !waiting.empty());
    }
}

}  // namespace
}  // namespace hufu::redis
