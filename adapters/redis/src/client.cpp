#include <hufu/redis/client.hpp>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "link.hpp"

namespace hufu::redis {
namespace {

/// With fewer commands under way than this a caller sends its own at once; with more, whoever reads sends what has gathered
/// when the next replies come: so a lone caller waits for nobody, and a crowd's commands travel in few packets.
constexpr std::size_t crowd = 4;

/// A connection that was silent for longer may have been closed from the other side without anybody looking.
constexpr std::chrono::milliseconds idle_check{100};

/// The commands of one caller, from being queued until the last answer.
struct Flight {
    std::vector<Result<Reply>> replies;
    std::size_t expected = 0;
    std::uint64_t begin = 0;  // where its bytes begin in the connection's stream
    SteadyTime deadline;
    std::optional<Error> error;
    bool done = false;
    std::condition_variable wake;
};

}  // namespace

// One of the waiting callers drives: it connects, waits for the socket, reads and hands out replies, until its own are
// there; then the caller that has waited longest drives on. Everything else is done under the mutex.
struct Client::Impl {
    Address address;
    ClientOptions options;
    Clock& clock;
    std::string name;

    std::mutex mutex;
    // All below is guarded by mutex, but for the link, which the driver alone replaces (under the mutex) and waits on.
    std::unique_ptr<Link> link;
    bool driving = false;
    std::deque<Flight*> flights;  // in the order of the stream
    std::string outgoing;         // from outgoing_begin on: what the socket has not taken yet
    std::size_t outgoing_begin = 0;
    std::uint64_t taken = 0;    // bytes of the stream that the socket took, over all connections
    std::size_t under_way = 0;  // replies awaited
    SteadyTime last_reply;
    std::chrono::milliseconds pause{0};
    SteadyTime connect_again;
    Error connect_error;
    int version = 0;

    Impl(Address from, ClientOptions with, Clock& source)
        : address{std::move(from)}, options{with}, clock{source}, name{address.name()} {}

    void run(Flight& flight, std::span<const Command> commands) {
        std::unique_lock lock{mutex};
        const SteadyTime now = clock.steady_now();
        if (!admit(flight, commands, now)) return;
        flight.deadline = now + options.command_timeout;
        flight.begin = taken + waiting_bytes();
        for (const auto& command : commands) outgoing += command.bytes();
        flights.push_back(&flight);
        under_way += flight.expected;
        // A failure is the driver's to see: it waits on this socket.
        if (driving && link != nullptr && under_way <= crowd) static_cast<void>(flush());
        while (!flight.done) {
            if (driving) {
                flight.wake.wait(lock);
                continue;
            }
            driving = true;
            drive(lock, flight);
            driving = false;
            if (!flights.empty()) flights.front()->wake.notify_one();
        }
    }

    [[nodiscard]] std::size_t waiting_bytes() const noexcept { return outgoing.size() - outgoing_begin; }

    bool admit(Flight& flight, std::span<const Command> commands, SteadyTime now) {
        std::size_t bytes = 0;
        for (const auto& command : commands) bytes += command.bytes().size();
        if (waiting_bytes() + bytes > options.waiting_bytes_max) {
            flight.error = Error{ErrorCode::busy, Disposition::retry,
                                 name + ": " + std::to_string(waiting_bytes()) + " bytes wait to be sent already, and " +
                                     std::to_string(bytes) + " more pass the limit of " +
                                     std::to_string(options.waiting_bytes_max) + "; send less at once"};
            return false;
        }
        if (link == nullptr && !driving && now < connect_again) {
            flight.error = connect_error;
            return false;
        }
        return true;
    }

