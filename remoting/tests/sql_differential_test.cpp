// Random expressions over random properties: the compiled filter and the plain reference say the same.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <hufu/core/random.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/sql_filter.hpp>

#include "sql_reference.hpp"

namespace hufu::remoting {
namespace {

class Author {
public:
    explicit Author(std::uint64_t seed) : random_{seed} {}

    std::string expression() {
        std::string text = any(4);
        // Now and then a word too many or too few.
        if (random_.below(12) == 0) text.insert(random_.below(text.size() + 1), pick(noise_));
        if (random_.below(20) == 0) text.erase(random_.below(text.size()), 1 + random_.below(3));
        return text;
    }
    std::string properties() {
        std::string out;
        for (const std::string& name : names_)
            if (random_.below(3) != 0) append_property(out, name, pick(values_));
        if (random_.below(10) == 0) append_property(out, "a", pick(values_));
        return out;
    }

private:
    const std::string& pick(const std::vector<std::string>& from) { return from[random_.below(from.size())]; }
    std::string any(int depth) {
        if (depth == 0 || random_.below(4) == 0) return comparison(depth);
        switch (random_.below(5)) {
            case 0: return "NOT " + any(depth - 1);
            case 1: return "(" + any(depth - 1) + ")";
            case 2: return any(depth - 1) + " OR " + any(depth - 1);
            default: return any(depth - 1) + " and " + any(depth - 1);
        }
    }
    std::string operand(int depth) {
        switch (random_.below(depth > 0 ? 9 : 7)) {
            case 0:
            case 1:
            case 2: return pick(names_);
            case 3:
            case 4:
            case 5: return pick(numbers_);
            case 6: return pick(others_);
            case 7: return "-" + operand(depth - 1);
            default: return "(" + any(depth - 1) + ")";
        }
    }
    std::string comparison(int depth) {
        const std::string left = random_.below(3) != 0 ? pick(names_) : operand(depth);
        const std::string negated = random_.below(3) == 0 ? " NOT " : " ";
        switch (random_.below(8)) {
            case 0: return left + " IS" + negated + "NULL";
            case 1: return left + negated + "IN (" + pick(texts_) + "," + pick(texts_) + ")";
            case 2: return left + negated + pick(searches_) + " " + pick(texts_);
            case 3: return left + negated + "BETWEEN " + operand(depth) + " AND " + operand(depth);
            case 4: return left;
            default: return left + pick(operators_) + operand(depth);
        }
    }

    SeededRandom random_;
    const std::vector<std::string> names_{"a", "b", "TAGS", "tags", "c9"};
    const std::vector<std::string> values_{"1",    "2",     "10",    "-1",    "1.5", "x",
                                           "true", "FALSE", "",      " 1.5",  "+2",  "Infinity",
                                           "NaN",  "0x1p1", "1e400", "-0.0",  "0",   "9223372036854775808",
                                           "xyz",  "1d",    "it's",  "1e-400"};
    const std::vector<std::string> numbers_{"1", "2", "10", "0", "1.5", "2L", ".5e1", "9223372036854775807", "5.", "0.0"};
    const std::vector<std::string> others_{"TRUE", "FALSE", "NULL", "'x'", "'1'", "''"};
    const std::vector<std::string> texts_{"'x'", "'1'", "''", "'y'", "'it''s'", "'xyz'"};
    const std::vector<std::string> searches_{"CONTAINS", "StartsWith", "ENDSWITH"};
    const std::vector<std::string> operators_{"=", "<>", "<", "<=", ">", ">=", " = ", " > "};
    const std::vector<std::string> noise_{" ",   "(",     ")", "--",    "--\n", "/* */", "'",
                                          " 1 ", " AND ", "!", " NOT ", "-",    "+",     "/*"};
};

TEST(SqlFilter, AgreesWithAPlainReading) {
    constexpr int cases = 100'000;
    Author author{20260401};
    int accepted = 0;
    int wanted = 0;
    for (int i = 0; i < cases; ++i) {
        const std::string expression = author.expression();
        const std::string properties = author.properties();
        const auto filter = SqlFilter::compile(expression);
        const auto reference = testing::reference_matches(expression, testing::reference_properties(properties));
        ASSERT_EQ(filter.has_value(), reference.has_value())
            << expression << "\n"
            << (filter ? "only the reference refuses it" : filter.error().text());
        if (!filter) continue;
        ++accepted;
        ASSERT_EQ(filter->matches(properties), *reference) << "case " << i << ": " << expression << "\n" << properties;
        wanted += *reference ? 1 : 0;
    }
    // The cases are worth something: both outcomes and refusals occur often.
    EXPECT_GT(accepted, cases / 4);
    EXPECT_LT(accepted, cases * 9 / 10);
    EXPECT_GT(wanted, cases / 20);
}

}  // namespace
}  // namespace hufu::remoting
