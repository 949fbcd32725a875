#include "sim_disk.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include <hufu/core/assert.hpp>

namespace hufu::simulation {

struct SimDisk::Inode {
    std::vector<std::byte> cached;
    std::vector<std::byte> durable;
    std::set<std::uint64_t> dirty;  ///< sectors that differ, or may, and a sync would write
};

/// One unsynced change of names: `removed` goes, `added` comes. A rename is both at once.
struct SimDisk::NameChange {
    std::string removed;
    std::string added;
    std::shared_ptr<Inode> inode;
};

namespace {

void put_sector(std::vector<std::byte>& to, const std::vector<std::byte>& from, std::uint64_t index) {
    const auto begin = index * SimDisk::sector;
    if (begin >= from.size()) return;
    const auto end = std::min<std::uint64_t>(begin + SimDisk::sector, from.size());
    if (to.size() < end) to.resize(end);
    std::memcpy(to.data() + begin, from.data() + begin, end - begin);
}

Error disk_error(ErrorCode code, const std::string& text) {
    return Error{code, code == ErrorCode::out_of_space || code == ErrorCode::busy ? Disposition::retry : Disposition::fatal,
                 text};
}

}  // namespace

class SimFile final : public File {
public:
    SimFile(SimDisk& disk, std::shared_ptr<SimDisk::Inode> inode, std::string name)
        : disk_{disk}, inode_{std::move(inode)}, name_{std::move(name)}, generation_{disk.generation_} {}

    Result<void> write_at(std::uint64_t offset, std::span<const std::span<const std::byte>> parts) override {
        if (auto dead = alive(); !dead) return dead;
        std::uint64_t total = 0;
        for (const auto& part : parts) total += part.size();
        auto charged = disk_.charge(DiskCall::write, name_);
        auto allowed = charged ? total : disk_.random_.below(total + 1);
        if (auto grown = grow(offset + allowed); !grown) {
            if (charged) charged = grown;
            allowed = std::min<std::uint64_t>(allowed, inode_->cached.size() > offset ? inode_->cached.size() - offset : 0);
        }
        for (const auto& part : parts) {
            const auto count = std::min<std::uint64_t>(part.size(), allowed);
            if (count == 0) continue;
            std::memcpy(inode_->cached.data() + offset, part.data(), count);
            touch(offset, count);
            offset += count;
            allowed -= count;
        }
        return charged;
    }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
        if (auto dead = alive(); !dead) return dead.error();
        if (auto charged = disk_.charge(DiskCall::read, name_); !charged) return charged.error();
        if (offset >= inode_->cached.size()) return std::size_t{0};
        const auto count = std::min<std::uint64_t>(into.size(), inode_->cached.size() - offset);
        if (count > 0) std::memcpy(into.data(), inode_->cached.data() + offset, count);
        return static_cast<std::size_t>(count);
    }

    Result<std::size_t> read_durable_at(std::uint64_t offset, std::span<std::byte> into) const override {
        // Clean pages are dropped and come back as the disk has them; dirty ones cannot be dropped.
        const auto last = (offset + into.size() + SimDisk::sector - 1) / SimDisk::sector;
        for (auto index = offset / SimDisk::sector; index < last; ++index) {
            if (!inode_->dirty.contains(index)) put_sector(inode_->cached, inode_->durable, index);
        }
        return read_at(offset, into);
    }

    Result<void> sync_data() override {
        if (auto dead = alive(); !dead) return dead;
        auto charged = disk_.charge(DiskCall::sync, name_);
        if (charged) {
            inode_->durable.resize(inode_->cached.size());
            for (const auto index : inode_->dirty) put_sector(inode_->durable, inode_->cached, index);
        } else {
            inode_->durable.resize(std::max(inode_->durable.size(), inode_->cached.size()));
            for (const auto index : inode_->dirty) {
                if (disk_.random_.below(2) == 0) put_sector(inode_->durable, inode_->cached, index);
            }
        }
        inode_->dirty.clear();
        return charged;
    }

    Result<void> preallocate(std::uint64_t size) override {
        if (auto dead = alive(); !dead) return dead;
        if (auto charged = disk_.charge(DiskCall::preallocate, name_); !charged) return charged;
        const auto before = inode_->cached.size();
        if (auto grown = grow(size); !grown) return grown;
        if (size > before) touch(before, size - before);
        return {};
    }

    void forget_cached() const noexcept override {
        for (std::uint64_t index = 0; index * SimDisk::sector < inode_->cached.size(); ++index) {
            if (!inode_->dirty.contains(index)) put_sector(inode_->cached, inode_->durable, index);
        }
    }

