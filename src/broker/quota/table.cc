#include "broker/quota/table.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/hosts.h"

namespace robustmq::broker {
namespace {

using Is = QuotaPart::Is;
using How = DescribeQuotas::Match::How;

constexpr size_t kNameBytesMax = 32'767;
constexpr double kWhole = 1e-6;  // as near as a number has to be to a whole one
constexpr double kLongMax = 9.2e18;
constexpr double kIntMax = 2'147'483'647;

bool is_absent(const QuotaPart& part) { return part.is == Is::absent; }

// Why it is no value of this kind; nullptr: it is one.
const char* problem_of(QuotaKind kind, double value) {
  if (!std::isfinite(value) || value <= 0) return "a quota is greater than 0";
  if (kind == QuotaKind::request || kind == QuotaKind::mutation) return nullptr;
  if (value > (kind == QuotaKind::connection ? kIntMax : kLongMax)) return "the quota is too large";
  return std::abs(value - std::round(value)) > kWhole || std::round(value) < 1 ? "the quota must be a whole number" : nullptr;
}

bool matches(const DescribeQuotas::Match& wanted, const QuotaPart& part) {
  switch (wanted.how) {
    case How::not_asked:
      return true;
    case How::exact:
      return part.is == Is::named && part.name == wanted.name;
    case How::any:
      return part.is == Is::any;
    case How::specified:
      return part.is != Is::absent;
  }
  return false;
}

// Numbers between separators; false: something else stands there.
bool read_ipv4(std::string_view text, std::array<uint8_t, 4>& to) {
  for (size_t i = 0; i < 4; ++i) {
    size_t digits = 0;
    unsigned value = 0;
    while (digits < text.size() && digits < 3 && text[digits] >= '0' && text[digits] <= '9')
      value = value * 10 + static_cast<unsigned>(text[digits++] - '0');
    if (digits == 0 || value > 255 || (digits > 1 && text[0] == '0')) return false;
    to[i] = static_cast<uint8_t>(value);
    text.remove_prefix(digits);
    if (i == 3) return text.empty();
    if (!text.starts_with('.')) return false;
    text.remove_prefix(1);
  }
  return false;
}

// Groups of one side of "::"; false: something else stands there.
bool read_groups(std::string_view text, std::vector<unsigned>& to) {
  if (text.empty()) return true;
  for (;;) {
    const size_t end = std::min(text.find(':'), text.size());
    const std::string_view group = text.substr(0, end);
    if (group.find('.') != std::string_view::npos) {  // the last 32 bits as an IPv4 address
      std::array<uint8_t, 4> bytes{};
      if (end != text.size() || !read_ipv4(group, bytes)) return false;
      to.push_back(static_cast<unsigned>(bytes[0] << 8 | bytes[1]));
      to.push_back(static_cast<unsigned>(bytes[2] << 8 | bytes[3]));
      return true;
    }
    if (group.empty() || group.size() > 4) return false;
    unsigned value = 0;
    for (const char c : group) {
      const bool is_digit = c >= '0' && c <= '9';
      const char low = static_cast<char>(c | 0x20);
      if (!is_digit && (low < 'a' || low > 'f')) return false;
      value = value << 4 | static_cast<unsigned>(is_digit ? c - '0' : low - 'a' + 10);
    }
    to.push_back(value);
    if (end == text.size()) return true;
    text.remove_prefix(end + 1);
    if (text.empty()) return false;
  }
}

}  // namespace

std::optional<std::string> QuotaTable::plain_address(std::string_view text) {
  text = runtime::plain_host(text);
  std::array<uint8_t, 4> bytes{};
  if (read_ipv4(text, bytes)) return std::string(text);
  std::vector<unsigned> front;
  std::vector<unsigned> back;
  const size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (text.empty() || !read_groups(text, front) || front.size() != 8) return std::nullopt;
  } else {
    if (!read_groups(text.substr(0, gap), front) || !read_groups(text.substr(gap + 2), back)) return std::nullopt;
    if (front.size() + back.size() > 7) return std::nullopt;
    front.resize(8 - back.size());
    front.insert(front.end(), back.begin(), back.end());
  }
  std::string plain;
  for (const unsigned group : front) {
    constexpr char kHex[] = "0123456789abcdef";
    if (!plain.empty()) plain += ':';
    bool has_begun = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
      const unsigned digit = group >> shift & 15;
      if (digit == 0 && !has_begun && shift > 0) continue;
      has_begun = true;
      plain += kHex[digit];
    }
  }
  return plain;
}

