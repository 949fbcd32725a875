// What the Redis guard costs over the bare command that it stands on.
#include <hiredis/hiredis.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>

#include <hufu/idempotency/lease_guard.hpp>
#include <hufu/redis/leases.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "guard_cases.hpp"

namespace hufu::bench {
namespace {

using namespace std::chrono_literals;
using idempotency::LeaseKept;
using idempotency::LeaseRequest;
using idempotency::LeaseSeen;
using idempotency::LeaseToken;

constexpr int in_flight = 16;
constexpr int threads_max = 50;

void valid(bool good, const char* what) {
    if (!good) throw std::runtime_error{std::string{"guard bench: "} + what};
}

/// hiredis as people use it: blocking, or appending a few and reading as many answers.
class Bare {
public:
    explicit Bare(std::uint16_t port) : context_{redisConnect("127.0.0.1", port), redisFree} {
        valid(context_ != nullptr && context_->err == 0, "hiredis cannot connect");
    }
    void set(int count) {
        for (int i = 0; i < count; ++i) {
            const std::string key = "bare:4:mail:" + std::to_string(++number_);
            redisAppendCommand(context_.get(), "SET %b %b NX PX 30000", key.data(), key.size(), token_.data(),
                               token_.size());
        }
        for (int i = 0; i < count; ++i) {
            void* reply = nullptr;
            valid(redisGetReply(context_.get(), &reply) == REDIS_OK, "hiredis lost its connection");
            valid(static_cast<redisReply*>(reply)->type == REDIS_REPLY_STATUS, "SET NX was refused");
            freeReplyObject(reply);
        }
    }

private:
    std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
    std::string token_ = std::string(17, 't');
    std::int64_t number_ = 0;
};

/// The guard's requests, each for a key of its own.
class Guarded {
public:
    explicit Guarded(redis::Client& client) : leases_{client} {}

    void acquire() {
        const auto request = next();
        valid(leases_.acquire(request)->state == LeaseSeen::State::ours, "a fresh key was not ours");
    }
    /// Completes what the last call acquired, if `complete`, and acquires `count` more, in one flight.
    void exchange(int count, bool complete) {
        std::vector<redis::Completion> done;
        if (complete) {
            for (const auto& one : held_) done.push_back({&one, {.bytes = "250 OK", .keep_for = 1h}});
        }
        std::vector<LeaseRequest> fresh;
        for (int i = 0; i < count; ++i) fresh.push_back(next());
        std::vector<const LeaseRequest*> wanted;
        for (const auto& one : fresh) wanted.push_back(&one);
        const auto answers = leases_.exchange(done, wanted);
        for (const auto& kept : answers.completed) valid(*kept == LeaseKept::kept, "a completion was lost");
        for (const auto& seen : answers.acquired) valid(seen->state == LeaseSeen::State::ours, "a fresh key was not ours");
        held_ = std::move(fresh);
    }

private:
    LeaseRequest next() { return {.key = {"mail", std::to_string(++number_)}, .token = LeaseToken{system_random()}}; }
    redis::Leases leases_;
    std::vector<LeaseRequest> held_;
    std::int64_t number_ = 0;
};

/// Messages per second of many threads, each under the whole guard: lease, effect, completion.
double handlers_rate(redis::Client& client, double seconds) {
    redis::Leases leases{client};
    idempotency::LeaseGuard guard{leases, {.group = "handlers", .grade = idempotency::Grade::best_effort}};
    std::atomic<std::int64_t> number{0};
    std::atomic<bool> good{true};
    std::vector<std::jthread> threads;
    const auto begin = system_clock().steady_now();
    const auto until = begin + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>{seconds});
    for (int thread = 0; thread < threads_max; ++thread) {
        threads.emplace_back([&] {
            while (system_clock().steady_now() < until) {
                const auto outcome = guard.run(std::to_string(++number), "", [](idempotency::HeldLease&) {
                    return idempotency::EffectResult{Handled::done};
                });
                if (!outcome.recorded) good = false;
            }
        });
    }
    threads.clear();
    valid(good, "a handler's completion was not recorded");
    return static_cast<double>(number) / std::chrono::duration<double>{system_clock().steady_now() - begin}.count();
}

}  // namespace

void redis_guard(const GuardOptions& options, std::vector<ResultRow>& rows) {
    const test_support::RedisServer server;
    redis::Client client{server.url()};
    Bare bare{server.port()};
    const auto leg = [&](const std::function<void()>& once, double worth) {
        return [&server, once, worth](double seconds) {
            server.flush();
            return rate_of(once, seconds, worth);
        };
    };
    Guarded guarded{client};

    auto c1 = compare("redis_guard_c1", "op/s", options, leg([&] { guarded.acquire(); }, 1), leg([&] { bare.set(1); }, 1),
                      "SET NX PX by hiredis");
    c1.aim = {.ratio = 0.95};
    rows.push_back(c1);

    auto pipelined =
        compare("redis_guard_pipelined", "op/s", options, leg([&] { guarded.exchange(in_flight, false); }, in_flight),
                leg([&] { bare.set(in_flight); }, in_flight), "SET NX PX by hiredis, 16 in flight");
    pipelined.aim = {.ratio = 0.85};
    rows.push_back(pipelined);

    // The legs flush the server, so what an earlier leg still held is completed before.
    guarded.exchange(1, false);
    const auto full = [&](int count) {
        return [&, count](double seconds) {
            server.flush();
            guarded.exchange(count, false);
            return rate_of([&] { guarded.exchange(count, true); }, seconds, count);
        };
    };
    auto one = compare("redis_guard_full", "msg/s", options, full(1), leg([&] { bare.set(1); }, 1), "SET NX PX by hiredis");
    one.aim = {.ratio = 0.45};
    rows.push_back(one);

    rows.push_back(compare("redis_guard_full_pipelined", "msg/s", options, full(in_flight),
                           leg([&] { bare.set(in_flight); }, in_flight), "SET NX PX by hiredis, 16 in flight"));

    auto handlers = compare(
        "redis_guard_handlers_50", "msg/s", options,
        [&](double seconds) {
            server.flush();
            return handlers_rate(client, seconds);
        },
        leg([&] { bare.set(1); }, 1), "SET NX PX by hiredis, one at a time");
    rows.push_back(handlers);
}

}  // namespace hufu::bench
