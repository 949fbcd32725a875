#include "oracle.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include "domain/event.hpp"

namespace shop::demo {
namespace {

constexpr std::size_t examples_max = 10;

/// Which services an event must have an effect in. The demo's own knowledge, not taken from the services' code.
struct Expectation {
    std::string_view kind;
    bool order;
    bool payment;
    bool stock;
};
constexpr std::array<Expectation, 8> expectations{{
    {"order.created", false, true, true},
    {"order.payment_requested", false, true, false},
    {"order.paid", false, false, true},
    {"order.cancelled", false, true, true},
    {"order.closed", false, true, true},
    {"order.payment_due", true, false, false},
    {"payment.charged", true, false, false},
    {"stock.refused", true, false, false},
}};

using Identity = std::tuple<std::string, std::int64_t, std::string>;  // order, seq, kind
using Counts = std::map<Identity, std::uint64_t>;

Counts counts_of(const ServiceEvidence& service) {
    Counts counts;
    for (const auto& effect : service.effects) ++counts[{effect.order_id, effect.seq, effect.kind}];
    return counts;
}

class Judge {
public:
    Judge(const Ledger& ledger, const Evidence& evidence, const std::vector<Window>& windows)
        : ledger_{ledger}, evidence_{evidence}, windows_{windows} {}

    Verdict run() {
        for (const auto* service : {&evidence_.order, &evidence_.payment, &evidence_.stock}) {
            verdict_.messages += service->events.size();
            verdict_.effects += service->effects.size();
            verdict_.duplicates_absorbed += service->absorbed;
            for (const auto& event : service->events) committed_.insert({event.order_id, event.seq, event.kind});
        }
        check_ledger();
        check_service("order", evidence_.order, &Expectation::order);
        check_service("payment", evidence_.payment, &Expectation::payment);
        check_service("stock", evidence_.stock, &Expectation::stock);
        measure();
        verdict_.sums = evidence_.sums;
        return verdict_;
    }

private:
    /// What was answered with yes is in the order service's database.
    void check_ledger() {
        std::map<std::string, std::set<std::string>> kinds;
        for (const auto& event : evidence_.order.events) kinds[event.order_id].insert(event.kind);
        for (const auto& [id, entry] : ledger_) {
            if (entry.created) ++verdict_.accepted;
            const auto& of_order = kinds[id];
            const auto need = [&](bool accepted, std::string_view what, std::string_view kind) {
                if (accepted && !of_order.contains(std::string{kind})) {
                    ++verdict_.lost;
                    example(id + ": " + std::string{what} + " was accepted, but no " + std::string{kind} + " was committed");
                }
            };
            need(entry.created, "the order", "order.created");
            need(entry.paid, "payment", "order.payment_requested");
            need(entry.cancelled, "cancelling", "order.cancelled");
        }
    }

    void check_service(const std::string& name, const ServiceEvidence& service, bool Expectation::*wanted) {
        const auto counts = counts_of(service);
        for (const auto& identity : committed_) {
            const auto& kind = std::get<2>(identity);
            const auto expected =
                std::find_if(expectations.begin(), expectations.end(), [&](const auto& e) { return e.kind == kind; });
            if (expected == expectations.end() || !((*expected).*wanted)) continue;
            if (!counts.contains(identity)) {
                ++verdict_.lost;
                example(words(identity) + " was committed and had no effect in " + name);
            }
        }
        for (const auto& [identity, count] : counts) {
            if (!committed_.contains(identity)) {
                verdict_.invented += count;
                example(words(identity) + " had an effect in " + name + ", but nobody committed it");
            }
            if (count > 1) {
                verdict_.double_effects += count - 1;
                example(words(identity) + " had " + std::to_string(count) + " effects in " + name);
            }
        }
        check_sequence(name, service);
    }

    /// The versions of an order, in the order in which their effects took place; repeats are counted elsewhere.
    void check_sequence(const std::string& name, const ServiceEvidence& service) {
        std::map<std::pair<std::string, std::string>, std::int64_t> highest;
        std::set<std::pair<std::string, Identity>> seen;
        for (const auto& effect : service.effects) {
            if (!seen.insert({effect.topic, {effect.order_id, effect.seq, effect.kind}}).second) continue;
            auto& last = highest[{effect.topic, effect.order_id}];
            if (effect.seq <= last) {
                ++verdict_.reordered;
                example(effect.order_id + ": " + effect.kind + " " + std::to_string(effect.seq) + " took effect in " + name +
                        " after " + std::to_string(last));
            }
            last = std::max(last, effect.seq);
        }
    }

    void measure() {
        std::vector<double> all;
        std::vector<double> quiet;
        for (const auto* service : {&evidence_.order, &evidence_.payment, &evidence_.stock}) {
            for (const auto& effect : service->effects) {
                if (effect.topic == topic::deadlines || effect.committed_at_us == 0) continue;
                const double ms = static_cast<double>(effect.effect_at_us - effect.committed_at_us) / 1000.0;
                all.push_back(ms);
                if (!meets_window(effect)) quiet.push_back(ms);
            }
        }
        verdict_.p50_ms = percentile(all, 0.50);
        verdict_.p99_ms = percentile(all, 0.99);
        verdict_.p99_quiet_ms = percentile(quiet, 0.99);
    }

    [[nodiscard]] bool meets_window(const EffectRow& effect) const {
        return std::any_of(windows_.begin(), windows_.end(), [&](const Window& window) {
            return effect.committed_at_us <= window.until_us && effect.effect_at_us >= window.from_us;
        });
    }

    static double percentile(std::vector<double>& values, double fraction) {
        if (values.empty()) return 0;
        const auto index =
            std::min(values.size() - 1, static_cast<std::size_t>(fraction * static_cast<double>(values.size())));
        std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index), values.end());
        return values[index];
    }

    static std::string words(const Identity& identity) {
        return std::get<0>(identity) + ": " + std::get<2>(identity) + " " + std::to_string(std::get<1>(identity));
    }

    void example(std::string text) {
        if (verdict_.examples.size() < examples_max) verdict_.examples.push_back(std::move(text));
    }

    const Ledger& ledger_;
    const Evidence& evidence_;
    const std::vector<Window>& windows_;
    std::set<Identity> committed_;
    Verdict verdict_;
};

}  // namespace

std::string Verdict::broken() const {
    if (double_effects > 0) return "one effect per message";
    if (lost > 0) return "nothing accepted is lost";
    if (reordered > 0) return "order per key";
    if (invented > 0) return "both or neither";
    if (sums.overcharged > 0 || sums.shelves_wrong > 0) return "the books balance";
    return "";
}

Verdict judge(const Ledger& ledger, const Evidence& evidence, const std::vector<Window>& windows) {
    return Judge{ledger, evidence, windows}.run();
}

}  // namespace shop::demo
