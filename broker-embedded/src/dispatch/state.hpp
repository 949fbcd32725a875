// What the families of requests share: sessions and their output, topics and queues, and how an answer is written.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <hufu/broker/dispatcher.hpp>
#include <hufu/remoting/command.hpp>
#include <hufu/remoting/headers.hpp>

#include "awaited.hpp"
#include "client_calls.hpp"
#include "access.hpp"
#include "group_configs.hpp"
#include "group_table.hpp"
#include "handler_table.hpp"
#include "message_filter.hpp"
#include "metrics.hpp"
#include "queue_locks.hpp"
#include "retention.hpp"
#include "recall_handle.hpp"
#include "stats.hpp"
#include "store.hpp"
#include "timers.hpp"
#include "topics.hpp"
#include "transactions.hpp"

namespace hufu::broker {

using remoting::ResponseCode;

/// One connection.
struct Session {
    std::uint32_t generation = 0;
    bool open = false;
    bool ready = false;  ///< listed in DispatchState::ready
    remoting::Host peer;
    std::string output;        ///< produced, not taken
    std::uint64_t unsent = 0;  ///< produced, not written by the shell (taken or not)
    std::size_t parked = 0;    ///< pulls of it that wait
};

/// A pull that waits for a record. What it was asked with, and until when.
struct ParkedPull {
    ConnectionId connection;
    std::int32_t opaque = 0;
    remoting::SerializeType serialize_type = remoting::SerializeType::json;
    std::uint64_t offset = 0;
    ReadLimits limits;
    FilterRef filter;            ///< null: everything
    Traffic* traffic = nullptr;  ///< where its group's share is counted
    SteadyTime deadline;
    std::string group;
    std::shared_ptr<Meter> meter;  ///< of the group's reading of the topic; may be null
};

struct QueueWaits {
    std::vector<ParkedPull> parked;
    bool grew = false;           ///< listed in DispatchState::grown
    std::uint64_t bytes_in = 0;  ///< of sends that were settled since the start
};

/// A send that the log has taken and not settled.
struct PendingSend {
    std::uint64_t ticket = 0;  ///< of its last record
    ConnectionId connection;
    std::int32_t opaque = 0;
    remoting::SerializeType serialize_type = remoting::SerializeType::json;
    bool answer = true;   ///< false: one-way, or answered already
    bool durable = true;  ///< the answer waits for the disk
    bool plain = false;   ///< no message: a change of topics or settings
    QueueHandle queue;
    std::int32_t queue_id = 0;
    std::uint64_t queue_offset = 0;
    std::uint64_t log_offset = 0;
    std::uint64_t bytes = 0;
    std::vector<std::uint64_t> more_log_offsets = {};  ///< of a batch: those after the first
    std::unique_ptr<RecallHandle> recall_handle = {};  ///< of a message for later
    std::unique_ptr<std::string> transaction_id = {};  ///< of a half message: its UNIQ_KEY
};

/// Where a group stands in a queue.
struct Position {
    std::uint64_t offset = 0;
    bool changed = false;         ///< not yet put into the log
    std::uint64_t age_of = 0;     ///< one above the offset whose store time is known
    std::uint64_t stored_ms = 0;  ///< that time
    /// An operator moved the group here. Until a consumer has taken that, commits do not count.
    enum class Reset : std::uint8_t {
        none,
        pending,
        offered,  ///< a consumer was told when it asked where to begin
    };
    Reset reset = Reset::none;
};

struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};

/// One request with its circumstances.
struct Request {
    ConnectionId connection;
    const remoting::CommandView& command;
    SteadyTime now;
    const Account* account = nullptr;  ///< who signed it; null without access control
};

/// Where the answer to a request goes that is answered later.
struct ReplyTo {
    ConnectionId connection;
    std::int32_t opaque = 0;
    remoting::SerializeType serialize_type = remoting::SerializeType::json;
    bool wanted = true;  ///< false: one-way

    explicit ReplyTo(const Request& request)
        : connection{request.connection},
          opaque{request.command.opaque},
          serialize_type{request.command.serialize_type},
          wanted{!request.command.is_one_way()} {}
};

/// A recall that the log has taken and not settled.
struct PendingRecall {
    std::uint64_t ticket = 0;
    ReplyTo to;
    std::string unique_key;
};

class DispatchState {
public:
    DispatchState(Log& log_in, DispatcherOptions options_in, MessageIdGenerator& ids_in, MetricsRegistry& metrics,
                  Clock& clock_in);

    // Answering. Nothing is written for one-way requests.

