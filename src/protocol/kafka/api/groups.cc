// DescribeGroups 0-6, ListGroups 0-5, DeleteGroups 0-2. Pure.
//
// A group that is not there is described as Dead without an error before version 6 of DescribeGroups, and is
// GROUP_ID_NOT_FOUND from then on; so is a group with server-side assignment, which ConsumerGroupDescribe tells of. The filters
// of ListGroups do not look at case.
#include <algorithm>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/delete_groups.h"
#include "protocol/kafka/frames/describe_groups.h"
#include "protocol/kafka/frames/list_groups.h"

namespace robustmq::kafka {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c; }
bool is_in(std::string_view text, const std::vector<std::string_view>& filter) {
  return std::any_of(filter.begin(), filter.end(), [&](std::string_view one) {
    return std::equal(one.begin(), one.end(), text.begin(), text.end(), [](char a, char b) { return lower(a) == lower(b); });
  });
}

class DescribeGroupsExchange final : public ExchangeOf<DescribeGroupsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.groups.empty()) return answer(DescribeGroupsResponse{});
    request_.groups = each_once(std::move(request_.groups));
    broker::DescribeGroups describe;
    for (std::string_view group : request_.groups) describe.groups.emplace_back(group);
    call(out, std::move(describe));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    DescribeGroupsResponse response;
    Code whole;
    broker::DescribedGroups* described = reply_as<broker::DescribedGroups>(replies[0], whole);
    for (size_t i = 0; i < request_.groups.size(); ++i) {
      auto& row = response.groups.emplace_back();
      row.group_id = request_.groups[i];
      const broker::DescribedGroup* group = described && i < described->groups.size() ? &described->groups[i] : nullptr;
      Code code = group ? group->code : described ? Code::internal : whole;
      const bool is_dead = code == Code::group_not_found || (group && code == Code::ok && group->state == "Dead");
      if (is_dead) {
        row.group_state = "Dead";
        if (version() >= 6) {
          row.error_code = wire(KafkaError::group_id_not_found);
          row.error_message = "there is no classic group of this name";
        }
        continue;
      }
      row.error_code = wire_group_error(code);
      if (code != Code::ok) continue;
      row.group_state = group->state;
      row.protocol_type = group->protocol_type;
      row.protocol_data = group->protocol;
      for (const auto& member : group->members) {
        row.members.push_back(
            {member.id, view_of(member.instance_id), member.client_id, member.client_host, member.metadata, member.assignment});
      }
    }
    answer(response);
  }
};

class ListGroupsExchange final : public ExchangeOf<ListGroupsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override { call(out, broker::ListGroups{}); }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    ListGroupsResponse response;
    Code code;
    broker::ListedGroups* listed = reply_as<broker::ListedGroups>(replies[0], code);
    response.error_code = wire_group_error(code);
    for (size_t i = 0; listed && i < listed->groups.size(); ++i) {
      const auto& group = listed->groups[i];
      if (!request_.states_filter.empty() && !is_in(group.state, request_.states_filter)) continue;
      if (!request_.types_filter.empty() && !is_in(group.type, request_.types_filter)) continue;
      response.groups.push_back({group.group, group.protocol_type, group.state, group.type});
    }
    answer(response);
  }
};

class DeleteGroupsExchange final : public ExchangeOf<DeleteGroupsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.groups_names.empty()) return answer(DeleteGroupsResponse{});
    broker::DeleteGroups remove;
    for (std::string_view group : request_.groups_names) remove.groups.emplace_back(group);
    call(out, std::move(remove));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    DeleteGroupsResponse response;
    Code code;
    broker::DeletedGroups* deleted = reply_as<broker::DeletedGroups>(replies[0], code);
    for (size_t i = 0; i < request_.groups_names.size(); ++i) {
      if (deleted) code = i < deleted->groups.size() ? deleted->groups[i] : Code::internal;
      response.results.push_back({request_.groups_names[i], wire_group_error(code)});
    }
    answer(response);
  }
};

}  // namespace

Made make_describe_groups(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeGroupsExchange>(link, std::move(facts));
}
Made make_list_groups(Link& link, RequestFacts facts) { return std::make_unique<ListGroupsExchange>(link, std::move(facts)); }
Made make_delete_groups(Link& link, RequestFacts facts) { return std::make_unique<DeleteGroupsExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
