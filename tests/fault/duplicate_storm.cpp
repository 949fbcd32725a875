#include "duplicate_storm.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/postgres_server.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "duplicate_consumer.hpp"

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;

struct Copy {
    char kind = 0;
    int number = 0;
    SteadyTime not_before{};
};

/// A consumer process and the socket to it.
class ConsumerProcess {
public:
    ConsumerProcess(const std::vector<std::string>& command, const std::string& output) {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error{"no socket pair"};
        socket_ = ends[0];
        child_ = test_support::Child{{.arguments = command, .output = output, .standard_input = ends[1]}};
        ::close(ends[1]);
    }
    ~ConsumerProcess() { ::close(socket_); }
    ConsumerProcess(const ConsumerProcess&) = delete;
    ConsumerProcess& operator=(const ConsumerProcess&) = delete;

    [[nodiscard]] int socket() const noexcept { return socket_; }
    void kill() { child_.kill(); }
    void deliver(const Copy& copy) {
        current = copy;
        const std::string line = std::string{copy.kind} + " " + std::to_string(copy.number) + "\n";
        static_cast<void>(::send(socket_, line.data(), line.size(), MSG_NOSIGNAL));  // failed: its end is read next
    }
    /// The answer, or nothing when the process has ended.
    std::optional<std::string> answer() {
        char bytes[64];
        const auto got = ::recv(socket_, bytes, sizeof bytes, 0);
        if (got <= 0) return std::nullopt;
        return std::string{bytes, static_cast<std::size_t>(got)};
    }

    std::optional<Copy> current;

private:
    int socket_ = -1;
    test_support::Child child_;
};

class Storm {
public:
    Storm(const StormOptions& options, Random& random) : options_{options}, random_{random} {
        database_ = postgres_.create_database();
        postgres::migrate(database_).value();
        query("create table effects(kind text not null, n int not null)");
        const std::string file = folder_.path() + "/effects";
        command_ = {options.program, "--consumer", database_, redis_.url(), file};
        if (options.without_guard) command_.emplace_back("--break");
        for (int i = 0; i < options.consumers; ++i) consumers_.push_back(start());
        for (int number = 1; number <= options.messages; ++number) {
            for (const char kind : all_guardings) {
                for (int copy = 0; copy < options.copies; ++copy) waiting_.push_back({kind, number});
            }
        }
        all_ = static_cast<int>(waiting_.size());
    }

    StormResult run() {
        const SteadyTime begin = clock_.steady_now();
        next_kill_ = begin + kill_pause();
        while (settled_ < all_) {
            if (clock_.steady_now() - begin > 10min) throw std::runtime_error{"the storm does not end: " + tail()};
            hand_out();
            take_answers();
            break_things();
        }
        result_.seconds = std::chrono::duration<double>{clock_.steady_now() - begin}.count();
        result_.deliveries = all_;
        count_effects();
        return result_;
    }

private:
    std::unique_ptr<ConsumerProcess> start() {
        return std::make_unique<ConsumerProcess>(command_, folder_.path() + "/consumers.log");
    }
    [[nodiscard]] std::string tail() const { return test_support::file_tail(folder_.path() + "/consumers.log"); }
    std::string query(const std::string& sql) { return postgres_.query(sql, database_.substr(database_.rfind('/') + 1)); }
    [[nodiscard]] std::chrono::milliseconds kill_pause() {
        const auto mean = static_cast<std::uint64_t>(options_.kill_every_ms);
        return std::chrono::milliseconds{mean / 2 + random_.below(mean)};
    }

    void hand_out() {
        const SteadyTime now = clock_.steady_now();
        for (auto& consumer : consumers_) {
            if (consumer->current) continue;
            for (auto copy = waiting_.begin(); copy != waiting_.end(); ++copy) {
                if (copy->not_before > now) continue;
                consumer->deliver(*copy);
                waiting_.erase(copy);
                break;
            }
        }
    }

