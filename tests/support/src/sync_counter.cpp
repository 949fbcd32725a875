#include <hufu/test_support/sync_counter.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace hufu::test_support {
namespace {

using Counter = std::atomic<std::uint64_t>;

}  // namespace

SyncCounter::SyncCounter(const std::string& path) : path_{path} {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file >= 0 && ::ftruncate(file, sizeof(Counter)) == 0) {
        mapped_ = ::mmap(nullptr, sizeof(Counter), PROT_READ, MAP_SHARED, file, 0);
    }
    const int error = errno;
    if (file >= 0) ::close(file);
    if (mapped_ == nullptr || mapped_ == MAP_FAILED) {
        throw std::runtime_error{"cannot map a counter at " + path + ": " + std::strerror(error)};
    }
}

SyncCounter::~SyncCounter() { ::munmap(mapped_, sizeof(Counter)); }

std::uint64_t SyncCounter::count() const { return static_cast<const Counter*>(mapped_)->load(std::memory_order_relaxed); }

std::string SyncCounter::library() { return HUFU_SYNC_COUNT_SHIM; }

}  // namespace hufu::test_support
