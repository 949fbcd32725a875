#include <hufu/remoting/object_map.hpp>

#include <gtest/gtest.h>

namespace hufu::remoting {
namespace {

TEST(ObjectMap, WritesQueuesAsFastjsonKeys) {
    std::string text = R"({"offsetTable":)";
    QueueMapWriter map{text};
    map.add({"orders", "hufu", 0}, 7);
    map.add({"odd\"topic", "hufu", 1}, R"({"minOffset":1})");
    map.finish();
    text += "}";
    EXPECT_EQ(text, R"({"offsetTable":{{"brokerName":"hufu","queueId":0,"topic":"orders"}:7,)"
                    R"({"brokerName":"hufu","queueId":1,"topic":"odd\"topic"}:{"minOffset":1}}})");
}

TEST(ObjectMap, ReadsWhatItWrote) {
    std::string text = R"({"other":[{"a":1},{"b":2}],"table":)";
    QueueMapWriter map{text};
    map.add({"a,{}\"\\ b", "hufu", 3}, -5);
    map.add({"orders", "hufu", 4}, R"({"x":[1,{"y":"}"}]})");
    map.finish();
    text += R"(,"last":true})";
    const auto entries = read_queue_map(text, "table").value();
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(entries[0].queue, (MessageQueue{"a,{}\"\\ b", "hufu", 3}));
    EXPECT_EQ(entries[0].number(), -5);
    EXPECT_EQ(entries[1].queue, (MessageQueue{"orders", "hufu", 4}));
    EXPECT_EQ(entries[1].json, R"({"x":[1,{"y":"}"}]})");
}

TEST(ObjectMap, ReadsAnAbsentOrEmptyMapAsNothing) {
    EXPECT_TRUE(read_queue_map("{}", "table").value().empty());
    EXPECT_TRUE(read_queue_map(R"({"table":null})", "table").value().empty());
    EXPECT_TRUE(read_queue_map(R"({"table":{ } })", "table").value().empty());
}

TEST(ObjectMap, LeavesOrdinaryJsonAlone) {
    const std::string text = R"({"a":[{"b":{"c":1}},{"d":"{,{"}],"e": {"f":[[{}],{}]}})";
    EXPECT_EQ(quote_object_keys(text), text);
}

TEST(ObjectMap, RefusesWhatIsNoMapOfQueues) {
    for (const char* text : {"", "{", "[]", R"({"table":[1]})", R"({"table":{"x":1}})", R"({"table":{{"a":1:2}})",
                             R"({"table":{{)", R"({"table":{{"topic":"t","queueId":99999999999}:1}})"})
        EXPECT_FALSE(read_queue_map(text, "table")) << text;
}

}  // namespace
}  // namespace hufu::remoting
