// A preloaded library that counts the syncs a process asks for (fsync, fdatasync, msync) in a shared file, so that our
// broker and other people's are counted alike.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

using Counter = std::atomic<std::uint64_t>;

Counter* map_counter() {
    const char* path = std::getenv("HUFU_SYNC_COUNT");
    const int file = path != nullptr ? ::open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return nullptr;
    void* mapped = ::mmap(nullptr, sizeof(Counter), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    return mapped == MAP_FAILED ? nullptr : static_cast<Counter*>(mapped);
}

void count() {
    static Counter* const counter = map_counter();
    if (counter != nullptr) counter->fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

extern "C" {

int fsync(int file) {
    static const auto plain = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "fsync"));
    count();
    return plain(file);
}

int fdatasync(int file) {
    static const auto plain = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "fdatasync"));
    count();
    return plain(file);
}

int msync(void* begin, std::size_t bytes, int flags) {
    static const auto plain = reinterpret_cast<int (*)(void*, std::size_t, int)>(::dlsym(RTLD_NEXT, "msync"));
    count();
    return plain(begin, bytes, flags);
}

}  // extern "C"
