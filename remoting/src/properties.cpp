#include <hufu/remoting/properties.hpp>

namespace hufu::remoting {

std::optional<PropertiesView::Entry> PropertiesView::next() noexcept {
    while (!rest_.empty()) {
        const std::size_t end = rest_.find(property_separator);
        const std::string_view pair = rest_.substr(0, end);
        rest_ = end == std::string_view::npos ? std::string_view{} : rest_.substr(end + 1);
        const std::size_t middle = pair.find(name_separator);
        if (middle != std::string_view::npos && middle != 0) {
            return Entry{pair.substr(0, middle), pair.substr(middle + 1)};
        }
    }
    return {};
}

std::optional<std::string_view> PropertiesView::get(std::string_view name) const noexcept {
    PropertiesView rest = *this;
    while (const auto entry = rest.next()) {
        if (entry->name == name) {
            return entry->value;
        }
    }
    return {};
}

bool is_property_text(std::string_view text) noexcept {
    return text.find(name_separator) == std::string_view::npos && text.find(property_separator) == std::string_view::npos;
}

void append_property(std::string& out, std::string_view name, std::string_view value) {
    out.append(name);
    out.push_back(name_separator);
    out.append(value);
    out.push_back(property_separator);
}

}  // namespace hufu::remoting
