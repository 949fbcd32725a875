// Measures the log beside the disk it stands on: log-probe FOLDER [GIB]. Prints one line per case.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>

#include <condition_variable>
#include <mutex>

#include <hufu/broker/log.hpp>
#include <hufu/broker/log_record.hpp>
#include <hufu/broker/log_writer.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/core/file.hpp>

namespace {

using namespace hufu;
using namespace hufu::broker;

double seconds_since(SteadyTime start) { return std::chrono::duration<double>(system_clock().steady_now() - start).count(); }

long rss_anon_kib() {
    std::FILE* status = std::fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;
    while (status != nullptr && std::fgets(line, sizeof line, status) != nullptr) {
        if (std::sscanf(line, "RssAnon: %ld", &kib) == 1) break;
    }
    if (status != nullptr) std::fclose(status);
    return kib;
}

std::vector<std::byte> record_of(std::size_t body) {
    std::vector<std::byte> record(log_record::bytes_min + body, std::byte{0x5A});
    std::memset(record.data(), 0, log_record::bytes_min);
    log_record::store_u32(record.data(), static_cast<std::uint32_t>(record.size()));
    return record;
}

/// fdatasync of 1 KiB writes into a prepared file.
void probe_disk(Directory& directory) {
    auto file = directory.open("probe", OpenMode::create_new).value();
    file->preallocate(16U << 20U).value();
    file->sync_data().value();
    const auto block = record_of(1024);
    const std::span<const std::byte> part{block.data(), 1024};
    const auto start = system_clock().steady_now();
    int count = 0;
    while (seconds_since(start) < 1.0) {
        file->write_at(static_cast<std::uint64_t>(count % 8192) * 1536, {&part, 1}).value();
        file->sync_data().value();
        ++count;
    }
    std::printf("%-28s %10.0f /s\n", "fdatasync (1 KiB, prepared)", count / seconds_since(start));
    directory.remove("probe").value();
}

/// The owner's side of an event loop: `window` appends outstanding.
class Loop {
public:
    Loop(Log& log, std::chrono::microseconds spin)
        : log_{log}, writer_{log, system_clock(), {.spin = spin}, [this] {
                                 const std::scoped_lock lock{mutex_};
                                 notified_ = true;
                                 wake_.notify_one();
                             }} {}

    void run(const char* name, std::uint64_t window, std::uint64_t total, std::size_t body) {
        const auto record = record_of(body);
        const auto queue = log_.open_queue("probe", 0);
        std::uint64_t sent = 0;
        std::uint64_t settled = 0;
        std::uint64_t refused = 0;
        std::deque<std::uint64_t> tickets;
        const auto note = [&](const Outcome& outcome) {
            while (!tickets.empty() && tickets.front() <= outcome.through) {
                tickets.pop_front();
                ++settled;
                if (!outcome.durable) ++refused;
            }
        };
        const auto start = system_clock().steady_now();
        while (settled < total) {
            while (sent < total && sent - settled < window && (sent - settled < 1024 || !log_.congested())) {
                auto appended = log_.append(queue, 0, record);
                if (!appended) break;
                tickets.push_back(appended->ticket);
                ++sent;
            }
            writer_.pump(note);
            if (sent - settled < window && sent < total && !log_.congested()) continue;
            wait();
            writer_.pump(note);
        }
        const auto took = seconds_since(start);
        std::printf("%-28s %10.0f /s  %7.1f MB/s  refused %llu  RssAnon %.1f MB\n", name, static_cast<double>(total) / took,
                    static_cast<double>(total * record.size()) / took / 1e6, static_cast<unsigned long long>(refused),
                    static_cast<double>(rss_anon_kib()) / 1024);
        std::fflush(stdout);
    }

private:
    void wait() {
        const auto until = system_clock().steady_now() + std::chrono::microseconds{40};
        do {
            const std::scoped_lock lock{mutex_};
            if (notified_) break;
        } while (system_clock().steady_now() < until);
        std::unique_lock lock{mutex_};
        wake_.wait(lock, [this] { return notified_; });
        notified_ = false;
    }

