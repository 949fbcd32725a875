#include <hufu/redis/leases.hpp>

#include <algorithm>
#include <atomic>

#include <hufu/core/mutant.hpp>

#include "lease_value.hpp"
#include "script.hpp"

namespace hufu::redis {
namespace {

using idempotency::LeaseKept;
using idempotency::LeaseRequest;
using idempotency::LeaseResult;
using idempotency::LeaseSeen;

// `SET … NX GET` for servers before 7.0.
constexpr const char* acquire_source = R"(local v = redis.call('get', KEYS[1])
if v then return v end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return false)";

// 1: it was still ours. 2: nobody's, and ours again. 0: another's.
constexpr const char* renew_source = R"(local v = redis.call('get', KEYS[1])
if v == ARGV[1] then redis.call('pexpire', KEYS[1], ARGV[2]) return 1 end
if not v then redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2]) return 2 end
return 0)";

// ARGV: held value, done value, how long to keep that. A repeated call finds its own done value.
constexpr const char* complete_source = R"(local v = redis.call('get', KEYS[1])
if v == ARGV[1] then redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) return 1 end
if not v then redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) return 2 end
if v == ARGV[2] then return 1 end
return 0)";

// Seeded bug: whoever is late overwrites what another holds or has recorded.
constexpr const char* complete_unfenced_source = "redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) return 1";

constexpr const char* release_source =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

const char* complete_script() {
    return mutant_active("completion_without_token_compare") ? complete_unfenced_source : complete_source;
}

std::string text_of(std::chrono::milliseconds duration) {
    return std::to_string(std::max<std::int64_t>(duration.count(), 1));
}

Result<LeaseSeen> seen_of(const Result<Reply>& reply, const LeaseRequest& request) {
    if (!reply) return reply.error();
    if (reply->is_nil()) return LeaseSeen{};
    return read_value(reply->text, request.token);
}

Result<LeaseKept> kept_of(const Result<Reply>& reply) {
    if (!reply) return reply.error();
    switch (reply->integer) {
        case 1: return LeaseKept::kept;
        case 2: return LeaseKept::retaken;
        default: return LeaseKept::lost;
    }
}

bool is_syntax_error(const Result<Reply>& reply) {
    return !reply && reply.error().text().find("syntax error") != std::string::npos;
}

}  // namespace

struct Leases::Impl {
    Client& client;
    std::string prefix;
    Script acquire_script{acquire_source};
    Script renew_script{renew_source};
    Script complete_script{redis::complete_script()};
    Script release_script{release_source};
    std::atomic<bool> old_server{false};  // refuses SET with NX and GET

    [[nodiscard]] std::string name(const LeaseRequest& request) const { return key_name(prefix, request.key); }

    [[nodiscard]] Command native_acquire(const LeaseRequest& request) const {
        return Command{"SET", name(request), held_value(request), "NX", "GET", "PX", text_of(request.lease)};
    }
    Result<LeaseSeen> acquire_by_script(const LeaseRequest& request) {
        return seen_of(acquire_script.run(client, name(request), {held_value(request), text_of(request.lease)}), request);
    }
    /// Seeded bug: two callers may both look before either sets.
    Result<LeaseSeen> look_then_set(const LeaseRequest& request) {
        auto seen = seen_of(client.run(Command{"GET", name(request)}), request);
        if (!seen || seen->state != LeaseSeen::State::ours) return seen;
        for (int slow = 0; slow < 10; ++slow) static_cast<void>(client.run(Command{"PING"}));
        const auto set = client.run(Command{"SET", name(request), held_value(request), "PX", text_of(request.lease)});
        if (!set) return set.error();
        return seen;
    }
    Result<LeaseSeen> acquired(const Result<Reply>& reply, const LeaseRequest& request) {
        if (is_syntax_error(reply)) {
            old_server = true;
            return acquire_by_script(request);
        }
        return seen_of(reply, request);
    }
    Result<LeaseKept> completed(const Result<Reply>& reply, const Completion& done) {
        if (!reply && Script::forgotten(reply.error())) {
            return kept_of(client.run(complete_script.whole(
                name(*done.request),
                {held_value(*done.request), done_value(*done.request, done.result), text_of(done.result.keep_for)})));
        }
        return kept_of(reply);
    }
};

