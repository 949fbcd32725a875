#include <hufu/core/assert.hpp>
#include <hufu/core/metrics.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <variant>

namespace hufu {
namespace {

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", value);
    return text;
}

std::string escaped(std::string_view value) {
    std::string text;
    for (const char character : value) {
        if (character == '\\' || character == '"') text.push_back('\\');
        if (character == '\n') {
            text += "\\n";
        } else {
            text.push_back(character);
        }
    }
    return text;
}

std::string braces(const MetricsRegistry::Labels& labels, std::string_view extra = {}) {
    std::string text;
    for (const auto& [name, value] : labels) {
        text += text.empty() ? "" : ",";
        text += name + "=\"" + escaped(value) + "\"";
    }
    if (!extra.empty()) {
        text += text.empty() ? "" : ",";
        text += extra;
    }
    return text.empty() ? text : "{" + text + "}";
}

}  // namespace

Histogram::Histogram(std::vector<double> upper_bounds)
    : upper_bounds_{std::move(upper_bounds)}, buckets_(upper_bounds_.size() + 1) {
    HUFU_ASSERT(std::is_sorted(upper_bounds_.begin(), upper_bounds_.end()));
}

void Histogram::observe(double value) noexcept {
    const auto bucket = std::lower_bound(upper_bounds_.begin(), upper_bounds_.end(), value) - upper_bounds_.begin();
    buckets_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const noexcept { return cumulative(upper_bounds_.size()); }
double Histogram::sum() const noexcept { return sum_.load(std::memory_order_relaxed); }

std::uint64_t Histogram::cumulative(std::size_t bucket) const noexcept {
    std::uint64_t total = 0;
    for (std::size_t index = 0; index <= bucket && index < buckets_.size(); ++index) {
        total += buckets_[index].load(std::memory_order_relaxed);
    }
    return total;
}

struct MetricsRegistry::Impl {
    using Metric = std::variant<std::unique_ptr<Counter>, std::unique_ptr<Gauge>, std::unique_ptr<Histogram>>;
    struct Family {
        std::string help;
        std::map<Labels, Metric> members;
    };

    template <class Kind, class Make>
    Kind& find(std::string_view name, std::string_view help, Labels labels, Make make) {
        const std::lock_guard lock{mutex};
        auto& family = families[std::string{name}];
        if (family.help.empty()) family.help = help;
        HUFU_ASSERT(family.members.empty() || std::holds_alternative<std::unique_ptr<Kind>>(family.members.begin()->second));
        auto found = family.members.find(labels);
        if (found == family.members.end()) found = family.members.emplace(std::move(labels), make()).first;
        return *std::get<std::unique_ptr<Kind>>(found->second);
    }

    mutable std::mutex mutex;
    std::map<std::string, Family> families;  // guarded by mutex
};

MetricsRegistry::MetricsRegistry() : impl_{std::make_unique<Impl>()} {}
MetricsRegistry::~MetricsRegistry() = default;

Counter& MetricsRegistry::counter(std::string_view name, std::string_view help, Labels labels) {
    return impl_->find<Counter>(name, help, std::move(labels), [] { return std::make_unique<Counter>(); });
}

Gauge& MetricsRegistry::gauge(std::string_view name, std::string_view help, Labels labels) {
    return impl_->find<Gauge>(name, help, std::move(labels), [] { return std::make_unique<Gauge>(); });
}

Histogram& MetricsRegistry::histogram(std::string_view name, std::string_view help, std::vector<double> upper_bounds,
                                      Labels labels) {
    return impl_->find<Histogram>(name, help, std::move(labels),
                                  [&] { return std::make_unique<Histogram>(std::move(upper_bounds)); });
}

std::string MetricsRegistry::text() const {
    const std::lock_guard lock{impl_->mutex};
    std::string out;
    for (const auto& [name, family] : impl_->families) {
        const auto& first = family.members.begin()->second;
        const char* kind = first.index() == 0 ? "counter" : first.index() == 1 ? "gauge" : "histogram";
        out += "# HELP " + name + " " + family.help + "\n# TYPE " + name + " " + kind + "\n";
        for (const auto& [labels, metric] : family.members) {
            if (const auto* held = std::get_if<std::unique_ptr<Counter>>(&metric)) {
                out += name + braces(labels) + " " + std::to_string((*held)->value()) + "\n";
            } else if (const auto* gauge = std::get_if<std::unique_ptr<Gauge>>(&metric)) {
                out += name + braces(labels) + " " + std::to_string((*gauge)->value()) + "\n";
            } else {
                const auto& histogram = *std::get<std::unique_ptr<Histogram>>(metric);
                const auto bounds = histogram.upper_bounds();
                for (std::size_t bucket = 0; bucket <= bounds.size(); ++bucket) {
                    const std::string le = bucket < bounds.size() ? number(bounds[bucket]) : "+Inf";
                    out += name + "_bucket" + braces(labels, "le=\"" + le + "\"") + " " +
                           std::to_string(histogram.cumulative(bucket)) + "\n";
                }
                out += name + "_sum" + braces(labels) + " " + number(histogram.sum()) + "\n";
                out += name + "_count" + braces(labels) + " " + std::to_string(histogram.count()) + "\n";
            }
        }
    }
    return out;
}

}  // namespace hufu
