// Connections, calls and time-outs towards a cluster, without a socket: events in, actions out.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/random.hpp>
#include <hufu/remoting/acl.hpp>
#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/command.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/rocketmq/client.hpp>

namespace hufu::rocketmq {

/// What the shell has to do. A `close` needs no report back; `connect` ends in `connected` or `closed`.
struct Action {
    enum class Kind : std::uint8_t { connect, send, close };
    Kind kind = Kind::send;
    std::string address;
    std::string bytes = {};
};

/// What became of a call. `command` is set when the peer answered, whatever it said, and valid during the callback.
/// Otherwise the error's disposition is `retry` (the request never left) or `in_doubt` (sent, no answer).
struct Answer {
    const remoting::CommandView* command = nullptr;
    Error error = {};
};

/// One thread. Callbacks come from inside the event functions and may call anything here.
class Cluster {
public:
    using OnAnswer = std::function<void(SteadyTime now, const Answer& answer)>;
    using OnRoute = std::function<void(SteadyTime now, Result<remoting::TopicRoute> route)>;
    using OnRequest = std::function<void(SteadyTime now, const std::string& address, const remoting::CommandView& request)>;
    using OnLink = std::function<void(SteadyTime now, const std::string& address, bool up)>;

    Cluster(ClientOptions options, Random& random, Log& log);

    void on_request(OnRequest handler) { on_request_ = std::move(handler); }
    void on_link(OnLink handler) { on_link_ = std::move(handler); }

    // For the machines.

    /// True while the connection to `address` is up.
    [[nodiscard]] bool ready(const std::string& address) const;
    /// Keeps a connection to `address` up from now on.
    void want(SteadyTime now, const std::string& address);
    /// Sends a request and answers exactly once. Without a connection it waits for one and fails when connecting fails.
    template <class Header>
    void call(SteadyTime now, const std::string& address, remoting::RequestCode code, const Header& header,
              std::string_view body, std::chrono::milliseconds timeout, OnAnswer on_answer) {
        const std::int32_t opaque = next_opaque();
        std::string frame;
        remoting::append_request(frame, serialize_type(), code, opaque, header, body);
        submit(now, address, opaque, std::move(frame), now + timeout, std::move(on_answer));
    }
    /// Sends a request that is not answered; dropped without a connection.
    template <class Header>
    void post(const std::string& address, remoting::RequestCode code, const Header& header, std::string_view body = {}) {
        if (ready(address)) {
            std::string frame;
            remoting::append_request(frame, serialize_type(), code, next_opaque(), header, body, true);
            sign(frame);
            actions_.push_back({Action::Kind::send, address, std::move(frame)});
        }
    }
    [[nodiscard]] std::int32_t next_opaque() noexcept { return ++last_opaque_ & 0x7FFF'FFFF; }
    [[nodiscard]] remoting::SerializeType serialize_type() const noexcept {
        return options_.binary_headers ? remoting::SerializeType::binary : remoting::SerializeType::json;
    }
    /// As `call`, with a frame made by the caller.
    void submit(SteadyTime now, const std::string& address, std::int32_t opaque, std::string frame, SteadyTime deadline,
                OnAnswer on_answer);
    /// Asks the name service; `not_found` when it has no such topic. Tries the next name server after a failure.
    void lookup(SteadyTime now, const std::string& topic, OnRoute on_route);
    /// Where a broker of `route` is reached; empty without a master.
    [[nodiscard]] std::string broker_address(const remoting::TopicRoute& route, std::string_view broker_name) const;
    [[nodiscard]] const ClientOptions& options() const noexcept { return options_; }

    // For the shell.

    void connected(SteadyTime now, const std::string& address);
    void closed(SteadyTime now, const std::string& address, const Error& why);
    void received(SteadyTime now, const std::string& address, const remoting::CommandView& command);
    void tick(SteadyTime now);
    [[nodiscard]] std::optional<SteadyTime> next_tick() const noexcept;
    [[nodiscard]] std::vector<Action> take_actions() { return std::exchange(actions_, {}); }

private:
    enum class State : std::uint8_t { idle, connecting, ready };
    struct Waiting {
        std::int32_t opaque;
        std::string frame;
    };
    struct Peer {
        State state = State::idle;
        bool wanted = false;
        std::uint32_t failures = 0;  // since the last answer
        SteadyTime at{};             // connecting: give up; idle: try again
        SteadyTime last_received{};
        std::vector<Waiting> waiting;  // until ready
    };
    struct Call {
        std::string address;
        SteadyTime sent{};
        SteadyTime deadline{};
        bool left = false;  // handed to a connection
        OnAnswer on_answer;
    };

    void connect(SteadyTime now, const std::string& address, Peer& peer);
    void settle(SteadyTime now, std::int32_t opaque, const Answer& result);
    void sign(std::string& request) const;

    ClientOptions options_;
    std::optional<remoting::AclSigner> signer_;
    Random& random_;
    Log& log_;
    OnRequest on_request_;
    OnLink on_link_;
    std::map<std::string, Peer> peers_;
    std::unordered_map<std::int32_t, Call> calls_;
    SteadyTime calls_scan_ = SteadyTime::max();  // not before: earliest deadline
    std::vector<Action> actions_;
    std::int32_t last_opaque_ = 0;
    std::size_t name_server_ = 0;
};

}  // namespace hufu::rocketmq