    template <class Header>
    void answer(const Request& request, ResponseCode code, const Header& header, std::string_view body = {},
                std::string_view remark = {}) {
        if (request.command.is_one_way()) return;
        Session* session = find(request.connection);
        if (session == nullptr) return;
        const std::size_t before = session->output.size();
        remoting::append_response(session->output, request.command, code, header, body, remark);
        produced(request.connection, *session, before);
    }
    /// The same, later.
    template <class Header>
    void answer(const ReplyTo& to, ResponseCode code, const Header& header, std::string_view body = {},
                std::string_view remark = {}) {
        Session* session = find(to.connection);
        if (!to.wanted || session == nullptr) return;
        const std::size_t before = session->output.size();
        remoting::CommandWriter writer{
            session->output, to.serialize_type, static_cast<std::int32_t>(code), to.opaque, remoting::flag_bit::response,
            remark};
        header.write(writer);
        writer.finish(body);
        produced(to.connection, *session, before);
    }
    void succeed(const Request& request, std::string_view body = {});
    void refuse(const Request& request, ResponseCode code, std::string_view remark);
    void refuse(const Request& request, const Refusal& refusal) { refuse(request, refusal.code, refusal.remark); }
    /// Success, once the last change of topics or settings is durable.
    void succeed_when_durable(const Request& request);
    /// For refusals that are answered elsewhere.
    void count_refusal(ResponseCode code);
    void refuse(const ReplyTo& to, ResponseCode code, std::string_view remark);

    // Asking clients.

    /// A one-way request to a client. False when its connection is closed or it does not read.
    template <class Header>
    bool tell(ConnectionId connection, remoting::RequestCode code, const Header& header, std::string_view body = {}) {
        Session* session = find(connection);
        if (session == nullptr || session->unsent > options.connection_output_max) return false;
        const std::size_t before = session->output.size();
        remoting::append_request(session->output, remoting::SerializeType::json, code, take_opaque(), header, body, true);
        produced(connection, *session, before);
        return true;
    }
    /// A request that the client answers. `then` runs once, when the call ends; an error means that it never will:
    /// `not_found` (the connection is closed) or `busy` (too much is out, or the client does not read).
    template <class Header>
    Result<void> call(ConnectionId connection, remoting::RequestCode code, const Header& header, std::string_view body,
                      SteadyTime deadline, ClientCalls::Then then) {
        const auto opaque = begin_call(connection, deadline, std::move(then));
        if (!opaque) return opaque.error();
        Session* session = find(connection);
        const std::size_t before = session->output.size();
        remoting::append_request(session->output, remoting::SerializeType::json, code, *opaque, header, body);
        produced(connection, *session, before);
        return {};
    }
    /// Notes a call; its opaque.
    Result<std::int32_t> begin_call(ConnectionId connection, SteadyTime deadline, ClientCalls::Then then);
    /// A number for the next request to a client.
    std::int32_t take_opaque() noexcept;
    /// Null when the connection is closed.
    [[nodiscard]] Session* find(ConnectionId connection) noexcept;
    /// The session's output grew from `before` bytes.
    void produced(ConnectionId connection, Session& session, std::size_t before);

    // Topics.

    [[nodiscard]] Topic* find_topic(std::string_view name);
    /// Makes a topic that takes every kind of message. The error is for the client.
    Result<Topic*> create_topic(std::string_view name, std::int32_t queues);
    /// Makes or changes the topic, in the log and here; pointers to it stay good. The error is for the client.
    Result<Topic*> store_topic(std::string_view name, TopicConfig config);
    /// The topic, where its groups stand and what it holds are gone, for a later topic of that name too. Its queues go on
    /// counting where they stood, so that a consumer's old offset never means a new message.
    Result<void> delete_topic(std::string_view name);
    /// The topic and one of its queues, or an answer that says what is wrong (then null).
    Topic* require_queue(const Request& request, std::string_view topic, std::int32_t queue_id);
    [[nodiscard]] QueueWaits& queue(QueueHandle handle);
    void alarm(std::string text);

    Log& log;
    DispatcherOptions options;  ///< changed by UPDATE_BROKER_CONFIG only
    MessageIdGenerator& ids;
    Clock& clock;  ///< for wall-clock times only; steady time comes in with the calls
    const SystemTime booted;
    HandlerTable handlers;
    AccessControl access;

    std::vector<Session> sessions;
    std::vector<std::uint32_t> free_slots;
    std::vector<ConnectionId> ready;
    std::uint64_t unsent = 0;

    std::unordered_map<std::string, Topic, StringHash, std::equal_to<>> topics;
    std::uint64_t topics_version = 0;  // counts changes
    std::uint64_t changed_at = 0;      // ticket of the last change of topics or settings
    bool routes_writable = true;       // false: routes tell producers to go elsewhere
    std::vector<QueueWaits> queues;    // by QueueHandle
    std::vector<QueueHandle> grown;

    BrokerStats stats;

    std::vector<PendingSend> pending;  // [pending_head, end) in ticket order
    std::size_t pending_head = 0;
    std::uint64_t settled_ticket = 0;
    std::uint64_t unsettled_bytes = 0;

    std::size_t parked = 0;
    std::set<QueueHandle> parked_queues;
    SteadyTime next_deadline = SteadyTime::max();
    SteadyTime waits_rest_until{};

