// A stored record that reads must, with IPv4 hosts, write back to the same bytes.
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/batch.hpp>
#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/record.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace hufu::remoting;
    BatchView batch{{reinterpret_cast<const char*>(data), size}};
    for (;;) {
        const auto entry = batch.next();
        if (!entry || !*entry) {
            break;
        }
    }
    const auto record = decode_record(std::as_bytes(std::span{data, size}));
    if (!record || (record->sys_flag & (sys_flag::born_host_v6 | sys_flag::store_host_v6)) != 0 ||
        record->topic.size() > topic_bytes_max || record->body.size() > body_bytes_max ||
        (record->topic.size() <= 127) != (data[7] == 0xA7)) {
        return 0;
    }
    std::vector<std::byte> again(record_size(*record));
    encode_record(again, *record);
    HUFU_ASSERT(again.size() == peek_record_size(std::as_bytes(std::span{data, size})));
    HUFU_ASSERT(std::memcmp(again.data(), data, again.size()) == 0);
    return 0;
}