    Log& log_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool notified_ = false;
    LogWriter writer_;
};

/// What the owner's thread pays: appends only, groups thrown at a file that is never synced would hide nothing.
void probe_append(Directory& directory) {
    auto log =
        Log::open(directory, {.first_segment_bytes = 64U << 20U, .pending_bytes_max = 48U << 20U}, system_clock()).value();
    const auto queue = log->open_queue("probe", 0);
    const auto record = record_of(1024);
    constexpr int count = 30'000;
    for (int round = 0; round < 2; ++round) {
        const auto start = system_clock().steady_now();
        int done = 0;
        for (; done < count / 2 && log->append(queue, 0, record); ++done) {
        }
        std::printf("%-28s %10.0f ns\n", round == 0 ? "append (new memory)" : "append", seconds_since(start) / done * 1e9);
        while (log->busy()) {
            auto* group = log->take_group();
            if (group == nullptr) break;
            Log::write(*group).value();
            Log::sync(*group).value();
            log->completed(group);
        }
    }
}

}  // namespace

int main(int arguments, char** values) {
    if (arguments < 2) {
        std::fprintf(stderr, "usage: log-probe FOLDER [GIB]\n");
        return 2;
    }
    const std::string folder = values[1];
    const double gib = arguments > 2 ? std::atof(values[2]) : 0.5;
    {
        auto directory = open_directory(folder + "/append").value();
        probe_append(*directory);
    }
    auto directory = open_directory(folder + "/log").value();
    {
        const auto start = system_clock().steady_now();
        auto log = Log::open(*directory, {}, system_clock()).value();
        std::printf("%-28s %10.1f ms  RssAnon %.1f MB\n", "open (new store)", seconds_since(start) * 1e3,
                    static_cast<double>(rss_anon_kib()) / 1024);
        for (const auto spin : {0, 40}) {
            auto probe = open_directory(folder + "/probe").value();
            probe_disk(*probe);
            Loop loop{*log, std::chrono::microseconds{spin}};
            std::printf("spin %d us\n", spin);
            loop.run("publish w=1", 1, 4'000, 1024);
            loop.run("publish w=64", 64, 150'000, 1024);
            loop.run("publish w=256", 256, 300'000, 1024);
            loop.run("publish async", 1U << 20U, static_cast<std::uint64_t>(gib * 0.5 * (1 << 20)), 1024);
        }
        for (const auto& damage : log->damages()) std::printf("damage: %s\n", damage.text.c_str());
    }
    {
        const auto start = system_clock().steady_now();
        auto log = Log::open(*directory, {}, system_clock()).value();
        std::printf("%-28s %10.1f ms  (%.2f GB, %llu segments, %llu MB replayed, %llu rebuilt)  RssAnon %.1f MB\n",
                    "open again", seconds_since(start) * 1e3, static_cast<double>(log->bytes_on_disk()) / 1e9,
                    static_cast<unsigned long long>(log->recovery().segments),
                    static_cast<unsigned long long>(log->recovery().replayed_bytes >> 20U),
                    static_cast<unsigned long long>(log->recovery().rebuilt_indexes),
                    static_cast<double>(rss_anon_kib()) / 1024);
        const auto queue = log->find_queue("probe", 0).value();
        std::vector<std::byte> bytes;
        const auto read_start = system_clock().steady_now();
        std::uint64_t records = 0;
        for (std::uint64_t offset = 0; offset < log->max_offset(queue);) {
            bytes.clear();
            const auto result = log->read(queue, offset, {.records_max = 256, .bytes_max = 1U << 20U}, {}, bytes);
            records += result.records;
            offset = result.next_offset;
        }
        std::printf("%-28s %10.0f ns each, %llu of %llu\n", "read",
                    seconds_since(read_start) / static_cast<double>(records) * 1e9, static_cast<unsigned long long>(records),
                    static_cast<unsigned long long>(log->max_offset(queue)));
    }
    return 0;
}
