// Asks each partition of a request at the home core of its shard, and gathers the rows in the order asked.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/locate.h"

namespace robustmq::broker {

// `Wanted` has topic_index and partition; `Row` has a code. `ask(shard, wanted, answer)` is called on the shard's home with the
// open shard and answers there, once. `done(rows)` comes on the asking core. Both locators live as long as their cores.
template <class Row, class Wanted, class Ask, class Done>
void ask_at_homes(runtime::Core& core, Locator& here, Callback<Locator&(CoreIndex)> locator_of,
                  const std::vector<TopicRef>& topics, const std::vector<Wanted>& partitions, Ask ask, Done done) {
  struct Gathering {
    std::vector<Row> rows;
    Callback<Locator&(CoreIndex)> locator_of;
    Ask ask;
    Done done;
    size_t waiting = 1;  // the asking itself

    void finish_one() {
      if (--waiting == 0) done(std::move(rows));
    }
  };
  auto gathering = std::make_shared<Gathering>(Gathering{std::vector<Row>(partitions.size()), std::move(locator_of),
                                                         std::move(ask), std::move(done), partitions.size() + 1});
  std::vector<Located> located;
  located.reserve(topics.size());
  for (const TopicRef& topic : topics) located.push_back(here.locate(topic));
  for (size_t i = 0; i < partitions.size(); ++i) {
    const Wanted wanted = partitions[i];
    const Located& topic = located[static_cast<size_t>(wanted.topic_index)];
    const CoreIndex home = here.home(topic, wanted.partition);
    Locator* const there = &gathering->locator_of(home);
    const auto at_home = [&core, gathering, i, wanted, topic, there, home] {
      there->with_shard(topic, wanted.partition, [&core, gathering, i, wanted, there, home](Result<shard::Shard*> shard) {
        Callback<void(Row)> answer = [&core, gathering, i, there, home](Row row) {
          if (home == core.index()) {
            gathering->rows[i] = std::move(row);
            return gathering->finish_one();
          }
          there->core().send(core.index(), [gathering, i, row = std::move(row)]() mutable {
            gathering->rows[i] = std::move(row);
            gathering->finish_one();
          });
        };
        if (shard) return gathering->ask(**shard, wanted, std::move(answer));
        Row row;
        row.code = shard.code();
        answer(std::move(row));
      });
    };
    if (home == core.index())
      at_home();
    else
      core.send(home, at_home);
  }
  gathering->finish_one();
}

}  // namespace robustmq::broker
