// What the tables of sender and consumers, and the copies at the broker, say about receipts.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>

namespace hufu::fault {

struct ReceiptVerdictCounts {
    std::uint64_t messages = 0;  ///< committed with their business rows
    std::uint64_t completed = 0;
    std::uint64_t parked = 0;
    std::uint64_t open = 0;             ///< neither, a minute after everything ran again
    std::uint64_t forgotten = 0;        ///< committed, and the book knows nothing of them
    std::uint64_t parked_wrongly = 0;   ///< parked without a refusal
    std::uint64_t effects_missing = 0;  ///< of groups that confirmed
    std::uint64_t effects_twice = 0;
    std::uint64_t receipts_without_effect = 0;
    std::uint64_t copies = 0;                     ///< at the broker, in all
    std::uint64_t copies_again = 0;               ///< of these, sent because receipts were missing
    std::uint64_t copies_after_confirmation = 0;  ///< of these, stored longer after the last receipt than a claim is trusted

    [[nodiscard]] bool held() const {
        return messages > 0 && open + forgotten + parked_wrongly + effects_missing + effects_twice +
                                       receipts_without_effect + copies_after_confirmation ==
                                   0;
    }
};

/// When the broker stored each copy that was sent again.
using CopiesAgain = std::multimap<MessageId, SystemTime>;

/// Reads the three databases. `copies` in all were seen at the broker.
ReceiptVerdictCounts judge_receipts(const std::string& shop, const std::map<std::string, std::string>& consumers,
                                    std::uint64_t copies, const CopiesAgain& again);

}  // namespace hufu::fault
