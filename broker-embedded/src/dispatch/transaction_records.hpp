// What transactions write into the log: halves with their identity, and what became of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/broker/transaction_options.hpp>
#include <hufu/remoting/record.hpp>

#include "store.hpp"
#include "transaction_book.hpp"

namespace hufu::broker {

struct Topic;

inline constexpr std::size_t transaction_id_length_max = 128;

/// What a half says of its transaction. Views into its properties.
struct HalfTraits {
    std::string_view group;        ///< whose producers know the verdict
    std::string_view transaction;  ///< HUFU_TX_ID; where there is none, UNIQ_KEY
    std::string_view unique_key;
    std::string_view immunity_s;  ///< no check before so many seconds
    std::string_view home;        ///< set by retention: HalfHome of a half that was copied
};
[[nodiscard]] HalfTraits read_half_traits(std::string_view properties);
/// What is wrong with a half that a client sends, empty when nothing is.
[[nodiscard]] std::string half_fault(const HalfTraits& traits);

/// Of a transaction's id or a group's name.
[[nodiscard]] std::uint64_t transaction_hash(std::string_view transaction) noexcept;
[[nodiscard]] inline std::uint32_t short_hash(std::uint64_t hash) noexcept {
    return static_cast<std::uint32_t>(hash) & Half::hash_mask;
}

/// Where a half was stored first. A client knows it by its offsets.
struct HalfHome {
    std::uint64_t offset = 0;      ///< in the queue of halves
    std::uint64_t log_offset = 0;  ///< in the log
    std::int64_t stored_ms = 0;
};
/// Of a half's record as it stands in the log, copied by retention or not.
[[nodiscard]] std::optional<HalfHome> home_of(const remoting::Record& record);
/// The properties of a copy that retention makes.
[[nodiscard]] std::string properties_with_home(const remoting::Record& record, const HalfHome& home);
/// The properties that a consumer sees.
[[nodiscard]] std::string properties_without_home(std::string_view properties);

// Tag codes of the hidden queues: what a restart reads.

/// Of a half: when it is first looked at (milliseconds since 2020 UTC), and its hash.
[[nodiscard]] std::int64_t half_code(std::int64_t due_ms, std::uint32_t hash) noexcept;
[[nodiscard]] std::int64_t due_of_code(std::int64_t code) noexcept;
/// Of a copy that retention made: its home, and its hash.
[[nodiscard]] std::int64_t moved_code(std::uint64_t home, std::uint32_t hash) noexcept;
[[nodiscard]] std::uint64_t home_of_code(std::int64_t code) noexcept;
[[nodiscard]] std::uint32_t hash_of_code(std::int64_t code) noexcept;

/// What became of a half.
enum class EventKind : std::uint8_t {
    commit = 1,
    rollback = 2,
    parked = 3,
    resumed = 4,
    undelivered = 5,  ///< committed, but its topic does not exist
    conflict = 6,     ///< a commit came after it was rolled back
    dismissed = 7,    ///< an administrator has looked at the conflict
};
[[nodiscard]] std::string_view to_string(EventKind kind) noexcept;
[[nodiscard]] constexpr bool is_verdict(EventKind kind) noexcept {
    return kind == EventKind::commit || kind == EventKind::rollback || kind == EventKind::undelivered;
}

/// One line of a half's history, in the queue of decisions. What producers decide is most of it, and is kept short there: then
/// group and transaction are known by their hashes only, and there is no reason.
struct HalfEvent {
    EventKind kind = EventKind::commit;
    HalfHome home;
    std::string group;        ///< may be empty
    std::string transaction;  ///< may be empty
    std::uint64_t group_hash = 0;
    std::uint64_t transaction_hash = 0;
    std::uint64_t delivered_at = 0;  ///< of a commit: where in the log that stands by which the message is in its queue
    std::string by;                  ///< who: "producer 10.0.0.2:4711", "check 10.0.0.2:4711", "admin alice", "broker"
    std::string reason;              ///< why, in words; may be empty
    std::int64_t at_ms = 0;          ///< set when read: when it was stored
};
/// Bytes of an event in the log, at most.
inline constexpr std::uint64_t event_bytes_max = 2'048;

[[nodiscard]] std::int64_t event_code(EventKind kind, std::uint64_t home) noexcept;
[[nodiscard]] EventKind kind_of_event_code(std::int64_t code) noexcept;
[[nodiscard]] std::uint64_t home_of_event_code(std::int64_t code) noexcept;

/// "producer 10.0.0.2:4711", or "check of producer …" when it was asked.
[[nodiscard]] std::string producer_text(const remoting::Host& peer, bool by_check);

Result<Appended> append_event(DispatchState& state, QueueHandle decisions, const HalfEvent& event);
/// The same for what a producer at `peer` decided, in few bytes: the hashes of group and transaction must be set.
Result<Appended> append_short_event(DispatchState& state, QueueHandle decisions, const HalfEvent& event,
                                    const remoting::Host& peer, bool by_check);
[[nodiscard]] std::optional<HalfEvent> read_event(const remoting::Record& record);
/// The events that are found by the half's home or by the transaction's id, newest first; some may be of others. Nothing: no
/// verdict is among them, and part of the key index is being rebuilt: ask again.
[[nodiscard]] std::optional<std::vector<HalfEvent>> find_events(DispatchState& state, QueueHandle decisions,
                                                                std::string_view key);
[[nodiscard]] std::string event_key(std::uint64_t home);

/// What holds for the halves of a topic: its attributes, else the broker's options.
[[nodiscard]] TransactionOptions transaction_options(const DispatchState& state, const Topic* topic);

}  // namespace hufu::broker
