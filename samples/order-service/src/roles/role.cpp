#include "roles/role.hpp"

#include <algorithm>

#include "storage/evidence.hpp"

namespace shop {

std::vector<std::string> topics_of(const Reaction& reaction) {
    std::vector<std::string> topics;
    for (const auto kind : reaction.kinds) {
        if (std::find(topics.begin(), topics.end(), topic_of(kind)) == topics.end()) topics.emplace_back(topic_of(kind));
    }
    return topics;
}

bool concerns(const Reaction& reaction, const hufu::Message& message) {
    return std::any_of(reaction.kinds.begin(), reaction.kinds.end(),
                       [&](EventKind kind) { return to_string(kind) == message.tag; });
}

std::vector<std::string_view> tables_with_evidence(std::span<const std::string_view> more) {
    std::vector<std::string_view> tables{std::begin(evidence_tables), std::end(evidence_tables)};
    tables.insert(tables.end(), more.begin(), more.end());
    return tables;
}

}  // namespace shop
