// Reading a text as Java's Double.valueOf does.
#include <charconv>
#include <cstdlib>
#include <limits>
#include <string>

#include "sql/program.hpp"

namespace hufu::remoting {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) noexcept { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/// Takes digits off the front of `rest`; how many.
template <class IsDigit>
std::size_t take_digits(std::string_view& rest, IsDigit is_one) noexcept {
    std::size_t count = 0;
    while (count < rest.size() && is_one(rest[count])) {
        ++count;
    }
    rest.remove_prefix(count);
    return count;
}

/// Takes "digits", "digits.digits", "digits." or ".digits"; whether there was a digit.
template <class IsDigit>
bool take_significand(std::string_view& rest, IsDigit is_one) noexcept {
    std::size_t digits = take_digits(rest, is_one);
    if (rest.starts_with('.')) {
        rest.remove_prefix(1);
        digits += take_digits(rest, is_one);
    }
    return digits > 0;
}

/// Takes the exponent behind `lower` or `upper`: whether the text is well formed so far.
bool take_exponent(std::string_view& rest, char lower, char upper, bool needed) noexcept {
    if (rest.empty() || (rest.front() != lower && rest.front() != upper)) {
        return !needed;
    }
    rest.remove_prefix(1);
    if (rest.starts_with('+') || rest.starts_with('-')) {
        rest.remove_prefix(1);
    }
    return take_digits(rest, is_digit) > 0;
}

/// The number's own digits when the whole text is one; `hex` says how to read them.
bool is_real_text(std::string_view text, std::string_view& digits, bool& hex) noexcept {
    hex = text.starts_with("0x") || text.starts_with("0X");
    if (hex) {
        text.remove_prefix(2);
    }
    std::string_view rest = text;
    const bool formed = hex ? take_significand(rest, is_hex_digit) && take_exponent(rest, 'p', 'P', true)
                            : take_significand(rest, is_digit) && take_exponent(rest, 'e', 'E', false);
    if (!formed) {
        return false;
    }
    digits = text.substr(0, text.size() - rest.size());
    return rest.empty() || (rest.size() == 1 && std::string_view{"fFdD"}.find(rest.front()) != std::string_view::npos);
}

}  // namespace

bool read_real(std::string_view text, double& into) noexcept {
    while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ') {
        text.remove_prefix(1);
    }
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') {
        text.remove_suffix(1);
    }
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) {
        text.remove_prefix(1);
    }
    std::string_view digits;
    bool hex = false;
    if (text == "NaN") {
        into = std::numeric_limits<double>::quiet_NaN();
    } else if (text == "Infinity") {
        into = std::numeric_limits<double>::infinity();
    } else if (is_real_text(text, digits, hex)) {
        const auto format = hex ? std::chars_format::hex : std::chars_format::general;
        const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), into, format);
        if (fault == std::errc::result_out_of_range) {
            // Rare: zero or infinity, which only the other reader tells apart.
            into = std::strtod(((hex ? "0x" : "") + std::string{digits}).c_str(), nullptr);
        } else if (fault != std::errc{}) {
            return false;
        }
    } else {
        return false;
    }
    if (negative) {
        into = -into;
    }
    return true;
}

}  // namespace hufu::remoting
