// A client of one Redis server: commands from any thread, sent together where they meet.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

namespace hufu::redis {

/// A command in the server's own form, ready to be sent: `Command{"SET", key, value, "PX", 500}`. Words may hold any bytes.
class Command {
public:
    template <class... Words>
    requires(sizeof...(Words) > 0 &&
             ((std::integral<Words> || std::convertible_to<const Words&, std::string_view>)&&...))  //
        explicit Command(const Words&... words) {
        begin(sizeof...(words));
        (add(words), ...);
    }
    explicit Command(std::span<const std::string_view> words);

    [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }

private:
    void begin(std::size_t words);
    void add(std::string_view word);
    void add(std::integral auto number) { add(std::string_view{std::to_string(number)}); }

    std::string bytes_;
};

/// What the server says. Errors it reports are no replies but `Error`s.
struct Reply {
    enum class Kind : std::uint8_t { nil, integer, text, array };
    Kind kind = Kind::nil;
    std::int64_t integer = 0;
    std::string text = {};  ///< a string or a status ("OK")
    std::vector<Reply> items = {};

    [[nodiscard]] bool is_nil() const noexcept { return kind == Kind::nil; }
};

struct ClientOptions {
    std::chrono::milliseconds connect_timeout{2000};
    std::chrono::milliseconds command_timeout{5000};
    /// After a failed attempt to connect, how long calls are refused at once instead of waiting for the next; doubles up to
    /// `reconnect_pause_max`.
    std::chrono::milliseconds reconnect_pause{20};
    std::chrono::milliseconds reconnect_pause_max{1000};
    std::size_t reply_bytes_max = std::size_t{64} << 20;    ///< a larger reply ends the connection
    std::size_t waiting_bytes_max = std::size_t{64} << 20;  ///< commands not yet sent; more are refused as `busy`
    Clock* clock = nullptr;                                 ///< null: the machine's. Outlives the client
};

/// One server by URL: `redis://[user:password@]host[:port][/database]`, or `redis+unix:///path/to.sock[?db=N]`.
///
/// Thread-safe. One connection, opened by the first command and again after it broke; concurrent commands share it and travel
/// together (pipelined) without a thread of the client's own: of the callers that wait, one does the reading for all.
/// Order: the commands of one `run` are executed in order, those of other callers may stand between them.
///
/// Errors: `unavailable`/retry when nothing was sent; `timeout` or `unavailable`/in_doubt when the connection ended before the
/// answer; what the server itself reports is mapped once (errors.cpp): a wrong password is `permission`/fatal, a read-only
/// replica, a server that loads or is out of memory `retry`, a cluster's redirect `unsupported`/fatal.
class Client {
public:
    /// Throws `hufu::Exception` (`invalid_argument`) for a URL it cannot read. Does not connect yet.
    explicit Client(std::string_view url, ClientOptions options = {});
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// Sends one command and waits for its answer.
    Result<Reply> run(const Command& command);
    /// Sends all at once, and waits for all. One result for each, in order; all the same error when the connection failed.
    [[nodiscard]] std::vector<Result<Reply>> run(std::span<const Command> commands);

    /// The address without the password, for messages.
    [[nodiscard]] const std::string& name() const noexcept;
    /// The server's version as `major * 100 + minor` (702 is 7.2), 0 while unknown. Connects where that has not happened yet.
    Result<int> server_version();
    [[nodiscard]] Clock& clock() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::redis
