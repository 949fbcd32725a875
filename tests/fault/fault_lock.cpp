// hufu-fault-lock: the holder of a lock is stopped (SIGSTOP) past its lease while a second one works. What it does when it goes
// on must change nothing: its token is older than one that the database has seen, or the server has ended its transaction.
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/postgres/schema.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/postgres_server.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "lock_holder.hpp"

namespace {

using namespace hufu::fault;
using namespace hufu::test_support;

/// A holder and the socket to it.
class Holder {
public:
    Holder(const std::vector<std::string>& command, const std::string& output) {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error{"no socket pair"};
        socket_ = ends[0];
        child_ = Child{{.arguments = command, .output = output, .standard_input = ends[1]}};
        ::close(ends[1]);
    }
    ~Holder() { ::close(socket_); }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;

    /// What it says next; throws when it has ended.
    std::string line() {
        std::string text;
        for (char byte = 0; ::recv(socket_, &byte, 1, 0) == 1;) {
            if (byte == '\n') return text;
            text += byte;
        }
        throw std::runtime_error{"a holder ended without a word"};
    }
    void go_on() { ::kill(child_.pid(), SIGCONT); }

private:
    int socket_ = -1;
    Child child_;
};

struct Outcome {
    int second_updates = 0;
    int refused_by_token = 0;  ///< the first holder, when it went on
    int refused_otherwise = 0;
    int late_updates = 0;  ///< of the first holder, after the second one's
    int rounds = 0;
    int balance = 0;

    [[nodiscard]] bool held() const {
        return late_updates == 0 && second_updates == rounds && balance == rounds && refused_by_token * 2 == rounds &&
               refused_otherwise * 2 == rounds;
    }
};

class Trial {
public:
    explicit Trial(bool without_token) : without_token_{without_token}, database_{postgres_.create_database()} {
        hufu::postgres::migrate(database_).value();
        query("create table account(id int primary key, balance int not null)");
        query("insert into account values (1, 0)");
    }

    void round(StopPoint stop) {
        ++outcome_.rounds;
        Holder first{command(stop), log_};
        if (first.line() != "at") throw std::runtime_error{"the first holder did not stop: " + file_tail(log_)};
        Holder second{command(StopPoint::nowhere), log_};
        if (const auto said = second.line(); said == "done") {
            ++outcome_.second_updates;
        } else {
            std::fprintf(stderr, "the second holder: %s\n", said.c_str());
        }
        first.go_on();
        const auto said = first.line();
        std::fprintf(stderr, "the first holder, %s: %s\n",
                     stop == StopPoint::after_lock ? "stopped before its transaction" : "stopped in its transaction",
                     said.c_str());
        if (said == "done") {
            ++outcome_.late_updates;
        } else if (said.find("is older than") != std::string::npos) {
            ++outcome_.refused_by_token;
        } else {
            ++outcome_.refused_otherwise;
        }
    }

    Outcome outcome() {
        outcome_.balance = std::stoi(query("select balance from account"));
        return outcome_;
    }

private:
    [[nodiscard]] std::vector<std::string> command(StopPoint stop) const {
        std::vector<std::string> words{std::filesystem::canonical("/proc/self/exe"), "--holder", database_, redis_.url(),
                                       std::string(1, static_cast<char>(stop))};
        if (without_token_) words.emplace_back("--break");
        return words;
    }
    std::string query(const std::string& sql) { return postgres_.query(sql, database_.substr(database_.rfind('/') + 1)); }

    bool without_token_;
    PrivateFolder folder_{"lock"};
    PostgresServer postgres_;
    RedisServer redis_;
    std::string database_;
    std::string log_ = folder_.path() + "/holders.log";
    Outcome outcome_;
};

int run_trial(int count, char** arguments) {
    CLI::App app{"A lock's holder that is stopped past its lease. Exits 0 when its update is refused each time.",
                 "hufu-fault-lock"};
    int rounds = 3;
    bool json = false;
    std::string broken;
    app.add_option("--rounds", rounds, "of each point to stop at")->check(CLI::Range(1, 10'000));
    app.add_option("--break", broken, "token: updates carry none, which must end with held: false")
        ->check(CLI::IsMember({"token"}));
    app.add_flag("--json", json, "one JSON object");
    CLI11_PARSE(app, count, arguments);
    Trial trial{broken == "token"};
    for (int round = 0; round < rounds; ++round) {
        trial.round(StopPoint::after_lock);
        trial.round(StopPoint::after_check);
    }
    const Outcome outcome = trial.outcome();
    std::printf(json ? "{\"fault\":\"lock\",\"held\":%s,\"rounds\":%d,\"second_updates\":%d,\"refused_by_token\":%d,"
                       "\"session_ended\":%d,\"late_updates\":%d,\"balance\":%d}\n"
                     : "%s: %d rounds, %d updates of the second holder; the first one refused by its token %d times, its "
                       "session ended %d times, %d late updates; balance %d\n",
                json ? (outcome.held() ? "true" : "false") : (outcome.held() ? "held" : "BROKEN"), outcome.rounds,
                outcome.second_updates, outcome.refused_by_token, outcome.refused_otherwise, outcome.late_updates,
                outcome.balance);
    return outcome.held() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        if (count >= 5 && std::string_view{arguments[1]} == "--holder") {
            return run_holder({.database = arguments[2],
                               .redis = arguments[3],
                               .stop = static_cast<StopPoint>(arguments[4][0]),
                               .without_token = count > 5 && std::string_view{arguments[5]} == "--break"});
        }
        return run_trial(count, arguments);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-fault-lock: %s\n", error.what());
        return 1;
    }
}
