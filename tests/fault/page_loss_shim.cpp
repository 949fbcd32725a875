// A preloaded library that remembers how to take back every write since the last sync: CI's form of a power cut.
//
// It watches the files of one folder (HUFU_SHIM_DIR). Before each change it appends to a journal (HUFU_SHIM_JOURNAL) what
// the bytes were; after a successful fsync or fdatasync it appends a mark. The journal is written with plain writes, so it
// survives kill -9 like the page cache does; page_loss_journal.cpp then restores what a power cut would have left.
// Folder changes (create, rename, unlink) count as pending until the folder itself is synced.
//
// It also breaks things on order: HUFU_SHIM_FAIL_SYNC=N makes sync number N of these files (and of the folder) fail with EIO,
// once, and notes the file's name in JOURNAL.failed; JOURNAL.syncs gets a byte for every sync. While the file that
// HUFU_SHIM_FULL names exists, the disk is full: HUFU_SHIM_FULL_MODE=grow refuses what makes a file larger, =write all.
//
// It sees the calls that the product makes through libc, not io_uring or mapped writes: the product uses neither.
#include "page_loss_format.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

namespace {

using hufu::fault::JournalHeader;
using hufu::fault::JournalKind;

template <class Function>
Function real(const char* name) {
    return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));  // NOLINT
}

class Watch {
public:
    static Watch& instance() {
        static Watch* watch = new Watch;  // never destroyed: calls come until the process ends
        return *watch;
    }

    std::recursive_mutex& mutex() { return mutex_; }

    /// The file's name inside the watched folder, or empty.
    std::string name_of(int descriptor) const {
        if (journal_ < 0) return {};
        char link[64];
        char target[PATH_MAX];
        std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        const ssize_t length = ::readlink(link, target, sizeof target);
        return length > 0 ? inside({target, static_cast<std::size_t>(length)}) : std::string{};
    }

    bool is_folder(int descriptor) const {
        char link[64];
        char target[PATH_MAX];
        std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        const ssize_t length = ::readlink(link, target, sizeof target);
        return journal_ >= 0 && length > 0 && std::string_view{target, static_cast<std::size_t>(length)} == folder_;
    }

    std::string inside(std::string_view path) const {
        if (path.size() <= folder_.size() + 1 || path.substr(0, folder_.size()) != folder_ || path[folder_.size()] != '/')
            return {};
        return std::string{path.substr(folder_.size() + 1)};
    }

    /// The name for a call relative to the folder `at`.
    std::string resolve(int at, const char* path) const {
        if (journal_ < 0) return {};
        if (path[0] == '/') return inside(path);
        return is_folder(at) ? std::string{path} : std::string{};
    }

    void note(JournalKind kind, const std::string& name, const std::string& other, std::uint64_t offset,
              std::uint64_t length, std::uint64_t size, const std::vector<char>& before) {
        JournalHeader header{};
        header.kind = kind;
        header.name_bytes = static_cast<std::uint32_t>(name.size());
        header.other_bytes = static_cast<std::uint32_t>(other.size());
        header.offset = offset;
        header.length = length;
        header.size = size;
        header.data_bytes = before.size();
        std::string entry{reinterpret_cast<const char*>(&header), sizeof header};
        entry += name;
        entry += other;
        entry.append(before.begin(), before.end());
        static const auto plain_write = real<ssize_t (*)(int, const void*, std::size_t)>("write");
        std::size_t done = 0;
        while (done < entry.size()) {
            const ssize_t count = plain_write(journal_, entry.data() + done, entry.size() - done);
            if (count <= 0) ::abort();  // a journal with a hole would prove nothing
            done += static_cast<std::size_t>(count);
        }
    }

    /// Remembers what [offset, offset + size) holds now.
    void before_write(int descriptor, const std::string& name, std::uint64_t offset, std::size_t size) {
        struct stat status {};
        ::fstat(descriptor, &status);
        std::vector<char> before(size);
        static const auto plain_pread = real<ssize_t (*)(int, void*, std::size_t, off_t)>("pread64");
        const ssize_t count = plain_pread(descriptor, before.data(), size, static_cast<off_t>(offset));
        before.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        // A preallocated log is zeros before it is written: no need to keep them.
        bool zero = true;
        for (const char byte : before) zero = zero && byte == 0;
        if (zero && before.size() == size) {
            note(JournalKind::write_over_zeros, name, {}, offset, size, 0, {});
        } else {
            note(JournalKind::write, name, {}, offset, size, static_cast<std::uint64_t>(status.st_size), before);
        }
    }

    void before_resize(int descriptor, const std::string& name, std::uint64_t wanted) {
        struct stat status {};
        ::fstat(descriptor, &status);
        const auto current = static_cast<std::uint64_t>(status.st_size);
        std::vector<char> tail;
        if (wanted < current) {
            tail.resize(current - wanted);
            static const auto plain_pread = real<ssize_t (*)(int, void*, std::size_t, off_t)>("pread64");
            const ssize_t count = plain_pread(descriptor, tail.data(), tail.size(), static_cast<off_t>(wanted));
            tail.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        }
        note(JournalKind::resize, name, {}, wanted, 0, current, tail);
    }

