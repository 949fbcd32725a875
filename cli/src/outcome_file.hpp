// What became of each message, a JSON object a line.
#pragma once

#include <span>
#include <string>

#include <boost/json.hpp>

#include <hufu/core/error.hpp>

namespace hufu::cli {

/// Appended to and synced; a run that was killed may have written a message that the next one writes again.
class OutcomeFile {
public:
    /// `when_broken`: what holds, and what to do, when a line could not be written. Ends the sentence of that error.
    explicit OutcomeFile(std::string when_broken) : when_broken_{std::move(when_broken)} {}
    ~OutcomeFile();
    OutcomeFile(const OutcomeFile&) = delete;
    OutcomeFile& operator=(const OutcomeFile&) = delete;

    /// To be called before anything is done. An empty name: none is wanted. `invalid_argument`: it cannot be written.
    Result<void> open(const std::string& name);
    [[nodiscard]] bool wanted() const noexcept { return file_ >= 0; }
    /// Durable when it returns; nothing where no file is wanted. `io`: some of the lines may be there.
    Result<void> write(std::span<const boost::json::object> lines);

private:
    [[nodiscard]] Error problem(ErrorCode code, const char* what, int number) const;

    std::string when_broken_;
    std::string name_;
    int file_ = -1;
};

}  // namespace hufu::cli
