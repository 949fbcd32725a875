// The file port on plain POSIX system calls (no io_uring, no mmap), so that a preloaded fault shim sees every call.
#include <hufu/core/file.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace hufu {
namespace {

constexpr std::size_t parts_per_call = 1024;    // IOV_MAX on Linux
constexpr std::size_t piece_bytes = 1U << 20U;  // of a preallocation

Error system_error(int number, const std::string& what, const std::string& path) {
    const std::string text = what + " \"" + path + "\": " + std::strerror(number);
    switch (number) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG: return Error{ErrorCode::out_of_space, Disposition::retry, text + "; free space on that file system"};
        case ENOENT: return Error{ErrorCode::not_found, Disposition::reject, text};
        case EEXIST: return Error{ErrorCode::conflict, Disposition::reject, text};
        case EACCES:
        case EPERM:
        case EROFS: return Error{ErrorCode::permission, Disposition::fatal, text + "; check owner and mode"};
        case EMFILE:
        case ENFILE: return Error{ErrorCode::busy, Disposition::retry, text + "; raise the open-file limit"};
        default: return Error{ErrorCode::io, Disposition::fatal, text};
    }
}

class PosixFile final : public File {
public:
    PosixFile(int descriptor, std::string path) : descriptor_{descriptor}, path_{std::move(path)} {}
    ~PosixFile() override { ::close(descriptor_); }
    PosixFile(const PosixFile&) = delete;
    PosixFile& operator=(const PosixFile&) = delete;

    Result<void> write_at(std::uint64_t offset, std::span<const std::span<const std::byte>> parts) override {
        std::array<iovec, parts_per_call> vectors;
        std::size_t next_part = 0;
        std::size_t skip = 0;  // bytes of parts[next_part] already written
        while (next_part < parts.size()) {
            std::size_t used = 0;
            for (std::size_t part = next_part; part < parts.size() && used < vectors.size(); ++part) {
                const auto bytes = part == next_part ? parts[part].subspan(skip) : parts[part];
                vectors[used++] = iovec{const_cast<std::byte*>(bytes.data()), bytes.size()};
            }
            const ssize_t count = ::pwritev(descriptor_, vectors.data(), static_cast<int>(used), static_cast<off_t>(offset));
            if (count < 0) {
                if (errno == EINTR) continue;
                return system_error(errno, "write to", path_);
            }
            offset += static_cast<std::uint64_t>(count);
            auto written = static_cast<std::size_t>(count);
            while (next_part < parts.size() && written >= parts[next_part].size() - skip) {
                written -= parts[next_part].size() - skip;
                skip = 0;
                ++next_part;
            }
            skip += written;
        }
        return {};
    }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
        std::size_t total = 0;
        while (total < into.size()) {
            const ssize_t count =
                ::pread(descriptor_, into.data() + total, into.size() - total, static_cast<off_t>(offset + total));
            if (count < 0) {
                if (errno == EINTR) continue;
                return system_error(errno, "read from", path_);
            }
            if (count == 0) break;
            total += static_cast<std::size_t>(count);
        }
        return total;
    }

    Result<std::size_t> read_durable_at(std::uint64_t offset, std::span<std::byte> into) const override {
        const int failed =
            ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(into.size()), POSIX_FADV_DONTNEED);
        if (failed != 0) return system_error(failed, "drop the cached pages of", path_);
        return read_at(offset, into);
    }

    Result<void> sync_data() override {
        while (::fdatasync(descriptor_) != 0) {
            if (errno != EINTR) return system_error(errno, "fdatasync of", path_);
        }
        return {};
    }

    Result<void> preallocate(std::uint64_t wanted) override {
        const auto current = size();
        if (!current) return current.error();
        if (const int failed = ::posix_fallocate(descriptor_, 0, static_cast<off_t>(wanted)); failed != 0) {
            return system_error(failed, "allocate " + std::to_string(wanted) + " bytes for", path_);
        }
        // Written, not only allocated: an unwritten extent would cost a metadata update at each later sync.
        static constexpr std::array<std::byte, 65536> zeros{};
        std::array<std::span<const std::byte>, piece_bytes / zeros.size()> parts;
        for (std::uint64_t offset = *current; offset < wanted;) {
            std::size_t used = 0;
            std::size_t bytes = 0;
            for (; used < parts.size() && offset + bytes < wanted; ++used) {
                parts[used] = std::span{zeros}.first(std::min<std::uint64_t>(zeros.size(), wanted - offset - bytes));
                bytes += parts[used].size();
            }
            if (auto wrote = write_at(offset, std::span{parts}.first(used)); !wrote) return wrote;
            if (auto left = hand_to_disk(offset, bytes); !left) return left;
            offset += bytes;
        }
        return {};
    }

    Result<void> truncate(std::uint64_t wanted) override {
        while (::ftruncate(descriptor_, static_cast<off_t>(wanted)) != 0) {
            if (errno != EINTR) return system_error(errno, "truncate", path_);
        }
        return {};
    }

    Result<std::uint64_t> size() const override {
        struct stat status {};
        if (::fstat(descriptor_, &status) != 0) return system_error(errno, "stat", path_);
        return static_cast<std::uint64_t>(status.st_size);
    }

    void forget_cached() const noexcept override { ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED); }

