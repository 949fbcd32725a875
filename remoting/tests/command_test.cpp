#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include <hufu/remoting/command.hpp>

namespace hufu::remoting {
namespace {

struct Decoded {
    std::string header;  // what the views point into
    CommandView command;
    Result<void> result;
};

std::unique_ptr<Decoded> decode(std::string_view header, SerializeType type = SerializeType::json,
                                std::string_view body = {}) {
    auto decoded = std::make_unique<Decoded>(Decoded{std::string{header}, {}, {}});
    decoded->result = decode_command({type, {decoded->header.data(), decoded->header.size()}, body}, decoded->command);
    return decoded;
}

TEST(Command, ReadsAJavaRequest) {
    const auto d = decode(
        R"({"code":310,"extFields":{"a":"group","b":"orders","i":"KEYS\u00011 2\u0002TAGS\u0001t\u0002"},"flag":0,"language":"JAVA",)"
        R"("opaque":7,"serializeTypeCurrentRPC":"JSON","version":479})",
        SerializeType::json, "body");
    ASSERT_TRUE(d->result);
    EXPECT_EQ(d->command.code, 310);
    EXPECT_EQ(d->command.opaque, 7);
    EXPECT_EQ(d->command.version, 479);
    EXPECT_EQ(language_name(d->command.language), "JAVA");
    EXPECT_FALSE(d->command.is_response());
    EXPECT_EQ(d->command.body, "body");
    EXPECT_EQ(d->command.fields.get("b"), "orders");
    EXPECT_EQ(d->command.fields.get("i"), std::string_view("KEYS\x01"
                                                           "1 2\x02TAGS\x01t\x02"));
    EXPECT_EQ(d->command.fields.get("c"), std::nullopt);
}

TEST(Command, ReadsNumbersAndBooleansAsTheCppClientSendsThem) {
    const auto d = decode(
        R"({ "code" : 11 , "extFields" : { "queueId" : 3, "x":-1.5e3, "unitMode":false, "none":null } , "remark" : "" })");
    ASSERT_TRUE(d->result);
    EXPECT_EQ(d->command.fields.get("queueId"), "3");
    EXPECT_EQ(d->command.fields.get("x"), "-1.5e3");
    EXPECT_EQ(d->command.fields.get("unitMode"), "false");
    EXPECT_EQ(d->command.fields.get("none"), std::nullopt);
}

TEST(Command, IgnoresUnknownKeysOfAnyShape) {
    const auto d = decode(R"({"x":{"a":[1,{"b":"}"}],"c":[]},"code":0,"flag":1,"y":[[]],"extFields":null,"remark":null})");
    ASSERT_TRUE(d->result);
    EXPECT_TRUE(d->command.is_response());
    EXPECT_TRUE(d->command.remark.empty());
}

TEST(Command, UnescapesInPlace) {
    const auto d = decode(R"({"code":1,"remark":"q\" b\\ s\/ \b\f\n\r\t \u00e9 \u20AC \ud83d\ude00 \ud83dx \ude00"})");
    ASSERT_TRUE(d->result);
    EXPECT_EQ(d->command.remark, "q\" b\\ s/ \b\f\n\r\t \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBDx \xEF\xBF\xBD");
}

