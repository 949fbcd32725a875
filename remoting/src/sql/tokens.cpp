#include "sql/tokens.hpp"

#include <array>
#include <string>
#include <utility>

namespace hufu::remoting {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool begins_name(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$'; }
bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

bool same_word(std::string_view text, std::string_view upper) noexcept {
    if (text.size() != upper.size()) {
        return false;
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i] >= 'a' && text[i] <= 'z' ? static_cast<char>(text[i] - 'a' + 'A') : text[i];
        if (c != upper[i]) {
            return false;
        }
    }
    return true;
}

SqlWord word_of(std::string_view name) noexcept {
    static constexpr std::array<std::pair<std::string_view, SqlWord>, 12> keywords{{
        {"NOT", SqlWord::kw_not},
        {"AND", SqlWord::kw_and},
        {"OR", SqlWord::kw_or},
        {"BETWEEN", SqlWord::kw_between},
        {"IN", SqlWord::kw_in},
        {"TRUE", SqlWord::kw_true},
        {"FALSE", SqlWord::kw_false},
        {"NULL", SqlWord::kw_null},
        {"IS", SqlWord::kw_is},
        {"CONTAINS", SqlWord::kw_contains},
        {"STARTSWITH", SqlWord::kw_starts_with},
        {"ENDSWITH", SqlWord::kw_ends_with},
    }};
    for (const auto& [keyword, word] : keywords) {
        if (same_word(name, keyword)) {
            return word;
        }
    }
    return SqlWord::name;
}

class Splitter {
public:
    explicit Splitter(std::string_view text) : text_{text}, last_line_end_{text.find_last_of("\r\n")} {}

    Result<std::vector<SqlToken>> run() {
        std::vector<SqlToken> tokens;
        for (;;) {
            if (auto skipped = skip_blank(); !skipped) {
                return skipped.error();
            }
            if (at_ == text_.size()) {
                tokens.push_back({SqlWord::end, position(at_), {}});
                return tokens;
            }
            // Two signs in front of a value, or a comment that ends with the text: what stands before them tells.
            if (peek(0) == '-' && peek(1) == '-' && !tokens.empty() && ends_operand(tokens.back().word)) {
                at_ = text_.size();
                continue;
            }
            auto token = next();
            if (!token) {
                return token.error();
            }
            tokens.push_back(*token);
        }
    }

private:
    static std::uint32_t position(std::size_t at) noexcept { return static_cast<std::uint32_t>(at); }
    [[nodiscard]] char peek(std::size_t ahead) const noexcept {
        return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
    }
    static bool ends_operand(SqlWord word) noexcept {
        return word == SqlWord::name || word == SqlWord::integer || word == SqlWord::real || word == SqlWord::text ||
               word == SqlWord::close || word == SqlWord::kw_true || word == SqlWord::kw_false || word == SqlWord::kw_null;
    }

    Result<void> skip_blank() {
        while (at_ < text_.size()) {
            if (is_space(text_[at_])) {
                ++at_;
            } else if (peek(0) == '-' && peek(1) == '-' && last_line_end_ != std::string_view::npos &&
                       at_ < last_line_end_) {
                at_ = text_.find_first_of("\r\n", at_);
            } else if (peek(0) == '/' && peek(1) == '*') {
                const auto end = text_.find("*/", at_ + 2);
                if (end == std::string_view::npos) {
                    return sql_error(position(at_), "the end of the comment, */", {});
                }
                at_ = end + 2;
            } else {
                break;
            }
        }
        return {};
    }

    SqlToken take(SqlWord word, std::size_t bytes) {
        const SqlToken token{word, position(at_), text_.substr(at_, bytes)};
        at_ += bytes;
        return token;
    }

    Result<SqlToken> next() {
        const char c = text_[at_];
        if (begins_name(c)) {
            std::size_t end = at_ + 1;
            while (end < text_.size() && (begins_name(text_[end]) || is_digit(text_[end]))) {
                ++end;
            }
            return take(word_of(text_.substr(at_, end - at_)), end - at_);
        }
        if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
            return number();
        }
        if (c == '\'') {
            return string();
        }
        switch (c) {
            case '(': return take(SqlWord::open, 1);
            case ')': return take(SqlWord::close, 1);
            case ',': return take(SqlWord::comma, 1);
            case '+': return take(SqlWord::plus, 1);
            case '-': return take(SqlWord::minus, 1);
            case '=': return take(SqlWord::equal, 1);
            case '<':
                if (peek(1) == '>') {
                    return take(SqlWord::not_equal, 2);
                }
                return peek(1) == '=' ? take(SqlWord::less_equal, 2) : take(SqlWord::less, 1);
            case '>': return peek(1) == '=' ? take(SqlWord::greater_equal, 2) : take(SqlWord::greater, 1);
            default: break;
        }
        std::string_view hint = "a property, a value, an operator or a parenthesis";
        if (c == '!') {
            hint = "an operator (\"not equal\" is written <>)";
        } else if (c == '"') {
            hint = "a value (strings stand in single quotes)";
        }
        return sql_error(position(at_), hint, text_.substr(at_, 1));
    }

    Result<SqlToken> string() {
        for (std::size_t end = at_ + 1; end < text_.size(); ++end) {
            if (text_[end] != '\'') {
                continue;
            }
            if (end + 1 < text_.size() && text_[end + 1] == '\'') {
                ++end;
                continue;
            }
            return take(SqlWord::text, end + 1 - at_);
        }
        return sql_error(position(at_), "the quote that ends the string", {});
    }

    void skip_digits(std::size_t& end) const noexcept {
        while (end < text_.size() && is_digit(text_[end])) {
            ++end;
        }
    }

    Result<SqlToken> number() {
        std::size_t end = at_;
        skip_digits(end);
        const std::size_t whole = end - at_;
        bool real = false;
        if (end < text_.size() && text_[end] == '.') {
            real = true;
            ++end;
            skip_digits(end);
        }
        if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
            std::size_t digits = end + 1;
            if (digits < text_.size() && (text_[digits] == '+' || text_[digits] == '-')) {
                ++digits;
            }
            if (digits < text_.size() && is_digit(text_[digits])) {
                real = true;
                end = digits;
                skip_digits(end);
            }
        }
        if (real) {
            return take(SqlWord::real, end - at_);
        }
        if (whole > 1 && text_[at_] == '0') {
            return sql_error(position(at_), "a number without leading zeros", text_.substr(at_, whole));
        }
        if (end < text_.size() && (text_[end] == 'l' || text_[end] == 'L')) {
            ++end;
        }
        return take(SqlWord::integer, end - at_);
    }

    std::string_view text_;
    std::size_t last_line_end_;
    std::size_t at_ = 0;
};

}  // namespace

Error sql_error(std::uint32_t at, std::string_view expected, std::string_view found) {
    std::string text = "SQL92 expression, position " + std::to_string(at + 1) + ": expected ";
    text.append(expected).append(", found ");
    if (found.empty()) {
        text.append("the end of the expression");
    } else {
        constexpr std::size_t shown_max = 40;
        text.append(1, '"').append(found.substr(0, shown_max)).append(found.size() > shown_max ? "...\"" : "\"");
    }
    return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
}

Result<std::vector<SqlToken>> sql_tokens(std::string_view text) { return Splitter{text}.run(); }

}  // namespace hufu::remoting
