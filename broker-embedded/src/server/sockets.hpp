// Listening and accepting with plain system calls, with errors that say what to do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::broker {

/// A file descriptor that closes itself.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int number) noexcept : number_{number} {}
    Descriptor(Descriptor&& other) noexcept : number_{other.release()} {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    ~Descriptor();

    [[nodiscard]] int get() const noexcept { return number_; }
    [[nodiscard]] int release() noexcept;

private:
    int number_ = -1;
};

struct HostPort {
    std::string host;
    std::uint16_t port = 0;
};

/// "host:port" or "[v6]:port". `invalid_argument` names `flag` and the text.
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view flag, std::string_view text);
/// An IPv4 "host:port" as it goes into routes and message ids.
[[nodiscard]] Result<remoting::Host> parse_advertised(std::string_view flag, std::string_view text);
[[nodiscard]] std::string to_string(const remoting::Host& host);

struct Listener {
    Descriptor socket;
    std::string address;  ///< "host:port" with the port in effect, or the path
    remoting::Host host;  ///< IPv4 address and port in effect; 127.0.0.1 for IPv6 and wildcard addresses
};

/// Binds without listening, so that the port is known before the log is open. Refuses other than loopback addresses
/// unless `allow_remote`; the error then also offers `instead`, when there is such a way. `busy` when the port is taken.
[[nodiscard]] Result<Listener> bind_tcp(std::string_view flag, const std::string& address, bool allow_remote,
                                        std::string_view instead);
/// Binds a Unix socket; removes one that nobody listens on any more. `busy` when somebody does.
[[nodiscard]] Result<Listener> bind_unix(const std::string& path);
[[nodiscard]] Result<void> start_listening(const Listener& listener);

/// What `accept` saw.
struct Accepted {
    Descriptor socket;       ///< -1: nobody waits
    remoting::Host peer;     ///< 127.0.0.1 for peers on this machine, 0.0.0.0 for those with an IPv6 address only
    bool exhausted = false;  ///< out of descriptors or memory: try again later
};
/// Non-blocking, close-on-exec, TCP_NODELAY and keep-alive set.
[[nodiscard]] Accepted accept_on(int listening) noexcept;

/// How many descriptors this process may use for connections: its limit less what the log and the rest need.
[[nodiscard]] std::size_t descriptors_for_connections() noexcept;

/// Whether users besides the owner and his group may read the file.
[[nodiscard]] bool others_may_read(const std::string& path) noexcept;

}  // namespace hufu::broker