    std::map<std::string, std::map<QueueHandle, Position>, std::less<>> positions;  // by group
    std::vector<std::pair<std::string, QueueHandle>> changed_positions;
    SteadyTime positions_due = SteadyTime::max();
    std::uint64_t positions_ticket = 0;  // of the last position that was put into the log

    Timers timers;
    Transactions transactions;
    Retention retention;
    std::deque<PendingRecall> recalls;  ///< in ticket order
    TrafficTable traffic;
    std::map<std::int32_t, std::uint64_t> refused_by_code;
    std::string ages_read_to;      ///< the last group whose ages a scrape has read
    bool series_left_out = false;  ///< the last scrape had more series than it may show
    FilterTable filters{options.filters_max, options.filter_bytes_max};
    GroupConfigs group_configs;
    GroupTable groups;
    QueueLocks locks;
    ClientCalls calls;
    Awaited awaited;
    SteadyTime expiry_due{};

    std::int32_t next_opaque = 0;   // of requests to clients
    std::vector<std::byte> record;  // scratch: the record being stored
    std::array<char, minted_key_bytes> minted_key{};
    std::string stamped;  // scratch: properties of the message being sent
    std::vector<std::uint64_t> record_keys;
    std::vector<std::byte> read_bytes;  // scratch: the records being sent
    std::vector<std::string> alarms;
    std::size_t damages_told = 0;  // of the log's

    Counter& messages_stored;
    Counter& bytes_stored;
    Counter& messages_refused;
    Counter& messages_pulled;
    Counter& bytes_pulled;
    Counter& requests;
    Counter& requests_refused;
    Counter& alarms_raised;
    Gauge& connections;
    Gauge& parked_gauge;
    Gauge& members_gauge;
};

// Called from several places.

void settle_sends(DispatchState& state, const Outcome& outcome, SteadyTime now);  // send.cpp
void settle_recalls(DispatchState& state, const Outcome& outcome);                // recall.cpp
/// The handle of a delayed message that was stored as `record`; its offset is not known yet.
RecallHandle recall_handle_of(const DispatchState& state, const remoting::Record& record, std::int64_t deliver_ms);
void serve_grown_queues(DispatchState& state, SteadyTime now);          // pull.cpp
void end_waits(DispatchState& state, SteadyTime now);                   // pull.cpp
void drop_parked_pulls(DispatchState& state, ConnectionId connection);  // pull.cpp
/// Remembers where the group stands; false (nothing happens) when the offset is outside of the queue.
bool commit_position(DispatchState& state, std::string_view group, QueueHandle queue, std::int64_t offset,
                     SteadyTime now);                                                       // offsets.cpp
void refuse_parked_pulls(DispatchState& state, QueueHandle queue, std::string_view topic);  // pull.cpp
void forget_positions(DispatchState& state, const Topic& topic);                            // offsets.cpp
void load_positions(DispatchState& state);                                                  // offsets.cpp
bool store_positions(DispatchState& state, SteadyTime now);                                 // offsets.cpp
/// Of every topic and system topic, sorted.
std::vector<std::string> all_topic_names(const DispatchState& state);  // topic_admin.cpp
/// Of a topic, or of a system topic that takes no room yet.
std::optional<TopicConfig> config_of(DispatchState& state, std::string_view name);  // topic_admin.cpp
void load_broker_config(DispatchState& state);                                      // broker_config.cpp
/// "10.0.0.1:10911"
std::string address_text(const remoting::Host& host);                             // name_service.cpp
void load_name_service(DispatchState& state);                                     // name_service.cpp
void load_topics(DispatchState& state);                                           // topics.cpp
void tell_members(DispatchState& state, const std::vector<std::string>& groups);  // groups.cpp
/// Where the group stands, if it ever was there.
std::optional<std::uint64_t> position_of(const DispatchState& state, std::string_view group, QueueHandle queue);
/// Moves the group; what its consumers commit does not count until one of them was told.
void reset_position(DispatchState& state, std::string_view group, QueueHandle queue, std::uint64_t offset, SteadyTime now);
/// Where a pull at `offset` must go on instead, when the group was moved; it is told once.
std::optional<std::uint64_t> take_reset(DispatchState& state, std::string_view group, QueueHandle queue,
                                        std::uint64_t offset, SteadyTime now);
/// The offset stored at this time (ms since 1970 UTC; any number).
std::uint64_t offset_at_ms(DispatchState& state, QueueHandle queue, std::int64_t time_ms, TimeBoundary boundary);
/// Answers the group's waiting pulls of a queue that was moved.
void answer_parked_resets(DispatchState& state, std::string_view group, QueueHandle queue, SteadyTime now);  // pull.cpp
/// Forgets where the group stands, here and in the log.
Refusal erase_positions(DispatchState& state, std::string_view group);  // offsets.cpp

}  // namespace hufu::broker
