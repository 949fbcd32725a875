#include "url.hpp"

#include <utility>

namespace hufu::connect {

std::string without_password(const std::string& url) {
    const auto host = url.find("://");
    const auto at = url.find('@');
    if (host == std::string::npos || at == std::string::npos || at < host) {
        return url;
    }
    const auto colon = url.find(':', host + 3);
    return colon < at ? url.substr(0, colon + 1) + "***" + url.substr(at) : url;
}

Error unknown_url(const std::string& text, std::string_view what, std::span<const std::string_view> known) {
    std::string error = "\"" + without_password(text) + "\" is not the address of " + std::string{what} + "; known are: ";
    std::string_view separator;
    for (const auto example : known) {
        error += separator;
        error += example;
        separator = ", ";
    }
    return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(error)};
}

Result<Url> parse_url(const std::string& text, std::string_view what, std::span<const std::string_view> known) {
    const auto colon = text.find(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
        return unknown_url(text, what, known);
    }
    Url url{text.substr(0, colon), text.substr(colon + 1)};
    if (url.rest.starts_with("//") && url.scheme != "sqlite" && url.scheme != "embedded") {
        url.rest.erase(0, 2);
    } else if (url.rest.starts_with("///")) {
        url.rest.erase(0, 2);  // sqlite:///path, as other tools write it
    }
    if (url.rest.empty()) {
        return unknown_url(text, what, known);
    }
    return url;
}

}  // namespace hufu::connect
