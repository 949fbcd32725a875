#include "replay_outcome_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <boost/json.hpp>

#include "report.hpp"

namespace hufu::cli {

ReplayOutcomeFile::~ReplayOutcomeFile() {
    if (file_ >= 0) ::close(file_);
}

Result<void> ReplayOutcomeFile::open(const std::string& name) {
    name_ = name;
    if (name.empty()) return {};
    file_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (file_ < 0) return problem(ErrorCode::invalid_argument, "opened", errno);
    return {};
}

Result<void> ReplayOutcomeFile::write(std::span<const degradation::ReplayRecord> records) {
    if (file_ < 0) return {};
    std::string text;
    for (const auto& record : records) {
        boost::json::object line{{"id", record.id.to_string()},
                                 {"topic", bytes_json(record.topic)},
                                 {"ordering_key", bytes_json(record.ordering_key)},
                                 {"outcome", record.confirmed ? "confirmed" : "parked"}};
        line[record.confirmed ? "broker_id" : "why"] = bytes_json(record.detail);
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

Error ReplayOutcomeFile::problem(ErrorCode code, const char* what, int number) const {
    return {
        code, Disposition::reject,
        "the outcome file \"" + name_ + "\" cannot be " + what + ": " + std::strerror(number) +
            (code == ErrorCode::invalid_argument ? "; nothing was replayed: name a file that can be written"
                                                 : "; what is not in it stays in the buffer: free the disk, run it again")};
}

}  // namespace hufu::cli
