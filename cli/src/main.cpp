#include <cstdio>
#include <cstdlib>
#include <exception>

#include <hufu/core/mutant.hpp>

#include "command.hpp"

int main(int argc, char** argv) {
#if defined(HUFU_WITH_MUTANTS)
    if (const char* name = std::getenv("HUFU_MUTANT")) {
        hufu::activate_mutant(name);
    }
#endif
    const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
    try {
        return hufu::cli::run(words);
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "hufu: %s\n", exception.what());
        return hufu::cli::exit_failure;
    }
}
