#include <hufu/outbox/wake.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>

namespace hufu::outbox {
namespace {

constexpr int receivers_max = 4;

/// Abstract addresses are at most 107 bytes long, and names of stores are not: so their FNV-1a hash.
std::string address_of(std::string_view lane_name) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char letter : lane_name) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3ULL;
    std::array<char, 17> digits{};
    for (std::size_t index = 0; index < 16; ++index) digits[index] = "0123456789abcdef"[(hash >> (60 - 4 * index)) & 15];
    return "hufu-outbox-" + std::string{digits.data(), 16} + "-";
}

struct Address {
    sockaddr_un name{};
    socklen_t length = 0;

    Address(const std::string& prefix, int index) {
        const std::string text = prefix + std::to_string(index);
        name.sun_family = AF_UNIX;
        // The first byte stays 0: abstract, nothing in the file system.
        std::memcpy(name.sun_path + 1, text.data(), text.size());
        length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    }
    [[nodiscard]] const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&name); }
};

int open_socket() noexcept { return ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

}  // namespace

DatagramHint::DatagramHint(std::string_view lane_name) : socket_{open_socket()}, address_{address_of(lane_name)} {}

DatagramHint::~DatagramHint() {
    if (socket_ >= 0) ::close(socket_);
}

void DatagramHint::wake() noexcept {
    for (int index = 0; socket_ >= 0 && index < receivers_max; ++index) {
        const Address address{address_, index};
        // Nobody there, or its queue is full (then it is awake anyway): both are fine.
        (void)::sendto(socket_, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, address.get(), address.length);
    }
}

struct DatagramHintReceiver::Impl {
    int socket = -1;
    int stop = -1;
    WakeHint* target = nullptr;
    std::thread thread;

    ~Impl() {
        if (thread.joinable()) {
            (void)::eventfd_write(stop, 1);
            thread.join();
        }
        if (socket >= 0) ::close(socket);
        if (stop >= 0) ::close(stop);
    }

    void receive() {
        std::array<pollfd, 2> watched{pollfd{.fd = socket, .events = POLLIN, .revents = 0},
                                      pollfd{.fd = stop, .events = POLLIN, .revents = 0}};
        std::array<char, 8> ignored{};
        while (true) {
            if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
            if (watched[1].revents != 0) return;
            if (watched[0].revents == 0) continue;
            while (::recv(socket, ignored.data(), ignored.size(), 0) >= 0) {
                // Many hints are one hint.
            }
            target->wake();
        }
    }
};

DatagramHintReceiver::DatagramHintReceiver(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
DatagramHintReceiver::~DatagramHintReceiver() = default;

Result<std::unique_ptr<DatagramHintReceiver>> DatagramHintReceiver::open(std::string_view lane_name, WakeHint& target) {
    auto impl = std::make_unique<Impl>();
    impl->target = &target;
    impl->socket = open_socket();
    impl->stop = ::eventfd(0, EFD_CLOEXEC);
    if (impl->socket < 0 || impl->stop < 0) {
        return Error{ErrorCode::io, Disposition::retry,
                     std::string{"no socket for wake-up hints: "} + std::strerror(errno) +
                         "; the relay finds new rows by polling until it gets one"};
    }
    const std::string prefix = address_of(lane_name);
    bool bound = false;
    for (int index = 0; !bound && index < receivers_max; ++index) {
        const Address address{prefix, index};
        bound = ::bind(impl->socket, address.get(), address.length) == 0;
    }
    if (!bound) {
        return Error{ErrorCode::busy, Disposition::retry,
                     "wake-up hints of lane " + std::string{lane_name} + " have " + std::to_string(receivers_max) +
                         " receivers on this host already; this relay finds new rows by polling"};
    }
    Impl* const running = impl.get();
    impl->thread = std::thread{[running] { running->receive(); }};
    return std::unique_ptr<DatagramHintReceiver>{new DatagramHintReceiver{std::move(impl)}};
}

}  // namespace hufu::outbox
