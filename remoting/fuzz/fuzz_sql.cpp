// Expression 0x00 properties: the compiled filter and the plain reference refuse and select the same.
#include <cstdint>
#include <string>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/sql_filter.hpp>

#include "sql_reference.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace hufu::remoting;
    const std::string_view input{reinterpret_cast<const char*>(data), size};
    const auto middle = input.find('\0');
    const std::string_view expression = input.substr(0, middle);
    const std::string_view properties = middle == std::string_view::npos ? std::string_view{} : input.substr(middle + 1);
    const auto filter = SqlFilter::compile(expression);
    if (!filter && filter.error().code() == hufu::ErrorCode::too_large) {
        return 0;  // the reference has no limits
    }
    const auto reference = testing::reference_matches(expression, testing::reference_properties(properties));
    HUFU_ASSERT(filter.has_value() == reference.has_value());
    if (filter) {
        HUFU_ASSERT(filter->matches(properties) == *reference);
    }
    return 0;
}
