// An intrusive doubly linked list: nodes derive from ListHook<Tag>. Removing and testing membership are O(1). Pure.
#pragma once

namespace robustmq {

template <class Tag = void>
class ListHook {
 public:
  ListHook() = default;
  ListHook(const ListHook&) = delete;
  ListHook& operator=(const ListHook&) = delete;
  ~ListHook() { unlink(); }

  bool is_linked() const { return next_ != nullptr; }
  void unlink() {
    if (!next_) return;
    next_->prev_ = prev_;
    prev_->next_ = next_;
    next_ = prev_ = nullptr;
  }

 private:
  template <class T, class U>
  friend class List;
  ListHook* next_ = nullptr;
  ListHook* prev_ = nullptr;
};

// The list does not own its nodes. Invariant: a node is in at most one list of its tag.
template <class T, class Tag = void>
class List {
 public:
  List() { head_.next_ = head_.prev_ = &head_; }
  ~List() {
    while (!empty()) pop_front();
    head_.next_ = head_.prev_ = nullptr;
  }
  bool empty() const { return head_.next_ == &head_; }
  void push_back(T& node) {
    ListHook<Tag>& hook = node;
    hook.prev_ = head_.prev_;
    hook.next_ = &head_;
    head_.prev_->next_ = &hook;
    head_.prev_ = &hook;
  }
  T& front() { return static_cast<T&>(*head_.next_); }
  T& pop_front() {
    T& node = front();
    static_cast<ListHook<Tag>&>(node).unlink();
    return node;
  }
  // Moves every node of `other` behind those of this list.
  void splice_back(List& other) {
    while (!other.empty()) push_back(other.pop_front());
  }

 private:
  ListHook<Tag> head_;
};

}  // namespace robustmq
