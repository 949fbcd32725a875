#include "crypto_library.hpp"

#include <dlfcn.h>

#include <string>

namespace hufu::remoting {
namespace {

constexpr const char* library_name = "libcrypto.so.3";  // the name carries the version of the binary interface

Error lacking(const std::string& what) {
    return Error{ErrorCode::not_found, Disposition::fatal, what + ": signing needs OpenSSL 3's libcrypto (Debian: libssl3)"};
}

template <class Function>
bool find(void* library, const char* name, Function& into) noexcept {
    into = reinterpret_cast<Function>(::dlsym(library, name));
    return into != nullptr;
}

}  // namespace

Result<CryptoLibrary> CryptoLibrary::load() {
    void* const library = ::dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return lacking(std::string{library_name} + " cannot be loaded");
    CryptoLibrary found;
    const bool all =
        find(library, "EVP_MAC_fetch", found.mac_fetch) && find(library, "EVP_MAC_free", found.mac_free) &&
        find(library, "EVP_MAC_CTX_new", found.mac_context_new) &&
        find(library, "EVP_MAC_CTX_free", found.mac_context_free) && find(library, "EVP_MAC_init", found.mac_init) &&
        find(library, "EVP_MAC_update", found.mac_update) && find(library, "EVP_MAC_final", found.mac_final) &&
        find(library, "EVP_EncodeBlock", found.encode_block) &&
        find(library, "OSSL_PARAM_construct_utf8_string", found.parameter_text) &&
        find(library, "OSSL_PARAM_construct_end", found.parameter_end) && find(library, "CRYPTO_memcmp", found.compare);
    if (!all) return lacking(std::string{library_name} + " lacks a function");
    return found;
}

}  // namespace hufu::remoting
