#include <boost/json.hpp>

#include <hufu/deadletter/ledger.hpp>

namespace hufu::deadletter {
namespace {

namespace json = boost::json;

constexpr std::string_view kinds[] = {"begun", "took_over", "settled", "alive", "ended"};
constexpr std::string_view acts[] = {"redrive", "discard"};

Error corrupt(const std::string& what) {
    return {ErrorCode::corrupt, Disposition::reject,
            "a record of topic \"" + std::string{audit_topic} + "\" is none of Hufu's: " + what};
}

std::string text_of(const json::object& object, std::string_view name) {
    const json::value* const value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}

template <std::size_t N>
std::optional<std::size_t> index_of(const std::string_view (&names)[N], std::string_view name) {
    for (std::size_t i = 0; i < N; ++i) {
        if (names[i] == name) return i;
    }
    return std::nullopt;
}

Result<std::vector<SettledLetter>> letters_of(const json::object& object) {
    std::vector<SettledLetter> letters;
    const json::value* const list = object.if_contains("letters");
    if (list == nullptr) return letters;
    if (!list->is_array()) return corrupt("\"letters\" is no array");
    for (const auto& entry : list->get_array()) {
        if (!entry.is_array() || entry.get_array().size() != 2 || !entry.get_array()[0].is_int64() ||
            !entry.get_array()[1].is_string()) {
            return corrupt("a letter is no [offset, id]");
        }
        auto id = MessageId::parse(entry.get_array()[1].get_string());
        if (!id) return corrupt(id.error().text());
        letters.push_back({entry.get_array()[0].get_int64(), *id});
    }
    return letters;
}

}  // namespace

std::string_view to_string(Act act) noexcept { return acts[static_cast<std::size_t>(act)]; }

std::string AuditRecord::to_json() const {
    json::object object{{"kind", kinds[static_cast<std::size_t>(kind)]},
                        {"job", job},
                        {"act", to_string(act)},
                        {"topic", topic},
                        {"actor", actor},
                        {"reason", reason}};
    if (!text.empty()) object["text"] = text;
    if (kind == Kind::settled) {
        object["queue"] = queue;
        json::array list;
        list.reserve(letters.size());
        for (const auto& letter : letters) list.push_back(json::array{letter.offset, letter.id.to_string()});
        object["letters"] = std::move(list);
    }
    return json::serialize(object);
}

Result<AuditRecord> AuditRecord::parse(std::string_view text) {
    boost::system::error_code problem;
    const json::value value = json::parse(text, problem);
    if (problem || !value.is_object()) return corrupt("its body is no JSON object");
    const auto& object = value.get_object();
    const auto kind = index_of(kinds, text_of(object, "kind"));
    const auto act = index_of(acts, text_of(object, "act"));
    AuditRecord record;
    record.job = text_of(object, "job");
    record.topic = text_of(object, "topic");
    if (!kind || !act || record.job.empty() || record.topic.empty()) {
        return corrupt("kind, act, job or topic are missing or unknown");
    }
    record.kind = static_cast<Kind>(*kind);
    record.act = static_cast<Act>(*act);
    record.actor = text_of(object, "actor");
    record.reason = text_of(object, "reason");
    record.text = text_of(object, "text");
    record.queue = text_of(object, "queue");
    auto letters = letters_of(object);
    if (!letters) return letters.error();
    record.letters = std::move(*letters);
    return record;
}

Message AuditRecord::to_message(const MessageId& id) const {
    Message message;
    message.id = id;
    message.topic = audit_topic;
    message.tag = kinds[static_cast<std::size_t>(kind)];
    message.keys = {job};
    message.ordering_key = topic;
    message.body = to_json();
    return message;
}

}  // namespace hufu::deadletter
