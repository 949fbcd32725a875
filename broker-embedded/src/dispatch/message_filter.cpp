#include "message_filter.hpp"

#include <algorithm>

#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::broker {
namespace {

using remoting::ResponseCode;

constexpr std::size_t tag_text_bytes_max = 64U << 10U;
constexpr std::uint32_t scan_most = 4096;
constexpr std::uint32_t scan_least = 64;
constexpr std::size_t scan_steps = std::size_t{scan_most} * 32;

std::string_view trimmed(std::string_view text) noexcept {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

CompiledFilter no_filter(ResponseCode code, std::string fault) { return {nullptr, code, std::move(fault)}; }

}  // namespace

std::vector<std::int64_t> tag_codes_of(std::string_view expression) {
    std::vector<std::int64_t> codes;
    while (!expression.empty()) {
        const auto separator = expression.find("||");
        const auto tag = trimmed(expression.substr(0, separator));
        if (tag == "*") return {};
        if (!tag.empty()) codes.push_back(remoting::tags_code(tag));
        expression = separator == std::string_view::npos ? std::string_view{} : expression.substr(separator + 2);
    }
    std::sort(codes.begin(), codes.end());
    codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
    return codes;
}

bool MessageFilter::wants_code(std::int64_t tags_code) const noexcept {
    return sql.has_value() || std::binary_search(tag_codes.begin(), tag_codes.end(), tags_code);
}

bool MessageFilter::wants_record(std::span<const std::byte> record) const noexcept {
    if (!sql) return true;
    const auto decoded = remoting::decode_record(record);
    return decoded && sql->matches(decoded->properties);
}

std::uint32_t MessageFilter::scan_max() const noexcept {
    if (!sql) return scan_most;
    const std::size_t steps = std::max<std::size_t>(sql->steps(), 1);
    return std::clamp(static_cast<std::uint32_t>(scan_steps / steps), scan_least, scan_most);
}

FilterTable::FilterTable(std::size_t filters_max, std::size_t bytes_max)
    : filters_max_{filters_max}, bytes_max_{bytes_max} {}

CompiledFilter FilterTable::get(std::string_view type, std::string_view expression) {
    const bool by_tags = type.empty() || type == "TAG";
    if (!by_tags && type != "SQL92")
        return no_filter(ResponseCode::system_error, "The broker does not support consumer to filter message by \"" +
                                                         std::string{type.substr(0, 40)} + "\"; it offers TAG and SQL92");
    if (by_tags && (expression.empty() || expression == "*")) return {};
    const std::size_t text_max = by_tags ? tag_text_bytes_max : remoting::sql_text_bytes_max;
    if (expression.size() > text_max)
        return no_filter(ResponseCode::subscription_parse_failed,
                         "the subscription has " + std::to_string(expression.size()) + " bytes; at most " +
                             std::to_string(text_max) + " are allowed");
    std::string name{by_tags ? "TAG " : "SQL92 "};
    name.append(expression);
    if (const auto known = shared_->by_text.find(name); known != shared_->by_text.end())
        return {known->second.lock(), ResponseCode::success, {}};

    auto filter = std::make_unique<MessageFilter>();
    std::size_t bytes = sizeof(MessageFilter) + 2 * name.size();
    if (by_tags) {
        filter->tag_codes = tag_codes_of(expression);
        if (filter->tag_codes.empty()) return {};
        bytes += filter->tag_codes.capacity() * sizeof(std::int64_t);
    } else {
        auto sql = remoting::SqlFilter::compile(expression);
        if (!sql) return no_filter(ResponseCode::subscription_parse_failed, sql.error().text());
        bytes += sql->memory_bytes();
        filter->sql.emplace(std::move(*sql));
    }
    if (count() >= filters_max_ || shared_->bytes + bytes > bytes_max_)
        return no_filter(ResponseCode::system_busy, "[OVERLOAD] the broker holds " + std::to_string(count()) +
                                                        " filters of " + std::to_string(shared_->bytes) +
                                                        " bytes already; use fewer different subscriptions");
    return {keep(std::move(name), std::move(filter), bytes), ResponseCode::success, {}};
}

FilterRef FilterTable::keep(std::string name, std::unique_ptr<MessageFilter> filter, std::size_t bytes) {
    const auto row = shared_->by_text.emplace(std::move(name), std::weak_ptr<const MessageFilter>{}).first;
    shared_->bytes += bytes;
    FilterRef kept{filter.release(), [shared = shared_, row, bytes](const MessageFilter* gone) {
                       shared->bytes -= bytes;
                       shared->by_text.erase(row);
                       delete gone;
                   }};
    row->second = kept;
    return kept;
}

}  // namespace hufu::broker
