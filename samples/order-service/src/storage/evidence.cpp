#include "storage/evidence.hpp"

#include <hufu/core/clock.hpp>

namespace shop {
namespace {

std::int64_t now_us() { return hufu::system_clock().system_now().time_since_epoch().count(); }

std::string committed_at_us(const hufu::Message& message) {
    return std::string{message.headers.get(hufu::header::committed_at).value_or("0")};
}

}  // namespace

void record_event(Transaction& tx, const Event& event) {
    tx.run("insert into events (topic, order_id, seq, kind, committed_at_us) values ($1, $2, $3, $4, $5)",
           {topic_of(event.kind), event.order_id, event.version, to_string(event.kind), now_us()});
}

void announce(Transaction& tx, const Event& event, std::optional<hufu::SystemTime> deliver_at) {
    auto message = to_message(event);
    message.deliver_at = deliver_at;
    record_event(tx, event);
    tx.append(message);
}

void record_effect(Transaction& tx, const Event& event, const hufu::Message& message) {
    tx.run(
        "insert into effects (topic, order_id, seq, kind, message_id, committed_at_us, effect_at_us)"
        " values ($1, $2, $3, $4, $5, $6, $7)",
        {message.topic, event.order_id, event.version, to_string(event.kind), message.id.to_string(),
         committed_at_us(message), now_us()});
}

void record_absorbed(Transaction& tx, const hufu::Message& message) {
    tx.run("insert into absorbed (message_id, at_us) values ($1, $2)", {message.id.to_string(), now_us()});
}

}  // namespace shop
