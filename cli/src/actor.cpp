#include "actor.hpp"

#include <unistd.h>

#include <cstdlib>

namespace hufu::cli {

std::string actor_of(const Config& config) {
    if (!config.text("actor").empty()) return config.text("actor");
    const char* name = ::getenv("USER");
    return name != nullptr && *name != '\0' ? name : "user " + std::to_string(::getuid());
}

}  // namespace hufu::cli
