#include "log/keys.hpp"

#include <algorithm>

#include "log/crc32c.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t entries_of_page = std::tuple_size_v<decltype(KeyPage::entries)>;
constexpr std::size_t unsorted_max = 16'384;  ///< so many are looked through one by one before the rest is put in order

std::uint32_t header_crc(const KeyHeader& header, std::span<const std::uint32_t> marks) {
    const auto all = std::as_bytes(std::span{&header, 1});
    return crc32c(crc32c(0, all.subspan(offsetof(KeyHeader, version))), std::as_bytes(marks));
}

std::uint32_t page_crc(std::uint64_t number, const KeyPage& page) {
    const auto all = std::as_bytes(std::span{&page, 1});
    return crc32c(crc32c(0, std::as_bytes(std::span{&number, 1})), all.subspan(offsetof(KeyPage, count)));
}

std::uint64_t pages_of(std::uint64_t entries) noexcept { return (entries + entries_of_page - 1) / entries_of_page; }
std::uint64_t pages_at(std::uint64_t marks) noexcept {
    return round_up(sizeof(KeyHeader) + marks * sizeof(std::uint32_t), key_page_bytes);
}

/// Store times never go down along the log, so the entries of one key are in the order of time as well.
bool up_to(const KeyEntry& entry, std::uint64_t key, std::uint32_t to_s) noexcept {
    return entry.key != key ? entry.key < key : entry.stored_s <= to_s;
}

Result<void> write_file(File& file, const SegmentSpan& segment, const SegmentKeys& keys) {
    KeyHeader header;
    header.base = segment.base;
    header.end = segment.end;
    header.marks = static_cast<std::uint32_t>(keys.marks.size());
    header.entries = keys.entries.size();
    header.crc = header_crc(header, keys.marks);
    const std::array<std::span<const std::byte>, 2> head{std::as_bytes(std::span{&header, 1}),
                                                         std::as_bytes(std::span{keys.marks})};
    if (auto wrote = file.write_at(0, head); !wrote) return wrote;
    constexpr std::uint64_t pages_at_once = 64;
    std::vector<KeyPage> pages;
    for (std::uint64_t number = 0; number < pages_of(keys.entries.size());) {
        const auto first = number;
        pages.clear();
        for (; number < pages_of(keys.entries.size()) && pages.size() < pages_at_once; ++number) {
            auto& page = pages.emplace_back();
            const auto from = number * entries_of_page;
            page.count = static_cast<std::uint32_t>(std::min<std::uint64_t>(entries_of_page, keys.entries.size() - from));
            std::copy_n(keys.entries.begin() + static_cast<std::ptrdiff_t>(from), page.count, page.entries.begin());
            page.crc = page_crc(number, page);
        }
        const auto part = std::as_bytes(std::span{std::as_const(pages)});
        if (auto wrote = file.write_at(pages_at(header.marks) + first * key_page_bytes, {&part, 1}); !wrote) return wrote;
    }
    return file.sync_data();
}

}  // namespace

void SegmentKeys::add_mark(std::uint64_t position) {
    if (marks.empty() ? position > 0 : position < marks.back() + mark_distance) return;
    marks.push_back(static_cast<std::uint32_t>(position));
}

void SegmentKeys::cut(std::uint64_t position) {
    std::erase_if(entries, [position](const KeyEntry& entry) { return entry.position >= position; });
    std::sort(entries.begin(), entries.end());
    sorted = entries.size();
    std::erase_if(marks, [position](std::uint32_t mark) { return mark >= position; });
}

void SegmentKeys::settle() {
    if (entries.size() - sorted <= unsorted_max) return;
    const auto middle = entries.begin() + static_cast<std::ptrdiff_t>(sorted);
    std::sort(middle, entries.end());
    std::inplace_merge(entries.begin(), middle, entries.end());
    sorted = entries.size();
}

void SegmentKeys::find(std::uint64_t key, std::uint32_t from_s, std::uint32_t to_s, std::uint64_t end, std::size_t count_max,
                       std::vector<std::uint32_t>& into) const {
    std::size_t count = 0;
    for (auto at = entries.size(); at > sorted && count < count_max; --at) {
        const auto& entry = entries[at - 1];
        if (entry.key != key || entry.stored_s > to_s || entry.stored_s < from_s || entry.position >= end) continue;
        into.push_back(entry.position);
        ++count;
    }
    const auto begin = entries.begin();
    auto at = std::partition_point(begin, begin + static_cast<std::ptrdiff_t>(sorted),
                                   [&](const KeyEntry& entry) { return up_to(entry, key, to_s); });
    for (; at != begin && (at - 1)->key == key && (at - 1)->stored_s >= from_s && count < count_max; --at) {
        if ((at - 1)->position >= end) continue;
        into.push_back((at - 1)->position);
        ++count;
    }
}

std::uint32_t mark_below(std::span<const std::uint32_t> marks, std::uint64_t position) noexcept {
    const auto after = std::upper_bound(marks.begin(), marks.end(), position);
    return after == marks.begin() ? 0 : *(after - 1);
}

