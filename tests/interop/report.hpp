// What came of every case, and how our broker's outcome relates to RocketMQ's.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hufu::interop {

struct CaseName {
    std::string client;  ///< "java-5.3.3"
    std::string name;    ///< "send_sync"
    auto operator<=>(const CaseName&) const = default;
};

struct Outcome {
    bool passed = false;
    std::string why;  ///< a sentence when it did not
};

/// Outcomes of one broker.
using Outcomes = std::map<CaseName, Outcome>;

struct Row {
    CaseName played;
    std::string rocketmq;  ///< "pass", "fail: why", or "not played"
    std::string hufu;
    std::string relation;  ///< "equal", "better" or "worse"
};

class Report {
public:
    /// Rows in the order of `order`. A broker that did not play (null) is not compared: then a row is worse when ours failed.
    Report(const std::vector<CaseName>& order, const Outcomes* rocketmq, const Outcomes* hufu);

    [[nodiscard]] bool equal() const noexcept { return equal_; }
    /// One JSON object, on one line.
    [[nodiscard]] std::string json() const;
    /// A table for people; `all`: also the rows that are equal and pass.
    [[nodiscard]] std::string text(bool all) const;

private:
    std::vector<Row> rows_;
    bool equal_ = true;
};

}  // namespace hufu::interop
