#include "sync_failures.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include <hufu/core/clock.hpp>
#include <hufu/remoting/headers.hpp>

#include "broker_load.hpp"
#include "page_loss.hpp"

namespace hufu::fault {
namespace {

constexpr int operations = 200;
constexpr std::chrono::seconds heals_within{10};

/// Sends over one connection at a time, a new one when the broker closed the last.
class Sender {
public:
    explicit Sender(std::uint16_t port) : port_{port}, client_{std::make_unique<RawClient>(port)} {}

    /// True when it was acknowledged.
    bool send(QueueLedger& ledger) {
        if (!client_->connected()) client_ = std::make_unique<RawClient>(port_);
        const auto code = send_one(*client_, ledger);
        return code == remoting::ResponseCode::success;
    }

private:
    std::uint16_t port_;
    std::unique_ptr<RawClient> client_;
};

/// The file whose sync failed ("" before it has), as the shim notes it.
std::string failed_file(const std::string& folder) {
    std::ifstream note{folder + "/journal.failed"};
    std::string name;
    std::getline(note, name);
    return name;
}

/// One run in which sync number `failing` fails (0: none). Returns how many sync calls it made.
std::uint64_t run(const Programs& programs, const std::string& folder, std::uint64_t failing, Random& random,
                  SyncFailures& total) {
    std::filesystem::create_directories(folder + "/data");
    const Ledgers ledgers = fresh_ledgers(programs.break_sync);
    {
        BrokerChild broker{programs, folder, true, {"HUFU_SHIM_FAIL_SYNC=" + std::to_string(failing)}};
        // A failure while it starts may end it: nothing was promised yet.
        if (broker.wait_ready_or_ended()) {
            Sender sender{broker.port()};
            for (int operation = 0; operation < operations; ++operation) {
                if (!sender.send(*ledgers[static_cast<std::size_t>(operation) % ledgers.size()])) ++total.refused;
            }
            // One failed sync is not the end: it reads back what it has and goes on in a new file.
            Clock& clock = system_clock();
            const SteadyTime give_up = clock.steady_now() + heals_within;
            bool healed = false;
            while (!healed && clock.steady_now() < give_up && broker.running()) {
                healed = sender.send(*ledgers.front());
                if (!healed) clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{5}, {});
            }
            if (!healed) {
                ++total.not_healed;
                std::fprintf(stderr, "sync %lu of \"%s\" failed, and no send was taken for %ld s\n", failing,
                             failed_file(folder).c_str(), static_cast<long>(heals_within.count()));
            }
        }
        broker.kill();
    }
    const std::uint64_t calls =
        std::filesystem::exists(folder + "/journal.syncs") ? std::filesystem::file_size(folder + "/journal.syncs") : 0;
    lose_unsynced(folder + "/data", folder + "/journal", LossMode::everything, random);
    BrokerChild broker{programs, folder, false};
    broker.wait_ready();
    const Verdict verdict = read_back(broker.port(), ledgers);
    complain("sync_failure", verdict);
    total.verdict.add(verdict);
    total.acknowledged += acknowledged_in(ledgers);
    ++total.runs;
    return calls;
}

}  // namespace

SyncFailures fail_every_sync(const Programs& programs, const std::string& root, int step, Random& random) {
    SyncFailures total;
    total.sync_calls = run(programs, root + "/sync0", 0, random, total);
    std::filesystem::remove_all(root + "/sync0");
    for (std::uint64_t failing = 1; failing <= total.sync_calls && total.held();
         failing += static_cast<std::uint64_t>(step)) {
        const std::string folder = root + "/sync" + std::to_string(failing);
        run(programs, folder, failing, random, total);
        if (total.held()) std::filesystem::remove_all(folder);
        std::fprintf(stderr, "\rsync_failure call %lu/%lu", failing, total.sync_calls);
    }
    std::fprintf(stderr, "\n");
    return total;
}

}  // namespace hufu::fault
