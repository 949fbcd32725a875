// Who may do what: the accounts of an access file.
//
//   [account.orders-service]                 # the name is the access key
//   secret_key = "at least 16 characters"
//   admin = false                            # true: everything, and the commands of administration
//   default_topic = "DENY"                   # PUB, SUB, PUB|SUB or DENY: topics that are not listed
//   default_group = "DENY"
//   topics = ["orders=PUB|SUB", "audit-*=PUB"]   # a name, or what names begin with; the longest that fits decides
//   groups = ["orders-workers=SUB"]
//   addresses = ["10.0.0.0/8", "127.0.0.1"]      # where requests may come from; left away: anywhere
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/config.hpp>
#include <hufu/core/error.hpp>
#include <hufu/remoting/acl.hpp>

namespace hufu::broker {

/// What an account may do with a topic; with a group only `subscribe` counts.
enum class Right : std::uint8_t { publish = 1, subscribe = 2 };

/// Rights by name, with a default.
class Permissions {
public:
    /// Reads "PUB|SUB" (or PUB, SUB, DENY). False for anything else.
    static bool parse(std::string_view text, std::uint8_t& rights) noexcept;

    void set_default(std::uint8_t rights) noexcept { default_ = rights; }
    /// `name` may end with '*'.
    void set(std::string_view name, std::uint8_t rights) { rights_.insert_or_assign(std::string{name}, rights); }
    [[nodiscard]] bool allow(Right right, std::string_view name) const;
    /// Whether the name itself is listed, not only the beginning of it.
    [[nodiscard]] bool names(std::string_view name) const { return rights_.find(name) != rights_.end(); }

private:
    std::map<std::string, std::uint8_t, std::less<>> rights_;
    std::uint8_t default_ = 0;
};

/// A range of IPv4 addresses.
struct Network {
    std::uint32_t address = 0;
    std::uint32_t mask = 0;

    /// "10.0.0.0/8" or "10.1.2.3".
    static bool parse(std::string_view text, Network& into) noexcept;
    [[nodiscard]] bool contains(const std::array<std::uint8_t, 4>& ip) const noexcept;
};

struct Account {
    remoting::AclSigner signer;
    bool admin = false;
    Permissions topics = {};
    Permissions groups = {};
    std::vector<Network> addresses = {};  ///< empty: anywhere

    [[nodiscard]] const std::string& name() const noexcept { return signer.access_key(); }
    [[nodiscard]] bool may_come_from(const std::array<std::uint8_t, 4>& ip) const noexcept;
    /// A group's retry topic belongs to who may consume with the group, and so do its dead letters for reading.
    [[nodiscard]] bool may(Right right, std::string_view topic) const;
    [[nodiscard]] bool may_use_group(std::string_view group) const { return admin || groups.allow(Right::subscribe, group); }
};

/// Constant after `load`. For one thread at a time (an account's signer has scratch memory).
class AccessTable {
public:
    static constexpr std::size_t accounts_max = 10'000;
    static constexpr std::size_t secret_bytes_min = 16;

    /// Reads the file. Errors name file, line, key and what is allowed; secrets are never part of them.
    static Result<AccessTable> load(const ConfigSources& sources);

    /// Null when there is no such account.
    [[nodiscard]] const Account* find(std::string_view access_key) const;
    [[nodiscard]] std::size_t size() const noexcept { return accounts_.size(); }

private:
    std::map<std::string, Account, std::less<>> accounts_;
};

}  // namespace hufu::broker
