// The shell around Dispatcher and Log: one event loop, the log's threads behind it.
#include <hufu/broker/server.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <unordered_set>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <hufu/broker/dispatcher.hpp>
#include <hufu/broker/message_keys.hpp>
#include <hufu/broker/log_writer.hpp>
#include <hufu/core/file.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/threads.hpp>

#include "connection.hpp"
#include "dispatch/access_table.hpp"
#include "metrics_http.hpp"
#include "sockets.hpp"

namespace hufu::broker {
namespace {

constexpr std::chrono::seconds sweep_every{2};
constexpr std::chrono::milliseconds farewell{1000};  // for the last answers of a clean stop
// Input that is no whole frame yet, of all connections together, beyond one small read of each.
constexpr std::size_t input_max = 96U << 20U;
constexpr std::size_t input_short = 32U << 20U;  // above it reads stay small
constexpr std::chrono::seconds crowd_said_every{10};

DispatcherOptions dispatcher_options(const ServerOptions& options, const remoting::Host& advertised) {
    DispatcherOptions result;
    result.advertised = advertised;
    result.auto_create_topics = options.auto_create_topics;
    result.auto_create_groups = options.auto_create_groups;
    result.default_queues = static_cast<std::int32_t>(options.default_queues);
    result.delay_levels = options.delay_levels;
    result.transactions = options.transactions;
    result.metric_series_max = options.metrics_series;
    result.keep_for = options.keep_for;
    result.keep_bytes = options.keep_bytes;
    result.answer_before_durable = options.durability == Durability::async;
    return result;
}

LogOptions log_options(const DispatcherOptions& dispatcher) {
    LogOptions options;
    options.keys_of = keys_of_record;
    // Frames stop being taken at unsettled_bytes_max, so the largest message always finds room above it.
    options.pending_bytes_max = dispatcher.unsettled_bytes_max + 2 * options.record_bytes_max;
    // One writer carries the groups: a small one that waited for it would only be closed too early.
    options.next_group_bytes_min = 256U << 10U;
    return options;
}

LogWriterOptions writer_options(MetricsRegistry& metrics, Durability durability) {
    LogWriterOptions options;
    // Few producers that wait for each answer. Where answers do not wait for the disk, the loop must not either.
    options.own_records_max = durability == Durability::async ? 0 : 4;
    options.flush_seconds = &metrics.histogram("hufu_broker_flush_seconds", "Time to write and sync one group of records",
                                               {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2});
    options.flush_records = &metrics.histogram("hufu_broker_flush_records", "Records that were made durable together",
                                               {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096});
    options.flush_bytes = &metrics.histogram("hufu_broker_flush_bytes", "Bytes of the log that were made durable together",
                                             {512, 2048, 8192, 32'768, 131'072, 524'288, 2'097'152, 8'388'608});
    return options;
}

}  // namespace

struct Server::Impl final : ConnectionOwner {
    Impl(ServerOptions options_in, Clock& clock_in, Random& random, MetricsRegistry& metrics_in, hufu::Log& log_in)
        : options{std::move(options_in)}, clock{clock_in}, metrics{metrics_in}, logger{log_in}, ids{clock_in, random} {}

    ~Impl() override {
        // The writer's threads post to `io` and use the log: they go first.
        writer.reset();
        if (!unix_path.empty()) ::unlink(unix_path.c_str());
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    Result<void> open();
    void serve(std::stop_token stop);

    // ConnectionOwner
    void request_turn() override {
        if (turn_requested) return;
        turn_requested = true;
        boost::asio::post(io, [this] { turn(); });
    }
    void closed(ConnectionId connection) override;
    void waits_for_room(ConnectionId connection) override { waiting.push_back(connection); }
    [[nodiscard]] SteadyTime now() const override { return clock.steady_now(); }
    void input_held(std::size_t before, std::size_t after) override {
        input_bytes = input_bytes - before + after;
        if (input_bytes > input_max && after > before)
            shed(&Connection::frame_pending_since, "unfinished frames hold too much memory",
                 [this] { return input_bytes <= input_max / 2; });
    }
    [[nodiscard]] bool short_of_memory() const override { return input_bytes > input_short; }

    void turn();
    void pump();
    void flush_ready();
    void resume_waiting();
    void arm_timer();
    void on_timer();
    void sweep(SteadyTime time);
    void wait_accept(boost::asio::posix::stream_descriptor& listening);
    void take_in(Accepted accepted);
    void turn_away(Accepted accepted);
    void shed(std::optional<SteadyTime> (Connection::*since)() const noexcept, std::string_view reason,
              const std::function<bool()>& enough);
    void shed_unread();
    void log_alarms();
    [[nodiscard]] std::string metrics_text();
    [[nodiscard]] std::vector<HealthCheck> health() const;
    Result<void> load_access();
    void reload_access();
    void stop_serving();

    const ServerOptions options;
    Clock& clock;
    MetricsRegistry& metrics;
    hufu::Log& logger;
    MessageIdGenerator ids;

    std::unique_ptr<Directory> directory;
    std::unique_ptr<Log> log;
    std::unique_ptr<Dispatcher> dispatcher;
    boost::asio::io_context io{1};
    boost::asio::steady_timer timer{io};
    std::vector<boost::asio::posix::stream_descriptor> listeners;
    std::vector<bool> accepting;  // per listener: a wait is out
    std::unique_ptr<MetricsEndpoint> endpoint;
    std::string tcp_address;
    std::string unix_path;
    std::string metrics_address;

    std::vector<std::shared_ptr<Connection>> connections;  // by slot
    std::vector<ConnectionId> ready;
    std::vector<ConnectionId> waiting;  // have frames that the dispatcher does not take yet
    bool turn_requested = false;
    bool stopping = false;
    bool refusing = false;  // what the operator was told of the log
    std::atomic<bool> notified{false};
    std::size_t input_bytes = 0;  // what ConnectionOwner::input_held counts
    std::size_t connections_open = 0;
    std::size_t connections_max = 0;
    Counter& connections_refused{
        metrics.counter("hufu_broker_connections_refused_total", "Connections closed because there were too many")};
    Counter& connections_shed{
        metrics.counter("hufu_broker_connections_shed_total", "Stalled connections closed to have their memory back")};
    std::uint64_t turned_away = 0;  // since the log last said so
    SteadyTime crowd_said_at = SteadyTime::min();
    SteadyTime timer_at = SteadyTime::max();
    SteadyTime look_until{};
    SteadyTime sweep_at{};
    std::unique_ptr<LogWriter> writer;  // last: its threads use what stands above
};

Result<void> Server::Impl::open() {
    if (options.listen.empty() && options.unix_socket.empty())
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "nothing to listen on: name a TCP address or a Unix socket"};
    // The port is taken before the folder is touched, and known before the first record carries it.
    std::optional<Listener> tcp;
    if (!options.listen.empty()) {
        auto bound = bind_tcp("--listen", options.listen, options.allow_remote || !options.acl_file.empty(), "--acl FILE");
        if (!bound) return bound.error();
        tcp = std::move(*bound);
        tcp_address = tcp->address;
    }
    remoting::Host advertised = tcp ? tcp->host : remoting::Host{};
    if (!options.advertise.empty()) {
        const auto wanted = parse_advertised("--advertise", options.advertise);
        if (!wanted) return wanted.error();
        advertised = *wanted;
    }
    std::optional<Listener> metrics_listener;
    if (!options.metrics_listen.empty()) {
        auto bound = bind_tcp("--metrics-listen", options.metrics_listen, options.allow_remote, {});
        if (!bound) return bound.error();
        metrics_listener = std::move(*bound);
    }

    auto opened = open_directory(options.folder);
    if (!opened) return opened.error();
    directory = std::move(*opened);
    DispatcherOptions dispatch = dispatcher_options(options, advertised);
    dispatch.disk_space = [folder = options.folder] {
        std::error_code ignored;
        const auto space = std::filesystem::space(folder, ignored);
        return ignored ? DiskSpace{} : DiskSpace{space.capacity, space.available};
    };
    auto recovered = Log::open(*directory, log_options(dispatch), clock);
    if (!recovered) return recovered.error();
    log = std::move(*recovered);
    dispatcher = std::make_unique<Dispatcher>(*log, dispatch, ids, metrics, clock);
    if (auto loaded = load_access(); !loaded) return loaded;

    std::optional<Listener> local;
    if (!options.unix_socket.empty()) {
        auto bound = bind_unix(options.unix_socket);
        if (!bound) return bound.error();
        local = std::move(*bound);
        unix_path = local->address;
    }
    for (std::optional<Listener>* listener : {&tcp, &local}) {
        if (!*listener) continue;
        if (auto listening = start_listening(**listener); !listening) return listening;
        listeners.emplace_back(io, (*listener)->socket.release());
    }
    accepting.assign(listeners.size(), false);
    connections_max = std::min<std::size_t>(options.connections_max, descriptors_for_connections());
    if (connections_max < options.connections_max)
        logger.info("the limit of open files allows fewer connections than --connections-max",
                    {{"connections_max", connections_max}, {"wanted", options.connections_max}});
    if (metrics_listener) {
        if (auto listening = start_listening(*metrics_listener); !listening) return listening;
        metrics_address = metrics_listener->address;
        endpoint = std::make_unique<MetricsEndpoint>(
            io, std::move(*metrics_listener), clock,
            MetricsEndpoint::Sources{[this] { return metrics_text(); }, [this] { return health(); }});
    }
    writer = std::make_unique<LogWriter>(*log, clock, writer_options(metrics, options.durability), [this] {
        if (!notified.exchange(true)) boost::asio::post(io, [this] { turn(); });
    });

    const LogRecovery& recovery = log->recovery();
    logger.info("log recovered", {{"folder", options.folder},
                                  {"epoch", recovery.epoch},
                                  {"segments", recovery.segments},
                                  {"replayed_bytes", recovery.replayed_bytes},
                                  {"tail_cut", recovery.tail_cut}});
    log_alarms();
    return {};
}

void Server::Impl::serve(std::stop_token stop) {
    const std::stop_callback on_stop{stop, [this] { boost::asio::post(io, [this] { stop_serving(); }); }};
    for (auto& listening : listeners) wait_accept(listening);
    if (endpoint) endpoint->start();
    sweep_at = now() + sweep_every;
    work_in_short_turns();  // beside busy services, an answer should not wait for the end of their turn
    turn();
    while (!io.stopped()) {
        // After a sync of its own the loop looks for the next request for a while: being woken costs as much as a sync.
        if (now() < look_until) {
            if (io.poll() == 0) spin_pause();
        } else {
            io.run_one();
        }
    }
}

void Server::Impl::wait_accept(boost::asio::posix::stream_descriptor& listening) {
    const auto index = static_cast<std::size_t>(&listening - listeners.data());
    accepting[index] = true;
    listening.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [this, &listening, index](const boost::system::error_code& fault) {
                             accepting[index] = false;
                             if (fault || !listening.is_open()) return;
                             for (;;) {
                                 Accepted accepted = accept_on(listening.native_handle());
                                 if (accepted.exhausted) {
                                     logger.warning("out of file descriptors: new connections wait", {});
                                     return;  // the next sweep accepts again
                                 }
                                 if (accepted.socket.get() < 0) break;
                                 if (connections_open < connections_max) {
                                     take_in(std::move(accepted));
                                 } else {
                                     turn_away(std::move(accepted));
                                 }
                             }
                             wait_accept(listening);
                         });
}

void Server::Impl::take_in(Accepted accepted) {
    const ConnectionId id = dispatcher->connected(accepted.peer);
    if (connections.size() <= id.slot) connections.resize(id.slot + 1);
    connections[id.slot] =
        std::make_shared<Connection>(io, std::move(accepted.socket), id, *dispatcher, *this, options.patience, logger);
    ++connections_open;
    connections[id.slot]->start();
}

void Server::Impl::turn_away(Accepted accepted) {
    // The newest goes: those who work already keep working.
    connections_refused.add();
    ++turned_away;
    if (const SteadyTime time = now(); crowd_said_at == SteadyTime::min() || time - crowd_said_at > crowd_said_every) {
        crowd_said_at = time;
        logger.warning("too many connections: new ones are closed", {{"open", connections_open},
                                                                     {"closed", std::exchange(turned_away, 0)},
                                                                     {"last_from", to_string(accepted.peer)}});
    }
}

/// Closes connections that keep memory waiting, those first that stalled longest, until it is enough.
void Server::Impl::shed(std::optional<SteadyTime> (Connection::*since)() const noexcept, std::string_view reason,
                        const std::function<bool()>& enough) {
    std::vector<std::pair<SteadyTime, std::shared_ptr<Connection>>> stalled;
    for (const auto& connection : connections)
        if (connection)
            if (const auto time = ((*connection).*since)()) stalled.emplace_back(*time, connection);
    std::sort(stalled.begin(), stalled.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [time, connection] : stalled) {
        if (enough()) return;
        connections_shed.add();
        connection->close(reason);
    }
}

void Server::Impl::shed_unread() {
    const std::uint64_t limit = dispatcher->output_limit();
    if (dispatcher->unsent() <= limit) return;
    shed(&Connection::unread_since, "unread answers hold too much memory",
         [this, limit] { return dispatcher->unsent() <= limit / 2; });
}

void Server::Impl::closed(ConnectionId connection) {
    dispatcher->disconnected(connection, now());
    --connections_open;
    // The object may be running: it goes when its handlers are through.
    boost::asio::post(io, [kept = std::move(connections[connection.slot])] {});
    connections[connection.slot].reset();
    request_turn();
}

void Server::Impl::pump() {
    notified.store(false);
    const std::uint64_t before = writer->own_groups();
    writer->pump([this](const Outcome& outcome) { dispatcher->settled(outcome, now()); });
    if (writer->own_groups() != before) look_until = now() + LogWriterOptions{}.spin;
}

void Server::Impl::turn() {
    turn_requested = false;
    pump();
    flush_ready();
    shed_unread();
    resume_waiting();
    log_alarms();
    arm_timer();
}

void Server::Impl::flush_ready() {
    dispatcher->take_ready(ready);
    for (const ConnectionId id : ready) {
        // A copy keeps the connection alive when a failed send closes it.
        const auto connection = id.slot < connections.size() ? connections[id.slot] : nullptr;
        if (connection && connection->id() == id) connection->flush();
    }
    ready.clear();
}

void Server::Impl::resume_waiting() {
    for (const ConnectionId id : std::exchange(waiting, {})) {
        const auto connection = id.slot < connections.size() ? connections[id.slot] : nullptr;
        if (!connection || connection->id() != id) continue;
        connection->resume();
        if (connection->waits()) waiting.push_back(id);
    }
    // resume() may have put one in twice.
    std::sort(waiting.begin(), waiting.end());
    waiting.erase(std::unique(waiting.begin(), waiting.end()), waiting.end());
}

void Server::Impl::arm_timer() {
    SteadyTime next = sweep_at;
    if (const auto tick = dispatcher->next_tick()) next = std::min(next, *tick);
    if (const auto chore = log->next_chore_at()) next = std::min(next, *chore);
    if (next == timer_at) return;
    timer_at = next;
    timer.expires_at(next);
    timer.async_wait([this](const boost::system::error_code& fault) {
        if (!fault) on_timer();
    });
}

void Server::Impl::on_timer() {
    timer_at = SteadyTime::max();
    const SteadyTime time = now();
    dispatcher->tick(time);
    if (time >= sweep_at) sweep(time);
    turn();
}

void Server::Impl::sweep(SteadyTime time) {
    sweep_at = time + sweep_every;
    dispatcher->release_idle_memory();
    for (std::size_t slot = 0; slot < connections.size(); ++slot)
        if (const auto connection = connections[slot]) connection->look_after(time);
    for (std::size_t index = 0; index < listeners.size(); ++index)
        if (!accepting[index] && listeners[index].is_open()) wait_accept(listeners[index]);
    if (endpoint) endpoint->start();
}

void Server::Impl::log_alarms() {
    if (const auto& refusal = log->refusing(); refusal.has_value() != refusing) {
        refusing = refusal.has_value();
        if (refusing) {
            logger.error("sends are refused", {{"reason", refusal->text()}});
        } else {
            logger.info("sends are taken again");
        }
    }
    for (const std::string& alarm : dispatcher->take_alarms()) logger.warning("alarm", {{"what", alarm}});
    for (const std::string& line : dispatcher->take_audit()) logger.warning("access", {{"what", line}});
}

Result<void> Server::Impl::load_access() {
    if (options.acl_file.empty()) return {};
    ConfigSources sources;
    sources.file = options.acl_file;
    auto table = AccessTable::load(sources);
    if (!table) return table.error();
    logger.info("access control is on", {{"file", options.acl_file}, {"accounts", table->size()}});
    if (others_may_read(options.acl_file))
        logger.warning("other users can read the secrets in the access file: chmod 600 it", {{"file", options.acl_file}});
    dispatcher->set_access(std::make_shared<const AccessTable>(std::move(*table)));
    return {};
}

void Server::Impl::reload_access() {
    if (auto loaded = load_access(); !loaded)
        logger.error("the access file is wrong; the accounts read before stay in force",
                     {{"reason", loaded.error().text()}});
}

std::string Server::Impl::metrics_text() {
    std::string text = metrics.text();
    dispatcher->append_metrics(text);
    return text;
}

std::vector<HealthCheck> Server::Impl::health() const {
    const auto& refusal = log->refusing();
    const bool full = refusal && refusal->code() == ErrorCode::out_of_space;
    return {{"log", refusal && !full ? refusal->text() : std::string{}},
            {"disk", full ? refusal->text() : std::string{}},
            {"stopping", stopping ? "the broker is stopping" : ""}};
}

void Server::Impl::stop_serving() {
    stopping = true;
    boost::system::error_code ignored;
    for (auto& listening : listeners) listening.close(ignored);
    if (endpoint) endpoint->stop();
    const auto settle = [this](const Outcome& outcome) { dispatcher->settled(outcome, now()); };
    writer->drain(settle);
    if (!dispatcher->store_offsets())
        logger.warning("consumer positions could not be stored; groups repeat their last moments", {});
    writer->drain(settle);
    flush_ready();
    // What the sockets did not take at once gets a moment more.
    const SteadyTime until = now() + farewell;
    const auto pending = [this] {
        return std::any_of(connections.begin(), connections.end(),
                           [](const auto& open) { return open && !open->drained(); });
    };
    while (pending() && now() < until) io.run_one_until(until);
    for (std::size_t slot = 0; slot < connections.size(); ++slot)
        if (const auto connection = connections[slot]) connection->close({});
    io.stop();
}

Result<std::unique_ptr<Server>> Server::open(ServerOptions options, Clock& clock, Random& random, MetricsRegistry& metrics,
                                             hufu::Log& log) {
    if (options.folder.empty())
        return Error{ErrorCode::invalid_argument, Disposition::reject, "the broker needs a folder for its log"};
    auto impl = std::make_unique<Impl>(std::move(options), clock, random, metrics, log);
    if (auto opened = impl->open(); !opened) return opened.error();
    return std::unique_ptr<Server>{new Server{std::move(impl)}};
}

Server::Server(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Server::~Server() = default;

Result<void> Server::run(std::stop_token stop) {
    impl_->serve(std::move(stop));
    return {};
}

void Server::reload() {
    boost::asio::post(impl_->io, [impl = impl_.get()] { impl->reload_access(); });
}

const std::string& Server::tcp_address() const noexcept { return impl_->tcp_address; }
const std::string& Server::unix_address() const noexcept { return impl_->unix_path; }
const std::string& Server::metrics_address() const noexcept { return impl_->metrics_address; }

}  // namespace hufu::broker
