// Base64 with padding (RFC 4648 section 4), as JSON and SASL carry bytes. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace robustmq {

std::string base64_of(ByteSpan bytes);
// nullopt: not base64, or not padded to whole groups.
std::optional<std::string> bytes_of_base64(std::string_view text);

}  // namespace robustmq
