// From an SQL92 expression to steps: recursive descent over the words, bounded in depth.
#include <charconv>
#include <limits>
#include <system_error>

#include "sql/program.hpp"
#include "sql/tokens.hpp"
#include "sql/writer.hpp"

namespace hufu::remoting {
namespace {

/// What is known of an operand whose steps are written.
enum class Shape : std::uint8_t {
    boolean,           ///< a comparison, or AND, OR, NOT of such
    boolean_constant,  ///< TRUE or FALSE
    null_constant,
    number_constant,
    text_constant,
    property,
    computed,  ///< a sign in front of something
};

struct Operand {
    Shape shape = Shape::boolean;
    std::uint32_t token = 0;     ///< its first word
    std::uint32_t step = 0;      ///< its first step
    std::uint32_t constant = 0;  ///< where it is one
};

Error too_large(std::string what, std::size_t limit) {
    return Error{ErrorCode::too_large, Disposition::reject,
                 "SQL92 expression: " + std::move(what) + "; at most " + std::to_string(limit) + " are allowed"};
}

double real_of(const SqlConstant& constant) noexcept {
    return constant.kind == SqlKind::integer ? static_cast<double>(constant.integer) : constant.real;
}

/// Whether the number `low` is above the number `high`.
bool above(const SqlConstant& low, const SqlConstant& high) noexcept {
    if (low.kind == SqlKind::integer && high.kind == SqlKind::integer) {
        return low.integer > high.integer;
    }
    return real_of(low) > real_of(high);
}

class Compiler {
public:
    explicit Compiler(const std::vector<SqlToken>& tokens) : tokens_{tokens} {}

    Result<SqlProgram> run() {
        Operand whole;
        if (!any_of(whole) || !as_boolean(whole)) {
            return error_;
        }
        if (word() != SqlWord::end) {
            static_cast<void>(expected("AND, OR, a comparison or the end of the expression"));
            return error_;
        }
        return writer_.finish();
    }

private:
    // Words. A function that returns false has set error_.

    [[nodiscard]] const SqlToken& token() const noexcept { return tokens_[at_]; }
    [[nodiscard]] SqlWord word() const noexcept { return tokens_[at_].word; }
    bool accept(SqlWord word_in) noexcept {
        if (word() != word_in) {
            return false;
        }
        ++at_;
        return true;
    }
    [[nodiscard]] bool expected(std::string_view what) { return expected_at(at_, what); }
    [[nodiscard]] bool expected_at(std::uint32_t token_in, std::string_view what) {
        error_ = sql_error(tokens_[token_in].at, what, tokens_[token_in].text);
        return false;
    }
    [[nodiscard]] bool refuse(Error error) {
        error_ = std::move(error);
        return false;
    }

    [[nodiscard]] bool steps_fit() {
        return writer_.next() <= sql_steps_max || refuse(too_large("too many comparisons: more steps", sql_steps_max));
    }

    // Grammar, loosest binding first.

    bool any_of(Operand& left) {
        if (!all_of(left)) {
            return false;
        }
        while (word() == SqlWord::kw_or) {
            if (!logical(left, SqlOp::jump_if_true, SqlOp::either, &Compiler::all_of)) {
                return false;
            }
        }
        return true;
    }
    bool all_of(Operand& left) {
        if (!equality(left)) {
            return false;
        }
        while (word() == SqlWord::kw_and) {
            if (!logical(left, SqlOp::jump_if_false, SqlOp::both, &Compiler::equality)) {
                return false;
            }
        }
        return true;
    }
    bool logical(Operand& left, SqlOp jump, SqlOp combine, bool (Compiler::*parse)(Operand&)) {
        ++at_;
        if (!as_boolean(left)) {
            return false;
        }
        const auto decided = writer_.emit(jump, 0);
        Operand right;
        if (!(this->*parse)(right) || !as_boolean(right)) {
            return false;
        }
        writer_.emit(combine, -1);
        writer_.land(decided);
        left.shape = Shape::boolean;
        return steps_fit();
    }

