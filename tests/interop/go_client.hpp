// The Go client: rocketmq-client-go, a module that the Go toolchain fetches.
#pragma once

#include <string>
#include <vector>

namespace hufu::interop {

inline constexpr const char* go_client = "go-2.1.2";

/// Builds the player under `work`; returns its path. Throws with the compiler's words, or when there is no Go toolchain.
[[nodiscard]] std::string build_go_player(const std::string& work);
/// Every case that it can play.
[[nodiscard]] std::vector<std::string> go_cases(const std::string& player, const std::string& work);

}  // namespace hufu::interop
