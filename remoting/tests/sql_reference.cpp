#include "sql_reference.hpp"

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <variant>
#include <vector>

#include <hufu/remoting/sql_filter.hpp>

#include "sql_reference_words.hpp"

namespace hufu::remoting::testing {
namespace {

struct Senseless : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using Null = std::monostate;
using Value = std::variant<Null, bool, long long, double, std::string>;

bool null(const Value& value) { return std::holds_alternative<Null>(value); }
template <class T>
bool is(const Value& value) {
    return std::holds_alternative<T>(value);
}

long long to_long(const std::string& text) {
    const std::size_t digits = !text.empty() && (text[0] == '+' || text[0] == '-') ? 1 : 0;
    if (digits == text.size() || text.find_first_not_of("0123456789", digits) != std::string::npos)
        throw Senseless{"no whole number"};
    errno = 0;
    const long long value = std::strtoll(text.c_str(), nullptr, 10);
    if (errno == ERANGE) throw Senseless{"too large"};
    return value;
}

double to_double(std::string text) {
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= 0x20) text.pop_back();
    while (!text.empty() && static_cast<unsigned char>(text.front()) <= 0x20) text.erase(0, 1);
    std::size_t at = 0;
    const auto some = [&](const char* set) {
        const std::size_t begin = at;
        while (at < text.size() && text[at] != '\0' && std::strchr(set, text[at]) != nullptr) ++at;
        return at - begin;
    };
    const auto one = [&](const char* set) {
        if (at >= text.size() || text[at] == '\0' || std::strchr(set, text[at]) == nullptr) return false;
        ++at;
        return true;
    };
    const bool negative = text.size() > 0 && text[0] == '-';
    one("+-");
    if (text.substr(at) == "NaN") return std::nan("");
    if (text.substr(at) == "Infinity") return negative ? -HUGE_VAL : HUGE_VAL;
    const bool hex = at + 1 < text.size() && text[at] == '0' && (text[at + 1] == 'x' || text[at + 1] == 'X');
    if (hex) at += 2;
    const char* digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
    std::size_t count = some(digits);
    if (one(".")) count += some(digits);
    if (count == 0) throw Senseless{"no number"};
    if (one(hex ? "pP" : "eE")) {
        one("+-");
        if (some("0123456789") == 0) throw Senseless{"no exponent"};
    } else if (hex) {
        throw Senseless{"a hexadecimal number without exponent"};
    }
    const std::string number = text.substr(0, at);
    one("fFdD");
    if (at != text.size()) throw Senseless{"no number"};
    return std::strtod(number.c_str(), nullptr);
}

int order(double a, double b) {
    if (a < b) return -1;
    if (a > b) return 1;
    if (a == b && a != 0) return 0;
    const auto rank = [](double v) { return std::isnan(v) ? 2 : (std::signbit(v) ? 0 : 1); };
    return rank(a) - rank(b);
}
int order(long long a, long long b) { return a < b ? -1 : a > b; }

/// __compare of ComparisonExpression.
int compare(const Value& l, const Value& r) {
    if (is<bool>(l)) {
        if (is<bool>(r)) return int{std::get<bool>(l)} - int{std::get<bool>(r)};
        if (is<std::string>(r)) throw Senseless{"a cast of a boolean to a string"};
        return -1;
    }
    if (is<long long>(l)) {
        const long long n = std::get<long long>(l);
        if (is<long long>(r)) return order(n, std::get<long long>(r));
        if (is<double>(r)) return order(static_cast<double>(n), std::get<double>(r));
        if (is<std::string>(r)) return order(n, to_long(std::get<std::string>(r)));
        return -1;
    }
    if (is<double>(l)) {
        const double n = std::get<double>(l);
        if (is<long long>(r)) return order(n, static_cast<double>(std::get<long long>(r)));
        if (is<double>(r)) return order(n, std::get<double>(r));
        if (is<std::string>(r)) return order(n, to_double(std::get<std::string>(r)));
        return -1;
    }
    const std::string& text = std::get<std::string>(l);
    if (is<std::string>(r)) return text.compare(std::get<std::string>(r));
    if (is<bool>(r)) return int{upper(text) == "TRUE"} - int{std::get<bool>(r)};
    if (is<long long>(r)) return order(to_long(text), std::get<long long>(r));
    return order(to_double(text), std::get<double>(r));
}

struct Node {
    enum class Kind { constant, property, boolean, other } kind = Kind::other;
    Value constant = {};
    std::string name = {};
    std::function<Value(const PropertyMap&)> evaluate = {};
};
using Tree = std::shared_ptr<Node>;

Tree computed(Node::Kind kind, std::function<Value(const PropertyMap&)> evaluate) {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->evaluate = std::move(evaluate);
    return node;
}
Tree boolean(std::function<Value(const PropertyMap&)> evaluate) {
    return computed(Node::Kind::boolean, std::move(evaluate));
}
Tree constant(Value value) {
    auto node = computed(Node::Kind::constant, [value](const PropertyMap&) { return value; });
    node->constant = value;
    return node;
}

Tree as_boolean(const Tree& tree) {
    if (tree->kind == Node::Kind::boolean) return tree;
    if (tree->kind == Node::Kind::constant && (null(tree->constant) || is<bool>(tree->constant))) return tree;
    if (tree->kind != Node::Kind::property) throw Refused{"not boolean"};
    return boolean([tree](const PropertyMap& map) { return null(tree->evaluate(map)) ? Value{} : Value{false}; });
}

Tree negation(const Tree& tree) {
    return boolean([tree](const PropertyMap& map) {
        const Value value = tree->evaluate(map);
        return null(value) ? Value{} : Value{!std::get<bool>(value)};
    });
}
/// AND decides on false, OR on true.
Tree logic(const Tree& left, const Tree& right, bool decides) {
    return boolean([=](const PropertyMap& map) -> Value {
        const Value l = left->evaluate(map);
        if (l == Value{decides}) return decides;
        const Value r = right->evaluate(map);
        if (r == Value{decides}) return decides;
        if (null(l) || null(r)) return {};
        return !decides;
    });
}
Tree equal_unchecked(const Tree& left, const Tree& right) {
    return boolean([=](const PropertyMap& map) -> Value {
        const Value l = left->evaluate(map);
        const Value r = right->evaluate(map);
        if (null(l) && null(r)) return true;
        if (null(l)) return {};
        if (null(r)) return false;
        return compare(l, r) == 0;
    });
}
Tree equal(const Tree& left, const Tree& right) {
    for (const Tree& side : {left, right})
        if (side->kind == Node::Kind::constant && null(side->constant)) throw Refused{"compares with NULL"};
    if (left->kind == Node::Kind::constant && right->kind == Node::Kind::constant && is<bool>(left->constant) &&
        !is<bool>(right->constant))
        throw Refused{"compares a boolean with a value"};
    return equal_unchecked(left, right);
}
void check_orderable(const Tree& tree) {
    if (tree->kind == Node::Kind::boolean) throw Refused{"orders a boolean"};
    if (tree->kind == Node::Kind::constant && !is<long long>(tree->constant) && !is<double>(tree->constant))
        throw Refused{"orders no number"};
}
Tree ordered(const Tree& left, const std::string& op, const Tree& right) {
    check_orderable(left);
    check_orderable(right);
    return boolean([=](const PropertyMap& map) -> Value {
        Value l = left->evaluate(map);
        if (null(l)) return {};
        Value r = right->evaluate(map);
        if (null(r)) return {};
        if (is<std::string>(l) && is<std::string>(r)) {
            l = to_double(std::get<std::string>(l));
            r = to_double(std::get<std::string>(r));
        }
        const int answer = compare(l, r);
        if (op == "<") return answer < 0;
        if (op == "<=") return answer <= 0;
        if (op == ">") return answer > 0;
        return answer >= 0;
    });
}
Tree search(const Tree& left, const std::string& how, const std::string& wanted, bool negated) {
    return boolean([=](const PropertyMap& map) -> Value {
        if (wanted.empty()) return false;
        const Value value = left->evaluate(map);
        if (!is<std::string>(value)) return false;
        const std::string& text = std::get<std::string>(value);
        bool found = text.find(wanted) != std::string::npos;
        if (how == "STARTSWITH") found = text.rfind(wanted, 0) == 0;
        if (how == "ENDSWITH") found = text.size() >= wanted.size() && text.substr(text.size() - wanted.size()) == wanted;
        return found != negated;
    });
}

class Reader {
public:
    explicit Reader(std::string_view text) : words_{text} {}

