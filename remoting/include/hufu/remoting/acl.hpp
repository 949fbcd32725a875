// Signatures of requests: who asks, proven with a shared secret (RocketMQ's ACL: AclClientRPCHook, AclSigner).
//
// The signature is HMAC-SHA1 over the values of all ext fields but `Signature`, in the order of their names, and the body.
// It does not cover the request code, the names of the fields, or where one value ends and the next begins, and it carries
// no time and no number: who can read the connection can send a request again. It keeps strangers out; on a network that
// others can listen to it needs a tunnel around it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::remoting {

namespace acl_field {
inline constexpr std::string_view access_key = "AccessKey";
inline constexpr std::string_view signature = "Signature";
inline constexpr std::string_view security_token = "SecurityToken";
}  // namespace acl_field

/// An access key and its secret, ready to sign and to check. Movable; for one thread at a time. The secret is wiped when
/// the object goes. Sign and check throw std::bad_alloc only.
class AclSigner {
public:
    /// `internal` when the machine's libcrypto offers no HMAC-SHA1.
    static Result<AclSigner> create(std::string access_key, std::string_view secret_key);
    ~AclSigner();
    AclSigner(AclSigner&&) noexcept;
    AclSigner& operator=(AclSigner&&) noexcept;

    [[nodiscard]] const std::string& access_key() const noexcept;

    /// The Base64 text of the signature over the command as it stands (which should have its AccessKey by now).
    [[nodiscard]] std::string signature_of(const CommandView& command) const;

    /// Whether `Signature` of the command is right. Takes the same time wherever two signatures differ. Accepts what the
    /// clients in use leave out of it: `_UNIQUE_KEY_QUERY` of a query by key (Java up to 4.9.3), `SecurityToken` (Go), and
    /// the zone that some Java set-ups add after signing. None of these says what is done to which topic or group.
    [[nodiscard]] bool verify(const CommandView& command) const;

    /// Signs the encoded request that begins at `start` of `out` and ends with it. `protocol` when that is no request.
    [[nodiscard]] Result<void> sign(std::string& out, std::size_t start) const;

private:
    struct Impl;
    explicit AclSigner(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::remoting
