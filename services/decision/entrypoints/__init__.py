"""Where questions, events and due times come in."""
