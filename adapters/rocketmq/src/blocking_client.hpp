// For operators' calls, which wait for their answers: a loop, and a way to wait on it.
#pragma once

#include <future>
#include <memory>
#include <string>

#include "errors.hpp"
#include "loop.hpp"

namespace hufu::rocketmq {

class BlockingClient : private Machine {
public:
    BlockingClient(ClientOptions client, Clock& clock, Random& random, Log& log)
        : loop_{std::move(client), clock, random, log} {
        loop_.start(*this);
    }
    ~BlockingClient() override { loop_.stop(); }
    BlockingClient(const BlockingClient&) = delete;
    BlockingClient& operator=(const BlockingClient&) = delete;

    [[nodiscard]] Cluster& cluster() { return loop_.cluster(); }

    /// Starts something on the loop and waits for its result. `start(now, answered)` must lead to `answered(result)`.
    template <class Value, class Start>
    Result<Value> wait(Start start) {
        const auto promise = std::make_shared<std::promise<Result<Value>>>();
        auto future = promise->get_future();
        loop_.post(
            [&](SteadyTime now) { start(now, [promise](Result<Value> value) { promise->set_value(std::move(value)); }); });
        return future.get();
    }

    /// The body of a successful answer. `doing` begins the sentence of an error.
    template <class Header>
    Result<std::string> ask(const std::string& address, remoting::RequestCode code, const Header& header,
                            const std::string& doing) {
        return wait<std::string>([&](SteadyTime now, auto answered) {
            cluster().call(now, address, code, header, {}, cluster().options().request_timeout,
                           [answered, doing](SteadyTime, const Answer& answer) {
                               if (answer.command == nullptr) return answered(answer.error);
                               if (answer.command->response_code() != remoting::ResponseCode::success) {
                                   return answered(response_error(*answer.command, doing).error);
                               }
                               answered(std::string{answer.command->body});
                           });
        });
    }

private:
    void link(SteadyTime, const std::string&, bool) override {}
    void request(SteadyTime, const std::string&, const remoting::CommandView&) override {}
    void tick(SteadyTime) override {}
    [[nodiscard]] std::optional<SteadyTime> next_tick() const override { return std::nullopt; }
    void settled(SteadyTime) override {}

    Loop loop_;
};

}  // namespace hufu::rocketmq
