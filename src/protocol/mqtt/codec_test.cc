#include "protocol/mqtt/codec.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "protocol/mqtt/packet_ids.h"
#include "protocol/mqtt/packet_text.h"

namespace robustmq::mqtt {
namespace {

using packet_text::encode_line;

std::string bytes_of(std::string_view line, Version version) {
  Buffer bytes;
  EXPECT_TRUE(packet_text::bytes_of_hex(line, bytes) || encode_line(line, version, bytes)) << line;
  return std::string(as_text(bytes.span()));
}

// What decode() says of one packet: its text, or the reason code of the fault.
std::string judged(std::string_view bytes, Version version, Side from) {
  Frame frame;
  switch (frame_at(as_bytes(bytes), frame)) {
    case FrameState::bad:
      return "bad frame";
    case FrameState::needs_more:
      return "needs more";
    case FrameState::whole:
      break;
  }
  if (frame.size != bytes.size()) return "more than one packet";
  Packet packet;
  const Fault fault = decode(frame, version, from, packet);
  return fault ? packet_text::hex2(static_cast<unsigned>(fault.reason)) : packet_text::of(packet, version);
}

struct Case {
  const char* line;  // hex or a packet in words
  Version version;
  Side from;
  const char* judgement;  // nullptr: the same line comes back
};
constexpr Version v31 = Version::v3_1, v311 = Version::v3_1_1, v5 = Version::v5;
constexpr Side kClient = Side::client, kServer = Side::server;

void check(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    EXPECT_EQ(judged(bytes_of(c.line, c.version), c.version, c.from), c.judgement ? c.judgement : c.line) << c.line;
  }
}

TEST(Codec, CarriesEveryPacketInEveryVersion) {
  check({
      {"CONNECT v5 id=a clean=0 ka=65535 will=t:p will_qos=2 will_retain will.will_delay=5 will.user:a=b will.content_type=c "
       "will.correlation_data=%00 "
       "user=u pass=%00%ff session_expiry=1 receive_maximum=1 maximum_packet_size=1 topic_alias_maximum=0 "
       "request_response_information=1 "
       "request_problem_information=0 user:x=y user:x=y authentication_method=m authentication_data=d",
       v5, kClient, nullptr},
      {"CONNECT v3.1.1 id= ka=1 will=t: will_qos=1 user=u pass=p", v311, kClient, nullptr},
      {"CONNECT v3.1 id=x user=u", v31, kClient, nullptr},
      {"CONNACK code=0x00 present", v311, kServer, nullptr},
      {"CONNACK code=0x05", v31, kServer, nullptr},
      {"CONNACK code=0x9f server_reference=s reason_string=r response_information=i assigned_client_id=c server_keep_alive=3 "
       "maximum_qos=1 "
       "retain_available=0 wildcard_subscription_available=1 subscription_id_available=0 shared_subscription_available=1 "
       "user:a=b",
       v5, kServer, nullptr},
      {"PUBLISH topic=a qos=2 id=65535 dup retain payload=%00", v311, kClient, nullptr},
      {"PUBLISH topic=a", v31, kClient, nullptr},
      {"PUBLISH topic= qos=1 id=1 payload=x topic_alias=1 payload_format=1 message_expiry=0 response_topic=r correlation_data= "
       "user:=",
       v5, kClient, nullptr},
      {"PUBLISH topic=a subscription_id=1 subscription_id=268435455", v5, kServer, nullptr},
      {"PUBACK id=1", v5, kClient, nullptr},
      {"PUBACK id=1 reason=0x99 reason_string=x user:a=b", v5, kClient, nullptr},
      {"PUBREC id=2 reason=0x10", v5, kServer, nullptr},
      {"PUBREL id=3 reason=0x92", v5, kClient, nullptr},
      {"PUBCOMP id=4", v311, kServer, nullptr},
      {"SUBSCRIBE id=1 filter=a/#:2 filter=b:0:nl:rap:rh2 subscription_id=1 user:a=b", v5, kClient, nullptr},
      {"SUBSCRIBE id=1 filter=a:1", v31, kClient, nullptr},
      {"SUBACK id=1 codes=00,01,02,80", v311, kServer, nullptr},
      {"SUBACK id=1 codes=00,9e,a2 reason_string=x", v5, kServer, nullptr},
      {"UNSUBSCRIBE id=9 filter=a filter=b user:a=b", v5, kClient, nullptr},
      {"UNSUBACK id=9", v311, kServer, nullptr},
      {"UNSUBACK id=9 codes=00,11 user:a=b", v5, kServer, nullptr},
      {"PINGREQ", v5, kClient, nullptr},
      {"PINGRESP", v311, kServer, nullptr},
      {"DISCONNECT", v311, kClient, nullptr},
      {"DISCONNECT", v5, kClient, nullptr},
      {"DISCONNECT reason=0x04 session_expiry=1 reason_string=x", v5, kClient, nullptr},
      {"DISCONNECT reason=0x9c server_reference=other", v5, kServer, nullptr},
      {"AUTH", v5, kClient, nullptr},
      {"AUTH reason=0x18 authentication_method=m authentication_data=d", v5, kServer, nullptr},
  });
}

// MQTT5 1.5.5: at most four bytes, minimal.
TEST(Codec, RemainingLengthIsMinimalAndBounded) {
  Frame frame;
  const auto state = [&](std::string_view hex) {
    Buffer bytes;
    EXPECT_TRUE(packet_text::bytes_of_hex(hex, bytes));
    return frame_at(bytes.span(), frame);
  };
  EXPECT_EQ(state("c0 80 00"), FrameState::bad);
  EXPECT_EQ(state("30 ff ff ff ff"), FrameState::bad);
  EXPECT_EQ(state("30 80 80 80 80 01"), FrameState::bad);
  EXPECT_EQ(state("00"), FrameState::bad);
  EXPECT_EQ(state(""), FrameState::needs_more);
  EXPECT_EQ(state("30"), FrameState::needs_more);
  EXPECT_EQ(state("30 ff ff ff"), FrameState::needs_more);
  EXPECT_EQ(frame.size, 0u);
  EXPECT_EQ(state("30 ff ff ff 7f"), FrameState::needs_more);
  EXPECT_EQ(frame.size, 5u + kRemainingLengthMax);
  EXPECT_EQ(state("c0 00"), FrameState::whole);
  EXPECT_EQ(state("30 80 01"), FrameState::needs_more);
  EXPECT_EQ(frame.size, 3u + 128);
}

TEST(Codec, FixedHeaderFlagsAreChecked) {
  check({{"c1 00", v5, kClient, "0x81"},
         {"e1 00", v311, kClient, "0x81"},
         {"41 02 00 01", v5, kClient, "0x81"},
         {"60 02 00 01", v5, kClient, "0x81"},
         {"62 02 00 01", v5, kClient, "PUBREL id=1"},
         {"6a 02 00 01", v311, kClient, "0x81"},
         {"6a 02 00 01", v31, kClient, "PUBREL id=1"},  // 3.1 retransmits with DUP
         {"80 06 00 01 00 01 61 00", v311, kClient, "0x81"},
         {"8a 06 00 01 00 01 61 00", v31, kClient, "SUBSCRIBE id=1 filter=a:0"},
         {"a0 05 00 01 00 01 61", v311, kClient, "0x81"},
         {"11 00", v5, kClient, "0x81"},
         {"36 05 00 01 61 00 01", v311, kClient, "0x81"},
         {"38 03 00 01 61", v311, kClient, "0x81"},
         {"f0 00", v311, kClient, "0x81"}});
}

TEST(Codec, ConnectFlagsAreChecked) {
  check({{"10 0c 00 04 4d 51 54 54 04 03 00 00 00 00", v311, kClient, "0x81"},              // reserved bit
         {"10 0c 00 04 4d 51 54 54 04 0a 00 00 00 00", v311, kClient, "0x81"},              // will QoS without a will
         {"10 0c 00 04 4d 51 54 54 04 22 00 00 00 00", v311, kClient, "0x81"},              // will retain without a will
         {"10 10 00 04 4d 51 54 54 04 1e 00 00 00 00 00 00 00 00", v311, kClient, "0x81"},  // will QoS 3
         {"CONNECT v3.1.1 id=a pass=p", v311, kClient, "0x81"},
         {"CONNECT v5 id=a pass=p", v5, kClient, nullptr},
         {"10 0d 00 04 4d 51 54 54 04 02 00 00 00 00 00", v311, kClient, "0x81"},  // a byte too many
         {"10 0c 00 04 4d 51 54 54 04 02 00 00 00 05", v311, kClient, "0x81"},     // the client id is cut
         {"10 0c 00 04 4d 51 54 54 06 02 00 00 00 00", v5, kClient, "0x84"},
         {"10 0c 00 04 6d 71 74 74 04 02 00 00 00 00", v5, kClient, "0x84"},
         {"10 0e 00 06 4d 51 49 73 64 70 03 82 00 00 00 00", v31, kClient, "CONNECT v3.1 id="},  // 3.1: a flag without its field
         {"10 0e 00 06 4d 51 49 73 64 70 04 02 00 00 00 00", v31, kClient, "0x84"}});
}

TEST(Codec, PropertiesFollowTheirTable) {
  check({{"CONNECT v5 id=a receive_maximum=0", v5, kClient, "0x82"},
         {"CONNECT v5 id=a maximum_packet_size=0", v5, kClient, "0x82"},
         {"CONNECT v5 id=a request_problem_information=2", v5, kClient, "0x82"},
         {"CONNECT v5 id=a session_expiry=1 session_expiry=1", v5, kClient, "0x82"},
         {"CONNECT v5 id=a will_delay=1", v5, kClient, "0x82"},
         {"CONNECT v5 id=a will=t: will.session_expiry=1", v5, kClient, "0x82"},
         {"CONNECT v5 id=a will=t: will.payload_format=2", v5, kClient, "0x82"},
         {"CONNECT v5 id=a user:a=%00", v5, kClient, "0x81"},
         {"CONNECT v5 id=a authentication_data=x", v5, kClient, "0x82"},
         {"PUBLISH topic=a payload_format=2", v5, kClient, "0x82"},
         {"PUBLISH topic=a subscription_id=1", v5, kClient, "0x82"},
         {"PUBLISH topic=a subscription_id=0", v5, kServer, "0x82"},
         {"PUBLISH topic=a content_type=a content_type=b", v5, kClient, "0x82"},
         {"PUBLISH topic=a content_type=%ff", v5, kClient, "0x81"},
         {"PUBLISH topic=a session_expiry=1", v5, kClient, "0x82"},
         {"SUBSCRIBE id=1 filter=a:0 subscription_id=0", v5, kClient, "0x82"},
         {"SUBSCRIBE id=1 filter=a:0 subscription_id=1 subscription_id=2", v5, kClient, "0x82"},
         {"DISCONNECT server_reference=x", v5, kClient, "0x82"},
         {"DISCONNECT session_expiry=1", v5, kServer, "0x82"},
         {"CONNACK code=0x00 maximum_qos=2", v5, kServer, "0x82"},
         {"30 06 00 01 61 02 7f 00", v5, kClient, "0x81"},             // an unknown property
         {"30 06 00 01 61 03 01 00", v5, kClient, "0x81"},             // properties longer than the packet
         {"30 06 00 01 61 02 02 00", v5, kClient, "0x81"},             // a property cut by the block
         {"30 06 00 01 61 80 00 61", v5, kClient, "0x81"},             // a length that is not minimal
         {"30 08 00 01 61 04 03 00 09 61", v5, kClient, "0x81"},       // text that runs over the block
         {"30 09 00 01 61 05 0b 80 80 80 80", v5, kServer, "0x81"}});  // an endless varint
}

// MQTT5 1.5.4
TEST(Codec, TextIsStrictUtf8) {
  for (const char* bad : {"%00", "%c0%80", "%ed%a0%80", "%ed%bf%bf", "%f4%90%80%80", "%80", "%e2%82", "%f8%88%80%80%80"}) {
    const std::string text = bad;
    check({{("PUBLISH topic=" + text).c_str(), v311, kClient, "0x81"},
           {("SUBSCRIBE id=1 filter=" + text + ":0").c_str(), v311, kClient, "0x81"},
           {("UNSUBSCRIBE id=1 filter=" + text).c_str(), v311, kClient, "0x81"},
           {("CONNECT v3.1.1 id=" + text).c_str(), v311, kClient, "0x81"},
           {("CONNECT v3.1.1 id=a user=" + text).c_str(), v311, kClient, "0x81"},
           {("CONNECT v5 id=a will=" + text + ":").c_str(), v5, kClient, "0x81"},
           {("PUBLISH topic=a user:" + text + "=x").c_str(), v5, kClient, "0x81"}});
  }
  check({{"PUBLISH topic=%ef%bb%bfbom", v311, kClient, nullptr}});
}

TEST(Codec, RefusesWhatAPacketMayNotHold) {
  check({{"PUBLISH topic=a qos=1 id=0", v311, kClient, "0x82"},
         {"SUBSCRIBE id=0 filter=a:0", v311, kClient, "0x82"},
         {"UNSUBSCRIBE id=0 filter=a", v311, kClient, "0x82"},
         {"PUBACK id=0", v311, kClient, "0x82"},
         {"SUBSCRIBE id=1", v311, kClient, "0x82"},
         {"UNSUBSCRIBE id=1", v5, kClient, "0x82"},
         {"SUBSCRIBE id=1 filter=a:3", v311, kClient, "0x81"},
         {"SUBSCRIBE id=1 filter=a:0:rh3", v5, kClient, "0x82"},
         {"82 06 00 01 00 01 61 04", v311, kClient, "0x81"},   // 5.0's options in 3.1.1
         {"82 07 00 01 00 00 01 61 40", v5, kClient, "0x81"},  // reserved bits
         {"82 05 00 01 00 01 61", v311, kClient, "0x81"},      // ends after the filter
         {"82 06 00 01 00 00 01 61", v5, kClient, "0x81"},
         {"a2 04 00 01 00 01", v311, kClient, "0x81"},
         {"32 03 00 01 61", v311, kClient, "0x81"},  // ends after the topic
         {"30 03 00 01 61", v5, kClient, "0x81"},
         {"30 01 00", v311, kClient, "0x81"},
         {"40 03 00 01 00", v311, kClient, "0x81"},  // a reason code before 5.0
         {"40 03 00 01 92", v5, kClient, "0x82"},    // not a PUBACK's reason
         {"40 04 00 01 00 05", v5, kClient, "0x81"},
         {"e0 01 8d", v5, kClient, "DISCONNECT reason=0x8d"},
         {"e0 01 01", v5, kClient, "0x82"},
         {"e0 01 00", v311, kClient, "0x81"},
         {"CONNACK code=0x00", v5, kClient, "0x82"},
         {"SUBACK id=1 codes=00", v5, kClient, "0x82"},
         {"UNSUBACK id=1", v311, kClient, "0x82"},
         {"PINGRESP", v311, kClient, "0x82"},
         {"PINGREQ", v311, kServer, "0x82"},
         {"CONNECT v5 id=a", v5, kServer, "0x82"},
         {"DISCONNECT", v311, kServer, "0x82"},
         {"20 02 02 00", v311, kServer, "0x81"},
         {"20 02 00 06", v311, kServer, "0x82"},
         {"90 02 00 01", v311, kServer, "0x82"},
         {"90 03 00 01 03", v311, kServer, "0x82"}});
}

// The short forms of 5.0 mean the same as the long ones and are what is written.
TEST(Codec, ReadsLongFormsAndWritesShortOnes) {
  check({{"40 03 00 01 00", v5, kClient, "PUBACK id=1"},
         {"40 04 00 01 00 00", v5, kClient, "PUBACK id=1"},
         {"e0 02 00 00", v5, kClient, "DISCONNECT"},
         {"f0 02 00 00", v5, kClient, "AUTH"}});
  EXPECT_EQ(bytes_of("PUBACK id=1", v5).size(), 4u);
  EXPECT_EQ(bytes_of("PUBACK id=1 reason=0x10", v5).size(), 5u);
  EXPECT_EQ(bytes_of("DISCONNECT", v5).size(), 2u);
}

// A packet cut anywhere needs more; with its remaining length made to fit the cut it is refused or still whole, and never read
// past.
TEST(Codec, NeverReadsPastACut) {
  for (const char* line :
       {"CONNECT v5 id=abc ka=10 will=t:payload will.user:a=b user=u pass=p user:a=b",
        "PUBLISH topic=a/b qos=1 id=7 payload=x user:a=b", "SUBSCRIBE id=1 filter=a/#:1 filter=b:0 subscription_id=5",
        "UNSUBSCRIBE id=1 filter=a filter=b user:a=b", "PUBACK id=1 reason=0x97 reason_string=x",
        "DISCONNECT reason=0x04 reason_string=x"}) {
    const std::string whole = bytes_of(line, v5);
    Frame frame;
    for (size_t length = 0; length < whole.size(); ++length) {
      const std::string cut = whole.substr(0, length);
      EXPECT_EQ(frame_at(as_bytes(cut), frame), FrameState::needs_more);
      if (length < 2) continue;
      const std::unique_ptr<char[]> exact(new char[length]);  // so that a sanitizer sees one byte too far
      std::memcpy(exact.get(), cut.data(), length);
      exact[1] = static_cast<char>(length - 2);
      Packet packet;
      ASSERT_EQ(frame_at(as_bytes(std::string_view(exact.get(), length)), frame), FrameState::whole);
      if (!decode(frame, v5, kClient, packet)) EXPECT_NE(packet_text::of(packet, v5), line);
    }
  }
}

TEST(Codec, PublishHeadAndPacketId) {
  for (const size_t size : {0u, 100u, 127u, 128u, 16384u}) {
    const std::string payload(size, 'x');
    const Publish publish{.qos = 1, .packet_id = 0x1234, .topic = "a/b", .payload = as_bytes(payload)};
    Buffer whole, head;
    encode(publish, v5, whole);
    encode_publish_head(publish, v5, head);
    head.append(payload);
    EXPECT_EQ(as_text(whole.span()), as_text(head.span()));
    EXPECT_EQ(encoded_size(publish, v5), whole.size());
    const size_t at = packet_id_at(whole.span());
    EXPECT_EQ(whole.data()[at], 0x12);
    EXPECT_EQ(whole.data()[at + 1], 0x34);
  }
}

}  // namespace
}  // namespace robustmq::mqtt
