// Shared: shared subscriptions of connected clients (MQTT5 4.8.2): each message of a group's filter goes to one member of the
// node. Lives on its core.
//
// Every core knows every group and its members (told with the interest, before a SUBACK), so the home core of a message draws
// the member, by the strategy. What is for members of other cores goes there in one envelope a batch. A core that finds the
// member gone, or full, draws another one.
//
// A message that is sent at QoS 1 or 2 has a lease: the connection settles it when its client has acknowledged it. Leases of QoS
// 1 that a connection leaves behind go to other members, in their order; those of QoS 2 end with it (MQTT-4.8.2-5). Nothing here
// outlives the node: a group without members gets nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/broker.h"
#include "broker/filter_trie.h"
#include "broker/options.h"
#include "runtime/core.h"

namespace robustmq::broker {

class TopicWatch;

class Shared final : private runtime::Deferred {
 public:
  Shared(runtime::Core& core, const BrokerOptions& options, BrokerMetrics& metrics);
  Shared(const Shared&) = delete;
  ~Shared();
  // Those of all cores, by core; once, before the first subscription.
  void set_peers(std::vector<Shared*> peers) { peers_ = std::move(peers); }
  // Told of each copy that is handed on.
  void set_watch(TopicWatch* watch) { watch_ = watch; }

  // ---- Subscriptions of this core's connections ----
  // Adds or replaces; true when it is new. `done` when every core knows, inline where it is none.
  bool add(Context& context, const FollowOne& wanted, Callback<void()> done);
  // False: there was none.
  bool remove(Context& context, std::string_view filter, std::string_view share);
  // The connection ends: its subscriptions too, and others get what it had not acknowledged.
  void close(Context& context);
  size_t count_of(const Context& context) const;
  bool has(const Context& context, std::string_view filter, std::string_view share) const;
  // visit(filter, share, qos_max) for each subscription of a connection.
  void each_of(const Context& context, Callback<void(const std::string&, const std::string&, uint8_t)> visit) const;
  // A delivery of this connection is over. not_found: no such lease.
  Code settle(const Context& context, const Settle::One& one);

  // ---- Messages, on their home core ----
  struct Group;
  using Groups = std::vector<Group*>;
  // Who shares `topic`; nullptr when nobody. Remembered; valid for one generation().
  std::shared_ptr<const Groups> groups_of(std::string_view topic);
  bool overlaps(std::string_view filter) const { return trie_.overlaps(filter); }
  bool empty() const { return trie_.empty(); }
  uint64_t generation() const { return generation_; }
  // Connections of which a load is known (strategy least_inflight).
  size_t load_count() const { return loads_.size(); }
  // Gives a record to one member of each group; `origin` is the publisher's connection. What is for other cores leaves with
  // flush().
  void give(std::string_view topic, const RecordView& record, const Bytes& owner, uint64_t origin);
  void flush();

  // ---- By the peers ----
  struct Name {
    std::string share;
    std::string filter;
    auto operator<=>(const Name&) const = default;
  };
  void learn(const Name& name, uint64_t connection, CoreIndex core, bool is_member);
  void learn_load(const std::vector<std::pair<uint64_t, uint32_t>>& loads);

 private:
  static constexpr size_t kRememberedMax = 65'536;
  static constexpr size_t kRememberedBytesMax = 8 << 20;  // of topics' names
  static constexpr size_t kTriesMax = 16;                 // members that one message is offered to

  struct Member {
    uint64_t connection = 0;
    CoreIndex core = 0;
  };
  // A subscription of this core.
  struct Local {
    Context* context = nullptr;
    uint32_t id = 0;
    uint8_t qos_max = 0;
    bool retain_as_published = false;
  };
  // A message on its way to a member.
  struct Parcel {
    std::shared_ptr<const Name> name;
    uint64_t member = 0;
    std::string topic;
    Bytes owner;
    RecordView record;  // views into `owner`
    uint64_t origin = 0;
    uint8_t qos = 0;                // the record's
    std::vector<uint64_t> refused;  // members that could not take it
  };
  struct Held {
    uint64_t order = 0;
    uint8_t qos = 0;  // as sent
    Parcel parcel;
  };
  // What this core knows of one of its connections.
  struct Holder {
    std::vector<Name> groups;
    std::unordered_map<uint16_t, Held> held;
    uint16_t next_lease = kSharedLeaseMin;
  };

  Group* find(const Name& name);
  const Member* draw(Group& group, const Parcel& parcel);
  size_t first_draw(const Group& group, SharedStrategy strategy, const Parcel& parcel);
  size_t draw_of_core(const Group& group) const;
  size_t least_loaded(const Group& group, const Parcel& parcel) const;
  // Draws until somebody has it or it is on its way.
  void place(Parcel parcel);
  bool deliver(Group& group, Parcel& parcel);
  uint16_t take_lease(Holder& holder);
  void receive(std::vector<Parcel> parcels);
  void tell(const Name& name, uint64_t connection, bool is_member, Callback<void()> done);
  void load_changed(uint64_t connection, uint32_t load);
  void run_deferred() override;  // tells the other cores the loads

  runtime::Core& core_;
  const BrokerOptions& options_;
  BrokerMetrics& metrics_;
  std::vector<Shared*> peers_;
  TopicWatch* watch_ = nullptr;
  std::map<Name, std::unique_ptr<Group>> groups_;
  FilterTrie<Group*> trie_;
  std::unordered_map<uint64_t, Holder> holders_;      // by connection
  std::unordered_map<uint64_t, uint32_t> loads_;      // strategy least_inflight: unacknowledged messages, of all cores
  std::unordered_map<uint64_t, uint32_t> new_loads_;  // not told yet
  std::unordered_map<std::string, std::shared_ptr<const Groups>, TextHash, std::equal_to<>> remembered_;
  size_t remembered_bytes_ = 0;
  uint64_t remembered_generation_ = 1;
  uint64_t generation_ = 1;
  uint64_t orders_ = 0;
  std::vector<std::vector<Parcel>> leaving_;  // by core
};

}  // namespace robustmq::broker
