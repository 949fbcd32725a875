// Structured log lines for people and machines that watch a process.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

namespace hufu {

enum class LogLevel : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

[[nodiscard]] std::string_view to_string(LogLevel level) noexcept;
[[nodiscard]] Result<LogLevel> parse_log_level(std::string_view text);

/// One name and its value, already text.
struct LogField {
    LogField(std::string_view field, std::string_view text) : name{field}, value{text} {}
    LogField(std::string_view field, const std::string& text) : name{field}, value{text} {}
    LogField(std::string_view field, const char* text) : name{field}, value{text} {}
    LogField(std::string_view field, bool yes) : name{field}, value{yes ? "true" : "false"} {}
    template <std::integral Number>
    requires(!std::same_as<Number, bool>) LogField(std::string_view field, Number number)
        : name{field}, value{std::to_string(number)} {}

    std::string_view name;
    std::string value;
};

/// Where log lines go. Implementations are safe from any thread and do not throw. Handed to whoever logs; there is no
/// global one. Message bodies and passwords are never logged.
class Log {
public:
    virtual ~Log() = default;
    /// Whether lines of this level go anywhere; ask before building costly fields.
    [[nodiscard]] virtual bool enabled(LogLevel level) const noexcept = 0;
    /// `event` is a constant sentence ("dead letter published"); what varies is in `fields`.
    virtual void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) noexcept = 0;

    void debug(std::string_view event, std::initializer_list<LogField> fields = {}) noexcept {
        write(LogLevel::debug, event, fields);
    }
    void info(std::string_view event, std::initializer_list<LogField> fields = {}) noexcept {
        write(LogLevel::info, event, fields);
    }
    void warning(std::string_view event, std::initializer_list<LogField> fields = {}) noexcept {
        write(LogLevel::warning, event, fields);
    }
    void error(std::string_view event, std::initializer_list<LogField> fields = {}) noexcept {
        write(LogLevel::error, event, fields);
    }
};

/// Drops everything. Lives as long as the program.
[[nodiscard]] Log& no_log() noexcept;

/// Lines of at least `least` to standard error, each with one system call, the clock's time in front:
/// `2026-01-02T03:04:05.678901Z info relay: lane taken over lane=default epoch=7`, or one JSON object per line with
/// `time`, `level`, `program`, `event` and the fields. Borrows `clock`.
[[nodiscard]] std::unique_ptr<Log> stderr_log(std::string program, LogLevel least, LogFormat format, Clock& clock);

/// The line `stderr_log` writes, without the newline.
[[nodiscard]] std::string format_log_line(LogFormat format, SystemTime time, LogLevel level, std::string_view program,
                                          std::string_view event, std::initializer_list<LogField> fields);

}  // namespace hufu
