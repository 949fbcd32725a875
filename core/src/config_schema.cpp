#include <hufu/core/assert.hpp>
#include <hufu/core/config.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "config_value.hpp"

namespace hufu {
namespace {

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// Larger first, so that formatting takes the largest that fits.
constexpr std::array<Unit, 9> time_units{{{"d", 86'400'000'000'000},
                                          {"h", 3'600'000'000'000},
                                          {"m", 60'000'000'000},
                                          {"min", 60'000'000'000},
                                          {"s", 1'000'000'000},
                                          {"ms", 1'000'000},
                                          {"us", 1'000},
                                          {"µs", 1'000},
                                          {"ns", 1}}};
constexpr std::array<Unit, 9> size_units{{{"TiB", 1ULL << 40},
                                          {"GiB", 1ULL << 30},
                                          {"MiB", 1ULL << 20},
                                          {"KiB", 1ULL << 10},
                                          {"TB", 1'000'000'000'000},
                                          {"GB", 1'000'000'000},
                                          {"MB", 1'000'000},
                                          {"kB", 1'000},
                                          {"B", 1}}};

/// Takes a whole number off the front of `text`; false when there is none or it is too large.
bool take_number(std::string_view& text, std::uint64_t& number) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failed != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

/// Takes the letters in front of `text` and returns their factor, 0 when no unit is called so.
template <std::size_t Count>
std::uint64_t take_unit(std::string_view& text, const std::array<Unit, Count>& units) {
    std::size_t length = 0;
    while (length < text.size() && (text[length] < '0' || text[length] > '9')) ++length;
    const auto name = text.substr(0, length);
    text.remove_prefix(length);
    const auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& known) { return known.name == name; });
    return unit == units.end() ? 0 : unit->factor;
}

template <std::size_t Count>
std::string format_with(std::uint64_t amount, const std::array<Unit, Count>& units) {
    for (const auto& unit : units) {
        if (amount >= unit.factor && amount % unit.factor == 0)
            return std::to_string(amount / unit.factor) + std::string{unit.name};
    }
    return std::to_string(amount);
}

Error refuse(std::string text) { return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

/// Edit distance (Levenshtein), one row at a time.
std::size_t distance(std::string_view left, std::string_view right) {
    std::vector<std::size_t> row(right.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < left.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < right.size(); ++j) {
            const std::size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
        }
    }
    return row.back();
}

std::string_view last_part(std::string_view name) {
    const auto dot = name.rfind('.');
    return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

std::string range(const std::string& kind, const ConfigSchema::Key& key, const std::string& least, const std::string& most) {
    std::string text = kind;
    const bool open_below = key.least == std::numeric_limits<std::int64_t>::min();
    const bool open_above = key.most == std::numeric_limits<std::int64_t>::max();
    if (!open_below && !open_above) {
        text += " from " + least + " to " + most;
    } else if (!open_below) {
        text += " of at least " + least;
    } else if (!open_above) {
        text += " of at most " + most;
    }
    return text + " is needed";
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
    const auto malformed = [&] {
        return refuse("duration \"" + std::string{text.substr(0, 40)} +
                      "\" is not understood: a number with a unit such as 250ms, 5s, 1m30s, 2h, 1d is needed");
    };
    if (text == "0") return std::chrono::nanoseconds{0};
    std::uint64_t total = 0;
    std::string_view rest = text;
    if (rest.empty()) return malformed();
    while (!rest.empty()) {
        std::uint64_t amount = 0;
        std::uint64_t term = 0;
        if (!take_number(rest, amount)) return malformed();
        const std::uint64_t factor = take_unit(rest, time_units);
        if (factor == 0 || __builtin_mul_overflow(amount, factor, &term) || __builtin_add_overflow(total, term, &total)) {
            return malformed();
        }
    }
    if (total > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return malformed();
    return std::chrono::nanoseconds{static_cast<std::int64_t>(total)};
}

Result<std::uint64_t> parse_size(std::string_view text) {
    std::string_view rest = text;
    std::uint64_t amount = 0;
    std::uint64_t bytes = 0;
    const bool read = take_number(rest, amount);
    const std::uint64_t factor = rest.empty() ? 1 : take_unit(rest, size_units);
    if (!read || factor == 0 || !rest.empty() || __builtin_mul_overflow(amount, factor, &bytes)) {
        return refuse("size \"" + std::string{text.substr(0, 40)} +
                      "\" is not understood: bytes, or a number with a unit such as 64KiB, 1MiB, 2GiB, 1MB is needed");
    }
    return bytes;
}

std::string format_duration(std::chrono::nanoseconds duration) {
    return format_with(static_cast<std::uint64_t>(duration.count()), time_units);
}

std::string format_size(std::uint64_t bytes) {
    // Powers of 1024 only; other amounts as plain bytes.
    for (const auto& unit : size_units) {
        if (unit.name.size() == 3 && bytes >= unit.factor && bytes % unit.factor == 0) {
            return std::to_string(bytes / unit.factor) + std::string{unit.name};
        }
    }
    return std::to_string(bytes);
}

std::string wanted(const ConfigSchema::Key& key) {
    using Type = ConfigSchema::Type;
    switch (key.type) {
        case Type::text: return "a text is needed";
        case Type::boolean: return "true or false is needed";
        case Type::real: return "a number is needed";
        case Type::list: return "a list of texts is needed";
        case Type::integer: return range("a whole number", key, std::to_string(key.least), std::to_string(key.most));
        case Type::duration:
            return range("a duration such as \"5s\" or \"250ms\",", key,
                         format_duration(std::chrono::nanoseconds{key.least}),
                         format_duration(std::chrono::nanoseconds{key.most}));
        case Type::size:
            return range("a size such as \"1MiB\" or \"512KiB\",", key, format_size(static_cast<std::uint64_t>(key.least)),
                         format_size(static_cast<std::uint64_t>(key.most)));
        case Type::choice: {
            std::string text = "one of ";
            for (std::size_t index = 0; index < key.choices.size(); ++index) {
                text += (index == 0 ? "" : ", ") + key.choices[index];
            }
            return text + " is needed";
        }
    }
    return {};
}

ConfigSchema& ConfigSchema::add(Key key) {
    HUFU_ASSERT(!key.name.empty() && find(key.name) == nullptr && key.least <= key.most);
    keys_.push_back(std::move(key));
    return *this;
}

ConfigSchema& ConfigSchema::text(std::string name, std::string fallback, std::string help) {
    return add({.name = std::move(name),
                .type = Type::text,
                .fallback = std::move(fallback),
                .help = std::move(help),
                .choices = {}});
}

ConfigSchema& ConfigSchema::choice(std::string name, std::vector<std::string> choices, std::string fallback,
                                   std::string help) {
    HUFU_ASSERT(std::find(choices.begin(), choices.end(), fallback) != choices.end());
    return add({.name = std::move(name),
                .type = Type::choice,
                .fallback = std::move(fallback),
                .help = std::move(help),
                .choices = std::move(choices)});
}

ConfigSchema& ConfigSchema::boolean(std::string name, bool fallback, std::string help) {
    return add({.name = std::move(name),
                .type = Type::boolean,
                .fallback = fallback ? "true" : "false",
                .help = std::move(help),
                .choices = {}});
}

ConfigSchema& ConfigSchema::integer(std::string name, std::int64_t fallback, std::int64_t least, std::int64_t most,
                                    std::string help) {
    return add({.name = std::move(name),
                .type = Type::integer,
                .fallback = std::to_string(fallback),
                .help = std::move(help),
                .choices = {},
                .least = least,
                .most = most});
}

ConfigSchema& ConfigSchema::real(std::string name, double fallback, std::string help) {
    std::array<char, 32> text;
    const auto [end, failed] = std::to_chars(text.data(), text.data() + text.size(), fallback);
    HUFU_ASSERT(failed == std::errc{});
    return add({.name = std::move(name),
                .type = Type::real,
                .fallback = std::string{text.data(), end},
                .help = std::move(help),
                .choices = {}});
}

ConfigSchema& ConfigSchema::duration(std::string name, std::chrono::nanoseconds fallback, std::chrono::nanoseconds least,
                                     std::chrono::nanoseconds most, std::string help) {
    HUFU_ASSERT(least.count() >= 0);
    return add({.name = std::move(name),
                .type = Type::duration,
                .fallback = format_duration(fallback),
                .help = std::move(help),
                .choices = {},
                .least = least.count(),
                .most = most.count()});
}

ConfigSchema& ConfigSchema::size(std::string name, std::uint64_t fallback, std::uint64_t least, std::uint64_t most,
                                 std::string help) {
    HUFU_ASSERT(most <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    return add({.name = std::move(name),
                .type = Type::size,
                .fallback = format_size(fallback),
                .help = std::move(help),
                .choices = {},
                .least = static_cast<std::int64_t>(least),
                .most = static_cast<std::int64_t>(most)});
}

ConfigSchema& ConfigSchema::list(std::string name, std::string fallback, std::string help) {
    return add({.name = std::move(name),
                .type = Type::list,
                .fallback = std::move(fallback),
                .help = std::move(help),
                .choices = {}});
}

ConfigSchema& ConfigSchema::required() {
    HUFU_ASSERT(!keys_.empty());
    keys_.back().required = true;
    return *this;
}

ConfigSchema& ConfigSchema::secret() {
    HUFU_ASSERT(!keys_.empty());
    keys_.back().secret = true;
    return *this;
}

ConfigSchema& ConfigSchema::words(std::string name, std::size_t most) {
    words_name_ = std::move(name);
    words_most_ = most;
    return *this;
}

const ConfigSchema::Key* ConfigSchema::find(std::string_view name) const noexcept {
    const auto found = std::find_if(keys_.begin(), keys_.end(), [name](const Key& key) { return key.name == name; });
    return found == keys_.end() ? nullptr : &*found;
}

std::string ConfigSchema::nearest(std::string_view name) const {
    const Key* best = nullptr;
    std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
    for (const auto& key : keys_) {
        // "listen" for "broker.listen", "brokr.listen" for "broker.listen".
        const bool same_leaf = last_part(key.name) == last_part(name);
        const std::size_t apart = std::min(same_leaf ? std::size_t{2} : best_distance, distance(name, key.name));
        if (apart < best_distance) {
            best_distance = apart;
            best = &key;
        }
    }
    return best == nullptr ? std::string{} : best->name;
}

std::string ConfigSchema::help() const {
    std::string text;
    if (words_most_ > 0) text += "  " + words_name_ + "\n";
    text += "  --config FILE\n      read keys from this TOML file; flags win over it\n";
    for (const auto& key : keys_) {
        text += "  --" + key.name;
        if (key.type != Type::boolean) text += "=…";
        text += "\n      " + key.help + "\n      " + wanted(key);
        if (key.required) {
            text += "; required";
        } else if (!key.fallback.empty() && !key.secret) {
            text += "; default " + key.fallback;
        }
        text += "\n";
    }
    return text;
}

}  // namespace hufu
