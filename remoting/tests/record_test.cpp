#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/checksum.hpp>
#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::remoting {
namespace {

Record sample() {
    Record record;
    record.body = "hi";
    record.topic = "T";
    record.properties =
        "a\x01"
        "b\x02";
    record.body_crc = body_checksum(record.body);
    record.queue_id = 1;
    record.flag = 2;
    record.queue_offset = 3;
    record.physical_offset = 4;
    record.born_timestamp = 5;
    record.born_host = {.ip = {10, 0, 0, 1}, .port = 6};
    record.store_timestamp = 7;
    record.store_host = {.ip = {10, 0, 0, 2}, .port = 10911};
    record.reconsume_times = 8;
    record.prepared_transaction_offset = 9;
    return record;
}

std::vector<std::byte> encoded(const Record& record) {
    std::vector<std::byte> bytes(record_size(record));
    EXPECT_EQ(encode_record(bytes, record), bytes.size());
    return bytes;
}

TEST(Record, HasTheLayoutOfTheCommitLog) {
    const std::vector<unsigned char> golden{
        0,    0,    0,    98,                          // total size
        0xDA, 0xA3, 0x20, 0xA7,                        // magic, version 1
        0x58, 0x93, 0x2A, 0xAC,                        // CRC-32 of "hi" without its top bit
        0,    0,    0,    1,                           // queue id
        0,    0,    0,    2,                           // flag
        0,    0,    0,    0,    0,   0,   0,    3,     // queue offset
        0,    0,    0,    0,    0,   0,   0,    4,     // physical offset
        0,    0,    0,    0,                           // sys flag
        0,    0,    0,    0,    0,   0,   0,    5,     // born timestamp
        10,   0,    0,    1,    0,   0,   0,    6,     // born host
        0,    0,    0,    0,    0,   0,   0,    7,     // store timestamp
        10,   0,    0,    2,    0,   0,   0x2A, 0x9F,  // store host
        0,    0,    0,    8,                           // reconsume times
        0,    0,    0,    0,    0,   0,   0,    9,     // prepared transaction offset
        0,    0,    0,    2,    'h', 'i',              // body
        1,    'T',                                     // topic
        0,    4,    'a',  1,    'b', 2,                // properties
    };
    const auto bytes = encoded(sample());
    ASSERT_EQ(bytes.size(), golden.size());
    for (std::size_t i = 0; i < golden.size(); ++i) {
        EXPECT_EQ(static_cast<unsigned char>(bytes[i]), golden[i]) << "byte " << i;
    }
}

TEST(Record, ReadsWhatItWrote) {
    Record record = sample();
    record.more_properties =
        "UNIQ_KEY\x01"
        "x\x02";
    auto bytes = encoded(record);
    bytes.resize(bytes.size() + 50);  // the next record
    const auto read = decode_record(bytes);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->body, "hi");
    EXPECT_EQ(read->topic, "T");
    EXPECT_EQ(read->properties,
              "a\x01"
              "b\x02UNIQ_KEY\x01"
              "x\x02");
    EXPECT_EQ(read->born_host, record.born_host);
    EXPECT_EQ(read->store_host, record.store_host);
    EXPECT_EQ(read->store_timestamp, 7);
    EXPECT_EQ(read->reconsume_times, 8);
    EXPECT_EQ(read->prepared_transaction_offset, 9);
    EXPECT_EQ(peek_record_size(bytes), record_size(record));
}

TEST(Record, WritesVersion2ForLongTopics) {
    const std::string topic(200, 't');
    Record record = sample();
    record.topic = topic;
    const auto bytes = encoded(record);
    EXPECT_EQ(load<std::int32_t>(bytes.data() + record_offset::magic), record_magic_v2);
    const auto read = decode_record(bytes);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->topic, topic);
    EXPECT_EQ(read->properties, record.properties);
}

TEST(Record, IsPlacedAfterwards) {
    auto bytes = encoded(sample());
    place_record(bytes.data(), 1'000'000'000'000, 55, 1'700'000'000'123);
    const auto read = decode_record(bytes);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->physical_offset, 1'000'000'000'000);
    EXPECT_EQ(read->queue_offset, 55);
    EXPECT_EQ(read->store_timestamp, 1'700'000'000'123);
}

TEST(Record, ReadsIpv6HostsOfAnotherBroker) {
    auto v4 = encoded(sample());
    std::vector<std::byte> bytes(v4.begin(), v4.begin() + record_offset::born_host);
    bytes.resize(bytes.size() + 12);  // 16 bytes of ip instead of 4
    bytes.insert(bytes.end(), v4.begin() + record_offset::born_host, v4.end());
    store(bytes.data(), static_cast<std::int32_t>(bytes.size()));
    store(bytes.data() + record_offset::sys_flag, sys_flag::born_host_v6);
    const auto read = decode_record(bytes);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->born_host.port, 6);
    EXPECT_EQ(read->body, "hi");
    EXPECT_EQ(read->store_host, sample().store_host);
}

TEST(Record, RefusesEveryCutAndEveryLie) {
    const auto bytes = encoded(sample());
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
        const auto read = decode_record(std::span{bytes}.first(cut));
        ASSERT_FALSE(read) << cut;
        EXPECT_EQ(read.error().code(), ErrorCode::corrupt);
    }
    for (const std::size_t at : {record_offset::total_size + 3, record_offset::magic, record_offset::body_size + 3,
                                 std::size_t{90}, std::size_t{93}}) {
        auto lie = bytes;
        lie[at] ^= std::byte{0x7F};
        lie.resize(400);
        EXPECT_FALSE(decode_record(lie)) << "byte " << at;
    }
}

}  // namespace
}  // namespace hufu::remoting