    Result<void> truncate(std::uint64_t size) override {
        if (auto dead = alive(); !dead) return dead;
        inode_->cached.resize(size);
        return {};
    }

    Result<std::uint64_t> size() const override { return static_cast<std::uint64_t>(inode_->cached.size()); }

private:
    Result<void> alive() const {
        if (generation_ == disk_.generation_) return {};
        return disk_error(ErrorCode::io, "file \"" + name_ + "\" was opened before the crash");
    }

    Result<void> grow(std::uint64_t size) {
        if (size <= inode_->cached.size()) return {};
        const auto more = size - inode_->cached.size();
        if (more > disk_.free_bytes_) {
            return disk_error(ErrorCode::out_of_space, "the simulated disk has " + std::to_string(disk_.free_bytes_) +
                                                           " bytes free, \"" + name_ + "\" needs " + std::to_string(more));
        }
        if (disk_.free_bytes_ != ~0ULL) disk_.free_bytes_ -= more;
        inode_->cached.resize(size);
        return {};
    }

    void touch(std::uint64_t offset, std::uint64_t size) {
        for (auto index = offset / SimDisk::sector; index * SimDisk::sector < offset + size; ++index)
            inode_->dirty.insert(index);
    }

    SimDisk& disk_;
    std::shared_ptr<SimDisk::Inode> inode_;
    const std::string name_;
    const std::uint64_t generation_;
};

class SimLock final : public DirectoryLock {
public:
    explicit SimLock(SimDisk& disk) : disk_{disk}, generation_{disk.generation_} { disk_.locked_ = true; }
    ~SimLock() override {
        if (generation_ == disk_.generation_) disk_.locked_ = false;
    }
    SimLock(const SimLock&) = delete;
    SimLock& operator=(const SimLock&) = delete;

private:
    SimDisk& disk_;
    const std::uint64_t generation_;
};

class SimDisk::DirectoryImpl final : public Directory {
public:
    explicit DirectoryImpl(SimDisk& disk) : disk_{disk} {}

    Result<std::unique_ptr<File>> open(std::string_view name, OpenMode mode) override {
        if (auto charged = disk_.charge(DiskCall::open, name); !charged) return charged.error();
        const auto found = disk_.names_.find(name);
        if (mode == OpenMode::create_new) {
            if (found != disk_.names_.end()) {
                return Error{ErrorCode::conflict, Disposition::reject, "file \"" + std::string{name} + "\" exists already"};
            }
            auto inode = std::make_shared<Inode>();
            disk_.names_.emplace(name, inode);
            disk_.changes_.push_back({{}, std::string{name}, inode});
            return std::unique_ptr<File>{std::make_unique<SimFile>(disk_, std::move(inode), std::string{name})};
        }
        if (found == disk_.names_.end()) {
            return Error{ErrorCode::not_found, Disposition::reject, "file \"" + std::string{name} + "\" does not exist"};
        }
        return std::unique_ptr<File>{std::make_unique<SimFile>(disk_, found->second, std::string{name})};
    }

    Result<void> rename(std::string_view from, std::string_view to) override {
        if (auto charged = disk_.charge(DiskCall::rename, from); !charged) return charged;
        const auto found = disk_.names_.find(from);
        if (found == disk_.names_.end()) {
            return Error{ErrorCode::not_found, Disposition::reject, "file \"" + std::string{from} + "\" does not exist"};
        }
        auto inode = found->second;
        disk_.names_.erase(found);
        release(to);
        disk_.names_.insert_or_assign(std::string{to}, inode);
        disk_.changes_.push_back({std::string{from}, std::string{to}, inode});
        return {};
    }

    Result<void> remove(std::string_view name) override {
        if (auto charged = disk_.charge(DiskCall::remove, name); !charged) return charged;
        const auto found = disk_.names_.find(name);
        if (found == disk_.names_.end()) {
            return Error{ErrorCode::not_found, Disposition::reject, "file \"" + std::string{name} + "\" does not exist"};
        }
        release(name);
        disk_.names_.erase(found);
        disk_.changes_.push_back({std::string{name}, {}, nullptr});
        return {};
    }

    Result<std::vector<std::string>> list() const override { return disk_.names(); }

    Result<void> sync() override {
        auto charged = disk_.charge(DiskCall::sync_directory, "the folder");
        if (charged) {
            disk_.durable_names_ = disk_.names_;
            disk_.changes_.clear();
        }
        return charged;
    }

