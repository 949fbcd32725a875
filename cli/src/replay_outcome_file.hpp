// What became of each message of a replay, a JSON object a line.
#pragma once

#include <span>
#include <string>

#include <hufu/core/error.hpp>
#include <hufu/degradation/replay_machine.hpp>

namespace hufu::cli {

/// Appended to and synced; a run that was killed may have written a message that the next one writes again.
class ReplayOutcomeFile {
public:
    ReplayOutcomeFile() = default;
    ~ReplayOutcomeFile();
    ReplayOutcomeFile(const ReplayOutcomeFile&) = delete;
    ReplayOutcomeFile& operator=(const ReplayOutcomeFile&) = delete;

    /// An empty name: none is wanted. `invalid_argument`: it cannot be written.
    Result<void> open(const std::string& name);
    [[nodiscard]] bool wanted() const noexcept { return file_ >= 0; }
    /// Durable when it returns.
    Result<void> write(std::span<const degradation::ReplayRecord> records);

private:
    [[nodiscard]] Error problem(ErrorCode code, const char* what, int number) const;

    std::string name_;
    int file_ = -1;
};

}  // namespace hufu::cli
