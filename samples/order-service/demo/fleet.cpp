#include "fleet.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

#include "http/client.hpp"

namespace shop::demo {
namespace {

constexpr std::chrono::seconds ready_timeout{30};
constexpr std::chrono::seconds end_timeout{10};
constexpr std::uint64_t deliveries_before_pause = 150;  // of a guardless service: enough to be under load again

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// A port nobody listens on now. It is used again after every restart.
std::uint16_t free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto address = loopback(0);
    socklen_t size = sizeof address;
    const bool bound = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                       ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    ::close(fd);
    if (!bound) throw hufu::Exception{{hufu::ErrorCode::unavailable, hufu::Disposition::fatal, "no free port on 127.0.0.1"}};
    return ntohs(address.sin_port);
}

bool accepts(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = loopback(port);
    const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return connected;
}

std::string at(std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

}  // namespace

std::string_view to_string(Member member) noexcept {
    switch (member) {
        case Member::redis: return "redis";
        case Member::broker: return "broker";
        case Member::order: return "order";
        case Member::payment: return "payment";
        case Member::stock: return "stock";
        case Member::relay_a: return "relay-a";
        case Member::relay_b: return "relay-b";
    }
    return "?";
}

std::string_view to_string(Mode mode) noexcept {
    switch (mode) {
        case Mode::outbox: return "outbox";
        case Mode::txmsg: return "txmsg";
        case Mode::buffered: return "buffered";
    }
    return "?";
}

Mode mode_of(std::string_view name) {
    for (const auto mode : {Mode::txmsg, Mode::buffered}) {
        if (name == to_string(mode)) return mode;
    }
    return Mode::outbox;
}

std::span<const Member> Fleet::members() const noexcept {
    const std::span<const Member> all{all_members};  // Redis stands first, the relays last
    switch (options_.mode) {
        case Mode::outbox: return all.subspan(1);
        case Mode::txmsg: return all.subspan(1, 4);
        case Mode::buffered: break;
    }
    return all.first(5);
}

Fleet::Fleet(FleetOptions options, const Databases& databases) : options_{std::move(options)}, databases_{databases} {
    for (const auto member : {Member::redis, Member::broker, Member::order, Member::payment, Member::stock}) {
        ports_[static_cast<std::size_t>(member)] = free_port();
    }
}

void Fleet::start_all() {
    for (const auto member : members()) {
        start(member);
        wait_ready(member);
    }
}

void Fleet::start(Member member) {
    ++starts_[static_cast<std::size_t>(member)];
    children_[static_cast<std::size_t>(member)].emplace(command(member));
}

void Fleet::take_down(Member member) {
    child(member).kill();
    children_[static_cast<std::size_t>(member)].reset();
}

std::string Fleet::owner_name(Member relay) const {
    return std::string{to_string(relay)} + "-" + std::to_string(starts_[static_cast<std::size_t>(relay)]);
}

void Fleet::wait_ready(Member member) {
    auto& clock = hufu::system_clock();
    const auto until = clock.steady_now() + ready_timeout;
    while (!answers(member)) {
        if (child(member).ended() || clock.steady_now() > until) {
            throw hufu::Exception{
                {hufu::ErrorCode::unavailable, hufu::Disposition::fatal,
                 std::string{to_string(member)} + " did not come up; its last words are in " + log_of(member)}};
        }
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{5}, {});
    }
}

void Fleet::check_all_alive() {
    for (const auto member : members()) {
        auto& child = children_[static_cast<std::size_t>(member)];
        if (child && child->ended()) {
            throw hufu::Exception{
                {hufu::ErrorCode::internal, hufu::Disposition::fatal,
                 std::string{to_string(member)} + " ended though nobody hit it; its last words are in " + log_of(member)}};
        }
    }
}

void Fleet::end_all() {
    for (auto member = all_members.rbegin(); member != all_members.rend(); ++member) end(*member);
}

void Fleet::end(Member member) {
    auto& child = children_[static_cast<std::size_t>(member)];
    if (child) child->end(end_timeout);
}

