// The inside of `RelayMachine`, shared by its source files.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include <hufu/outbox/gap_tracker.hpp>
#include <hufu/outbox/relay_machine.hpp>

#include "key_order.hpp"

namespace hufu::outbox {

struct RelayMachine::Impl {
    /// One kind of call to the store: at most one outstanding, waits after a failure.
    struct Channel {
        bool busy = false;
        std::uint64_t session = 0;  // the session that asked; answers to an older one are ignored
        std::uint32_t failures = 0;
        SteadyTime not_before = {};
    };

    Impl(RelayOptions relay_options, Random& source) : options{std::move(relay_options)}, random{source} {}

    const RelayOptions options;
    Random& random;
    RelayFigures figures;
    std::optional<Error> error;
    bool stopping = false;
    bool released = false;

    // The claim.
    Channel lease_channel;
    LeaseRequest lease_request = AcquireLane{};
    SteadyTime lease_asked_at = {};
    SteadyTime lease_due = {};
    std::optional<Claim> claim;
    SteadyTime trusted_until = {};
    bool position_kept = false;  // only ever set by a mutant

    // A session: from one claim to its loss.
    std::uint64_t session = 0;
    std::unique_ptr<KeyOrder> keys;
    std::optional<GapTracker> tracker;
    std::size_t batches_out = 0;  // of all sessions
    SteadyTime last_confirmation = {};

    Channel read_channel;
    ReadRequest read_request;
    bool started = false;
    bool wake = false;
    bool caught_up = false;  // every row that was there at the start was read
    bool overflow = false;   // rows of the read that is out go to the lot rather than wait in memory
    SteadyTime next_read = {};
    SteadyTime next_late_check = {};
    SteadyTime next_trickle = {};
    std::chrono::milliseconds idle_delay{0};
    std::size_t average_bytes = 512;
    std::vector<Sequence> forgotten;  // gone from the lane while a read was out that may still have seen them

    Channel settle_channel;
    std::vector<Sequence> settling;
    std::uint64_t settle_mark = 0;
    std::optional<SteadyTime> settle_due;
    std::optional<SteadyTime> bound_due;

    // Messages that ask for receipts, by row, from their confirmation until they are settled.
    std::unordered_map<Sequence, MessageId> awaited;

    Channel lot_channel;
    LotRequest lot_request = ListParked{};
    std::vector<std::pair<Sequence, std::uint32_t>> lot_settling;
    bool listed = false;
    SteadyTime next_list = {};
    SteadyTime next_move = {};

    // relay_machine.cpp: claim and life
    void ask_lease(SteadyTime now, RelayActions& actions);
    void begin_session(Claim new_claim, SteadyTime now);
    void lose(Ownership how, SteadyTime now);
    void fail(const Error& why);
    [[nodiscard]] bool trusted(SteadyTime now) const;
    [[nodiscard]] bool drained() const;
    void finish_if_done(RelayActions& actions);
    void update_figures();

    // relay_work.cpp: read, send, settle, park
    void ask_read(SteadyTime now, RelayActions& actions);
    [[nodiscard]] std::optional<std::size_t> read_limit(SteadyTime now, RelayActions& actions);
    void take_start(const LaneStart& start, SteadyTime now);
    void take_page(Page page, SteadyTime now);
    void send(SteadyTime now, RelayActions& actions);
    void ask_settle(SteadyTime now, RelayActions& actions);
    void ask_lot(SteadyTime now, RelayActions& actions);
    [[nodiscard]] std::optional<LotRequest> next_lot_request(SteadyTime now, RelayActions& actions);
    void take_lot_reply(LotReply reply, SteadyTime now);
    void forget(const std::vector<Sequence>& seqs);
    [[nodiscard]] std::vector<MessageId> awaited_of(const std::vector<Sequence>& seqs) const;
    void settled_awaited(const std::vector<Sequence>& seqs);

    /// Marks the channel as asked.
    void begin(Channel& channel) {
        channel.busy = true;
        channel.session = session;
    }
    /// Marks it as answered. True if the answer is to be used.
    bool end(Channel& channel) {
        channel.busy = false;
        return channel.session == session && claim.has_value();
    }
    /// A call failed: wait, or stop for ever.
    void failed(Channel& channel, const Error& why, SteadyTime now);
    /// What an owner's call said of the claim. False: it is lost.
    bool holds(Ownership ownership, SteadyTime now);

    static void at(RelayActions& actions, SteadyTime time) {
        actions.tick_at = actions.tick_at ? std::min(*actions.tick_at, time) : time;
    }
};

}  // namespace hufu::outbox
