#include "loop.hpp"

#include <unistd.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <charconv>
#include <deque>
#include <thread>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/acl.hpp>
#include <hufu/remoting/frame.hpp>

namespace hufu::rocketmq {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Socket = asio::generic::stream_protocol::socket;
using Endpoint = asio::generic::stream_protocol::endpoint;

constexpr std::string_view unix_prefix = "unix:";
constexpr std::size_t read_room = 64 * 1024;

struct HostPort {
    std::string host;
    std::string port;
};

std::optional<HostPort> host_and_port(std::string_view address) {
    const std::size_t colon = address.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
        return {};
    }
    std::string_view host = address.substr(0, colon);
    const std::string_view port = address.substr(colon + 1);
    std::uint16_t number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc{} || end != port.data() + port.size() || number == 0) {
        return {};
    }
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    return HostPort{std::string{host}, std::string{port}};
}

bool is_address(std::string_view address) {
    constexpr std::size_t path_max = 107;  // sun_path
    if (address.starts_with(unix_prefix)) {
        const std::size_t path = address.size() - unix_prefix.size();
        return path > 0 && path <= path_max;
    }
    return host_and_port(address).has_value();
}

/// One connection. Lives as long as an operation of it is under way; `closed_` keeps late completions quiet.
class Link : public std::enable_shared_from_this<Link> {
public:
    class Events {
    public:
        virtual void connected(const std::string& address) = 0;
        virtual void closed(const std::string& address, const Error& why) = 0;
        virtual void received(const std::string& address, const remoting::CommandView& command) = 0;
        virtual void settle() = 0;

    protected:
        ~Events() = default;
    };

    Link(asio::io_context& context, std::string address, Events& events)
        : address_{std::move(address)}, events_{events}, socket_{context}, resolver_{context} {}

    void connect() {
        if (address_.starts_with(unix_prefix)) {
            return connect({Endpoint{asio::local::stream_protocol::endpoint{address_.substr(unix_prefix.size())}}}, false);
        }
        const auto parts = host_and_port(address_);
        if (!parts) {
            // A route may name anything. Not at once: the cluster is not ready for events while it gives orders.
            asio::post(socket_.get_executor(),
                       [self = shared_from_this()] { self->fail("is no address (host:port or unix:/path)"); });
            return;
        }
        error_code error;
        if (const auto literal = asio::ip::make_address(parts->host, error); !error) {
            const auto port = static_cast<std::uint16_t>(std::stoul(parts->port));
            return connect({Endpoint{asio::ip::tcp::endpoint{literal, port}}}, true);
        }
        resolver_.async_resolve(parts->host, parts->port,
                                [self = shared_from_this()](const error_code& failed, const auto& found) {
                                    if (failed) {
                                        return self->fail("cannot be resolved: " + failed.message());
                                    }
                                    std::vector<Endpoint> endpoints;
                                    for (const auto& entry : found) {
                                        endpoints.emplace_back(entry.endpoint());
                                    }
                                    self->connect(std::move(endpoints), true);
                                });
    }

    void send(std::string bytes) { queued_.push_back(std::move(bytes)); }

    void flush() {
        if (!up_ || closed_ || !writing_.empty() || queued_.empty()) {
            return;
        }
        writing_.swap(queued_);
        std::vector<asio::const_buffer> buffers;
        buffers.reserve(writing_.size());
        for (const std::string& bytes : writing_) {
            buffers.push_back(asio::buffer(bytes));
        }
        asio::async_write(socket_, buffers, [self = shared_from_this()](const error_code& failed, std::size_t) {
            self->writing_.clear();
            if (failed) {
                return self->fail(failed.message());
            }
            self->flush();
        });
    }

    void close() {
        closed_ = true;
        error_code ignored;
        socket_.close(ignored);
        resolver_.cancel();
    }

private:
    void connect(std::vector<Endpoint> endpoints, bool tcp) {
        endpoints_ = std::move(endpoints);
        asio::async_connect(socket_, endpoints_,
                            [self = shared_from_this(), tcp](const error_code& failed, const Endpoint&) {
                                if (self->closed_) {
                                    return;
                                }
                                if (failed) {
                                    return self->fail(failed.message());
                                }
                                if (tcp) {
                                    error_code ignored;
                                    self->socket_.set_option(asio::ip::tcp::no_delay{true}, ignored);
                                }
                                self->up_ = true;
                                self->events_.connected(self->address_);
                                self->events_.settle();
                                self->read();
                            });
    }

    void read() {
        if (closed_) {
            return;
        }
        const auto room = decoder_.prepare(read_room);
        socket_.async_read_some(asio::buffer(room.data(), room.size()), [self = shared_from_this()](const error_code& failed,
                                                                                                    std::size_t count) {
            if (failed) {
                return self->fail(failed == asio::error::eof ? "closed by the peer" : failed.message());
            }
            self->take(count);
        });
    }

    void take(std::size_t count) {
        decoder_.commit(count);
        while (!closed_) {
            const auto frame = decoder_.next();
            if (!frame) {
                return fail(frame.error().text());
            }
            if (!*frame) {
                break;
            }
            if (const auto decoded = remoting::decode_command(**frame, command_); !decoded) {
                return fail(decoded.error().text());
            }
            events_.received(address_, command_);
        }
        if (!closed_) {
            events_.settle();
            read();
        }
    }

    void fail(const std::string& reason) {
        if (closed_) {
            return;
        }
        close();
        events_.closed(address_, Error{ErrorCode::unavailable, Disposition::retry, reason});
        events_.settle();
    }

