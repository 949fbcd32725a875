#include "address.hpp"

#include <charconv>
#include <optional>

namespace hufu::redis {
namespace {

constexpr const char* forms =
    "redis://[user:password@]host[:port][/database] or redis+unix://[user:password@]/path/to.sock[?db=N]";

Error refused(const std::string& why) {
    return Error{ErrorCode::invalid_argument, Disposition::reject, "Redis URL: " + why + "; write " + forms};
}

template <class Number>
std::optional<Number> number(std::string_view text) {
    Number value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<int> hex_digit(char character) {
    if (character >= '0' && character <= '9') return character - '0';
    if (character >= 'a' && character <= 'f') return character - 'a' + 10;
    if (character >= 'A' && character <= 'F') return character - 'A' + 10;
    return std::nullopt;
}

std::optional<std::string> decoded(std::string_view text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            plain += text[i];
            continue;
        }
        const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
        const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : std::nullopt;
        if (!high || !low) return std::nullopt;
        plain += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return plain;
}

Result<void> read_login(std::string_view login, Address& address) {
    const auto colon = login.find(':');
    const auto user = decoded(login.substr(0, colon));
    const auto password = decoded(colon == std::string_view::npos ? "" : login.substr(colon + 1));
    if (!user || !password) return refused("a % in user or password is not followed by two hexadecimal digits");
    if (password->empty() && !user->empty()) return refused("user \"" + *user + "\" has no password");
    address.user = *user;
    address.password = *password;
    return {};
}

Result<void> read_database(std::string_view text, Address& address) {
    const auto database = number<unsigned>(text);
    if (!database) return refused("database \"" + std::string{text} + "\" is not a number");
    address.database = *database;
    return {};
}

Result<void> read_host(std::string_view place, Address& address) {
    auto end = place.rfind(':');
    if (place.starts_with('[')) {
        const auto bracket = place.find(']');
        if (bracket == std::string_view::npos) return refused("the host's \"[\" is not closed");
        address.host = place.substr(1, bracket - 1);
        end = bracket + 1 < place.size() ? bracket + 1 : std::string_view::npos;
    } else {
        address.host = place.substr(0, end);
    }
    if (address.host.empty()) return refused("it names no host");
    if (end != std::string_view::npos) {
        const auto port = number<std::uint16_t>(place.substr(end + 1));
        if (!port || *port == 0) return refused("port \"" + std::string{place.substr(end + 1)} + "\" is not 1 to 65535");
        address.port = *port;
    }
    return {};
}

Result<Address> read_socket(std::string_view rest, Address address) {
    const auto question = rest.find('?');
    const auto path = decoded(rest.substr(0, question));
    if (!path || !path->starts_with('/')) return refused("the socket's path does not begin with /");
    address.socket = *path;
    if (question != std::string_view::npos) {
        const auto query = rest.substr(question + 1);
        if (!query.starts_with("db=")) return refused("\"" + std::string{query} + "\" is not db=N");
        if (const auto read = read_database(query.substr(3), address); !read) return read.error();
    }
    return address;
}

}  // namespace

std::string Address::name() const {
    if (!socket.empty()) return "redis+unix://" + socket;
    const bool six = host.find(':') != std::string::npos;
    return "redis://" + (six ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Address> parse_address(std::string_view url) {
    if (url.starts_with("rediss://")) {
        return Error{ErrorCode::unsupported, Disposition::reject,
                     "Redis URL: TLS (rediss://) is not offered; use a local tunnel such as stunnel, and redis:// to it"};
    }
    constexpr std::string_view unix_scheme = "redis+unix://";
    constexpr std::string_view scheme = "redis://";
    const bool is_unix = url.starts_with(unix_scheme);
    if (!is_unix && !url.starts_with(scheme)) return refused("it begins with neither redis:// nor redis+unix://");
    std::string_view rest = url.substr(is_unix ? unix_scheme.size() : scheme.size());
    Address address;
    if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
        if (const auto read = read_login(rest.substr(0, at), address); !read) return read.error();
        rest = rest.substr(at + 1);
    }
    if (is_unix) return read_socket(rest, std::move(address));
    const auto slash = rest.find('/');
    if (const auto read = read_host(rest.substr(0, slash), address); !read) return read.error();
    if (slash != std::string_view::npos && slash + 1 < rest.size()) {
        if (const auto read = read_database(rest.substr(slash + 1), address); !read) return read.error();
    }
    return address;
}

}  // namespace hufu::redis
