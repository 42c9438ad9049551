#include "tools/ctl/commands.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <iterator>
#include <nlohmann/json.hpp>

#include "auth/credential.h"

namespace robustmq::ctl {

namespace {

using Json = nlohmann::ordered_json;

// Rows in columns as wide as their widest cell.
std::string columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      if (i + 1 == row.size())
        out += row[i];
      else
        fmt::format_to(std::back_inserter(out), "{:<{}}  ", row[i], widths[i]);
    }
    out += '\n';
  }
  return out;
}

std::string text_at(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key)) return "";
  const Json& value = json[key];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string show_topics(const Json& json) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "KIND", "MODE", "PARTITIONS"}};
  if (json.is_object() && json.contains("topics")) {
    for (const Json& topic : json["topics"]) {
      rows.push_back({text_at(topic, "name"), text_at(topic, "kind"), text_at(topic, "mode"), text_at(topic, "partitions")});
    }
  }
  return rows.size() == 1 ? "There are no streams. Make one: robust-ctl topics create NAME\n" : columns(rows);
}

std::string show_topic(const Json& json) {
  std::vector<std::vector<std::string>> rows;
  for (const char* key : {"name", "kind", "mode", "id", "mqtt_name", "partitions"}) {
    const std::string text = text_at(json, key);
    if (!text.empty()) rows.push_back({key, text});
  }
  std::string out = columns(rows);
  if (json.contains("settings") && json["settings"].is_object()) {
    rows.clear();
    for (const auto& [name, value] : json["settings"].items())
      rows.push_back({"  " + name, text_at(json["settings"], name.c_str())});
    out += "settings\n" + columns(rows);
  }
  if (json.contains("partition_offsets") && json["partition_offsets"].is_array()) {
    rows = {{"PARTITION", "FIRST OFFSET", "NEXT OFFSET"}};
    for (const Json& row : json["partition_offsets"]) {
      if (row.contains("error"))
        rows.push_back({text_at(row, "partition"), text_at(row, "error")});
      else
        rows.push_back({text_at(row, "partition"), text_at(row, "first_offset"), text_at(row, "next_offset")});
    }
    out += columns(rows);
  }
  return out;
}

// A list of objects, a column a key.
std::string show_rows(const Json& json, const std::string& list, const std::vector<std::string>& keys) {
  std::vector<std::vector<std::string>> rows(1);
  for (std::string key : keys) {
    for (char& c : key) c = c == '_' ? ' ' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    rows[0].push_back(std::move(key));
  }
  if (json.is_object() && json.contains(list)) {
    for (const Json& each : json[list]) {
      std::vector<std::string>& row = rows.emplace_back();
      for (const std::string& key : keys) row.push_back(text_at(each, key.c_str()));
    }
  }
  if (rows.size() == 1) return "There are none.\n";
  const std::string next = text_at(json, "next");
  return columns(rows) + (next.empty() ? "" : "there is more: --after '" + next + "'\n");
}

// A page of messages, and how to get the next one.
std::string show_messages(const Json& json, bool is_delayed) {
  std::vector<std::vector<std::string>> rows = {is_delayed ? std::vector<std::string>{"ID", "DUE", "TOPIC", "PAYLOAD"}
                                                           : std::vector<std::string>{"TOPIC", "QOS", "PAYLOAD"}};
  if (json.is_object() && json.contains("messages")) {
    for (const Json& message : json["messages"]) {
      const std::string payload =
          message.contains("payload") ? text_at(message, "payload") : "base64 " + text_at(message, "payload_base64");
      if (is_delayed)
        rows.push_back({text_at(message, "id"), text_at(message, "due_ms"), text_at(message, "topic"), payload});
      else
        rows.push_back({text_at(message, "topic"), text_at(message, "qos"), payload});
    }
  }
  if (rows.size() == 1) return is_delayed ? "No delayed message waits.\n" : "There are no retained messages.\n";
  const std::string next = text_at(json, "next");
  return columns(rows) + (next.empty() ? "" : "there is more: --after '" + next + "'\n");
}

}  // namespace