    Result<std::unique_ptr<DirectoryLock>> lock() override {
        if (disk_.locked_) return disk_error(ErrorCode::busy, "folder \"" + path() + "\" is locked");
        return std::unique_ptr<DirectoryLock>{std::make_unique<SimLock>(disk_)};
    }

    std::string path() const override { return "/simulated"; }

private:
    void release(std::string_view name) {
        const auto found = disk_.names_.find(name);
        if (found != disk_.names_.end() && disk_.free_bytes_ != ~0ULL) disk_.free_bytes_ += found->second->cached.size();
    }

    SimDisk& disk_;
};

SimDisk::SimDisk(Random& random) : random_{random}, directory_{std::make_unique<DirectoryImpl>(*this)} {}
SimDisk::~SimDisk() = default;

Directory& SimDisk::directory() noexcept { return *directory_; }

Result<void> SimDisk::charge(DiskCall call, std::string_view what) {
    const auto number = ++calls_[call];
    const auto fail = [&](ErrorCode code) { return disk_error(code, "injected failure at \"" + std::string{what} + "\""); };
    if (const auto always = always_.find(call); always != always_.end()) return fail(always->second);
    auto& nth = nth_[call];
    if (const auto due = nth.find(number); due != nth.end()) {
        const auto code = due->second;
        nth.erase(due);
        return fail(code);
    }
    std::uint32_t chance = 0;
    switch (call) {
        case DiskCall::write: chance = faults_.write; break;
        case DiskCall::read: chance = faults_.read; break;
        case DiskCall::sync: chance = faults_.sync; break;
        case DiskCall::sync_directory: chance = faults_.sync_directory; break;
        default: break;
    }
    if (chance > 0 && random_.below(1'000'000) < chance) return fail(ErrorCode::io);
    return {};
}

void SimDisk::lose(Inode& inode) {
    // Any subset of the sectors that were not synced is on the disk; the file's length is that of either image.
    const bool long_enough = random_.below(2) == 0;
    if (long_enough && inode.durable.size() < inode.cached.size()) inode.durable.resize(inode.cached.size());
    const auto keep_all = random_.below(8) == 0;
    const auto keep_none = random_.below(8) == 0;
    for (const auto index : inode.dirty) {
        if ((index + 1) * sector > inode.durable.size() || keep_none) continue;
        if (keep_all || random_.below(2) == 0) put_sector(inode.durable, inode.cached, index);
    }
    inode.dirty.clear();
    inode.cached = inode.durable;
}

void SimDisk::crash() {
    for (const auto& change : changes_) {
        if (random_.below(2) == 0) continue;
        if (!change.removed.empty()) durable_names_.erase(change.removed);
        if (!change.added.empty()) durable_names_.insert_or_assign(change.added, change.inode);
    }
    changes_.clear();
    names_ = durable_names_;
    std::set<Inode*> seen;
    for (const auto& [name, inode] : names_) {
        if (seen.insert(inode.get()).second) lose(*inode);
    }
    kill();
}

void SimDisk::kill() {
    ++generation_;
    locked_ = false;
}

void SimDisk::fail_nth(DiskCall call, std::uint64_t n, ErrorCode code) { nth_[call][calls_[call] + n] = code; }
void SimDisk::fail_always(DiskCall call, ErrorCode code) { always_[call] = code; }

void SimDisk::heal() {
    nth_.clear();
    always_.clear();
    faults_ = {};
}

std::uint64_t SimDisk::calls(DiskCall call) const {
    const auto found = calls_.find(call);
    return found == calls_.end() ? 0 : found->second;
}

void SimDisk::damage(std::string_view name, std::uint64_t offset, std::uint8_t mask) {
    const auto found = names_.find(name);
    HUFU_ASSERT(found != names_.end() && offset < found->second->cached.size());
    found->second->cached[offset] ^= std::byte{mask};
    if (offset < found->second->durable.size()) found->second->durable[offset] ^= std::byte{mask};
}

void SimDisk::cut(std::string_view name, std::uint64_t size) {
    const auto found = names_.find(name);
    HUFU_ASSERT(found != names_.end());
    auto& inode = *found->second;
    inode.cached.resize(std::min<std::uint64_t>(inode.cached.size(), size));
    inode.durable.resize(std::min<std::uint64_t>(inode.durable.size(), size));
    std::erase_if(inode.dirty, [size](std::uint64_t index) { return index * sector >= size; });
}

std::vector<std::string> SimDisk::names() const {
    std::vector<std::string> names;
    for (const auto& [name, inode] : names_) names.push_back(name);
    return names;
}

std::uint64_t SimDisk::size_of(std::string_view name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? 0 : found->second->cached.size();
}

}  // namespace hufu::simulation
