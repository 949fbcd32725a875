// W3C trace context (https://www.w3.org/TR/trace-context/, level 1), so that one request can be followed through every hop.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/random.hpp>

namespace hufu {

/// One step ("span") of one trace. A plain value; never all zeros when made here.
struct TraceContext {
    std::array<std::uint8_t, 16> trace_id{};  ///< the same for every step of the trace
    std::array<std::uint8_t, 8> span_id{};    ///< this step
    bool sampled = true;

    /// Reads a `traceparent` value. Unknown versions are read as far as version 00 goes, as the standard asks;
    /// `invalid_argument` for anything malformed, including all-zero ids.
    static Result<TraceContext> parse(std::string_view traceparent);
    /// A new trace.
    static TraceContext make(Random& random);
    /// The next step of this trace.
    [[nodiscard]] TraceContext child(Random& random) const;
    /// "00-<32 hex>-<16 hex>-<2 hex>".
    [[nodiscard]] std::string to_string() const;

    friend auto operator<=>(const TraceContext&, const TraceContext&) = default;
};

/// The context a message carries; empty when it has none or a malformed one (which, by the standard, is ignored).
[[nodiscard]] std::optional<TraceContext> trace_of(const Message& message);

}  // namespace hufu
