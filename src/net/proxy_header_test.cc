// The PROXY protocol's header, as its specification has it.
#include "net/proxy_header.h"

#include <gtest/gtest.h>

#include <string>

namespace robustmq::net {
namespace {

using State = ProxyHeader::State;

// Gives the bytes as they are asked for; `used` becomes how many of them the header is.
ProxyHeader parse(const std::string& bytes, size_t* used = nullptr) {
  size_t have = 0;
  for (;;) {
    ProxyHeader header = parse_proxy_header(as_bytes(std::string_view(bytes).substr(0, have)));
    if (used) *used = have;
    if (header.state != State::more || have + header.wanted > bytes.size()) return header;
    EXPECT_GT(header.wanted, 0u);
    have += header.wanted;
  }
}

std::string version_2(uint8_t command, uint8_t family, std::string rest) {
  std::string bytes("\r\n\r\n\0\r\nQUIT\n", 12);
  bytes += static_cast<char>(command);
  bytes += static_cast<char>(family);
  bytes += static_cast<char>(rest.size() >> 8);
  bytes += static_cast<char>(rest.size() & 0xff);
  return bytes + rest;
}

TEST(ProxyHeader, NamesTheClientAndTakesNothingBehindItself) {
  const std::string ip4("\xc0\x00\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb", 12);
  const std::string ip6("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xdc\x04\x01\xbb",
                        36);
  const struct {
    std::string bytes;
    std::string peer;
  } cases[] = {
      {"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1:56324"},
      {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"},
      {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"},
      {"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "[2001:db8::7]:56324"},
      {"PROXY TCP6 :: :: 0 0\r\n", "[::]:0"},
      {"PROXY TCP6 ffff:f...f:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "bad"},
      {"PROXY UNKNOWN\r\n", ":0"},
      {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", ":0"},
      {version_2(0x21, 0x11, ip4), "192.0.2.1:56324"},
      {version_2(0x21, 0x11, ip4 + std::string("\x04\0\x03zzz", 6)), "192.0.2.1:56324"},
      {version_2(0x21, 0x21, ip6), "[2001:db8::7]:56324"},
      {version_2(0x20, 0x11, ip4), ":0"},
      {version_2(0x20, 0x00, ""), ":0"},
      {version_2(0x21, 0x00, ""), ":0"},
      {version_2(0x21, 0x31, std::string(216, '/')), ":0"},
  };
  for (const auto& each : cases) {
    size_t used = 0;
    const ProxyHeader header =
        parse(each.bytes + "\x10\x0c\x00\x04MQTT and so on, more than enough of it to be read over", &used);
    if (each.peer == "bad") {
      EXPECT_EQ(header.state, State::bad) << each.bytes;
      continue;
    }
    ASSERT_EQ(header.state, State::done) << each.bytes << ": " << header.why;
    EXPECT_EQ(header.peer.to_string(), each.peer);
    EXPECT_EQ(used, each.bytes.size()) << each.bytes;
    for (size_t cut = 0; cut < each.bytes.size(); ++cut)
      EXPECT_EQ(parse_proxy_header(as_bytes(each.bytes.substr(0, cut))).state, State::more) << each.bytes << " " << cut;
  }
}

TEST(ProxyHeader, RefusesWhatItIsNotAndWhatIsTooLong) {
  for (const std::string& bytes : {
           std::string("\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", 14),
           std::string("GET / HTTP/1.1\r\n\r\n"),
           std::string("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n and a line\r\n"),
           std::string("PROXY TCP4 192.0.2.1  198.51.100.1 56324 443\r\n"),
           std::string("PROXY TCP4 192.0.2.01 198.51.100.1 56324 443\r\n"),
           std::string("PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n"),
           std::string("PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n"),
           std::string("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n"),
           std::string("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n"),
           std::string("PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n"),
           std::string("PROXY TCP6 2001:db8::7::1 2001:db8::1 56324 443\r\n"),
           std::string("PROXY TCP6 1:2:3:4:5:6:7 2001:db8::1 56324 443\r\n"),
           std::string("PROXY TCP6 1:2:3:4:5:6:7:8: 2001:db8::1 56324 443\r\n"),
           std::string("PROXY UDP4 192.0.2.1 198.51.100.1 56324 443\r\n"),
           "PROXY UNKNOWN " + std::string(100, 'x') + "\r\n",
           version_2(0x11, 0x11, std::string(12, '\0')),
           version_2(0x22, 0x11, std::string(12, '\0')),
           version_2(0x21, 0x12, std::string(12, '\0')),
           version_2(0x21, 0x41, std::string(12, '\0')),
           version_2(0x21, 0x11, std::string(11, '\0')),
           version_2(0x21, 0x21, std::string(35, '\0')),
           version_2(0x21, 0x11, std::string(4000, '\0')),
       }) {
    const ProxyHeader header = parse(bytes + std::string(100, ' '));
    EXPECT_EQ(header.state, State::bad) << bytes;
    EXPECT_FALSE(header.why.empty());
  }
}

TEST(ProxyHeader, WritesIp6AsItIsRead) {
  const struct {
    const char* bytes;
    const char* text;
  } cases[] = {{"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "::1"},
               {"\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "fe80::"},
               {"\x20\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x0a\xbc", "2001:0:1::1:abc"},
               {"\x20\x01\x00\x01\x00\x02\x00\x00\x00\x04\x00\x05\x00\x06\x00\x07", "2001:1:2:0:4:5:6:7"}};
  for (const auto& each : cases) {
    const std::string address(each.bytes, 16);
    const ProxyHeader header = parse(version_2(0x21, 0x21, address + address + std::string(4, '\1')));
    ASSERT_EQ(header.state, State::done);
    EXPECT_EQ(header.peer.host, each.text);
    EXPECT_EQ(parse("PROXY TCP6 " + header.peer.host + " ::1.2.3.4 1 2\r\n").peer.host, each.text);
  }
}

}  // namespace
}  // namespace robustmq::net
