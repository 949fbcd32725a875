// What can go wrong, and what the caller may do next.
#pragma once

#include <boost/system/result.hpp>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace hufu {

/// What a caller may do after an error. Every adapter maps its library's errors to one of these, once, in one table.
enum class Disposition : std::uint8_t {
    retry,              ///< Nothing happened; the same call may be made again, later.
    abort_transaction,  ///< The surrounding database transaction is lost; roll back and run it again from its start.
    in_doubt,           ///< It may or may not have happened; find out, or repeat with the same id.
    reject,             ///< This input will never be accepted; park or refuse it.
    fatal,              ///< This component cannot go on (fenced, corrupt, wrong schema); stop and tell a person.
};

/// What kind of thing went wrong. Stable: users may switch on it.
enum class ErrorCode : std::uint8_t {
    invalid_argument,  ///< a value the callee can never accept
    not_found,         ///< the thing named does not exist
    conflict,          ///< the thing exists already, with other content
    too_large,         ///< a limit on size was passed
    unavailable,       ///< a server or file is not there (now)
    timeout,           ///< no answer in time
    cancelled,         ///< the caller asked to stop
    busy,              ///< locked or overloaded; later it may work
    permission,        ///< refused by rights
    unsupported,       ///< known and deliberately not offered
    out_of_space,      ///< disk or quota full
    io,                ///< the operating system reported a failed read, write or sync
    corrupt,           ///< stored bytes do not match their checksum or format
    fenced,            ///< somebody else took over, or an earlier failure closed this component
    wrong_version,     ///< schema, file or protocol version does not fit
    protocol,          ///< the peer sent something that breaks its protocol
    internal,          ///< a bug, reported instead of hidden
};

[[nodiscard]] std::string_view to_string(Disposition disposition) noexcept;
[[nodiscard]] std::string_view to_string(ErrorCode code) noexcept;

/// An error: code, disposition, and one sentence for a person that names the thing, the value and the way out.
class Error {
public:
    Error() = default;
    Error(ErrorCode code, Disposition disposition, std::string text)
        : code_{code}, disposition_{disposition}, text_{std::move(text)} {}

    [[nodiscard]] ErrorCode code() const noexcept { return code_; }
    [[nodiscard]] Disposition disposition() const noexcept { return disposition_; }
    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    ErrorCode code_ = ErrorCode::internal;
    Disposition disposition_ = Disposition::fatal;
    std::string text_;
};

/// What `Result::value()` throws, and what functions throw that work in a caller's own database transaction.
class Exception : public std::runtime_error {
public:
    explicit Exception(Error error) : std::runtime_error{error.text()}, error_{std::move(error)} {}
    [[nodiscard]] const Error& error() const noexcept { return error_; }

private:
    Error error_;
};

/// Found by argument-dependent lookup when `value()` is called on a failed result.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location& where);

/// A value or an `Error`. `value()` throws `Exception`, so callers may take either taste.
template <class T>
class [[nodiscard]] Result : public boost::system::result<T, Error> {
public:
    using boost::system::result<T, Error>::result;
};

}  // namespace hufu
