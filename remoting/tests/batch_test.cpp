#include <gtest/gtest.h>

#include <string>

#include <hufu/remoting/batch.hpp>

namespace hufu::remoting {
namespace {

TEST(Batch, HasTheLayoutOfTheProtocol) {
    std::string out;
    append_batch_entry(out, {.flag = 5,
                             .body = "hi",
                             .properties = "a\x01"
                                           "b\x02"});
    constexpr std::string_view golden{
        "\x00\x00\x00\x1C\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02"
        "hi\x00\x04"
        "a\x01"
        "b\x02",
        28};
    EXPECT_EQ(out, golden);
    EXPECT_EQ(out.size(), batch_entry_size({.flag = 5,
                                            .body = "hi",
                                            .properties = "a\x01"
                                                          "b\x02"}));
}

TEST(Batch, WalksOverItsEntries) {
    std::string out;
    append_batch_entry(out, {.flag = 1, .body = "one", .properties = "p"});
    append_batch_entry(out, {.flag = 2, .body = "", .properties = ""});
    BatchView view{out};
    const auto first = view.next();
    ASSERT_TRUE(first && *first);
    EXPECT_EQ((*first)->body, "one");
    EXPECT_EQ((*first)->properties, "p");
    const auto second = view.next();
    ASSERT_TRUE(second && *second);
    EXPECT_EQ((*second)->flag, 2);
    const auto end = view.next();
    ASSERT_TRUE(end);
    EXPECT_FALSE(end->has_value());
}

TEST(Batch, RefusesEveryCutAndEveryLie) {
    std::string out;
    append_batch_entry(out, {.flag = 1, .body = "one", .properties = "p"});
    for (std::size_t cut = 1; cut < out.size(); ++cut) {
        BatchView view{std::string_view{out}.substr(0, cut)};
        EXPECT_FALSE(view.next()) << cut;
    }
    for (const std::size_t at : {std::size_t{0}, std::size_t{3}, std::size_t{16}, std::size_t{19}, std::size_t{24}}) {
        std::string lie = out;
        lie[at] = static_cast<char>(lie[at] ^ 0xFF);
        BatchView view{lie};
        EXPECT_FALSE(view.next()) << "byte " << at;
        const auto after = view.next();
        ASSERT_TRUE(after);
        EXPECT_FALSE(after->has_value()) << "an error is final";
    }
}

}  // namespace
}  // namespace hufu::remoting