    bool equality(Operand& left) {
        if (!comparison(left)) {
            return false;
        }
        for (;;) {
            if (accept(SqlWord::equal)) {
                if (!equal_to(left, false)) {
                    return false;
                }
            } else if (accept(SqlWord::not_equal)) {
                if (!equal_to(left, true)) {
                    return false;
                }
            } else if (accept(SqlWord::kw_is)) {
                const bool negated = accept(SqlWord::kw_not);
                if (!accept(SqlWord::kw_null)) {
                    return expected(negated ? "NULL after IS NOT" : "NULL or NOT NULL after IS");
                }
                writer_.emit(SqlOp::is_null, 0);
                if (negated) {
                    writer_.emit(SqlOp::invert, 0);
                }
                left.shape = Shape::boolean;
            } else {
                return steps_fit();
            }
            if (!steps_fit()) {
                return false;
            }
        }
    }

    bool equal_to(Operand& left, bool negated) {
        Operand right;
        if (!comparison(right)) {
            return false;
        }
        for (const Operand* side : {&left, &right}) {
            if (side->shape == Shape::null_constant) {
                return expected_at(side->token, "a value (NULL is asked for with IS NULL or IS NOT NULL)");
            }
        }
        if (left.shape == Shape::boolean_constant &&
            (right.shape == Shape::number_constant || right.shape == Shape::text_constant)) {
            return expected_at(right.token, "TRUE, FALSE or a property to compare TRUE or FALSE with");
        }
        writer_.emit(SqlOp::equal, -1);
        if (negated) {
            writer_.emit(SqlOp::invert, 0);
        }
        left.shape = Shape::boolean;
        return true;
    }

    bool comparison(Operand& left) {
        if (!unary(left)) {
            return false;
        }
        for (;;) {
            bool whole = true;
            const bool negated = word() == SqlWord::kw_not;
            const SqlWord next = negated ? tokens_[at_ + 1].word : word();
            switch (next) {
                case SqlWord::kw_between: whole = skip(negated) && between(left, negated); break;
                case SqlWord::kw_in: whole = skip(negated) && in_list(left, negated); break;
                case SqlWord::kw_contains: whole = skip(negated) && search(left, SqlOp::contains, negated); break;
                case SqlWord::kw_starts_with: whole = skip(negated) && search(left, SqlOp::starts_with, negated); break;
                case SqlWord::kw_ends_with: whole = skip(negated) && search(left, SqlOp::ends_with, negated); break;
                default:
                    if (negated) {
                        ++at_;
                        return expected("IN, BETWEEN, CONTAINS, STARTSWITH or ENDSWITH after NOT");
                    }
                    switch (next) {
                        case SqlWord::less: whole = ordered(left, SqlOp::less); break;
                        case SqlWord::less_equal: whole = ordered(left, SqlOp::less_equal); break;
                        case SqlWord::greater: whole = ordered(left, SqlOp::greater); break;
                        case SqlWord::greater_equal: whole = ordered(left, SqlOp::greater_equal); break;
                        default: return steps_fit();
                    }
            }
            if (!whole || !steps_fit()) {
                return false;
            }
            left.shape = Shape::boolean;
        }
    }
    /// Steps over the operator, and the NOT in front of it.
    bool skip(bool negated) noexcept {
        at_ += negated ? 2 : 1;
        return true;
    }

    /// Only numbers have an order: number, property or signed operand.
    bool orderable(const Operand& operand) {
        switch (operand.shape) {
            case Shape::number_constant:
            case Shape::property:
            case Shape::computed: return true;
            default: return expected_at(operand.token, "a number or a property to compare by <, <=, >, >= or BETWEEN");
        }
    }

    bool ordered(Operand& left, SqlOp op) {
        if (!orderable(left)) {
            return false;
        }
        ++at_;
        const auto unknown = writer_.emit(SqlOp::jump_if_null, 0);
        Operand right;
        if (!unary(right) || !orderable(right)) {
            return false;
        }
        writer_.emit(op, -1);
        writer_.land(unknown);
        return true;
    }