    std::string address_;
    Events& events_;
    Socket socket_;
    asio::ip::tcp::resolver resolver_;
    std::vector<Endpoint> endpoints_;
    remoting::FrameDecoder decoder_;
    remoting::CommandView command_;
    std::vector<std::string> queued_;
    std::vector<std::string> writing_;
    bool up_ = false;
    bool closed_ = false;
};

}  // namespace

Result<ClientOptions> complete(ClientOptions options, Random& random) {
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
    };
    if (options.name_servers.empty()) {
        return refuse("no name server: give at least one address, such as 127.0.0.1:9876");
    }
    for (const std::string& address : options.name_servers) {
        if (!is_address(address)) {
            return refuse("name server \"" + address + "\" is no address: write host:port or unix:/path");
        }
    }
    if (options.connect_timeout.count() <= 0 || options.request_timeout.count() <= 0) {
        return refuse("connect_timeout and request_timeout must be above 0 ms");
    }
    if (options.access_key.empty() != options.secret_key.empty()) {
        return refuse(options.access_key.empty() ? "a secret key without an access key: give both, or none"
                                                 : "access key \"" + options.access_key + "\" has no secret key: give both");
    }
    if (!options.access_key.empty()) {
        if (auto signer = remoting::AclSigner::create(options.access_key, options.secret_key); !signer) {
            return signer.error();
        }
    }
    if (options.client_id.empty()) {
        constexpr std::string_view digits = "0123456789abcdef";
        options.client_id = "hufu@" + std::to_string(::getpid()) + "#";
        for (int i = 0; i < 16; ++i) {
            options.client_id.push_back(digits[random.below(digits.size())]);
        }
    }
    return options;
}

struct Loop::Impl final : Link::Events {
    Impl(ClientOptions options, Clock& clock_port, Random& random, Log& log)
        : clock{clock_port}, cluster{std::move(options), random, log}, timer{context} {}

    void connected(const std::string& address) override { cluster.connected(clock.steady_now(), address); }
    void closed(const std::string& address, const Error& why) override {
        links.erase(address);
        cluster.closed(clock.steady_now(), address, why);
    }
    void received(const std::string& address, const remoting::CommandView& command) override {
        cluster.received(clock.steady_now(), address, command);
    }

    void settle() override {
        if (machine == nullptr) {
            return;
        }
        obey();
        machine->settled(clock.steady_now());
        obey();  // what finishing touched off
        arm();
    }

    void obey() {
        std::vector<std::shared_ptr<Link>> written;
        for (Action& action : cluster.take_actions()) {
            if (action.kind == Action::Kind::connect) {
                auto link = std::make_shared<Link>(context, action.address, *this);
                links[action.address] = link;
                link->connect();
                continue;
            }
            const auto found = links.find(action.address);
            if (found == links.end()) {
                continue;
            }
            if (action.kind == Action::Kind::close) {
                found->second->close();
                links.erase(found);
            } else {
                found->second->send(std::move(action.bytes));
                if (written.empty() || written.back() != found->second) {
                    written.push_back(found->second);
                }
            }
        }
        for (const auto& link : written) {
            link->flush();
        }
    }

    void arm() {
        auto next = cluster.next_tick();
        if (const auto other = machine->next_tick(); other && (!next || *other < *next)) {
            next = other;
        }
        if (next == armed) {
            return;
        }
        armed = next;
        if (!next) {
            timer.cancel();
            return;
        }
        timer.expires_after(std::max(*next - clock.steady_now(), std::chrono::nanoseconds{0}));
        timer.async_wait([this](const error_code& cancelled) {
            if (cancelled) {
                return;
            }
            armed.reset();
            const SteadyTime now = clock.steady_now();
            cluster.tick(now);
            machine->tick(now);
            settle();
        });
    }

    Clock& clock;
    asio::io_context context{1};
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
    Cluster cluster;
    std::map<std::string, std::shared_ptr<Link>> links;
    asio::steady_timer timer;
    std::optional<SteadyTime> armed;
    Machine* machine = nullptr;
    std::thread thread;
};

Loop::Loop(ClientOptions options, Clock& clock, Random& random, Log& log)
    : impl_{std::make_unique<Impl>(std::move(options), clock, random, log)} {}

Loop::~Loop() { HUFU_ASSERT(!impl_->thread.joinable()); }

Cluster& Loop::cluster() noexcept { return impl_->cluster; }

void Loop::start(Machine& machine) {
    impl_->machine = &machine;
    impl_->cluster.on_link(
        [&machine](SteadyTime now, const std::string& address, bool up) { machine.link(now, address, up); });
    impl_->cluster.on_request([&machine](SteadyTime now, const std::string& address, const remoting::CommandView& command) {
        machine.request(now, address, command);
    });
    impl_->thread = std::thread{[this] { impl_->context.run(); }};
}

void Loop::post(std::function<void(SteadyTime)> task) {
    asio::post(impl_->context, [this, task = std::move(task)] {
        task(impl_->clock.steady_now());
        impl_->settle();
    });
}

void Loop::stop() {
    if (!impl_->thread.joinable()) {
        return;
    }
    asio::post(impl_->context, [this] { impl_->context.stop(); });
    impl_->thread.join();
    for (const auto& [address, link] : impl_->links) {
        link->close();
    }
    impl_->links.clear();
}

}  // namespace hufu::rocketmq
