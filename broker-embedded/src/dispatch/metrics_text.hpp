// Prometheus text for figures that are worked out when somebody asks.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace hufu::broker {

class MetricsText {
public:
    using Label = std::pair<std::string_view, std::string_view>;

    explicit MetricsText(std::string& out) : out_{out} {}

    /// Begins a metric; its samples follow. `kind` is counter or gauge.
    void family(std::string_view name, std::string_view kind, std::string_view help) {
        name_ = name;
        out_.append("# HELP ").append(name).append(1, ' ').append(help);
        out_.append("\n# TYPE ").append(name).append(1, ' ').append(kind).append(1, '\n');
    }
    template <class Number>
    void sample(Number value, std::initializer_list<Label> labels = {}) {
        out_.append(name_);
        char before = '{';
        for (const auto& [name, text] : labels) {
            out_.append(1, before).append(name).append("=\"");
            append_escaped(text);
            out_.append(1, '"');
            before = ',';
        }
        if (before == ',') out_.append(1, '}');
        out_.append(1, ' ').append(std::to_string(value)).append(1, '\n');
    }
    /// A metric with one sample and no labels.
    template <class Number>
    void single(std::string_view name, std::string_view kind, std::string_view help, Number value) {
        family(name, kind, help);
        sample(value);
    }

private:
    void append_escaped(std::string_view text) {
        for (const char c : text) {
            if (c == '\\' || c == '"') out_.append(1, '\\');
            if (c == '\n') {
                out_.append("\\n");
            } else {
                out_.append(1, c);
            }
        }
    }

    std::string& out_;
    std::string_view name_;
};

}  // namespace hufu::broker
