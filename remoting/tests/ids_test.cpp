#include <gtest/gtest.h>

#include <string>

#include <hufu/remoting/ids.hpp>

namespace hufu::remoting {
namespace {

TEST(Ids, HashAsJavaDoes) {
    EXPECT_EQ(java_hash(""), 0);
    EXPECT_EQ(java_hash("a"), 97);
    EXPECT_EQ(java_hash("TagA"), 2598919);
    EXPECT_EQ(java_hash("hello world"), 1794106052);
    EXPECT_EQ(java_hash("polygenelubricants"), std::int32_t{-2147483647 - 1});
    EXPECT_EQ(java_hash("\xE8\x99\x8E\xE7\xAC\xA6"), 31 * 0x864E + 0x7B26);  // 虎符
    EXPECT_EQ(java_hash("\xF0\x9F\x98\x80"), 31 * 0xD83D + 0xDE00);          // a surrogate pair
    EXPECT_EQ(java_hash("\xF0\x9F"), 31 * 0xFFFD + 31 * 0 + 0x9F) << "cut UTF-8 must not read past the end";
    EXPECT_EQ(tags_code(""), 0);
    EXPECT_LT(tags_code("polygenelubricants"), 0) << "sign-extended";
}

TEST(Ids, OffsetMessageIdIs32HexDigits) {
    const OffsetMessageId id{.host = {.ip = {192, 168, 1, 2}, .port = 10911}, .offset = 0x1234'5678'9ABC};
    EXPECT_EQ(id.to_string(), "C0A8010200002A9F0000123456789ABC");
    EXPECT_EQ(OffsetMessageId::parse("C0A8010200002A9F0000123456789ABC"), id);
    EXPECT_EQ(OffsetMessageId::parse("c0a8010200002a9f0000123456789abc"), id);
    EXPECT_EQ(OffsetMessageId::parse("C0A8010200002A9F0000123456789AB"), std::nullopt);
    EXPECT_EQ(OffsetMessageId::parse("C0A8010200002A9F0000123456789ABG"), std::nullopt);
}

TEST(Ids, UniqueKeyCarriesTheMessageId) {
    const auto id = MessageId::parse("01919e3e-7bc8-7c5d-9fb1-6a0f0a1b2c3d").value();
    EXPECT_EQ(unique_key(id), "01919E3E7BC87C5D9FB16A0F0A1B2C3D");
    EXPECT_EQ(message_id_of("01919E3E7BC87C5D9FB16A0F0A1B2C3D"), id);
}

TEST(Ids, ForeignUniqueKeysGiveStableIds) {
    const std::string v6 = "2408400E11F30000000000000000000100AA18B4AAC2000000010000";
    EXPECT_EQ(message_id_of(v6), message_id_of(v6));
    EXPECT_NE(message_id_of(v6), message_id_of(v6.substr(1)));
    EXPECT_FALSE(message_id_of("x").is_nil());
}

}  // namespace
}  // namespace hufu::remoting
