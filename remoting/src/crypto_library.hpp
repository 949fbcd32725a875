// libcrypto, loaded when somebody signs or checks: a broker without access control neither waits for it at start nor has
// its 400 KB of relocated pages.
#pragma once

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

/// The functions in use, by OpenSSL's own types. The library stays loaded until the process ends.
struct CryptoLibrary {
    decltype(&EVP_MAC_fetch) mac_fetch = nullptr;
    decltype(&EVP_MAC_free) mac_free = nullptr;
    decltype(&EVP_MAC_CTX_new) mac_context_new = nullptr;
    decltype(&EVP_MAC_CTX_free) mac_context_free = nullptr;
    decltype(&EVP_MAC_init) mac_init = nullptr;
    decltype(&EVP_MAC_update) mac_update = nullptr;
    decltype(&EVP_MAC_final) mac_final = nullptr;
    decltype(&EVP_EncodeBlock) encode_block = nullptr;
    decltype(&OSSL_PARAM_construct_utf8_string) parameter_text = nullptr;
    decltype(&OSSL_PARAM_construct_end) parameter_end = nullptr;
    decltype(&CRYPTO_memcmp) compare = nullptr;

    /// `not_found` when this machine has no libcrypto 3.
    static Result<CryptoLibrary> load();
};

}  // namespace hufu::remoting
