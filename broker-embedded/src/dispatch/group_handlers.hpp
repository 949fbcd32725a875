// The families of requests around consumer groups; `add_group_handlers` adds them all.
#pragma once

#include "handler_table.hpp"

namespace hufu::broker {

void add_group_config_handlers(HandlerTable& table);  // group_configs.cpp

}  // namespace hufu::broker
