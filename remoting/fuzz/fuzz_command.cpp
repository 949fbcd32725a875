// A header of either form. What is read is written again and must read the same.
#include <cstdint>
#include <cstring>
#include <string>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/command.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace hufu::remoting;
    if (size == 0) {
        return 0;
    }
    std::string header{reinterpret_cast<const char*>(data) + 1, size - 1};
    CommandView command;
    if (!decode_command({static_cast<SerializeType>(*data & 1), {header.data(), header.size()}, {}}, command)) {
        return 0;
    }
    std::string out;
    CommandWriter writer{out, SerializeType::json, command.code, command.opaque, command.flag, command.remark};
    for (const auto& [name, value] : command.fields.entries()) {
        writer.field(name, value);
    }
    writer.finish();
    FrameDecoder decoder;
    std::memcpy(decoder.prepare(out.size()).data(), out.data(), out.size());
    decoder.commit(out.size());
    const auto frame = decoder.next();
    HUFU_ASSERT(frame && *frame);
    CommandView again;
    HUFU_ASSERT(decode_command(**frame, again));
    HUFU_ASSERT(again.code == command.code && again.opaque == command.opaque && again.flag == command.flag);
    HUFU_ASSERT(again.remark == command.remark && again.fields.size() == command.fields.size());
    for (std::size_t i = 0; i < again.fields.size(); ++i) {
        HUFU_ASSERT(again.fields.entries()[i].name == command.fields.entries()[i].name);
        HUFU_ASSERT(again.fields.entries()[i].value == command.fields.entries()[i].value);
    }
    return 0;
}
