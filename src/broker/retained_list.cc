#include "broker/retained_list.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/topic_names.h"
#include "broker/menu/record_qos.h"

namespace robustmq::broker {
namespace {

constexpr int32_t kPageMax = 10'000;
constexpr size_t kPageBytesMax = 4 << 20;  // of topics and payloads: a page is full with the message that goes over it

// A walk through the cores, one after the other, by topic on each. `after` names the last one seen: "<core>/<topic>".
struct Walk {
  RetainedHome& home;
  CoreIndex cores;
  std::string filter;
  CoreIndex core = 0;
  WalkPosition at;
  ReplyTo done;
};

// Behind nothing: the tree's own order, not an index's, so that a page can go on by name.
WalkPosition start_of_tree() {
  WalkPosition at;
  at.is_begun = true;
  return at;
}

struct Listing : Walk {
  size_t count = 0;
  size_t bytes = 0;  // of what is on the page
  bool is_full() const { return reply.messages.size() >= count || bytes >= kPageBytesMax; }
  ListedRetained reply;
};

void list_on(const std::shared_ptr<Listing>& listing) {
  if (listing->core >= listing->cores || listing->is_full()) {
    // Full: whether there is more shows when the next page is asked for.
    if (listing->core < listing->cores && !listing->reply.messages.empty())
      listing->reply.next = std::to_string(listing->core) + "/" + listing->reply.messages.back().topic;
    return listing->done(std::move(listing->reply));
  }
  RetainedStore::Pace pace;
  pace.messages = listing->count - listing->reply.messages.size();
  listing->home.read(listing->core, listing->filter, listing->at, pace, [listing](RetainedHome::Piece piece) {
    for (const auto& [topic, message] : piece.messages) {
      if (listing->is_full()) break;
      listing->bytes += topic.size() + message.payload().size();
      listing->reply.messages.push_back(
          {topic, Bytes::copy_of(message.payload()), qos_of(message.record()), message.timestamp_ms, message.expiry_s});
    }
    if (piece.is_last && !listing->is_full()) {
      ++listing->core;
      listing->at = start_of_tree();
    } else {
      listing->at = std::move(piece.at);
    }
    list_on(listing);
  });
}

struct Clearing : Walk {
  ClearedRetained reply;
  size_t waiting = 0;
  Status status;
};

void clear_on(const std::shared_ptr<Clearing>& clearing) {
  if (!clearing->status.ok()) return clearing->done(clearing->status.error());
  if (clearing->core >= clearing->cores) return clearing->done(std::move(clearing->reply));
  clearing->home.read(clearing->core, clearing->filter, clearing->at, {}, [clearing](RetainedHome::Piece piece) {
    clearing->at = std::move(piece.at);
    if (piece.is_last) {
      ++clearing->core;
      clearing->at = start_of_tree();
    }
    clearing->waiting = 1 + piece.messages.size();
    const auto finish_one = [clearing] {
      if (--clearing->waiting == 0) clear_on(clearing);
    };
    for (auto& [topic, message] : piece.messages) {
      clearing->home.clear(std::move(topic), [clearing, finish_one](const Status& status) {
        if (status.ok())
          ++clearing->reply.count;
        else if (status.code() != Code::not_found)
          clearing->status = status;
        finish_one();
      });
    }
    finish_one();
  });
}

}  // namespace

void list_retained(RetainedHome& home, CoreIndex cores, const ListRetained& request, ReplyTo done) {
  if (!is_valid_topic_filter(request.filter) || request.count_max < 1)
    return done(Error{Code::invalid_argument, "the filter or the count is not allowed"});
  auto listing = std::make_shared<Listing>(Listing{{home, cores, request.filter, 0, start_of_tree(), std::move(done)}, 0, 0, {}});
  listing->count = static_cast<size_t>(std::min(request.count_max, kPageMax));
  if (!request.after.empty()) {
    const char* end = request.after.data() + request.after.size();
    const auto [slash, error] = std::from_chars(request.after.data(), end, listing->core);
    if (error != std::errc() || slash == end || *slash != '/')
      return listing->done(Error{Code::invalid_argument, "`after` is not where a page ended"});
    for (std::string_view level : levels_of({slash + 1, static_cast<size_t>(end - slash - 1)}))
      listing->at.levels.emplace_back(level);
  }
  list_on(listing);
}

void clear_retained(RetainedHome& home, CoreIndex cores, const ClearRetained& request, ReplyTo done) {
  if (!is_valid_topic_filter(request.filter)) return done(Error{Code::invalid_argument, "the filter is not allowed"});
  clear_on(std::make_shared<Clearing>(Clearing{{home, cores, request.filter, 0, start_of_tree(), std::move(done)}, {}, 0, {}}));
}

}  // namespace robustmq::broker
