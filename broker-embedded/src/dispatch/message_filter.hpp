// Which messages of a topic a consumer wants: tags or SQL92, compiled once and shared by all who ask with the same text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/sql_filter.hpp>

namespace hufu::broker {

/// Splits "a || b" into sorted tag codes; empty for "*", an empty text or only separators.
[[nodiscard]] std::vector<std::int64_t> tag_codes_of(std::string_view expression);

/// One of the two is set. A null pointer to it stands for "everything".
struct MessageFilter {
    std::vector<std::int64_t> tag_codes;     ///< sorted
    std::optional<remoting::SqlFilter> sql;  ///< over the record's properties

    [[nodiscard]] bool wants_code(std::int64_t tags_code) const noexcept;
    [[nodiscard]] bool wants_record(std::span<const std::byte> record) const noexcept;
    /// How many records one pull may look at, so that a costly expression holds up nobody else.
    [[nodiscard]] std::uint32_t scan_max() const noexcept;
};
using FilterRef = std::shared_ptr<const MessageFilter>;

/// What became of an expression: a filter, or why there is none.
struct CompiledFilter {
    FilterRef filter = {};
    remoting::ResponseCode code = remoting::ResponseCode::success;
    std::string fault = {};  ///< for the client; empty when `filter` counts
};

/// The filters in use. One is forgotten with the last subscription or pull that has it.
/// Memory is bounded: past the limits an expression is answered with `system_busy`.
class FilterTable {
public:
    FilterTable(std::size_t filters_max, std::size_t bytes_max);

    /// `type` is TAG, empty (TAG) or SQL92.
    [[nodiscard]] CompiledFilter get(std::string_view type, std::string_view expression);
    [[nodiscard]] std::size_t count() const noexcept { return shared_->by_text.size(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return shared_->bytes; }

private:
    // Filters may outlive the table; each takes its row out when it goes.
    struct Shared {
        std::map<std::string, std::weak_ptr<const MessageFilter>, std::less<>> by_text;  // type, space, expression
        std::size_t bytes = 0;
    };
    [[nodiscard]] FilterRef keep(std::string name, std::unique_ptr<MessageFilter> filter, std::size_t bytes);

    std::size_t filters_max_;
    std::size_t bytes_max_;
    std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace hufu::broker
