// LazyDeque: a std::deque that is nothing while it is empty, for objects of which there are very many (an empty std::deque holds
// some 600 bytes). Header only, pure.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>

namespace robustmq {

template <class T>
class LazyDeque {
 public:
  using Items = std::deque<T>;

  bool empty() const { return !items_; }
  size_t size() const { return items_ ? items_->size() : 0; }
  T& front() { return items_->front(); }
  const T& front() const { return items_->front(); }
  T& back() { return items_->back(); }
  const T& back() const { return items_->back(); }
  T& operator[](size_t at) { return (*items_)[at]; }
  const T& operator[](size_t at) const { return (*items_)[at]; }
  auto begin() const { return items_ ? items_->cbegin() : typename Items::const_iterator(); }
  auto end() const { return items_ ? items_->cend() : typename Items::const_iterator(); }

  void push_back(T item) { made().push_back(std::move(item)); }
  template <class... Args>
  void emplace_back(Args&&... args) {
    made().emplace_back(std::forward<Args>(args)...);
  }
  void pop_front() {
    items_->pop_front();
    if (items_->empty()) items_.reset();
  }
  void pop_back() {
    items_->pop_back();
    if (items_->empty()) items_.reset();
  }
  void clear() { items_.reset(); }

 private:
  Items& made() {
    if (!items_) items_ = std::make_unique<Items>();
    return *items_;
  }

  std::unique_ptr<Items> items_;
};

}  // namespace robustmq
