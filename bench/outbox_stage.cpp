#include "outbox_stage.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include <hufu/outbox/wake.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/rocketmq/client.hpp>
#include <hufu/test_support/process.hpp>

#include "report.hpp"

namespace hufu::bench {
namespace {

using namespace std::chrono_literals;

std::string own_path() { return std::filesystem::read_symlink("/proc/self/exe"); }

std::string temporary_folder() {
    std::string pattern = "/tmp/hufu-bench-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error{"cannot make a folder under /tmp"};
    return pattern;
}

outbox::RelayOptions relay_options() {
    outbox::RelayOptions options;
    options.late_check = 0ms;  // the benchmark counts every row itself
    return options;
}

}  // namespace

double seconds_since(SteadyTime begin) noexcept { return std::chrono::duration<double>(now() - begin).count(); }

void pause_until(SteadyTime time) { system_clock().sleep_until(time, std::stop_token{}); }

DurableBroker::DurableBroker() : folder_{temporary_folder()} {
    const std::string program = std::filesystem::path{own_path()}.parent_path() / "hufu-broker";
    const std::string socket = folder_ + "/socket";
    int ready[2];
    if (::pipe2(ready, 0) != 0) throw std::runtime_error{"pipe: " + std::string{std::strerror(errno)}};
    ::fcntl(ready[0], F_SETFD, FD_CLOEXEC);
    pid_ = test_support::spawn({.arguments = {program, "--data", folder_ + "/log", "--unix", socket, "--durability", "sync",
                                              "--ready-fd", std::to_string(ready[1])},
                                .output = folder_ + "/broker.log"});
    ::close(ready[1]);
    char byte = 0;
    const bool ready_now = ::read(ready[0], &byte, 1) == 1;
    ::close(ready[0]);
    if (!ready_now)
        throw std::runtime_error{"hufu-broker did not start: " + test_support::file_tail(folder_ + "/broker.log")};
    address_ = "unix:" + socket;
}

DurableBroker::~DurableBroker() {
    ::kill(pid_, SIGTERM);
    test_support::wait_for(pid_);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

std::unique_ptr<Publisher> open_publisher(const std::string& broker) {
    return rocketmq::open_publisher({.name_servers = {broker}}).value();
}

std::unique_ptr<Subscription> open_subscription(const std::string& broker, const std::string& group,
                                                const std::string& topic) {
    return rocketmq::open_subscription({.name_servers = {broker}},
                                       {.group = group, .topics = {topic}, .from = SubscriptionOptions::From::first},
                                       {.rebalance_every = 1s, .route_every = 1s})
        .value();
}

RelayThread::RelayThread(const std::string& database, Publisher& publisher)
    : store_{database},
      relay_{store_, publisher, relay_options(), system_clock(), system_random(), metrics_},
      thread_{[this](const std::stop_token& stop) {
          if (const auto ran = relay_.run(stop); !ran) tell("relay gave up: " + ran.error().text());
      }} {}

RelayThread::~RelayThread() {
    thread_.request_stop();
    thread_.join();
}

RelayProcess::RelayProcess(const std::string& database, const std::string& broker)
    : pid_{test_support::spawn({.arguments = {own_path(), "--relay-of", database, "--relay-to", broker}})} {}

RelayProcess::~RelayProcess() {
    ::kill(pid_, SIGTERM);
    test_support::wait_for(pid_);
}

int run_relay_process(const std::string& database, const std::string& broker) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    const auto publisher = open_publisher(broker);
    RelayThread relay{database, *publisher};
    const auto receiver = outbox::DatagramHintReceiver::open(database, relay.wake());
    if (!receiver) tell("relay without hints: " + receiver.error().text());
    int signal = 0;
    ::sigwait(&signals, &signal);
    return 0;
}

Stage::Stage()
    : server_{{.durable = true,
               .settings = {"shared_buffers = '1GB'", "max_wal_size = '8GB'", "checkpoint_timeout = '30min'",
                            "autovacuum_naptime = '5s'"}}} {}

std::string Stage::database() {
    const std::string name = "bench_" + std::to_string(++databases_);
    server_.query("create database " + name);
    const std::string url = server_.socket_url(name);
    postgres::migrate(url).value();
    server_.query(
        "create table bench_order(id bigserial primary key, customer bigint not null, amount bigint not null, note text)",
        name);
    return url;
}

std::string Stage::version() { return server_.query("show server_version"); }

std::unique_ptr<postgres::Connection> connect(const std::string& database) {
    return postgres::Connection::open(database, {.application_name = "hufu-bench"}).value();
}

bool anything_pending(postgres::Connection& connection) {
    return connection.run("select 1 from hufu.outbox_0 order by seq desc limit 1").value().size() > 0;
}

void wait_until_settled(postgres::Connection& connection) {
    for (const SteadyTime begin = now(); seconds_since(begin) < 120; pause_until(now() + 2ms)) {
        if (!anything_pending(connection)) return;
    }
    throw std::runtime_error{"the relay left rows in the lane for two minutes"};
}

}  // namespace hufu::bench
