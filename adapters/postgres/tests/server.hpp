// The one PostgreSQL server of this test program, and databases on it.
#pragma once

#include <string>

#include <hufu/core/message.hpp>
#include <hufu/postgres/connection.hpp>
#include <hufu/test_support/postgres_server.hpp>

namespace hufu::postgres {

/// Started at the first call, ended with the program.
test_support::PostgresServer& server();

/// A new database with the schema in it.
std::string migrated_database();

std::unique_ptr<Connection> connect(const std::string& url);

/// First column of the first row as text; "" for none.
std::string value_of(Connection& connection, const std::string& sql);

Message message(std::string topic, std::string ordering_key, std::string body);

}  // namespace hufu::postgres
