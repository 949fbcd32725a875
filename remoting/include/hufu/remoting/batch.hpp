// The body of a batch send (320, or 310 with m=true).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

/// One message of a batch; topic, queue and times come from the command's header.
struct BatchEntry {
    std::int32_t flag = 0;
    std::string_view body;
    std::string_view properties;
};

/// Bytes `append_batch_entry` adds.
[[nodiscard]] std::size_t batch_entry_size(const BatchEntry& entry) noexcept;
/// Sizes must be within the limits of a record (asserted).
void append_batch_entry(std::string& out, const BatchEntry& entry);

/// Walks over a batch body without copying.
class BatchView {
public:
    explicit BatchView(std::string_view body) noexcept : rest_{body} {}
    /// The next entry, nothing at the end, `protocol` when the bytes do not add up (final).
    [[nodiscard]] Result<std::optional<BatchEntry>> next();

private:
    std::string_view rest_;
};

}  // namespace hufu::remoting
