// DescribeLogDirs 1-5: the node's data directory with the size of each partition in it. Pure.
#include "protocol/kafka/frames/describe_log_dirs.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class DescribeLogDirsExchange final : public ExchangeOf<DescribeLogDirsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    call(out, broker::DescribeCluster{});
    broker::DescribeTopics topics;
    topics.all = !request_.topics;
    if (request_.topics) {
      for (const auto& topic : *request_.topics) topics.topics.push_back({std::string(topic.topic), {}});
    }
    if (topics.all || !topics.topics.empty()) call(out, std::move(topics));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox& out) override {
    Code code;
    if (has_asked_sizes_) return finish(reply_as<broker::DescribedLogs>(replies[0], code), code);
    broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], code);
    if (!cluster) return refuse(code);
    for (const auto& option : cluster->options) {
      if (option.name == "node.data_dir") folder_ = option.value;
    }
    broker::DescribedTopics* topics = nullptr;
    if (replies.size() > 1 && !(topics = reply_as<broker::DescribedTopics>(replies[1], code))) return refuse(code);
    broker::DescribeLogs logs;
    for (size_t i = 0; topics && i < topics->topics.size(); ++i) {
      const broker::DescribedTopic& topic = topics->topics[i];
      if (topic.code != Code::ok) continue;  // what is not there has no size
      const int32_t topic_index = static_cast<int32_t>(logs.topics.size());
      logs.topics.push_back({topic.facts.name, topic.facts.id});
      if (request_.topics && i < request_.topics->size()) {
        for (int32_t partition : (*request_.topics)[i].partitions) {
          if (partition >= 0 && partition < topic.facts.partitions) logs.partitions.emplace_back(topic_index, partition);
        }
      } else {
        for (int32_t partition = 0; partition < topic.facts.partitions; ++partition)
          logs.partitions.emplace_back(topic_index, partition);
      }
    }
    has_asked_sizes_ = true;
    asked_ = logs;
    call(out, std::move(logs));
  }

 private:
  void refuse(Code code) {
    DescribeLogDirsResponse response;
    response.error_code = wire_error(code);
    answer(response);
  }

  void finish(const broker::DescribedLogs* logs, Code code) {
    if (!logs) return refuse(code);
    DescribeLogDirsResponse response;
    auto& dir = response.results.emplace_back();
    dir.log_dir = folder_;
    dir.usable_bytes = logs->usable_bytes;
    int32_t last_topic = -1;
    for (size_t i = 0; i < asked_.partitions.size() && i < logs->partitions.size(); ++i) {
      if (logs->partitions[i].code != Code::ok) continue;
      const auto [topic_index, partition] = asked_.partitions[i];
      if (std::exchange(last_topic, topic_index) != topic_index)
        dir.topics.emplace_back().name = asked_.topics[static_cast<size_t>(topic_index)].name;
      auto& row = dir.topics.back().partitions.emplace_back();
      row.partition_index = partition;
      row.partition_size = static_cast<int64_t>(logs->partitions[i].size_bytes);
    }
    answer(response);
  }

  bool has_asked_sizes_ = false;
  std::string folder_;
  broker::DescribeLogs asked_;
};

}  // namespace

Made make_describe_log_dirs(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeLogDirsExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
