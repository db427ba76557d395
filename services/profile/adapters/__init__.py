"""PostgreSQL and the packed form of what it keeps."""
