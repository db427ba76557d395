"""gRPC servicers and stream workers; protobuf stops here."""
