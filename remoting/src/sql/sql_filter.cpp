// Running a compiled SQL92 expression over a message's properties.
#include <hufu/remoting/sql_filter.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/properties.hpp>

#include "sql/program.hpp"

namespace hufu::remoting {
namespace {

// Without initialisers: the stack of an evaluation costs nothing until it is used.
struct Value {
    SqlKind kind;
    bool yes;
    std::int64_t integer;
    double real;
    const char* data;
    std::size_t size;

    [[nodiscard]] std::string_view text() const noexcept { return {data, size}; }
};

void set_null(Value& value) noexcept { value.kind = SqlKind::null; }
void set(Value& value, bool yes) noexcept {
    value.kind = SqlKind::boolean;
    value.yes = yes;
}
void set(Value& value, std::string_view text) noexcept {
    value.kind = SqlKind::text;
    value.data = text.data();
    value.size = text.size();
}
void set(Value& value, const SqlConstant& constant) noexcept {
    value.kind = constant.kind;
    value.yes = constant.yes;
    value.integer = constant.integer;
    value.real = constant.real;
    value.data = constant.text.data();
    value.size = constant.text.size();
}

bool is(const Value& value, bool yes) noexcept { return value.kind == SqlKind::boolean && value.yes == yes; }

int compare(std::int64_t left, std::int64_t right) noexcept { return left < right ? -1 : (left > right ? 1 : 0); }
/// Double.compareTo: -0.0 stands below 0.0, NaN equals itself and stands above all.
int compare(double left, double right) noexcept {
    if (left < right) {
        return -1;
    }
    if (left > right) {
        return 1;
    }
    if (std::isnan(left) || std::isnan(right)) {
        return compare(static_cast<std::int64_t>(std::isnan(left)), static_cast<std::int64_t>(std::isnan(right)));
    }
    return compare(static_cast<std::int64_t>(std::signbit(right)), static_cast<std::int64_t>(std::signbit(left)));
}

bool is_true_text(std::string_view text) noexcept {
    constexpr std::string_view wanted = "true";
    return text.size() == wanted.size() && std::equal(text.begin(), text.end(), wanted.begin(),
                                                      [](char left, char right) { return (left | 0x20) == right; });
}

/// How two known values stand to each other, after the text among them was read as the other's kind. Nothing: that makes
/// no sense, and the message is not wanted.
std::optional<int> compare(const Value& left, const Value& right) noexcept {
    std::int64_t integer = 0;
    double real = 0;
    switch (left.kind) {
        case SqlKind::boolean:
            if (right.kind == SqlKind::text) {
                return {};
            }
            return right.kind == SqlKind::boolean ? compare(std::int64_t{left.yes}, std::int64_t{right.yes}) : -1;
        case SqlKind::integer:
            switch (right.kind) {
                case SqlKind::integer: return compare(left.integer, right.integer);
                case SqlKind::real: return compare(static_cast<double>(left.integer), right.real);
                case SqlKind::text:
                    return read_integer(right.text(), integer) ? std::optional{compare(left.integer, integer)}
                                                               : std::nullopt;
                default: return -1;
            }
        case SqlKind::real:
            switch (right.kind) {
                case SqlKind::integer: return compare(left.real, static_cast<double>(right.integer));
                case SqlKind::real: return compare(left.real, right.real);
                case SqlKind::text:
                    return read_real(right.text(), real) ? std::optional{compare(left.real, real)} : std::nullopt;
                default: return -1;
            }
        case SqlKind::text:
            switch (right.kind) {
                case SqlKind::integer:
                    return read_integer(left.text(), integer) ? std::optional{compare(integer, right.integer)}
                                                              : std::nullopt;
                case SqlKind::real:
                    return read_real(left.text(), real) ? std::optional{compare(real, right.real)} : std::nullopt;
                case SqlKind::boolean: return compare(std::int64_t{is_true_text(left.text())}, std::int64_t{right.yes});
                default: return left.text().compare(right.text());
            }
        case SqlKind::null: break;
    }
    return {};
}

/// `left` = `right`, put into `left`. Two unknowns are equal, and only an unknown left side makes the answer unknown.
bool make_equal(Value& left, const Value& right) noexcept {
    if (left.kind == SqlKind::null || right.kind == SqlKind::null) {
        if (left.kind == right.kind) {
            set(left, true);
        } else if (left.kind != SqlKind::null) {
            set(left, false);
        }
        return true;
    }
    const auto order = compare(left, right);
    if (!order) {
        return false;
    }
    set(left, *order == 0);
    return true;
}

bool make_ordered(SqlOp op, Value& left, const Value& right) noexcept {
    if (right.kind == SqlKind::null) {
        set_null(left);
        return true;
    }
    std::optional<int> order;
    if (left.kind == SqlKind::text && right.kind == SqlKind::text) {
        double first = 0;
        double second = 0;
        if (read_real(left.text(), first) && read_real(right.text(), second)) {
            order = compare(first, second);
        }
    } else {
        order = compare(left, right);
    }
    if (!order) {
        return false;
    }
    switch (op) {
        case SqlOp::less: set(left, *order < 0); break;
        case SqlOp::less_equal: set(left, *order <= 0); break;
        case SqlOp::greater: set(left, *order > 0); break;
        default: set(left, *order >= 0); break;
    }
    return true;
}

void make_negative(Value& value) noexcept {
    if (value.kind == SqlKind::integer) {
        value.integer = -value.integer;  // constants are not negative, so this has room
    } else if (value.kind == SqlKind::real) {
        value.real = -value.real;
    } else {
        set_null(value);
    }
}

void make_found(const SqlStep& step, Value& value, std::string_view wanted) noexcept {
    if (value.kind != SqlKind::text) {
        set(value, false);
        return;
    }
    const std::string_view text = value.text();
    bool found = false;
    switch (step.op) {
        case SqlOp::starts_with: found = text.starts_with(wanted); break;
        case SqlOp::ends_with: found = text.ends_with(wanted); break;
        // memmem is linear whatever the texts; string_view::find is not.
        default: found = ::memmem(text.data(), text.size(), wanted.data(), wanted.size()) != nullptr; break;
    }
    set(value, found != step.negated);
}

void make_member(const SqlStep& step, Value& value, const std::vector<std::string>& list) noexcept {
    if (value.kind != SqlKind::text) {
        set_null(value);
        return;
    }
    const auto at = std::lower_bound(list.begin(), list.end(), value.text());
    set(value, (at != list.end() && *at == value.text()) != step.negated);
}

using Slots = std::array<std::string_view, sql_names_max>;

void fill(const SqlProgram& program, std::string_view properties, Slots& slots) noexcept {
    const auto& names = program.names;
    if (names.empty()) {
        return;
    }
    PropertiesView view{properties};
    while (const auto entry = view.next()) {
        if (entry->value.empty()) {
            continue;
        }
        const auto at = std::lower_bound(names.begin(), names.end(), entry->name);
        if (at != names.end() && *at == entry->name) {
            slots[static_cast<std::size_t>(at - names.begin())] = entry->value;
        }
    }
}

/// The outcome of the steps is `stack[0]`; false: a comparison made no sense.
bool run(const SqlProgram& program, const Slots& slots, Value* stack) noexcept {
    std::size_t top = 0;  // values on the stack
    for (std::size_t at = 0; at < program.steps.size(); ++at) {
        const SqlStep& step = program.steps[at];
        switch (step.op) {
            case SqlOp::property:
                if (slots[step.argument].empty()) {
                    set_null(stack[top++]);
                } else {
                    set(stack[top++], slots[step.argument]);
                }
                break;
            case SqlOp::constant: set(stack[top++], program.constants[step.argument]); break;
            case SqlOp::negate: make_negative(stack[top - 1]); break;
            case SqlOp::cast:
                if (stack[top - 1].kind != SqlKind::null) {
                    set(stack[top - 1], false);
                }
                break;
            case SqlOp::invert:
                if (stack[top - 1].kind == SqlKind::boolean) {
                    set(stack[top - 1], !stack[top - 1].yes);
                }
                break;
            case SqlOp::jump_if_false:
                if (is(stack[top - 1], false)) {
                    at = step.argument - 1;
                }
                break;
            case SqlOp::jump_if_true:
                if (is(stack[top - 1], true)) {
                    at = step.argument - 1;
                }
                break;
            case SqlOp::jump_if_null:
                if (stack[top - 1].kind == SqlKind::null) {
                    at = step.argument - 1;
                }
                break;
            case SqlOp::both:
            case SqlOp::either: {
                --top;
                // The left side does not decide: it is unknown, or neutral.
                const bool deciding = step.op == SqlOp::either;
                if (is(stack[top], deciding)) {
                    set(stack[top - 1], deciding);
                } else if (stack[top].kind == SqlKind::null) {
                    set_null(stack[top - 1]);
                }
                break;
            }
            case SqlOp::equal:
                --top;
                if (!make_equal(stack[top - 1], stack[top])) {
                    return false;
                }
                break;
            case SqlOp::is_null: set(stack[top - 1], stack[top - 1].kind == SqlKind::null); break;
            case SqlOp::less:
            case SqlOp::less_equal:
            case SqlOp::greater:
            case SqlOp::greater_equal:
                --top;
                if (!make_ordered(step.op, stack[top - 1], stack[top])) {
                    return false;
                }
                break;
            case SqlOp::in: make_member(step, stack[top - 1], program.lists[step.argument]); break;
            case SqlOp::contains:
            case SqlOp::starts_with:
            case SqlOp::ends_with: make_found(step, stack[top - 1], program.constants[step.argument].text); break;
            case SqlOp::duplicate:
                stack[top] = stack[top - 1];
                ++top;
                break;
            case SqlOp::over:
                stack[top] = stack[top - 2];
                ++top;
                break;
            case SqlOp::drop_below:
                stack[top - 2] = stack[top - 1];
                --top;
                break;
        }
    }
    HUFU_ASSERT(top == 1);
    return true;
}

}  // namespace

SqlFilter::SqlFilter(std::unique_ptr<const SqlProgram> program) noexcept : program_{std::move(program)} {}
SqlFilter::~SqlFilter() = default;
SqlFilter::SqlFilter(SqlFilter&& other) noexcept = default;
SqlFilter& SqlFilter::operator=(SqlFilter&& other) noexcept = default;

Result<SqlFilter> SqlFilter::compile(std::string_view text) {
    auto program = compile_sql(text);
    if (!program) {
        return program.error();
    }
    return SqlFilter{std::make_unique<const SqlProgram>(std::move(*program))};
}

bool SqlFilter::matches(std::string_view properties) const noexcept {
    Slots slots;
    fill(*program_, properties, slots);
    Value stack[sql_stack_max];
    return run(*program_, slots, stack) && is(stack[0], true);
}

std::size_t SqlFilter::steps() const noexcept { return program_->steps.size(); }
std::size_t SqlFilter::memory_bytes() const noexcept { return program_->bytes; }

bool read_integer(std::string_view text, std::int64_t& into) noexcept {
    if (text.starts_with('+')) {
        text.remove_prefix(1);
        if (text.starts_with('-')) {
            return false;
        }
    }
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
    return fault == std::errc{} && end == text.data() + text.size();
}

}  // namespace hufu::remoting
