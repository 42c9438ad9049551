// Retained messages listed and cleared across all cores, for the API. Runs on the core that asks.
#pragma once

#include "base/callback.h"
#include "broker/broker.h"
#include "broker/retained_home.h"

namespace robustmq::broker {

// Answers ListedRetained, or invalid_argument (the filter, or `after`).
void list_retained(RetainedHome& home, CoreIndex cores, const ListRetained& request, ReplyTo done);
// Answers ClearedRetained, or why one could not be cleared (those before it are).
void clear_retained(RetainedHome& home, CoreIndex cores, const ClearRetained& request, ReplyTo done);

}  // namespace robustmq::broker
