#include <gtest/gtest.h>

#include <string>

#include <hufu/remoting/properties.hpp>

namespace hufu::remoting {
namespace {

TEST(Properties, TravelInTheirOrder) {
    std::string out;
    append_property(out, "KEYS", "1 2");
    append_property(out, "TAGS", "");
    EXPECT_EQ(out, std::string_view("KEYS\x01"
                                    "1 2\x02TAGS\x01\x02"));
    PropertiesView view{out};
    const auto keys = view.next();
    ASSERT_TRUE(keys);
    EXPECT_EQ(keys->name, "KEYS");
    EXPECT_EQ(keys->value, "1 2");
    const auto tags = view.next();
    ASSERT_TRUE(tags);
    EXPECT_EQ(tags->value, "");
    EXPECT_FALSE(view.next());
}

TEST(Properties, ReadsWhatOthersLeaveOut) {
    constexpr std::string_view text =
        "\x02junk\x02\x01no name\x02"
        "a\x01"
        "1\x02"
        "b\x01"
        "2";
    PropertiesView view{text};
    EXPECT_EQ(view.get("b"), "2");
    EXPECT_EQ(view.get("c"), std::nullopt);
    EXPECT_EQ(view.next()->name, "a");
    EXPECT_EQ(view.next()->name, "b");
    EXPECT_FALSE(view.next());
}

TEST(Properties, KnowsItsSeparators) {
    EXPECT_TRUE(is_property_text("plain \x03"));
    EXPECT_FALSE(is_property_text("a\x01"));
    EXPECT_FALSE(is_property_text("\x02"));
}

}  // namespace
}  // namespace hufu::remoting
