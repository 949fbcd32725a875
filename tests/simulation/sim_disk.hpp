// A folder whose disk can lose, tear, reorder, refuse and fail.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/file.hpp>
#include <hufu/core/random.hpp>

namespace hufu::simulation {

enum class DiskCall : std::uint8_t { write, read, sync, preallocate, open, rename, remove, sync_directory };

/// Chances per million of each call failing with an I/O error, on top of `fail_nth`.
struct DiskFaults {
    std::uint32_t write = 0;
    std::uint32_t read = 0;
    std::uint32_t sync = 0;
    std::uint32_t sync_directory = 0;
};

/// Two images of one folder: what programs see (page cache) and what the platters hold, in sectors of 512 bytes.
///
/// Writing changes the first; syncing a file or the folder copies to the second; `crash` keeps the second plus an
/// arbitrary subset of the unsynced sectors, sizes and name changes. A sync that fails has written an arbitrary subset of
/// the sectors and marks all clean (as Linux does): the cache still shows them, a later sync succeeds without them, and
/// only `read_durable_at` sees the truth. A write that fails has written a part.
/// Not thread-safe. Borrows `random` for its life. Files opened before a crash fail every call after it.
class SimDisk {
public:
    static constexpr std::uint64_t sector = 512;

    explicit SimDisk(Random& random);
    ~SimDisk();
    SimDisk(const SimDisk&) = delete;
    SimDisk& operator=(const SimDisk&) = delete;

    /// The folder. The same object before and after crashes.
    [[nodiscard]] Directory& directory() noexcept;

    /// Power loss: locks are free, open files dead, unsynced changes kept or lost one by one, by chance.
    void crash();
    /// The process dies, the machine does not: the cache stays, open files are dead, locks are free.
    void kill();

    void set_faults(const DiskFaults& faults) noexcept { faults_ = faults; }
    /// The n-th call (1: the next one) of this kind fails once with `code` (`io` or `out_of_space`).
    void fail_nth(DiskCall call, std::uint64_t n, ErrorCode code = ErrorCode::io);
    /// Every call of this kind fails until `heal`.
    void fail_always(DiskCall call, ErrorCode code = ErrorCode::io);
    void heal();
    /// Bytes that files may still grow by; unlimited at the start.
    void set_free_bytes(std::uint64_t bytes) noexcept { free_bytes_ = bytes; }
    [[nodiscard]] std::uint64_t free_bytes() const noexcept { return free_bytes_; }

    [[nodiscard]] std::uint64_t calls(DiskCall call) const;
    /// Inverts the bits of `mask` of one byte in both images.
    void damage(std::string_view name, std::uint64_t offset, std::uint8_t mask = 0xFF);
    /// Cuts both images.
    void cut(std::string_view name, std::uint64_t size);
    [[nodiscard]] std::vector<std::string> names() const;
    [[nodiscard]] std::uint64_t size_of(std::string_view name) const;

private:
    friend class SimFile;
    friend class SimDirectory;
    friend class SimLock;
    struct Inode;
    struct NameChange;
    class DirectoryImpl;

    Result<void> charge(DiskCall call, std::string_view what);
    void lose(Inode& inode);

    Random& random_;
    DiskFaults faults_;
    std::uint64_t free_bytes_ = ~0ULL;
    std::uint64_t generation_ = 0;
    bool locked_ = false;
    std::map<DiskCall, std::uint64_t> calls_;
    std::map<DiskCall, std::map<std::uint64_t, ErrorCode>> nth_;
    std::map<DiskCall, ErrorCode> always_;
    std::map<std::string, std::shared_ptr<Inode>, std::less<>> names_;          // as programs see them
    std::map<std::string, std::shared_ptr<Inode>, std::less<>> durable_names_;  // as the platters hold them
    std::vector<NameChange> changes_;
    std::unique_ptr<DirectoryImpl> directory_;
};

}  // namespace hufu::simulation
