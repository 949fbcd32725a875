#include "half_place.hpp"

#include <array>

#include <hufu/remoting/command.hpp>

namespace hufu::rocketmq {
namespace {

constexpr char separator = '\x01';  // never in a property, so never in a name
constexpr std::string_view first_field = "rocketmq";

}  // namespace

std::string HalfPlace::to_token() const {
    std::string token{first_field};
    const auto add = [&token](std::string_view field) { token.append(1, separator).append(field); };
    add(answers_end ? "1" : "0");
    add(std::to_string(queue_offset));
    add(std::to_string(log_offset));
    add(unique_key);
    add(transaction_id);
    add(broker_name);
    add(address);
    return token;
}

std::optional<HalfPlace> HalfPlace::of_token(std::string_view token) {
    std::array<std::string_view, 8> fields;
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const std::size_t end = i + 1 < fields.size() ? token.find(separator) : token.size();
        if (end == std::string_view::npos) return std::nullopt;
        fields[i] = token.substr(0, end);
        token.remove_prefix(i + 1 < fields.size() ? end + 1 : end);
    }
    const auto queue_offset = remoting::parse_integer(fields[2]);
    const auto log_offset = remoting::parse_integer(fields[3]);
    if (fields[0] != first_field || !queue_offset || !log_offset || fields[7].empty()) return std::nullopt;
    return HalfPlace{.answers_end = fields[1] == "1",
                     .queue_offset = *queue_offset,
                     .log_offset = *log_offset,
                     .unique_key = std::string{fields[4]},
                     .transaction_id = std::string{fields[5]},
                     .broker_name = std::string{fields[6]},
                     .address = std::string{fields[7]}};
}

}  // namespace hufu::rocketmq
