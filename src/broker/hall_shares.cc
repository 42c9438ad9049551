// Hall: the queues of share groups. Groups live on core 0, their queues with their shards; who asks where a group's queues stand
// goes to both.
#include <algorithm>
#include <utility>

#include "broker/gathering.h"
#include "broker/group/coordinator.h"
#include "broker/hall.h"

namespace robustmq::broker {

template <class T, class Ask>
void Hall::ask_core(CoreIndex at, Ask ask, Callback<void(T)> done) {
  if (at == core_.index()) return ask(*this, std::move(done));
  core_.send(at, [there = halls_[at], back = core_.index(), ask = std::move(ask), done = std::move(done)]() mutable {
    ask(*there, [there, back, done = std::move(done)](T answer) mutable {
      there->core_.send(back, [done = std::move(done), answer = std::move(answer)]() mutable { done(std::move(answer)); });
    });
  });
}

void Hall::introduce_queues() {
  queues_.set_letters(&dead_letters_);
  queues_.set_wake([this](const QueueWaiter& waiter) {
    core_.send(waiter.core, [asker = halls_[waiter.core], request = waiter.request] { asker->leaser_.on_woken(request); });
  });
  queues_.set_settings([this](const QueueKey& key, Callback<void(Result<QueueSettings>)> done) {
    const auto ask = [key](Hall& home, Callback<void(Result<QueueSettings>)> answer) {
      if (!home.groups_) return answer(QueueSettings{});
      answer(home.groups_->queue_settings(key.tenant, key.name, key.shard.topic));
    };
    ask_core<Result<QueueSettings>>(0, ask, std::move(done));
  });
  queue_readers_.set_open([this](TenantId tenant, const std::string& group, std::shared_ptr<const meta::Topic> topic,
                                 Callback<void(Code)> done) { open_queue(tenant, group, std::move(topic), std::move(done)); });
  if (!groups_) return;
  const auto configured = [this](TenantId tenant, const std::string& group, const QueueSettings& settings) {
    for (Hall* hall : halls_) {
      if (hall == this) {
        queues_.configure(tenant, group, settings);
      } else {
        core_.send(hall->core_.index(), [hall, tenant, group, settings] { hall->queues_.configure(tenant, group, settings); });
      }
    }
  };
  const auto removed = [this](TenantId tenant, const std::string& group, const std::vector<TopicId>& topics,
                              Callback<void(Code)> done) {
    std::vector<ShardId> shards;
    for (const TopicId& id : topics) {
      const auto topic = meta_.find(id);
      for (int32_t partition = 0; topic && partition < topic->partitions; ++partition) shards.push_back({id, partition});
    }
    const auto remove = [](Queues& queues, QueueKey key, const auto&, size_t, Callback<void(Code)> answer) {
      queues.remove(key, std::move(answer));
    };
    ask_queues<Code>(tenant, group, shards, remove, [done = std::move(done)](const std::vector<Code>& codes) mutable {
      const auto failed = std::find_if(codes.begin(), codes.end(), [](Code code) { return code != Code::ok; });
      done(failed == codes.end() ? Code::ok : *failed);
    });
  };
  groups_->set_queues({configured, removed});
}

// `ask(queues, key, topic, index, answer)` is called on each shard's home.
template <class Row, class Ask>
void Hall::ask_queues(TenantId tenant, const std::string& group, const std::vector<ShardId>& shards, Ask ask,
                      Callback<void(std::vector<Row>)> done) {
  auto gathering = std::make_shared<GatheringList<Row>>();
  gathering->whole.resize(shards.size());
  gathering->done = std::move(done);
  gathering->waiting += shards.size();
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto topic = meta_.find(shards[i].topic);
    if (!topic) {  // it went meanwhile, with its queues
      gathering->finish_one();
      continue;
    }
    const auto at_home = [ask, key = QueueKey{tenant, shards[i], group}, topic, i](Hall& home, Callback<void(Row)> answer) {
      ask(home.queues_, key, topic, i, std::move(answer));
    };
    ask_core<Row>(home_of(shards[i], core_.count()), at_home, [gathering, i](Row row) {
      gathering->whole[i] = std::move(row);
      gathering->finish_one();
    });
  }
  gathering->finish_one();
}

