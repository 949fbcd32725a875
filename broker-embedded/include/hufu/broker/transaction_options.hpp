// How the bundled broker treats transaction messages whose verdict is not known.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace hufu::broker {

/// The first four hold for topics that do not say otherwise (attributes `transaction.*`).
struct TransactionOptions {
    std::chrono::milliseconds first_check{6'000};             ///< from stored to the first check
    std::chrono::milliseconds check_interval{10'000};         ///< from the first to the second; then it doubles …
    std::chrono::milliseconds check_interval_max{600'000};    ///< … up to this
    std::chrono::milliseconds budget = std::chrono::days{3};  ///< a half older than this, asked about in vain, is parked
    std::uint32_t checks_max = 0;                             ///< parked after so many answers of "unknown" too; 0: no limit
    std::size_t pending_max = 2'000'000;                      ///< halves without a verdict; 64 bytes of memory each at most
    std::uint64_t pending_bytes_max = 64ULL << 30U;           ///< their bytes in the log
    std::size_t halves_max = 1'024;                           ///< of one transaction
    std::uint64_t transaction_bytes_max = 6ULL << 20U;        ///< of one transaction: it is committed in one piece
    // A million halves that are due at once are asked about one by one.
    double checks_per_second = 2'000;
    std::size_t checks_out_max = 1'024;               ///< sent and not answered
    std::chrono::milliseconds answer_within{10'000};  ///< a check without an answer then frees its place
};

}  // namespace hufu::broker
