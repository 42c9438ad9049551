#include "storage/remote_kv.h"

#include <string>
#include <utility>

namespace robustmq::storage {

RemoteKv::RemoteKv(runtime::Core& core, CoreIndex home_core, runtime::Core& home_of_rows, Kv& home)
    : core_(core), home_core_(home_core), there_(home_of_rows), home_(home) {}

RemoteKv::~RemoteKv() = default;

template <class Answer, class Ask>
void RemoteKv::ask(Ask ask, Callback<void(Answer)> done) const {
  core_.send(home_core_, [home = &home_, there = &there_, back = core_.index(), ask = std::move(ask), self = anchor_.anchor(this),
                          done = std::move(done)]() mutable {
    ask(*home, [there, back, self = std::move(self), done = std::move(done)](Answer answer) mutable {
      there->send(back, [self = std::move(self), done = std::move(done), answer = std::move(answer)]() mutable {
        if (self.get()) done(std::move(answer));
      });
    });
  });
}

void RemoteKv::write(KvBatch batch, Callback<void(Status)> done) {
  ask<Status>([batch = std::move(batch)](
                  Kv& home, Callback<void(Status)> answer) mutable { home.write(std::move(batch), std::move(answer)); },
              std::move(done));
}

void RemoteKv::get(std::string_view key, Callback<void(Result<std::string>)> done) const {
  ask<Result<std::string>>(
      [key = std::string(key)](Kv& home, Callback<void(Result<std::string>)> answer) { home.get(key, std::move(answer)); },
      std::move(done));
}

void RemoteKv::scan(std::string_view from, std::string_view to, size_t rows_max, Callback<void(Result<KvRows>)> done) const {
  ask<Result<KvRows>>([from = std::string(from), to = std::string(to), rows_max](
                          Kv& home, Callback<void(Result<KvRows>)> answer) { home.scan(from, to, rows_max, std::move(answer)); },
                      std::move(done));
}

void RemoteKv::last(std::string_view from, std::string_view to, Callback<void(Result<KvRows>)> done) const {
  ask<Result<KvRows>>([from = std::string(from), to = std::string(to)](
                          Kv& home, Callback<void(Result<KvRows>)> answer) { home.last(from, to, std::move(answer)); },
                      std::move(done));
}

}  // namespace robustmq::storage
