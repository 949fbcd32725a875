// The journal between the preloaded shim and the program that takes writes back.
#pragma once

#include <cstdint>

namespace hufu::fault {

enum class JournalKind : std::uint32_t {
    write,             ///< data: the bytes that were there (short: the file ended there); size: the file's size before
    write_over_zeros,  ///< zeros were there
    resize,            ///< offset: new size; size: old size; data: the bytes cut off
    create,            ///< a new name
    rename,            ///< name to other
    unlink,            ///< other: path of the second name under which the file is kept
    sync_failed,       ///< what was not synced before is lost, whatever later syncs report
    synced,            ///< everything before it on this file is durable
    folder_synced,     ///< every create, rename and unlink before it is durable
};

/// Followed by the name, the other name, and the data.
struct JournalHeader {
    JournalKind kind;
    std::uint32_t name_bytes;
    std::uint32_t other_bytes;
    std::uint32_t reserved;
    std::uint64_t offset;
    std::uint64_t length;  ///< bytes written
    std::uint64_t size;
    std::uint64_t data_bytes;
};

}  // namespace hufu::fault
