// By which keys the records of a segment are found, and where its groups begin.
//
// "<20 digits>.keys", derived: KeyHeader | marks (u32 each) | zeros to the next page | KeyPage ..., sorted by key, then position.
// Keys are hashes, so a page is guessed from the key's value; each page carries its own checksum.
#pragma once

#include <array>
#include <memory>

#include <hufu/core/file.hpp>

#include "log/format.hpp"

namespace hufu::broker {

inline constexpr std::uint32_t keys_magic = 0x594B4648U;  // "HFKY"
inline constexpr std::uint64_t key_page_bytes = 4096;
/// At least so many bytes of the log between two marks.
inline constexpr std::uint64_t mark_distance = 64U << 10U;

struct KeyEntry {
    std::uint64_t key = 0;
    std::uint32_t position = 0;  ///< of the record, from the segment's first byte
    std::uint32_t stored_s = 0;  ///< seconds since 1970 UTC, rounded down
    friend bool operator<(const KeyEntry& left, const KeyEntry& right) noexcept {
        return left.key != right.key ? left.key < right.key : left.position < right.position;
    }
};
static_assert(sizeof(KeyEntry) == 16);

struct KeyHeader {
    std::uint32_t magic = keys_magic;
    std::uint32_t crc = 0;  ///< CRC-32C of the header from `version` on, then of the marks
    std::uint32_t version = format_version;
    std::uint32_t marks = 0;
    std::uint64_t base = 0;
    std::uint64_t end = 0;
    std::uint64_t entries = 0;
    std::uint64_t reserved = 0;
};
static_assert(sizeof(KeyHeader) == 48);

struct KeyPage {
    std::uint32_t crc = 0;  ///< CRC-32C of the rest, after the page's number
    std::uint32_t count = 0;
    std::uint64_t reserved = 0;
    std::array<KeyEntry, (key_page_bytes - 16) / sizeof(KeyEntry)> entries;
};
static_assert(sizeof(KeyPage) == key_page_bytes);

/// The keys and marks of one segment in memory: while it is written, and until its file is.
struct SegmentKeys {
    std::vector<KeyEntry> entries;
    std::size_t sorted = 0;            ///< so many of `entries` are in order; the rest came later
    std::vector<std::uint32_t> marks;  ///< positions of some of the groups, ascending

    void add_mark(std::uint64_t position);
    /// Forgets all that stands at `position` or behind it.
    void cut(std::uint64_t position);
    /// Puts the entries in order when too many are not. For the owner, while nobody else reads.
    void settle();
    /// Positions below `end` of the entries of `key` stored in [from_s, to_s], newest first, up to `count_max`, appended
    /// to `into`.
    void find(std::uint64_t key, std::uint32_t from_s, std::uint32_t to_s, std::uint64_t end, std::size_t count_max,
              std::vector<std::uint32_t>& into) const;
};

/// Where a group begins from which one can walk to `position`.
[[nodiscard]] std::uint32_t mark_below(std::span<const std::uint32_t> marks, std::uint64_t position) noexcept;

/// Sorts the entries and writes them under a temporary name, syncs the file and gives it its name.
Result<void> write_keys(Directory& directory, const SegmentSpan& segment, SegmentKeys keys);

/// The keys file of a sealed segment.
class KeyFile {
public:
    /// `corrupt` when header and marks do not verify or are of another segment.
    static Result<std::unique_ptr<KeyFile>> open(Directory& directory, const SegmentSpan& segment);

    [[nodiscard]] std::span<const std::uint32_t> marks() const noexcept { return marks_; }
    /// As `SegmentKeys::find`, to the segment's end. `corrupt` when a page does not verify; `into` is then as it was.
    Result<void> find(std::uint64_t key, std::uint32_t from_s, std::uint32_t to_s, std::size_t count_max,
                      std::vector<std::uint32_t>& into);
    /// Reads everything; `corrupt` when something does not verify.
    Result<void> verify();

private:
    KeyFile(std::unique_ptr<File> file, const KeyHeader& header, std::vector<std::uint32_t> marks);
    Result<void> load(std::uint64_t page);
    Result<std::uint64_t> pages_up_to(std::uint64_t key, std::uint32_t to_s);

    std::unique_ptr<File> file_;
    KeyHeader header_;
    std::vector<std::uint32_t> marks_;
    std::uint64_t pages_;
    std::uint64_t loaded_ = ~0ULL;  ///< which page stands in `page_`
    KeyPage page_;
};

}  // namespace hufu::broker
