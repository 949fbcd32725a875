#include <hufu/postgres/health.hpp>

#include <hufu/postgres/connection.hpp>
#include <hufu/postgres/schema.hpp>

namespace hufu::postgres {
namespace {

constexpr std::string_view settings_sql =
    "select current_setting('server_version'), pg_is_in_recovery(), current_setting('synchronous_commit'), "
    "current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on', "
    "(select count(*) from pg_stat_activity where backend_type = 'client backend')::int8, "
    "current_setting('max_connections')::int8, "
    "(select count(*) from pg_prepared_xacts where database = current_database())::int8";

constexpr std::string_view oldest_sql =
    "select floor(extract(epoch from clock_timestamp() - xact_start) * 1000)::int8, pid::int8, "
    "coalesce(application_name, ''), coalesce(state, '') from pg_stat_activity "
    "where datname = current_database() and xact_start is not null and pid <> pg_backend_pid() "
    "and backend_type = 'client backend' order by xact_start limit 1";

// Whoever keeps the oldest snapshot, whatever it is.
constexpr std::string_view snapshot_sql =
    "select age::int8, holder from ("
    "select age(backend_xmin) age, 'session ' || pid || ' (' || coalesce(application_name, '') || ')' holder "
    "from pg_stat_activity where backend_xmin is not null and pid <> pg_backend_pid() "
    "union all select age(transaction), 'prepared transaction ' || gid from pg_prepared_xacts "
    "union all select age(xmin), 'replication slot ' || slot_name from pg_replication_slots where xmin is not null"
    ") held order by age desc limit 1";

}  // namespace

Result<Health> examine(const std::string& url) {
    ConnectionOptions options;
    options.application_name = "hufu-doctor";
    options.answer_timeout = std::chrono::seconds{10};
    auto connection = Connection::open(url, options);
    if (!connection) return connection.error();
    Health health;
    health.peer = (*connection)->peer();
    const auto settings = (*connection)->run(settings_sql);
    if (!settings) return settings.error();
    health.server_version = settings->text(0, 0);
    health.standby = settings->boolean(0, 1);
    health.synchronous_commit = settings->text(0, 2);
    health.fsync = settings->boolean(0, 3);
    health.full_page_writes = settings->boolean(0, 4);
    health.connections = settings->int8(0, 5);
    health.connections_max = settings->int8(0, 6);
    health.prepared_transactions = settings->int8(0, 7);
    const auto oldest = (*connection)->run(oldest_sql);
    if (!oldest) return oldest.error();
    if (oldest->size() > 0) {
        health.oldest_transaction = Health::Open{std::chrono::milliseconds{oldest->int8(0, 0)}, oldest->int8(0, 1),
                                                 std::string{oldest->text(0, 2)}, std::string{oldest->text(0, 3)}};
    }
    const auto snapshot = (*connection)->run(snapshot_sql);
    if (!snapshot) return snapshot.error();
    if (snapshot->size() > 0) {
        health.oldest_snapshot_age = snapshot->int8(0, 0);
        health.oldest_snapshot_holder = snapshot->text(0, 1);
    }
    const auto version = schema_version(**connection);
    if (!version) return version.error();
    health.schema_version = *version;
    health.schema_wanted = outbox::latest_version(migrations());
    return health;
}

}  // namespace hufu::postgres
