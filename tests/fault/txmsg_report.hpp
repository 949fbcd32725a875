// What the rounds came to, for people and programs.
#pragma once

#include <map>
#include <string>

#include "txmsg_rounds.hpp"

namespace hufu::fault {

struct TxTotals {
    std::string broker = {};  ///< "hufu", or the original's name
    bool original = false;
    TxRounds all = {};
    std::map<std::string, TxRounds> by_step = {};
    double seconds = 0;
    /// Something must have been committed: an empty database and empty topics agree as well.
    [[nodiscard]] bool held() const { return all.held() && all.verdict.rows > 0; }
};

/// One object on standard output.
void print_json(const TxTotals& totals);
/// One line.
void print_text(const TxTotals& totals);

}  // namespace hufu::fault
