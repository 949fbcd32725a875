// What makes a service: its tables, its HTTP paths and what it does about other services' events.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "domain/event.hpp"
#include "http/message.hpp"
#include "storage/store.hpp"

namespace shop {

class HandOver;

/// Events of these kinds have this effect here. Each reaction is a consumer group of its own.
struct Reaction {
    std::string group;
    std::vector<EventKind> kinds;  ///< others of the same topics are passed over without a transaction
    Effect effect;
};

/// The topics on which these kinds travel, each once.
[[nodiscard]] std::vector<std::string> topics_of(const Reaction& reaction);
[[nodiscard]] bool concerns(const Reaction& reaction, const hufu::Message& message);

/// Answers a request that has an idempotency key, in the transaction that keeps the answer.
using KeyedApplication = std::function<HttpResponse(Transaction&, const HttpRequest&)>;

struct Role {
    std::vector<std::string_view> tables;
    HttpApplication application;
    KeyedApplication keyed = {};  ///< none: keys are not taken
    std::vector<Reaction> reactions;
    std::function<hufu::Handler(hufu::Handler)> around = {};  ///< wraps what handles messages; none: nothing does
};

/// How the order service tells others of what a customer asked for.
enum class Telling : std::uint8_t {
    outbox,                ///< rows of its outbox, in the transaction of the order
    transaction_messages,  ///< halves, whose verdict is in that transaction
    hand_over,             ///< messages of their own after that transaction, through a publisher that outlives the broker
};

struct RoleSettings {
    Telling telling = Telling::outbox;
    std::chrono::milliseconds payment_timeout{15 * 60 * 1000};  ///< an order not paid for so long is closed
    HandOver* hand_over = nullptr;  ///< borrowed for the role's life; needed by `Telling::hand_over`
};

/// `store` is borrowed for the role's life.
[[nodiscard]] Role order_role(Store& store, const RoleSettings& settings);
[[nodiscard]] Role payment_role(Store& store);
[[nodiscard]] Role stock_role(Store& store);

/// Every service's tables of evidence, and `more`.
[[nodiscard]] std::vector<std::string_view> tables_with_evidence(std::span<const std::string_view> more);

}  // namespace shop