    void drive(std::unique_lock<std::mutex>& lock, const Flight& own) {
        while (!own.done) {
            if (link != nullptr && nothing_sent() && clock.steady_now() - last_reply > idle_check && link->closed()) {
                link.reset();
            }
            if (link == nullptr && !connect(lock)) return;
            if (const auto flushed = flush(); !flushed) return abandon(flushed.error());
            const bool to_write = waiting_bytes() > 0;
            const SteadyTime until = flights.front()->deadline;
            lock.unlock();
            const auto ready = link->wait(to_write, until);
            lock.lock();
            if (!ready) return abandon(ready.error());
            if (!*ready) {
                return abandon(Error{ErrorCode::timeout, Disposition::in_doubt,
                                     name + " does not answer within " + std::to_string(options.command_timeout.count()) +
                                         " ms; what was sent may have happened"});
            }
            if (const auto taken_in = take_in(); !taken_in) return abandon(taken_in.error());
        }
    }

    [[nodiscard]] bool nothing_sent() const noexcept { return flights.front()->begin == taken; }

    bool connect(std::unique_lock<std::mutex>& lock) {
        lock.unlock();
        auto opened = Link::open(address, options, clock);
        lock.lock();
        if (!opened) {
            pause = std::clamp(pause * 2, options.reconnect_pause, options.reconnect_pause_max);
            connect_again = clock.steady_now() + pause;
            connect_error = opened.error();
            fail_all(opened.error(), opened.error());
            return false;
        }
        link = std::move(*opened);
        pause = std::chrono::milliseconds{0};
        last_reply = clock.steady_now();
        version = link->server_version();
        return true;
    }

    Result<void> flush() {
        while (waiting_bytes() > 0) {
            const auto written = link->write_some(std::string_view{outgoing}.substr(outgoing_begin));
            if (!written) return written.error();
            if (*written == 0) return {};
            taken += *written;
            outgoing_begin += *written;
        }
        outgoing.clear();
        outgoing_begin = 0;
        return {};
    }

    Result<void> take_in() {
        if (const auto read = link->read_some(); !read) return read.error();
        last_reply = clock.steady_now();
        for (;;) {
            auto answer = link->next_answer();
            if (!answer) return answer.error();
            if (!*answer) return {};
            if (flights.empty()) {
                return Error{ErrorCode::protocol, Disposition::in_doubt, name + " answers what was not asked"};
            }
            Flight& flight = *flights.front();
            flight.replies.push_back(std::move(**answer).taken());
            --under_way;
            if (flight.replies.size() == flight.expected) {
                flights.pop_front();
                flight.done = true;
                flight.wake.notify_one();
            }
        }
    }

    /// The driver only. Ends the connection; what was never handed to it may be sent again.
    void abandon(const Error& error) {
        link.reset();
        fail_all(error, Error{error.code(), Disposition::retry, error.text()});
    }

    void fail_all(const Error& sent, const Error& unsent) {
        for (Flight* flight : flights) {
            flight->error = flight->begin < taken ? sent : unsent;
            flight->done = true;
            flight->wake.notify_one();
        }
        flights.clear();
        outgoing.clear();
        outgoing_begin = 0;
        under_way = 0;
    }
};

Client::Client(std::string_view url, ClientOptions options)
    : impl_{std::make_unique<Impl>(parse_address(url).value(), options,
                                   options.clock != nullptr ? *options.clock : system_clock())} {}

Client::~Client() = default;

Result<Reply> Client::run(const Command& command) { return std::move(run(std::span{&command, 1}).front()); }

std::vector<Result<Reply>> Client::run(std::span<const Command> commands) {
    if (commands.empty()) return {};
    Flight flight;
    flight.expected = commands.size();
    flight.replies.reserve(commands.size());
    impl_->run(flight, commands);
    if (flight.error) return std::vector<Result<Reply>>(commands.size(), Result<Reply>{*flight.error});
    return std::move(flight.replies);
}

const std::string& Client::name() const noexcept { return impl_->name; }

Clock& Client::clock() const noexcept { return impl_->clock; }

Result<int> Client::server_version() {
    {
        const std::lock_guard lock{impl_->mutex};
        if (impl_->link != nullptr) return impl_->version;
    }
    if (const auto pong = run(Command{"PING"}); !pong) return pong.error();
    const std::lock_guard lock{impl_->mutex};
    return impl_->version;
}

}  // namespace hufu::redis
