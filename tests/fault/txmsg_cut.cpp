#include "txmsg_cut.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

#include <hufu/remoting/command.hpp>
#include <hufu/test_support/child.hpp>

namespace hufu::fault {
namespace {

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int bound_to(std::uint16_t port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = loopback(port);
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(socket, 64) != 0) {
        ::close(socket);
        throw std::runtime_error{"the cut cannot listen on port " + std::to_string(port)};
    }
    return socket;
}

bool send_all(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

void append_number(std::string& out, std::size_t number) {
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>((number >> shift) & 0xFFU));
}

std::string bytes_of(const remoting::Frame& frame) {
    std::string bytes;
    append_number(bytes, 4 + frame.header.size() + frame.body.size());
    append_number(bytes, (static_cast<std::size_t>(frame.serialize_type) << 24U) | frame.header.size());
    bytes.append(frame.header.data(), frame.header.size());
    return bytes.append(frame.body);
}

std::string address_of(std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

}  // namespace

AnswerCut::AnswerCut(std::uint16_t name_server, std::uint16_t broker) {
    open(name_server);
    if (broker != name_server) open(broker);
    thread_ = std::jthread{[this](const std::stop_token& stop) { run(stop); }};
}

AnswerCut::~AnswerCut() {
    thread_ = {};  // asks and waits
    for (auto& pair : pairs_) pair->broken = true;
    close_broken();
    for (const Way& way : ways_) ::close(way.socket);
}

void AnswerCut::open(std::uint16_t leads_to) {
    // An address is replaced by one of the same length, so that no length around it changes.
    std::uint16_t port = test_support::free_port();
    while (address_of(port).size() != address_of(leads_to).size()) port = test_support::free_port();
    ways_.push_back({leads_to, port, bound_to(port)});
}

void AnswerCut::cut() {
    armed_ = false;
    cutting_ = true;
    while (cutting_) std::this_thread::yield();
}

void AnswerCut::run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        if (cutting_) {
            for (auto& pair : pairs_) pair->broken = true;
            close_broken();
            held_ = 0;
            cutting_ = false;
        }
        std::vector<pollfd> waits;
        for (const Way& way : ways_) waits.push_back({way.socket, POLLIN, 0});
        for (const auto& pair : pairs_) {
            waits.push_back({pair->client, POLLIN, 0});
            waits.push_back({pair->broker, POLLIN, 0});
        }
        if (::poll(waits.data(), waits.size(), 1) <= 0) continue;
        for (std::size_t i = 0; i < pairs_.size(); ++i) {
            if (waits[ways_.size() + 2 * i].revents != 0) pass(*pairs_[i], true);
            if (waits[ways_.size() + 2 * i + 1].revents != 0) pass(*pairs_[i], false);
        }
        for (std::size_t i = 0; i < ways_.size(); ++i) {
            if (waits[i].revents != 0) accept(ways_[i]);
        }
        close_broken();
    }
}

void AnswerCut::accept(const Way& way) {
    const int client = ::accept4(way.socket, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const int broker = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = loopback(way.leads_to);
    if (::connect(broker, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        ::close(broker);
        ::close(client);
        return;
    }
    auto pair = std::make_unique<Pair>();
    pair->client = client;
    pair->broker = broker;
    pairs_.push_back(std::move(pair));
}

void AnswerCut::pass(Pair& pair, bool from_client) {
    auto& decoder = from_client ? pair.asked : pair.answered;
    const auto room = decoder.prepare();
    const ssize_t count = ::recv(from_client ? pair.client : pair.broker, room.data(), room.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
        pair.broken = true;
        return;
    }
    decoder.commit(static_cast<std::size_t>(count));
    for (;;) {
        const auto frame = decoder.next();
        if (!frame) pair.broken = true;
        if (!frame || !*frame) return;
        std::string bytes = bytes_of(**frame);
        remoting::CommandView command;
        const bool readable = remoting::decode_command(**frame, command).has_value();
        if (readable && from_client && armed_ && !command.is_response() &&
            command.request_code() == remoting::RequestCode::send_message_v2) {
            pair.halves.insert(command.opaque);
        }
        if (readable && !from_client && command.is_response() && pair.halves.contains(command.opaque)) {
            ++held_;
            continue;
        }
        pass_frame(pair, from_client, std::move(bytes));
    }
}

void AnswerCut::pass_frame(Pair& pair, bool from_client, std::string frame) {
    for (const Way& way : ways_) {
        const std::string theirs = address_of(way.leads_to);
        const std::string ours = address_of(way.listens);
        for (auto at = from_client ? std::string::npos : frame.find(theirs); at != std::string::npos;
             at = frame.find(theirs, at)) {
            frame.replace(at, theirs.size(), ours);
        }
    }
    if (!send_all(from_client ? pair.broker : pair.client, frame)) pair.broken = true;
}

void AnswerCut::close_broken() {
    std::erase_if(pairs_, [](const auto& pair) {
        if (!pair->broken) return false;
        ::close(pair->client);
        ::close(pair->broker);
        return true;
    });
}

}  // namespace hufu::fault
