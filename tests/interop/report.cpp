#include "report.hpp"

#include <boost/json.hpp>

#include <algorithm>

namespace hufu::interop {
namespace {

std::string told(const Outcomes* outcomes, const CaseName& name) {
    if (outcomes == nullptr) return "not played";
    const auto found = outcomes->find(name);
    if (found == outcomes->end()) return "fail: the client never told";
    return found->second.passed ? "pass" : "fail: " + found->second.why;
}

const char* relation(bool compared, bool theirs, bool ours) {
    if (!compared) return ours ? "equal" : "worse";
    if (theirs == ours) return "equal";
    return ours ? "better" : "worse";
}

}  // namespace

Report::Report(const std::vector<CaseName>& order, const Outcomes* rocketmq, const Outcomes* hufu) {
    for (const CaseName& name : order) {
        Row row{.played = name, .rocketmq = told(rocketmq, name), .hufu = told(hufu, name), .relation = {}};
        // Against RocketMQ alone a case that fails proves nothing about us.
        row.relation = hufu == nullptr ? "equal" : relation(rocketmq != nullptr, row.rocketmq == "pass", row.hufu == "pass");
        equal_ = equal_ && row.relation != "worse";
        rows_.push_back(std::move(row));
    }
}

std::string Report::json() const {
    boost::json::array cases;
    for (const Row& row : rows_) {
        cases.push_back({{"client", row.played.client},
                         {"name", row.played.name},
                         {"rocketmq", row.rocketmq},
                         {"hufu", row.hufu},
                         {"relation", row.relation}});
    }
    return boost::json::serialize(boost::json::object{{"cases", std::move(cases)}, {"equal", equal_}});
}

std::string Report::text(bool all) const {
    std::string text;
    const auto count = [&](std::string_view relation) {
        return std::to_string(
            std::count_if(rows_.begin(), rows_.end(), [&](const Row& row) { return row.relation == relation; }));
    };
    for (const Row& row : rows_) {
        if (!all && row.relation == "equal" && row.hufu == "pass") continue;
        text += row.relation + "  " + row.played.client + "  " + row.played.name + "\n";
        text += "    rocketmq: " + row.rocketmq + "\n    hufu:     " + row.hufu + "\n";
    }
    return text + std::to_string(rows_.size()) + " cases: " + count("equal") + " equal, " + count("better") + " better, " +
           count("worse") + " worse\n";
}

}  // namespace hufu::interop
