#include <hufu/remoting/acl.hpp>

#include <algorithm>
#include <array>
#include <vector>

#include <hufu/core/assert.hpp>

#include "crypto_library.hpp"

namespace hufu::remoting {
namespace {

constexpr std::size_t digest_size = 20;
constexpr std::size_t signature_size = 28;  // Base64 of it

constexpr std::string_view unique_key_query = "_UNIQUE_KEY_QUERY";
constexpr std::array late_fields = {acl_field::security_token, std::string_view{"__ZONE_NAME"},
                                    std::string_view{"__ZONE_MODE"}};

bool added_late(std::string_view name) noexcept {
    return std::find(late_fields.begin(), late_fields.end(), name) != late_fields.end();
}

/// Which fields some clients do not sign.
struct Unsigned {
    bool late = false;
    bool unique_key_query = false;

    [[nodiscard]] bool operator()(std::string_view name) const noexcept {
        return (late && added_late(name)) || (unique_key_query && name == remoting::unique_key_query);
    }
};

}  // namespace

struct AclSigner::Impl {
    Impl(const CryptoLibrary& library, std::string key, EVP_MAC_CTX* made)
        : crypto{library}, access_key{std::move(key)}, keyed{made} {}
    ~Impl() { crypto.mac_context_free(keyed); }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    /// Values in the order of their names, then the body.
    std::array<char, signature_size> sign(const CommandView& command, Unsigned without) {
        fields.clear();
        for (const Fields::Entry& entry : command.fields.entries())
            if (entry.name != acl_field::signature && !without(entry.name)) fields.push_back(entry);
        std::stable_sort(fields.begin(), fields.end(),
                         [](const Fields::Entry& a, const Fields::Entry& b) { return a.name < b.name; });
        bool done = crypto.mac_init(keyed, nullptr, 0, nullptr) == 1;
        const auto add = [&](std::string_view text) {
            done = done && crypto.mac_update(keyed, reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
        };
        for (const Fields::Entry& entry : fields) add(entry.value);
        add(command.body);
        std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
        std::size_t size = 0;
        done = done && crypto.mac_final(keyed, digest.data(), &size, digest.size()) == 1 && size == digest_size;
        HUFU_ASSERT(done);  // a key that was set once does not fail later
        std::array<unsigned char, signature_size + 1> text{};
        crypto.encode_block(text.data(), digest.data(), digest_size);
        std::array<char, signature_size> signature{};
        std::copy_n(text.begin(), signature_size, signature.begin());
        return signature;
    }

    CryptoLibrary crypto;
    std::string access_key;
    EVP_MAC_CTX* keyed;
    std::vector<Fields::Entry> fields;  // scratch
};

AclSigner::AclSigner(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
AclSigner::~AclSigner() = default;
AclSigner::AclSigner(AclSigner&&) noexcept = default;
AclSigner& AclSigner::operator=(AclSigner&&) noexcept = default;

Result<AclSigner> AclSigner::create(std::string access_key, std::string_view secret_key) {
    const auto crypto = CryptoLibrary::load();
    if (!crypto) return crypto.error();
    EVP_MAC* const mac = crypto->mac_fetch(nullptr, "HMAC", nullptr);
    EVP_MAC_CTX* const context = mac != nullptr ? crypto->mac_context_new(mac) : nullptr;
    crypto->mac_free(mac);  // the context has its own hold of it
    auto impl = std::make_unique<Impl>(*crypto, std::move(access_key), context);
    char name[] = "SHA1";
    const std::array parameters{crypto->parameter_text(OSSL_MAC_PARAM_DIGEST, name, 0), crypto->parameter_end()};
    if (context == nullptr || crypto->mac_init(context, reinterpret_cast<const unsigned char*>(secret_key.data()),
                                               secret_key.size(), parameters.data()) != 1)
        return Error{ErrorCode::internal, Disposition::fatal,
                     "this machine's libcrypto makes no HMAC-SHA1, which RocketMQ's signatures are"};
    return AclSigner{std::move(impl)};
}

const std::string& AclSigner::access_key() const noexcept { return impl_->access_key; }

std::string AclSigner::signature_of(const CommandView& command) const {
    const auto signature = impl_->sign(command, {});
    return {signature.data(), signature.size()};
}

bool AclSigner::verify(const CommandView& command) const {
    const std::string_view given = command.fields.get(acl_field::signature).value_or("");
    if (given.size() != signature_size) return false;
    const auto matches = [&](Unsigned without) {
        const auto right = impl_->sign(command, without);
        return impl_->crypto.compare(given.data(), right.data(), right.size()) == 0;
    };
    if (matches({})) return true;
    const auto entries = command.fields.entries();
    const auto has = [&](Unsigned without) {
        return std::any_of(entries.begin(), entries.end(), [&](const Fields::Entry& entry) { return without(entry.name); });
    };
    const bool late = has({.late = true});
    const bool query = command.request_code() == RequestCode::query_message && has({.unique_key_query = true});
    return (late && matches({.late = true})) || (query && matches({.unique_key_query = true})) ||
           (late && query && matches({.late = true, .unique_key_query = true}));
}

Result<void> AclSigner::sign(std::string& out, std::size_t start) const {
    FrameDecoder decoder;
    const std::span<char> room = decoder.prepare(out.size() - start);
    std::copy(out.begin() + static_cast<std::ptrdiff_t>(start), out.end(), room.begin());
    decoder.commit(out.size() - start);
    const auto frame = decoder.next();
    if (!frame || !*frame || decoder.buffered() != 0)
        return Error{ErrorCode::protocol, Disposition::reject, "what is to be signed is not one whole request"};
    CommandView command;
    if (auto decoded = decode_command(**frame, command); !decoded) return decoded;
    // Each of its fields stands once, also when the caller had set one.
    Fields fields;
    for (const Fields::Entry& entry : command.fields.entries())
        if (entry.name != acl_field::access_key && entry.name != acl_field::signature) fields.add(entry.name, entry.value);
    if (!fields.add(acl_field::access_key, impl_->access_key))
        return Error{ErrorCode::protocol, Disposition::reject, "a request with so many fields cannot be signed"};
    command.fields = fields;
    const std::string signature = signature_of(command);
    out.resize(start);
    CommandWriter writer{out, command.serialize_type, command.code, command.opaque, command.flag, command.remark};
    for (const Fields::Entry& entry : command.fields.entries()) writer.field(entry.name, entry.value);
    writer.field(acl_field::signature, signature);
    writer.finish(command.body);
    return {};
}

}  // namespace hufu::remoting
