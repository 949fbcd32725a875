#include "access_table.hpp"

#include <algorithm>
#include <charconv>

#include "names.hpp"

namespace hufu::broker {
namespace {

constexpr std::uint8_t bit(Right right) noexcept { return static_cast<std::uint8_t>(right); }

Error refuse(std::string text) { return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

/// The keys of one account.
struct Keys {
    explicit Keys(const std::string& name)
        : secret{"account." + name + ".secret_key"},
          admin{"account." + name + ".admin"},
          default_topic{"account." + name + ".default_topic"},
          default_group{"account." + name + ".default_group"},
          topics{"account." + name + ".topics"},
          groups{"account." + name + ".groups"},
          addresses{"account." + name + ".addresses"} {}

    void declare(ConfigSchema& schema) const {
        schema.text(secret, "", "what the account signs with").secret();
        schema.boolean(admin, false, "whether it may do everything");
        schema.text(default_topic, "DENY", "its rights on topics that are not listed");
        schema.text(default_group, "DENY", "its rights on groups that are not listed");
        schema.list(topics, "", "its rights on topics: \"NAME=PUB|SUB\"");
        schema.list(groups, "", "its rights on groups: \"NAME=SUB\"");
        schema.list(addresses, "", "where it may come from: \"10.0.0.0/8\"");
    }

    const std::string secret;
    const std::string admin;
    const std::string default_topic;
    const std::string default_group;
    const std::string topics;
    const std::string groups;
    const std::string addresses;
};

Result<Permissions> read_permissions(const Config& config, const std::string& fallback_key, const std::string& list_key) {
    Permissions permissions;
    std::uint8_t rights = 0;
    if (!Permissions::parse(config.text(fallback_key), rights))
        return config.error(fallback_key, "must be PUB, SUB, PUB|SUB or DENY");
    permissions.set_default(rights);
    for (const std::string& item : config.list(list_key)) {
        const auto equals = item.rfind('=');
        if (equals == std::string::npos || equals == 0 || !Permissions::parse(item.substr(equals + 1), rights))
            return config.error(list_key,
                                "each must be NAME=PUB, NAME=SUB, NAME=PUB|SUB or NAME=DENY, not \"" + item + "\"");
        const std::string_view name = std::string_view{item}.substr(0, equals);
        if (permissions.names(name)) return config.error(list_key, "\"" + std::string{name} + "\" is listed twice");
        if (const auto star = name.find('*'); star != std::string_view::npos && star + 1 != name.size())
            return config.error(list_key, "a * stands at the end of a name, not as in \"" + std::string{name} + "\"");
        permissions.set(name, rights);
    }
    return permissions;
}

Result<Account> read_account(const Config& config, const Keys& keys, const std::string& name, const std::string& file) {
    if (!config.given(keys.secret)) return refuse(file + ": [account." + name + "] has no secret_key");
    const std::string& secret = config.text(keys.secret);
    if (secret.size() < AccessTable::secret_bytes_min)
        return config.error(keys.secret,
                            "a secret has at least " + std::to_string(AccessTable::secret_bytes_min) + " characters");
    auto signer = remoting::AclSigner::create(name, secret);
    if (!signer) return signer.error();
    Account account{std::move(*signer), config.boolean(keys.admin)};
    auto topics = read_permissions(config, keys.default_topic, keys.topics);
    if (!topics) return topics.error();
    account.topics = std::move(*topics);
    auto groups = read_permissions(config, keys.default_group, keys.groups);
    if (!groups) return groups.error();
    account.groups = std::move(*groups);
    for (const std::string& text : config.list(keys.addresses))
        if (!Network::parse(text, account.addresses.emplace_back()))
            return config.error(keys.addresses,
                                "each must be an IPv4 address or a network such as 10.0.0.0/8, not \"" + text + "\"");
    return account;
}

}  // namespace

bool Permissions::parse(std::string_view text, std::uint8_t& rights) noexcept {
    if (text == "DENY") {
        rights = 0;
    } else if (text == "PUB") {
        rights = bit(Right::publish);
    } else if (text == "SUB") {
        rights = bit(Right::subscribe);
    } else if (text == "PUB|SUB" || text == "SUB|PUB") {
        rights = bit(Right::publish) | bit(Right::subscribe);
    } else {
        return false;
    }
    return true;
}

bool Permissions::allow(Right right, std::string_view name) const {
    std::uint8_t rights = default_;
    std::size_t longest = 0;
    for (const auto& [listed, of] : rights_) {
        const bool open = listed.back() == '*';
        const std::string_view beginning = std::string_view{listed}.substr(0, listed.size() - (open ? 1 : 0));
        if (open ? !name.starts_with(beginning) : name != listed) continue;
        if (listed.size() + (open ? 0U : 1U) < longest) continue;
        longest = listed.size() + (open ? 0U : 1U);  // the name itself wins over name*
        rights = of;
    }
    return (rights & bit(right)) != 0;
}

bool Network::parse(std::string_view text, Network& into) noexcept {
    const auto slash = text.find('/');
    std::string_view rest = text.substr(0, slash);
    std::uint32_t address = 0;
    for (int part = 0; part < 4; ++part) {
        std::uint8_t byte = 0;
        const auto [end, fault] = std::from_chars(rest.data(), rest.data() + rest.size(), byte);
        if (fault != std::errc{}) return false;
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
        if (part < 3 ? !rest.starts_with('.') : !rest.empty()) return false;
        if (part < 3) rest.remove_prefix(1);
        address = address << 8U | byte;
    }
    unsigned bits = 32;
    if (slash != std::string_view::npos) {
        const std::string_view digits = text.substr(slash + 1);
        const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
        if (fault != std::errc{} || end != digits.data() + digits.size() || bits > 32) return false;
    }
    into.mask = bits == 0 ? 0 : ~std::uint32_t{0} << (32 - bits);
    into.address = address & into.mask;
    return true;
}

bool Network::contains(const std::array<std::uint8_t, 4>& ip) const noexcept {
    std::uint32_t given = 0;
    for (const std::uint8_t byte : ip) given = given << 8U | byte;
    return (given & mask) == address;
}

bool Account::may_come_from(const std::array<std::uint8_t, 4>& ip) const noexcept {
    return addresses.empty() ||
           std::any_of(addresses.begin(), addresses.end(), [&](const Network& network) { return network.contains(ip); });
}

bool Account::may(Right right, std::string_view topic) const {
    if (admin) return true;
    if (is_retry_topic(topic)) return groups.allow(Right::subscribe, topic.substr(retry_prefix.size()));
    if (is_dead_letter_topic(topic) && right == Right::subscribe && !topics.names(topic))
        return groups.allow(right, topic.substr(dead_letter_prefix.size()));
    return topics.allow(right, topic);
}

Result<AccessTable> AccessTable::load(const ConfigSources& sources) {
    const auto names = config_tables(sources, "account");
    if (!names) return names.error();
    if (names->empty()) return refuse(sources.file + ": no account; each is a table [account.NAME] with a secret_key");
    if (names->size() > accounts_max)
        return refuse(sources.file + ": " + std::to_string(names->size()) + " accounts; at most " +
                      std::to_string(accounts_max) + " are possible");
    ConfigSchema schema;
    for (const std::string& name : *names) {
        if (name.empty() || name.find('.') != std::string::npos)
            return refuse(sources.file + ": [account.\"" + name + "\"]: an account has a name without a dot");
        Keys{name}.declare(schema);
    }
    const auto config = Config::load(schema, sources);
    if (!config) return config.error();
    AccessTable table;
    for (const std::string& name : *names) {
        auto account = read_account(*config, Keys{name}, name, sources.file);
        if (!account) return account.error();
        table.accounts_.emplace(name, std::move(*account));
    }
    return table;
}

const Account* AccessTable::find(std::string_view access_key) const {
    const auto found = accounts_.find(access_key);
    return found == accounts_.end() ? nullptr : &found->second;
}

}  // namespace hufu::broker