    /// value BETWEEN low AND high is value >= low AND value <= high, with the value taken once.
    bool between(Operand& value, bool negated) {
        if (!orderable(value)) {
            return false;
        }
        Operand low;
        Operand high;
        writer_.emit(SqlOp::duplicate, 1);
        auto unknown = writer_.emit(SqlOp::jump_if_null, 0);
        if (!unary(low) || !orderable(low)) {
            return false;
        }
        writer_.emit(negated ? SqlOp::less : SqlOp::greater_equal, -1);
        writer_.land(unknown);
        const auto decided = writer_.emit(negated ? SqlOp::jump_if_true : SqlOp::jump_if_false, 0);
        if (!accept(SqlWord::kw_and)) {
            return expected("AND between the two bounds of BETWEEN");
        }
        writer_.emit(SqlOp::over, 1);
        unknown = writer_.emit(SqlOp::jump_if_null, 0);
        if (!unary(high) || !orderable(high)) {
            return false;
        }
        writer_.emit(negated ? SqlOp::greater : SqlOp::less_equal, -1);
        writer_.land(unknown);
        writer_.emit(negated ? SqlOp::either : SqlOp::both, -1);
        writer_.land(decided);
        writer_.emit(SqlOp::drop_below, -1);
        if (!negated && low.shape == Shape::number_constant && high.shape == Shape::number_constant &&
            above(writer_.constant(low.constant), writer_.constant(high.constant))) {
            return expected_at(high.token, "an upper bound of BETWEEN that is not below the lower one");
        }
        return true;
    }

    bool in_list(const Operand& left, bool negated) {
        if (left.shape != Shape::property) {
            return expected_at(left.token, "a property in front of IN");
        }
        if (!accept(SqlWord::open)) {
            return expected("\"(\" and a list of strings after IN");
        }
        std::vector<std::string> list;
        do {
            std::string text;
            if (!string(text)) {
                return false;
            }
            list.push_back(std::move(text));
        } while (accept(SqlWord::comma));
        if (!accept(SqlWord::close)) {
            return expected("\",\" or \")\" in the list of IN");
        }
        writer_.emit(SqlOp::in, 0, writer_.add_list(std::move(list)), negated);
        return true;
    }

    bool search(const Operand& left, SqlOp op, bool negated) {
        SqlConstant wanted;
        wanted.kind = SqlKind::text;
        if (!string(wanted.text)) {
            return false;
        }
        if (++searches_ > sql_searches_max) {
            return refuse(too_large("too many CONTAINS, STARTSWITH and ENDSWITH", sql_searches_max));
        }
        if (wanted.text.empty()) {
            // Nothing contains the empty text, nor does anything lack it: false, whatever the operand would have been.
            writer_.take_back(left.step);
            SqlConstant never;
            never.kind = SqlKind::boolean;
            writer_.emit(SqlOp::constant, 0, writer_.add(std::move(never)));
            return true;
        }
        writer_.emit(op, 0, writer_.add(std::move(wanted)), negated);
        return true;
    }

    bool unary(Operand& operand) {
        if (++nesting_ > sql_nesting_max) {
            return refuse(too_large("nested too deep: more levels", sql_nesting_max));
        }
        operand.token = at_;
        operand.step = writer_.next();
        const bool whole = signed_or_plain(operand);
        --nesting_;
        return whole;
    }
    bool signed_or_plain(Operand& operand) {
        const std::uint32_t first = at_;
        if (accept(SqlWord::plus)) {
            if (!unary(operand)) {
                return false;
            }
        } else if (accept(SqlWord::minus)) {
            if (!unary(operand)) {
                return false;
            }
            writer_.emit(SqlOp::negate, 0);
            operand.shape = Shape::computed;
        } else if (accept(SqlWord::kw_not)) {
            if (!unary(operand) || !as_boolean(operand)) {
                return false;
            }
            writer_.emit(SqlOp::invert, 0);
            operand.shape = Shape::boolean;
        } else if (!primary(operand)) {
            return false;
        }
        operand.token = first;
        return true;
    }