Status QuotaTable::check(const AlterQuotas::One& wanted) {
  const QuotaEntity& entity = wanted.entity;
  const bool has_client = !is_absent(entity.user) || !is_absent(entity.client_id);
  const bool has_host = !is_absent(entity.host);
  if (!has_client && !has_host) return Error{Code::invalid_argument, "Invalid empty client quota entity"};
  if (has_client && has_host) {
    return Error{Code::invalid_argument,
                 "Invalid quota entity combination, IP entity should not be combined with User or ClientId"};
  }
  for (const QuotaPart* part : {&entity.user, &entity.client_id, &entity.host}) {
    if (part->is != Is::named) continue;
    if (part->name.empty()) return Error{Code::invalid_argument, "an entity's name is not empty"};
    if (part->name.size() > kNameBytesMax) return Error{Code::invalid_argument, "an entity's name is too long"};
  }
  if (entity.host.is == Is::named && !plain_address(entity.host.name))
    return Error{Code::invalid_argument, entity.host.name + " is not a valid IP address"};
  for (const auto& [kind, value] : wanted.changes) {
    if ((kind == QuotaKind::connection) != has_host)
      return Error{Code::invalid_argument, "Invalid configuration key: it is not one of this kind of entity"};
    if (const char* problem = value ? problem_of(kind, *value) : nullptr) return Error{Code::invalid_argument, problem};
  }
  return {};
}

QuotaValues QuotaTable::changed(const AlterQuotas::One& wanted) const {
  const auto found = entries_.find(wanted.entity);
  QuotaValues values = found == entries_.end() ? QuotaValues{} : found->second;
  for (const auto& [kind, value] : wanted.changes) {
    const bool is_whole = kind != QuotaKind::request && kind != QuotaKind::mutation;
    values[static_cast<size_t>(kind)] = !value ? 0 : is_whole ? std::round(*value) : *value;
  }
  return values;
}

void QuotaTable::set(const QuotaEntity& entity, const QuotaValues& values) {
  const bool is_host = !is_absent(entity.host);
  const bool is_some = std::any_of(values.begin(), values.end(), [](double value) { return value != 0; });
  if (is_some) {
    hosts_ += entries_.insert_or_assign(entity, values).second && is_host;
  } else {
    hosts_ -= entries_.erase(entity) > 0 && is_host;
  }
}

double QuotaTable::value_of(const QuotaEntity& entity, QuotaKind kind) const {
  const auto found = entries_.find(entity);
  return found == entries_.end() ? 0 : found->second[static_cast<size_t>(kind)];
}

std::optional<QuotaHit> QuotaTable::find(QuotaKind kind, std::string_view user, std::string_view client_id) const {
  const QuotaPart named_user = QuotaPart::of(std::string(user));
  const QuotaPart named_client = QuotaPart::of(std::string(client_id));
  const QuotaPart any = QuotaPart::of_any();
  const QuotaPart none;
  struct Step {
    const QuotaPart& user;
    const QuotaPart& client_id;
  };
  for (const Step& step : {Step{named_user, named_client}, Step{named_user, any}, Step{named_user, none}, Step{any, named_client},
                           Step{any, any}, Step{any, none}, Step{none, named_client}, Step{none, any}}) {
    const double value = value_of({step.user, step.client_id, {}}, kind);
    if (value == 0) continue;
    QuotaHit hit{value, {}};
    if (!is_absent(step.user)) hit.shared_by.user = named_user;
    if (!is_absent(step.client_id)) hit.shared_by.client_id = named_client;
    return hit;
  }
  return std::nullopt;
}

std::optional<QuotaHit> QuotaTable::find_host(std::string_view host) const {
  const QuotaPart named = QuotaPart::of(std::string(host));
  double value = value_of({{}, {}, named}, QuotaKind::connection);
  if (value == 0) value = value_of({{}, {}, QuotaPart::of_any()}, QuotaKind::connection);
  if (value == 0) return std::nullopt;
  return QuotaHit{value, {{}, {}, named}};
}

DescribedQuotas QuotaTable::describe(const DescribeQuotas& wanted) const {
  DescribedQuotas described;
  DescribeQuotas::Match host = wanted.host;
  if (host.how == How::exact) host.name = plain_address(host.name).value_or(std::string());
  const auto is_extra = [&](const DescribeQuotas::Match& match, const QuotaPart& part) {
    return match.how == How::not_asked && !is_absent(part);
  };
  for (const auto& [entity, values] : entries_) {
    if (!matches(wanted.user, entity.user) || !matches(wanted.client_id, entity.client_id) || !matches(host, entity.host))
      continue;
    if (wanted.strict &&
        (is_extra(wanted.user, entity.user) || is_extra(wanted.client_id, entity.client_id) || is_extra(host, entity.host)))
      continue;
    auto& entry = described.entries.emplace_back();
    entry.entity = entity;
    for (size_t kind = 0; kind < kQuotaKinds; ++kind) {
      if (values[kind] != 0) entry.values.emplace_back(static_cast<QuotaKind>(kind), values[kind]);
    }
  }
  return described;
}

}  // namespace robustmq::broker
