#include "pqxx_errors.hpp"

#include <pqxx/pqxx>

#include <string>

namespace hufu::postgres {

Error current_pqxx_error(Setting setting, std::string_view about) {
    try {
        throw;
    } catch (const pqxx::in_doubt_error& error) {
        return error_from({}, error.what(), Setting::committing, about);
    } catch (const pqxx::sql_error& error) {
        return error_from(error.sqlstate(), error.what(), setting, about);
    } catch (const pqxx::broken_connection& error) {
        return error_from({}, error.what(), setting, about);
    } catch (const pqxx::usage_error& error) {
        return Error{ErrorCode::invalid_argument, Disposition::abort_transaction,
                     std::string{about} + ": the transaction is not open any more: " + error.what()};
    } catch (const pqxx::failure& error) {
        return error_from("XX000", error.what(), setting, about);
    }
}

}  // namespace hufu::postgres
