#include "txmsg_report.hpp"

#include <cstdio>

namespace hufu::fault {
namespace {

void print_faults(const TxFaults& faults) {
    std::printf(
        "\"rows_without_message\":%lu,\"message_without_rows\":%lu,\"committed_twice\":%lu,\"visible_before_commit\":%lu",
        faults.rows_without_message, faults.message_without_rows, faults.committed_twice, faults.visible_before_commit);
}

void print_counts(const TxRounds& rounds, bool original) {
    const TxVerdict& verdict = rounds.verdict;
    std::printf(
        "\"rounds\":%d,\"kills\":%lu,\"transactions\":%lu,\"committed\":%lu,\"messages\":%lu,\"checks_answered\":%lu,"
        "\"undecided\":%lu,\"wrong_verdicts\":%lu,\"repeats\":%lu,",
        rounds.rounds, rounds.kills, rounds.transactions, verdict.rows, verdict.messages, rounds.checks_answered,
        rounds.undecided, verdict.wrong_verdicts, verdict.repeats);
    print_faults(verdict.ours);
    if (!original) return;
    std::printf(",\"original_broke\":{");
    print_faults(verdict.original);
    std::printf("}");
}

}  // namespace

void print_json(const TxTotals& totals) {
    std::printf("{\"fault\":\"txmsg\",\"broker\":\"%s\",\"held\":%s,", totals.broker.c_str(),
                totals.held() ? "true" : "false");
    print_counts(totals.all, totals.original);
    std::printf(",\"steps\":{");
    const char* comma = "";
    for (const auto& [step, rounds] : totals.by_step) {
        std::printf("%s\"%s\":{", comma, step.c_str());
        print_counts(rounds, totals.original);
        std::printf("}");
        comma = ",";
    }
    std::printf("},\"seconds\":%.1f}\n", totals.seconds);
}

void print_text(const TxTotals& totals) {
    const TxRounds& all = totals.all;
    const TxFaults& ours = all.verdict.ours;
    const TxFaults& theirs = all.verdict.original;
    std::printf(
        "%s: %d rounds, %lu kills; %lu transactions, %lu committed, %lu checks answered, %lu undecided; %lu wrong verdicts, "
        "%lu rows without message, %lu message without rows, %lu committed twice, %lu visible before commit",
        totals.held() ? "held" : "BROKEN", all.rounds, all.kills, all.transactions, all.verdict.rows, all.checks_answered,
        all.undecided, all.verdict.wrong_verdicts, ours.rows_without_message, ours.message_without_rows,
        ours.committed_twice, ours.visible_before_commit);
    if (totals.original) {
        std::printf(
            "; %s, told the truth: %lu rows without message, %lu message without rows, %lu shown twice, %lu too early",
            totals.broker.c_str(), theirs.rows_without_message, theirs.message_without_rows, theirs.committed_twice,
            theirs.visible_before_commit);
    }
    std::printf("; %.0f s\n", totals.seconds);
}

}  // namespace hufu::fault
