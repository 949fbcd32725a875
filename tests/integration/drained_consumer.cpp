// hufu-test-consumer: a consumer as users write one, which tells of every handler call that it begins and ends.
//
// Usage: hufu-test-consumer BROKER-URL BOOK HANDLER-MS DRAIN-MAX-MS
// BOOK gets "begin N" and "end N" for each message, N being its body, in the order of these moments.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include <hufu/connect/connect.hpp>
#include <hufu/core/until_signal.hpp>

namespace {

using std::chrono::milliseconds;

/// One write per line: whole lines, whichever thread or process appends.
class Book {
public:
    explicit Book(const char* path) : file_{::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)} {}
    ~Book() { ::close(file_); }
    Book(const Book&) = delete;
    Book& operator=(const Book&) = delete;
    void tell(const std::string& what, const std::string& of) const {
        const std::string line = what + " " + of + "\n";
        if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
    }

private:
    int file_;
};

}  // namespace

int main(int count, char** words) {
    if (count != 5) {
        std::fprintf(stderr, "hufu-test-consumer: started by consumer_drain_test\n");
        return 2;
    }
    try {
        const hufu::StopOnSignal stop;
        const Book book{words[2]};
        const milliseconds takes{std::atoi(words[3])};
        auto subscription = hufu::connect::subscription(words[1], {.group = "stock", .topics = {"orders"}}).value();
        const auto dead_letters = hufu::connect::publisher(words[1]).value();
        hufu::Consumer consumer{
            *subscription, *dead_letters, {.group = "stock", .drain_max = milliseconds{std::atoi(words[4])}}};
        const auto end = hufu::run_until_signal(consumer, stop, [&](const hufu::Delivery& delivery) {
            book.tell("begin", delivery.message.body);
            auto& clock = hufu::system_clock();
            clock.sleep_until(clock.steady_now() + takes, {});
            book.tell("end", delivery.message.body);
            return hufu::Handled::done;
        });
        std::fprintf(stderr, "running %zu, dropped %zu: %s\n", end.left.running, end.left.dropped,
                     end.outcome ? "stopped" : end.outcome.error().text().c_str());
        subscription.reset();
        if (end.left.running > 0) std::_Exit(end.exit_code());
        return end.exit_code();
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "hufu-test-consumer: %s\n", failure.what());
        return 1;
    }
}
