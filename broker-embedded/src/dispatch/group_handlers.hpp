// The families of requests around consumer groups; `add_group_handlers` adds them all.
#pragma once

#include "handler_table.hpp"

namespace hufu::broker {

void add_group_config_handlers(HandlerTable& table);  // group_configs.cpp
void add_connection_handlers(HandlerTable& table);    // connections.cpp
void add_send_back_handlers(HandlerTable& table);     // send_back.cpp
void add_reply_handlers(HandlerTable& table);         // reply.cpp
void add_forward_handlers(HandlerTable& table);       // forward.cpp
void add_reset_handlers(HandlerTable& table);         // reset.cpp

}  // namespace hufu::broker
