// Calls of the broker to its clients end exactly once.
#include "dispatch/client_calls.hpp"

#include <vector>

#include <gmock/gmock.h>

#include "dispatch/state.hpp"
#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr ConnectionId first{1, 1};
constexpr ConnectionId second{2, 1};

class ClientCallsTest : public DispatchTest {
protected:
    ClientCallsTest()
        : store{Log::open(disk.directory(), log_options, clock).value()}, state{*store, options, ids, metrics, clock} {}

    ClientCalls::Then note(std::string name) {
        return [this, name = std::move(name)](DispatchState&, const ClientCalls::Ended& ended) {
            switch (ended.end) {
                case ClientCalls::End::answered:
                    ends.push_back(name + " answered " + std::to_string(ended.answer->code));
                    break;
                case ClientCalls::End::timed_out: ends.push_back(name + " timed out"); break;
                case ClientCalls::End::disconnected: ends.push_back(name + " disconnected"); break;
            }
        };
    }
    static remoting::CommandView response(std::int32_t opaque, std::int32_t code) {
        remoting::CommandView command;
        command.opaque = opaque;
        command.code = code;
        command.flag = remoting::flag_bit::response;
        return command;
    }

    std::unique_ptr<Log> store;
    DispatchState state;
    ClientCalls calls;
    std::vector<std::string> ends;
};

TEST_F(ClientCallsTest, EndsWithTheAnswerOfTheRightClient) {
    ASSERT_TRUE(calls.add(first, 7, now() + 3s, note("a")));
    calls.answered(state, second, response(7, 0));
    calls.answered(state, first, response(8, 0));
    EXPECT_THAT(ends, IsEmpty());
    calls.answered(state, first, response(7, 5));
    calls.answered(state, first, response(7, 6));
    calls.expire(state, now() + 1h);
    EXPECT_THAT(ends, ElementsAre("a answered 5"));
}

TEST_F(ClientCallsTest, EndsAtItsDeadline) {
    ASSERT_TRUE(calls.add(first, 1, now() + 3s, note("a")));
    ASSERT_TRUE(calls.add(first, 2, now() + 5s, note("b")));
    EXPECT_EQ(calls.next_deadline(), now() + 3s);
    calls.expire(state, now() + 3s);
    EXPECT_THAT(ends, ElementsAre("a timed out"));
    EXPECT_EQ(calls.next_deadline(), now() + 5s);
    calls.expire(state, now() + 5s);
    EXPECT_THAT(ends, ElementsAre("a timed out", "b timed out"));
    EXPECT_EQ(calls.next_deadline(), SteadyTime::max());
}

TEST_F(ClientCallsTest, EndsWithTheConnection) {
    ASSERT_TRUE(calls.add(first, 1, now() + 3s, note("a")));
    ASSERT_TRUE(calls.add(second, 2, now() + 3s, note("b")));
    calls.disconnected(state, first);
    EXPECT_THAT(ends, ElementsAre("a disconnected"));
    EXPECT_EQ(calls.size(), 1U);
}

TEST_F(ClientCallsTest, AContinuationMayCallAgain) {
    ASSERT_TRUE(calls.add(first, 1, now() + 3s, [this](DispatchState&, const ClientCalls::Ended&) {
        EXPECT_TRUE(calls.add(first, 1, now() + 9s, note("again")));
    }));
    calls.expire(state, now() + 3s);
    EXPECT_EQ(calls.next_deadline(), now() + 9s);
    calls.answered(state, first, response(1, 0));
    EXPECT_THAT(ends, ElementsAre("again answered 0"));
}

TEST_F(ClientCallsTest, TakesNoMoreThanItsLimit) {
    for (std::size_t i = 0; i < ClientCalls::calls_max; ++i)
        ASSERT_TRUE(calls.add(first, static_cast<std::int32_t>(i), now() + 3s, note("x")));
    EXPECT_FALSE(calls.add(first, -1, now() + 3s, note("too many")));
    calls.expire(state, now() + 3s);
    EXPECT_EQ(ends.size(), ClientCalls::calls_max);
    EXPECT_TRUE(calls.add(first, -1, now() + 3s, note("x")));
}

}  // namespace
}  // namespace hufu::broker::testing
