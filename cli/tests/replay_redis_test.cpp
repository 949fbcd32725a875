// hufu replay from a Redis that is not as it should be: a documented exit code, a sentence with the way out, nothing lost.
#include <hufu/test_support/redis_server.hpp>

#include "tests/replay_fixture.hpp"

namespace hufu::cli {
namespace {

using test_support::RedisServer;
using testing::Not;

class CliReplayRedis : public CliReplay {
protected:
    /// The run at a server in its bad state, and that it says all of `says` about it, and what it has for a shell.
    void expect(const std::string& from, int exit_code, const std::vector<std::string>& says) const {
        const auto said = program_.run(words(from, {"--patience", "500ms"}));
        EXPECT_EQ(said.exit_code, exit_code) << said.err;
        for (const auto& part : says) EXPECT_THAT(said.err, HasSubstr(part));
    }
    /// Everything is still there, and goes when the server is well again.
    void expect_all_there(const std::string& from, const std::vector<Message>& messages) {
        const auto said = program_.run(words(from, {"--json"}));
        EXPECT_EQ(said.exit_code, 0) << said.err;
        EXPECT_GE(object(said).at("confirmed").to_number<std::size_t>(), messages.size());
        EXPECT_EQ(object(said).at("left").to_number<int>(), 0);
        check_delivered(messages);
    }
    static std::string place(const RedisServer& redis) { return "127.0.0.1:" + std::to_string(redis.port()); }
};

TEST_F(CliReplayRedis, AWrongPassword) {
    const RedisServer redis{{.password = "right"}};
    const auto messages = spill(redis.url(), 20);
    expect("redis://:wr0ng@" + place(redis), 1, {place(redis), "WRONGPASS", "check user and password in the URL"});
    EXPECT_THAT(program_.run(words("redis://:wr0ng@" + place(redis))).err, Not(HasSubstr("wr0ng")));
    expect("redis://" + place(redis), 1, {place(redis), "NOAUTH", "put it into the URL"});
    expect_all_there(redis.url(), messages);
}

TEST_F(CliReplayRedis, AReadOnlyReplica) {
    const RedisServer redis{};
    const auto messages = spill(redis.url(), 20);
    redis.command({"REPLICAOF", "127.0.0.1", "1"});
    expect(redis.url(), 3, {place(redis), "READONLY", "give the primary's address", "nothing is lost"});
    redis.command({"REPLICAOF", "NO", "ONE"});
    expect_all_there(redis.url(), messages);
}

TEST_F(CliReplayRedis, AServerThatIsFullIsEmptied) {
    const RedisServer redis{{.settings = {"maxmemory 4mb"}}};
    const auto buffer = connect::buffer(redis.url()).value();
    std::vector<Message> held;
    Error refusal;
    while (refusal.code() != ErrorCode::out_of_space && held.size() < 50'000) {
        std::vector<Message> messages;
        for (int i = 0; i < 100; ++i) messages.push_back(next());
        std::vector<SpillOutcome> outcomes(messages.size());
        std::promise<void> done;
        buffer->spill(messages, SpillWhen::always, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        for (std::size_t i = 0; i < messages.size(); ++i) {
            if (outcomes[i].status == SpillOutcome::Status::spilled) {
                held.push_back(messages[i]);
            } else {
                refusal = outcomes[i].error;
            }
        }
    }
    ASSERT_EQ(refusal.code(), ErrorCode::out_of_space) << refusal.text();
    redis.config_set("maxmemory", "1mb");  // full it stays, whatever goes
    const auto said = program_.run(words(redis.url(), {"--json"}));
    ASSERT_EQ(said.exit_code, 0) << said.err;
    // More: on a machine that stands still for a while an answer comes too late, and the shard is read anew.
    EXPECT_GE(object(said).at("confirmed").to_number<std::size_t>(), held.size());
    EXPECT_EQ(object(said).at("left").to_number<int>(), 0);
    check_delivered(held);
}

TEST_F(CliReplayRedis, AServerThatHangs) {
    const RedisServer redis{};
    const auto messages = spill(redis.url(), 20);
    redis.pause();
    expect(redis.url(), 3, {place(redis), "in time"});
    redis.resume();
    expect_all_there(redis.url(), messages);
}

TEST_F(CliReplayRedis, ANodeOfAClusterThatSendsItElsewhere) {
    const RedisServer one{{.settings = {"cluster-enabled yes"}}};
    const RedisServer two{{.settings = {"cluster-enabled yes"}}};
    const auto wait_until = [](const std::function<bool()>& so) {
        for (int look = 0; look < 800 && !so(); ++look) sleep(milliseconds{25});
        ASSERT_TRUE(so());
    };
    const auto says = [&](const std::string& word) {
        return [&one, word] {
            try {
                return one.command({"SET", "a", "b"}).find(word) != std::string::npos;
            } catch (const std::runtime_error& refused) {
                return std::string{refused.what()}.find(word) != std::string::npos;
            }
        };
    };
    one.command({"CLUSTER", "ADDSLOTSRANGE", "0", "16383"});
    wait_until(says("OK"));
    const auto messages = spill(one.url(), 20);
    // Its neighbour has all the slots now; what is in the keys stays where it is.
    one.command({"CLUSTER", "DELSLOTSRANGE", "0", "16383"});
    expect(one.url(), 3, {place(one), "CLUSTERDOWN"});
    two.command({"CLUSTER", "ADDSLOTSRANGE", "0", "16383"});
    one.command({"CLUSTER", "MEET", "127.0.0.1", std::to_string(two.port())});
    wait_until(says("MOVED"));
    expect(one.url(), 1, {place(one), "MOVED", "cluster", "give a server that owns all keys"});
    two.command({"CLUSTER", "DELSLOTSRANGE", "0", "16383"});
    one.command({"CLUSTER", "FORGET", two.command({"CLUSTER", "MYID"})});
    one.command({"CLUSTER", "ADDSLOTSRANGE", "0", "16383"});
    wait_until(says("OK"));
    expect_all_there(one.url(), messages);
}

TEST_F(CliReplayRedis, ScriptsThatAreFlushedInTheMiddle) {
    const RedisServer redis{};
    const auto messages = spill(redis.url(), 1'000);
    const std::string outcomes = program_.file("outcomes");
    const pid_t child = program_.start(words(redis.url(), {"--rate", "1000", "--json", "--outcomes", outcomes}));
    const auto size = [&] { return std::filesystem::exists(outcomes) ? std::filesystem::file_size(outcomes) : 0; };
    for (int flushes = 0; flushes < 3; ++flushes) {
        const auto before = size();
        for (int look = 0; look < 30'000 && size() == before; ++look) sleep(milliseconds{1});
        EXPECT_GT(size(), before);
        redis.command({"SCRIPT", "FLUSH"});
    }
    const auto said = program_.wait(child);
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_GE(object(said).at("confirmed").to_number<int>(), 1'000);
    EXPECT_EQ(object(said).at("left").to_number<int>(), 0);
    check_delivered(messages);
}

TEST_F(CliReplayRedis, AnEmptyBuffer) {
    const RedisServer redis{};
    expect(redis.url(), 0, {"nothing to replay", place(redis), "buffer default"});
    expect(redis.url() + "?buffer=typo", 0, {"nothing to replay", "buffer typo"});
}

TEST_F(CliReplayRedis, AnUnknownDatabase) {
    const RedisServer redis{};
    expect(redis.url() + "/99", 2, {place(redis), "DB index is out of range"});
}

TEST_F(CliReplayRedis, AForeignKeyIsRefusedAndNothingTouched) {
    const RedisServer redis{};
    redis.command({"SET", "hufu:buffer:{default:0}:entries", "not ours"});
    for (const auto* const more : {"--once", "--dry-run", "--retry-parked"}) {
        const auto said = program_.run(words(redis.url(), {"--patience", "500ms", more}));
        EXPECT_EQ(said.exit_code, 1) << more << ": " << said.err;
        EXPECT_THAT(said.err, AllOf(HasSubstr(place(redis)), HasSubstr("WRONGTYPE"), HasSubstr("holds something else")));
    }
    EXPECT_EQ(redis.command({"GET", "hufu:buffer:{default:0}:entries"}), "not ours");
    EXPECT_EQ(redis.command({"DBSIZE"}), "1") << "it left keys of its own";
}

TEST_F(CliReplayRedis, AForeignStreamKeepsWhatIsInIt) {
    const std::string stream = "hufu:buffer:{default:0}";
    const auto held = [&](const RedisServer& redis) {
        return std::stoi(redis.command({"XLEN", stream + ":entries"})) +
               std::stoi(redis.command({"XLEN", stream + ":parked"}));
    };
    const RedisServer other_shape{};
    other_shape.command({"XADD", stream + ":entries", "*", "temperature", "21"});
    expect(other_shape.url(), 1, {"set aside", "--retry-parked"});
    EXPECT_EQ(held(other_shape), 1);

    const RedisServer other_bytes{};
    other_bytes.command({"XADD", stream + ":entries", "*", "k", "", "m", "not a packed message"});
    expect(other_bytes.url(), 1, {"set aside", "--retry-parked"});
    EXPECT_EQ(held(other_bytes), 1);
}

}  // namespace
}  // namespace hufu::cli
