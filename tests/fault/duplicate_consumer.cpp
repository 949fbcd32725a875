#include "duplicate_consumer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <pqxx/pqxx>

#include <cstdio>
#include <map>
#include <stdexcept>

#include <hufu/idempotency/done_filter.hpp>
#include <hufu/idempotency/lease_guard.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/postgres/once_in_flight.hpp>
#include <hufu/redis/leases.hpp>

namespace hufu::fault {
namespace {

using idempotency::EffectResult;

constexpr const char* insert_effect = "insert into effects(kind, n) values ($1, $2)";

const char* word(Handled handled) {
    switch (handled) {
        case Handled::done: return "done";
        case Handled::already_done: return "duplicate";
        case Handled::retry: return "retry";
        case Handled::reject: break;
    }
    return "reject";
}

/// Everything that one consumer holds, and a handler per guarding.
class Consumer {
public:
    explicit Consumer(const ConsumerSettings& settings)
        : file_{::open(settings.effects_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)},
          pool_{settings.database},
          flights_{settings.database},
          redis_{settings.redis, {.command_timeout = std::chrono::milliseconds{1000}}},
          leases_{redis_},
          marks_{redis_},
          filter_{marks_, {.pause = std::chrono::milliseconds{50}}},
          guard_{leases_,
                 {.group = "mail", .grade = idempotency::Grade::best_effort},
                 {.lease = std::chrono::milliseconds{500}}} {
        if (file_ < 0) throw std::runtime_error{"cannot append to " + settings.effects_file};
        const auto insert = [](const char* kind) {
            return [kind](pqxx::work& tx, const Message& message) -> EffectResult {
                tx.exec_params(insert_effect, kind, message.body);
                return Handled::done;
            };
        };
        handlers_['d'] = settings.without_guard ? unguarded() : postgres::once(pool_, "database", insert("d"));
        handlers_['r'] = idempotency::filtered(filter_, "filtered", postgres::once(pool_, "filtered", insert("r")));
        handlers_['f'] = postgres::once_in_flight(flights_, "flight", [](postgres::Transaction& tx, const Message& message) {
            tx.run("insert into effects(kind, n) values ('f', $1::int)", postgres::parameters(message.body));
            return EffectResult{Handled::done};
        });
        handlers_['b'] = idempotency::best_effort(guard_, [this](const Message& message, idempotency::HeldLease&) {
            const std::string line = message.body + "\n";  // one write: whole lines, whoever else appends
            const bool written = ::write(file_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
            return EffectResult{written ? Handled::done : Handled::retry};
        });
    }
    ~Consumer() { ::close(file_); }
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;

    Handled deliver(char kind, int number) {
        Delivery delivery;
        delivery.message.id = MessageId{{static_cast<std::uint8_t>(kind), 0, static_cast<std::uint8_t>(number >> 16),
                                         static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}};
        delivery.message.body = std::to_string(number);
        delivery.stored_at = system_clock().system_now();
        try {
            const HandlerResult result = handlers_.at(kind)(delivery);
            if (result.handled == Handled::reject)
                std::fprintf(stderr, "reject %c %d: %s\n", kind, number, result.reason.c_str());
            return result.handled;
        } catch (const std::exception& failure) {  // as the consumer runner takes it
            std::fprintf(stderr, "%c %d: %s\n", kind, number, failure.what());
            return Handled::retry;
        }
    }

private:
    Handler unguarded() {
        return [this](const Delivery& delivery) -> HandlerResult {
            auto lent = pool_.lend();
            if (!lent) return Handled::retry;
            pqxx::work tx{**lent};
            tx.exec_params(insert_effect, "d", delivery.message.body);
            tx.commit();
            return Handled::done;
        };
    }

    int file_;
    postgres::ConnectionPool pool_;
    postgres::FlightPool flights_;
    redis::Client redis_;
    redis::Leases leases_;
    redis::DoneMarks marks_;
    idempotency::FilteredGuard filter_;
    idempotency::LeaseGuard guard_;
    std::map<char, Handler> handlers_;
};

}  // namespace

int run_consumer(const ConsumerSettings& settings) {
    Consumer consumer{settings};
    char line[64];
    while (std::fgets(line, sizeof line, stdin) != nullptr) {
        char kind = 0;
        int number = 0;
        if (std::sscanf(line, "%c %d", &kind, &number) != 2) return 2;
        const std::string answer = std::string{word(consumer.deliver(kind, number))} + "\n";
        if (::write(STDIN_FILENO, answer.data(), answer.size()) < 0) return 0;
    }
    return 0;
}

}  // namespace hufu::fault
