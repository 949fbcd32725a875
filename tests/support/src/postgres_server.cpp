#include <hufu/test_support/postgres_server.hpp>

#include <hufu/core/clock.hpp>
#include <hufu/test_support/process.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>

namespace hufu::test_support {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

[[noreturn]] void fail(std::string text) { throw std::runtime_error{std::move(text)}; }

/// The newest installed server; its binaries are not on the path in Debian.
std::string find_binaries() {
    glob_t found{};
    std::string best;
    int best_version = -1;
    if (::glob("/usr/lib/postgresql/*/bin/initdb", 0, nullptr, &found) == 0) {
        for (std::size_t i = 0; i < found.gl_pathc; ++i) {
            const fs::path folder = fs::path{found.gl_pathv[i]}.parent_path();
            const std::string version = folder.parent_path().filename();
            int number = 0;
            std::from_chars(version.data(), version.data() + version.size(), number);
            if (number > best_version) {
                best_version = number;
                best = folder;
            }
        }
    }
    ::globfree(&found);
    if (best.empty()) {
        fail(
            "no PostgreSQL server found under /usr/lib/postgresql/*/bin: install it (apt-get install postgresql, or ./dev "
            "setup)");
    }
    return best;
}

/// A port that was free a moment ago.
std::uint16_t free_port() {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) fail(std::string{"socket: "} + std::strerror(errno));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    const bool bound = ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                       ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0;
    ::close(socket);
    if (!bound) fail(std::string{"no free port on 127.0.0.1: "} + std::strerror(errno));
    return ntohs(address.sin_port);
}

void give_to(const std::string& path, uid_t uid, gid_t gid) {
    if (::geteuid() == 0 && ::chown(path.c_str(), uid, gid) != 0) fail("chown " + path + ": " + std::strerror(errno));
}

std::vector<pid_t> children_of(pid_t pid) {
    std::ifstream list{"/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children"};
    std::vector<pid_t> children;
    for (pid_t child = 0; list >> child;) children.push_back(child);
    return children;
}

/// Neither gone nor a zombie that nobody collects.
bool is_alive(pid_t pid) {
    std::ifstream stat{"/proc/" + std::to_string(pid) + "/stat"};
    std::string line;
    if (!std::getline(stat, line)) return false;
    const auto close = line.rfind(')');
    return close != std::string::npos && line.size() > close + 2 && line[close + 2] != 'Z' && line[close + 2] != 'X';
}

void pause_for(std::chrono::milliseconds duration) {
    auto& clock = system_clock();
    clock.sleep_until(clock.steady_now() + duration, std::stop_token{});
}

}  // namespace

PostgresServer::PostgresServer(PostgresServerOptions options) : options_{std::move(options)}, binaries_{find_binaries()} {
    if (::geteuid() == 0) {
        const passwd* user = ::getpwnam("postgres");
        if (user == nullptr) user = ::getpwnam("nobody");
        if (user == nullptr) fail("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody");
        uid_ = user->pw_uid;
        gid_ = user->pw_gid;
    }
    if (options_.directory.empty()) {
        std::string pattern = "/tmp/hufu-postgres-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr)
            fail("cannot make a folder under /tmp: " + std::string{std::strerror(errno)});
        directory_ = pattern;
        remove_directory_ = true;
    } else {
        directory_ = fs::absolute(options_.directory);
        fs::create_directories(directory_);
    }
    give_to(directory_, uid_, gid_);
    port_ = free_port();
    if (!fs::exists(directory_ + "/data/PG_VERSION")) init_data();
    start_supervisor();
    start();
}

PostgresServer::~PostgresServer() {
    try {
        if (running()) stop(remove_directory_ ? StopMode::immediate : StopMode::fast);
    } catch (const std::exception&) {  // the supervisor ends what is left
    }
    // The supervisor sees the end of its input, ends what is left and removes the folder.
    if (supervisor_pipe_ >= 0) ::close(supervisor_pipe_);
    if (supervisor_ > 0) wait_for(supervisor_);
}

void PostgresServer::init_data() {
    run({.arguments = {binaries_ + "/initdb", "-D", directory_ + "/data", "-U", "hufu", "--auth=trust", "--no-sync", "-E",
                       "UTF8", "--locale=C"},
         .output = directory_ + "/initdb.log",
         .uid = uid_,
         .gid = gid_});
    std::ofstream config{directory_ + "/data/postgresql.conf", std::ios::app};
    config << "\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '" << directory_ << "'\nmax_connections = 200\n"
           << "log_checkpoints = off\n";
    if (!options_.durable) config << "fsync = off\n";
    for (const auto& line : options_.settings) config << line << '\n';
}

