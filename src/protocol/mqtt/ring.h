// Ring: a queue in one array that grows by doubling; unlike std::deque it holds no memory while empty from the start. Pure.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace robustmq::mqtt {

template <class T>
class Ring {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t capacity() const { return items_.size(); }
  // The caller ensures index < size().
  T& operator[](size_t index) { return items_[(head_ + index) & (items_.size() - 1)]; }
  T& front() { return items_[head_]; }
  void push_back(T item) {
    if (size_ == items_.size()) grow();
    items_[(head_ + size_++) & (items_.size() - 1)] = std::move(item);
  }
  void pop_front() {
    items_[head_] = T{};
    head_ = (head_ + 1) & (items_.size() - 1);
    --size_;
  }

 private:
  void grow() {
    std::vector<T> larger(items_.empty() ? 4 : items_.size() * 2);
    for (size_t i = 0; i < size_; ++i) larger[i] = std::move((*this)[i]);
    items_ = std::move(larger);
    head_ = 0;
  }

  std::vector<T> items_;  // a power of two
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace robustmq::mqtt
