// One client's socket: bytes in to frames, answers out.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <hufu/broker/dispatcher.hpp>
#include <hufu/broker/server.hpp>
#include <hufu/core/log.hpp>
#include <hufu/remoting/frame.hpp>

#include "sockets.hpp"

namespace hufu::broker {

/// What a connection asks of the server.
class ConnectionOwner {
public:
    virtual ~ConnectionOwner() = default;
    /// Frames were dispatched, or bytes left: log and outputs want attention once this turn of the event loop is over.
    virtual void request_turn() = 0;
    /// The dispatcher takes no frame of this connection at present: resume it when it does.
    virtual void waits_for_room(ConnectionId connection) = 0;
    /// The connection is closed; forget it.
    virtual void closed(ConnectionId connection) = 0;
    [[nodiscard]] virtual SteadyTime now() const = 0;
    /// The connection now holds `after` bytes of input instead of `before`. May close other connections.
    virtual void input_held(std::size_t before, std::size_t after) = 0;
    /// True while many bytes are held: reads stay small.
    [[nodiscard]] virtual bool short_of_memory() const = 0;
};

/// A connection. Lives on the server's thread; kept alive by its pending waits.
class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(boost::asio::io_context& io, Descriptor socket, ConnectionId id, Dispatcher& dispatcher,
               ConnectionOwner& owner, const ConnectionPatience& patience, hufu::Log& log);

    void start();
    /// Goes on with frames that had to wait.
    void resume();
    /// Sends what the dispatcher has for this connection, as far as the socket takes it.
    void flush();
    void close(std::string_view reason);
    /// Looks after memory and time: gives idle buffers back, closes a peer that stalls. Called every few seconds.
    void look_after(SteadyTime now);

    [[nodiscard]] ConnectionId id() const noexcept { return id_; }
    [[nodiscard]] bool waits() const noexcept { return paused_; }
    [[nodiscard]] bool open() const noexcept { return descriptor_.is_open(); }
    [[nodiscard]] bool drained() const noexcept { return sent_ == out_.size(); }
    /// When the frame began that is not whole yet; nothing when it is not the peer who keeps us waiting.
    [[nodiscard]] std::optional<SteadyTime> frame_pending_since() const noexcept;
    /// When the peer last took bytes, while some are left.
    [[nodiscard]] std::optional<SteadyTime> unread_since() const noexcept;

private:
    void note_input();
    void pause();
    enum class Progress : bool { go_on, stop };

    void wait_readable();
    void on_readable();
    Progress dispatch_frames();

    boost::asio::posix::stream_descriptor descriptor_;
    const ConnectionId id_;
    Dispatcher& dispatcher_;
    ConnectionOwner& owner_;
    const ConnectionPatience& patience_;
    hufu::Log& log_;
    remoting::FrameDecoder decoder_;
    std::size_t held_ = 0;  // of the decoder's bytes, what the owner counts
    std::size_t room_;      // size of the next read
    bool paused_ = false;   // frames or reads wait for the dispatcher
    bool wait_read_ = false;
    bool wait_write_ = false;
    std::string out_;       // taken from the dispatcher
    std::size_t sent_ = 0;  // of out_
    SteadyTime last_read_;
    SteadyTime last_frame_;  // when a whole frame came last, or the present one began
    SteadyTime last_sent_;   // when the peer took bytes last, or there was nothing to take
};

}  // namespace hufu::broker
