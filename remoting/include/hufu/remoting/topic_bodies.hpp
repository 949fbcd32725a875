// JSON bodies of topic administration: configs (18, 21, 351) and lists of names (206, 224, 304, 305).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

/// RocketMQ's TopicConfig.
struct TopicData {
    std::string name;
    std::int32_t read_queues = 16;
    std::int32_t write_queues = 16;
    std::int32_t perm = 6;
    std::int32_t sys_flag = 0;
    bool order = false;
    std::map<std::string, std::string, std::less<>> attributes = {};
    friend bool operator==(const TopicData&, const TopicData&) = default;

    [[nodiscard]] static Result<TopicData> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// Body of 18.
[[nodiscard]] Result<std::vector<TopicData>> parse_topic_list(std::string_view json);

/// Body of 21. `version` counts the changes of the broker's topics.
[[nodiscard]] std::string topic_table_json(const std::vector<TopicData>& topics, std::int64_t version);
[[nodiscard]] Result<std::vector<TopicData>> parse_topic_table(std::string_view json);

/// Body of 206, 224, 304 and 305.
struct TopicNames {
    std::vector<std::string> names;
    std::string broker_address = {};  ///< 304: where to ask for the rest

    [[nodiscard]] static Result<TopicNames> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

}  // namespace hufu::remoting
