#include "server.hpp"

#include <gtest/gtest.h>

#include <memory>

#include <hufu/postgres/schema.hpp>

// libpqxx 6.4 forgets to free the answers that say that the connection was ended from the other side, also during COMMIT.
extern "C" const char* __lsan_default_suppressions();  // NOLINT: the sanitizer's name
extern "C" const char* __lsan_default_suppressions() { return "leak:libpqxx-6.4"; }

namespace hufu::postgres {
namespace {

class OneServer final : public testing::Environment {
public:
    void SetUp() override { held() = std::make_unique<test_support::PostgresServer>(); }
    void TearDown() override { held().reset(); }
    static std::unique_ptr<test_support::PostgresServer>& held() {
        static std::unique_ptr<test_support::PostgresServer> server;
        return server;
    }
};

[[maybe_unused]] const auto* const environment = testing::AddGlobalTestEnvironment(new OneServer);

}  // namespace

test_support::PostgresServer& server() { return *OneServer::held(); }

std::string migrated_database() {
    std::string url = server().create_database();
    migrate(url).value();
    return url;
}

std::unique_ptr<Connection> connect(const std::string& url) { return Connection::open(url).value(); }

std::string value_of(Connection& connection, const std::string& sql) {
    const auto rows = connection.run("select (" + sql + ")::text").value();
    return std::string{rows.text(0, 0)};
}

Message message(std::string topic, std::string ordering_key, std::string body) {
    Message made;
    made.topic = std::move(topic);
    made.ordering_key = std::move(ordering_key);
    made.body = std::move(body);
    return made;
}

}  // namespace hufu::postgres
