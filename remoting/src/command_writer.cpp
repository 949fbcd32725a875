#include <charconv>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::remoting {
namespace {

constexpr std::size_t prefix_size = 8;  // frame length, header type and length

void append_number(std::string& out, std::int64_t value) {
    char digits[20];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    static_cast<void>(error);
    out.append(digits, static_cast<std::size_t>(end - digits));
}

}  // namespace

CommandWriter::CommandWriter(std::string& out, SerializeType serialize_type, std::int32_t code, std::int32_t opaque,
                             std::int32_t flag, std::string_view remark)
    : out_{out}, start_{out.size()}, serialize_type_{serialize_type} {
    out_.append(prefix_size, '\0');
    if (serialize_type_ == SerializeType::binary) {
        append(out_, static_cast<std::int16_t>(code));
        append(out_, language_cpp);
        append(out_, static_cast<std::int16_t>(protocol_version));
        append(out_, opaque);
        append(out_, flag);
        append(out_, static_cast<std::int32_t>(remark.size()));
        out_.append(remark);
        fields_at_ = out_.size();
        append(out_, std::int32_t{0});
        return;
    }
    out_.append(R"({"code":)");
    append_number(out_, code);
    out_.append(R"(,"language":"CPP","version":)");
    append_number(out_, protocol_version);
    out_.append(R"(,"opaque":)");
    append_number(out_, opaque);
    out_.append(R"(,"flag":)");
    append_number(out_, flag);
    out_.append(R"(,"serializeTypeCurrentRPC":"JSON")");
    if (!remark.empty()) {
        out_.append(R"(,"remark":")");
        escaped(remark);
        out_.push_back('"');
    }
}

void CommandWriter::field(std::string_view name, std::string_view value) {
    if (serialize_type_ == SerializeType::binary) {
        append(out_, static_cast<std::int16_t>(name.size()));
        out_.append(name);
        append(out_, static_cast<std::int32_t>(value.size()));
        out_.append(value);
        return;
    }
    out_.append(any_field_ ? std::string_view{",\""} : std::string_view{R"(,"extFields":{")"});
    any_field_ = true;
    escaped(name);
    out_.append("\":\"");
    escaped(value);
    out_.push_back('"');
}

void CommandWriter::field(std::string_view name, std::int64_t value) {
    char digits[20];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    static_cast<void>(error);
    field(name, std::string_view{digits, static_cast<std::size_t>(end - digits)});
}

void CommandWriter::escaped(std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    std::size_t plain = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        out_.append(text, plain, i - plain);
        plain = i + 1;
        if (c >= 0x20) {
            out_.push_back('\\');
            out_.push_back(static_cast<char>(c));
        } else {
            out_.append("\\u00");
            out_.push_back(hex[c >> 4]);
            out_.push_back(hex[c & 0x0F]);
        }
    }
    out_.append(text, plain);
}

void CommandWriter::finish(std::string_view body) {
    finish_before_body(body.size());
    out_.append(body);
}

void CommandWriter::finish_before_body(std::size_t body_bytes) {
    if (serialize_type_ == SerializeType::binary) {
        store(out_.data() + fields_at_, static_cast<std::int32_t>(out_.size() - fields_at_ - sizeof(std::int32_t)));
    } else {
        out_.append(any_field_ ? std::string_view{"}}"} : std::string_view{"}"});
    }
    const std::size_t header_size = out_.size() - start_ - prefix_size;
    HUFU_ASSERT(header_size <= header_bytes_max);
    store(out_.data() + start_, static_cast<std::uint32_t>(sizeof(std::uint32_t) + header_size + body_bytes));
    store(out_.data() + start_ + sizeof(std::uint32_t),
          static_cast<std::uint32_t>(header_size) | (static_cast<std::uint32_t>(serialize_type_) << 24));
}

}  // namespace hufu::remoting