    /// Counts a sync, and says whether it is the one that has to fail.
    bool sync_must_fail(const std::string& name) {
        append(".syncs", "s");
        if (++syncs_ != failing_sync_) return false;
        append(".failed", name + "\n");
        return true;
    }

    /// The disk is full for a change of a file of `current` bytes that would make it `wanted` bytes large.
    [[nodiscard]] bool full(std::uint64_t current, std::uint64_t wanted) const {
        return !full_path_.empty() && (full_for_all_ || wanted > current) && ::access(full_path_.c_str(), F_OK) == 0;
    }

    /// A second name for a file about to vanish, so that the removal can be taken back.
    std::string keep(int at, const char* path) {
        const std::string kept = journal_path_ + ".kept." + std::to_string(++kept_);
        return ::linkat(at, path, AT_FDCWD, kept.c_str(), 0) == 0 ? kept : std::string{};
    }

private:
    Watch() {
        const char* folder = std::getenv("HUFU_SHIM_DIR");
        const char* journal = std::getenv("HUFU_SHIM_JOURNAL");
        if (folder == nullptr || journal == nullptr) return;
        folder_ = folder;
        journal_path_ = journal;
        static const auto plain_open = real<int (*)(const char*, int, ...)>("open64");
        journal_ = plain_open(journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (journal_ < 0) ::abort();
        if (const char* failing = std::getenv("HUFU_SHIM_FAIL_SYNC")) failing_sync_ = std::strtoull(failing, nullptr, 10);
        if (const char* full = std::getenv("HUFU_SHIM_FULL")) full_path_ = full;
        const char* mode = std::getenv("HUFU_SHIM_FULL_MODE");
        full_for_all_ = mode != nullptr && std::string_view{mode} == "write";
    }

    /// Appends to the file beside the journal.
    void append(const char* ending, const std::string& text) {
        static const auto plain_open = real<int (*)(const char*, int, ...)>("open64");
        static const auto plain_write = real<ssize_t (*)(int, const void*, std::size_t)>("write");
        const int file = plain_open((journal_path_ + ending).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (file < 0 || plain_write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::abort();
        ::close(file);
    }

    std::recursive_mutex mutex_;
    std::string folder_;
    std::string journal_path_;
    int journal_ = -1;
    unsigned kept_ = 0;
    std::uint64_t syncs_ = 0;
    std::uint64_t failing_sync_ = 0;
    std::string full_path_;
    bool full_for_all_ = false;
};

/// Runs `change` after `remember` when the descriptor is watched. One lock around both, so that the journal has the order
/// in which the bytes changed.
template <class Remember, class Change>
auto watched(int descriptor, Remember remember, Change change) {
    Watch& watch = Watch::instance();
    const std::string name = watch.name_of(descriptor);
    if (name.empty()) return change();
    const std::lock_guard lock{watch.mutex()};
    remember(watch, name);
    return change();
}

template <class Sync>
int synced(int descriptor, Sync sync) {
    Watch& watch = Watch::instance();
    const std::string name = watch.name_of(descriptor);
    const bool folder = watch.is_folder(descriptor);
    if (name.empty() && !folder) return sync();
    const std::lock_guard lock{watch.mutex()};
    if (watch.sync_must_fail(name)) {
        if (!folder) watch.note(JournalKind::sync_failed, name, {}, 0, 0, 0, {});
        errno = EIO;
        return -1;
    }
    const int result = sync();
    const int kept_errno = errno;
    if (result == 0) watch.note(folder ? JournalKind::folder_synced : JournalKind::synced, name, {}, 0, 0, 0, {});
    errno = kept_errno;
    return result;
}

std::uint64_t size_of(int descriptor) {
    struct stat status {};
    return ::fstat(descriptor, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

/// Whether a change that would make the file `wanted` bytes large has to be refused for want of space.
bool no_space(int descriptor, std::uint64_t wanted) {
    Watch& watch = Watch::instance();
    return !watch.name_of(descriptor).empty() && watch.full(size_of(descriptor), wanted);
}

ssize_t out_of_space() {
    errno = ENOSPC;
    return -1;
}

std::size_t total_bytes(const iovec* parts, int count) {
    std::size_t total = 0;
    for (int part = 0; part < count; ++part) total += parts[part].iov_len;
    return total;
}

int open_at(int at, const char* path, int flags, mode_t mode) {
    static const auto plain = real<int (*)(int, const char*, int, ...)>("openat64");
    Watch& watch = Watch::instance();
    const std::string name = (flags & O_CREAT) != 0 ? watch.resolve(at, path) : std::string{};
    if (name.empty()) return plain(at, path, flags, mode);
    const std::lock_guard lock{watch.mutex()};
    struct stat status {};
    const bool existed = ::fstatat(at, path, &status, 0) == 0;
    if (!existed) watch.note(JournalKind::create, name, {}, 0, 0, 0, {});
    return plain(at, path, flags, mode);
}

mode_t mode_argument(int flags, va_list arguments) {
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(at, path, flags, mode);
}

int openat64(int at, const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(at, path, flags, mode);
}

ssize_t pwritev(int descriptor, const iovec* parts, int count, off_t offset) {
    static const auto plain = real<ssize_t (*)(int, const iovec*, int, off_t)>("pwritev");
    if (no_space(descriptor, static_cast<std::uint64_t>(offset) + total_bytes(parts, count))) return out_of_space();
    return watched(
        descriptor,
        [&](Watch& watch, const std::string& name) {
            watch.before_write(descriptor, name, static_cast<std::uint64_t>(offset), total_bytes(parts, count));
        },
        [&] { return plain(descriptor, parts, count, offset); });
}

ssize_t pwritev64(int descriptor, const iovec* parts, int count, off64_t offset) {
    return pwritev(descriptor, parts, count, offset);
}

ssize_t pwrite(int descriptor, const void* bytes, std::size_t size, off_t offset) {
    static const auto plain = real<ssize_t (*)(int, const void*, std::size_t, off_t)>("pwrite");
    if (no_space(descriptor, static_cast<std::uint64_t>(offset) + size)) return out_of_space();
    return watched(
        descriptor,
        [&](Watch& watch, const std::string& name) {
            watch.before_write(descriptor, name, static_cast<std::uint64_t>(offset), size);
        },
        [&] { return plain(descriptor, bytes, size, offset); });
}

ssize_t pwrite64(int descriptor, const void* bytes, std::size_t size, off64_t offset) {
    return pwrite(descriptor, bytes, size, offset);
}

ssize_t write(int descriptor, const void* bytes, std::size_t size) {
    static const auto plain = real<ssize_t (*)(int, const void*, std::size_t)>("write");
    return watched(
        descriptor,
        [&](Watch& watch, const std::string& name) {
            watch.before_write(descriptor, name, static_cast<std::uint64_t>(::lseek(descriptor, 0, SEEK_CUR)), size);
        },
        [&] { return plain(descriptor, bytes, size); });
}

int ftruncate(int descriptor, off_t size) noexcept {
    static const auto plain = real<int (*)(int, off_t)>("ftruncate");
    return watched(
        descriptor,
        [&](Watch& watch, const std::string& name) {
            watch.before_resize(descriptor, name, static_cast<std::uint64_t>(size));
        },
        [&] { return plain(descriptor, size); });
}

int ftruncate64(int descriptor, off64_t size) noexcept { return ftruncate(descriptor, size); }

int posix_fallocate(int descriptor, off_t offset, off_t size) {
    static const auto plain = real<int (*)(int, off_t, off_t)>("posix_fallocate");
    if (no_space(descriptor, static_cast<std::uint64_t>(offset + size))) return ENOSPC;
    return watched(
        descriptor,
        [&](Watch& watch, const std::string& name) {
            struct stat status {};
            ::fstat(descriptor, &status);
            const auto wanted =
                std::max(static_cast<std::uint64_t>(offset + size), static_cast<std::uint64_t>(status.st_size));
            watch.before_resize(descriptor, name, wanted);
        },
        [&] { return plain(descriptor, offset, size); });
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t size) { return posix_fallocate(descriptor, offset, size); }

int fsync(int descriptor) {
    static const auto plain = real<int (*)(int)>("fsync");
    return synced(descriptor, [&] { return plain(descriptor); });
}

int fdatasync(int descriptor) {
    static const auto plain = real<int (*)(int)>("fdatasync");
    return synced(descriptor, [&] { return plain(descriptor); });
}

int renameat(int from_at, const char* from, int to_at, const char* to) noexcept {
    static const auto plain = real<int (*)(int, const char*, int, const char*)>("renameat");
    Watch& watch = Watch::instance();
    const std::string source = watch.resolve(from_at, from);
    const std::string target = watch.resolve(to_at, to);
    if (source.empty() || target.empty()) return plain(from_at, from, to_at, to);
    const std::lock_guard lock{watch.mutex()};
    const std::string kept = watch.keep(to_at, to);
    if (!kept.empty()) watch.note(JournalKind::unlink, target, kept, 0, 0, 0, {});
    watch.note(JournalKind::rename, source, target, 0, 0, 0, {});
    return plain(from_at, from, to_at, to);
}

int unlinkat(int at, const char* path, int flags) noexcept {
    static const auto plain = real<int (*)(int, const char*, int)>("unlinkat");
    Watch& watch = Watch::instance();
    const std::string name = watch.resolve(at, path);
    if (name.empty()) return plain(at, path, flags);
    const std::lock_guard lock{watch.mutex()};
    const std::string kept = watch.keep(at, path);
    if (!kept.empty()) watch.note(JournalKind::unlink, name, kept, 0, 0, 0, {});
    return plain(at, path, flags);
}

int unlink(const char* path) noexcept { return unlinkat(AT_FDCWD, path, 0); }
int rename(const char* from, const char* to) noexcept { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

}  // extern "C"
