// Restores a folder to what a power cut would have left of it.
#pragma once

#include <cstdint>
#include <string>

#include <hufu/core/random.hpp>

namespace hufu::fault {

struct PageLoss {
    std::uint64_t entries = 0;     ///< changes in the journal
    std::uint64_t taken_back = 0;  ///< of these, undone
};

/// How much of the unsynced content is lost.
enum class LossMode : std::uint8_t {
    everything,  ///< every write since the file's last sync
    some_pages,  ///< each 4 KiB page is kept or lost by chance: torn and reordered persistence
};

/// Undoes, newest first, what the journal at `journal` says was not synced in `folder`; then deletes the journal.
/// The process that wrote it must be dead. Throws std::runtime_error when the journal or folder cannot be used.
PageLoss lose_unsynced(const std::string& folder, const std::string& journal, LossMode mode, Random& random);

}  // namespace hufu::fault
