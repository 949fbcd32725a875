// What a disk may show a broker that starts. The first byte chooses: bytes of the input as the files of a folder, or a real
// log with bits turned, files cut and files gone. Opening succeeds or says why not; from a real log nothing is ever served
// but what was appended, where it was appended; and a log that opens can be written to and opened again.
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <hufu/core/assert.hpp>

#include "log/format.hpp"
#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace {

using namespace hufu;
using namespace hufu::broker;
using broker::testing::read_all;
using broker::testing::record_of;
using broker::testing::settle;

LogOptions options() {
    LogOptions result;
    result.segment_bytes = 16U << 10U;
    result.first_segment_bytes = 8U << 10U;
    result.record_bytes_max = 4U << 10U;
    result.pending_bytes_max = 64U << 10U;
    result.keys_of = [](std::span<const std::byte> record, std::vector<std::uint64_t>& keys) {
        keys.push_back(record.size());
    };
    return result;
}

using Files = std::map<std::string, std::vector<std::byte>>;
using Place = std::pair<std::int32_t, std::uint64_t>;  // queue id and offset

constexpr std::int32_t linked = 3;  // queue ids
constexpr std::int32_t marked = 4;

struct Sample {
    Files files;
    std::map<Place, std::string> texts;
};

/// A log of some segments, sealed and not.
Sample make_sample() {
    Sample sample;
    SeededRandom random{1};
    simulation::SimDisk disk{random};
    broker::testing::StoppedClock clock;
    auto log = Log::open(disk.directory(), options(), clock).value();
    for (int number = 0; number < 40; ++number) {
        const std::int32_t queue_id = number % 3;
        const std::string text = std::to_string(number) + std::string(static_cast<std::size_t>(number * 20), '.');
        const auto done = log->append(log->open_queue("orders", queue_id), number, record_of(text)).value();
        sample.texts[{queue_id, done.queue_offset}] = text;
        if (number % 2 == 0) {  // once more in a queue of its own, and a mark that says so
            const LinkTarget target{log->open_queue("orders", queue_id), done.queue_offset, done.log_offset};
            const auto key = static_cast<std::uint64_t>(number) << 56U;
            const auto link = log->append_link(log->open_queue("orders", linked), number, target, {&key, 1}).value();
            sample.texts[{linked, link.queue_offset}] = text;
            const auto mark = log->append_mark(log->open_queue("orders", marked), number, bytes_of(text.substr(0, 64)));
            sample.texts[{marked, mark.value().queue_offset}] = text.substr(0, 64);
        }
        if (number % 5 == 0) log->put_state("key/" + std::to_string(number % 4), std::to_string(number)).value();
        if (number % 3 == 0) settle(*log);
        clock.now_ms += 1000;
    }
    settle(*log);
    log.reset();
    for (const std::string& name : disk.directory().list().value()) {
        const auto file = disk.directory().open(name, OpenMode::read_only).value();
        auto& bytes = sample.files[name];
        bytes.resize(static_cast<std::size_t>(file->size().value()));
        HUFU_ASSERT(file->read_at(0, bytes).value() == bytes.size());
    }
    return sample;
}

void put(Directory& directory, const std::string& name, std::span<const std::byte> bytes) {
    const auto file = directory.open(name, OpenMode::create_new).value();
    file->write_at(0, {&bytes, 1}).value();
    file->sync_data().value();
}

/// Six bytes each: which file, where (two), what to do, how much.
void damage(Files& files, std::span<const std::uint8_t> orders) {
    for (; orders.size() >= 5 && !files.empty(); orders = orders.subspan(5)) {
        auto at = files.begin();
        std::advance(at, orders[0] % files.size());
        std::vector<std::byte>& bytes = at->second;
        if (bytes.empty()) continue;
        const std::size_t place = (std::size_t{orders[1]} << 8U | orders[2]) % bytes.size();
        switch (orders[3] % 8) {
            case 0: bytes.resize(place); break;
            case 1: files.erase(at); break;
            case 2:
                std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(place / 512 * 512),
                            std::min<std::size_t>(512, bytes.size() - place / 512 * 512), std::byte{0});
                break;
            default: bytes[place] ^= std::byte{orders[4]}; break;
        }
    }
}

void check(Log& log, const Sample* sample) {
    for (std::uint32_t number = 0; number < log.queue_count(); ++number) {
        const QueueHandle queue{number};
        const auto name = log.queue_name(queue);
        for (const auto& record : read_all(log, queue, log.min_offset(queue))) {
            // A queue whose name was lost to damage has none: nobody can ask for it.
            if (sample == nullptr || name.topic.empty()) continue;
            const auto known = sample->texts.find({name.queue_id, record.offset});
            HUFU_ASSERT(known != sample->texts.end() && known->second == record.text);
        }
    }
    log.for_each_state("", [](std::string_view, std::string_view) {});
    if (const auto marks = log.find_queue("orders", marked)) {
        log.for_each_entry(*marks, log.min_offset(*marks), [&](const QueueEntry& entry) {
            const auto mark = log.read_mark(entry.log_offset);
            if (!mark || sample == nullptr) return true;
            const auto known = sample->texts.find({marked, entry.queue_offset});
            HUFU_ASSERT(known != sample->texts.end() && known->second == text_of(mark->payload));
            return true;
        });
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3) return 0;
    static const Sample sample = make_sample();
    const std::span<const std::uint8_t> input{data + 1, size - 1};
    const bool real = (*data & 1U) != 0;

    SeededRandom random{2};
    simulation::SimDisk disk{random};
    broker::testing::StoppedClock clock;
    if (real) {
        Files files = sample.files;
        damage(files, input);
        for (const auto& [name, bytes] : files) put(disk.directory(), name, bytes);
    } else {
        const std::size_t first = std::min<std::size_t>((std::size_t{input[0]} << 8U) | input[1], input.size() - 2);
        const auto bytes = std::as_bytes(input.subspan(2));
        put(disk.directory(), segment_name(0), bytes.first(first));
        put(disk.directory(), index_name(0), bytes.subspan(first));
    }
    auto log = Log::open(disk.directory(), options(), clock);
    if (!log) return 0;
    settle(**log);
    check(**log, real ? &sample : nullptr);

    // It goes on where it stands.
    if (!(*log)->append((*log)->open_queue("after", 0), 0, record_of("after"))) return 0;
    settle(**log);
    // What stands there can be linked to, if it is in reach; the key index is made from it.
    const auto orders = (*log)->find_queue("orders", 0);
    if (orders) {
        std::vector<LinkTarget> targets;
        (*log)->for_each_entry(*orders, (*log)->min_offset(*orders), [&](const QueueEntry& entry) {
            targets.push_back({*orders, entry.queue_offset, entry.log_offset});
            return true;
        });
        for (const LinkTarget& target : targets)
            static_cast<void>((*log)->append_link((*log)->open_queue("later", 0), 0, target));
        settle(**log);
        static_cast<void>((*log)->find_key({.key = 0}));
    }
    log->reset();
    auto again = Log::open(disk.directory(), options(), clock);
    HUFU_ASSERT(again);
    const auto found = (*again)->find_queue("after", 0);
    HUFU_ASSERT(found);
    const auto records = read_all(**again, *found, (*again)->min_offset(*found));
    HUFU_ASSERT(!records.empty() && records.back().text == "after");
    return 0;
}
