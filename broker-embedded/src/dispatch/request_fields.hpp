// Reads the ext fields of an administrative request; the first that is missing or no number is remembered.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <hufu/remoting/command.hpp>

namespace hufu::broker {

class RequestFields {
public:
    explicit RequestFields(const remoting::CommandView& command) noexcept : command_{command} {}

    /// A required text.
    std::string_view text(std::string_view name) {
        const auto value = command_.fields.get(name);
        if (!value) note(name, "is missing");
        return value.value_or(std::string_view{});
    }
    [[nodiscard]] std::string_view text_or(std::string_view name, std::string_view otherwise) const {
        return command_.fields.get(name).value_or(otherwise);
    }
    /// A required number.
    std::int64_t number(std::string_view name) {
        const auto value = command_.fields.get(name);
        if (!value) note(name, "is missing");
        return value ? read(name, *value) : 0;
    }
    std::int64_t number_or(std::string_view name, std::int64_t otherwise) {
        const auto value = command_.fields.get(name);
        return value && !value->empty() ? read(name, *value) : otherwise;
    }
    /// As `number`, within 32 bits.
    std::int32_t number32(std::string_view name) {
        const std::int64_t value = number(name);
        if (value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max())
            return static_cast<std::int32_t>(value);
        note(name, "does not fit 32 bits");
        return 0;
    }
    [[nodiscard]] bool flag_or(std::string_view name, bool otherwise) const {
        const auto value = command_.fields.get(name);
        return value ? remoting::parse_boolean(*value) : otherwise;
    }
    /// What was wrong; empty: nothing.
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

private:
    std::int64_t read(std::string_view name, std::string_view text) {
        const auto value = remoting::parse_integer(text);
        if (!value) note(name, "is no number");
        return value.value_or(0);
    }
    void note(std::string_view name, std::string_view what) {
        if (fault_.empty())
            fault_ = std::string{remoting::to_string(command_.request_code())} + " (" + std::to_string(command_.code) +
                     "): field \"" + std::string{name} + "\" " + std::string{what};
    }

    const remoting::CommandView& command_;
    std::string fault_;
};

}  // namespace hufu::broker
