#include "broker_bench.hpp"

#include <algorithm>
#include <cstdio>

namespace hufu::bench {

bool BrokerOptions::wanted(const std::string& name) const {
    return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
}

void BrokerOutcome::add(ResultRow row) {
    char line[240];
    int length = std::snprintf(line, sizeof line, "%-24s %12.2f %s", row.name.c_str(), row.ours, row.unit.c_str());
    const auto append = [&](const char* format, double first, double second) {
        length += std::snprintf(line + length, sizeof line - static_cast<std::size_t>(length), format, first, second);
    };
    if (row.other) {
        append("; beside %.2f, ratio %.4f", *row.other, row.ratio().value_or(0));
    }
    if (row.limit) {
        append("; limit %.0f, of limit %.2f", *row.limit, row.of_limit().value_or(0));
    }
    tell(std::string{line} + (row.met() ? (*row.met() ? "; met" : "; NOT met") : ""));
    rows.push_back(std::move(row));
}

void add_checks(BrokerOutcome& outcome, bool versus) {
    const auto add = [&](const char* name, std::uint64_t ours, std::uint64_t other) {
        ResultRow row{.name = name,
                      .unit = "messages",
                      .ours = static_cast<double>(ours),
                      .better = Better::lower,
                      .aim = {.ours = 0}};
        if (versus) {
            row.other = static_cast<double>(other);
        }
        outcome.add(std::move(row));
    };
    add("acknowledged_not_stored", outcome.lost, outcome.other_lost);
    add("stored_not_sent", outcome.invented, outcome.other_invented);
}

}  // namespace hufu::bench
