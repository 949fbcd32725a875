#include "secret.hpp"

#include <fstream>

#include <hufu/core/config.hpp>

namespace hufu::connect {

Result<std::string> secret_of_environment(const std::string& name, const std::string& whose, const std::string& otherwise) {
    const auto variables = environment(name);
    if (const auto secret = variables.find(name); secret != variables.end()) {
        return secret->second;
    }
    const auto file_name = variables.find(name + "_FILE");
    if (file_name == variables.end()) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     whose + " has no secret: set " + name + " or " + name + "_FILE, or write " + otherwise};
    }
    std::ifstream file{file_name->second};
    std::string secret;
    if (!std::getline(file, secret)) {
        return Error{ErrorCode::not_found, Disposition::reject,
                     name + "_FILE: no secret can be read from \"" + file_name->second + "\""};
    }
    return secret;
}

}  // namespace hufu::connect
