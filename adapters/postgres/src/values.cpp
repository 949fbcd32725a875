// PostgreSQL's binary forms of the few types that are used here.
#include <hufu/postgres/connection.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include <hufu/core/assert.hpp>

namespace hufu::postgres {
namespace {

// Type numbers of pg_type.dat; fixed for ever.
constexpr std::uint32_t type_bytea = 17;
constexpr std::uint32_t type_int8 = 20;
constexpr std::uint32_t type_text = 25;
constexpr std::uint32_t type_uuid = 2950;

/// PostgreSQL counts microseconds from 2000-01-01 UTC.
constexpr std::int64_t epoch_2000_us = 946'684'800'000'000;

template <class Unsigned>
void put_big_endian(std::string& bytes, Unsigned number) {
    for (int shift = static_cast<int>(sizeof(Unsigned)) * 8 - 8; shift >= 0; shift -= 8) {
        bytes += static_cast<char>(static_cast<unsigned char>(number >> shift));
    }
}

template <class Unsigned>
Unsigned get_big_endian(const char* bytes) {
    Unsigned number = 0;
    for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
        number = static_cast<Unsigned>(number << 8 | static_cast<unsigned char>(bytes[i]));
    }
    return number;
}

std::string_view view(const MessageId& id) { return {reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()}; }

}  // namespace

void Parameters::put(std::string_view bytes, int format) {
    slots_.push_back({bytes_.size(), static_cast<int>(bytes.size()), format, false});
    bytes_ += bytes;
    bytes_ += '\0';  // text values end with it, and no value is ever a null pointer
}

Parameters& Parameters::add(std::string_view text) {
    put(text, 0);
    return *this;
}

Parameters& Parameters::add_null() {
    slots_.push_back({bytes_.size(), 0, 0, true});
    return *this;
}

Parameters& Parameters::add_binary(std::string_view bytes) {
    put(bytes, 1);
    return *this;
}

Parameters& Parameters::add_int8(std::int64_t number) {
    std::string bytes;
    put_big_endian(bytes, static_cast<std::uint64_t>(number));
    put(bytes, 1);
    return *this;
}

Parameters& Parameters::add_uuid(const MessageId& id) {
    put(view(id), 1);
    return *this;
}

Parameters& Parameters::add_timestamp(SystemTime time) { return add_int8(time.time_since_epoch().count() - epoch_2000_us); }

void Parameters::begin_array(std::size_t count, std::uint32_t element_type) {
    slots_.push_back({bytes_.size(), 0, 1, false});
    put_big_endian<std::uint32_t>(bytes_, count == 0 ? 0 : 1);  // dimensions
    put_big_endian<std::uint32_t>(bytes_, 0);                   // no nulls
    put_big_endian(bytes_, element_type);
    if (count == 0) return;
    put_big_endian(bytes_, static_cast<std::uint32_t>(count));
    put_big_endian<std::uint32_t>(bytes_, 1);  // lower bound
}

void Parameters::end_array() {
    slots_.back().length = static_cast<int>(bytes_.size() - slots_.back().begin);
    bytes_ += '\0';
}

Parameters& Parameters::add_int8_array(std::span<const std::int64_t> numbers) {
    begin_array(numbers.size(), type_int8);
    for (const auto number : numbers) {
        put_big_endian<std::uint32_t>(bytes_, 8);
        put_big_endian(bytes_, static_cast<std::uint64_t>(number));
    }
    end_array();
    return *this;
}

Parameters& Parameters::add_uuid_array(std::span<const MessageId> ids) {
    begin_array(ids.size(), type_uuid);
    for (const auto& id : ids) {
        put_big_endian<std::uint32_t>(bytes_, 16);
        bytes_ += view(id);
    }
    end_array();
    return *this;
}

Parameters& Parameters::add_bytes_array(std::span<const std::string_view> values, std::uint32_t element_type) {
    begin_array(values.size(), element_type);
    for (const auto value : values) {
        put_big_endian(bytes_, static_cast<std::uint32_t>(value.size()));
        bytes_ += value;
    }
    end_array();
    return *this;
}

Parameters& Parameters::add_text_array(std::span<const std::string_view> texts) { return add_bytes_array(texts, type_text); }
Parameters& Parameters::add_bytea_array(std::span<const std::string_view> values) {
    return add_bytes_array(values, type_bytea);
}

void Parameters::reserve(std::size_t values, std::size_t bytes) {
    slots_.reserve(values);
    bytes_.reserve(bytes);
}

void Parameters::clear() noexcept {
    bytes_.clear();
    slots_.clear();
}

Rows::Rows(pg_result* result) : result_{result}, size_{static_cast<std::size_t>(PQntuples(result))} {}

void Rows::Clear::operator()(pg_result* result) const noexcept { PQclear(result); }

bool Rows::is_null(std::size_t row, std::size_t column) const {
    return PQgetisnull(result_.get(), static_cast<int>(row), static_cast<int>(column)) == 1;
}

std::string_view Rows::text(std::size_t row, std::size_t column) const {
    return {PQgetvalue(result_.get(), static_cast<int>(row), static_cast<int>(column)),
            static_cast<std::size_t>(PQgetlength(result_.get(), static_cast<int>(row), static_cast<int>(column)))};
}

std::int64_t Rows::int8(std::size_t row, std::size_t column) const {
    const auto bytes = text(row, column);
    HUFU_ASSERT(bytes.size() == 8);
    return static_cast<std::int64_t>(get_big_endian<std::uint64_t>(bytes.data()));
}

std::int32_t Rows::int4(std::size_t row, std::size_t column) const {
    const auto bytes = text(row, column);
    HUFU_ASSERT(bytes.size() == 4);
    return static_cast<std::int32_t>(get_big_endian<std::uint32_t>(bytes.data()));
}

bool Rows::boolean(std::size_t row, std::size_t column) const {
    const auto bytes = text(row, column);
    HUFU_ASSERT(bytes.size() == 1);
    return bytes.front() != 0;
}

MessageId Rows::uuid(std::size_t row, std::size_t column) const {
    const auto bytes = text(row, column);
    std::array<std::uint8_t, 16> id{};
    HUFU_ASSERT(bytes.size() == id.size());
    std::memcpy(id.data(), bytes.data(), id.size());
    return MessageId{id};
}

SystemTime Rows::timestamp(std::size_t row, std::size_t column) const {
    return SystemTime{std::chrono::microseconds{int8(row, column) + epoch_2000_us}};
}

std::int64_t Rows::touched() const {
    const char* count = PQcmdTuples(result_.get());
    return count == nullptr || *count == '\0' ? 0 : std::stoll(count);
}

}  // namespace hufu::postgres
