// The log's background work. Each piece owns or shares all it touches.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <hufu/broker/log.hpp>

#include "log/index.hpp"
#include "log/keys.hpp"

namespace hufu::broker {

/// Makes a segment file: allocated, written with zeros, synced, its name durable. Before, files named in `forgotten` give
/// their cached pages back: the new file then takes warm ones, and the log does not push everything else out of memory.
class PrepareChore final : public LogChore {
public:
    PrepareChore(Directory& directory, std::uint64_t base, std::uint64_t capacity, std::vector<std::string> forgotten = {})
        : directory_{directory}, base_{base}, capacity_{capacity}, forgotten_{std::move(forgotten)} {}
    void run() override;

    [[nodiscard]] std::uint64_t base() const noexcept { return base_; }
    [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
    Result<std::shared_ptr<File>> result = std::shared_ptr<File>{};

private:
    Result<std::shared_ptr<File>> prepare();
    Directory& directory_;
    std::uint64_t base_;
    std::uint64_t capacity_;
    std::vector<std::string> forgotten_;
};

/// Writes the index file of a sealed segment.
class IndexChore final : public LogChore {
public:
    IndexChore(Directory& directory, std::shared_ptr<const SealedIndex> index)
        : directory_{directory}, index_{std::move(index)} {}
    void run() override { result = write_index(directory_, *index_); }

    [[nodiscard]] std::uint64_t base() const noexcept { return index_->base; }
    Result<void> result;

private:
    Directory& directory_;
    std::shared_ptr<const SealedIndex> index_;
};

/// Writes the keys file of a sealed segment, from memory or, without `keys`, from the segment itself.
class KeysChore final : public LogChore {
public:
    KeysChore(Directory& directory, const SegmentSpan& segment, std::shared_ptr<const SegmentKeys> keys,
              const KeyExtractor& keys_of)
        : directory_{directory}, segment_{segment}, keys_{std::move(keys)}, keys_of_{keys_of} {}
    void run() override;

    [[nodiscard]] std::uint64_t base() const noexcept { return segment_.base; }
    Result<void> result;

private:
    Result<SegmentKeys> rebuild();
    Directory& directory_;
    SegmentSpan segment_;
    std::shared_ptr<const SegmentKeys> keys_;
    const KeyExtractor& keys_of_;
};

/// After a failed write or sync: checks on the disk, not in the page cache, that what was called durable is there.
class ReadBackChore final : public LogChore {
public:
    ReadBackChore(std::shared_ptr<File> file, std::uint64_t base, std::uint64_t end)
        : file_{std::move(file)}, base_{base}, end_{end} {}
    void run() override;

    Result<void> result;
    std::vector<Damage> damages;

private:
    std::shared_ptr<File> file_;
    std::uint64_t base_;
    std::uint64_t end_;
};

/// Removes files.
class RemoveChore final : public LogChore {
public:
    RemoveChore(Directory& directory, std::vector<std::string> names_to_remove)
        : names{std::move(names_to_remove)}, directory_{directory} {}
    void run() override;

    std::vector<std::string> names;
    Result<void> result;

private:
    Directory& directory_;
};

}  // namespace hufu::broker