bool Fleet::answers(Member member) const {
    switch (member) {
        case Member::redis:
        case Member::broker: return accepts(port(member));
        case Member::order:
        case Member::payment:
        case Member::stock: {
            HttpClient client{"127.0.0.1", port(member), std::chrono::seconds{2}};
            const auto answer = client.send({"GET", "/health", ""});
            return answer && answer->status == 200;
        }
        case Member::relay_a:
        case Member::relay_b: break;  // it works when it owns the lane; there is nobody to ask
    }
    return true;
}

std::string Fleet::log_of(Member member) const {
    return options_.directory + "/logs/" + std::string{to_string(member)} + ".log";
}

std::string Fleet::broker_url() const { return "rocketmq://" + at(port(Member::broker)); }

std::vector<std::string> Fleet::buffer_urls() const {
    return {"redis://" + at(port(Member::redis)) + "?buffer=orders", "journal:" + options_.directory + "/journal"};
}

ChildOptions Fleet::command(Member member) const {
    switch (member) {
        case Member::redis: return redis();
        case Member::broker:
            // A customer may be waiting for what a killed service left undecided.
            return {.program = options_.programs + "/hufu-broker",
                    .arguments = {"--data", options_.directory + "/broker", "--listen", at(port(member)), "--tx-first-check",
                                  "1s", "--tx-check-interval", "1s", "--tx-check-interval-max", "5s"},
                    .log = log_of(member)};
        case Member::order:
        case Member::payment:
        case Member::stock: return service(member);
        case Member::relay_a:
        case Member::relay_b: break;
    }
    return relay(member);
}

ChildOptions Fleet::service(Member member) const {
    const std::string role{to_string(member)};
    ChildOptions options{
        .program = options_.programs + "/order-service",
        .arguments = {"--role", role, "--store", databases_.url(role), "--broker", broker_url(), "--listen",
                      at(port(member)), "--payment-timeout", std::to_string(options_.payment_timeout.count()) + "ms",
                      "--relay-lease", std::to_string(options_.lease.count()) + "ms"},
        .log = log_of(member)};
    // The order outbox has two relays of its own; payment and stock carry their few events themselves.
    // Without those, it carries by itself what follows from messages.
    if (member == Member::order && options_.mode == Mode::outbox) options.arguments.emplace_back("--relay=false");
    options.arguments.insert(options.arguments.end(), {"--mode", std::string{to_string(options_.mode)}});
    if (member == Member::order && options_.mode == Mode::buffered) {
        const auto buffers = buffer_urls();
        options.arguments.insert(options.arguments.end(), {"--redis", buffers[0], "--journal", buffers[1]});
        if (options_.breaking == Break::buffer)
            options.arguments.insert(options.arguments.end(), {"--tolerates", "everything"});
    }
    if (options_.breaking == Break::guard && member != Member::order) {
        options.program += "-mutants";
        options.environment = {{"HUFU_MUTANT", "guard_off"}};
        if (pausing_) options.environment.emplace_back("ORDER_SERVICE_PAUSE_AFTER", std::to_string(deliveries_before_pause));
    }
    return options;
}

ChildOptions Fleet::redis() const {
    const std::string folder = options_.directory + "/redis";
    std::filesystem::create_directories(folder);
    const bool forgetful = options_.breaking == Break::buffer;
    return {.program = "/usr/bin/redis-server",
            .arguments = {"--bind", "127.0.0.1", "--port", std::to_string(port(Member::redis)), "--dir", folder, "--save",
                          "", "--appendonly", forgetful ? "no" : "yes", "--appendfsync", "always"},
            .log = log_of(Member::redis)};
}

ChildOptions Fleet::relay(Member member) const {
    ChildOptions options{.program = options_.programs + "/hufu",
                         .arguments = {"relay", "--outbox", databases_.url("order"), "--to", broker_url(), "--owner",
                                       owner_name(member), "--lease", std::to_string(options_.lease.count()) + "ms"},
                         .log = log_of(member)};
    if (options_.breaking == Break::settle) {
        options.program += "-mutants";
        options.environment = {{"HUFU_MUTANT", "settle_before_confirm"}};
    }
    return options;
}

}  // namespace shop::demo
