// A Lua script that the server keeps by its digest.
#pragma once

#include <initializer_list>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/redis/client.hpp>

namespace hufu::redis {

/// Sent whole once, then by digest; sent whole again when the server has forgotten it (NOSCRIPT). Thread-safe.
class Script {
public:
    explicit Script(std::string source) : source_{std::move(source)} {}

    /// The command by digest, for one key. Asks the server for the digest where that has not happened.
    Result<Command> by_digest(Client& client, std::string_view key, std::initializer_list<std::string_view> arguments);
    Result<Command> by_digest(Client& client, std::string_view key, std::span<const std::string_view> arguments);
    /// The whole script as a command: the answer to NOSCRIPT.
    [[nodiscard]] Command whole(std::string_view key, std::initializer_list<std::string_view> arguments) const;
    [[nodiscard]] Command whole(std::string_view key, std::span<const std::string_view> arguments) const;
    Result<Reply> run(Client& client, std::string_view key, std::initializer_list<std::string_view> arguments);

    [[nodiscard]] static bool forgotten(const Error& error) noexcept;

private:
    Result<std::string> digest(Client& client);

    std::string source_;
    std::mutex mutex_;
    std::string digest_;  // guarded by mutex_
};

}  // namespace hufu::redis
