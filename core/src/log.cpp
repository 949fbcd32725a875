#include <hufu/core/log.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

namespace hufu {
namespace {

std::string timestamp(SystemTime time) {
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss clock{time - day};
    std::array<char, 48> text;
    std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                  static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
    return text.data();
}

/// Quotes and control characters escaped, as JSON wants it.
void append_quoted(std::string& line, std::string_view text) {
    line.push_back('"');
    for (const char character : text) {
        switch (character) {
            case '"': line += "\\\""; break;
            case '\\': line += "\\\\"; break;
            case '\n': line += "\\n"; break;
            case '\r': line += "\\r"; break;
            case '\t': line += "\\t"; break;
            default:
                if (static_cast<unsigned char>(character) < 0x20) {
                    std::array<char, 8> escape;
                    std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(character));
                    line += escape.data();
                } else {
                    line.push_back(character);
                }
        }
    }
    line.push_back('"');
}

bool is_plain(std::string_view text) noexcept {
    if (text.empty()) return false;
    for (const char character : text) {
        if (static_cast<unsigned char>(character) <= 0x20 || character == '"' || character == '=' || character == '\\')
            return false;
    }
    return true;
}

class NoLog final : public Log {
public:
    bool enabled(LogLevel) const noexcept override { return false; }
    void write(LogLevel, std::string_view, std::initializer_list<LogField>) noexcept override {}
};

class StderrLog final : public Log {
public:
    StderrLog(std::string program, LogLevel least, LogFormat format, Clock& clock)
        : program_{std::move(program)}, least_{least}, format_{format}, clock_{clock} {}

    bool enabled(LogLevel level) const noexcept override { return level >= least_; }

    void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) noexcept override {
        if (!enabled(level)) return;
        try {
            std::string line = format_log_line(format_, clock_.system_now(), level, program_, event, fields);
            line.push_back('\n');
            // One system call keeps lines of several threads and processes apart. A log that cannot be written must not
            // stop the program.
            while (::write(STDERR_FILENO, line.data(), line.size()) < 0 && errno == EINTR) {
            }
        } catch (const std::bad_alloc&) {
            return;
        }
    }

private:
    const std::string program_;
    const LogLevel least_;
    const LogFormat format_;
    Clock& clock_;
};

}  // namespace

std::string_view to_string(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::debug: return "debug";
        case LogLevel::info: return "info";
        case LogLevel::warning: return "warning";
        case LogLevel::error: return "error";
    }
    return "unknown";
}

Result<LogLevel> parse_log_level(std::string_view text) {
    for (const auto level : {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
        if (to_string(level) == text) return level;
    }
    return Error{ErrorCode::invalid_argument, Disposition::reject,
                 "log level \"" + std::string{text.substr(0, 40)} + "\" is unknown: debug, info, warning or error"};
}

Log& no_log() noexcept {
    static NoLog log;
    return log;
}

std::unique_ptr<Log> stderr_log(std::string program, LogLevel least, LogFormat format, Clock& clock) {
    return std::make_unique<StderrLog>(std::move(program), least, format, clock);
}

std::string format_log_line(LogFormat format, SystemTime time, LogLevel level, std::string_view program,
                            std::string_view event, std::initializer_list<LogField> fields) {
    std::string line;
    if (format == LogFormat::json) {
        line = "{\"time\":\"" + timestamp(time) + "\",\"level\":\"" + std::string{to_string(level)} + "\",\"program\":";
        append_quoted(line, program);
        line += ",\"event\":";
        append_quoted(line, event);
        for (const auto& field : fields) {
            line.push_back(',');
            append_quoted(line, field.name);
            line.push_back(':');
            append_quoted(line, field.value);
        }
        line.push_back('}');
        return line;
    }
    line = timestamp(time) + " " + std::string{to_string(level)} + " " + std::string{program} + ": " + std::string{event};
    for (const auto& field : fields) {
        line += " " + std::string{field.name} + "=";
        if (is_plain(field.value)) {
            line += field.value;
        } else {
            append_quoted(line, field.value);
        }
    }
    return line;
}

}  // namespace hufu
