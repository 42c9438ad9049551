#include "broker/rows.h"

#include <iterator>
#include <utility>

namespace robustmq::broker {

void Rows::put(std::string key, std::string value, Callback<void(Status)> done) {
  batch_.put(std::move(key), std::move(value));
  waiting_.push_back(std::move(done));
  core_.defer(*this);
}

void Rows::remove(std::string key, Callback<void(Status)> done) {
  batch_.remove(std::move(key));
  waiting_.push_back(std::move(done));
  core_.defer(*this);
}

void Rows::write(storage::KvBatch changes, Callback<void(Status)> done) {
  batch_.changes.insert(batch_.changes.end(), std::make_move_iterator(changes.changes.begin()),
                        std::make_move_iterator(changes.changes.end()));
  waiting_.push_back(std::move(done));
  core_.defer(*this);
}

void Rows::run_deferred() {
  auto finish = [alive = std::weak_ptr<bool>(alive_), waiting = std::exchange(waiting_, {})](const Status& status) mutable {
    for (Callback<void(Status)>& done : waiting) {
      if (alive.expired()) return;
      done(status);
    }
  };
  storage::KvBatch batch = std::exchange(batch_, {});
  if (kv_ || core_.index() == 0) return write_here(std::move(batch), std::move(finish));
  core_.send(0, [home = home_, back = core_.index(), batch = std::move(batch), finish = std::move(finish)]() mutable {
    home->write_here(std::move(batch), [home, back, finish = std::move(finish)](Status status) mutable {
      home->core_.send(back, [finish = std::move(finish), status = std::move(status)]() mutable { finish(std::move(status)); });
    });
  });
}

void Rows::write_here(storage::KvBatch batch, Callback<void(Status)> done) {
  if (kv_ == nullptr || batch.changes.empty()) return done({});
  kv_->write(std::move(batch), std::move(done));
}

void Rows::get(std::string key, Callback<void(Result<std::string>)> done) {
  if (kv_) return kv_->get(key, std::move(done));
  if (core_.index() == 0) return done(Code::not_found);
  core_.send(0, [home = home_, back = core_.index(), key = std::move(key), done = std::move(done)]() mutable {
    home->get(std::move(key), [home, back, done = std::move(done)](Result<std::string> value) mutable {
      home->core_.send(back, [done = std::move(done), value = std::move(value)]() mutable { done(std::move(value)); });
    });
  });
}

void Rows::scan(std::string from, std::string to, size_t rows_max, Callback<void(Result<storage::KvRows>)> done) {
  if (kv_) return kv_->scan(from, to, rows_max, std::move(done));
  if (core_.index() == 0) return done(storage::KvRows{});
  core_.send(0, [home = home_, back = core_.index(), from = std::move(from), to = std::move(to), rows_max,
                 done = std::move(done)]() mutable {
    home->scan(std::move(from), std::move(to), rows_max,
               [home, back, done = std::move(done)](Result<storage::KvRows> rows) mutable {
                 home->core_.send(back, [done = std::move(done), rows = std::move(rows)]() mutable { done(std::move(rows)); });
               });
  });
}

}  // namespace robustmq::broker
