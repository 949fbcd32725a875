#include <hufu/remoting/batch.hpp>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::remoting {
namespace {

// i32 total size | i32 magic | i32 body CRC | i32 flag | i32 body size | body | i16 properties size | properties
constexpr std::size_t fixed_size = 5 * sizeof(std::int32_t);
constexpr std::size_t overhead = fixed_size + sizeof(std::int16_t);

}  // namespace

std::size_t batch_entry_size(const BatchEntry& entry) noexcept {
    return overhead + entry.body.size() + entry.properties.size();
}

void append_batch_entry(std::string& out, const BatchEntry& entry) {
    HUFU_ASSERT(entry.body.size() <= body_bytes_max);
    HUFU_ASSERT(entry.properties.size() <= properties_bytes_max);
    append(out, static_cast<std::int32_t>(batch_entry_size(entry)));
    append(out, std::int32_t{0});
    append(out, std::int32_t{0});
    append(out, entry.flag);
    append(out, static_cast<std::int32_t>(entry.body.size()));
    out.append(entry.body);
    append(out, static_cast<std::int16_t>(entry.properties.size()));
    out.append(entry.properties);
}

Result<std::optional<BatchEntry>> BatchView::next() {
    if (rest_.empty()) {
        return std::optional<BatchEntry>{};
    }
    const auto broken = [this](std::string_view what) {
        rest_ = {};
        return Error{ErrorCode::protocol, Disposition::reject, "batch body: " + std::string{what}};
    };
    if (rest_.size() < overhead) {
        return broken("an entry is cut short");
    }
    const auto total = load<std::int32_t>(rest_.data());
    const auto body_size = load<std::int32_t>(rest_.data() + 16);
    if (total < static_cast<std::int32_t>(overhead) || static_cast<std::size_t>(total) > rest_.size()) {
        return broken("an entry of " + std::to_string(total) + " bytes does not fit");
    }
    const std::string_view entry = rest_.substr(0, static_cast<std::size_t>(total));
    if (body_size < 0 || static_cast<std::size_t>(body_size) > entry.size() - overhead) {
        return broken("a message body of " + std::to_string(body_size) + " bytes does not fit its entry");
    }
    const std::size_t properties_at = fixed_size + static_cast<std::size_t>(body_size);
    const auto properties_size = load<std::int16_t>(entry.data() + properties_at);
    if (properties_size < 0 ||
        overhead + static_cast<std::size_t>(body_size) + static_cast<std::size_t>(properties_size) != entry.size()) {
        return broken("properties of " + std::to_string(properties_size) + " bytes do not end where their entry ends");
    }
    rest_.remove_prefix(entry.size());
    return std::optional<BatchEntry>{BatchEntry{.flag = load<std::int32_t>(entry.data() + 12),
                                                .body = entry.substr(fixed_size, static_cast<std::size_t>(body_size)),
                                                .properties = entry.substr(properties_at + sizeof(std::int16_t))}};
}

}  // namespace hufu::remoting
