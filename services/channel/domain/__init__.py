"""Values and policies of the channel service: pure, standard library only."""
