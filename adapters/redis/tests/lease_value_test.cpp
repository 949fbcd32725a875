#include "lease_value.hpp"

#include <gtest/gtest.h>

namespace hufu::redis {
namespace {

using idempotency::LeaseRequest;
using idempotency::LeaseSeen;
using idempotency::LeaseToken;

class LeaseValue : public testing::Test {
protected:
    SeededRandom random_{1};
    LeaseRequest request_{.key = {"mail", "1"}, .token = LeaseToken{random_}, .fingerprint = std::string{"f\0p", 3}};
    LeaseToken other_{random_};
};

TEST_F(LeaseValue, TellsItsHolderFromOthers) {
    const auto held = held_value(request_);
    EXPECT_EQ(read_value(held, request_.token).value().state, LeaseSeen::State::ours);
    const auto seen = read_value(held, other_).value();
    EXPECT_EQ(seen.state, LeaseSeen::State::in_progress);
    EXPECT_EQ(seen.fingerprint, request_.fingerprint);
}

TEST_F(LeaseValue, KeepsAResultOfAnyBytes) {
    const std::string bytes{"\0D\r\nL", 5};
    const auto seen = read_value(done_value(request_, {.bytes = bytes}), other_).value();
    EXPECT_EQ(seen.state, LeaseSeen::State::done);
    EXPECT_EQ(seen.fingerprint, request_.fingerprint);
    EXPECT_EQ(seen.result, bytes);
    EXPECT_FALSE(seen.result_dropped);
    EXPECT_TRUE(read_value(done_value(request_, {.dropped = true}), other_).value().result_dropped);
}

TEST_F(LeaseValue, RefusesWhatNoGuardHasWritten) {
    for (const std::string& value : {std::string{}, std::string{"x"}, std::string(40, 'X'), std::string(17, 'D'),
                                     std::string(17, 'D') + '0' + '\xff' + "short"}) {
        EXPECT_EQ(read_value(value, other_).error().code(), ErrorCode::corrupt) << value;
    }
}

TEST_F(LeaseValue, GivesNoTwoKeysOneName) {
    EXPECT_NE(key_name("p:", {"a:1", "b"}), key_name("p:", {"a", "1:b"}));
    EXPECT_NE(key_name("p:", {"a", "b:c"}), key_name("p:", {"a:b", "c"}));
    EXPECT_EQ(key_name("p:", {"mail", "1"}), "p:4:mail:1");
}

}  // namespace
}  // namespace hufu::redis
