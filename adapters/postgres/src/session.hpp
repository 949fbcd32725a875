// A connection that is made when it is needed and made again after it was lost.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/outbox/store.hpp>
#include <hufu/postgres/connection.hpp>

namespace hufu::postgres {

/// One port's session: connects at the first call, checks schema and role of the server, learns its identity.
/// For one thread at a time.
class Session {
public:
    /// `settings`: statements run after each connect ("set …; set …").
    Session(std::string url, std::string_view name, std::string settings, std::chrono::milliseconds answer_timeout);

    Result<Connection*> connection();
    /// Of the database this session is connected to.
    [[nodiscard]] const std::string& identity() const noexcept { return identity_; }
    /// Reads the identity anew: soon after a start the server's statistics may begin once more.
    Result<void> refresh_identity();
    /// `connection`, unless the claim was made in another history.
    struct Owned {
        Connection* connection = nullptr;
        outbox::Ownership ownership = outbox::Ownership::held;
    };
    Result<Owned> owned(const outbox::Claim& claim);

    Result<Rows> run(std::string_view sql, const Parameters& parameters = {});

private:
    Result<void> connect();
    Result<void> learn_identity(Connection& connection);

    std::string url_;
    ConnectionOptions options_;
    std::string settings_;
    std::unique_ptr<Connection> connection_;
    std::string identity_;
};

/// Plans that do not depend on stale statistics: every statement of the relay goes along an index. Generic, because
/// planning a page anew (as the server prefers for unknown limits) costs more than reading it.
inline constexpr const char* index_only =
    "set enable_seqscan = off; set enable_bitmapscan = off; set plan_cache_mode = force_generic_plan; set lock_timeout = "
    "'10s'";

[[nodiscard]] inline std::int64_t number(std::uint64_t value) noexcept { return static_cast<std::int64_t>(value); }

}  // namespace hufu::postgres
