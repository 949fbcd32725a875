// A preloaded library that turns every wildcard bind(2) into a bind to 127.0.0.1: servers that cannot be told to listen on
// the loopback interface alone (RocketMQ's replication port) do so under it.
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <iterator>

extern "C" int bind(int socket, const sockaddr* address, socklen_t size) noexcept {
    static const auto plain = reinterpret_cast<int (*)(int, const sockaddr*, socklen_t)>(::dlsym(RTLD_NEXT, "bind"));
    if (address->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
        sockaddr_in copy;
        std::memcpy(&copy, address, sizeof copy);
        if (copy.sin_addr.s_addr == htonl(INADDR_ANY)) {
            copy.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            return plain(socket, reinterpret_cast<const sockaddr*>(&copy), sizeof copy);
        }
    } else if (address->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
        sockaddr_in6 copy;
        std::memcpy(&copy, address, sizeof copy);
        if (IN6_IS_ADDR_UNSPECIFIED(&copy.sin6_addr)) {
            // ::ffff:127.0.0.1, which IPv4 clients reach; ::1 they would not.
            constexpr unsigned char mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
            std::copy(std::begin(mapped), std::end(mapped), copy.sin6_addr.s6_addr);
            return plain(socket, reinterpret_cast<const sockaddr*>(&copy), sizeof copy);
        }
    }
    return plain(socket, address, size);
}
