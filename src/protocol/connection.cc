#include "protocol/connection.h"

namespace robustmq::protocol {

std::string_view close_why_name(CloseWhy why) {
  switch (why) {
    case CloseWhy::none:
      return "none";
    case CloseWhy::client_left:
      return "client_left";
    case CloseWhy::peer_closed:
      return "peer_closed";
    case CloseWhy::protocol_error:
      return "protocol_error";
    case CloseWhy::not_supported:
      return "not_supported";
    case CloseWhy::timed_out:
      return "timed_out";
    case CloseWhy::taken_over:
      return "taken_over";
    case CloseWhy::slow_reader:
      return "slow_reader";
    case CloseWhy::over_limit:
      return "over_limit";
    case CloseWhy::stopping:
      return "stopping";
    case CloseWhy::ended:
      return "ended";
    case CloseWhy::not_authorised:
      return "not_authorised";
  }
  return "?";
}

void Outbox::send(Pieces pieces) {
  if (!out_.empty()) {
    unsent_bytes_ += out_.size();
    pieces_.push_back(Piece::of(out_.take()));
  }
  for (Piece& piece : pieces) {
    unsent_bytes_ += piece.size;
    pieces_.push_back(std::move(piece));
  }
}

Pieces Outbox::take_pieces() {
  if (!out_.empty()) pieces_.push_back(Piece::of(out_.take()));
  return std::exchange(pieces_, {});
}

void Outbox::clear() {
  out_.clear();
  pieces_.clear();
  calls_.clear();
  cancelled_.clear();
  has_timer_ = false;
  close_ = CloseWhy::none;
  close_detail_.clear();
}

}  // namespace robustmq::protocol
