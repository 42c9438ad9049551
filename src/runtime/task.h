// Task<T>: a lazy coroutine for shells (start-up, recovery, admin): it runs when awaited or spawned, on its core. Header only.
//
// Rules: parameters by value; `co_await` alone on the right-hand side with named arguments; after an await re-check what you
// knew. A spawned task belongs to a TaskScope: destroying the scope while tasks run is a broken invariant, so its owner stops
// them first (is_idle()), or abandons them after a simulated crash.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "base/callback.h"
#include "base/check.h"
#include "base/intrusive.h"

namespace robustmq::runtime {

template <class T>
class Task;

namespace detail {

struct FinalAwaiter {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> done) const noexcept {
    return done.promise().waiter ? done.promise().waiter : std::noop_coroutine();
  }
  void await_resume() const noexcept {}
};

struct PromiseBase {
  std::coroutine_handle<> waiter;
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() { std::terminate(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  void return_value(T result) { value.emplace(std::move(result)); }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void take() {}
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) {
    frame_.promise().waiter = waiter;
    return frame_;
  }
  T await_resume() { return frame_.promise().take(); }

 private:
  std::coroutine_handle<promise_type> frame_;
};

namespace detail {
template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}
}  // namespace detail

// Owns the tasks spawned into it.
class TaskScope {
 public:
  TaskScope() = default;
  TaskScope(const TaskScope&) = delete;
  ~TaskScope() { ROBUSTMQ_CHECK(is_idle(), "a scope ended before its tasks"); }

  void spawn(Task<void> task) { run(std::move(task)); }
  bool is_idle() const { return tasks_.empty(); }
  // Ends the tasks where they wait. Only when nothing they wait for comes any more: a simulated node after its crash.
  void abandon() {
    while (!tasks_.empty()) std::coroutine_handle<Detached::promise_type>::from_promise(tasks_.front()).destroy();
  }

 private:
  struct TaskTag;
  struct Detached {
    struct promise_type : ListHook<TaskTag> {
      promise_type(TaskScope& scope, Task<void>&) { scope.tasks_.push_back(*this); }
      Detached get_return_object() { return {}; }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_never final_suspend() noexcept { return {}; }
      void return_void() {}
      void unhandled_exception() { std::terminate(); }
    };
  };
  Detached run(Task<void> task) { co_await std::move(task); }

  List<Detached::promise_type, TaskTag> tasks_;
};

// Awaits a callback interface:
//   Result<FilePtr> file = co_await completion<Result<FilePtr>>([&](auto done) { disk.open(path, options, std::move(done)); });
template <class T, class Start>
class Completion {
 public:
  explicit Completion(Start start) : start_(std::move(start)) {}
  bool await_ready() const noexcept { return false; }
  // False (resume at once) when the callback came inline.
  bool await_suspend(std::coroutine_handle<> waiter) {
    bool inline_done = false;
    starting_ = &inline_done;
    start_(Callback<void(T)>([this, waiter](T value) {
      value_.emplace(std::move(value));
      if (starting_)
        *starting_ = true;
      else
        waiter.resume();
    }));
    starting_ = nullptr;
    return !inline_done;
  }
  T await_resume() { return std::move(*value_); }

 private:
  Start start_;
  std::optional<T> value_;
  bool* starting_ = nullptr;
};

template <class T, class Start>
Completion<T, Start> completion(Start start) {
  return Completion<T, Start>(std::move(start));
}

}  // namespace robustmq::runtime
