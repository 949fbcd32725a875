#include <hufu/redis/locks.hpp>

#include <algorithm>
#include <atomic>
#include <list>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include <hufu/idempotency/grade.hpp>
#include <hufu/idempotency/lease.hpp>

#include "script.hpp"

namespace hufu::redis {
namespace {

using idempotency::FencingToken;
using idempotency::Lock;

constexpr std::chrono::milliseconds shortest_lease{100};

// ARGV: the holder's secret, the lease, the name of the counter. The counter outlives every lock by far; were it lost, the
// server's clock still makes a larger number. Lua's numbers are exact to 2^53, which microseconds reach in the year 2255.
constexpr const char* acquire_source = R"(if redis.call('exists', KEYS[1]) == 1 then return 0 end
local t = redis.call('time')
local now = t[1] * 1000000 + t[2]
local last = tonumber(redis.call('get', ARGV[3]) or '0')
local token = math.max(last + 1, now)
redis.call('set', ARGV[3], string.format('%.0f', token), 'ex', 604800)
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return token)";

constexpr const char* renew_source =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0";

constexpr const char* release_source =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

/// What the renewing thread and the holder both look at.
struct HeldLock {
    std::string name;
    std::string key;
    std::string secret;
    FencingToken token;
    std::atomic<SteadyTime> trust_until{SteadyTime{}};
    std::atomic<bool> lost{false};
};

}  // namespace

struct Locks::Impl {
    Client& client;
    LocksOptions options;
    Clock& clock;
    Script acquire_script{acquire_source};
    Script renew_script{renew_source};
    Script release_script{release_source};
    std::mutex mutex;
    std::list<std::shared_ptr<HeldLock>> held;  // guarded by mutex
    std::jthread renewer;

    Impl(Client& from, LocksOptions with) : client{from}, options{std::move(with)}, clock{from.clock()} {}

    [[nodiscard]] std::string lease() const { return std::to_string(options.lease.count()); }

    /// The token, or nothing while somebody else holds the name.
    Result<std::optional<FencingToken>> look(const HeldLock& wanted) {
        const auto said =
            acquire_script.run(client, wanted.key, {wanted.secret, lease(), options.prefix + "token:" + wanted.name});
        if (!said) return said.error();
        if (said->integer == 0) return std::optional<FencingToken>{};
        return std::optional{FencingToken{said->integer}};
    }

    Result<void> renew(HeldLock& one) {
        const SteadyTime asked = clock.steady_now();
        const auto said = renew_script.run(client, one.key, {one.secret, lease()});
        if (!said) return said.error();
        if (said->integer == 0) {
            one.lost = true;
        } else {
            one.trust_until = asked + options.lease;
        }
        return {};
    }

    void renew_until(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            clock.sleep_until(clock.steady_now() + options.lease / 3, stop);
            std::vector<std::shared_ptr<HeldLock>> all;
            {
                const std::lock_guard lock{mutex};
                all.assign(held.begin(), held.end());
            }
            for (const auto& one : all) {
                if (!stop.stop_requested() && !one->lost) static_cast<void>(renew(*one));  // failed: trust runs out
            }
        }
    }

    void give_up(std::list<std::shared_ptr<HeldLock>>::iterator place) {
        const auto one = *place;
        {
            const std::lock_guard lock{mutex};
            held.erase(place);
        }
        static_cast<void>(release_script.run(client, one->key, {one->secret}));  // failed: it ends by itself
    }
};

namespace {

/// `Provider` is Locks::Impl, which only this file sees.
template <class Provider>
class RedisLock final : public Lock {
public:
    RedisLock(Provider& provider, std::shared_ptr<HeldLock> one) : provider_{provider}, one_{std::move(one)} {
        const std::lock_guard lock{provider_.mutex};
        place_ = provider_.held.insert(provider_.held.end(), one_);
    }
    ~RedisLock() override { provider_.give_up(place_); }
    RedisLock(const RedisLock&) = delete;
    RedisLock& operator=(const RedisLock&) = delete;

    [[nodiscard]] const std::string& name() const noexcept override { return one_->name; }
    [[nodiscard]] FencingToken token() const noexcept override { return one_->token; }
    [[nodiscard]] bool held() const override {
        return !one_->lost && provider_.clock.steady_now() < one_->trust_until.load();
    }
    Result<void> confirm() override {
        if (const auto renewed = provider_.renew(*one_); !renewed) return renewed.error();
        if (one_->lost) return idempotency::lock_lost(one_->name);
        return {};
    }

private:
    Provider& provider_;
    std::shared_ptr<HeldLock> one_;
    std::list<std::shared_ptr<HeldLock>>::iterator place_;
};

}  // namespace

Locks::Locks(Client& client, LocksOptions options) {
    if (options.lease < shortest_lease) {
        throw Exception{Error{ErrorCode::invalid_argument, Disposition::reject,
                              "a lock's lease of " + idempotency::duration_text(options.lease) +
                                  " ends before it can be renewed; give at least " +
                                  idempotency::duration_text(shortest_lease)}};
    }
    impl_ = std::make_unique<Impl>(client, std::move(options));
    impl_->renewer = std::jthread{[impl = impl_.get()](const std::stop_token& stop) { impl->renew_until(stop); }};
}

Locks::~Locks() = default;

Result<std::unique_ptr<Lock>> Locks::acquire(const std::string& name, std::chrono::milliseconds wait) {
    if (const auto fine = idempotency::check_lock_name(name); !fine) return fine.error();
    const auto one = std::make_shared<HeldLock>();
    one->name = name;
    one->key = impl_->options.prefix + name;
    one->secret = idempotency::LeaseToken{system_random()}.bytes();
    const SteadyTime give_up = impl_->clock.steady_now() + wait;
    std::chrono::milliseconds pause{2};
    for (;;) {
        const SteadyTime asked = impl_->clock.steady_now();
        const auto token = impl_->look(*one);
        if (!token) return token.error();
        if (*token) {
            one->token = **token;
            one->trust_until = asked + impl_->options.lease;
            return std::unique_ptr<Lock>{std::make_unique<RedisLock<Impl>>(*impl_, one)};
        }
        const SteadyTime now = impl_->clock.steady_now();
        if (now >= give_up) return idempotency::lock_busy(name, wait);
        impl_->clock.sleep_until(std::min<SteadyTime>(now + pause, give_up), {});
        pause = std::min(pause * 2, impl_->options.look_every);
    }
}

}  // namespace hufu::redis
