#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/sql_filter.hpp>

namespace hufu::remoting {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string encoded(const Pairs& pairs) {
    std::string out;
    for (const auto& [name, value] : pairs) append_property(out, name, value);
    return out;
}

bool selects(std::string_view expression, const Pairs& properties) {
    const auto filter = SqlFilter::compile(expression);
    EXPECT_TRUE(filter) << (filter ? "" : filter.error().text());
    return filter && filter->matches(encoded(properties));
}

std::string fault(std::string_view expression) {
    const auto filter = SqlFilter::compile(expression);
    return filter ? "(accepted)" : filter.error().text();
}

TEST(SqlFilter, ComparesNumbers) {
    const Pairs five{{"a", "5"}};
    EXPECT_TRUE(selects("a > 4", five));
    EXPECT_FALSE(selects("a > 5", five));
    EXPECT_TRUE(selects("a >= 5 AND a <= 5 AND a < 6 AND a = 5 AND NOT (a <> 5)", five));
    EXPECT_TRUE(selects("a BETWEEN 5 AND 7", five));
    EXPECT_FALSE(selects("a NOT BETWEEN 5 AND 7", five));
    EXPECT_TRUE(selects("a > -3.5e2 and a < .6E+1 and a < 6L and a = 5.", five));
    EXPECT_TRUE(selects("a > 4.99", five));
    EXPECT_TRUE(selects("4 < a", five));
}

TEST(SqlFilter, ReadsTextAsTheOtherSidesKind) {
    EXPECT_FALSE(selects("a > 5", {{"a", "5.5"}}));  // no whole number: senseless, so unwanted
    EXPECT_FALSE(selects("NOT (a > 5)", {{"a", "5.5"}}));
    EXPECT_TRUE(selects("a > 5.0", {{"a", "5.5"}}));
    EXPECT_TRUE(selects("a > 5.0", {{"a", " 0x1p3 "}}));
    EXPECT_TRUE(selects("a > 5", {{"a", "3000000000"}}));
    EXPECT_FALSE(selects("a > 5", {{"a", "9223372036854775808"}}));
    EXPECT_TRUE(selects("a > b", {{"a", "10"}, {"b", "9"}}));  // two texts: as numbers
    EXPECT_FALSE(selects("a > b", {{"a", "x"}, {"b", "9"}}));
    EXPECT_FALSE(selects("a = b", {{"a", "1.0"}, {"b", "1"}}));  // two texts: letter by letter
    EXPECT_TRUE(selects("a = TRUE", {{"a", "True"}}));
    EXPECT_TRUE(selects("a = FALSE", {{"a", "no"}}));
    EXPECT_FALSE(selects("TRUE = a", {{"a", "true"}}));
}

TEST(SqlFilter, ComparesStrings) {
    const Pairs region{{"region", "it's"}};
    EXPECT_TRUE(selects("region = 'it''s'", region));
    EXPECT_TRUE(selects("region <> 'its'", region));
    EXPECT_TRUE(selects("region IN ('x', 'it''s')", region));
    EXPECT_FALSE(selects("region NOT IN ('x', 'it''s')", region));
    EXPECT_TRUE(selects("region CONTAINS 't''' AND region STARTSWITH 'it' AND region ENDSWITH '''s'", region));
    EXPECT_FALSE(selects("region NOT CONTAINS 't'", region));
    EXPECT_TRUE(selects("region not startswith 's' and region not endswith 'i'", region));
    EXPECT_FALSE(selects("region CONTAINS ''", region));
    EXPECT_FALSE(selects("region NOT CONTAINS ''", region));
}

TEST(SqlFilter, TreatsWhatIsMissingAsUnknown) {
    const Pairs none{{"empty", ""}};
    EXPECT_FALSE(selects("a > 5", none));
    EXPECT_FALSE(selects("NOT (a > 5)", none));
    EXPECT_FALSE(selects("a <> 'x'", none));
    EXPECT_FALSE(selects("a IN ('x')", none));
    EXPECT_FALSE(selects("a NOT IN ('x')", none));
    EXPECT_FALSE(selects("a NOT CONTAINS 'x'", none));
    EXPECT_TRUE(selects("a IS NULL AND empty IS NULL", none));
    EXPECT_FALSE(selects("a IS NOT NULL", none));
    EXPECT_TRUE(selects("a > 5 OR TRUE", none));
    EXPECT_TRUE(selects("NOT (a > 5 AND FALSE)", none));
    EXPECT_FALSE(selects("a > 5 AND TRUE", none));
    EXPECT_FALSE(selects("a", {{"a", "true"}}));
    EXPECT_TRUE(selects("NOT a", {{"a", "true"}}));
}

TEST(SqlFilter, BindsAsSqlDoes) {
    const Pairs one{{"a", "1"}, {"b", "2"}};
    EXPECT_TRUE(selects("a = 1 OR a = 9 AND b = 9", one));
    EXPECT_FALSE(selects("(a = 1 OR a = 9) AND b = 9", one));
    EXPECT_TRUE(selects("NOT (a = 2) AND NOT (b = 1)", one));
    EXPECT_TRUE(selects("a = 1 = TRUE", one));
    EXPECT_TRUE(selects("- - 1 = a", one));
    EXPECT_TRUE(selects("a > --5\n -1", one));  // the comment ends with its line
    EXPECT_TRUE(selects("a > - 5 /* * ** */ -- the end", one));
}

TEST(SqlFilter, KnowsKeywordsInAnyCaseAndPropertiesInTheirOwn) {
    EXPECT_TRUE(selects("TAGS in ('paid') aNd KEYS Is Not nuLL", {{"TAGS", "paid"}, {"KEYS", "k"}}));
    EXPECT_FALSE(selects("tags IN ('paid')", {{"TAGS", "paid"}}));
    EXPECT_TRUE(selects("$_a1 = 'x'", {{"$_a1", "x"}}));
    EXPECT_TRUE(selects("a = '2'", {{"a", "1"}, {"a", "2"}}));  // the last of a name counts
}

TEST(SqlFilter, SaysWhereAndWhatIsWrong) {
    EXPECT_EQ(fault("a > "),
              "SQL92 expression, position 5: expected a property, a number, a string, TRUE, FALSE, NOT or "
              "\"(\", found the end of the expression");
    EXPECT_EQ(fault("a and between 2 and 10"),
              "SQL92 expression, position 7: expected a property, a number, a string, TRUE, FALSE, NOT or \"(\", found "
              "\"between\"");
    EXPECT_EQ(
        fault("a between 10 and 0"),
        "SQL92 expression, position 18: expected an upper bound of BETWEEN that is not below the lower one, found \"0\"");
    EXPECT_EQ(fault("a != 5"),
              "SQL92 expression, position 3: expected an operator (\"not equal\" is written <>), found \"!\"");
    EXPECT_EQ(fault("a > 'x'"),
              "SQL92 expression, position 5: expected a number or a property to compare by <, <=, >, >= or "
              "BETWEEN, found \"'x'\"");
    EXPECT_EQ(fault("a = NULL"),
              "SQL92 expression, position 5: expected a value (NULL is asked for with IS NULL or IS NOT "
              "NULL), found \"NULL\"");
    EXPECT_EQ(fault("a = 5 b"),
              "SQL92 expression, position 7: expected AND, OR, a comparison or the end of the expression, "
              "found \"b\"");
    EXPECT_EQ(fault("a = 'x"),
              "SQL92 expression, position 5: expected the quote that ends the string, found the end of the "
              "expression");
    EXPECT_EQ(fault("5 IN ('5')"), "SQL92 expression, position 1: expected a property in front of IN, found \"5\"");
    EXPECT_EQ(fault("a IN (5)"), "SQL92 expression, position 7: expected a string in single quotes, found \"5\"");
    EXPECT_EQ(fault("a = 007"), "SQL92 expression, position 5: expected a number without leading zeros, found \"007\"");
    EXPECT_EQ(fault("a > 100000000000000000000000"),
              "SQL92 expression, position 5: expected a whole number up to 9223372036854775807, found "
              "\"100000000000000000000000\"");
    for (const auto* text : {"", "5", "'x'", "a NOT 5", "a IS 5", "a = 1e999", "a = 1e-999", "TRUE = 5", "(a = 1", "a = 1)",
                             "a > 1 > 2", "a /* b", "a = 1;", "a LIKE 'x'", "-a", "a BETWEEN 1 OR 2"})
        EXPECT_NE(fault(text), "(accepted)") << text;
}

TEST(SqlFilter, LimitsWhatItCompiles) {
    const auto code = [](const std::string& text) { return SqlFilter::compile(text).error().code(); };
    EXPECT_EQ(code("a = '" + std::string(sql_text_bytes_max, 'x') + "'"), ErrorCode::too_large);
    EXPECT_EQ(code(std::string(10'000, '(') + "a" + std::string(10'000, ')')), ErrorCode::too_large);
    EXPECT_EQ(code("a = " + std::string(10'001, '-') + "5"), ErrorCode::too_large);
    std::string many = "a=1";
    for (int i = 0; i < 3000; ++i) many += " OR a=1";
    EXPECT_EQ(code(many), ErrorCode::too_large);
    std::string names = "p0=1";
    for (std::size_t i = 1; i <= sql_names_max; ++i) names += " OR p" + std::to_string(i) + "=1";
    EXPECT_EQ(code(names), ErrorCode::too_large);
    std::string searches = "a CONTAINS 'x'";
    for (std::size_t i = 1; i <= sql_searches_max; ++i) searches += " OR a CONTAINS 'x'";
    EXPECT_EQ(code(searches), ErrorCode::too_large);

    const std::string nested = std::string(sql_nesting_max - 1, '(') + "a=1" + std::string(sql_nesting_max - 1, ')');
    EXPECT_TRUE(selects(nested, {{"a", "1"}}));
    std::string long_list = "a IN ('0'";
    for (int i = 1; i < 3000; ++i) long_list += ",'" + std::to_string(i) + "'";
    EXPECT_TRUE(selects(long_list + ")", {{"a", "2999"}}));
}

TEST(SqlFilter, UsesTheWholeStackAtTheDeepestNesting) {
    std::string text;
    for (std::size_t i = 1; i < sql_nesting_max; ++i) text += "a=9 OR a=1 AND a=1 = (";
    text += "a=1";
    text += std::string(sql_nesting_max - 1, ')');
    EXPECT_TRUE(selects(text, {{"a", "1"}}));
}

}  // namespace
}  // namespace hufu::remoting
