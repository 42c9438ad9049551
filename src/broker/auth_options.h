// Who may come in, and what logins count. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/describe.h"

namespace robustmq::broker {

struct AuthOptions {
  std::string user_file;
  int64_t check_ms = 60'000;
  bool allow_anonymous = false;
  bool open_listeners = false;
  uint32_t checks_waiting_max = 256;
  uint32_t checks_waiting_per_host_max = 64;

  template <class V>
  static void describe(V& v) {
    using A = AuthOptions;
    v.field("user_file", &A::user_file,
            {.doc = "File of users, as `robust-ctl user` writes it. With one, MQTT clients have to log in, by user name and "
                    "password or by SCRAM-SHA-256; empty: there is no login, and whoever reaches a listener is let in."});
    v.field(
        "check_ms", &A::check_ms,
        {.doc = "Time between looks at the user file: when it changed it is read anew, and clients whose user is gone, or has "
                "another password, are disconnected. 0: only at SIGHUP.",
         .unit = "ms",
         .min = 0,
         .max = 86'400'000});
    v.field("allow_anonymous", &A::allow_anonymous,
            {.doc = "Whether MQTT clients that give neither user name nor password are let in although there is a user file."});
    v.field("open_listeners", &A::open_listeners,
            {.doc = "Whether listeners at other addresses than loopback open although nobody who comes there has to log in: "
                    "without a user file, and in this version those of Kafka always. Where a listener demands client "
                    "certificates, it does not need this."});
    v.field("checks_waiting_max", &A::checks_waiting_max,
            {.doc = "Passwords that may wait to be checked, on each core; clients beyond them are refused as the server is busy.",
             .min = 1,
             .max = 65'536});
    v.field("checks_waiting_per_host_max", &A::checks_waiting_per_host_max,
            {.doc = "Those of them that may come from one address, so that nobody's guesses keep everybody else waiting.",
             .min = 1,
             .max = 65'536});
  }
};

// Counted per core; users and files on core 0.
struct AuthMetrics {
  int64_t users = 0;
  uint64_t user_file_reads_total = 0;
  uint64_t user_file_failures_total = 0;
  uint64_t logins_password_total = 0;
  uint64_t logins_scram_total = 0;
  uint64_t logins_anonymous_total = 0;
  uint64_t reauthentications_total = 0;
  uint64_t refused_wrong_total = 0;
  uint64_t refused_missing_total = 0;
  uint64_t refused_mechanism_total = 0;
  uint64_t refused_busy_total = 0;
  uint64_t refused_not_own_total = 0;
  uint64_t revoked_connections_total = 0;
  int64_t checks_waiting = 0;
  uint64_t checks_total = 0;
  uint64_t checks_remembered_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = AuthMetrics;
    v.field("users", &M::users, {.doc = "Users of the user file."});
    v.field("user_file_reads_total", &M::user_file_reads_total, {.doc = "Times the user file was taken up, at the start too."});
    v.field("user_file_failures_total", &M::user_file_failures_total,
            {.doc = "Times it could not be read or was wrong; the former users stayed."});
    v.field("logins_password_total", &M::logins_password_total, {.doc = "Logins by user name and password."});
    v.field("logins_scram_total", &M::logins_scram_total, {.doc = "Logins by SCRAM-SHA-256."});
    v.field("logins_anonymous_total", &M::logins_anonymous_total,
            {.doc = "Clients let in without a login although there is a user file."});
    v.field("reauthentications_total", &M::reauthentications_total, {.doc = "Times a connected client proved again who it is."});
    v.field("refused_wrong_total", &M::refused_wrong_total, {.doc = "Logins refused: the user or the password is wrong."});
    v.field("refused_missing_total", &M::refused_missing_total, {.doc = "Clients refused that did not log in."});
    v.field("refused_mechanism_total", &M::refused_mechanism_total,
            {.doc = "Logins refused because the mechanism is not known, or there is no user file."});
    v.field("refused_busy_total", &M::refused_busy_total,
            {.doc = "Logins refused because too many passwords waited to be checked, in all or from one address."});
    v.field("refused_not_own_total", &M::refused_not_own_total,
            {.doc = "Clients refused because their id is another user's, who is connected or has a stored session."});
    v.field("revoked_connections_total", &M::revoked_connections_total,
            {.doc = "Connections ended because their user is gone from the file, or has another password."});
    v.field("checks_waiting", &M::checks_waiting, {.doc = "Passwords that wait to be checked."});
    v.field("checks_total", &M::checks_total, {.doc = "Passwords checked the long way (PBKDF2)."});
    v.field("checks_remembered_total", &M::checks_remembered_total,
            {.doc = "Passwords found right because the same was right before."});
  }
};

}  // namespace robustmq::broker
