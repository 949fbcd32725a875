#include <hufu/test_support/child.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include <hufu/core/clock.hpp>
#include <hufu/core/random.hpp>

namespace hufu::test_support {
namespace {

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

bool can_bind(int port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(port);
    const bool bound = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(socket);
    return bound;
}

}  // namespace

Child::Child(const ProcessOptions& options) : pid_{spawn(options)} {}

Child::~Child() { kill(); }

Child::Child(Child&& other) noexcept : pid_{std::exchange(other.pid_, 0)} {}

Child& Child::operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
}

bool Child::running() {
    int status = 0;
    if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) pid_ = 0;
    return pid_ > 0;
}

void Child::kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
}

int Child::terminate() {
    if (pid_ <= 0) return 0;
    ::kill(pid_, SIGTERM);
    return wait();
}

int Child::wait() { return pid_ > 0 ? wait_for(std::exchange(pid_, 0)) : 0; }

PrivateFolder::PrivateFolder(std::string_view name, const std::string& existing, const std::string& parent)
    : path_{existing}, own_{existing.empty()} {
    if (own_) {
        path_ = parent + "/hufu-" + std::string{name} + "-XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr) {
            throw std::runtime_error{"cannot make a folder under " + parent + ": " + std::strerror(errno)};
        }
    } else {
        path_ = std::filesystem::absolute(existing);
        std::filesystem::create_directories(path_);
    }
}

PrivateFolder::~PrivateFolder() {
    std::error_code ignored;
    if (own_) std::filesystem::remove_all(path_, ignored);
}

std::uint16_t free_port(std::initializer_list<int> offsets) {
    constexpr std::uint64_t lowest = 12'000;
    constexpr std::uint64_t count = 20'000;  // outgoing connections of Linux begin at 32,768
    for (int tries = 0; tries < 1000; ++tries) {
        const auto port = static_cast<int>(lowest + system_random().below(count));
        if (std::all_of(offsets.begin(), offsets.end(), [&](int offset) { return can_bind(port + offset); })) {
            return static_cast<std::uint16_t>(port);
        }
    }
    throw std::runtime_error{"no free port on 127.0.0.1 between 12000 and 32000"};
}

bool accepts(std::uint16_t port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(port);
    const bool connected = ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(socket);
    return connected;
}

void wait_until_ready(Child& child, std::string_view what, const std::string& log, const std::function<bool()>& ready,
                      std::chrono::seconds limit) {
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + limit;
    while (!ready()) {
        const bool ended = !child.running();
        if (ended || clock.steady_now() >= give_up) {
            throw std::runtime_error{
                std::string{what} +
                (ended ? " ended while starting: " : " is not ready after " + std::to_string(limit.count()) + " s: ") +
                file_tail(log)};
        }
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{5}, {});
    }
}

bool file_contains(const std::string& path, std::string_view text, std::size_t from) {
    std::ifstream file{path, std::ios::binary};
    file.seekg(static_cast<std::streamoff>(from));
    const std::string content{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
    return content.find(text) != std::string::npos;
}

}  // namespace hufu::test_support