private:
    /// Waits until the range has gone to the device, though not until it is durable there.
    Result<void> hand_to_disk(std::uint64_t offset, std::size_t bytes) {
        constexpr unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        while (::sync_file_range(descriptor_, static_cast<off64_t>(offset), static_cast<off64_t>(bytes), all) != 0) {
            if (errno != EINTR) return system_error(errno, "write back", path_);
        }
        return {};
    }

    const int descriptor_;
    const std::string path_;
};

class PosixLock final : public DirectoryLock {
public:
    explicit PosixLock(int descriptor) : descriptor_{descriptor} {}
    ~PosixLock() override { ::close(descriptor_); }
    PosixLock(const PosixLock&) = delete;
    PosixLock& operator=(const PosixLock&) = delete;

private:
    const int descriptor_;
};

class PosixDirectory final : public Directory {
public:
    PosixDirectory(int descriptor, std::string path) : descriptor_{descriptor}, path_{std::move(path)} {}
    ~PosixDirectory() override { ::close(descriptor_); }
    PosixDirectory(const PosixDirectory&) = delete;
    PosixDirectory& operator=(const PosixDirectory&) = delete;

    Result<std::unique_ptr<File>> open(std::string_view name, OpenMode mode) override {
        const std::string file{name};
        int flags = O_CLOEXEC;
        switch (mode) {
            case OpenMode::read_only: flags |= O_RDONLY; break;
            case OpenMode::read_write: flags |= O_RDWR; break;
            case OpenMode::create_new: flags |= O_RDWR | O_CREAT | O_EXCL; break;
        }
        const int opened = ::openat(descriptor_, file.c_str(), flags, 0640);
        if (opened < 0) return system_error(errno, "open", path_ + "/" + file);
        return std::unique_ptr<File>{std::make_unique<PosixFile>(opened, path_ + "/" + file)};
    }

    Result<void> rename(std::string_view from, std::string_view to) override {
        const std::string source{from};
        const std::string target{to};
        if (::renameat(descriptor_, source.c_str(), descriptor_, target.c_str()) != 0) {
            return system_error(errno, "rename to " + target + " the file", path_ + "/" + source);
        }
        return {};
    }

    Result<void> remove(std::string_view name) override {
        const std::string file{name};
        if (::unlinkat(descriptor_, file.c_str(), 0) != 0) return system_error(errno, "remove", path_ + "/" + file);
        return {};
    }

    Result<std::vector<std::string>> list() const override {
        const int again = ::openat(descriptor_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (again < 0) return system_error(errno, "open", path_);
        DIR* stream = ::fdopendir(again);
        if (stream == nullptr) {
            const int number = errno;
            ::close(again);
            return system_error(number, "list", path_);
        }
        std::vector<std::string> names;
        while (const dirent* entry = ::readdir(stream)) {
            struct stat status {};
            if (::fstatat(descriptor_, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode)) {
                names.emplace_back(entry->d_name);
            }
        }
        ::closedir(stream);
        std::sort(names.begin(), names.end());
        return names;
    }

    Result<void> sync() override {
        while (::fsync(descriptor_) != 0) {
            if (errno != EINTR) return system_error(errno, "fsync of folder", path_);
        }
        return {};
    }

    Result<std::unique_ptr<DirectoryLock>> lock() override {
        const int opened = ::openat(descriptor_, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
        if (opened < 0) return system_error(errno, "open", path_ + "/lock");
        if (::flock(opened, LOCK_EX | LOCK_NB) != 0) {
            const int number = errno;
            ::close(opened);
            if (number != EWOULDBLOCK) return system_error(number, "lock", path_ + "/lock");
            return Error{ErrorCode::busy, Disposition::fatal,
                         "folder \"" + path_ + "\" is in use by another process (lock file \"" + path_ +
                             "/lock\"): stop that process or use another folder"};
        }
        return std::unique_ptr<DirectoryLock>{std::make_unique<PosixLock>(opened)};
    }

    std::string path() const override { return path_; }

private:
    const int descriptor_;
    const std::string path_;
};

Result<void> make_folders(const std::string& path) {
    for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
        const std::string part = path.substr(0, slash);
        if (!part.empty() && ::mkdir(part.c_str(), 0750) != 0 && errno != EEXIST) {
            return system_error(errno, "create folder", part);
        }
        if (slash == std::string::npos) return {};
    }
}

}  // namespace

Result<std::unique_ptr<Directory>> open_directory(const std::string& path) {
    if (auto made = make_folders(path); !made) return made.error();
    const int opened = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) return system_error(errno, "open folder", path);
    return std::unique_ptr<Directory>{std::make_unique<PosixDirectory>(opened, path)};
}

}  // namespace hufu
