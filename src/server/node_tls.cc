// A node's certificates: read at the start, looked at again now and then and when asked, given to every core's listeners.
#include <fmt/core.h>

#include "server/node.h"
#include "server/node_room.h"

namespace robustmq::server {

namespace {

constexpr size_t kPemBytesMax = 1 << 20;

}  // namespace

Result<net::TlsMaterial> Node::read_material(const net::TlsOptions& tls) {
  net::TlsMaterial material;
  auto read = [&](const std::string& path, std::string* into) -> Status {
    if (path.empty()) return {};
    if (!read_file_) return Error{Code::not_supported, path + ": this node reads no files"};
    Result<std::string> text = read_file_(path);
    if (!text.ok()) return text.error();
    if (text->size() > kPemBytesMax) return Error{Code::invalid_config, path + ": the file is too large for a certificate"};
    *into = text.take();
    return {};
  };
  if (Status status = read(tls.certificate, &material.certificate); !status.ok()) return status.error();
  if (Status status = read(tls.key, &material.key); !status.ok()) return status.error();
  if (Status status = read(tls.ca, &material.ca); !status.ok()) return status.error();
  // With the certificates the keys of tickets change, so that no session outlives what was checked for it.
  material.ticket_key = net::TlsMaterial::fresh_ticket_key();
  return material;
}

// Made once to see that it is good, then by every core for itself: contexts that cores share are contended for.
Status Node::use_material(size_t door, net::TlsMaterial material) {
  if (plans_[door].is_quic) return use_quic_material(door, std::move(material));
  Result<std::shared_ptr<net::TlsContext>> made = net::TlsContext::make(plans_[door].tls, material);
  if (!made.ok()) return made.error();
  home().doors[door]->set_tls(made.take());
  for (CoreIndex i = 1; i < rooms_.size(); ++i) {
    home().core.send(i, [this, i, door, material] {
      Result<std::shared_ptr<net::TlsContext>> own = net::TlsContext::make(plans_[door].tls, material);
      if (own.ok() && !rooms_[i]->doors.empty()) rooms_[i]->doors[door]->set_tls(own.take());
    });
  }
  materials_[door] = std::move(material);
  return {};
}

// GnuTLS's credentials are read only once they are made: the cores share them.
Status Node::use_quic_material(size_t door, net::TlsMaterial material) {
  Result<std::shared_ptr<const net::QuicContext>> made = protocol::driver::make_quic_context(plans_[door].tls, material);
  if (!made.ok()) return made.error();
  home().doors[door]->set_quic(*made);
  for (CoreIndex i = 1; i < rooms_.size(); ++i) {
    home().core.send(i, [this, i, door, context = *made] {
      if (!rooms_[i]->doors.empty()) rooms_[i]->doors[door]->set_quic(context);
    });
  }
  materials_[door] = std::move(material);
  return {};
}

// Before any listener listens: what is sent to the other cores comes there before the request to listen.
Status Node::open_certificates() {
  bool has_any = false;
  for (size_t d = 0; d < plans_.size(); ++d) {
    if (!plans_[d].tls.is_on()) continue;
    has_any = true;
    Result<net::TlsMaterial> material = read_material(plans_[d].tls);
    Status status = material.ok() ? use_material(d, material.take()) : Status{material.error()};
    if (!status.ok()) return Error{status.error().code, fmt::format("{}: {}", plans_[d].option, status.error().detail)};
  }
  if (has_any) check_certificates_later();
  return {};
}

void Node::reload_certificates() {
  if (!is_serving()) return;
  for (size_t d = 0; d < plans_.size(); ++d) {
    if (!plans_[d].tls.is_on()) continue;
    Result<net::TlsMaterial> material = read_material(plans_[d].tls);
    if (material.ok() && material->has_same_files(materials_[d])) continue;
    Status status = material.ok() ? use_material(d, material.take()) : Status{material.error()};
    if (status.ok()) {
      home().log.info("certificate_reloaded", {{"listener", plans_[d].name}, {"certificate", plans_[d].tls.certificate}});
    } else {
      home().log.error("certificate_not_reloaded",
                       {{"listener", plans_[d].name}, {"why", status.error().detail}, {"remedy", "the former one stays in use"}});
    }
  }
}

void Node::check_certificates_later() {
  if (options_.tls.check_ms > 0) home().core.arm(check_timer_, home().core.now() + Duration::millis(options_.tls.check_ms));
}

void Node::on_check_certificates(void* self) {
  auto& node = *static_cast<Node*>(self);
  node.reload_certificates();
  node.check_certificates_later();
}

}  // namespace robustmq::server
