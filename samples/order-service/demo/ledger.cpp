#include "ledger.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <hufu/core/error.hpp>

namespace shop::demo {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& why) {
    throw hufu::Exception{{hufu::ErrorCode::io, hufu::Disposition::fatal, "ledger " + path + ": " + why}};
}

}  // namespace

LedgerWriter::LedgerWriter(std::string path) : path_{std::move(path)} {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd_ < 0) fail(path_, std::strerror(errno));
}

LedgerWriter::~LedgerWriter() { ::close(fd_); }

void LedgerWriter::write(std::string_view what, std::string_view order_id) {
    const auto line = std::string{what} + " " + std::string{order_id} + "\n";
    const std::scoped_lock lock{mutex_};
    if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) fail(path_, std::strerror(errno));
}

Ledger read_ledger(const std::string& path) {
    std::ifstream file{path};
    if (!file) fail(path, "cannot be read");
    Ledger ledger;
    for (std::string line; std::getline(file, line);) {
        const auto space = line.find(' ');
        const auto what = line.substr(0, space);
        auto& entry = ledger[space == std::string::npos ? "" : line.substr(space + 1)];
        if (what == "created") {
            entry.created = true;
        } else if (what == "paid") {
            entry.paid = true;
        } else if (what == "cancelled") {
            entry.cancelled = true;
        } else {
            fail(path, "line \"" + line + "\" is none of this program's");
        }
    }
    return ledger;
}

}  // namespace shop::demo
