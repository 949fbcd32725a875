#include "roles/router.hpp"

#include <optional>

#include "domain/order_json.hpp"

namespace shop {
namespace {

std::vector<std::string> segments_of(std::string_view path) {
    std::vector<std::string> segments;
    path = path.substr(0, path.find('?'));
    while (!path.empty()) {
        const auto end = path.find('/', 1);
        segments.emplace_back(path.substr(0, end));
        path = end == std::string_view::npos ? std::string_view{} : path.substr(end);
    }
    return segments;
}

bool is_place(std::string_view segment) { return segment.starts_with("/{"); }

/// What stands in place of `{…}` (or nothing to name), if the path fits.
std::optional<std::string> match(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
    if (pattern.size() != path.size()) return std::nullopt;
    std::string name;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (is_place(pattern[i])) {
            name = path[i].substr(1);
            if (!is_name(name)) return std::nullopt;
        } else if (pattern[i] != path[i]) {
            return std::nullopt;
        }
    }
    return name;
}

}  // namespace

HttpResponse refused(const Refusal& refusal) {
    unsigned status = 422;
    switch (refusal.kind) {
        case Refused::malformed: status = 400; break;
        case Refused::unknown: status = 404; break;
        case Refused::conflict: status = 409; break;
        case Refused::invalid:
        case Refused::different_payload: break;
    }
    return {.status = status, .body = to_json(refusal)};
}

void RouteTable::add(std::string method, std::string pattern) {
    entries_.push_back({std::move(method), segments_of(pattern)});
}

RouteTable::Found RouteTable::find(const HttpRequest& request) const {
    const auto path = segments_of(request.target);
    std::string allowed;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const auto name = match(entries_[i].pattern, path);
        if (!name) continue;
        if (entries_[i].method == request.method) return {i, *name, {}};
        allowed += (allowed.empty() ? "" : ", ") + entries_[i].method;
    }
    if (allowed.empty()) {
        return {{}, {}, refused({Refused::unknown, "path", request.target.substr(0, 200), "is a path of this service"})};
    }
    auto response = refused({Refused::invalid, "method", request.method.substr(0, 20), "is one of " + allowed});
    response.status = 405;
    response.allow = allowed;
    return {{}, {}, std::move(response)};
}

}  // namespace shop
