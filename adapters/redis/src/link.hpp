// One connection to a server: opened, greeted, read and written without blocking.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/redis/client.hpp>

#include "address.hpp"

struct redisContext;

namespace hufu::redis {

/// A reply, or the error that the server reports instead. (A result inside a result would not say whose error it is.)
struct Answer {
    Reply reply = {};
    std::optional<Error> error = {};
    [[nodiscard]] Result<Reply> taken() && {
        return error ? Result<Reply>{std::move(*error)} : Result<Reply>{std::move(reply)};
    }
};

/// Not thread-safe, except that `write_some` may be called while another thread is in `wait`.
class Link {
public:
    /// Connects, logs in, chooses the database and asks for the version. Blocks up to the connect timeout.
    static Result<std::unique_ptr<Link>> open(const Address& address, const ClientOptions& options, Clock& clock);
    ~Link();
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    /// How many bytes the socket took; 0 when it is full.
    Result<std::size_t> write_some(std::string_view bytes);
    /// Blocks until something is there for `read_some` (or room to write, if `to_write`) or `until` has come. False: it has come.
    Result<bool> wait(bool to_write, SteadyTime until);
    /// Takes in what `wait` has received, or what else is there, without blocking.
    Result<void> read_some();
    /// The next whole answer, if it is there.
    Result<std::optional<Answer>> next_answer();
    /// Whether the other side has closed meanwhile.
    [[nodiscard]] bool closed() const noexcept;

    [[nodiscard]] int server_version() const noexcept { return version_; }

private:
    struct Freed {
        void operator()(redisContext* context) const noexcept;
    };
    Link(std::unique_ptr<redisContext, Freed> context, std::string name, std::size_t reply_bytes_max, Clock& clock);
    Result<void> greet(const Address& address, SteadyTime until);
    /// An error that is not in doubt is the server's own.
    Result<Reply> ask(const Command& command, SteadyTime until);
    [[nodiscard]] Error lost(std::string_view why) const;

    std::unique_ptr<redisContext, Freed> context_;
    std::string name_;
    std::size_t reply_bytes_max_;
    Clock& clock_;
    std::array<char, 64 * 1024> arrived_;
    std::size_t arrived_bytes_ = 0;  // of arrived_: received by `wait`, to be taken in by `read_some`
    int version_ = 0;
};

}  // namespace hufu::redis
