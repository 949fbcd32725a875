#include <hufu/redis/client.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include <hufu/test_support/redis_server.hpp>

namespace hufu::redis {
namespace {

using test_support::RedisServer;

TEST(RedisClient, RunsCommandsOverBothKindsOfSocket) {
    const RedisServer server;
    for (const auto& url : {server.url(), server.socket_url(), server.url() + "/5"}) {
        Client client{url};
        EXPECT_EQ(client.run(Command{"SET", "a", std::string{"b\0\r\n", 4}}).value().text, "OK");
        EXPECT_EQ(client.run(Command{"GET", "a"}).value().text, std::string("b\0\r\n", 4));
        EXPECT_EQ(client.run(Command{"INCRBY", "n", 41}).value().integer % 41, 0);
        EXPECT_TRUE(client.run(Command{"GET", "none"}).value().is_nil());
        EXPECT_GE(client.server_version().value(), 700);
    }
}

TEST(RedisClient, KeepsTheOrderOfOneFlightAndAnswersEach) {
    const RedisServer server;
    Client client{server.url()};
    const Command commands[] = {Command{"SET", "a", 1}, Command{"INCR", "a"}, Command{"LPUSH", "a", "x"},
                                Command{"MGET", "a", "none"}};
    const auto replies = client.run(commands);
    ASSERT_EQ(replies.size(), 4U);
    EXPECT_EQ(replies[1].value().integer, 2);
    EXPECT_EQ(replies[2].error().code(), ErrorCode::conflict);
    EXPECT_EQ(replies[3].value().items.at(0).text, "2");
    EXPECT_TRUE(replies[3].value().items.at(1).is_nil());
}

TEST(RedisClient, SharesOneConnectionAmongThreads) {
    const RedisServer server;
    Client client{server.url()};
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int thread = 0; thread < 8; ++thread) {
        threads.emplace_back([&, thread] {
            for (int i = 0; i < 200; ++i) {
                const auto said = client.run(Command{"ECHO", thread * 1000 + i});
                if (!said || said->text != std::to_string(thread * 1000 + i)) ++wrong;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(client.run(Command{"CLIENT", "LIST"}).value().text.find("\nid="), std::string::npos);  // one line
}

TEST(RedisClient, CarriesWhatIsLargerThanTheSocketTakes) {
    const RedisServer server;
    Client client{server.url()};
    const std::string large(20'000'000, 'x');
    EXPECT_EQ(client.run(Command{"SET", "large", large}).value().text, "OK");
    EXPECT_EQ(client.run(Command{"GET", "large"}).value().text, large);
}

TEST(RedisClient, RefusesMoreThanMayWaitAndAReplyThatIsTooLarge) {
    const RedisServer server;
    Client client{server.url(), {.reply_bytes_max = 50'000, .waiting_bytes_max = 100'000}};
    const auto refused = client.run(Command{"SET", "a", std::string(200'000, 'x')});
    EXPECT_EQ(refused.error().code(), ErrorCode::busy);
    EXPECT_EQ(refused.error().disposition(), Disposition::retry);
    EXPECT_EQ(client.run(Command{"SET", "a", std::string(90'000, 'x')}).value().text, "OK");
    EXPECT_EQ(client.run(Command{"GET", "a"}).error().code(), ErrorCode::too_large);
    EXPECT_EQ(client.run(Command{"PING"}).value().text, "PONG");
}

TEST(RedisClient, SaysThatNothingHappenedWhenNobodyListens) {
    RedisServer server;
    Client client{server.url()};
    server.kill();
    const auto refused = client.run(Command{"PING"});
    EXPECT_EQ(refused.error().code(), ErrorCode::unavailable);
    EXPECT_EQ(refused.error().disposition(), Disposition::retry);
    EXPECT_THAT(refused.error().text(), testing::HasSubstr("is Redis running there?"));
}

TEST(RedisClient, ConnectsAgainAfterARestart) {
    RedisServer server;
    Client client{server.url(), {.reconnect_pause_max = std::chrono::milliseconds{1}}};
    EXPECT_TRUE(client.run(Command{"PING"}));
    server.kill();
    // The connection had been idle for a moment or not: found closed, or in doubt. Then refused, until it is back.
    EXPECT_FALSE(client.run(Command{"PING"}));
    server.start();
    while (!client.run(Command{"PING"})) {
    }
    EXPECT_EQ(client.run(Command{"PING"}).value().text, "PONG");
}

TEST(RedisClient, IsInDoubtWhenTheAnswerDoesNotCome) {
    const RedisServer server;
    Client client{server.url(), {.command_timeout = std::chrono::milliseconds{100}}};
    EXPECT_TRUE(client.run(Command{"PING"}));
    server.pause();
    const auto late = client.run(Command{"INCR", "n"});
    server.resume();
    EXPECT_EQ(late.error().code(), ErrorCode::timeout);
    EXPECT_EQ(late.error().disposition(), Disposition::in_doubt);
    // The late answer belongs to a connection that is gone: it is not taken for that of the next command.
    EXPECT_EQ(client.run(Command{"ECHO", "mine"}).value().text, "mine");
}

TEST(RedisClient, FailsEveryCallerWhenTheServerDies) {
    RedisServer server;
    Client client{server.url(), {.command_timeout = std::chrono::seconds{30}}};
    std::atomic<int> failed{0};
    std::vector<std::thread> threads;
    EXPECT_TRUE(client.run(Command{"PING"}));
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            if (!client.run(Command{"BLPOP", "nothing", 0})) ++failed;
        });
    }
    server.kill();
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(failed, 4);
}

TEST(RedisClient, NamesAWrongPassword) {
    const RedisServer server{{.password = "right"}};
    Client right{server.url()};
    EXPECT_EQ(right.run(Command{"PING"}).value().text, "PONG");
    Client wrong{"redis://:wrong@127.0.0.1:" + std::to_string(server.port())};
    const auto refused = wrong.run(Command{"PING"});
    EXPECT_EQ(refused.error().code(), ErrorCode::permission);
    EXPECT_EQ(refused.error().disposition(), Disposition::fatal);
    EXPECT_THAT(refused.error().text(), testing::Not(testing::HasSubstr("wrong@")));
    Client none{"redis://127.0.0.1:" + std::to_string(server.port())};
    EXPECT_EQ(none.run(Command{"PING"}).error().code(), ErrorCode::permission);
}

TEST(RedisClient, NamesAServerThatIsFullOrAReplica) {
    const RedisServer server;
    Client client{server.url()};
    server.config_set("maxmemory", "1");
    const auto full = client.run(Command{"SET", "a", "b"});
    EXPECT_EQ(full.error().code(), ErrorCode::out_of_space);
    EXPECT_EQ(full.error().disposition(), Disposition::retry);
    server.config_set("maxmemory", "0");
    server.command({"REPLICAOF", "127.0.0.1", "1"});
    const auto replica = client.run(Command{"SET", "a", "b"});
    EXPECT_EQ(replica.error().code(), ErrorCode::unavailable);
    EXPECT_EQ(replica.error().disposition(), Disposition::retry);
    EXPECT_THAT(replica.error().text(), testing::HasSubstr("is a replica"));
}

TEST(RedisClient, NamesAClusterThatSendsItElsewhere) {
    const RedisServer server{{.settings = {"cluster-enabled yes", "cluster-require-full-coverage no"}}};
    Client client{server.url()};
    // A node that owns no slot: its neighbour would own them. CLUSTERDOWN without one.
    const auto refused = client.run(Command{"SET", "a", "b"});
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().text(), testing::HasSubstr("cluster"));
}

}  // namespace
}  // namespace hufu::redis
