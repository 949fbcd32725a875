// The words of an expression, for the plain reading.
#pragma once

#include <cctype>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace hufu::remoting::testing {

struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline std::string upper(std::string text) {
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
}

struct Word {
    enum class Kind { end, name, keyword, integer, real, text, sign } kind = Kind::end;
    std::string text = {};  // keywords in capitals, strings decoded
};

inline const std::vector<std::string> keywords{"NOT",   "AND",  "OR", "BETWEEN",  "IN",         "TRUE",
                                               "FALSE", "NULL", "IS", "CONTAINS", "STARTSWITH", "ENDSWITH"};

/// Holds the word at which the reader stands.
class Words {
public:
    explicit Words(std::string_view text) : text_{text} { advance(); }

    [[nodiscard]] const Word& word() const { return word_; }
    [[nodiscard]] std::string_view rest() const { return text_.substr(at_); }
    void advance() {
        skip();
        if (at_ >= text_.size()) {
            word_ = {};
            return;
        }
        const char c = text_[at_];
        if (letter(c)) {
            const std::string name = take_while([](char x) { return letter(x) || digit(x); });
            for (const std::string& keyword : keywords) {
                if (upper(name) != keyword) continue;
                word_ = {Word::Kind::keyword, keyword};
                return;
            }
            word_ = {Word::Kind::name, name};
        } else if (digit(c) || (c == '.' && at_ + 1 < text_.size() && digit(text_[at_ + 1]))) {
            number();
        } else if (c == '\'') {
            string();
        } else {
            for (const std::string sign : {"<>", "<=", ">=", "<", ">", "=", "(", ")", ",", "+", "-"}) {
                if (text_.substr(at_, sign.size()) != sign) continue;
                at_ += sign.size();
                word_ = {Word::Kind::sign, sign};
                return;
            }
            throw Refused{"a strange character"};
        }
    }

private:
    static bool letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$'; }
    static bool digit(char c) { return c >= '0' && c <= '9'; }

    void skip() {
        for (;;) {
            while (at_ < text_.size() && std::string_view{" \t\n\r\f"}.find(text_[at_]) != std::string_view::npos) ++at_;
            if (text_.substr(at_, 2) == "--") {
                const auto end = text_.find_first_of("\r\n", at_);
                if (end == std::string_view::npos) return;
                at_ = end;
            } else if (text_.substr(at_, 2) == "/*") {
                const auto end = text_.find("*/", at_ + 2);
                if (end == std::string_view::npos) throw Refused{"open comment"};
                at_ = end + 2;
            } else {
                return;
            }
        }
    }
    std::string take_while(bool (*wanted)(char)) {
        std::string taken;
        while (at_ < text_.size() && wanted(text_[at_])) taken += text_[at_++];
        return taken;
    }
    void number() {
        std::string text = take_while(digit);
        const std::string whole = text;
        if (at_ < text_.size() && text_[at_] == '.') {
            text += text_[at_++];
            text += take_while(digit);
        }
        std::size_t ahead = at_;
        std::string exponent;
        if (ahead < text_.size() && (text_[ahead] == 'e' || text_[ahead] == 'E')) {
            exponent += text_[ahead++];
            if (ahead < text_.size() && (text_[ahead] == '+' || text_[ahead] == '-')) exponent += text_[ahead++];
            if (ahead < text_.size() && digit(text_[ahead])) {
                at_ = ahead;
                text += exponent + take_while(digit);
            }
        }
        if (text == whole) {
            if (whole.size() > 1 && whole[0] == '0') throw Refused{"leading zeros"};
            if (at_ < text_.size() && (text_[at_] == 'l' || text_[at_] == 'L')) ++at_;
        }
        word_ = {text == whole ? Word::Kind::integer : Word::Kind::real, text};
    }
    void string() {
        std::string decoded;
        for (++at_; at_ < text_.size(); ++at_) {
            if (text_[at_] == '\'') {
                if (at_ + 1 >= text_.size() || text_[at_ + 1] != '\'') {
                    ++at_;
                    word_ = {Word::Kind::text, decoded};
                    return;
                }
                ++at_;
            }
            decoded += text_[at_];
        }
        throw Refused{"an open string"};
    }

    std::string_view text_;
    std::size_t at_ = 0;
    Word word_;
};

}  // namespace hufu::remoting::testing
