#include <hufu/core/assert.hpp>
#include <hufu/core/config.hpp>

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <sstream>

#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "config_value.hpp"

namespace hufu {
namespace {

using Key = ConfigSchema::Key;
using Type = ConfigSchema::Type;

Error refuse(std::string text) { return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

std::string quoted(std::string_view text) {
    const bool long_text = text.size() > 80;
    return "\"" + std::string{text.substr(0, 80)} + (long_text ? "…\"" : "\"");
}

/// How a value is shown in an error: numbers bare, all else in quotes.
std::string shown(std::string_view written) {
    const bool number = !written.empty() && written.find_first_not_of("0123456789.-+") == std::string_view::npos;
    return number ? std::string{written} : quoted(written);
}

std::string as_name(std::string_view flag) {
    std::string name{flag};
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

std::string as_variable(std::string_view prefix, std::string_view name) {
    std::string variable{prefix};
    for (const char character : name) {
        variable.push_back(character == '.' || character == '-'
                               ? '_'
                               : static_cast<char>(std::toupper(static_cast<unsigned char>(character))));
    }
    return variable;
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> items;
    while (!text.empty()) {
        const auto comma = text.find(',');
        auto item = text.substr(0, comma);
        while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
        while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
        if (!item.empty()) items.emplace_back(item);
        if (comma == std::string_view::npos) break;
        text.remove_prefix(comma + 1);
    }
    return items;
}

Result<std::string> read_text(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    std::ostringstream text;
    if (file) text << file.rdbuf();
    if (!file || file.bad()) {
        const bool missing = ::access(path.c_str(), F_OK) != 0;
        return Error{missing ? ErrorCode::not_found : ErrorCode::io, Disposition::reject,
                     "configuration file " + quoted(path) + (missing ? " does not exist" : " cannot be read") +
                         ": name another with --config FILE or leave it away"};
    }
    return text.str();
}

}  // namespace

/// Builds a `Config` from its sources.
class ConfigLoader {
public:
    ConfigLoader(const ConfigSchema& schema, const ConfigSources& sources) : schema_{schema}, sources_{sources} {}

    Result<Config> load() {
        std::string file = sources_.file;
        if (auto read = read_flags(file); !read) return read.error();
        for (const auto& key : schema_.keys()) {
            if (key.required) continue;
            if (auto set = assign(key, key.fallback, "default"); !set) return set.error();
        }
        if (!file.empty() || sources_.file_text) {
            if (auto read = read_file(file); !read) return read.error();
        }
        if (auto read = read_environment(); !read) return read.error();
        for (const auto& flag : flags_) {
            if (auto set = assign(*flag.key, flag.value, "flag --" + flag.key->name); !set) return set.error();
        }
        if (auto complete = check_required(); !complete) return complete.error();
        return std::move(config_);
    }

private:
    struct Flag {
        const Key* key;
        std::string value;
    };

    // ---- flags

    Result<void> read_flags(std::string& file) {
        const auto& flags = sources_.flags;
        bool ended = false;
        for (std::size_t index = 0; index < flags.size(); ++index) {
            const std::string& flag = flags[index];
            if (ended || !flag.starts_with("--")) {
                if (auto taken = take_word(flag); !taken) return taken.error();
                continue;
            }
            if (flag == "--") {
                ended = true;
                continue;
            }
            if (flag == "--help") {
                config_.help_wanted_ = true;
                continue;
            }
            const auto equals = flag.find('=');
            const std::string name =
                as_name(std::string_view{flag}.substr(2, equals == std::string::npos ? equals : equals - 2));
            const Key* key = schema_.find(name);
            const bool is_file = key == nullptr && name == "config";
            if (key == nullptr && !is_file) return unknown("flag --" + name, name, "--");
            std::string value;
            if (equals != std::string::npos) {
                value = flag.substr(equals + 1);
            } else if (key != nullptr && key->type == Type::boolean) {
                value = "true";
            } else if (index + 1 < flags.size() && !flags[index + 1].starts_with("--")) {
                value = flags[++index];
            } else {
                return refuse("flag --" + name + " has no value: " +
                              (is_file ? std::string{"the name of a TOML file is needed"} : wanted(*key)));
            }
            if (is_file) {
                file = value;
            } else {
                flags_.push_back({key, std::move(value)});
            }
        }
        return {};
    }

    Result<void> take_word(const std::string& word) {
        if (config_.words_.size() >= schema_.words_most()) {
            return refuse("argument " + quoted(word) + " is not expected: " +
                          (schema_.words_most() == 0
                               ? std::string{"only flags (--key=value) are accepted"}
                               : "at most " + std::to_string(schema_.words_most()) + " without -- are accepted"));
        }
        config_.words_.push_back(word);
        return {};
    }

    // ---- environment

    Result<void> read_environment() {
        if (sources_.environment_prefix.empty()) return {};
        for (const auto& [variable, value] : sources_.environment) {
            if (!variable.starts_with(sources_.environment_prefix)) continue;
            const auto key =
                std::find_if(schema_.keys().begin(), schema_.keys().end(), [&, &wanted = variable](const Key& known) {
                    return as_variable(sources_.environment_prefix, known.name) == wanted;
                });
            if (key == schema_.keys().end()) {
                std::string name = variable.substr(sources_.environment_prefix.size());
                std::transform(name.begin(), name.end(), name.begin(),
                               [](unsigned char character) { return static_cast<char>(std::tolower(character)); });
                const std::string near = schema_.nearest(name);
                return refuse(
                    "environment " + variable + ": no key is called so" +
                    (near.empty() ? std::string{} : "; nearest is " + as_variable(sources_.environment_prefix, near)));
            }
            if (auto set = assign(*key, value, "environment " + variable); !set) return set.error();
        }
        return {};
    }

    // ---- file

    Result<void> read_file(const std::string& file) {
        file_ = file.empty() ? "configuration" : file;
        std::string text;
        if (sources_.file_text && file == sources_.file) {
            text = *sources_.file_text;
        } else {
            auto read = read_text(file);
            if (!read) return read.error();
            text = std::move(*read);
        }
        try {
            return read_table(toml::parse(text, file_), "");
        } catch (const toml::parse_error& failure) {
            return refuse(file_ + ":" + std::to_string(failure.source().begin.line) +
                          ": not valid TOML: " + std::string{failure.description()});
        }
    }

    Result<void> read_table(const toml::table& table, const std::string& path) {
        for (const auto& [name, node] : table) {
            const std::string full = path.empty() ? std::string{name.str()} : path + "." + std::string{name.str()};
            const std::string place = file_ + ":" + std::to_string(node.source().begin.line);
            const Key* key = schema_.find(full);
            if (key != nullptr) {
                if (auto set = read_node(*key, node, place); !set) return set.error();
                continue;
            }
            const auto* inner = node.as_table();
            const bool leads_somewhere = std::any_of(schema_.keys().begin(), schema_.keys().end(),
                                                     [&](const Key& known) { return known.name.starts_with(full + "."); });
            if (inner == nullptr || (!leads_somewhere && inner->empty())) return unknown(place, full, "");
            if (auto read = read_table(*inner, full); !read) return read.error();
        }
        return {};
    }

    Result<void> read_node(const Key& key, const toml::node& node, const std::string& place) {
        std::ostringstream written;
        written << toml::default_formatter{node};
        const auto* string = node.as_string();
        const auto wrong = [&] {
            return bad(key, string != nullptr ? quoted(string->get()) : written.str(), place, wanted(key));
        };

        if (key.type == Type::list) {
            const auto* items = node.as_array();
            if (items == nullptr) return wrong();
            std::string joined;
            std::vector<std::string> read;
            for (const auto& item : *items) {
                const auto* text = item.as_string();
                if (text == nullptr) return wrong();
                read.push_back(text->get());
                joined += (joined.empty() ? "" : ",") + text->get();
            }
            auto set = assign(key, joined, place);
            config_.values_.at(key.name).items = std::move(read);  // items may hold commas
            return set;
        }
        if (string != nullptr) {
            const bool textual =
                key.type == Type::text || key.type == Type::choice || key.type == Type::duration || key.type == Type::size;
            return textual ? assign(key, string->get(), place) : wrong();
        }
        if (const auto* yes = node.as_boolean()) {
            return key.type == Type::boolean ? assign(key, yes->get() ? "true" : "false", place) : wrong();
        }
        if (const auto* whole = node.as_integer()) {
            const bool numeric = key.type == Type::integer || key.type == Type::real || key.type == Type::size ||
                                 (key.type == Type::duration && whole->get() == 0);
            return numeric ? assign(key, std::to_string(whole->get()), place) : wrong();
        }
        if (node.is_floating_point() && key.type == Type::real) return assign(key, written.str(), place);
        return wrong();
    }

    // ---- values

    Error unknown(const std::string& place, const std::string& name, const std::string& dashes) const {
        const std::string near = schema_.nearest(name);
        return refuse(
            place + ": unknown key " + quoted(name) +
            (near.empty() ? std::string{": --help lists the known ones"} : "; nearest is " + quoted(dashes + near)));
    }

    static Error bad(const Key& key, std::string_view value, const std::string& place, const std::string& rule) {
        return refuse(place + ": " + key.name + " = " + (key.secret ? std::string{"***"} : std::string{value}) + ": " +
                      rule);
    }

    Result<void> assign(const Key& key, const std::string& written, std::string origin) {
        const auto wrong = [&] { return bad(key, shown(written), origin, wanted(key)); };
        Config::Value value;
        value.type = key.type;
        value.secret = key.secret;
        value.written = written;
        switch (key.type) {
            case Type::text: break;
            case Type::choice:
                if (std::find(key.choices.begin(), key.choices.end(), written) == key.choices.end()) return wrong();
                break;
            case Type::boolean:
                if (written != "true" && written != "false" && written != "1" && written != "0") return wrong();
                value.number = written == "true" || written == "1" ? 1 : 0;
                break;
            case Type::integer: {
                const auto [end, failed] = std::from_chars(written.data(), written.data() + written.size(), value.number);
                if (failed != std::errc{} || end != written.data() + written.size()) return wrong();
                break;
            }
            case Type::real: {
                const auto [end, failed] = std::from_chars(written.data(), written.data() + written.size(), value.real);
                if (failed != std::errc{} || end != written.data() + written.size()) return wrong();
                break;
            }
            case Type::duration: {
                const auto read = parse_duration(written);
                if (!read) return wrong();
                value.number = read->count();
                break;
            }
            case Type::size: {
                const auto read = parse_size(written);
                if (!read || *read > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return wrong();
                value.number = static_cast<std::int64_t>(*read);
                break;
            }
            case Type::list:
                value.items = split(written);
                // A flag that is given again adds to its list.
                if (const auto earlier = config_.values_.find(key.name);
                    earlier != config_.values_.end() && earlier->second.origin == origin) {
                    value.items.insert(value.items.begin(), earlier->second.items.begin(), earlier->second.items.end());
                    value.written = earlier->second.written + "," + written;
                }
                break;
        }
        const bool bounded = key.type == Type::integer || key.type == Type::duration || key.type == Type::size;
        if (bounded && (value.number < key.least || value.number > key.most)) return wrong();
        value.origin = std::move(origin);
        config_.values_.insert_or_assign(key.name, std::move(value));
        return {};
    }

    Result<void> check_required() {
        for (const auto& key : schema_.keys()) {
            if (config_.values_.contains(key.name)) continue;
            if (config_.help_wanted_) {
                Config::Value none;
                none.type = key.type;
                none.origin = "default";
                config_.values_.insert_or_assign(key.name, std::move(none));
                continue;
            }
            return refuse("key \"" + key.name + "\" is required (" + key.help + "): set it in the file or with --" +
                          key.name + "=…; " + wanted(key));
        }
        return {};
    }

    const ConfigSchema& schema_;
    const ConfigSources& sources_;
    std::string file_;
    std::vector<Flag> flags_;
    Config config_;
};

Result<std::vector<std::string>> config_tables(const ConfigSources& sources, std::string_view table) {
    auto text = sources.file_text ? Result<std::string>{*sources.file_text} : read_text(sources.file);
    if (!text) return text.error();
    std::vector<std::string> names;
    try {
        const toml::table whole = toml::parse(*text, sources.file);
        const auto* found = whole[table].as_table();
        if (found == nullptr) return names;
        for (const auto& [name, node] : *found)
            if (node.is_table()) names.emplace_back(name.str());
    } catch (const toml::parse_error& failure) {
        return refuse(sources.file + ":" + std::to_string(failure.source().begin.line) +
                      ": not valid TOML: " + std::string{failure.description()});
    }
    return names;
}

std::map<std::string, std::string> environment(std::string_view prefix) {
    std::map<std::string, std::string> found;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view line{*entry};
        const auto equals = line.find('=');
        if (equals == std::string_view::npos || !line.starts_with(prefix)) continue;
        found.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
    return found;
}

Result<Config> Config::load(const ConfigSchema& schema, const ConfigSources& sources) {
    return ConfigLoader{schema, sources}.load();
}

const Config::Value& Config::value(std::string_view name) const {
    const auto found = values_.find(name);
    HUFU_ASSERT(found != values_.end());
    return found->second;
}

const Config::Value& Config::value(std::string_view name, Type type) const {
    const Value& found = value(name);
    HUFU_ASSERT(found.type == type || (type == Type::text && found.type == Type::choice));
    return found;
}

const std::string& Config::text(std::string_view name) const { return value(name, Type::text).written; }
bool Config::boolean(std::string_view name) const { return value(name, Type::boolean).number != 0; }
std::int64_t Config::integer(std::string_view name) const { return value(name, Type::integer).number; }
double Config::real(std::string_view name) const { return value(name, Type::real).real; }
std::uint64_t Config::size(std::string_view name) const {
    return static_cast<std::uint64_t>(value(name, Type::size).number);
}
const std::vector<std::string>& Config::list(std::string_view name) const { return value(name, Type::list).items; }

std::chrono::nanoseconds Config::duration(std::string_view name) const {
    return std::chrono::nanoseconds{value(name, Type::duration).number};
}

std::chrono::milliseconds Config::milliseconds(std::string_view name) const {
    return std::chrono::ceil<std::chrono::milliseconds>(duration(name));
}

bool Config::given(std::string_view name) const { return value(name).origin != "default"; }
const std::string& Config::origin(std::string_view name) const { return value(name).origin; }

Error Config::error(std::string_view name, std::string_view rule) const {
    const Value& found = value(name);
    return refuse(found.origin + ": " + std::string{name} + " = " + (found.secret ? "***" : shown(found.written)) + ": " +
                  std::string{rule});
}

std::string Config::listing() const {
    std::string text;
    for (const auto& [name, found] : values_) {
        text += name + " = " + (found.secret ? "***" : shown(found.written)) + "  # " + found.origin + "\n";
    }
    return text;
}

}  // namespace hufu
