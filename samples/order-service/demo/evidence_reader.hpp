// Reads what the services wrote down. Only the databases are asked, never a service.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "storage/store.hpp"

namespace shop::demo {

/// A message some service promised to send.
struct EventRow {
    std::string topic;
    std::string order_id;
    std::int64_t seq = 0;
    std::string kind;
};

/// A message that took effect, in the order in which effects took place.
struct EffectRow {
    std::string topic;
    std::string order_id;
    std::int64_t seq = 0;
    std::string kind;
    std::int64_t committed_at_us = 0;
    std::int64_t effect_at_us = 0;
};

struct ServiceEvidence {
    std::vector<EventRow> events;
    std::vector<EffectRow> effects;
    std::uint64_t absorbed = 0;
};

/// The business as a whole: what must add up whatever happened on the way.
struct Sums {
    std::int64_t overcharged = 0;    ///< payments that took another amount than their order's
    std::int64_t shelves_wrong = 0;  ///< skus whose shelf and holds do not add up to what was delivered
};

struct Evidence {
    std::map<std::string, std::string> orders;  ///< id → state
    ServiceEvidence order;
    ServiceEvidence payment;
    ServiceEvidence stock;
    Sums sums;
};

/// How far the services are, cheaply.
struct Progress {
    std::uint64_t backlog = 0;  ///< outbox rows not yet sent, delayed ones included
    std::uint64_t parked = 0;   ///< outbox rows that wait for a person
    std::uint64_t effects = 0;
    friend bool operator==(const Progress&, const Progress&) = default;
};

/// The three databases of a run.
struct Stores {
    Store& order;
    Store& payment;
    Store& stock;
};

[[nodiscard]] Progress read_progress(const Stores& stores);
/// `delivered`: what every shelf was filled with.
[[nodiscard]] Evidence read_evidence(const Stores& stores, std::int64_t delivered);

}  // namespace shop::demo
