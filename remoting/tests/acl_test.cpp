// The expected signatures were made with Python's hmac module.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <hufu/remoting/acl.hpp>

namespace hufu::remoting {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string encoded(RequestCode code, const Pairs& fields, std::string_view body, SerializeType form = SerializeType::json) {
    std::string out;
    auto writer = CommandWriter::request(out, form, code, 7);
    for (const auto& [name, value] : fields) writer.field(name, value);
    writer.finish(body);
    return out;
}

/// A command that owns its bytes.
struct Decoded {
    explicit Decoded(const std::string& bytes) {
        std::memcpy(decoder.prepare(bytes.size()).data(), bytes.data(), bytes.size());
        decoder.commit(bytes.size());
        decode_command(*decoder.next().value(), command).value();
    }
    FrameDecoder decoder;
    CommandView command;
};

const std::string secret = "a secret of some length";

AclSigner signer(const std::string& key = "orders", const std::string& with = secret) {
    return AclSigner::create(key, with).value();
}

Pairs query_with(const std::string& signature) {
    return {{"topic", "shop"},       {"key", "k 7"},           {"maxNum", "32"},        {"_UNIQUE_KEY_QUERY", "true"},
            {"AccessKey", "orders"}, {"SecurityToken", "tok"}, {"Signature", signature}};
}

TEST(AclSigner, SignsTheValuesInTheOrderOfTheirNamesAndTheBody) {
    EXPECT_EQ(signer().signature_of(Decoded{encoded(RequestCode::query_message, query_with("any"), "body")}.command),
              "w58uBO84qV47PX3ePI6KwwQOoY4=");
    // C++ clients put OnsChannel among the fields.
    const Pairs cpp{{"queueId", "3"}, {"topic", "T"}, {"group", "gr"}, {"AccessKey", "orders"}, {"OnsChannel", "ALIYUN"}};
    EXPECT_EQ(signer("orders", "0123456789abcdef").signature_of(Decoded{encoded(RequestCode::heartbeat, cpp, "")}.command),
              "FMZHVYU54aAqcrnz/3TGTu0P37g=");
}

TEST(AclSigner, AcceptsWhatEachClientLeavesOut) {
    for (const auto* signature : {"w58uBO84qV47PX3ePI6KwwQOoY4=", "cVQ1eafcdF7h6xLn1m1TQWcGt9M=",
                                  "NuvKUycPNJHyiPD6UhAsUxPXD0I=", "9splBsfRbKGzwiU5MCqtoMtp+pk="})
        EXPECT_TRUE(signer().verify(Decoded{encoded(RequestCode::query_message, query_with(signature), "body")}.command))
            << signature;
    // The query flag belongs to the query alone.
    EXPECT_FALSE(signer().verify(
        Decoded{encoded(RequestCode::send_message_v2, query_with("cVQ1eafcdF7h6xLn1m1TQWcGt9M="), "body")}.command));
}

TEST(AclSigner, RefusesEveryOtherSecretBodyFieldAndSignature) {
    const std::string right = "w58uBO84qV47PX3ePI6KwwQOoY4=";
    const auto verdict = [&](const AclSigner& with, const Pairs& fields, std::string_view body) {
        return with.verify(Decoded{encoded(RequestCode::query_message, fields, body)}.command);
    };
    EXPECT_TRUE(verdict(signer(), query_with(right), "body"));
    EXPECT_FALSE(verdict(signer("orders", secret + "!"), query_with(right), "body"));
    EXPECT_FALSE(verdict(signer(), query_with(right), "bodY"));
    for (std::size_t at = 0; at < right.size(); ++at) {
        std::string wrong = right;
        wrong[at] = wrong[at] == 'A' ? 'B' : 'A';
        EXPECT_FALSE(verdict(signer(), query_with(wrong), "body")) << at;
    }
    for (const auto* wrong : {"", "=", "w58uBO84qV47PX3ePI6KwwQOoY4"})
        EXPECT_FALSE(verdict(signer(), query_with(wrong), "body"));
    Pairs changed = query_with(right);
    changed[0].second = "shoq";
    EXPECT_FALSE(verdict(signer(), changed, "body"));
    changed = query_with(right);
    changed.pop_back();
    EXPECT_FALSE(verdict(signer(), changed, "body"));
}

TEST(AclSigner, SignsAnEncodedRequestInPlace) {
    for (const SerializeType form : {SerializeType::json, SerializeType::binary}) {
        std::string out = "before";
        out += encoded(RequestCode::send_message_v2,
                       {{"b", "shop"}, {"i", std::string{"a\001b\002", 4}}, {"AccessKey", "else"}}, "body", form);
        ASSERT_TRUE(signer().sign(out, 6));
        EXPECT_EQ(out.substr(0, 6), "before");
        const Decoded decoded{out.substr(6)};
        EXPECT_EQ(decoded.command.fields.get("AccessKey"), "orders");
        EXPECT_EQ(decoded.command.fields.get("b"), "shop");
        EXPECT_EQ(decoded.command.fields.size(), 4U);
        EXPECT_EQ(decoded.command.opaque, 7);
        EXPECT_EQ(decoded.command.body, "body");
        EXPECT_EQ(decoded.command.serialize_type, form);
        EXPECT_TRUE(signer().verify(decoded.command));
        EXPECT_FALSE(signer("orders", "another").verify(decoded.command));
    }
    std::string rubbish = "\001\002\003";
    EXPECT_FALSE(signer().sign(rubbish, 0));
}

}  // namespace
}  // namespace hufu::remoting
