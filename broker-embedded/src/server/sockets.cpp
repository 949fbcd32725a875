#include "sockets.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

namespace hufu::broker {
namespace {

constexpr int backlog = 1024;

Error refuse(std::string text) { return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

Error system_error(const std::string& what, int number) {
    const std::string text = what + ": " + std::strerror(number);
    switch (number) {
        case EADDRINUSE:
            return Error{
                ErrorCode::busy, Disposition::fatal,
                text + "; another process listens there: stop it, or choose another address (port 0 takes any free port)"};
        case EADDRNOTAVAIL:
            return Error{ErrorCode::invalid_argument, Disposition::reject, text + "; this machine has no such address"};
        case EACCES:
        case EPERM:
            return Error{ErrorCode::permission, Disposition::fatal, text + "; choose a port above 1023 or another path"};
        default: return Error{ErrorCode::io, Disposition::fatal, text};
    }
}

remoting::Host host_of(const sockaddr_storage& address) noexcept {
    remoting::Host host;
    if (address.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address, sizeof v4);
        std::memcpy(host.ip.data(), &v4.sin_addr, host.ip.size());
        host.port = ntohs(v4.sin_port);
    } else if (address.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address, sizeof v6);
        host.port = ntohs(v6.sin6_port);
        // Records hold IPv4 hosts only (some clients cannot read others); a mapped address is one.
        // Any other must not pass for a local one.
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            std::memcpy(host.ip.data(), v6.sin6_addr.s6_addr + 12, host.ip.size());
        } else if (!IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) {
            host.ip = {};
        }
    }
    return host;
}

bool is_loopback(const sockaddr* address) noexcept {
    if (address->sa_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, address, sizeof v4);
        return (ntohl(v4.sin_addr.s_addr) >> 24U) == 127;
    }
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) != 0;
}

/// True when a process accepts connections at `path`.
bool somebody_listens(const sockaddr_un& address) {
    const Descriptor probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN;
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

Descriptor::~Descriptor() {
    if (number_ >= 0) ::close(number_);
}

int Descriptor::release() noexcept { return std::exchange(number_, -1); }

Result<HostPort> parse_host_port(std::string_view flag, std::string_view text) {
    const auto colon = text.rfind(':');
    HostPort parsed;
    const std::string_view digits = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed.port);
    if (digits.empty() || fault != std::errc{} || end != digits.data() + digits.size() || colon == 0)
        return refuse(std::string{flag} + " \"" + std::string{text} + "\": must be HOST:PORT, e.g. 127.0.0.1:9876");
    std::string_view host = text.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    parsed.host = host;
    return parsed;
}

Result<remoting::Host> parse_advertised(std::string_view flag, std::string_view text) {
    const auto parsed = parse_host_port(flag, text);
    if (!parsed) return parsed.error();
    remoting::Host host;
    if (::inet_pton(AF_INET, parsed->host.c_str(), host.ip.data()) != 1 || parsed->port == 0)
        return refuse(std::string{flag} + " \"" + std::string{text} +
                      "\": must be an IPv4 address and a port, because message ids carry it as such");
    host.port = parsed->port;
    return host;
}

std::string to_string(const remoting::Host& host) {
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, host.ip.data(), text, sizeof text);
    return std::string{text} + ":" + std::to_string(host.port);
}

Result<Listener> bind_tcp(std::string_view flag, const std::string& text, bool allow_remote, std::string_view instead) {
    const auto wanted = parse_host_port(flag, text);
    if (!wanted) return wanted.error();
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (const int fault = ::getaddrinfo(wanted->host.c_str(), std::to_string(wanted->port).c_str(), &hints, &found);
        fault != 0)
        return refuse(std::string{flag} + " \"" + text + "\": " + ::gai_strerror(fault));
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses{found, &::freeaddrinfo};
    if (!is_loopback(addresses->ai_addr) && !allow_remote)
        return Error{ErrorCode::permission, Disposition::reject,
                     std::string{flag} + " \"" + text +
                         "\" can be reached from other machines, and nothing checks who asks; listen on 127.0.0.1, " +
                         (instead.empty() ? std::string{} : "name the accounts with " + std::string{instead} + ", ") +
                         "or add --allow-remote if the network is trusted"};

    Listener listener;
    listener.socket = Descriptor{::socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (listener.socket.get() < 0) return system_error("cannot make a socket for " + text, errno);
    const int yes = 1;
    ::setsockopt(listener.socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (::bind(listener.socket.get(), addresses->ai_addr, addresses->ai_addrlen) != 0)
        return system_error("cannot listen on " + text, errno);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(listener.socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    listener.host = host_of(bound);
    if (listener.host.ip == std::array<std::uint8_t, 4>{}) listener.host.ip = {127, 0, 0, 1};
    const bool v6 = addresses->ai_family == AF_INET6;
    listener.address = (v6 ? "[" + wanted->host + "]" : wanted->host) + ":" + std::to_string(listener.host.port);
    return listener;
}

Result<Listener> bind_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return refuse("the path of the Unix socket \"" + path + "\" has " + std::to_string(path.size()) +
                      " bytes; at most " + std::to_string(sizeof address.sun_path - 1) +
                      " are possible: choose a shorter folder");
    std::memcpy(address.sun_path, path.data(), path.size());

    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) {
        if (!S_ISSOCK(status.st_mode)) return refuse("\"" + path + "\" exists and is no socket; choose another path");
        if (somebody_listens(address)) return system_error("cannot listen on \"" + path + "\"", EADDRINUSE);
        ::unlink(path.c_str());  // left behind by a process that was killed
    }
    Listener listener;
    listener.address = path;
    listener.socket = Descriptor{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (listener.socket.get() < 0) return system_error("cannot make a Unix socket", errno);
    if (::bind(listener.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return system_error("cannot listen on \"" + path + "\"", errno);
    ::chmod(path.c_str(), S_IRUSR | S_IWUSR);  // who may write to the socket may send: the owner only
    return listener;
}

Result<void> start_listening(const Listener& listener) {
    if (::listen(listener.socket.get(), backlog) != 0) return system_error("cannot listen on " + listener.address, errno);
    return {};
}

Accepted accept_on(int listening) noexcept {
    Accepted accepted;
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    const int number = ::accept4(listening, reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (number < 0) {
        accepted.exhausted = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        return accepted;
    }
    accepted.socket = Descriptor{number};
    accepted.peer = host_of(address);
    if (address.ss_family != AF_UNIX) {
        const int yes = 1;
        const int idle_s = 60;
        ::setsockopt(number, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        ::setsockopt(number, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
        ::setsockopt(number, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    }
    return accepted;
}

std::size_t descriptors_for_connections() noexcept {
    constexpr std::size_t kept = 512;
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kept;
    if (limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<std::size_t>::max();
    return limit.rlim_cur - std::min<std::size_t>(kept, limit.rlim_cur / 2);
}

bool others_may_read(const std::string& path) noexcept {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0;
}

}  // namespace hufu::broker