    Tree whole() {
        Tree tree = as_boolean(any());
        const bool comment =
            words_.word().kind == Word::Kind::sign && words_.word().text == "-" && words_.rest().substr(0, 1) == "-";
        if (words_.word().kind != Word::Kind::end && !comment) throw Refused{"text behind the end"};
        return tree;
    }

private:
    bool at(const std::string& text) const {
        return (words_.word().kind == Word::Kind::keyword || words_.word().kind == Word::Kind::sign) &&
               words_.word().text == text;
    }
    bool take(const std::string& text) {
        if (!at(text)) return false;
        words_.advance();
        return true;
    }
    void need(const std::string& text) {
        if (!take(text)) throw Refused{"lacks " + text};
    }
    std::string need_string() {
        if (words_.word().kind != Word::Kind::text) throw Refused{"lacks a string"};
        std::string text = words_.word().text;
        words_.advance();
        return text;
    }

    Tree any() {
        Tree left = all();
        while (take("OR")) {
            const Tree right = all();
            left = logic(as_boolean(left), as_boolean(right), true);
        }
        return left;
    }
    Tree all() {
        Tree left = equality();
        while (take("AND")) {
            const Tree right = equality();
            left = logic(as_boolean(left), as_boolean(right), false);
        }
        return left;
    }
    Tree equality() {
        Tree left = comparison();
        for (;;) {
            if (take("=")) {
                left = equal(left, comparison());
            } else if (take("<>")) {
                left = negation(equal(left, comparison()));
            } else if (take("IS")) {
                const bool negated = take("NOT");
                need("NULL");
                left = equal_unchecked(left, constant({}));
                if (negated) left = negation(left);
            } else {
                return left;
            }
        }
    }
    Tree comparison() {
        Tree left = unary();
        for (;;) {
            bool plain = true;
            for (const std::string op : {"<=", ">=", "<", ">"}) {
                if (!take(op)) continue;
                left = ordered(left, op, unary());
                plain = false;
                break;
            }
            if (!plain) continue;
            const bool negated = take("NOT");
            if (take("BETWEEN")) {
                const Tree low = unary();
                need("AND");
                const Tree high = unary();
                left = between(left, low, high, negated);
            } else if (take("IN")) {
                left = in(left, negated);
            } else if (at("CONTAINS") || at("STARTSWITH") || at("ENDSWITH")) {
                const std::string how = words_.word().text;
                words_.advance();
                left = search(left, how, need_string(), negated);
            } else if (negated) {
                throw Refused{"NOT in the wrong place"};
            } else {
                return left;
            }
        }
    }
    static Tree between(const Tree& value, const Tree& low, const Tree& high, bool negated) {
        if (negated) return logic(ordered(value, "<", low), ordered(value, ">", high), true);
        if (low->kind == Node::Kind::constant && high->kind == Node::Kind::constant) {
            check_orderable(low);
            check_orderable(high);
            if (compare(high->constant, low->constant) < 0) throw Refused{"bounds in the wrong order"};
        }
        return logic(ordered(value, ">=", low), ordered(value, "<=", high), false);
    }
    Tree in(const Tree& left, bool negated) {
        if (left->kind != Node::Kind::property) throw Refused{"IN without a property"};
        std::vector<std::string> list;
        need("(");
        do list.push_back(need_string());
        while (take(","));
        need(")");
        return boolean([=](const PropertyMap& map) -> Value {
            const Value value = left->evaluate(map);
            if (!is<std::string>(value)) return {};
            bool found = false;
            for (const std::string& text : list) found = found || text == std::get<std::string>(value);
            return found != negated;
        });
    }
    Tree unary() {
        // Deeper than the compiler ever goes: what that refuses for another reason must not use up the stack here.
        if (++depth_ > 4 * sql_nesting_max) throw Refused{"nested too deep"};
        Tree tree = signed_value();
        --depth_;
        return tree;
    }
    Tree signed_value() {
        if (take("+")) return unary();
        if (take("-")) {
            const Tree inner = unary();
            return computed(Node::Kind::other, [inner](const PropertyMap& map) -> Value {
                const Value value = inner->evaluate(map);
                if (is<long long>(value)) return -std::get<long long>(value);
                if (is<double>(value)) return -std::get<double>(value);
                return {};
            });
        }
        if (take("NOT")) return negation(as_boolean(unary()));
        return primary();
    }
    Tree primary() {
        const Word word = words_.word();
        if (take("(")) {
            Tree inner = any();
            need(")");
            return inner;
        }
        words_.advance();
        switch (word.kind) {
            case Word::Kind::text: return constant(word.text);
            case Word::Kind::integer: try { return constant(to_long(word.text));
                } catch (const Senseless&) {
                    throw Refused{"too large"};
                }
            case Word::Kind::real: {
                errno = 0;
                const double value = std::strtod(word.text.c_str(), nullptr);
                if (std::isinf(value) ||
                    (value == 0 &&
                     word.text.substr(0, word.text.find_first_of("eE")).find_first_of("123456789") != std::string::npos))
                    throw Refused{"out of range"};
                return constant(value);
            }
            case Word::Kind::name: {
                auto node = computed(Node::Kind::property, [name = word.text](const PropertyMap& map) -> Value {
                    const auto found = map.find(name);
                    if (found == map.end()) return {};
                    return found->second;
                });
                node->name = word.text;
                return node;
            }
            case Word::Kind::keyword:
                if (word.text == "TRUE") return constant(true);
                if (word.text == "FALSE") return constant(false);
                if (word.text == "NULL") return constant({});
                break;
            default: break;
        }
        throw Refused{"lacks a value"};
    }

    Words words_;
    std::size_t depth_ = 0;
};

}  // namespace

std::optional<bool> reference_matches(std::string_view expression, const PropertyMap& properties) {
    Tree tree;
    try {
        tree = Reader{expression}.whole();
    } catch (const Refused&) {
        return std::nullopt;
    }
    try {
        return tree->evaluate(properties) == Value{true};
    } catch (const Senseless&) {
        return false;
    }
}

PropertyMap reference_properties(std::string_view encoded) {
    PropertyMap map;
    while (!encoded.empty()) {
        const auto end = encoded.find('\x02');
        const std::string_view pair = encoded.substr(0, end);
        const auto middle = pair.find('\x01');
        if (middle != std::string_view::npos && middle > 0 && middle + 1 < pair.size())
            map.insert_or_assign(std::string{pair.substr(0, middle)}, std::string{pair.substr(middle + 1)});
        if (end == std::string_view::npos) break;
        encoded.remove_prefix(end + 1);
    }
    return map;
}

}  // namespace hufu::remoting::testing