Leases::Leases(Client& client, LeasesOptions options)
    : impl_{new Impl{.client = client, .prefix = std::move(options.prefix), .old_server = !options.native_acquire}} {}

Leases::~Leases() = default;

Result<LeaseSeen> Leases::acquire(const LeaseRequest& request) {
    if (mutant_active("check_then_set")) return impl_->look_then_set(request);
    if (impl_->old_server) return impl_->acquire_by_script(request);
    return impl_->acquired(impl_->client.run(impl_->native_acquire(request)), request);
}

void Leases::renew(std::span<const LeaseRequest* const> requests, std::span<Result<LeaseKept>> answers) {
    std::vector<Command> commands;
    for (const auto* request : requests) {
        auto command = impl_->renew_script.by_digest(impl_->client, impl_->name(*request),
                                                     {held_value(*request), text_of(request->lease)});
        if (!command) return std::fill(answers.begin(), answers.end(), Result<LeaseKept>{command.error()});
        commands.push_back(std::move(*command));
    }
    const auto replies = impl_->client.run(commands);
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const LeaseRequest& request = *requests[i];
        answers[i] = !replies[i] && Script::forgotten(replies[i].error())
                         ? kept_of(impl_->renew_script.run(impl_->client, impl_->name(request),
                                                           {held_value(request), text_of(request.lease)}))
                         : kept_of(replies[i]);
    }
}

Result<LeaseKept> Leases::complete(const LeaseRequest& request, const LeaseResult& result) {
    return kept_of(impl_->complete_script.run(impl_->client, impl_->name(request),
                                              {held_value(request), done_value(request, result), text_of(result.keep_for)}));
}

Result<void> Leases::release(const LeaseRequest& request) {
    const auto released = impl_->release_script.run(impl_->client, impl_->name(request), {held_value(request)});
    if (!released) return released.error();
    return {};
}

Exchanged Leases::exchange(std::span<const Completion> done, std::span<const LeaseRequest* const> next) {
    Exchanged exchanged;
    std::vector<Command> commands;
    commands.reserve(done.size() + next.size());
    for (const auto& [request, result] : done) {
        auto command =
            impl_->complete_script.by_digest(impl_->client, impl_->name(*request),
                                             {held_value(*request), done_value(*request, result), text_of(result.keep_for)});
        if (!command) {
            exchanged.completed.assign(done.size(), Result<LeaseKept>{command.error()});
            exchanged.acquired.assign(next.size(), Result<LeaseSeen>{command.error()});
            return exchanged;
        }
        commands.push_back(std::move(*command));
    }
    if (!impl_->old_server) {
        for (const auto* request : next) commands.push_back(impl_->native_acquire(*request));
    }
    const auto replies = impl_->client.run(commands);
    for (std::size_t i = 0; i < done.size(); ++i) exchanged.completed.push_back(impl_->completed(replies[i], done[i]));
    for (std::size_t i = 0; i < next.size(); ++i) {
        exchanged.acquired.push_back(impl_->old_server && commands.size() == done.size()
                                         ? impl_->acquire_by_script(*next[i])
                                         : impl_->acquired(replies[done.size() + i], *next[i]));
    }
    return exchanged;
}

DoneMarks::DoneMarks(Client& client, std::string prefix) : client_{client}, prefix_{std::move(prefix)} {}

std::string DoneMarks::name_of(const idempotency::GuardKey& key) const {
    return key_name(prefix_, {key.group, key.id.to_string()});
}

Result<std::optional<std::string>> DoneMarks::find(const idempotency::GuardKey& key) {
    auto found = client_.run(Command{"GET", name_of(key)});
    if (!found) return found.error();
    return found->is_nil() ? std::optional<std::string>{} : std::optional{std::move(found->text)};
}

Result<void> DoneMarks::mark(const idempotency::GuardKey& key, std::string_view result, std::chrono::milliseconds keep_for) {
    const auto set = client_.run(Command{"SET", name_of(key), result, "PX", text_of(keep_for)});
    if (!set) return set.error();
    return {};
}

}  // namespace hufu::redis
