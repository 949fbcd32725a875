// What the broker does with a request. No socket, no thread, no clock: the shell feeds it frames, log outcomes and time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hufu/broker/connection_id.hpp>
#include <hufu/broker/delay_levels.hpp>
#include <hufu/broker/log.hpp>
#include <hufu/broker/transaction_options.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/remoting/frame.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::broker {

class AccessTable;

/// Of the file system that holds the log; zero: not known.
struct DiskSpace {
    std::uint64_t bytes = 0;
    std::uint64_t free_bytes = 0;
};

struct DispatcherOptions {
    std::string cluster = "DefaultCluster";
    std::string broker_name = "hufu";
    remoting::Host advertised{};  ///< the address in routes and message ids
    bool auto_create_topics = true;
    std::int32_t default_queues = 8;  ///< of topics made by a send; %RETRY% and %DLQ% topics have one
    /// Asynchronous durability: a send is answered when the log took it. A topic's attribute `flush.type` goes before it.
    bool answer_before_durable = false;
    bool writable = true;             ///< false: every send is refused, routes name no writable queue
    bool mixed_message_type = false;  ///< whether a topic may declare `message.type=MIXED`
    DelayLevels delay_levels = default_delay_levels();
    /// How far ahead a message may be due: ten years.
    std::chrono::milliseconds delay_max = std::chrono::days{3'653};
    std::size_t timers_max = 10'000'000;  ///< delayed messages pending; 16 bytes of memory each
    TransactionOptions transactions = {};
    bool auto_create_groups = true;              ///< a consumer group is made when a client first names it
    std::function<DiskSpace()> disk_space = {};  ///< asked when an administrator wants to know
    std::size_t topics_max = 20'000;
    std::size_t queues_max = 1'000'000;  ///< in the log, those of deleted topics included
    std::size_t groups_max = 20'000;     ///< consumer groups with a configuration
    std::size_t members_max = 50'000;    ///< members of consumer groups and producers in all
    std::size_t parked_pulls_max = 65'536;
    std::size_t metric_series_max = 2'000;              ///< topics, and pairs of group and topic, that metrics name
    std::size_t filters_max = 20'000;                   ///< different subscription expressions in use
    std::size_t filter_bytes_max = 32U << 20U;          ///< memory of those
    std::uint64_t unsettled_bytes_max = 8ULL << 20U;    ///< accepted and not yet durable; above it no frame is taken
    std::uint64_t connection_output_max = 1ULL << 20U;  ///< unsent answers of one connection; above it no frame is taken
    std::uint64_t output_max = 24ULL << 20U;            ///< unsent answers in all; above it pulls are answered "busy"
    std::chrono::milliseconds keep_for{0};              ///< older messages are deleted, segment by segment; 0: never
    std::uint64_t keep_bytes = 0;                       ///< the oldest go when the log is larger; 0: no limit
    std::chrono::milliseconds offsets_every{200};       ///< how often changed consumer positions go into the log
    std::chrono::seconds member_silence{120};           ///< a group member that sent no heartbeat for so long is gone
};

/// The broker's request dispatch: topics, queues, consumer positions, groups, queue locks, waiting pulls, routes.
///
/// Threads: one owner, the same as the Log's. Borrows log, ids, metrics and clock for its life.
/// Delivery: a send is answered with success only after the log settled it as durable, in log order, or as soon as the
/// log took it where the topic, the message (WAIT=false) or `answer_before_durable` says so; the answer names which. Consumer positions are stored every `offsets_every`; after a crash a group may see again
/// what it consumed since.
/// Errors: whatever a client sends is answered with a code and a sentence, or `receive` fails and the connection must be
/// closed. Nothing a client sends ends the broker.
class Dispatcher {
public:
    /// Loads topics and positions from the recovered log. Positions beyond their queue's end are cut to it, with an alarm.
    Dispatcher(Log& log, DispatcherOptions options, MessageIdGenerator& ids, MetricsRegistry& metrics, Clock& clock);
    ~Dispatcher();
    Dispatcher(const Dispatcher&) = delete;
    Dispatcher& operator=(const Dispatcher&) = delete;

    /// From now on every request must be signed by an account of the table and be within its rights. Null: all may do all.
    void set_access(std::shared_ptr<const AccessTable> table);
    /// Lines for the audit log since the last call: what was refused, and what admins asked.
    [[nodiscard]] std::vector<std::string> take_audit();

    ConnectionId connected(const remoting::Host& peer);
    /// Drops the connection's waiting pulls, memberships and queue locks; tells the groups that lost a member.
    void disconnected(ConnectionId connection, SteadyTime now);

    /// Takes one frame (its header may be unescaped in place). An error means: not a command; close the connection.
    Result<void> receive(ConnectionId connection, const remoting::Frame& frame, SteadyTime now);
    /// False while frames of this connection should wait: its answers are not read, or the log is behind.
    [[nodiscard]] bool accepts(ConnectionId connection) const noexcept;

    /// The log's verdict on appended records: answers sends, serves waiting pulls.
    void settled(const Outcome& outcome, SteadyTime now);

    /// Ends waits that are over, forgets silent members, puts changed positions into the log.
    void tick(SteadyTime now);
    /// When `tick` has something to do next, at the latest; nothing when only events matter.
    [[nodiscard]] std::optional<SteadyTime> next_tick() const noexcept;
    /// Puts every changed position into the log now (clean stop). False when the log refused one.
    bool store_offsets();

    /// Connections with new output since the last call; appends to `into`.
    void take_ready(std::vector<ConnectionId>& into);
    /// Moves the connection's unsent bytes to `into`, which must be empty (its capacity is reused).
    void take_output(ConnectionId connection, std::string& into);
    /// So many of the taken bytes have left the process.
    void written(ConnectionId connection, std::size_t bytes) noexcept;

    /// Bytes of answers that have not left the process.
    [[nodiscard]] std::uint64_t unsent() const noexcept;
    /// With more than so many of them no frame is taken: the shell has to get rid of peers that do not read.
    [[nodiscard]] std::uint64_t output_limit() const noexcept;

    /// Gives buffers back that nothing uses at the moment. Cheap; for every few seconds.
    void release_idle_memory();

    /// Appends the figures that are worked out when asked for, as Prometheus text: topics, groups, log (docs/metrics.md).
    void append_metrics(std::string& into);

    /// Sentences for the operator since the last call.
    [[nodiscard]] std::vector<std::string> take_alarms();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::broker
