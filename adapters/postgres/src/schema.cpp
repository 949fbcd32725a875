#include <hufu/postgres/schema.hpp>

#include <utility>

#include <hufu/postgres/connection.hpp>

namespace hufu::postgres {
namespace {

Error newer(int found, int known) {
    return Error{ErrorCode::wrong_version, Disposition::fatal,
                 "the hufu schema of this database has version " + std::to_string(found) + ", this program knows up to " +
                     std::to_string(known) + ": use a newer hufu"};
}

/// One step, unless another caller was faster. The lock is taken first, so that the check is about what is there now.
Result<void> apply(Connection& connection, const outbox::Migration& step) {
    constexpr const char* lock = "begin; set local lock_timeout = '5s'; select pg_advisory_xact_lock(7526764217133002)";
    if (auto locked = connection.run_script(lock); !locked) {
        (void)connection.run_script("rollback");
        return locked;
    }
    auto version = schema_version(connection);
    std::string script;
    if (version && *version < step.number) {
        for (const auto& statement : step.statements) script += statement + ";\n";
    }
    auto applied = version ? connection.run_script(script + "commit") : Result<void>{version.error()};
    if (!applied) (void)connection.run_script("rollback");
    return applied;
}

}  // namespace

Result<int> schema_version(Connection& connection) {
    const auto exists = connection.run("select to_regclass('hufu.schema_migration') is not null");
    if (!exists) return exists.error();
    if (!exists->boolean(0, 0)) return 0;
    const auto version = connection.run("select coalesce(max(version), 0) from hufu.schema_migration");
    if (!version) return version.error();
    return static_cast<int>(version->int4(0, 0));
}

Result<int> migrate(const std::string& url) {
    auto opened = Connection::open(url, {.application_name = "hufu-migrate"});
    if (!opened) return opened.error();
    Connection& connection = **opened;
    const int latest = outbox::latest_version(migrations());
    const auto found = schema_version(connection);
    if (!found) return found.error();
    if (*found > latest) return newer(*found, latest);
    for (const auto& step : migrations()) {
        if (step.number <= *found) continue;
        if (auto applied = apply(connection, step); !applied) return applied.error();
    }
    return latest;
}

Result<void> check_schema(Connection& connection) {
    const int latest = outbox::latest_version(migrations());
    const auto found = schema_version(connection);
    if (!found) return found.error();
    if (*found > latest) return newer(*found, latest);
    if (*found < latest) {
        return Error{ErrorCode::wrong_version, Disposition::fatal,
                     (*found == 0 ? std::string{"this database has no hufu schema"}
                                  : "the hufu schema of this database has version " + std::to_string(*found) +
                                        ", this program needs " + std::to_string(latest)) +
                         ": run `hufu outbox migrate " + connection.peer() + "` (or print it with --print)"};
    }
    return {};
}

}  // namespace hufu::postgres
