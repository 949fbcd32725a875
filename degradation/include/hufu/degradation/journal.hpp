// The last rung: messages on the local disk, synced before they are accepted.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/file.hpp>
#include <hufu/degradation/buffer.hpp>

namespace hufu::degradation {

/// Bounds of a journal. When one is reached further messages are refused; nothing that was accepted is touched.
struct JournalOptions {
    std::uint64_t segment_bytes = std::uint64_t{64} << 20U;  ///< a file goes when nothing in it is left
    std::uint64_t disk_bytes_max = std::uint64_t{8} << 30U;  ///< of all files together
    std::uint64_t entries_max = 10'000'000;
    std::chrono::milliseconds age_max{0};  ///< of the oldest entry; 0: any
    /// Messages that wait for the disk. Beyond it `busy` is the answer.
    std::size_t queued_bytes_max = std::size_t{64} << 20U;
    /// Kept aside, so that a full disk can still note what was replayed (which then frees it).
    std::uint64_t reserve_bytes = std::uint64_t{1} << 20U;
    /// Opens a journal with damaged places: what stands there is given up and counted, instead of an error that names it.
    bool give_up_damaged = false;
};

/// Refuses options that make no sense; names option, value and rule.
[[nodiscard]] Result<void> validate(const JournalOptions& options);

/// A `Buffer` in one folder of the local file system. One process at a time has it: it holds the folder's lock.
///
/// Durability: spilled means that fdatasync returned; many callers share one. Every record carries a CRC-32C. A write that
/// a crash tore is cut off at the next opening; damage further up is an error, not served. After a failed sync the file
/// takes nothing more, its callers are refused, and writing goes on in a new one.
/// Order: of a key, in call order. The barrier of a key is this process's; it is restored from the files at opening.
/// Lifetime: folder and clock are borrowed for its life.
/// Memory: grows with the number of keys that are barred and with gaps, not with entries.
class Journal final : public Buffer {
public:
    /// `busy`/fatal: another process has the folder. `corrupt`/fatal: a place that had been synced cannot be read; the text
    /// names it. Throws `Exception` (`invalid_argument`) when `validate(options)` refuses.
    static Result<std::unique_ptr<Journal>> open(std::unique_ptr<Directory> folder, JournalOptions options,
                                                 Clock& clock = system_clock());
    ~Journal() override;

    [[nodiscard]] std::string describe() const override;
    [[nodiscard]] Result<LossStatement> inspect() override;
    void spill(std::span<const Message> messages, SpillWhen when, std::span<SpillOutcome> outcomes, Done done) override;
    void epoch(OnEpoch on_epoch) override;
    [[nodiscard]] Result<BufferSize> size() override;
    [[nodiscard]] Result<std::vector<bool>> holds(std::span<const ConsumerKey> keys) override;
    [[nodiscard]] Result<void> browse(Shelf shelf, const std::function<bool(const Entry&)>& see) override;
    [[nodiscard]] Result<std::uint64_t> unpark() override;
    [[nodiscard]] std::unique_ptr<BufferReader> reader(std::string name) override;

    /// Entries that opening gave up (`give_up_damaged`).
    [[nodiscard]] std::uint64_t given_up() const noexcept;

    struct Impl;

private:
    explicit Journal(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::degradation