std::optional<Command> parse_commands(int argc, char** argv, int& exit_code) {
  Command command;
  command.server = "127.0.0.1:58080";
  CLI::App app{"Looks after a RobustMQ node through its admin API.", "robust-ctl"};
  app.require_subcommand(1);
  app.add_option("-s,--server", command.server, "Address of the node's admin listener")->capture_default_str();
  std::string key;
  app.add_option("-k,--key", key, "The API key (admin.api_key), for a node on another host")->envname("ROBUSTMQ_API_KEY");
  app.add_flag("--json", command.as_json, "Print the API's JSON as it is");
  app.footer(
      "Examples:\n"
      "  robust-ctl topics create sensors --partitions 4 --set mode=persistent\n"
      "  robust-ctl topics describe sensors\n"
      "  robust-ctl topics set sensors mode=hybrid flush_ms=20\n"
      "  robust-ctl -s 10.0.0.7:58080 health");
  app.fallthrough();

  CLI::App* topics = app.add_subcommand("topics", "List, describe, create, change and delete topics");
  topics->require_subcommand(1);
  std::string name;
  int64_t partitions = 0;
  std::vector<std::string> settings;
  CLI::App* list = topics->add_subcommand("list", "All streams");
  CLI::App* describe = topics->add_subcommand("describe", "A topic's settings and what each partition holds");
  describe->add_option("name", name, "The Kafka name: sensors.temp")->required();
  CLI::App* create = topics->add_subcommand("create", "Make a stream");
  create->add_option("name", name, "Its name")->required();
  create->add_option("-p,--partitions", partitions, "How many partitions; left out: the node's default")
      ->check(CLI::Range(1, 1'000'000));
  create->add_option("--set", settings, "A setting: mode=persistent, retention_ms=86400000; may be given several times");
  CLI::App* set = topics->add_subcommand("set", "Change settings of a stream while it runs, its mode too");
  set->add_option("name", name, "Its name")->required();
  set->add_option("settings", settings, "mode=hybrid, retention_ms=86400000; without a value, retention_ms=, the default")
      ->required();
  CLI::App* remove = topics->add_subcommand("delete", "Delete a stream and its records");
  remove->add_option("name", name, "Its name")->required();
  CLI::App* retained = app.add_subcommand("retained", "List and clear retained messages");
  retained->require_subcommand(1);
  std::string filter;
  std::string after;
  int64_t limit = 100;
  CLI::App* retained_list = retained->add_subcommand("list", "Retained messages, by topic");
  retained_list->add_option("filter", filter, "An MQTT topic filter; left out: all");
  CLI::App* retained_clear = retained->add_subcommand("clear", "Clear the retained messages that a filter matches");
  retained_clear->add_option("filter", filter, "An MQTT topic filter: a/b, a/#")->required();
  CLI::App* delayed = app.add_subcommand("delayed", "List and cancel delayed messages");
  delayed->require_subcommand(1);
  CLI::App* delayed_list = delayed->add_subcommand("list", "Delayed messages, by the time at which they are due");
  CLI::App* delayed_cancel = delayed->add_subcommand("cancel", "Cancel a delayed message");
  delayed_cancel->add_option("id", name, "Its id, as list shows it")->required();
  CLI::App* clients = app.add_subcommand("clients", "List, describe and end clients");
  clients->require_subcommand(1);
  bool with_session = false;
  CLI::App* clients_list = clients->add_subcommand("list", "Connected clients and stored sessions, by id");
  for (CLI::App* page : {retained_list, delayed_list, clients_list}) {
    page->add_option("--limit", limit, "Most rows of a page")->check(CLI::Range(1, 1'000))->capture_default_str();
    page->add_option("--after", after, "Where the page before ended");
  }
  CLI::App* clients_show = clients->add_subcommand("describe", "A client and its subscriptions");
  CLI::App* clients_end = clients->add_subcommand("end", "End a client's connection");
  for (CLI::App* one : {clients_show, clients_end}) one->add_option("id", name, "Its client id")->required();
  clients_end->add_flag("--session", with_session, "Drop its stored session too");
  CLI::App* bans = app.add_subcommand("bans", "List, add and remove bans");
  bans->require_subcommand(1);
  std::string by;
  std::string reason;
  int64_t for_s = 0;
  CLI::App* bans_list = bans->add_subcommand("list", "Who may not connect");
  CLI::App* bans_add = bans->add_subcommand("add", "Ban a client; its connections are ended");
  CLI::App* bans_remove = bans->add_subcommand("remove", "Take a ban back");
  for (CLI::App* one : {bans_add, bans_remove}) {
    one->add_option("by", by, "client_id or host")->required()->check(CLI::IsMember({"client_id", "host"}));
    one->add_option("who", name, "The client id, or the host's address")->required();
  }
  bans_add->add_option("--reason", reason, "Why");
  bans_add->add_option("--for", for_s, "For how many seconds; left out: for ever")->check(CLI::Range(1LL, 10'000'000'000LL));
  CLI::App* slow = app.add_subcommand("slow", "Clients for which messages waited long");
  slow->require_subcommand(1);
  CLI::App* slow_list = slow->add_subcommand("list", "The slowest of late");
  CLI::App* slow_clear = slow->add_subcommand("clear", "Begin the list anew");
  CLI::App* publish = app.add_subcommand("publish", "Publish a message");
  std::string payload;
  int64_t qos = 0;
  bool is_retained = false;
  publish->add_option("topic", name, "An MQTT topic")->required();
  publish->add_option("payload", payload, "Its payload, a text")->required();
  publish->add_option("-q,--qos", qos, "Its QoS")->check(CLI::Range(0, 2))->capture_default_str();
  publish->add_flag("-r,--retain", is_retained, "Retain it");
  CLI::App* user = app.add_subcommand("user", "List, add and remove users of a user file on this host (auth.user_file)");
  user->require_subcommand(1);
  std::string user_file;
  uint32_t iterations = auth::kIterationsDefault;
  CLI::App* user_list = user->add_subcommand("list", "Who is in the file");
  CLI::App* user_add = user->add_subcommand(
      "add", "Add a user, or change its password, which is read from standard input; the file is made when it is missing");
  CLI::App* user_remove = user->add_subcommand("remove", "Take a user out; its connections are ended");
  for (CLI::App* one : {user_list, user_add, user_remove})
    one->add_option("-f,--file", user_file, "The user file")->required()->envname("ROBUSTMQ_AUTH_USER_FILE");
  for (CLI::App* one : {user_add, user_remove}) one->add_option("name", name, "The user's name")->required();
  user_add
      ->add_option("-i,--iterations", iterations,
                   "How dear a guess is to a thief of the file, and a login to a client; less for long random passwords")
      ->check(CLI::Range(auth::kIterationsMin, auth::kIterationsMax))
      ->capture_default_str();
  CLI::App* queues = app.add_subcommand("queues", "List, describe, make, change and delete queues of MQTT");
  CLI::App* streams = app.add_subcommand("streams", "The same of streams over an MQTT filter");
  std::string dispatch;
  std::string last_value;
  struct MadeNoun {
    CLI::App *list, *describe, *create, *set, *remove;
  };
  const auto add_noun = [&](CLI::App* noun, const char* what) {
    noun->require_subcommand(1);
    MadeNoun made{noun->add_subcommand("list", "All of them"), noun->add_subcommand("describe", "One of them"),
                  noun->add_subcommand("create", "Make one"), noun->add_subcommand("set", "Change one"),
                  noun->add_subcommand("delete", "Delete one")};
    for (CLI::App* one : {made.describe, made.create, made.set, made.remove}) one->add_option("name", name, what)->required();
    made.create->add_option("-f,--filter", filter, "The MQTT topics whose messages it gets: plant/+/temp");
    made.create->add_option("-p,--partitions", partitions, "How many partitions its stream has")->check(CLI::Range(1, 1'000'000));
    made.create->add_option("--set", settings, "A setting of its stream: retention_ms=86400000; may be given several times");
    return made;
  };
  const MadeNoun of_queues = add_noun(queues, "Its name, or NAME/FILTER");
  const MadeNoun of_streams = add_noun(streams, "Its name");
  for (CLI::App* one : {of_queues.create, of_queues.set})
    one->add_option("-d,--dispatch", dispatch, "Who gets the next message")
        ->check(CLI::IsMember({"round_robin", "random", "least_inflight"}));
  for (CLI::App* one : {of_queues.create, of_queues.set})
    one->add_option("-l,--last-value", last_value, "Whether what a newer message of its topic replaced goes to nobody")
        ->check(CLI::IsMember({"true", "false"}));
  of_streams.set->add_option("--set", settings, "A setting: retention_ms=86400000; may be given several times")->required();
  CLI::App* health = app.add_subcommand("health", "Whether the node serves");
  CLI::App* metrics = app.add_subcommand("metrics", "The metrics, as Prometheus reads them");
  CLI::App* options = app.add_subcommand("options", "The options the node runs with");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? 0 : 2;
    return std::nullopt;
  }
  exit_code = 0;
  using What = UserCommand::What;
  for (const auto& [parsed, what] : {std::pair(user_list, What::list), {user_add, What::add}, {user_remove, What::remove}}) {
    if (!parsed->parsed()) continue;
    command.user = UserCommand{what, user_file, name, iterations};
    return command;
  }
  if (!key.empty()) command.request.headers.push_back({"authorization", "Bearer " + key});
  // The settings given, into a body; false: one is badly formed.
  const auto put_settings = [&](Json& body) {
    for (const std::string& setting : settings) {
      const size_t equals = setting.find('=');
      if (equals == std::string::npos || equals == 0) {
        fmt::print(stderr, "--set {}: a setting is given as name=value\n", setting);
        exit_code = 2;
        return false;
      }
      body["settings"][setting.substr(0, equals)] = setting.substr(equals + 1);
    }
    return true;
  };
  for (const auto& [noun, of] : {std::pair("queues", of_queues), {"streams", of_streams}}) {
    const std::string all = std::string("/api/v1/") + noun;
    const std::string one = all + "/" + net::percent_encode(name);
    if (of.list->parsed()) {
      command.request.path = all;
      command.show = Show::rows;
      command.list = noun;
      command.columns = of.list == of_queues.list ? std::vector<std::string>{"name", "dispatch", "last_value"}
                                                  : std::vector<std::string>{"name", "mqtt_filter", "from", "mode", "partitions"};
    } else if (of.describe->parsed()) {
      command.request.path = one;
    } else if (of.create->parsed() || of.set->parsed()) {
      Json body = Json::object();
      if (of.create->parsed()) body["name"] = name;
      if (!filter.empty()) body["mqtt_filter"] = filter;
      if (!dispatch.empty()) body["dispatch"] = dispatch;
      if (!last_value.empty()) body["last_value"] = last_value == "true";
      if (partitions > 0) body["partitions"] = partitions;
      if (!put_settings(body)) return std::nullopt;
      command.request.method = of.create->parsed() ? "POST" : "PUT";
      command.request.path = of.create->parsed() ? all : one;
      command.request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
      command.done_text = fmt::format("changed {}\n", name);
    } else if (of.remove->parsed()) {
      command.request.method = "DELETE";
      command.request.path = one;
      command.done_text = fmt::format("deleted {}\n", name);
    }
  }
  const std::string topic_target = "/api/v1/topics/" + net::percent_encode(name);
  if (list->parsed()) {
    command.request.path = "/api/v1/topics";
    command.show = Show::topic_list;
  } else if (describe->parsed()) {
    command.request.path = topic_target;
    command.show = Show::topic;
  } else if (set->parsed()) {
    Json body = {{"settings", Json::object()}};
    for (const std::string& setting : settings) {
      const size_t equals = setting.find('=');
      if (equals == std::string::npos || equals == 0) {
        fmt::print(stderr, "{}: a setting is given as name=value\n", setting);
        exit_code = 2;
        return std::nullopt;
      }
      const std::string value = setting.substr(equals + 1);
      body["settings"][setting.substr(0, equals)] = value.empty() ? Json() : Json(value);
    }
    command.request.method = "PATCH";
    command.request.path = topic_target;
    command.request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
    command.show = Show::topic;
  } else if (create->parsed()) {
    Json body = {{"name", name}};
    if (partitions > 0) body["partitions"] = partitions;
    if (!put_settings(body)) return std::nullopt;
    command.request.method = "POST";
    command.request.path = "/api/v1/topics";
    command.request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
    command.show = Show::topic;
  } else if (remove->parsed()) {
    command.request.method = "DELETE";
    command.request.path = topic_target;
    command.done_text = fmt::format("deleted {}\n", name);
  } else if (retained_list->parsed() || delayed_list->parsed()) {
    const bool is_delayed = delayed_list->parsed();
    command.request.path = is_delayed ? "/api/v1/delayed" : "/api/v1/retained";
    command.request.query = "limit=" + std::to_string(limit);
    if (!filter.empty()) command.request.query += "&filter=" + net::percent_encode(filter);
    if (!after.empty()) command.request.query += "&after=" + net::percent_encode(after);
    command.show = is_delayed ? Show::delayed_list : Show::retained_list;
  } else if (retained_clear->parsed()) {
    command.request.method = "DELETE";
    command.request.path = "/api/v1/retained";
    command.request.query = "filter=" + net::percent_encode(filter);
    command.show = Show::cleared;
  } else if (delayed_cancel->parsed()) {
    command.request.method = "DELETE";
    command.request.path = "/api/v1/delayed/" + net::percent_encode(name);
    command.done_text = fmt::format("cancelled {}\n", name);
  } else if (clients_list->parsed()) {
    command.request.path = "/api/v1/clients";
    command.request.query = "limit=" + std::to_string(limit);
    if (!after.empty()) command.request.query += "&after=" + net::percent_encode(after);
    command.show = Show::rows;
    command.list = "clients";
    command.columns = {"id", "connected", "host", "stored", "subscriptions"};
  } else if (clients_show->parsed()) {
    command.request.path = "/api/v1/clients/" + net::percent_encode(name);
  } else if (clients_end->parsed()) {
    command.request.method = "DELETE";
    command.request.path = "/api/v1/clients/" + net::percent_encode(name);
    if (with_session) command.request.query = "session=true";
    command.done_text = fmt::format("ended {}\n", name);
  } else if (bans_list->parsed()) {
    command.request.path = "/api/v1/bans";
    command.show = Show::rows;
    command.list = "bans";
    command.columns = {"by", "who", "until_ms", "author", "reason"};
  } else if (bans_add->parsed()) {
    Json body = {{"by", by}, {"who", name}, {"author", "robust-ctl"}};
    if (!reason.empty()) body["reason"] = reason;
    if (for_s > 0) body["for_s"] = for_s;
    command.request.method = "POST";
    command.request.path = "/api/v1/bans";
    command.done_text = fmt::format("banned {}\n", name);
    command.request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  } else if (bans_remove->parsed()) {
    command.request.method = "DELETE";
    command.request.path = "/api/v1/bans/" + by + "/" + net::percent_encode(name);
    command.done_text = fmt::format("{} is not banned any more\n", name);
  } else if (slow_list->parsed()) {
    command.request.path = "/api/v1/slow_subscriptions";
    command.show = Show::rows;
    command.list = "slow_subscriptions";
    command.columns = {"client_id", "topic", "waited_ms", "at_ms"};
  } else if (slow_clear->parsed()) {
    command.request.method = "DELETE";
    command.request.path = "/api/v1/slow_subscriptions";
    command.done_text = "cleared\n";
  } else if (publish->parsed()) {
    const Json body = {{"topic", name}, {"payload", payload}, {"qos", qos}, {"retain", is_retained}};
    command.request.method = "POST";
    command.request.path = "/api/v5/publish";
    command.request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  } else if (health->parsed()) {
    command.request.path = "/health/ready";
  } else if (metrics->parsed()) {
    command.request.path = "/metrics";
  } else if (options->parsed()) {
    command.request.path = "/api/v1/options";
  }
  return command;
}

std::string show(const Command& command, const std::string& body) {
  if (body.empty()) return command.done_text;
  if (command.as_json || command.show == Show::text) return body;
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) return body;
  switch (command.show) {
    case Show::topic_list:
      return show_topics(json);
    case Show::retained_list:
      return show_messages(json, false);
    case Show::delayed_list:
      return show_messages(json, true);
    case Show::cleared:
      return fmt::format("cleared {}\n", text_at(json, "cleared"));
    case Show::rows:
      return show_rows(json, command.list, command.columns);
    case Show::topic:
    case Show::text:
      break;
  }
  return show_topic(json);
}

std::string show_error(int status, const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  const std::string code = json.is_discarded() ? "" : text_at(json, "code");
  if (!code.empty()) return fmt::format("{} ({})\n", text_at(json, json.contains("detail") ? "detail" : "message"), code);
  if (!json.is_discarded() && !text_at(json, "reason_code").empty())
    return fmt::format("{} (reason code {})\n", text_at(json, "message"), text_at(json, "reason_code"));
  const std::string state = json.is_discarded() ? "" : text_at(json, "status");
  if (!state.empty()) return state + "\n";
  return fmt::format("HTTP status {}: {}\n", status, body);
}

}  // namespace robustmq::ctl
