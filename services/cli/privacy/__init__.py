"""A person's own data as files: gathered from all three services, as JSON and as a page for people."""
