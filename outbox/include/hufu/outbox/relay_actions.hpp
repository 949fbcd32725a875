// What the relay's machine asks its shell to do, and what the shell answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/outbox/awaiting_machine.hpp>
#include <hufu/outbox/store.hpp>

namespace hufu::outbox {

/// How a relay behaves. The defaults suit one relay (and a standby) per lane on a local network.
struct RelayOptions {
    using Duration = std::chrono::milliseconds;

    std::string owner = {};  ///< unique per relay instance; empty: the shell makes one

    Duration lease{5'000};
    Duration lease_margin{1'500};  ///< sending stops when now − last successful renewal > lease − lease_margin
    Duration renew_every{1'000};   ///< also how often a standby tries to take the lane

    std::size_t page_rows = 2'000;
    std::size_t window_rows = 20'000;                  ///< rows read and not yet settled
    std::size_t window_bytes = std::size_t{64} << 20;  ///< of messages held
    std::size_t publish_rows = 500;                    ///< most messages in one batch
    Duration poll_min{2};
    Duration poll_max{500};

    std::size_t settle_rows = 500;        ///< a settle starts when so many rows are confirmed …
    Duration settle_after{5};             ///< … or the first of them has waited so long
    std::size_t settle_rows_max = 5'000;  ///< most rows in one settle

    /// Waits of a failing key. A failure that only says that the broker is away (`unavailable`, `timeout`, `busy`,
    /// `cancelled`) waits as well but never counts as an attempt, so that an outage parks nothing.
    RetrySchedule retry = RetrySchedule::capped(Duration{100}, Duration{30'000}, 10).jitter(0.2);
    RetrySchedule store_retry = RetrySchedule::capped(Duration{50}, Duration{2'000}).jitter(0.2);  ///< never exhausted

    Duration parked_poll{500};      ///< how soon a release is seen, while anything is parked
    std::size_t parked_rows = 500;  ///< rows of a released key read at a time, and rows parked in one call
    Duration delayed_poll{200};     ///< precision of `deliver_at`
    Duration late_check{10'000};    ///< how often the safety net counts rows that were passed over; 0: never
    std::size_t holes_max = 100'000;

    bool resend_unconfirmed = true;  ///< the shell also sends again what waits for receipts (`Resender`)
    AwaitingOptions receipts = {};
};

/// Checks that the numbers fit each other. The error names option, value and rule.
[[nodiscard]] Result<void> validate(const RelayOptions& options);

// Lease channel.
struct AcquireLane {
    std::string owner;
    std::chrono::milliseconds lease;
};
struct RenewLease {
    Claim claim;
    std::chrono::milliseconds lease;
};
struct ReleaseLane {
    Claim claim;
};
using LeaseRequest = std::variant<AcquireLane, RenewLease, ReleaseLane>;
struct LeaseReply {
    std::optional<Claim> claim = {};        ///< to AcquireLane
    Ownership ownership = Ownership::held;  ///< to RenewLease
};

// Reader channel.
struct StartReading {};
struct CountUnknown {
    Sequence upto = 0;
    std::vector<Sequence> known = {};
};
using LaneRequest = std::variant<StartReading, ReadRequest, CountUnknown>;
using LaneReply = std::variant<LaneStart, Page, std::uint64_t>;

// Settler channel.
struct SettleRequest {
    Claim claim;
    std::vector<Sequence> seqs;
    std::vector<MessageId> awaited = {};
};

// Lot channel: the cold tables.
struct ParkRows {
    Claim claim;
    std::vector<ParkRow> rows;
};
struct ListParked {};
struct ReadReleased {
    Key key;
    Sequence after = 0;
    std::size_t limit = 0;
};
struct SettleParked {
    Claim claim;
    std::vector<Sequence> seqs;
    std::vector<MessageId> awaited = {};
};
struct HoldParked {
    Claim claim;
    Key key;
    ParkRow row;
};
struct MoveDue {
    Claim claim;
    std::size_t limit = 0;
};
using LotRequest = std::variant<ParkRows, ListParked, ReadReleased, SettleParked, HoldParked, MoveDue>;
struct LotReply {
    Ownership ownership = Ownership::held;
    std::vector<ParkedKey> keys = {};                           ///< to ListParked
    std::vector<ParkedRow> rows = {};                           ///< to ReadReleased
    std::size_t moved = 0;                                      ///< to MoveDue
    std::optional<std::chrono::milliseconds> next_due_in = {};  ///< to MoveDue
};

/// Messages on their way to the broker. The shell publishes `messages` into `outcomes` and hands the whole object back
/// when every outcome is final.
struct PublishBatch {
    /// What the machine remembers of one message.
    struct Ticket {
        Sequence seq = 0;
        std::uint32_t key = 0;
        std::uint32_t bytes = 0;
        SystemTime created_at = {};
        bool from_lot = false;
        bool again = false;  ///< it was published before
    };
    std::uint64_t session = 0;
    std::vector<Message> messages = {};
    std::vector<PublishOutcome> outcomes = {};
    std::vector<Ticket> tickets = {};
};

/// What to do now. Each channel has at most one request outstanding; the four channels and the batches run in parallel
/// and may be answered in any order. Batches must be handed to the publisher in the order given.
struct RelayActions {
    std::optional<LeaseRequest> lease = {};
    std::optional<LaneRequest> read = {};
    std::optional<SettleRequest> settle = {};
    std::optional<LotRequest> lot = {};
    std::vector<std::unique_ptr<PublishBatch>> publish = {};
    std::optional<SteadyTime> tick_at = {};  ///< call `step` again then, if nothing happens before
    bool finished = false;                   ///< stopped (or failed) and nothing is outstanding; the machine is done
};

// What a shell does with a request: calls the port. Blocking; the reply goes back into the machine.
[[nodiscard]] Result<LeaseReply> perform(const LeaseRequest& request, LaneLease& lease);
[[nodiscard]] Result<LaneReply> perform(const LaneRequest& request, LaneReader& reader);
[[nodiscard]] Result<Settled> perform(const SettleRequest& request, LaneSettler& settler);
[[nodiscard]] Result<LotReply> perform(const LotRequest& request, ParkingLot& lot, DelayedRows& delayed);

}  // namespace hufu::outbox
