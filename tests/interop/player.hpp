// One client process that plays cases when told to, by lines on its standard input and output.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/test_support/child.hpp>

namespace hufu::interop {

/// A line that a player said.
struct Said {
    enum class What : unsigned char {
        ready,
        passed,           ///< `name`, `milliseconds`
        failed,           ///< `name`, `milliseconds`, `why`
        kill_the_broker,  ///< it waits for "the broker is back"
        idle,             ///< all that it was told to play has ended
    };
    What what = What::ready;
    std::string name = {};
    long milliseconds = 0;
    std::string why = {};
};

/// nullopt for lines that are none of these (a library that talks).
[[nodiscard]] std::optional<Said> understand(std::string_view line);

/// Runs while the object lives; the destructor kills it. Not thread-safe.
class Player {
public:
    /// `words`: the program and its arguments. All that it prints is kept in the file `transcript`.
    Player(std::string client, std::vector<std::string> words, std::string transcript);
    ~Player();
    Player(const Player&) = delete;
    Player& operator=(const Player&) = delete;

    [[nodiscard]] const std::string& client() const noexcept { return client_; }
    void tell(std::string_view line);
    /// What it has said since the last call.
    [[nodiscard]] std::vector<Said> listen();
    [[nodiscard]] bool running() { return child_.running(); }
    [[nodiscard]] const std::string& transcript() const noexcept { return transcript_; }

private:
    std::string client_;
    std::string transcript_;
    int input_ = -1;
    test_support::Child child_;
    std::size_t read_ = 0;
};

/// The lines that a program tells when it is asked for its cases. `words` run to their end; their output is kept in `list`.
[[nodiscard]] std::vector<std::string> told_cases(std::vector<std::string> words, const std::string& list);

}  // namespace hufu::interop
