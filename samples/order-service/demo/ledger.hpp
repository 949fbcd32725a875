// What the services said yes to, written down on disk by the one who asked.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace shop::demo {

/// What was accepted of one order.
struct LedgerEntry {
    bool created = false;
    bool paid = false;
    bool cancelled = false;
    friend bool operator==(const LedgerEntry&, const LedgerEntry&) = default;
};

using Ledger = std::map<std::string, LedgerEntry>;

/// Appends one line per accepted request, each with one write. Thread-safe. Throws `hufu::Exception` when the disk fails.
class LedgerWriter {
public:
    explicit LedgerWriter(std::string path);
    ~LedgerWriter();
    LedgerWriter(const LedgerWriter&) = delete;
    LedgerWriter& operator=(const LedgerWriter&) = delete;

    void created(std::string_view order_id) { write("created", order_id); }
    void paid(std::string_view order_id) { write("paid", order_id); }
    void cancelled(std::string_view order_id) { write("cancelled", order_id); }

private:
    void write(std::string_view what, std::string_view order_id);

    std::string path_;
    int fd_ = -1;
    std::mutex mutex_;
};

/// Reads a ledger back. Throws `hufu::Exception` naming the line that is none.
[[nodiscard]] Ledger read_ledger(const std::string& path);

}  // namespace shop::demo
