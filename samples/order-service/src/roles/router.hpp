// From method and path to a function.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "domain/refusal.hpp"
#include "http/message.hpp"

namespace shop {

/// The response to a refused request: 400, 404, 409 or 422 with the refusal as JSON.
[[nodiscard]] HttpResponse refused(const Refusal& refusal);

/// Routes like `POST /orders/{id}/pay`. A path nobody has is 404, a method a path does not have 405 with `Allow`.
/// Immutable once it serves, so safe from any thread.
class Router {
public:
    /// `name`: what stood in place of `{…}`, empty where the pattern has none. It was checked by `is_name`.
    using Route = std::function<HttpResponse(const HttpRequest& request, const std::string& name)>;

    Router& on(std::string method, std::string pattern, Route route);
    [[nodiscard]] HttpResponse operator()(const HttpRequest& request) const;

private:
    struct Entry {
        std::string method;
        std::vector<std::string> pattern;
        Route route;
    };
    std::vector<Entry> entries_;
};

}  // namespace shop
