#include <hufu/remoting/object_map.hpp>

#include <boost/json.hpp>

#include <charconv>
#include <limits>

namespace hufu::remoting {
namespace {

namespace json = boost::json;

Error broken(std::string text) { return Error{ErrorCode::protocol, Disposition::reject, std::move(text)}; }

/// One past the object that begins at `from`; npos when it does not end.
std::size_t end_of_object(std::string_view text, std::size_t from) noexcept {
    std::size_t depth = 0;
    bool in_string = false;
    for (std::size_t i = from; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{') {
            ++depth;
        } else if (c == '}' && --depth == 0) {
            return i + 1;
        }
    }
    return std::string_view::npos;
}

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::int64_t integer_of(std::string_view text) noexcept {
    std::int64_t value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    return fault == std::errc{} && end == text.data() + text.size() ? value : 0;
}

std::string member_text(const json::object& object, std::string_view name) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr || value->is_null()) return {};
    if (const auto* text = value->if_string()) return std::string{text->data(), text->size()};
    return json::serialize(*value);
}

Result<MessageQueue> queue_of(std::string_view key) {
    json::error_code error;
    const json::value value = json::parse(key, error);
    if (error || !value.is_object())
        return broken("the map key \"" + std::string{key.substr(0, 100)} + "\" is no message queue");
    const json::object& object = value.get_object();
    const std::int64_t queue_id = integer_of(member_text(object, "queueId"));
    if (queue_id < std::numeric_limits<std::int32_t>::min() || queue_id > std::numeric_limits<std::int32_t>::max())
        return broken("queueId " + std::to_string(queue_id) + " is out of range");
    return MessageQueue{member_text(object, "topic"), member_text(object, "brokerName"),
                        static_cast<std::int32_t>(queue_id)};
}

}  // namespace

void append_json_text(std::string& out, std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    out.push_back('"');
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(c);
        } else if (byte >= 0x20) {
            out.push_back(c);
        } else {
            out.append("\\u00");
            out.push_back(hex[byte >> 4]);
            out.push_back(hex[byte & 0x0F]);
        }
    }
    out.push_back('"');
}

void QueueMapWriter::add(const MessageQueue& queue, std::string_view json) {
    if (any_) out_.push_back(',');
    any_ = true;
    out_.append(R"({"brokerName":)");
    append_json_text(out_, queue.broker_name);
    out_.append(R"(,"queueId":)").append(std::to_string(queue.queue_id)).append(R"(,"topic":)");
    append_json_text(out_, queue.topic);
    out_.append("}:").append(json);
}

void QueueMapWriter::add(const MessageQueue& queue, std::int64_t value) { add(queue, std::to_string(value)); }

std::string quote_object_keys(std::string_view text) {
    std::string out;
    out.reserve(text.size() + text.size() / 4);
    // An object is open for every 'o', an array for every 'a'; only right after '{' or ',' of an object a key begins.
    std::string open;
    bool in_string = false;
    bool key_next = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            out.push_back(c);
            if (c == '\\' && i + 1 < text.size()) {
                out.push_back(text[++i]);
            } else if (c == '"') {
                in_string = false;
            }
            continue;
        }
        if (c == '{' && key_next) {
            const std::size_t end = end_of_object(text, i);
            if (end == std::string_view::npos) return out.append(text.substr(i));
            append_json_text(out, text.substr(i, end - i));
            i = end - 1;
            key_next = false;
            continue;
        }
        out.push_back(c);
        if (is_space(c)) continue;
        in_string = c == '"';
        if (c == '{' || c == '[') open.push_back(c == '{' ? 'o' : 'a');
        if ((c == '}' || c == ']') && !open.empty()) open.pop_back();
        key_next = c == '{' || (c == ',' && !open.empty() && open.back() == 'o');
    }
    return out;
}

std::int64_t QueueMapEntry::number() const noexcept { return integer_of(json); }

Result<std::vector<QueueMapEntry>> read_queue_map(std::string_view text, std::string_view name) {
    json::error_code error;
    json::parse_options options;
    options.max_depth = 16;
    const json::value value = json::parse(quote_object_keys(text), error, {}, options);
    if (error || !value.is_object())
        return broken("the body is no JSON object" + (error ? " (" + error.message() + ")" : ""));
    std::vector<QueueMapEntry> entries;
    const json::value* member = value.get_object().if_contains(name);
    if (member == nullptr || member->is_null()) return entries;
    if (!member->is_object()) return broken("\"" + std::string{name} + "\" is no map");
    for (const auto& [key, entry] : member->get_object()) {
        auto queue = queue_of(std::string_view{key.data(), key.size()});
        if (!queue) return queue.error();
        entries.push_back({std::move(*queue), json::serialize(entry)});
    }
    return entries;
}

}  // namespace hufu::remoting
