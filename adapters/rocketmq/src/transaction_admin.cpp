#include <hufu/rocketmq/transaction_admin.hpp>

#include <future>
#include <set>

#include "errors.hpp"
#include "loop.hpp"

namespace hufu::rocketmq {
namespace {

using remoting::RequestCode;
using remoting::TransactionData;
using remoting::TransactionFilter;
using remoting::TransactionList;

/// Every broker that holds halves has it, so its route names them all.
constexpr std::string_view half_topic = "RMQ_SYS_TRANS_HALF_TOPIC";

class ClusterTransactionAdmin final : public TransactionAdmin, private Machine {
public:
    ClusterTransactionAdmin(ClientOptions client, Clock& clock, Random& random, Log& log)
        : loop_{std::move(client), clock, random, log} {
        loop_.start(*this);
    }
    ~ClusterTransactionAdmin() override { loop_.stop(); }

    Result<TransactionList> list(const TransactionFilter& filter) override {
        const auto brokers = find_brokers();
        if (!brokers) return brokers.error();
        // A cursor is "address after": where to go on, and with which of that broker's own.
        const std::size_t space = filter.after.find(' ');
        const std::string from = filter.after.substr(0, space);
        TransactionFilter page = filter;
        page.after = space == std::string::npos ? std::string{} : filter.after.substr(space + 1);
        TransactionList all{{}, {}, 0};
        for (auto at = brokers->lower_bound(from); at != brokers->end(); ++at) {
            page.limit = filter.limit - static_cast<std::int32_t>(all.transactions.size());
            if (page.limit <= 0) {
                all.next = *at + " ";
                break;
            }
            const auto answer = ask(*at, RequestCode::list_transactions, page.to_json());
            if (!answer) return answer.error();
            auto some = TransactionList::parse(*answer);
            if (!some) return some.error();
            std::move(some->transactions.begin(), some->transactions.end(), std::back_inserter(all.transactions));
            all.total = all.total < 0 || some->total < 0 ? -1 : all.total + some->total;
            if (!some->next.empty()) {
                all.next = *at + " " + some->next;
                break;
            }
            page.after.clear();
        }
        return all;
    }

    Result<TransactionData> show(const std::string& id) override {
        return ask_for_one(RequestCode::show_transaction, {.id = id});
    }
    Result<TransactionData> decide(const remoting::TransactionCommand& command) override {
        return ask_for_one(RequestCode::decide_transaction, command);
    }
    Result<TransactionData> resume(const remoting::TransactionCommand& command) override {
        return ask_for_one(RequestCode::resume_transaction, command);
    }

private:
    /// From the broker that knows it.
    Result<TransactionData> ask_for_one(RequestCode code, const remoting::TransactionCommand& command) {
        const auto brokers = find_brokers();
        if (!brokers) return brokers.error();
        Error error{ErrorCode::not_found, Disposition::reject, "no broker knows transaction \"" + command.id + "\""};
        for (const std::string& address : *brokers) {
            const auto answer = ask(address, code, command.to_json());
            if (answer) return TransactionData::parse(*answer);
            error = answer.error();
            if (error.code() != ErrorCode::not_found) break;
        }
        return error;
    }

    Result<std::set<std::string>> find_brokers() {
        return wait<std::set<std::string>>([this](SteadyTime now, auto answered) {
            cluster().lookup(now, std::string{half_topic}, [this, answered](SteadyTime, Result<remoting::TopicRoute> route) {
                if (!route) return answered(route.error());
                std::set<std::string> found;
                for (const remoting::BrokerData& broker : route->brokers) {
                    if (auto address = cluster().broker_address(*route, broker.broker_name); !address.empty())
                        found.insert(std::move(address));
                }
                if (found.empty())
                    return answered(Error{ErrorCode::unavailable, Disposition::retry,
                                          "the name server knows no broker that holds transaction messages; is one up?"});
                answered(std::move(found));
            });
        });
    }

    Result<std::string> ask(const std::string& address, RequestCode code, std::string body) {
        return wait<std::string>([&](SteadyTime now, auto answered) {
            cluster().call(
                now, address, code, remoting::NoFields{}, body, cluster().options().request_timeout,
                [address, code, answered](SteadyTime, const Answer& answer) {
                    using remoting::ResponseCode;
                    if (answer.command == nullptr) return answered(answer.error);
                    if (answer.command->response_code() == ResponseCode::success)
                        return answered(std::string{answer.command->body});
                    if (answer.command->response_code() == ResponseCode::request_code_not_supported)
                        return answered(Error{ErrorCode::unsupported, Disposition::reject,
                                              "broker " + address +
                                                  " is none of Hufu's: its transactions cannot be seen or settled "
                                                  "from here; a check-back of their producer group settles them"});
                    answered(response_error(*answer.command, std::string{to_string(code)}).error);
                });
        });
    }

    /// Starts something on the loop and waits for its result.
    template <class Value, class Start>
    Result<Value> wait(Start start) {
        const auto promise = std::make_shared<std::promise<Result<Value>>>();
        auto future = promise->get_future();
        loop_.post(
            [&](SteadyTime now) { start(now, [promise](Result<Value> value) { promise->set_value(std::move(value)); }); });
        return future.get();
    }

    Cluster& cluster() { return loop_.cluster(); }
    void link(SteadyTime, const std::string&, bool) override {}
    void request(SteadyTime, const std::string&, const remoting::CommandView&) override {}
    void tick(SteadyTime) override {}
    [[nodiscard]] std::optional<SteadyTime> next_tick() const override { return std::nullopt; }
    void settled(SteadyTime) override {}

    Loop loop_;
};

}  // namespace

Result<std::unique_ptr<TransactionAdmin>> open_transaction_admin(ClientOptions client, Clock& clock, Random& random,
                                                                 Log& log) {
    auto completed = complete(std::move(client), random);
    if (!completed) return completed.error();
    return std::unique_ptr<TransactionAdmin>{
        std::make_unique<ClusterTransactionAdmin>(std::move(*completed), clock, random, log)};
}

}  // namespace hufu::rocketmq
