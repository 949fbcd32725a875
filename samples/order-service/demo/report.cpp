#include "report.hpp"

#include <boost/json.hpp>
#include <cmath>
#include <cstdio>

namespace shop::demo {
namespace {

double rounded(double ms) { return std::round(ms * 100) / 100; }

std::string line(const char* what, const std::string& value, const char* note) {
    char text[160];
    std::snprintf(text, sizeof text, "  %-20s %10s  %s\n", what, value.c_str(), note);
    return text;
}

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    return text;
}

}  // namespace

std::string Outcome::broken() const {
    if (!verdict.broken().empty()) return verdict.broken();
    if (!stuck.empty()) return stuck;
    if (!buffered) return "";
    if (buffered->left > 0) return "everything heals: " + std::to_string(buffered->left) + " messages are still buffered";
    if (buffered->by_redis == 0 || buffered->by_journal == 0)
        return "both buffers are used: " + std::to_string(buffered->by_redis) + " messages waited in Redis and " +
               std::to_string(buffered->by_journal) + " in the journal; give more --orders";
    return "";
}

std::string table(const Outcome& outcome) {
    const auto& verdict = outcome.verdict;
    const auto whole = [](auto value) { return std::to_string(value); };
    std::string text = "\n";
    text += line("mode", outcome.mode, "how the order service tells the others");
    text += line("orders accepted", whole(verdict.accepted), "answered with yes, written to the ledger");
    text += line("messages committed", whole(verdict.messages), "with their business rows, in one transaction each");
    text += line("effects", whole(verdict.effects), "in order, payment and stock");
    text += line("duplicates absorbed", whole(verdict.duplicates_absorbed), "deliveries that a guard turned away");
    text += line("answers in doubt", whole(outcome.in_doubt), "requests repeated with the same order id");
    text += line("kills", whole(outcome.kills), "SIGKILL, and SIGSTOP past the lease");
    if (outcome.buffered) {
        const auto& buffered = *outcome.buffered;
        text +=
            line("outage seconds", number(buffered.outage_seconds), "without a broker; without Redis too for a half of it");
        text += line("accepted by redis", whole(buffered.by_redis), "messages");
        text += line("accepted by journal", whole(buffered.by_journal), "messages, while Redis was away too");
        text += line("not taken", whole(buffered.refused), "hand-overs that were repeated");
        text += line("drain ms", number(buffered.drain_ms), "from the broker's return until nothing was buffered");
        text += line("still buffered", whole(buffered.left), "must be 0");
    }
    text += line("lost", whole(verdict.lost), "must be 0");
    text += line("double effects", whole(verdict.double_effects), "must be 0");
    text += line("reordered", whole(verdict.reordered), "must be 0");
    text += line("invented", whole(verdict.invented), "must be 0: effects of what was never committed");
    text += line("books wrong", whole(verdict.sums.overcharged + verdict.sums.shelves_wrong),
                 "must be 0: payments and shelves that do not add up");
    text += line("p50 ms", number(verdict.p50_ms), "from commit to effect");
    text += line("p99 ms", number(verdict.p99_ms), "the whole run");
    text += line("p99 quiet ms", number(verdict.p99_quiet_ms), "without the kill windows");
    text += line("seconds", number(outcome.seconds), "");
    text += outcome.held() ? "\n  held: every promise\n" : "\n  NOT HELD: " + outcome.broken() + "\n";
    for (const auto& example : verdict.examples) text += "    " + example + "\n";
    return text;
}

std::string json(const Outcome& outcome) {
    const auto& verdict = outcome.verdict;
    boost::json::object object{{"held", outcome.held()},
                               {"mode", outcome.mode},
                               {"accepted", verdict.accepted},
                               {"effects", verdict.effects},
                               {"duplicates_absorbed", verdict.duplicates_absorbed},
                               {"lost", verdict.lost},
                               {"double_effects", verdict.double_effects},
                               {"reordered", verdict.reordered},
                               {"kills", outcome.kills},
                               {"p50_ms", rounded(verdict.p50_ms)},
                               {"p99_ms", rounded(verdict.p99_ms)},
                               {"p99_quiet_ms", rounded(verdict.p99_quiet_ms)}};
    if (outcome.buffered) {
        const auto& buffered = *outcome.buffered;
        object["by_redis"] = buffered.by_redis;
        object["by_journal"] = buffered.by_journal;
        object["not_taken"] = buffered.refused;
        object["still_buffered"] = buffered.left;
        object["outage_seconds"] = rounded(buffered.outage_seconds);
        object["drain_ms"] = rounded(buffered.drain_ms);
    }
    if (!outcome.held()) object["broken"] = outcome.broken();
    return boost::json::serialize(object);
}

std::string json_of_failure(const std::string& error) {
    return boost::json::serialize(boost::json::object{{"held", false}, {"error", error}});
}

}  // namespace shop::demo
