// A child process that ends with its owner, and what servers under test need around it: folders and ports.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include <hufu/test_support/process.hpp>

namespace hufu::test_support {

/// Runs while the object lives; the destructor kills it. Not thread-safe; must outlive no thread that made it, because a
/// child also ends with the thread that started it (`ProcessOptions::die_with_parent`).
class Child {
public:
    Child() = default;
    /// Throws std::runtime_error when it cannot be started.
    explicit Child(const ProcessOptions& options);
    ~Child();
    Child(Child&& other) noexcept;
    Child& operator=(Child&& other) noexcept;

    /// 0 when nothing runs.
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    /// Whether it still runs; an ended one is collected.
    [[nodiscard]] bool running();
    /// SIGKILL, and waits for the end.
    void kill();
    /// SIGTERM, and waits for the end; the exit status, or 128 + signal.
    int terminate();
    /// Waits for its own end; the exit status, or 128 + signal.
    int wait();

private:
    pid_t pid_ = 0;
};

/// A folder that is made under `parent` and removed, with what is in it, by the destructor; or an existing one that stays.
class PrivateFolder {
public:
    /// `existing` not empty: that folder, made when missing and never removed.
    explicit PrivateFolder(std::string_view name, const std::string& existing = {}, const std::string& parent = "/tmp");
    ~PrivateFolder();
    PrivateFolder(const PrivateFolder&) = delete;
    PrivateFolder& operator=(const PrivateFolder&) = delete;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
    bool own_;
};

/// A port P of 127.0.0.1 such that P + each offset was free a moment ago; below the range that outgoing connections use.
[[nodiscard]] std::uint16_t free_port(std::initializer_list<int> offsets = {0});

/// Whether somebody accepts connections on 127.0.0.1:`port`.
[[nodiscard]] bool accepts(std::uint16_t port);

/// Looks every few milliseconds until `ready`. Throws std::runtime_error with the tail of `log` when the child has ended or
/// `limit` has passed; `what` names the server.
void wait_until_ready(Child& child, std::string_view what, const std::string& log, const std::function<bool()>& ready,
                      std::chrono::seconds limit = std::chrono::seconds{60});

/// Whether the file holds `text` at or after byte `from`.
[[nodiscard]] bool file_contains(const std::string& path, std::string_view text, std::size_t from = 0);

}  // namespace hufu::test_support
