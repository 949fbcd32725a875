// The body of 46: a client shows its subscription before it starts.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <hufu/remoting/bodies.hpp>

namespace hufu::remoting {

/// Body of 46. The answer has none.
struct ClientCheck {
    std::string client_id;
    std::string group;
    std::optional<SubscriptionData> subscription = {};

    [[nodiscard]] static Result<ClientCheck> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

}  // namespace hufu::remoting