    bool primary(Operand& operand) {
        SqlConstant constant;
        switch (word()) {
            case SqlWord::open:
                ++at_;
                if (!any_of(operand)) {
                    return false;
                }
                return accept(SqlWord::close) || expected("\")\"");
            case SqlWord::name: operand.shape = Shape::property; return property();
            case SqlWord::integer:
                operand.shape = Shape::number_constant;
                constant.kind = SqlKind::integer;
                if (!integer(constant.integer)) {
                    return false;
                }
                break;
            case SqlWord::real:
                operand.shape = Shape::number_constant;
                constant.kind = SqlKind::real;
                if (!real(constant.real)) {
                    return false;
                }
                break;
            case SqlWord::text:
                operand.shape = Shape::text_constant;
                constant.kind = SqlKind::text;
                if (!string(constant.text)) {
                    return false;
                }
                break;
            case SqlWord::kw_true:
            case SqlWord::kw_false:
                operand.shape = Shape::boolean_constant;
                constant.kind = SqlKind::boolean;
                constant.yes = word() == SqlWord::kw_true;
                ++at_;
                break;
            case SqlWord::kw_null:
                operand.shape = Shape::null_constant;
                ++at_;
                break;
            default: return expected("a property, a number, a string, TRUE, FALSE, NOT or \"(\"");
        }
        operand.constant = writer_.add(std::move(constant));
        writer_.emit(SqlOp::constant, 1, operand.constant);
        return true;
    }

    bool property() {
        const auto place = writer_.add_name(token().text);
        if (!place) {
            return refuse(too_large("too many different properties", sql_names_max));
        }
        ++at_;
        writer_.emit(SqlOp::property, 1, *place);
        return true;
    }

    bool integer(std::int64_t& into) {
        std::string_view digits = token().text;
        if (digits.back() == 'l' || digits.back() == 'L') {
            digits.remove_suffix(1);
        }
        if (!read_integer(digits, into)) {
            return expected("a whole number up to " + std::to_string(std::numeric_limits<std::int64_t>::max()));
        }
        ++at_;
        return true;
    }

    bool real(double& into) {
        const std::string_view text = token().text;
        const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
        if (fault != std::errc{} || end != text.data() + text.size()) {
            return expected("a number between 4.9E-324 and 1.7976931348623157E308");
        }
        ++at_;
        return true;
    }

    bool string(std::string& into) {
        if (word() != SqlWord::text) {
            return expected("a string in single quotes");
        }
        const std::string_view written = token().text.substr(1, token().text.size() - 2);
        for (std::size_t i = 0; i < written.size(); ++i) {
            into.push_back(written[i]);
            if (written[i] == '\'') {
                ++i;
            }
        }
        ++at_;
        return true;
    }

    bool as_boolean(Operand& operand) {
        switch (operand.shape) {
            case Shape::property: writer_.emit(SqlOp::cast, 0); break;
            case Shape::boolean:
            case Shape::boolean_constant:
            case Shape::null_constant: break;
            default: return expected_at(operand.token, "a comparison, not a bare value");
        }
        operand.shape = Shape::boolean;
        return true;
    }

    const std::vector<SqlToken>& tokens_;
    std::uint32_t at_ = 0;
    std::size_t nesting_ = 0;
    std::size_t searches_ = 0;
    SqlWriter writer_;
    Error error_;
};

}  // namespace

Result<SqlProgram> compile_sql(std::string_view text) {
    if (text.size() > sql_text_bytes_max) {
        return Error{ErrorCode::too_large, Disposition::reject,
                     "the SQL92 expression has " + std::to_string(text.size()) + " bytes; at most " +
                         std::to_string(sql_text_bytes_max) + " are allowed"};
    }
    const auto tokens = sql_tokens(text);
    if (!tokens) {
        return tokens.error();
    }
    return Compiler{*tokens}.run();
}

}  // namespace hufu::remoting