TEST(Command, RefusesWhatIsNoCommand) {
    for (const std::string_view header :
         {"", "{", "[]", "null", "{}", R"({"code":1)", R"({"code":"x"})", R"({"code":99999999999})", R"({"code":1}x)",
          R"({"code":1,})", R"({"code":1,"extFields":{"a":"b})", R"({"code":1,"extFields":{"a":{}}})",
          R"({"code":1,"extFields":[]})", R"({"code":1,"remark":"\u12"})", R"({"code":1,"remark":"\x"})",
          R"({"code":1,"remark":"\)"}) {
        const auto d = decode(header);
        ASSERT_FALSE(d->result) << header;
        EXPECT_EQ(d->result.error().code(), ErrorCode::protocol) << header;
    }
    const std::string deep = R"({"code":1,"x":)" + std::string(100'000, '[') + "}";
    EXPECT_FALSE(decode(deep)->result);
}

TEST(Command, LimitsTheNumberOfFields) {
    const auto with_fields = [](std::size_t count) {
        std::string header = R"({"code":1,"extFields":{)";
        for (std::size_t i = 0; i < count; ++i) {
            header += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":\"v" + std::to_string(i) + "\"";
        }
        return header + "}}";
    };
    const auto many = decode(with_fields(Fields::count_max));
    ASSERT_TRUE(many->result);
    EXPECT_EQ(many->command.fields.size(), Fields::count_max);
    EXPECT_EQ(many->command.fields.get("k33"), "v33");
    EXPECT_FALSE(decode(with_fields(Fields::count_max + 1))->result);
}

TEST(Command, ReadsABinaryHeaderByteForByte) {
    // code 310 | language 0 | version 479 | opaque 7 | flag 2 | remark "ok" | fields of 10 bytes: "b" -> "abc"
    constexpr std::string_view header{
        "\x01\x36\x00\x01\xDF\x00\x00\x00\x07\x00\x00\x00\x02\x00\x00\x00\x02"
        "ok\x00\x00\x00\x0A\x00\x01"
        "b\x00\x00\x00\x03"
        "abc",
        33};
    const auto d = decode(header, SerializeType::binary);
    ASSERT_TRUE(d->result) << d->result.error().text();
    EXPECT_EQ(d->command.code, 310);
    EXPECT_EQ(d->command.version, 479);
    EXPECT_EQ(d->command.opaque, 7);
    EXPECT_TRUE(d->command.is_one_way());
    EXPECT_EQ(d->command.remark, "ok");
    EXPECT_EQ(d->command.fields.get("b"), "abc");
    for (std::size_t cut = 0; cut < header.size(); ++cut) {
        EXPECT_FALSE(decode(header.substr(0, cut), SerializeType::binary)->result) << cut;
    }
}

TEST(Command, WritesTheFrameThatItsReaderReads) {
    for (const SerializeType type : {SerializeType::json, SerializeType::binary}) {
        std::string out = "before";
        CommandWriter writer{out, type, 10, -5, flag_bit::response, "re\"mark\n"};
        writer.field("text",
                     "a\x01"
                     "b\x02\\\"\x1f");
        writer.field("number", std::int64_t{-9'223'372'036'854'775'807 - 1});
        writer.flag("yes", true);
        writer.finish("the body");
        FrameDecoder decoder;
        const auto room = decoder.prepare(out.size());
        std::memcpy(room.data(), out.data() + 6, out.size() - 6);
        decoder.commit(out.size() - 6);
        const auto frame = decoder.next();
        ASSERT_TRUE(frame && *frame);
        EXPECT_EQ((*frame)->serialize_type, type);
        CommandView command;
        ASSERT_TRUE(decode_command(**frame, command));
        EXPECT_EQ(command.code, 10);
        EXPECT_EQ(command.opaque, -5);
        EXPECT_EQ(command.version, protocol_version);
        EXPECT_EQ(language_name(command.language), "CPP");
        EXPECT_TRUE(command.is_response());
        EXPECT_EQ(command.remark, "re\"mark\n");
        EXPECT_EQ(command.fields.get("text"), std::string_view("a\x01"
                                                               "b\x02\\\"\x1f"));
        EXPECT_EQ(command.fields.get("number"), "-9223372036854775808");
        EXPECT_EQ(command.fields.get("yes"), "true");
        EXPECT_EQ(command.body, "the body");
        EXPECT_EQ(decoder.buffered(), 0U);
    }
}

TEST(Command, WritesJsonWithoutFieldsAndWithoutRemark) {
    std::string out;
    auto writer = CommandWriter::request(out, SerializeType::json, RequestCode::heartbeat, 1);
    writer.finish_before_body(5);
    EXPECT_EQ(out.substr(8),
              R"({"code":34,"language":"CPP","version":409,"opaque":1,"flag":0,"serializeTypeCurrentRPC":"JSON"})");
    EXPECT_EQ(static_cast<std::size_t>(static_cast<unsigned char>(out[3])), out.size() - 4 + 5);
}

TEST(Command, ParsesNumbersAndBooleans) {
    EXPECT_EQ(parse_integer("42"), 42);
    EXPECT_EQ(parse_integer("-1"), -1);
    EXPECT_EQ(parse_integer(""), std::nullopt);
    EXPECT_EQ(parse_integer("1x"), std::nullopt);
    EXPECT_EQ(parse_integer("9223372036854775808"), std::nullopt);
    EXPECT_TRUE(parse_boolean("True"));
    EXPECT_FALSE(parse_boolean("1"));
    EXPECT_FALSE(parse_boolean(""));
}

}  // namespace
}  // namespace hufu::remoting