    void take_answers() {
        std::vector<pollfd> places;
        for (const auto& consumer : consumers_) places.push_back({.fd = consumer->socket(), .events = POLLIN, .revents = 0});
        if (::poll(places.data(), places.size(), 5) <= 0) return;
        for (std::size_t i = 0; i < places.size(); ++i) {
            if (places[i].revents == 0) continue;
            auto& consumer = consumers_[i];
            const auto answer = consumer->answer();
            if (!answer) {
                throw std::runtime_error{"a consumer ended by itself: " + tail()};
            }
            settle(*consumer->current, *answer);
            consumer->current.reset();
        }
    }

    void settle(Copy copy, const std::string& answer) {
        if (answer == "retry\n") {
            ++result_.retries;
            copy.not_before = clock_.steady_now() + 20ms;
            waiting_.push_front(copy);
            return;
        }
        if (answer == "reject\n") {
            ++result_.rejected;
            std::fprintf(stderr, "rejected %c %d; the consumers said: %s\n", copy.kind, copy.number, tail().c_str());
        }
        ++settled_;
    }

    void break_things() {
        if (clock_.steady_now() >= next_kill_) {
            auto& victim = consumers_[random_.below(consumers_.size())];
            victim->kill();
            // It may have answered, or died between effect and answer: as a broker would, deliver again.
            if (victim->current) waiting_.push_front(*victim->current);
            victim = start();
            ++result_.kills;
            next_kill_ = clock_.steady_now() + kill_pause();
        }
        const int percent = settled_ * 100 / all_;
        if (percent >= 20 && result_.postgres_kills == 0) kill_postgres();
        if (percent >= 40 && result_.redis_flushes == 0) {
            redis_.flush();
            ++result_.redis_flushes;
        }
        if (percent >= 55 && result_.redis_restarts == 0) {
            redis_.kill();
            redis_.start();
            ++result_.redis_restarts;
        }
        if (percent >= 75 && result_.postgres_kills == 1) kill_postgres();
    }

    void kill_postgres() {
        postgres_.restart(test_support::StopMode::kill);
        ++result_.postgres_kills;
    }

    void count_effects() {
        for (const char kind : all_guardings) {
            if (kind == static_cast<char>(Guarding::best_effort)) continue;
            const std::string of = " from effects where kind = '" + std::string{kind} + "'";
            const int effects = std::stoi(query("select count(*)" + of));
            const int messages = std::stoi(query("select count(distinct n)" + of));
            result_.effects[kind] = {options_.messages - messages, effects - messages};
        }
        std::map<int, int> lines;
        std::ifstream file{folder_.path() + "/effects"};
        for (int number = 0; file >> number;) ++lines[number];
        Effects& best = result_.effects[static_cast<char>(Guarding::best_effort)];
        best.none = options_.messages - static_cast<int>(lines.size());
        for (const auto& [number, count] : lines) best.doubles += count - 1;
    }

    StormOptions options_;
    Random& random_;
    Clock& clock_ = system_clock();
    test_support::PrivateFolder folder_{"duplicates"};
    // Killed, never switched off: what was written is in the kernel, so fsync would only cost time.
    test_support::PostgresServer postgres_;
    test_support::RedisServer redis_;
    std::string database_;
    std::vector<std::string> command_;
    std::vector<std::unique_ptr<ConsumerProcess>> consumers_;
    std::deque<Copy> waiting_;
    int all_ = 0;
    int settled_ = 0;
    SteadyTime next_kill_{};
    StormResult result_;
};

}  // namespace

bool StormResult::held() const {
    bool good = rejected == 0;
    for (const auto& [kind, one] : effects) {
        good = good && one.none == 0 && (kind == static_cast<char>(Guarding::best_effort) || one.doubles == 0);
    }
    return good && !effects.empty();
}

StormResult duplicate_storm(const StormOptions& options, Random& random) { return Storm{options, random}.run(); }

}  // namespace hufu::fault
