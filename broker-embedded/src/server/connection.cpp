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
constexpr std::chrono::seconds partial_frame_max{60};  // a frame that takes longer is a stalled peer
constexpr std::chrono::seconds unread_answers_max{60};
constexpr std::chrono::minutes silence_max{10};

}  // namespace

Connection::Connection(boost::asio::io_context& io, Descriptor socket, ConnectionId id, Dispatcher& dispatcher,
                       ConnectionOwner& owner, hufu::Log& log)
    : descriptor_{io, socket.release()},
      id_{id},
      dispatcher_{dispatcher},
      owner_{owner},
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

void Connection::pause() {
    paused_ = true;
    owner_.waits_for_room(id_);
}

void Connection::on_readable() {
    owner_.request_turn();
    for (int reads = 0; reads < reads_per_turn; ++reads) {
        if (!dispatcher_.accepts(id_)) return pause();
        if (!owner_.room_for_partial(decoder_.buffered())) return close("unfinished large frames hold too much memory");
        const std::span<char> room = decoder_.prepare(room_);
        const ssize_t count = ::recv(descriptor_.native_handle(), room.data(), room.size(), 0);
        if (count < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) break;
            return close(std::strerror(errno));
        }
        if (count == 0) return close({});
        const auto bytes = static_cast<std::size_t>(count);
        decoder_.commit(bytes);
        last_read_ = owner_.now();
        if (dispatch_frames() == Progress::stop) return;
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
    if (dispatch_frames() == Progress::go_on) wait_readable();
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
    owner_.closed(id_);
}

void Connection::look_after(SteadyTime now) {
    if (!open()) return;
    if (decoder_.buffered() > 0 && !paused_ && now - last_frame_ > partial_frame_max && now - last_read_ < silence_max)
        return close("a frame took longer than 60 s to arrive");
    if (!drained() && now - last_sent_ > unread_answers_max) return close("the peer read none of its answers for 60 s");
    if (drained() && !paused_ && now - last_read_ > silence_max) return close("nothing was heard for 10 minutes");
    if (decoder_.buffered() == 0) {
        decoder_.release();
        room_ = room_min;
        last_frame_ = now;
    }
    if (drained() && out_.capacity() > room_min) {
        out_ = std::string{};
        sent_ = 0;
    }
}

}  // namespace hufu::broker
