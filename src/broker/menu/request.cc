// What makes, copies, moves and ends the menu's two variants, compiled once for everybody. Pure.
#include "broker/menu/request.h"

namespace robustmq::broker {

static_assert(std::is_nothrow_move_constructible_v<AnyRequest> && std::is_nothrow_move_constructible_v<AnyReply>);

Request::Request() = default;
Request::Request(Request&& other) noexcept = default;
Request& Request::operator=(Request&& other) noexcept = default;
Request::~Request() = default;

Reply::Reply() = default;
Reply::Reply(Reply&& other) noexcept = default;
Reply& Reply::operator=(Reply&& other) noexcept = default;
Reply::~Reply() = default;

// Not inlined, so that this object has one for each alternative, for all others to link.
template <typename T>
[[gnu::noinline]] void Request::put(T asked) {
  emplace<T>(std::move(asked));
}
template <typename T>
[[gnu::noinline]] void Reply::put(T answer) {
  emplace<T>(std::move(answer));
}

template <typename... Ts>
void Request::put_each(std::variant<Ts...>&& from) {
  std::visit([this](auto&& one) { this->put(std::move(one)); }, std::move(from));
}
template <typename... Ts>
void Reply::put_each(std::variant<Ts...>&& from) {
  std::visit([this](auto&& one) { this->put(std::move(one)); }, std::move(from));
}
template void Request::put_each(AnyRequest&&);
template void Reply::put_each(AnyReply&&);

}  // namespace robustmq::broker
