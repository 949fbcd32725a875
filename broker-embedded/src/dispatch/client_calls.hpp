// Requests that the broker sends to its clients and that the clients answer: 221, 307, 309, 326.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include <hufu/broker/connection_id.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::broker {

class DispatchState;

/// The calls that are out. Each ends exactly once: with the client's answer, at its deadline, or with the connection.
///
/// The opaques are the broker's own: a client may have a request out with the same number, and the response bit tells
/// the two apart. Not thread-safe; time comes in with the calls.
class ClientCalls {
public:
    static constexpr std::size_t calls_max = 4096;

    enum class End : std::uint8_t { answered, timed_out, disconnected };
    struct Ended {
        End end = End::timed_out;
        const remoting::CommandView* answer = nullptr;  ///< set when answered; valid during the call only
    };
    /// Runs once, when the call ends.
    using Then = std::function<void(DispatchState&, const Ended&)>;

    /// Notes a call. False (nothing happens) when `calls_max` are out.
    [[nodiscard]] bool add(ConnectionId connection, std::int32_t opaque, SteadyTime deadline, Then then);

    /// A response came. One that nobody waits for, or that comes over another connection, is dropped.
    void answered(DispatchState& state, ConnectionId connection, const remoting::CommandView& answer);
    void expire(DispatchState& state, SteadyTime now);
    void disconnected(DispatchState& state, ConnectionId connection);

    [[nodiscard]] SteadyTime next_deadline() const noexcept { return next_deadline_; }
    [[nodiscard]] std::size_t size() const noexcept { return calls_.size(); }

private:
    struct Call {
        ConnectionId connection;
        SteadyTime deadline;
        Then then;
    };
    template <class Which>
    void end_all(DispatchState& state, End end, Which which);

    std::map<std::int32_t, Call> calls_;  // by opaque
    SteadyTime next_deadline_ = SteadyTime::max();
};

}  // namespace hufu::broker
