#include "log/index.hpp"

#include <array>
#include <cstring>

#include "log/crc32c.hpp"

namespace hufu::broker {
namespace {

std::uint64_t header_bytes(const IndexHeader& header) noexcept {
    return header.version == 1 ? index_header_bytes_1 : sizeof header;
}

std::uint32_t directory_crc(const IndexHeader& header, std::span<const IndexRun> runs) {
    const auto all = std::as_bytes(std::span{&header, 1}).first(header_bytes(header));
    return crc32c(crc32c(0, all.subspan(offsetof(IndexHeader, version))), std::as_bytes(runs));
}

Result<void> write_file(File& file, const SealedIndex& index) {
    IndexHeader header;
    header.base = index.base;
    header.end = index.end;
    header.newest_ms = index.newest_ms;
    header.oldest_target = index.oldest_target;
    header.runs = static_cast<std::uint32_t>(index.queues.size());
    std::vector<IndexRun> runs;
    runs.reserve(index.queues.size());
    std::uint64_t position = sizeof header + index.queues.size() * sizeof(IndexRun);
    for (const auto& queue : index.queues) {
        runs.push_back({queue.queue, static_cast<std::uint32_t>(queue.entries.size()), queue.first, position});
        position += queue.entries.size() * sizeof(IndexEntry);
        header.entries += queue.entries.size();
    }
    header.crc = directory_crc(header, runs);
    const std::array<std::span<const std::byte>, 2> head{std::as_bytes(std::span{&header, 1}),
                                                         std::as_bytes(std::span{runs})};
    if (auto wrote = file.write_at(0, head); !wrote) return wrote;

    position = sizeof header + runs.size() * sizeof(IndexRun);
    std::vector<IndexEntry> block;
    for (const auto& queue : index.queues) {
        for (std::size_t at = 0; at < queue.entries.size();) {
            const auto count = std::min<std::size_t>(4096, queue.entries.size() - at);
            block.assign(queue.entries.begin() + static_cast<std::ptrdiff_t>(at),
                         queue.entries.begin() + static_cast<std::ptrdiff_t>(at + count));
            for (auto& entry : block) entry.check = entry_check(entry);
            const auto part = std::as_bytes(std::span{std::as_const(block)});
            if (auto wrote = file.write_at(position, {&part, 1}); !wrote) return wrote;
            position += part.size();
            at += count;
        }
    }
    return file.sync_data();
}

}  // namespace

Result<void> write_index(Directory& directory, const SealedIndex& index) {
    const auto name = index_name(index.base);
    const auto temporary = name + ".tmp";
    auto file = directory.open(temporary, OpenMode::create_new);
    if (!file && file.error().code() == ErrorCode::conflict) {
        if (auto removed = directory.remove(temporary); !removed) return removed;
        file = directory.open(temporary, OpenMode::create_new);
    }
    if (!file) return file.error();
    if (auto wrote = write_file(**file, index); !wrote) {
        static_cast<void>(directory.remove(temporary));  // what matters is the first error
        return wrote;
    }
    if (auto renamed = directory.rename(temporary, name); !renamed) return renamed;
    return directory.sync();
}

Result<IndexDirectory> read_index_directory(const File& file, std::uint64_t base, std::uint64_t end) {
    IndexDirectory directory;
    const auto name = index_name(base);
    auto count = file.read_at(0, std::as_writable_bytes(std::span{&directory.header, 1}));
    if (!count) return count.error();
    auto& header = directory.header;
    if (*count < index_header_bytes_1 || header.magic != index_magic || !is_readable_version(header.version) ||
        *count < header_bytes(header) || header.base != base || header.end != end || header.runs > (1U << 24U)) {
        return corrupt_error("index \"" + name +
                             "\" has a header that does not fit its segment; it is rebuilt from the log");
    }
    directory.runs.resize(header.runs);
    const auto runs = std::as_writable_bytes(std::span{directory.runs});
    count = file.read_at(header_bytes(header), runs);
    if (!count) return count.error();
    if (header.version == 1) header.oldest_target = no_target;
    if (*count != runs.size() || header.crc != directory_crc(header, directory.runs)) {
        return corrupt_error("index \"" + name + "\" does not match its checksum; it is rebuilt from the log");
    }
    return directory;
}

Result<void> read_index_entries(const File& file, std::uint64_t position, std::span<IndexEntry> into) {
    const auto bytes = std::as_writable_bytes(into);
    auto count = file.read_at(position, bytes);
    if (!count) return count.error();
    if (*count != bytes.size()) return corrupt_error("an index file is too short; it is rebuilt from the log");
    for (const auto& entry : into) {
        if (entry.check != entry_check(entry)) return corrupt_error("an index entry does not match its checksum");
    }
    return {};
}

}  // namespace hufu::broker
