#include "player.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace hufu::interop {
namespace {

/// Takes the first word off `text`.
std::string_view word(std::string_view& text) {
    const auto end = text.find(' ');
    const auto first = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    return first;
}

}  // namespace

std::optional<Said> understand(std::string_view line) {
    if (line == "ready") return Said{.what = Said::What::ready};
    if (line == "idle") return Said{.what = Said::What::idle};
    if (line == "kill-the-broker") return Said{.what = Said::What::kill_the_broker};
    if (word(line) != "case") return std::nullopt;
    Said said{.name = std::string{word(line)}};
    const auto verdict = word(line);
    if (verdict != "pass" && verdict != "fail") return std::nullopt;
    said.what = verdict == "pass" ? Said::What::passed : Said::What::failed;
    const auto took = word(line);
    std::from_chars(took.data(), took.data() + took.size(), said.milliseconds);
    said.why = line;
    return said;
}

Player::Player(std::string client, std::vector<std::string> words, std::string transcript)
    : client_{std::move(client)}, transcript_{std::move(transcript)} {
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) throw std::runtime_error{"no pipe for " + client_};
    input_ = pipe[1];
    child_ = test_support::Child{{.arguments = std::move(words), .output = transcript_, .standard_input = pipe[0]}};
    ::close(pipe[0]);
}

Player::~Player() {
    child_.kill();
    ::close(input_);
}

void Player::tell(std::string_view line) {
    const std::string whole = std::string{line} + "\n";
    // One that is gone is noticed by `running`.
    [[maybe_unused]] const auto written = ::write(input_, whole.data(), whole.size());
}

std::vector<Said> Player::listen() {
    std::ifstream file{transcript_, std::ios::binary};
    file.seekg(static_cast<std::streamoff>(read_));
    const std::string text{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
    std::vector<Said> all;
    std::size_t begin = 0;
    for (auto end = text.find('\n'); end != std::string::npos; begin = end + 1, end = text.find('\n', begin)) {
        if (auto said = understand(std::string_view{text}.substr(begin, end - begin))) all.push_back(std::move(*said));
    }
    read_ += begin;
    return all;
}

std::vector<std::string> told_cases(std::vector<std::string> words, const std::string& list) {
    std::filesystem::remove(list);
    test_support::run({.arguments = std::move(words), .output = list});
    std::vector<std::string> cases;
    std::ifstream file{list};
    for (std::string line; std::getline(file, line);) cases.push_back(line);
    return cases;
}

}  // namespace hufu::interop
