#include "script.hpp"

namespace hufu::redis {
namespace {

Command command(std::string_view verb, std::string_view script, std::string_view key,
                std::span<const std::string_view> arguments) {
    std::vector<std::string_view> words{verb, script, "1", key};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return Command{std::span<const std::string_view>{words}};
}

}  // namespace

Result<std::string> Script::digest(Client& client) {
    {
        const std::lock_guard lock{mutex_};
        if (!digest_.empty()) return digest_;
    }
    auto loaded = client.run(Command{"SCRIPT", "LOAD", source_});
    if (!loaded) return loaded.error();
    const std::lock_guard lock{mutex_};
    digest_ = std::move(loaded->text);
    return digest_;
}

Result<Command> Script::by_digest(Client& client, std::string_view key, std::initializer_list<std::string_view> arguments) {
    return by_digest(client, key, std::span{arguments.begin(), arguments.size()});
}

Command Script::whole(std::string_view key, std::initializer_list<std::string_view> arguments) const {
    return whole(key, std::span{arguments.begin(), arguments.size()});
}

Result<Command> Script::by_digest(Client& client, std::string_view key, std::span<const std::string_view> arguments) {
    const auto known = digest(client);
    if (!known) return known.error();
    return command("EVALSHA", *known, key, arguments);
}

Command Script::whole(std::string_view key, std::span<const std::string_view> arguments) const {
    return command("EVAL", source_, key, arguments);
}

Result<Reply> Script::run(Client& client, std::string_view key, std::initializer_list<std::string_view> arguments) {
    const auto short_form = by_digest(client, key, arguments);
    if (!short_form) return short_form.error();
    auto reply = client.run(*short_form);
    if (!reply && forgotten(reply.error())) return client.run(whole(key, arguments));
    return reply;
}

bool Script::forgotten(const Error& error) noexcept { return error.code() == ErrorCode::not_found; }

}  // namespace hufu::redis
