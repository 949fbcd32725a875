// How a message comes into the log: the one way for every family of requests.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <hufu/broker/log.hpp>
#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::broker {

class DispatchState;

/// Why a request is not done; `success`: it is.
struct Refusal {
    remoting::ResponseCode code = remoting::ResponseCode::success;
    std::string remark = {};
    [[nodiscard]] bool refused() const noexcept { return code != remoting::ResponseCode::success; }
};

/// What a client is told of an error of the log.
[[nodiscard]] Refusal refusal_of(const Error& error);

/// What the broker must know of a message's properties. Views into the encoded properties; empty: absent.
struct Traits {
    std::string_view tags;
    std::string_view keys;        ///< separated by spaces
    std::string_view unique_key;  ///< empty: `store` mints one
    std::string_view delay_level;
    std::string_view timer_delay_s;
    std::string_view timer_delay_ms;
    std::string_view timer_deliver_ms;
    bool prepared = false;  ///< TRAN_MSG: a half message
    bool keyed = false;     ///< has an ordering key
    bool has_region = false;
    bool has_cluster = false;
    bool wants_reply = false;  ///< REPLY_TO_CLIENT: a request
    bool wait = true;          ///< WAIT=false: answer when the log took it
};

/// Reads the properties. Refuses those that are too large, counting the UNIQ_KEY that `store` would add; so that a record
/// whose properties were read never fails for its own sake in the middle of a reserved group.
[[nodiscard]] Refusal read_properties(std::string_view encoded, Traits& traits);

/// Bytes that `store` adds to the properties of a message without UNIQ_KEY, at most.
inline constexpr std::size_t minted_key_bytes = 1 + 8 + 1 + 32 + 1;

/// The properties with what consumers look for and senders cannot know: where a message was stored (MSG_REGION, without which
/// a Java consumer writes no trace), and for a request the cluster whose reply topic its answer goes to (CLUSTER). The same
/// where there is no room. Written into `into`.
[[nodiscard]] std::string_view stamped(const DispatchState& state, std::string_view properties, const Traits& traits,
                                       std::string& into);

struct StoreOptions {
    std::optional<std::int64_t> tags_code = {};  ///< for hidden queues; else it is made from TAGS
    bool has_body_crc = false;                   ///< `record.body_crc` is right already
};

/// Appends one record to `queue`, mints its UNIQ_KEY where it has none (into `record.more_properties`, which stays valid
/// until the next call), sums its body, and makes it findable by its keys under `record.topic`. The queue may be another than topic and queue id say: a hidden one
/// holds records that already name their destination.
/// The caller awaits the ticket. Errors: those of Log::append.
Result<Appended> store(DispatchState& state, QueueHandle queue, remoting::Record& record, const Traits& traits,
                       const StoreOptions& options = {});

}  // namespace hufu::broker
