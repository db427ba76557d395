"""How any service runs: settings, time, database, log between services, gRPC, process."""