void PostgresServer::start_supervisor() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) fail(std::string{"pipe: "} + std::strerror(errno));
    // A shell that outlives us in any case: waits for the end of its input, ends the server by the pid that PostgreSQL keeps
    // in its folder, and removes a temporary folder.
    const std::string script =
        "cat >/dev/null; pid=$(head -n 1 '" + directory_ +
        "/data/postmaster.pid' 2>/dev/null); if [ -n \"$pid\" ]; then kill -QUIT \"$pid\" 2>/dev/null; "
        "for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 \"$pid\" 2>/dev/null || break; sleep 0.2; done; "
        "kill -KILL \"$pid\" 2>/dev/null; fi; " +
        (remove_directory_ ? "rm -rf '" + directory_ + "'" : std::string{"true"});
    supervisor_ = spawn(
        {.arguments = {"/bin/sh", "-c", script}, .standard_input = ends[0], .die_with_parent = false, .new_session = true});
    ::close(ends[0]);
    supervisor_pipe_ = ends[1];
}

void PostgresServer::start() {
    if (running()) return;
    pid_ = spawn({.arguments = {binaries_ + "/postgres", "-D", directory_ + "/data", "-p", std::to_string(port_)},
                  .output = directory_ + "/server.log",
                  .uid = uid_,
                  .gid = gid_,
                  .die_with_parent = false,
                  .new_session = true});
    wait_until_ready();
}

void PostgresServer::wait_until_ready() {
    const std::string address = socket_url();
    for (int tries = 0; tries < 3000; ++tries) {
        if (PQping(address.c_str()) == PQPING_OK) return;
        int status = 0;
        if (::waitpid(pid_, &status, WNOHANG) == pid_) {
            pid_ = 0;
            fail("PostgreSQL in " + directory_ + " ended while starting: " + log_tail());
        }
        pause_for(10ms);
    }
    fail("PostgreSQL in " + directory_ + " does not answer after 30 s: " + log_tail());
}

void PostgresServer::stop(StopMode mode) {
    if (!running()) return;
    switch (mode) {
        case StopMode::fast: ::kill(pid_, SIGINT); break;
        case StopMode::immediate: ::kill(pid_, SIGQUIT); break;
        case StopMode::kill: break;
    }
    if (mode == StopMode::kill) {
        // Backends have sessions of their own. While one lives the shared memory is in use and a new server refuses to start.
        const auto backends = children_of(pid_);
        ::kill(pid_, SIGKILL);
        for (const pid_t backend : backends) ::kill(backend, SIGKILL);
        wait_for(pid_);
        for (const pid_t backend : backends) {
            while (is_alive(backend)) pause_for(2ms);
        }
        fs::remove(directory_ + "/data/postmaster.pid");
    } else {
        wait_for(pid_);
    }
    pid_ = 0;
}

void PostgresServer::save_copy() {
    if (running()) fail("save_copy: stop the server first");
    run({.arguments = {"/bin/cp", "-a", directory_ + "/data", directory_ + "/copy"}, .output = directory_ + "/copy.log"});
}

void PostgresServer::restore_copy() {
    if (running()) fail("restore_copy: stop the server first");
    fs::remove_all(directory_ + "/data");
    run({.arguments = {"/bin/cp", "-a", directory_ + "/copy", directory_ + "/data"}, .output = directory_ + "/copy.log"});
}

std::string PostgresServer::url(std::string_view database) const {
    return "postgresql://hufu@127.0.0.1:" + std::to_string(port_) + "/" + std::string{database};
}

std::string PostgresServer::socket_url(std::string_view database) const {
    std::string folder;
    for (const char character : directory_) {
        if (character == '/')
            folder += "%2F";
        else
            folder += character;
    }
    return "postgresql://hufu@" + folder + ":" + std::to_string(port_) + "/" + std::string{database};
}

std::string PostgresServer::create_database() {
    const std::string name = "test_" + std::to_string(++databases_);
    query("create database " + name);
    return url(name);
}

std::string PostgresServer::query(std::string_view sql, std::string_view database) {
    const std::unique_ptr<PGconn, decltype(&PQfinish)> connection{PQconnectdb(socket_url(database).c_str()), &PQfinish};
    if (PQstatus(connection.get()) != CONNECTION_OK) fail(PQerrorMessage(connection.get()));
    const std::unique_ptr<PGresult, decltype(&PQclear)> result{PQexec(connection.get(), std::string{sql}.c_str()), &PQclear};
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) fail(PQerrorMessage(connection.get()));
    return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : std::string{};
}

std::string PostgresServer::log_tail() const { return file_tail(directory_ + "/server.log"); }

}  // namespace hufu::test_support
