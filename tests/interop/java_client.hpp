// The Java clients: which there are, how their part of the suite is compiled and started.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hufu::interop {

struct JavaClient {
    const char* name;     ///< in the report
    const char* jars;     ///< set of scripts/fetch-jars
    const char* sources;  ///< folder beside java/common
};

inline constexpr JavaClient java_clients[] = {
    {.name = "java-4.9.8", .jars = "rocketmq-tools-4.9.8", .sources = "client4"},
    {.name = "java-5.3.3", .jars = "rocketmq-5.3.3", .sources = "client5"},
};

/// Compiles the suite against this client into a folder under `work`; returns it. Throws with the compiler's words.
[[nodiscard]] std::string compile(const JavaClient& client, const std::string& work);

/// Every case that this client can play.
[[nodiscard]] std::vector<std::string> cases_of(const JavaClient& client, const std::string& classes,
                                                const std::string& work);

/// The words that start a player with `threads` cases at a time; its home is a new folder under `work`.
[[nodiscard]] std::vector<std::string> player_words(const JavaClient& client, const std::string& classes,
                                                    const std::string& work, const std::string& name_server, int threads);

}  // namespace hufu::interop
