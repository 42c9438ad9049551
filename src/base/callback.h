// Callback<R(Args...)>: a move-only function with room for small closures inside, so the hot path allocates nothing. Pure.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace robustmq {

template <class Signature>
class Callback;

template <class R, class... Args>
class Callback<R(Args...)> {
 public:
  static constexpr size_t kInlineBytes = 56;

  Callback() = default;
  Callback(std::nullptr_t) {}  // NOLINT

  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Callback> && std::is_invocable_r_v<R, std::remove_cvref_t<F>&, Args...>)
  Callback(F&& function) {  // NOLINT: any callable is a callback
    using Fn = std::remove_cvref_t<F>;
    if constexpr (sizeof(Fn) <= kInlineBytes && alignof(Fn) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<Fn>) {
      new (storage_) Fn(std::forward<F>(function));
      verbs_ = &kInline<Fn>;
    } else {
      *reinterpret_cast<Fn**>(storage_) = new Fn(std::forward<F>(function));
      verbs_ = &kOnHeap<Fn>;
    }
  }
  Callback(Callback&& other) noexcept { take(other); }
  Callback& operator=(Callback&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;
  ~Callback() { reset(); }

  explicit operator bool() const { return verbs_ != nullptr; }
  R operator()(Args... args) { return verbs_->call(storage_, std::forward<Args>(args)...); }
  void reset() {
    if (verbs_) std::exchange(verbs_, nullptr)->destroy(storage_);
  }

 private:
  struct Verbs {
    R (*call)(void*, Args&&...);
    void (*move)(void* from, void* to) noexcept;
    void (*destroy)(void*) noexcept;
  };

  template <class Fn>
  static constexpr Verbs kInline{
      [](void* at, Args&&... args) -> R { return (*static_cast<Fn*>(at))(std::forward<Args>(args)...); },
      [](void* from, void* to) noexcept {
        new (to) Fn(std::move(*static_cast<Fn*>(from)));
        static_cast<Fn*>(from)->~Fn();
      },
      [](void* at) noexcept { static_cast<Fn*>(at)->~Fn(); }};
  template <class Fn>
  static constexpr Verbs kOnHeap{
      [](void* at, Args&&... args) -> R { return (**static_cast<Fn**>(at))(std::forward<Args>(args)...); },
      [](void* from, void* to) noexcept { *static_cast<Fn**>(to) = *static_cast<Fn**>(from); },
      [](void* at) noexcept { delete *static_cast<Fn**>(at); }};

  void take(Callback& other) noexcept {
    verbs_ = std::exchange(other.verbs_, nullptr);
    if (verbs_) verbs_->move(other.storage_, storage_);
  }

  const Verbs* verbs_ = nullptr;
  alignas(std::max_align_t) unsigned char storage_[kInlineBytes];
};

}  // namespace robustmq
