// A way to the broker on which the answers to halves are held and then lost: the half is stored, and its sender does not know.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/remoting/frame.hpp>

namespace hufu::fault {

/// Stands before a broker and its name server, on ports of its own, and passes on what is said, with its own ports in the place
/// of theirs. All but the answers to halves, while it is armed.
class AnswerCut {
public:
    /// `name_server` and `broker` may be one port of 127.0.0.1. Throws std::runtime_error when it cannot listen.
    AnswerCut(std::uint16_t name_server, std::uint16_t broker);
    ~AnswerCut();
    AnswerCut(const AnswerCut&) = delete;
    AnswerCut& operator=(const AnswerCut&) = delete;

    /// Of the name server, by this way.
    [[nodiscard]] std::uint16_t port() const { return ways_.front().listens; }
    /// From now on answers to halves are held.
    void arm() { armed_ = true; }
    [[nodiscard]] std::size_t held() const { return held_; }
    /// Closes every connection, and passes everything on from then on.
    void cut();

private:
    struct Way {
        std::uint16_t leads_to;
        std::uint16_t listens;
        int socket;
    };
    struct Pair {
        int client;
        int broker;
        remoting::FrameDecoder asked{};
        remoting::FrameDecoder answered{};
        std::set<std::int32_t> halves = {};
        bool broken = false;
    };

    void open(std::uint16_t leads_to);
    void run(const std::stop_token& stop);
    void accept(const Way& way);
    void pass(Pair& pair, bool from_client);
    void pass_frame(Pair& pair, bool from_client, std::string frame);
    void close_broken();

    std::vector<Way> ways_;
    std::vector<std::unique_ptr<Pair>> pairs_;  // of the thread
    std::atomic<bool> armed_ = false;
    std::atomic<bool> cutting_ = false;
    std::atomic<std::size_t> held_ = 0;
    std::jthread thread_;
};

}  // namespace hufu::fault
