// One run from empty databases to a verdict.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "fleet.hpp"
#include "report.hpp"

namespace shop::demo {

struct RunOptions {
    std::uint64_t orders = 20'000;
    std::uint64_t kills = 20;
    bool postgres = false;
    Mode mode = Mode::outbox;
    Break breaking = Break::none;
    double orders_per_second = 250;
    std::uint64_t seed = 1;
    std::chrono::seconds limit{600};  ///< for the whole run; passed, it did not become quiet
    std::string programs;             ///< folder of the executables
    std::string directory;            ///< empty folder for data and logs
};

/// Called with a line of progress.
using Tell = std::function<void(const std::string&)>;

/// Starts everything, loads it, breaks it, waits until it is quiet, judges. All processes have ended when it returns or
/// throws (`hufu::Exception`: something is missing or never came up; `cancelled` when `stop` was asked for).
[[nodiscard]] Outcome run(const RunOptions& options, const Tell& tell, std::stop_token stop);

}  // namespace shop::demo
