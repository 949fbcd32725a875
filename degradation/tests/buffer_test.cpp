#include <gtest/gtest.h>

#include <hufu/degradation/buffer.hpp>

namespace hufu::degradation {
namespace {

TEST(Loss, IsWrittenAndReadBack) {
    for (const Loss loss : {Loss::nothing, Loss::last_second, Loss::everything}) {
        const auto read = parse_loss(to_string(loss));
        ASSERT_TRUE(read);
        EXPECT_EQ(*read, loss);
    }
}

TEST(Loss, RefusesWhatItDoesNotKnow) {
    const auto read = parse_loss("some");
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(read.error().text(), "\"some\" is not a loss: nothing, last_second and everything are known");
}

TEST(Loss, AscendsWithWhatIsLost) {
    EXPECT_LT(Loss::nothing, Loss::last_second);
    EXPECT_LT(Loss::last_second, Loss::everything);
    EXPECT_EQ(LossStatement{}.loss, Loss::everything) << "a buffer that says nothing promises nothing";
}

}  // namespace
}  // namespace hufu::degradation
