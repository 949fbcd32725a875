#include "src/message_codec.hpp"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>

namespace hufu::rocketmq {
namespace {

Message full_message() {
    Message message{.id = MessageId::parse("01919e3e-7bc8-7c5d-9fb1-6a0f0a1b2c3d").value(),
                    .topic = "orders",
                    .tag = "paid",
                    .keys = {"1", "22"},
                    .ordering_key = "customer 7",
                    .body = "{}"};
    message.headers.set("traceparent", "00-x");
    message.headers.set("hufu-dead-reason", "why");
    return message;
}

/// Borrows both.
remoting::Record record_of(const Message& message, std::string_view properties = {}) {
    remoting::Record record;
    record.topic = message.topic;
    record.body = message.body;
    record.properties = properties;
    return record;
}

TEST(MessageCodec, AMessageTravels) {
    const Message message = full_message();
    std::string properties;
    append_properties(properties, message, message.id);
    auto record = record_of(message, properties);
    record.store_timestamp = 1'700'000'000'123;
    record.reconsume_times = 3;
    const Delivery delivery = to_delivery(record);
    EXPECT_EQ(delivery.message, message);
    EXPECT_EQ(delivery.stored_at, SystemTime{std::chrono::milliseconds{1'700'000'000'123}});
    EXPECT_EQ(delivery.broker_attempts, 3U);
    EXPECT_EQ(remoting::PropertiesView{properties}.get("UNIQ_KEY"), "01919E3E7BC87C5D9FB16A0F0A1B2C3D");
    EXPECT_EQ(remoting::PropertiesView{properties}.get("KEYS"), "1 22");
}

TEST(MessageCodec, KeepsHeadersWithEmptyValues) {
    Message message = full_message();
    message.headers.set("empty", "");
    message.headers.set("also", "");
    std::string properties;
    append_properties(properties, message, message.id);
    EXPECT_EQ(to_delivery(record_of(message, properties)).message, message);
}

TEST(MessageCodec, HidesTheProtocolsOwnProperties) {
    const std::string properties = std::string{
        "MSG_REGION\x01"
        "r\x02"
        "WAIT\x01"
        "true\x02"
        "__X\x01"
        "1\x02"
        "mine\x01"
        "2\x02"};
    const Delivery delivery = to_delivery(record_of(full_message(), properties));
    EXPECT_EQ(delivery.message.headers.size(), 1U);
    EXPECT_EQ(delivery.message.headers.get("mine"), "2");
}

TEST(MessageCodec, GivesAStableIdToMessagesWithoutOne) {
    const Message message = full_message();
    auto record = record_of(message);
    record.store_host = {.ip = {10, 0, 0, 1}, .port = 10911};
    record.physical_offset = 5;
    EXPECT_EQ(to_delivery(record).message.id, to_delivery(record).message.id);
    EXPECT_FALSE(to_delivery(record).message.id.is_nil());
    auto other = record;
    other.physical_offset = 6;
    EXPECT_NE(to_delivery(record).message.id, to_delivery(other).message.id);
}

TEST(MessageCodec, InflatesBodiesOfJavaProducers) {
    const std::string body(10'000, 'a');
    std::string compressed(1'000, '\0');
    uLongf size = compressed.size();
    ASSERT_EQ(::compress(reinterpret_cast<Bytef*>(compressed.data()), &size, reinterpret_cast<const Bytef*>(body.data()),
                         body.size()),
              Z_OK);
    compressed.resize(size);
    Message message = full_message();
    auto record = record_of(message);
    record.body = compressed;
    record.sys_flag = remoting::sys_flag::compressed;
    EXPECT_EQ(to_delivery(record).message.body, body);
    compressed[20] = static_cast<char>(compressed[20] ^ 0x55);
    const Delivery broken = to_delivery(record);
    EXPECT_EQ(broken.message.body, compressed);
    EXPECT_EQ(broken.message.headers.get("hufu-undecoded"), "zlib");
    record.sys_flag = remoting::sys_flag::compressed | 2 << 8;
    EXPECT_EQ(to_delivery(record).message.headers.get("hufu-undecoded"), "zstd");
    std::string zstd(1'000, '\0');
    zstd.resize(ZSTD_compress(zstd.data(), zstd.size(), body.data(), body.size(), 1));
    record.body = zstd;
    EXPECT_EQ(to_delivery(record).message.body, body);
}

}  // namespace
}  // namespace hufu::rocketmq
