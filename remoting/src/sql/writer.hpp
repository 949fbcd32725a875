// Puts a program together, step after step.
#pragma once

#include <algorithm>
#include <optional>

#include <hufu/core/assert.hpp>

#include "sql/program.hpp"

namespace hufu::remoting {

class SqlWriter {
public:
    /// Appends a step that leaves `grows` more values on the stack. Returns its place.
    std::uint32_t emit(SqlOp op, int grows, std::uint32_t argument = 0, bool negated = false) {
        stack_ += grows;
        HUFU_ASSERT(stack_ >= 0 && stack_ <= static_cast<int>(sql_stack_max));
        program_.steps.push_back({op, negated, argument});
        return static_cast<std::uint32_t>(program_.steps.size() - 1);
    }
    /// The jump at this place goes to the next step.
    void land(std::uint32_t jump) { program_.steps[jump].argument = next(); }
    [[nodiscard]] std::uint32_t next() const noexcept { return static_cast<std::uint32_t>(program_.steps.size()); }
    /// Takes back the steps from this place on; what they left on the stack counts as being there.
    void take_back(std::uint32_t from) { program_.steps.resize(from); }

    std::uint32_t add(SqlConstant constant) {
        program_.constants.push_back(std::move(constant));
        return static_cast<std::uint32_t>(program_.constants.size() - 1);
    }
    [[nodiscard]] const SqlConstant& constant(std::uint32_t at) const noexcept { return program_.constants[at]; }
    std::uint32_t add_list(std::vector<std::string> list) {
        std::sort(list.begin(), list.end());
        list.erase(std::unique(list.begin(), list.end()), list.end());
        program_.lists.push_back(std::move(list));
        return static_cast<std::uint32_t>(program_.lists.size() - 1);
    }
    /// The place of this property, or nothing when there are too many different ones.
    std::optional<std::uint32_t> add_name(std::string_view name) {
        auto& names = program_.names;
        const auto known = std::find(names.begin(), names.end(), name);
        const auto place = static_cast<std::uint32_t>(known - names.begin());
        if (known != names.end()) {
            return place;
        }
        if (names.size() == sql_names_max) {
            return std::nullopt;
        }
        names.emplace_back(name);
        return place;
    }

    SqlProgram finish() {
        sort_names();
        program_.bytes = bytes();
        return std::move(program_);
    }

private:
    /// Running looks properties up in order.
    void sort_names() {
        std::vector<std::string> sorted = program_.names;
        std::sort(sorted.begin(), sorted.end());
        for (SqlStep& step : program_.steps) {
            if (step.op == SqlOp::property) {
                const auto at = std::lower_bound(sorted.begin(), sorted.end(), program_.names[step.argument]);
                step.argument = static_cast<std::uint32_t>(at - sorted.begin());
            }
        }
        program_.names = std::move(sorted);
    }

    [[nodiscard]] std::size_t bytes() const {
        std::size_t sum = sizeof program_ + program_.steps.capacity() * sizeof(SqlStep) +
                          program_.constants.capacity() * sizeof(SqlConstant) +
                          program_.names.capacity() * sizeof(std::string);
        for (const SqlConstant& constant : program_.constants) {
            sum += constant.text.capacity();
        }
        for (const std::string& name : program_.names) {
            sum += name.capacity();
        }
        for (const auto& list : program_.lists) {
            sum += sizeof list;
            for (const std::string& text : list) {
                sum += sizeof text + text.capacity();
            }
        }
        return sum;
    }

    SqlProgram program_;
    int stack_ = 0;
};

}  // namespace hufu::remoting
