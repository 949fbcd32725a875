#include "kafka.hpp"

#include <algorithm>
#include <string_view>

#include "secret.hpp"
#include "url.hpp"

namespace hufu::connect {
namespace {

Error refuse(const std::string& url, const std::string& why) {
    return Error{ErrorCode::invalid_argument, Disposition::reject, "\"" + without_password(url) + "\": " + why};
}

/// Calls `each` with every part of `text` between separators.
template <class Each>
void split(std::string_view text, char separator, Each each) {
    while (!text.empty()) {
        const auto end = std::min(text.find(separator), text.size());
        each(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

Result<void> credentials(const std::string& url, std::string_view text, kafka::ClientOptions& client) {
    if (text.find('@') != std::string_view::npos) {
        return refuse(url.substr(0, url.find(':')) + "://…",
                      "a password with an '@' does not go into a URL: set HUFU_KAFKA_PASSWORD and write USER@HOST:PORT");
    }
    const auto colon = text.find(':');
    const std::string user{text.substr(0, colon)};
    std::string password;
    if (colon != std::string_view::npos) {
        password = text.substr(colon + 1);
    } else {
        auto read = secret_of_environment("HUFU_KAFKA_PASSWORD", "Kafka user \"" + user + "\"", "USER:PASSWORD@");
        if (!read) {
            return read.error();
        }
        password = std::move(*read);
    }
    client.properties.emplace_back("sasl.username", user);
    client.properties.emplace_back("sasl.password", password);
    client.properties.emplace_back("sasl.mechanism", "SCRAM-SHA-256");
    client.properties.emplace_back("security.protocol", "sasl_ssl");
    return {};
}

Result<void> properties(const std::string& url, std::string_view text, kafka::ClientOptions& client) {
    std::string wrong;
    split(text, '&', [&](std::string_view pair) {
        const auto equals = pair.find('=');
        if (equals == std::string_view::npos || equals == 0) {
            wrong = pair;
            return;
        }
        const std::string name{pair.substr(0, equals)};
        const std::string value{pair.substr(equals + 1)};
        if (name == "client.id") {
            client.client_id = value;
        } else {
            client.properties.emplace_back(name, value);
        }
    });
    if (!wrong.empty()) {
        return refuse(url, "\"" + wrong + "\" is no PROPERTY=VALUE of librdkafka, such as compression.type=lz4");
    }
    return {};
}

}  // namespace

Result<kafka::ClientOptions> kafka_client(const std::string& url, std::string rest) {
    kafka::ClientOptions client;
    std::string_view servers = rest;
    std::string_view query;
    if (const auto question = servers.find('?'); question != std::string_view::npos) {
        query = servers.substr(question + 1);
        servers = servers.substr(0, question);
    }
    if (const auto at = servers.rfind('@'); at != std::string_view::npos) {
        if (const auto read = credentials(url, servers.substr(0, at), client); !read) {
            return read.error();
        }
        servers.remove_prefix(at + 1);
    }
    // After the user, so that they win.
    if (const auto read = properties(url, query, client); !read) {
        return read.error();
    }
    split(servers, ',', [&](std::string_view server) { client.servers.emplace_back(server); });
    return client;
}

}  // namespace hufu::connect
