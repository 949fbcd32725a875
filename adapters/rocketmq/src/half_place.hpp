// Where a half stands: what the token of a txmsg::Half says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hufu::rocketmq {

struct HalfPlace {
    bool answers_end = false;  ///< the broker answers ENDs and takes repetitions
    std::int64_t queue_offset = 0;
    std::int64_t log_offset = 0;
    std::string unique_key;      ///< of the message
    std::string transaction_id;  ///< as END names it
    std::string broker_name;
    std::string address;
    friend bool operator==(const HalfPlace&, const HalfPlace&) = default;

    [[nodiscard]] std::string to_token() const;
    /// Nothing when `token` is of another adapter.
    [[nodiscard]] static std::optional<HalfPlace> of_token(std::string_view token);
};

}  // namespace hufu::rocketmq
