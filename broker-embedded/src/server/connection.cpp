#include "connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hufu::broker {
namespace {

constexpr std::size_t room_min = 16U << 10U;
constexpr std::size_t room_max = 256U << 10U;
constexpr int reads_per_turn = 4;
constexpr std::size_t frame_bytes_per_second = 32U << 10U;  // slower than this, a large frame is a stalled one

std::string seconds_text(std::chrono::milliseconds time) {
    return std::to_string(time.count() / 1000) +
           (time.count() % 1000 == 0 ? "" : "." + std::to_string(time.count() % 1000)) + " s";
}

}  // namespace

Connection::Connection(boost::asio::io_context& io, Descriptor socket, ConnectionId id, Dispatcher& dispatcher,
                       ConnectionOwner& owner, const ConnectionPatience& patience, hufu::Log& log)
    : descriptor_{io, socket.release()},
      id_{id},
      dispatcher_{dispatcher},
      owner_{owner},
      patience_{patience},
      log_{log},
      room_{room_min},
      last_read_{owner.now()},
      last_frame_{last_read_},
      last_sent_{last_read_} {}

void Connection::start() { wait_readable(); }

void Connection::wait_readable() {
    if (wait_read_ || !open()) return;
    wait_read_ = true;
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [self = shared_from_this()](const boost::system::error_code& fault) {
                               self->wait_read_ = false;
                               if (!fault && self->open()) self->on_readable();
                           });
}

void Connection::note_input() {
    // One small read's worth is every connection's own.
    const std::size_t bytes = open() && decoder_.buffered() > room_min ? decoder_.buffered() : 0;
    if (bytes == 0 && held_ > room_max) decoder_.release();  // the buffer of a large frame is not kept
    if (bytes != held_) owner_.input_held(std::exchange(held_, bytes), bytes);
}

std::optional<SteadyTime> Connection::frame_pending_since() const noexcept {
    if (!open() || paused_ || decoder_.buffered() == 0) return {};
    return last_frame_;
}

std::optional<SteadyTime> Connection::unread_since() const noexcept {
    if (!open() || drained()) return {};
    return last_sent_;
}

void Connection::pause() {
    paused_ = true;
    owner_.waits_for_room(id_);
}

void Connection::on_readable() {
    owner_.request_turn();
    for (int reads = 0; reads < reads_per_turn; ++reads) {
        if (!dispatcher_.accepts(id_)) return pause();
        const std::span<char> room = decoder_.prepare(owner_.short_of_memory() ? room_min : room_);
        const ssize_t count = ::recv(descriptor_.native_handle(), room.data(), room.size(), 0);
        if (count < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) break;
            return close(std::strerror(errno));
        }
        if (count == 0) return close({});
        const auto bytes = static_cast<std::size_t>(count);
        last_read_ = owner_.now();
        if (decoder_.buffered() == 0) last_frame_ = last_read_;
        decoder_.commit(bytes);
        const Progress progress = dispatch_frames();
        note_input();
        if (progress == Progress::stop || !open()) return;
        if (bytes < room.size()) break;  // the socket is empty
        room_ = std::min(room_ * 4, room_max);
    }
    wait_readable();
}

Connection::Progress Connection::dispatch_frames() {
    for (;;) {
        if (!dispatcher_.accepts(id_)) {
            pause();
            return Progress::stop;
        }
        const auto frame = decoder_.next();
        if (!frame) {
            close(frame.error().text());
            return Progress::stop;
        }
        if (!*frame) return Progress::go_on;
        last_frame_ = last_read_;
        if (auto taken = dispatcher_.receive(id_, **frame, last_read_); !taken) {
            close(taken.error().text());
            return Progress::stop;
        }
    }
}

void Connection::resume() {
    if (!paused_ || !open() || !dispatcher_.accepts(id_)) return;
    paused_ = false;
    owner_.request_turn();
    last_frame_ = owner_.now();  // the wait was ours
    const Progress progress = dispatch_frames();
    note_input();
    if (progress == Progress::go_on) wait_readable();
}

void Connection::flush() {
    if (wait_write_ || !open()) return;
    for (;;) {
        if (drained()) {
            out_.clear();
            sent_ = 0;
            last_sent_ = owner_.now();
            dispatcher_.take_output(id_, out_);
            if (out_.empty()) return;
        }
        const ssize_t count = ::send(descriptor_.native_handle(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) return close(std::strerror(errno));
            wait_write_ = true;
            descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_write,
                                   [self = shared_from_this()](const boost::system::error_code& fault) {
                                       self->wait_write_ = false;
                                       if (fault || !self->open()) return;
                                       self->flush();
                                       self->owner_.request_turn();  // frames may have waited for this
                                   });
            return;
        }
        sent_ += static_cast<std::size_t>(count);
        last_sent_ = owner_.now();
        dispatcher_.written(id_, static_cast<std::size_t>(count));
    }
}

void Connection::close(std::string_view reason) {
    if (!open()) return;
    if (!reason.empty()) log_.info("connection closed", {{"connection", id_.slot}, {"reason", reason}});
    boost::system::error_code ignored;
    descriptor_.close(ignored);
    note_input();
    owner_.closed(id_);
}

void Connection::look_after(SteadyTime now) {
    if (!open()) return;
    const auto for_size = std::chrono::seconds{decoder_.buffered() / frame_bytes_per_second};
    if (const auto since = frame_pending_since(); since && now - *since > patience_.frame + for_size)
        return close("a frame of which " + std::to_string(decoder_.buffered()) + " bytes came took longer than " +
                     seconds_text(patience_.frame + for_size) + " to arrive");
    if (const auto since = unread_since(); since && now - *since > patience_.unread_answers)
        return close("the peer read none of its answers for " + seconds_text(patience_.unread_answers));
    if (drained() && !paused_ && now - std::max(last_read_, last_sent_) > patience_.silence)
        return close("nothing was heard or asked for " + seconds_text(patience_.silence));
    if (decoder_.buffered() == 0) {
        decoder_.release();
        room_ = room_min;
    }
    if (drained() && out_.capacity() > room_min) {
        out_ = std::string{};
        sent_ = 0;
    }
}

}  // namespace hufu::broker
