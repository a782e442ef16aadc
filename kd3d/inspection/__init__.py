"""Looking before training: what can be tapped, whether a config works, whether its data fit."""
