#include "disk_probe.hpp"

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/file.hpp>

namespace hufu::bench {

Result<double> probe_disk(const std::string& folder, std::size_t group) {
    constexpr std::chrono::milliseconds length{400};
    constexpr std::uint64_t file_bytes = 64U << 20U;
    auto directory = open_directory(folder);
    if (!directory) {
        return directory.error();
    }
    const std::string name = "probe";
    auto opened = (*directory)->open(name, OpenMode::create_new);
    if (!opened) {
        return opened.error();
    }
    File& file = **opened;
    if (auto prepared = file.preallocate(file_bytes); !prepared) {
        return prepared.error();
    }
    if (auto synced = file.sync_data(); !synced) {
        return synced.error();
    }
    const std::vector<std::byte> bytes(group * record_bytes, std::byte{0x5A});
    const std::span<const std::byte> part{bytes};
    std::uint64_t offset = 0;
    std::uint64_t syncs = 0;
    const SteadyTime begin = system_clock().steady_now();
    SteadyTime now = begin;
    for (; now - begin < length; now = system_clock().steady_now()) {
        if (offset + bytes.size() > file_bytes) {
            offset = 0;
        }
        auto written = file.write_at(offset, {&part, 1});
        if (!written) {
            return written.error();
        }
        if (auto synced = file.sync_data(); !synced) {
            return synced.error();
        }
        offset += bytes.size();
        ++syncs;
    }
    opened->reset();
    if (auto removed = (*directory)->remove(name); !removed) {
        return removed.error();
    }
    return static_cast<double>(syncs * group) / std::chrono::duration<double>(now - begin).count();
}

}  // namespace hufu::bench
