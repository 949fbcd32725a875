#include "page_loss.hpp"

#include "page_loss_format.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

namespace hufu::fault {
namespace {

constexpr std::uint64_t page_bytes = 4096;

struct Entry {
    JournalHeader header{};
    std::string name;
    std::string other;
    std::vector<char> data;
};

std::vector<Entry> read_journal(const std::string& path) {
    std::ifstream in{path, std::ios::binary};
    std::vector<Entry> entries;
    Entry entry;
    while (in.read(reinterpret_cast<char*>(&entry.header), sizeof entry.header)) {
        entry.name.resize(entry.header.name_bytes);
        entry.other.resize(entry.header.other_bytes);
        entry.data.resize(entry.header.data_bytes);
        in.read(entry.name.data(), static_cast<std::streamsize>(entry.name.size()));
        in.read(entry.other.data(), static_cast<std::streamsize>(entry.other.size()));
        in.read(entry.data.data(), static_cast<std::streamsize>(entry.data.size()));
        if (!in) break;  // killed while it wrote the entry: the change itself had not begun
        entries.push_back(entry);
    }
    return entries;
}

class Writer {
public:
    explicit Writer(const std::string& path) : descriptor_{::open(path.c_str(), O_WRONLY | O_CLOEXEC)} {}
    ~Writer() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    [[nodiscard]] bool usable() const { return descriptor_ >= 0; }
    void put(std::uint64_t offset, const char* bytes, std::size_t size) {
        if (::pwrite(descriptor_, bytes, size, static_cast<off_t>(offset)) != static_cast<ssize_t>(size)) {
            throw std::runtime_error{"taking back a write failed"};
        }
    }
    void cut(std::uint64_t size) {
        if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) throw std::runtime_error{"taking back a resize failed"};
    }

private:
    int descriptor_;
};

/// Which pages of which file are lost; decided once per page, so that a page is either old or new as a whole.
class PageChoice {
public:
    PageChoice(LossMode mode, Random& random) : mode_{mode}, random_{random} {}
    bool lost(const std::string& name, std::uint64_t page) {
        if (mode_ == LossMode::everything) return true;
        return choices_.try_emplace({name, page}, random_.below(2) == 0).first->second;
    }

private:
    LossMode mode_;
    Random& random_;
    std::map<std::pair<std::string, std::uint64_t>, bool> choices_;
};

void take_back_write(const std::string& path, const Entry& entry, PageChoice& choice, LossMode mode) {
    Writer file{path};
    if (!file.usable()) return;  // created and never synced: gone already
    std::vector<char> before = entry.data;
    before.resize(entry.header.length, '\0');  // what was past the end reads as zeros
    for (std::uint64_t done = 0; done < before.size();) {
        const std::uint64_t at = entry.header.offset + done;
        const std::uint64_t length = std::min<std::uint64_t>(page_bytes - at % page_bytes, before.size() - done);
        if (choice.lost(entry.name, at / page_bytes)) file.put(at, before.data() + done, length);
        done += length;
    }
    const bool grew = entry.header.kind == JournalKind::write && entry.data.size() < entry.header.length;
    if (grew && mode == LossMode::everything) file.cut(entry.header.size);
}

/// Where the file now is that the journal, at the entry at hand, calls by another name: renames that stay.
class Places {
public:
    [[nodiscard]] std::string of(const std::string& name) const {
        const auto found = now_.find(name);
        return found == now_.end() ? name : found->second;
    }
    void renamed(const std::string& from, const std::string& to) {
        const std::string place = of(to);
        now_.erase(to);
        now_[from] = place;
    }

private:
    std::map<std::string, std::string> now_;
};

}  // namespace

PageLoss lose_unsynced(const std::string& folder, const std::string& journal, LossMode mode, Random& random) {
    const std::vector<Entry> entries = read_journal(journal);
    PageChoice choice{mode, random};
    std::set<std::string> synced;  // files with a sync after the entry at hand
    bool folder_synced = false;
    Places places;
    PageLoss loss;
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
        ++loss.entries;
        switch (entry->header.kind) {
            case JournalKind::synced: synced.insert(entry->name); continue;
            case JournalKind::sync_failed: synced.erase(entry->name); continue;
            case JournalKind::folder_synced: folder_synced = true; continue;
            case JournalKind::write:
            case JournalKind::write_over_zeros:
                if (synced.contains(entry->name)) continue;
                take_back_write(folder + "/" + places.of(entry->name), *entry, choice, mode);
                break;
            case JournalKind::resize:
                if (synced.contains(entry->name)) continue;
                if (Writer file{folder + "/" + places.of(entry->name)}; file.usable()) {
                    file.cut(entry->header.size);
                    if (!entry->data.empty()) file.put(entry->header.offset, entry->data.data(), entry->data.size());
                }
                break;
            case JournalKind::create:
                if (folder_synced) continue;
                std::filesystem::remove(folder + "/" + entry->name);
                break;
            case JournalKind::rename: {
                // Entries before this one speak of the file under its old name.
                if (synced.erase(entry->other) > 0) synced.insert(entry->name);
                if (folder_synced) {
                    places.renamed(entry->name, entry->other);
                    continue;
                }
                std::error_code ignored;  // the file may be one whose creation was taken back above
                std::filesystem::rename(folder + "/" + entry->other, folder + "/" + entry->name, ignored);
                break;
            }
            case JournalKind::unlink:
                if (folder_synced) continue;
                std::filesystem::rename(entry->other, folder + "/" + entry->name);
                break;
        }
        ++loss.taken_back;
    }
    for (const Entry& entry : entries) {
        if (entry.header.kind == JournalKind::unlink) std::filesystem::remove(entry.other);
    }
    std::filesystem::remove(journal);
    return loss;
}

}  // namespace hufu::fault
