// Disk as a port, small enough that a test can make every call lie, tear or fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>

namespace hufu {

/// An open file. Calls on different files may run in parallel; calls on one file are the caller's to order, except that
/// `read_at` may run beside anything.
class File {
public:
    virtual ~File() = default;
    /// Writes all `parts`, one after another, from `offset` (one gathered system call where possible; short writes and
    /// EINTR are finished inside). An error leaves any part of the range written. Not durable until `sync_data`.
    virtual Result<void> write_at(std::uint64_t offset, std::span<const std::span<const std::byte>> parts) = 0;
    /// Reads up to `into.size()` bytes from `offset`; fewer only at the end of the file. Returns the count.
    virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const = 0;
    /// As `read_at`, after dropping what the page cache holds of the range: sees what the disk has.
    virtual Result<std::size_t> read_durable_at(std::uint64_t offset, std::span<std::byte> into) const = 0;
    /// fdatasync. After one failure the cached pages can no longer be trusted: the caller must not simply call again.
    virtual Result<void> sync_data() = 0;
    /// Makes the file `size` bytes long with its blocks allocated and written (zeros), so that later syncs touch no metadata.
    /// Goes to the disk in small pieces: a sync of another file waits behind what the disk was given before it. Not durable
    /// until `sync_data`.
    virtual Result<void> preallocate(std::uint64_t size) = 0;
    virtual Result<void> truncate(std::uint64_t size) = 0;
    [[nodiscard]] virtual Result<std::uint64_t> size() const = 0;
    /// Gives back the memory in which the system caches the file, where it equals the disk. Later reads go to the disk.
    virtual void forget_cached() const noexcept = 0;
};

/// How `Directory::open` treats an existing or missing file.
enum class OpenMode : std::uint8_t { read_only, read_write, create_new };

/// Held while alive; released when destroyed or when the process dies.
class DirectoryLock {
public:
    virtual ~DirectoryLock() = default;
};

/// One folder. Names are plain file names (no '/').
class Directory {
public:
    virtual ~Directory() = default;
    virtual Result<std::unique_ptr<File>> open(std::string_view name, OpenMode mode) = 0;
    virtual Result<void> rename(std::string_view from, std::string_view to) = 0;
    virtual Result<void> remove(std::string_view name) = 0;
    /// Names of the plain files, sorted.
    virtual Result<std::vector<std::string>> list() const = 0;
    /// Makes creations, renames and removals durable (fsync of the folder).
    virtual Result<void> sync() = 0;
    /// Takes the exclusive lock on the folder; `busy` when another process (or object) holds it.
    virtual Result<std::unique_ptr<DirectoryLock>> lock() = 0;
    /// The path, for messages to people.
    [[nodiscard]] virtual std::string path() const = 0;
};

/// Opens (creating it where missing) a folder of the real file system with plain system calls.
[[nodiscard]] Result<std::unique_ptr<Directory>> open_directory(const std::string& path);

}  // namespace hufu
