#include "load.hpp"

#include <chrono>
#include <cstdio>
#include <hufu/core/clock.hpp>

#include "http/client.hpp"

namespace shop::demo {
namespace {

constexpr std::chrono::seconds answer_timeout{10};
constexpr std::chrono::milliseconds pause_after_failure{25};

struct Stopped {};  // thrown out of a request that nobody waits for any more

}  // namespace

/// One connection that asks until it gets an answer.
class Customer {
public:
    Customer(std::uint16_t port, std::stop_token stop, std::atomic<std::uint64_t>& in_doubt)
        : client_{"127.0.0.1", port, answer_timeout}, stop_{std::move(stop)}, in_doubt_{in_doubt} {}

    HttpResponse ask(const HttpRequest& request) {
        while (!stop_.stop_requested()) {
            const auto answer = client_.send(request);
            if (answer && answer->status < 500) return *answer;
            if (!answer && answer.error().disposition() == hufu::Disposition::in_doubt) ++in_doubt_;
            auto& clock = hufu::system_clock();
            clock.sleep_until(clock.steady_now() + pause_after_failure, stop_);
        }
        throw Stopped{};
    }

private:
    HttpClient client_;
    std::stop_token stop_;
    std::atomic<std::uint64_t>& in_doubt_;
};

Plan plan_of(std::uint64_t number) noexcept {
    const auto slot = number % 20;
    if (slot == 7) return Plan::cancel;
    if (slot == 13) return Plan::forget;
    return Plan::pay;
}

std::string order_id(std::uint64_t number) {
    char text[32];
    std::snprintf(text, sizeof text, "order-%07llu", static_cast<unsigned long long>(number));
    return text;
}

std::string sku(std::uint64_t number) { return "sku-" + std::to_string(number); }

std::string order_body(std::uint64_t number, std::size_t skus) {
    return R"({"id":")" + order_id(number) + R"(","amount":)" + std::to_string(100 + number % 900) + R"(,"sku":")" +
           sku(number % skus) + R"(","quantity":)" + std::to_string(1 + number % 3) + "}";
}

Load::Load(LoadOptions options, LedgerWriter& ledger)
    : options_{options}, ledger_{ledger}, next_{options.first}, accepted_{options.first}, running_{options.connections} {
    for (std::size_t i = 0; i < options_.connections; ++i) {
        threads_.emplace_back([this](std::stop_token stop) {
            try {
                run(std::move(stop));
            } catch (const Stopped&) {
            } catch (...) {
                const std::scoped_lock lock{mutex_};
                failure_ = std::current_exception();
            }
            --running_;
        });
    }
}

Load::~Load() = default;

void Load::run(std::stop_token stop) {
    auto& clock = hufu::system_clock();
    const auto start = clock.steady_now();
    const std::chrono::duration<double> between{1.0 / options_.orders_per_second};
    Customer customer{options_.port, stop, in_doubt_};
    for (std::uint64_t number = next_++; number < options_.orders && !stop.stop_requested(); number = next_++) {
        clock.sleep_until(start + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                      between * static_cast<double>(number - options_.first)),
                          stop);
        serve(customer, number);
    }
}

void Load::serve(Customer& customer, std::uint64_t number) {
    const auto id = order_id(number);
    const auto unexpected = [&](const HttpResponse& answer) {
        throw std::runtime_error{id + " got an answer it should not get: " + std::to_string(answer.status) + " " +
                                 answer.body};
    };
    const auto placed = customer.ask({"POST", "/orders", order_body(number, options_.skus)});
    if (placed.status != 201) unexpected(placed);
    if (placed.replayed) ++replayed_;
    ledger_.created(id);
    ++accepted_;
    const auto plan = plan_of(number);
    if (plan == Plan::forget) return;
    const auto answer = customer.ask({"POST", "/orders/" + id + (plan == Plan::pay ? "/pay" : "/cancel"), ""});
    // 409: the deadline came first, which is an answer, not an acceptance.
    if (answer.status == 409) return;
    if (answer.status != 200) unexpected(answer);
    plan == Plan::pay ? ledger_.paid(id) : ledger_.cancelled(id);
}

void Load::join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    const std::scoped_lock lock{mutex_};
    if (failure_) std::rethrow_exception(failure_);
}

}  // namespace shop::demo
