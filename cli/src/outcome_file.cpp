#include "outcome_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace hufu::cli {

OutcomeFile::~OutcomeFile() {
    if (file_ >= 0) ::close(file_);
}

Result<void> OutcomeFile::open(const std::string& name) {
    name_ = name;
    if (name.empty()) return {};
    file_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (file_ < 0) return problem(ErrorCode::invalid_argument, "opened", errno);
    return {};
}

Result<void> OutcomeFile::write(std::span<const boost::json::object> lines) {
    if (file_ < 0 || lines.empty()) return {};
    std::string text;
    for (const auto& line : lines) {
        text += boost::json::serialize(line);
        text += '\n';
    }
    for (std::size_t written = 0; written < text.size();) {
        const ssize_t count = ::write(file_, text.data() + written, text.size() - written);
        if (count < 0 && errno != EINTR) return problem(ErrorCode::io, "written", errno);
        written += count < 0 ? 0 : static_cast<std::size_t>(count);
    }
    // A pipe or terminal has nothing to sync.
    if (::fdatasync(file_) != 0 && errno != EINVAL && errno != EROFS) return problem(ErrorCode::io, "synced", errno);
    return {};
}

Error OutcomeFile::problem(ErrorCode code, const char* what, int number) const {
    return {code, Disposition::reject,
            "the outcome file \"" + name_ + "\" cannot be " + what + ": " + std::strerror(number) + "; " +
                (code == ErrorCode::invalid_argument ? "nothing was tried: name a file that can be written" : when_broken_)};
}

}  // namespace hufu::cli