// A queue begins with what comes; the partitions that its stream gets later are the queue's from their beginning.
void Hall::open_queue(TenantId tenant, const std::string& group, std::shared_ptr<const meta::Topic> topic,
                      Callback<void(Code)> done) {
  using Opened = std::pair<Code, bool>;
  const auto ask = [tenant, group, id = topic->id](Hall& home, Callback<void(Opened)> answer) {
    if (!home.groups_) return answer({Code::not_supported, false});
    home.groups_->open_queue(tenant, group, id,
                             [answer = std::move(answer)](Code code, bool has_begun) mutable { answer({code, has_begun}); });
  };
  ask_core<Opened>(0, ask, [this, tenant, group, topic, done = std::move(done)](Opened opened) mutable {
    if (opened.first != Code::ok) return done(opened.first);
    std::vector<ShardId> shards;
    for (int32_t partition = 0; partition < topic->partitions; ++partition) shards.push_back({topic->id, partition});
    const auto make = [from_start = opened.second](Queues& queues, QueueKey key, const auto& of, size_t,
                                                   Callback<void(Code)> answer) {
      queues.make(key, of, from_start, std::move(answer));
    };
    ask_queues<Code>(tenant, group, shards, make,
                     [this, tenant, group, id = topic->id, done = std::move(done)](const std::vector<Code>& codes) mutable {
                       const auto failed = std::find_if(codes.begin(), codes.end(), [](Code code) { return code != Code::ok; });
                       if (failed != codes.end()) return done(*failed);
                       const auto began = [tenant, group, id](Hall& home, Callback<void(bool)> answer) {
                         home.groups_->began_queue(tenant, group, id);
                         answer(true);
                       };
                       ask_core<bool>(0, began, [](bool) {});
                       done(Code::ok);
                     });
  });
}

// ---- Where queues stand ----

void Hall::ask_share_offsets(TenantId tenant, DescribeShareOffsets request, ReplyTo done) {
  auto describing = std::make_shared<Gathering<DescribedShareOffsets>>();
  describing->done = std::move(done);
  describing->whole.groups.resize(request.groups.size());
  describing->waiting += request.groups.size();
  for (size_t i = 0; i < request.groups.size(); ++i) {
    describe_group_offsets(tenant, request.groups[i], [describing, i](DescribedShareOffsets::One one) {
      describing->whole.groups[i] = std::move(one);
      describing->finish_one();
    });
  }
  describing->finish_one();
}

void Hall::describe_group_offsets(TenantId tenant, const DescribeShareOffsets::One& wanted,
                                  Callback<void(DescribedShareOffsets::One)> done) {
  using Facts = GroupCoordinator::ShareFacts;
  const auto ask = [tenant, group = wanted.group](Hall& home, Callback<void(Facts)> answer) {
    answer(home.groups_ ? home.groups_->share_facts(tenant, group)
                        : Facts{.code = Code::group_not_found, .detail = {}, .topics = {}});
  };
  ask_core<Facts>(0, ask, [this, tenant, wanted, done = std::move(done)](Facts facts) mutable {
    DescribedShareOffsets::One one;
    // A group that is not there has read nothing.
    if (facts.code != Code::group_not_found) one.code = facts.code;
    if (one.code != Code::ok) {
      one.detail = std::move(facts.detail);
      return done(std::move(one));
    }
    std::vector<ShardId> shards;
    std::vector<size_t> rows;  // of each shard
    const auto add = [&](const std::string& name, const std::shared_ptr<const meta::Topic>& topic, int32_t partition) {
      DescribedShareOffsets::Partition& row = one.partitions.emplace_back();
      row.topic = name;
      row.partition = partition;
      if (topic) row.topic_id = topic->id;
      if (!topic || partition < 0 || partition >= topic->partitions) {
        row.code = Code::unknown_topic;
        return;
      }
      // A topic that the group has not read has no queue.
      if (std::find(facts.topics.begin(), facts.topics.end(), topic->id) == facts.topics.end()) return;
      shards.push_back({topic->id, partition});
      rows.push_back(one.partitions.size() - 1);
    };
    if (wanted.all) {
      for (const TopicId& id : facts.topics) {
        const auto topic = meta_.find(id);
        for (int32_t partition = 0; topic && partition < topic->partitions; ++partition) add(topic->name, topic, partition);
      }
    } else {
      for (const PartitionRef& ref : wanted.partitions) {
        const std::string& name = wanted.topics[static_cast<size_t>(ref.topic_index)];
        add(name, meta_.find(tenant, name), ref.partition);
      }
    }
    const auto describe = [](Queues& queues, QueueKey key, const auto& topic, size_t, Callback<void(QueueFacts)> answer) {
      queues.describe(std::move(key), topic, std::move(answer));
    };
    ask_queues<QueueFacts>(
        tenant, wanted.group, shards, describe,
        [one = std::move(one), rows = std::move(rows), done = std::move(done)](const std::vector<QueueFacts>& all) mutable {
          for (size_t i = 0; i < all.size(); ++i) {
            DescribedShareOffsets::Partition& row = one.partitions[rows[i]];
            if (all[i].code == Code::not_found) continue;  // never used
            row.code = all[i].code;
            row.start = all[i].start;
            row.leader_epoch = all[i].leader_epoch;
            row.lag = all[i].lag;
          }
          done(std::move(one));
        });
  });
}

