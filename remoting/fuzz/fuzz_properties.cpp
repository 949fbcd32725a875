// Pairs that are read and written again read the same.
#include <cstdint>
#include <string>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace hufu::remoting;
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    std::string out;
    PropertiesView view{text};
    while (const auto entry = view.next()) {
        if (is_property_text(entry->value)) {
            append_property(out, entry->name, entry->value);
        }
    }
    std::string again;
    PropertiesView second{out};
    while (const auto entry = second.next()) {
        append_property(again, entry->name, entry->value);
    }
    HUFU_ASSERT(out == again);
    static_cast<void>(java_hash(text));
    static_cast<void>(message_id_of(text));
    static_cast<void>(OffsetMessageId::parse(text));
    static_cast<void>(TopicRoute::parse(text));
    static_cast<void>(Heartbeat::parse(text));
    return 0;
}
