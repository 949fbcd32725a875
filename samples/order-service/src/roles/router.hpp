// From method and path to a function.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/refusal.hpp"
#include "http/message.hpp"

namespace shop {

/// The response to a refused request: 400, 404, 409 or 422 with the refusal as JSON.
[[nodiscard]] HttpResponse refused(const Refusal& refusal);

/// The patterns and what they fit.
class RouteTable {
public:
    void add(std::string method, std::string pattern);
    struct Found {
        std::optional<std::size_t> entry;  ///< in the order of `add`
        std::string name;                  ///< what stood in place of `{…}`, checked by `is_name`
        HttpResponse refusal;              ///< without an entry
    };
    [[nodiscard]] Found find(const HttpRequest& request) const;

private:
    struct Entry {
        std::string method;
        std::vector<std::string> pattern;
    };
    std::vector<Entry> entries_;
};

/// Routes like `POST /orders/{id}/pay`. A path nobody has is 404, a method a path does not have 405 with `Allow`. `In`: what
/// every route is handed beside the request. Immutable once it serves, so safe from any thread.
template <class... In>
class BasicRouter {
public:
    /// `name`: what stood in place of `{…}`, empty where the pattern has none.
    using Route = std::function<HttpResponse(In... in, const HttpRequest& request, const std::string& name)>;

    BasicRouter& on(std::string method, std::string pattern, Route route) {
        table_.add(std::move(method), std::move(pattern));
        routes_.push_back(std::move(route));
        return *this;
    }
    [[nodiscard]] HttpResponse operator()(In... in, const HttpRequest& request) const {
        auto found = table_.find(request);
        if (!found.entry) return std::move(found.refusal);
        return routes_[*found.entry](std::forward<In>(in)..., request, found.name);
    }

private:
    RouteTable table_;
    std::vector<Route> routes_;
};

using Router = BasicRouter<>;

}  // namespace shop
