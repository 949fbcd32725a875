// hufu replay killed at any point of its life, alone and beside another one: run again, it ends in the same state.
#include <hufu/test_support/redis_server.hpp>

#include "tests/replay_fixture.hpp"

namespace hufu::cli {
namespace {

class CliReplayKilled : public CliReplay {
protected:
    [[nodiscard]] std::vector<std::string> run_of(const std::string& from) const {
        return words(from, {"--rate", "2000", "--json", "--outcomes", program_.file("outcomes")});
    }
    /// A point in that tenth of a run's life.
    static milliseconds point_in(int tenth, milliseconds life) {
        const auto share = static_cast<std::uint64_t>(life.count()) / 10;
        return milliseconds{static_cast<std::int64_t>(share * static_cast<std::uint64_t>(tenth) +
                                                      system_random().below(std::max<std::uint64_t>(share, 1)))};
    }
    static void expect_empty(const Said& said) {
        EXPECT_EQ(said.exit_code, 0) << said.err;
        EXPECT_EQ(object(said).at("left").to_number<int>(), 0);
        EXPECT_EQ(object(said).at("left_parked").to_number<int>(), 0);
        EXPECT_TRUE(object(said).at("adds_up").as_bool());
    }

    /// Ten runs, each over as much, each killed in another tenth of its life: while it starts, takes its shards, publishes,
    /// trims, gives back. Then run again to the end.
    void kill_at_ten_points(const std::string& from) {
        constexpr int each = 600;
        auto all = spill(from, each);
        const SteadyTime begin = system_clock().steady_now();
        expect_empty(program_.run(run_of(from)));
        const auto life = std::chrono::duration_cast<milliseconds>(system_clock().steady_now() - begin);
        int killed = 0;
        for (int tenth = 0; tenth < 10; ++tenth) {
            const auto more = spill(from, each);
            all.insert(all.end(), more.begin(), more.end());
            const auto point = point_in(tenth, life);
            SCOPED_TRACE("killed after " + std::to_string(point.count()) + " of " + std::to_string(life.count()) + " ms");
            const pid_t child = program_.start(run_of(from));
            sleep(point);
            ::kill(child, SIGKILL);
            const auto said = program_.wait(child);
            killed += said.exit_code == 128 + SIGKILL ? 1 : 0;
            EXPECT_TRUE(said.exit_code == 128 + SIGKILL || said.exit_code == 0) << said.err;
            expect_empty(program_.run(run_of(from)));
        }
        EXPECT_GE(killed, 6) << "most of them ended before they were killed";
        check_delivered(all);
        EXPECT_EQ(ids_in("outcomes").size(), all.size()) << "the outcome file lost a line";
    }
};

TEST_F(CliReplayKilled, AtTenPointsOnAJournalItEndsInTheSameState) { kill_at_ten_points(journal()); }

TEST_F(CliReplayKilled, AtTenPointsOnRedisItEndsInTheSameState) {
    const test_support::RedisServer redis{{.durable = true}};
    kill_at_ten_points(redis.url() + "?buffer=shop&shards=2&lease_ms=300");
}

TEST_F(CliReplayKilled, NeitherOfTwoAtOnceTheyEndInTheSameState) {
    const test_support::RedisServer redis{{.durable = true}};
    const std::string from = redis.url() + "?shards=4&lease_ms=1000";
    const auto messages = spill(from, 3'000);
    const auto preview = program_.run(words(from, {"--dry-run", "--json"}));
    EXPECT_EQ(object(preview).at("would_go").to_number<int>(), 3'000);
    Program other;
    const pid_t first = program_.start(words(from, {"--rate", "2000", "--json"}));
    const pid_t second = other.start(words(from, {"--rate", "2000", "--json"}));
    const auto one = program_.wait(first);
    const auto two = other.wait(second);
    EXPECT_EQ(one.exit_code, 0) << one.err;
    EXPECT_EQ(two.exit_code, 0) << two.err;
    EXPECT_GE(object(one).at("confirmed").to_number<int>() + object(two).at("confirmed").to_number<int>(), 3'000);
    EXPECT_EQ(object(two).at("left").to_number<int>(), 0);
    check_delivered(messages);
}

TEST_F(CliReplayKilled, BothOfTwoAtOnceTheyEndInTheSameState) {
    const test_support::RedisServer redis{{.durable = true}};
    const std::string from = redis.url() + "?shards=4&lease_ms=2000";
    const auto messages = spill(from, 6'000);
    Program other;
    const Program* const places[] = {&program_, &other};
    const auto run = words(from, {"--rate", "500", "--json"});
    pid_t children[] = {program_.start(run), other.start(run)};
    // Each three times, at points that have nothing to do with those of the other; what is left is enough for all of them.
    for (int round = 0; round < 6; ++round) {
        sleep(milliseconds{static_cast<std::int64_t>(system_random().below(600))});
        const int victim = round % 2;
        ::kill(children[victim], SIGKILL);
        EXPECT_EQ(places[victim]->wait(children[victim]).exit_code, 128 + SIGKILL) << "it ended before it was killed";
        children[victim] = places[victim]->start(run);
    }
    int rest = 0;
    for (int one = 0; one < 2; ++one) {
        const auto said = places[one]->wait(children[one]);
        expect_empty(said);
        rest += object(said).at("trimmed").to_number<int>();
    }
    EXPECT_LE(rest, 6'000) << "nothing is trimmed twice";
    check_delivered(messages);
}

}  // namespace
}  // namespace hufu::cli
