// Activity: a coroutine of the storage that ends with the node. It is owned by the completion it waits for: when a simulated
// crash drops that completion, the coroutine and all it holds go too, so nothing leaks and nothing runs on. Header only.
//
//   class Reading : public Activity {
//     runtime::Task<> run() {
//       Result<Bytes> bytes = co_await wait<Result<Bytes>>([&](auto done) { disk.read(file, 0, 100, std::move(done)); });
//       ...
//     }
//   };
//   auto reading = std::make_shared<Reading>(...);
//   reading->start(reading->run());
#pragma once

#include <coroutine>
#include <memory>
#include <optional>
#include <utility>

#include "base/callback.h"
#include "runtime/task.h"

namespace robustmq::storage {

class Activity : public std::enable_shared_from_this<Activity> {
 public:
  virtual ~Activity() {
    if (frame_) frame_.destroy();
  }
  // Once. Runs until the first wait.
  void start(runtime::Task<void> task) {
    std::shared_ptr<Activity> kept = shared_from_this();
    frame_ = root(std::move(task)).frame;
    frame_.resume();
  }

 protected:
  template <class T, class Start>
  class Wait {
   public:
    Wait(Activity& activity, Start start) : activity_(activity), start_(std::move(start)) {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> waiter) {
      bool came_inline = false;
      starting_ = &came_inline;
      start_(Callback<void(T)>([this, waiter, kept = activity_.shared_from_this()](T value) {
        value_.emplace(std::move(value));
        if (starting_)
          *starting_ = true;
        else
          waiter.resume();
      }));
      starting_ = nullptr;
      return !came_inline;
    }
    T await_resume() { return std::move(*value_); }

   private:
    Activity& activity_;
    Start start_;
    std::optional<T> value_;
    bool* starting_ = nullptr;
  };
  // Awaits a callback interface; `start` is given the callback.
  template <class T, class Start>
  Wait<T, Start> wait(Start start) {
    return Wait<T, Start>(*this, std::move(start));
  }

 private:
  struct Root {
    struct promise_type {
      Root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
      std::suspend_always initial_suspend() noexcept { return {}; }
      std::suspend_always final_suspend() noexcept { return {}; }
      void return_void() {}
      void unhandled_exception() { std::terminate(); }
    };
    std::coroutine_handle<promise_type> frame;
  };
  static Root root(runtime::Task<void> task) { co_await std::move(task); }

  std::coroutine_handle<Root::promise_type> frame_;
};

}  // namespace robustmq::storage
