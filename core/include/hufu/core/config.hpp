// Configuration from a TOML file, the environment and flags, against a list of declared keys.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>

namespace hufu {

/// "5s", "250ms", "1h", "1m30s" (units us, ms, s, m or min, h, d). A bare number is refused, except 0.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_duration(std::string_view text);
/// "512", "64KiB", "1MiB", "2GiB" (powers of 1024) or "1kB", "1MB", "1GB" (powers of 1000). Bytes.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

/// The keys a program knows. Names are dotted paths of TOML tables in snake_case ("broker.listen"); the flag of that key is
/// `--broker.listen` ('-' and '_' are the same in flags), its environment variable PREFIX_BROKER_LISTEN.
/// Declaring a name twice is a bug and asserts. Not thread-safe while declaring.
class ConfigSchema {
public:
    enum class Type : std::uint8_t { text, choice, boolean, integer, real, duration, size, list };

    struct Key {
        std::string name;
        Type type = Type::text;
        std::string fallback;  ///< as it would be written in a flag
        std::string help;
        std::vector<std::string> choices;  ///< of Type::choice
        /// Bounds in the key's own unit (nanoseconds, bytes, one), inclusive.
        std::int64_t least = std::numeric_limits<std::int64_t>::min();
        std::int64_t most = std::numeric_limits<std::int64_t>::max();
        bool required = false;  ///< must be given somewhere
        bool secret = false;    ///< its value never appears in an error or in a listing
    };

    ConfigSchema& text(std::string name, std::string fallback, std::string help);
    ConfigSchema& choice(std::string name, std::vector<std::string> choices, std::string fallback, std::string help);
    ConfigSchema& boolean(std::string name, bool fallback, std::string help);
    ConfigSchema& integer(std::string name, std::int64_t fallback, std::int64_t least, std::int64_t most, std::string help);
    ConfigSchema& real(std::string name, double fallback, std::string help);
    ConfigSchema& duration(std::string name, std::chrono::nanoseconds fallback, std::chrono::nanoseconds least,
                           std::chrono::nanoseconds most, std::string help);
    ConfigSchema& size(std::string name, std::uint64_t fallback, std::uint64_t least, std::uint64_t most, std::string help);
    /// An array of strings in TOML, "a,b,c" elsewhere; a flag may also be given several times.
    ConfigSchema& list(std::string name, std::string fallback, std::string help);

    /// The key declared last must be given: its fallback is not used.
    ConfigSchema& required();
    /// The key declared last holds a password or the like.
    ConfigSchema& secret();
    /// Words without "--" that are accepted, e.g. ("DIRECTORY", 1). None unless called.
    ConfigSchema& words(std::string name, std::size_t most);

    [[nodiscard]] const std::vector<Key>& keys() const noexcept { return keys_; }
    [[nodiscard]] const Key* find(std::string_view name) const noexcept;
    [[nodiscard]] std::size_t words_most() const noexcept { return words_most_; }
    /// The declared name that `name` probably was meant to be; empty when nothing is close.
    [[nodiscard]] std::string nearest(std::string_view name) const;
    /// One paragraph per key, for `--help`.
    [[nodiscard]] std::string help() const;

private:
    ConfigSchema& add(Key key);

    std::vector<Key> keys_;
    std::string words_name_;
    std::size_t words_most_ = 0;
};

/// Where values come from. Later ones win: fallback, file, environment, flags.
struct ConfigSources {
    /// TOML file to read; empty: none, unless the flag `--config FILE` names one.
    std::string file = {};
    /// Instead of reading `file` (which then is only its name in errors).
    std::optional<std::string> file_text = {};
    /// Variables by name; see `environment()`. A variable with the prefix that no key has is refused too.
    std::map<std::string, std::string> environment = {};
    std::string environment_prefix = {};
    /// `--key=value`, `--key value`, `--flag` (a boolean), `--config FILE`, `--help`; "--" ends them.
    std::vector<std::string> flags = {};
};

/// The names of the tables inside `table` of the file, for schemas whose keys are named there ([account.NAME]). Empty when
/// the file has no such table. Errors as `Config::load`'s.
[[nodiscard]] Result<std::vector<std::string>> config_tables(const ConfigSources& sources, std::string_view table);

/// The process's variables whose names begin with `prefix`.
[[nodiscard]] std::map<std::string, std::string> environment(std::string_view prefix);

/// The values, checked: every declared key has one. Immutable after `load`, so safe from any thread. Asking for a key that
/// was not declared, or with the wrong type, is a bug and asserts.
class Config {
public:
    /// Errors are `invalid_argument`/`reject` (or `not_found`, `io` for the file) and name file and line (or flag, or
    /// variable), key, value and what is allowed.
    static Result<Config> load(const ConfigSchema& schema, const ConfigSources& sources);

    [[nodiscard]] const std::string& text(std::string_view name) const;  ///< also of Type::choice
    [[nodiscard]] bool boolean(std::string_view name) const;
    [[nodiscard]] std::int64_t integer(std::string_view name) const;
    [[nodiscard]] double real(std::string_view name) const;
    [[nodiscard]] std::chrono::nanoseconds duration(std::string_view name) const;
    [[nodiscard]] std::chrono::milliseconds milliseconds(std::string_view name) const;  ///< of a duration, rounded up
    [[nodiscard]] std::uint64_t size(std::string_view name) const;                      ///< bytes
    [[nodiscard]] const std::vector<std::string>& list(std::string_view name) const;
    /// The words without "--", in order.
    [[nodiscard]] const std::vector<std::string>& words() const noexcept { return words_; }

    /// Whether the value was given (not the fallback).
    [[nodiscard]] bool given(std::string_view name) const;
    /// Where the value is from: "orders.toml:12", "flag --listen", "environment HUFU_LISTEN", "default".
    [[nodiscard]] const std::string& origin(std::string_view name) const;
    /// An `invalid_argument` about the value, for checks that only the program can make: place, key, value, then `rule`.
    [[nodiscard]] Error error(std::string_view name, std::string_view rule) const;
    /// `--help` was among the flags; required keys are then not insisted on.
    [[nodiscard]] bool help_wanted() const noexcept { return help_wanted_; }
    /// Each key with its value and origin, one per line; secrets as "***".
    [[nodiscard]] std::string listing() const;

private:
    struct Value {
        ConfigSchema::Type type = ConfigSchema::Type::text;
        bool secret = false;
        std::string written;  // as a flag would have it
        std::string origin;
        std::int64_t number = 0;  // boolean, integer, nanoseconds, bytes
        double real = 0;
        std::vector<std::string> items;
    };
    friend class ConfigLoader;

    [[nodiscard]] const Value& value(std::string_view name) const;
    [[nodiscard]] const Value& value(std::string_view name, ConfigSchema::Type type) const;

    std::map<std::string, Value, std::less<>> values_;
    std::vector<std::string> words_;
    bool help_wanted_ = false;
};

}  // namespace hufu
