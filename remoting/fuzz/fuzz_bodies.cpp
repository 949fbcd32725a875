// JSON bodies as peers send them. What is read of those that Hufu writes too is written and must read the same.
#include <cstdint>
#include <string_view>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/transaction_bodies.hpp>

namespace {

template <class Body>
void round(std::string_view json) {
    const auto body = Body::parse(json);
    if (!body) return;
    const auto again = Body::parse(body->to_json());
    HUFU_ASSERT(again);
    HUFU_ASSERT(again->to_json() == body->to_json());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace hufu::remoting;
    const std::string_view json{reinterpret_cast<const char*>(data), size};
    round<TopicRoute>(json);
    round<Heartbeat>(json);
    round<ConsumerList>(json);
    round<LockRequest>(json);
    round<LockResponse>(json);
    round<TransactionFilter>(json);
    round<TransactionCommand>(json);
    round<TransactionData>(json);
    round<TransactionList>(json);
    return 0;
}
