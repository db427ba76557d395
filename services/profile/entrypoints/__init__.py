"""gRPC and stream entry points; protobuf stops here."""