Result<void> write_keys(Directory& directory, const SegmentSpan& segment, SegmentKeys keys) {
    std::sort(keys.entries.begin(), keys.entries.end());
    const auto name = keys_name(segment.base);
    const auto temporary = name + ".tmp";
    auto file = directory.open(temporary, OpenMode::create_new);
    if (!file && file.error().code() == ErrorCode::conflict) {
        if (auto removed = directory.remove(temporary); !removed) return removed;
        file = directory.open(temporary, OpenMode::create_new);
    }
    if (!file) return file.error();
    if (auto wrote = write_file(**file, segment, keys); !wrote) {
        static_cast<void>(directory.remove(temporary));  // what matters is the first error
        return wrote;
    }
    if (auto renamed = directory.rename(temporary, name); !renamed) return renamed;
    return directory.sync();
}

KeyFile::KeyFile(std::unique_ptr<File> file, const KeyHeader& header, std::vector<std::uint32_t> marks)
    : file_{std::move(file)}, header_{header}, marks_{std::move(marks)}, pages_{pages_of(header.entries)} {}

Result<std::unique_ptr<KeyFile>> KeyFile::open(Directory& directory, const SegmentSpan& segment) {
    const auto name = keys_name(segment.base);
    auto file = directory.open(name, OpenMode::read_only);
    if (!file) return file.error();
    KeyHeader header;
    auto count = (*file)->read_at(0, std::as_writable_bytes(std::span{&header, 1}));
    if (!count) return count.error();
    constexpr std::uint64_t positions_max = 1ULL << 32U;
    if (*count != sizeof header || header.magic != keys_magic || !is_readable_version(header.version) ||
        header.base != segment.base || header.end != segment.end || header.marks > positions_max / mark_distance + 1 ||
        header.entries > positions_max)
        return corrupt_error("key index \"" + name +
                             "\" has a header that does not fit its segment; it is rebuilt from the log");
    std::vector<std::uint32_t> marks(header.marks);
    const auto into = std::as_writable_bytes(std::span{marks});
    count = (*file)->read_at(sizeof header, into);
    if (!count) return count.error();
    if (*count != into.size() || header.crc != header_crc(header, marks))
        return corrupt_error("key index \"" + name + "\" does not match its checksum; it is rebuilt from the log");
    return std::unique_ptr<KeyFile>{new KeyFile{std::move(*file), header, std::move(marks)}};
}

Result<void> KeyFile::load(std::uint64_t number) {
    if (loaded_ == number) return {};
    loaded_ = ~0ULL;
    auto count =
        file_->read_at(pages_at(header_.marks) + number * key_page_bytes, std::as_writable_bytes(std::span{&page_, 1}));
    if (!count) return count.error();
    if (*count != sizeof page_ || page_.count == 0 || page_.count > entries_of_page || page_.crc != page_crc(number, page_))
        return corrupt_error("page " + std::to_string(number) + " of key index \"" + keys_name(header_.base) +
                             "\" does not match its checksum; it is rebuilt from the log");
    loaded_ = number;
    return {};
}

/// How many pages begin at or below `key` stored at `to_s`.
Result<std::uint64_t> KeyFile::pages_up_to(std::uint64_t key, std::uint32_t to_s) {
    std::uint64_t low = 0;
    std::uint64_t high = pages_;
    // Keys are spread evenly, so the first look is where the key should be and the second a little beside it.
    auto probe = static_cast<std::uint64_t>(static_cast<double>(key) / 0x1p64 * static_cast<double>(pages_));
    for (int looks = 0; low < high; ++looks) {
        if (looks > 1 || probe < low || probe >= high) probe = low + (high - low) / 2;
        if (auto loaded = load(probe); !loaded) return loaded.error();
        if (up_to(page_.entries[0], key, to_s)) {
            low = probe + 1;
            probe += 2;
        } else {
            high = probe;
            probe -= std::min<std::uint64_t>(probe, 2);
        }
    }
    return low;
}

Result<void> KeyFile::find(std::uint64_t key, std::uint32_t from_s, std::uint32_t to_s, std::size_t count_max,
                           std::vector<std::uint32_t>& into) {
    const auto before = into.size();
    auto page = pages_up_to(key, to_s);
    if (!page) return page.error();
    for (auto left = *page; left > 0; --left) {
        if (auto loaded = load(left - 1); !loaded) {
            into.resize(before);
            return loaded;
        }
        const auto begin = page_.entries.begin();
        auto at =
            std::partition_point(begin, begin + page_.count, [&](const KeyEntry& entry) { return up_to(entry, key, to_s); });
        for (; at != begin && (at - 1)->key == key && (at - 1)->stored_s >= from_s; --at) {
            if (into.size() - before >= count_max) return {};
            into.push_back((at - 1)->position);
        }
        if (at != begin) break;  // another key stands before, or an older record
    }
    return {};
}

Result<void> KeyFile::verify() {
    for (std::uint64_t number = 0; number < pages_; ++number)
        if (auto loaded = load(number); !loaded) return loaded;
    return {};
}

}  // namespace hufu::broker
