#include "go_client.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include <hufu/test_support/process.hpp>

#include "player.hpp"

namespace hufu::interop {
namespace {

std::string find_go() {
    const char* path = std::getenv("PATH");
    std::string folders = std::string{path == nullptr ? "" : path} + ":/usr/bin:/usr/local/go/bin";
    for (std::size_t begin = 0; begin < folders.size();) {
        const auto end = std::min(folders.find(':', begin), folders.size());
        const std::string candidate = folders.substr(begin, end - begin) + "/go";
        if (::access(candidate.c_str(), X_OK) == 0) return candidate;
        begin = end + 1;
    }
    throw std::runtime_error{"no go in PATH or /usr/bin: install golang-go"};
}

}  // namespace

std::string build_go_player(const std::string& work) {
    const std::string player = work + "/go-player";
    // A module that is not there yet comes from the module proxy; go.sum says what it must be.
    test_support::run(
        {.arguments = {"/usr/bin/env", "-C", HUFU_INTEROP_SOURCES "/go", find_go(), "build", "-o", player, "."},
         .output = work + "/go.log"});
    return player;
}

std::vector<std::string> go_cases(const std::string& player, const std::string& work) {
    return told_cases({player, "--list"}, work + "/cases-go");
}

}  // namespace hufu::interop
