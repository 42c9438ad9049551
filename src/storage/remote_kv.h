// RemoteKv: the rows of core 0 as another core sees them: every call travels there and back.
#pragma once

#include "base/anchor.h"
#include "runtime/core.h"
#include "storage/kv.h"

namespace robustmq::storage {

// Lives on `core`; `home` lives on core `home_core` and outlives what is under way. Destroyed earlier, calls under way are
// carried out and not called back.
class RemoteKv final : public Kv {
 public:
  RemoteKv(runtime::Core& core, CoreIndex home_core, runtime::Core& home_of_rows, Kv& home);
  ~RemoteKv() override;

  void write(KvBatch batch, Callback<void(Status)> done) override;
  void get(std::string_view key, Callback<void(Result<std::string>)> done) const override;
  void scan(std::string_view from, std::string_view to, size_t rows_max, Callback<void(Result<KvRows>)> done) const override;
  void last(std::string_view from, std::string_view to, Callback<void(Result<KvRows>)> done) const override;

 private:
  template <class Answer, class Ask>
  void ask(Ask ask, Callback<void(Answer)> done) const;

  runtime::Core& core_;
  CoreIndex home_core_;
  runtime::Core& there_;
  Kv& home_;
  mutable AnchorOwner<const RemoteKv> anchor_;
};

}  // namespace robustmq::storage
