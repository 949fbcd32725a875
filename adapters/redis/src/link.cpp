#include "link.hpp"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "errors.hpp"

namespace hufu::redis {
namespace {

timeval time_value(std::chrono::milliseconds duration) {
    const auto us = std::chrono::microseconds{duration}.count();
    return {.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
}

/// How long the kernel waits for bytes before the deadline is looked at again.
constexpr std::chrono::milliseconds receive_patience{100};

/// What the protocol's reader makes of an answer: a `Reply` at once, without objects of its own in between.
struct Root : Reply {
    bool is_error = false;
};

/// The place of the value that is being read. A list grows as its values arrive, whatever length it announces.
Reply* place_of(const redisReadTask* task) {
    if (task->parent == nullptr) return new Root;
    return &static_cast<Reply*>(task->parent->obj)->items.emplace_back();
}

/// Null tells the reader that there is no memory; exceptions must not pass through it.
template <class Fill>
void* filled(const redisReadTask* task, const Fill& fill) noexcept {
    try {
        Reply* const reply = place_of(task);
        fill(*reply);
        return reply;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void* make_text(const redisReadTask* task, char* text, std::size_t size) noexcept {
    return filled(task, [&](Reply& reply) {
        reply.kind = Reply::Kind::text;
        reply.text.assign(text, size);
        // Inside a list an error is a text: a script's table of errors.
        if (task->parent == nullptr) static_cast<Root&>(reply).is_error = task->type == REDIS_REPLY_ERROR;
    });
}

template <class Count>  // int or size_t, as the library's version has it
void* make_array(const redisReadTask* task, Count elements) noexcept {
    constexpr std::size_t at_once = 4'096;
    return filled(task, [&](Reply& reply) {
        reply.kind = Reply::Kind::array;
        reply.items.reserve(std::min(static_cast<std::size_t>(elements), at_once));
    });
}

void* make_integer(const redisReadTask* task, long long value) noexcept {
    return filled(task, [&](Reply& reply) {
        reply.kind = Reply::Kind::integer;
        reply.integer = value;
    });
}

void* make_nil(const redisReadTask* task) noexcept {
    return filled(task, [](Reply&) {});
}

void free_root(void* reply) noexcept { delete static_cast<Root*>(static_cast<Reply*>(reply)); }

redisReplyObjectFunctions reply_functions() {
    redisReplyObjectFunctions functions{};
    functions.createString = make_text;
    functions.createArray = make_array;
    functions.createInteger = make_integer;
    functions.createNil = make_nil;
    functions.freeObject = free_root;
    return functions;
}

/// "redis_version:7.0.15" in what INFO says.
int version_in(const std::string& info) {
    constexpr std::string_view field = "redis_version:";
    const auto begin = info.find(field);
    if (begin == std::string::npos) return 0;
    int major = 0;
    int minor = 0;
    const char* const end = info.data() + info.size();
    const auto first = std::from_chars(info.data() + begin + field.size(), end, major);
    if (first.ptr == end || *first.ptr != '.') return 0;
    std::from_chars(first.ptr + 1, end, minor);
    return major * 100 + std::min(minor, 99);
}

}  // namespace

void Link::Freed::operator()(redisContext* context) const noexcept { redisFree(context); }

Link::Link(std::unique_ptr<redisContext, Freed> context, std::string name, std::size_t reply_bytes_max, Clock& clock)
    : context_{std::move(context)}, name_{std::move(name)}, reply_bytes_max_{reply_bytes_max}, clock_{clock} {}

Link::~Link() = default;

Error Link::lost(std::string_view why) const {
    return Error{ErrorCode::unavailable, Disposition::in_doubt,
                 "connection to " + name_ + " is lost: " + std::string{why} + "; what was sent may have happened"};
}

Result<std::unique_ptr<Link>> Link::open(const Address& address, const ClientOptions& options, Clock& clock) {
    const SteadyTime until = clock.steady_now() + options.connect_timeout;
    const timeval timeout = time_value(options.connect_timeout);
    std::unique_ptr<redisContext, Freed> context{address.socket.empty()
                                                     ? redisConnectWithTimeout(address.host.c_str(), address.port, timeout)
                                                     : redisConnectUnixWithTimeout(address.socket.c_str(), timeout)};
    if (context == nullptr || context->err != 0) {
        return Error{ErrorCode::unavailable, Disposition::retry,
                     "cannot connect to " + address.name() + ": " + (context ? context->errstr : "out of memory") +
                         "; is Redis running there?"};
    }
    // Blocking, for `receive`; whatever must not wait says so (MSG_DONTWAIT).
    const timeval patience = time_value(receive_patience);
    ::setsockopt(context->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    static const redisReplyObjectFunctions functions = reply_functions();
    context->reader->fn = const_cast<redisReplyObjectFunctions*>(&functions);  // the library only calls them
    std::unique_ptr<Link> link{new Link{std::move(context), address.name(), options.reply_bytes_max, clock}};
    if (const auto greeted = link->greet(address, until); !greeted) {
        const Error& error = greeted.error();
        // Nothing of the caller's was sent yet.
        if (error.disposition() != Disposition::in_doubt) return error;
        return Error{error.code(), Disposition::retry, "cannot log in to " + address.name() + ": " + error.text()};
    }
    return link;
}

Result<void> Link::greet(const Address& address, SteadyTime until) {
    if (!address.password.empty()) {
        const auto in = address.user.empty() ? ask(Command{"AUTH", address.password}, until)
                                             : ask(Command{"AUTH", address.user, address.password}, until);
        if (!in) return in.error();
    }
    if (address.database != 0) {
        const auto chosen = ask(Command{"SELECT", address.database}, until);
        if (!chosen) return chosen.error();
    }
    const auto info = ask(Command{"INFO", "server"}, until);
    if (info) {
        version_ = version_in(info->text);
    } else if (info.error().text().find("NOPERM") == std::string::npos) {
        return info.error();
    }  // a user without the right to INFO may still have all that is needed
    return {};
}

Result<Reply> Link::ask(const Command& command, SteadyTime until) {
    std::string_view rest = command.bytes();
    for (;;) {
        if (!rest.empty()) {
            const auto written = write_some(rest);
            if (!written) return written.error();
            rest.remove_prefix(*written);
        }
        const auto ready = wait(!rest.empty(), until);
        if (!ready) return ready.error();
        if (!*ready) return Error{ErrorCode::timeout, Disposition::in_doubt, name_ + " does not answer in time"};
        if (const auto read = read_some(); !read) return read.error();
        auto answer = next_answer();
        if (!answer) return answer.error();
        if (*answer) return std::move(**answer).taken();
    }
}

Result<std::size_t> Link::write_some(std::string_view bytes) {
    const auto sent = ::send(context_->fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return std::size_t{0};
    return lost(std::strerror(errno));
}

Result<bool> Link::wait(bool to_write, SteadyTime until) {
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock_.steady_now()).count();
        if (left <= 0) return false;
        // Only answers are awaited: receiving them is the wait, one call of the kernel less than to be told of them first.
        if (!to_write && left > receive_patience.count()) {
            const auto got = ::recv(context_->fd, arrived_.data(), arrived_.size(), 0);
            if (got > 0) {
                arrived_bytes_ = static_cast<std::size_t>(got);
                return true;
            }
            if (got == 0) return lost("the server has closed it");
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) continue;
            return lost(std::strerror(errno));
        }
        pollfd place{.fd = context_->fd, .events = static_cast<short>(to_write ? POLLIN | POLLOUT : POLLIN), .revents = 0};
        const int ready = ::poll(&place, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
        if (ready > 0) return true;
        if (ready < 0 && errno != EINTR) return lost(std::strerror(errno));
    }
}

Result<void> Link::read_some() {
    if (arrived_bytes_ == 0) {
        const auto got = ::recv(context_->fd, arrived_.data(), arrived_.size(), MSG_DONTWAIT);
        if (got == 0) return lost("the server has closed it");
        if (got < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {};
            return lost(std::strerror(errno));
        }
        arrived_bytes_ = static_cast<std::size_t>(got);
    }
    const std::size_t bytes = std::exchange(arrived_bytes_, 0);
    if (context_->reader->len - context_->reader->pos + bytes > reply_bytes_max_) {
        return Error{ErrorCode::too_large, Disposition::in_doubt,
                     name_ + " sends a reply of more than " + std::to_string(reply_bytes_max_) +
                         " bytes: ask for less at once, or raise reply_bytes_max"};
    }
    if (redisReaderFeed(context_->reader, arrived_.data(), bytes) != REDIS_OK) return lost(context_->reader->errstr);
    return {};
}

Result<std::optional<Answer>> Link::next_answer() {
    void* raw = nullptr;
    if (redisReaderGetReply(context_->reader, &raw) != REDIS_OK) {
        return Error{ErrorCode::protocol, Disposition::in_doubt,
                     name_ + " does not speak Redis' protocol: " + context_->reader->errstr};
    }
    if (raw == nullptr) return std::optional<Answer>{};
    const std::unique_ptr<Root> reply{static_cast<Root*>(static_cast<Reply*>(raw))};
    if (reply->is_error) return std::optional{Answer{.error = server_error(reply->text, name_)}};
    return std::optional{Answer{.reply = std::move(static_cast<Reply&>(*reply))}};
}

bool Link::closed() const noexcept {
    char byte = 0;
    const auto got = ::recv(context_->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

}  // namespace hufu::redis