void Hall::ask_share_offsets(TenantId tenant, AlterShareOffsets request, ReplyTo done) {
  using Facts = GroupCoordinator::ShareFacts;
  std::vector<TopicId> ids;
  std::vector<TopicId> known;
  for (const std::string& name : request.topics) {
    const auto topic = meta_.find(tenant, name);
    ids.push_back(topic ? topic->id : TopicId{});
    if (topic) known.push_back(topic->id);
  }
  // The group knows the topics before their queues are made.
  const auto ask = [tenant, group = request.group, known](Hall& home, Callback<void(Facts)> answer) {
    if (!home.groups_) return answer(Facts{.code = Code::group_not_found, .detail = {}, .topics = {}});
    Facts facts = home.groups_->share_facts(tenant, group);
    // Who says where a group begins makes it.
    if (facts.code == Code::group_not_found) facts = {};
    if (facts.code == Code::ok && facts.has_members) {
      facts.code = Code::group_not_empty;
      facts.detail = "The group is not empty.";
    }
    if (facts.code != Code::ok) return answer(std::move(facts));
    home.groups_->add_share_topics(tenant, group, known, [facts, answer = std::move(answer)](Code code) mutable {
      facts.code = code;
      answer(std::move(facts));
    });
  };
  ask_core<Facts>(0, ask, [this, tenant, ids, request = std::move(request), done = std::move(done)](Facts facts) mutable {
    AlteredShareOffsets reply;
    reply.code = facts.code;
    reply.detail = std::move(facts.detail);
    reply.topics = ids;
    reply.partitions.assign(request.partitions.size(), Code::unknown_topic);
    if (reply.code != Code::ok) return done(std::move(reply));
    std::vector<ShardId> shards;
    std::vector<size_t> rows;
    std::vector<Offset> starts;
    for (size_t i = 0; i < request.partitions.size(); ++i) {
      const AlterShareOffsets::One& one = request.partitions[i];
      const auto topic = meta_.find(ids[static_cast<size_t>(one.topic_index)]);
      if (!topic || one.partition < 0 || one.partition >= topic->partitions) continue;
      shards.push_back({topic->id, one.partition});
      rows.push_back(i);
      starts.push_back(one.start);
    }
    const auto seek = [starts](Queues& queues, QueueKey key, const auto& topic, size_t i, Callback<void(Code)> answer) {
      queues.seek(std::move(key), topic, starts[i], std::move(answer));
    };
    ask_queues<Code>(
        tenant, request.group, shards, seek,
        [reply = std::move(reply), rows = std::move(rows), done = std::move(done)](const std::vector<Code>& codes) mutable {
          for (size_t i = 0; i < codes.size(); ++i) reply.partitions[rows[i]] = codes[i];
          done(std::move(reply));
        });
  });
}

void Hall::ask_share_offsets(TenantId tenant, DeleteShareOffsets request, ReplyTo done) {
  DeletedShareOffsets reply;
  std::vector<TopicId> ids;
  for (const std::string& name : request.topics) {
    const auto topic = meta_.find(tenant, name);
    reply.topics.emplace_back(topic ? topic->id : TopicId{}, topic ? Code::ok : Code::unknown_topic);
    if (topic) ids.push_back(topic->id);
  }
  const auto ask = [tenant, group = request.group, ids](Hall& home, Callback<void(DeletedShareOffsets)> answer) {
    DeletedShareOffsets whole;  // `topics`: those that the group has not read
    if (!home.groups_) {
      whole.code = Code::group_not_found;
      return answer(std::move(whole));
    }
    const GroupCoordinator::ShareFacts facts = home.groups_->share_facts(tenant, group);
    whole.code = facts.code == Code::ok && facts.has_members ? Code::group_not_empty : facts.code;
    whole.detail = whole.code == Code::group_not_empty ? "The group is not empty." : facts.detail;
    if (whole.code != Code::ok) return answer(std::move(whole));
    std::vector<TopicId> read;
    for (const TopicId& id : ids) {
      if (std::find(facts.topics.begin(), facts.topics.end(), id) != facts.topics.end())
        read.push_back(id);
      else
        whole.topics.emplace_back(id, Code::unknown_topic);
    }
    home.groups_->remove_share_topics(tenant, group, std::move(read),
                                      [whole = std::move(whole), answer = std::move(answer)](Code code) mutable {
                                        whole.code = code;
                                        answer(std::move(whole));
                                      });
  };
  ask_core<DeletedShareOffsets>(0, ask, [reply = std::move(reply), done = std::move(done)](DeletedShareOffsets whole) mutable {
    reply.code = whole.code;
    reply.detail = std::move(whole.detail);
    for (const auto& [id, code] : whole.topics) {
      for (auto& [asked, result] : reply.topics) {
        if (asked == id) result = code;
      }
    }
    done(std::move(reply));
  });
}

}  // namespace robustmq::broker
