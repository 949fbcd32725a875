// What the server does in one step for a stream buffer.
#pragma once

#include <string>

namespace hufu::redis {

/// Every script takes one key, the shard's base name, and works on `base:…` alone:
/// entries, parked (streams; fields k = key field, m = packed message, and in parked r = reason), keys (hash: key field -> its
/// entries and parked ones), barred (hash: key field -> parked ones; in both, "" for those without a key, so that a hash is there
/// while there is something to count), epoch, bytes, spilled, trimmed, owner, fence.
/// spilled = trimmed + entries + parked, else the server has forgotten something.
struct StreamScripts {
    /// bytes_max, then pairs ("1" + field: only behind entries of the field, "0" + field: always; packed).
    /// Answers [a '1' or '0' for each, spilled] or [full, bytes].
    static std::string spill();
    /// name, token so far, lease in ms. Answers [token, position read before, barred fields…], or nil while another reader's
    /// lease runs. The token ends with ":" and the server's run id, which is empty where INFO is not allowed.
    static std::string acquire();
    /// token, lease in ms, position to note as read ("": none). Sent behind a read: 1 when the shard was the caller's until
    /// now, so that the read counts; -1 when not.
    static std::string hold();
    /// token, lease in ms, position to note as read ("": none), how many are to go, their bytes ("": a trim of
    /// some was not answered, look up which are there), the least position that
    /// stays ("": none) when everything in front of it is to go, number of ids, ids of the others, pairs (field, entries of
    /// it). Answers how many went, -1 when fenced.
    static std::string trim();
    /// token, reason, ids. Answers how many were parked, -1 when fenced.
    static std::string park();
    /// Answers how many went back.
    static std::string unpark();
    /// token, position to note as read ("": none).
    static std::string release();
    /// Answers [entries, bytes, parked, age of the oldest in ms or -1, spilled, entries missing, names of the bookkeeping that is
    /// missing]; with "mend" as argument it also makes keys, barred, epoch, bytes and trimmed true where something is missing.
    static std::string account();
};

}  // namespace hufu::redis
